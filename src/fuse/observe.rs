//! The observation model `A = D H M` and its adjoint: what the frames of a window see of a high-resolution plane.
//!
//! Low-resolution sample `q` of a frame whose motion field is `v` sees the reference's scene at `q + v(q)`, which is
//! the position `c = s (q + v(q)) + o` on the high-resolution grid (M and D). It reads the plane, filtered by H
//! (`psf`), through a quadratic B-spline centred there. Samples are kept as jobs of sixteen neighbours
//! ([`crate::kernels::splat`]), in an order that depends on the frames alone: by bins of rows of the grid, in a bin by
//! frame, row and column. All sums over samples run in that order, whoever computes them.
//!
//! Symbols as in Elad and Feuer (1997), doi:10.1109/83.650118, section II.

use std::ops::Range;

use rayon::prelude::*;

use super::grid::{Grid, MARGIN};
use super::light::Glow;
use crate::cores::Pieces;
use crate::frame::AxisMap;
use crate::kernels::CpuLevel;
use crate::kernels::places::{JobList, Places, place_row};
use crate::kernels::splat::{Job, LANES};
use crate::register::Field;

/// Rows of the grid in a bin of jobs.
pub(super) const BIN: usize = 8;
/// Low-resolution rows whose jobs are made by one task.
pub(super) const BAND: usize = 16;

/// A neighbour as the model takes it: its motion and how far its samples are trusted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moved<'a> {
    /// Motion in luma pixels.
    pub(super) field: &'a Field,
    /// Confidence of each sample of the plane, `rows x columns`, 0..=1.
    pub(super) weights: &'a [f32],
}

/// Where the samples of a plane lie in the luma plane that motion is measured on: `spacing * i + site`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Lattice {
    /// Luma pixels between samples, (vertical, horizontal).
    pub(super) spacing: (f32, f32),
    /// Luma position of the first sample, (vertical, horizontal).
    pub(super) site: (f32, f32),
}

/// Jobs of one band of rows of one frame, in the order of the samples.
#[derive(Debug, Clone, Default)]
pub(super) struct Chunk {
    list: JobList,
    /// Motion of one row, vertical and horizontal.
    vectors: Vec<f32>,
}

/// Successive jobs of one chunk that lie in one bin.
#[derive(Debug, Clone)]
pub(super) struct Run {
    /// Frame, 0 for the reference.
    pub(super) frame: usize,
    pub(super) chunk: usize,
    pub(super) jobs: Range<usize>,
}

/// Where the samples of all frames of a window lie on the grid of the reference, and how far they count; the samples themselves
/// stay in their planes.
#[derive(Debug)]
pub(super) struct Observation {
    cpu: CpuLevel,
    maps: (AxisMap, AxisMap),
    lattice: Lattice,
    /// Chunks of the reference, then of the neighbours, each from top to bottom.
    chunks: Vec<Chunk>,
    frames: usize,
    bands: usize,
    bins: Vec<Vec<Run>>,
}

impl Observation {
    /// For planes whose axes map to `grid` as `maps` (vertical, horizontal), and sit on luma as `lattice`.
    pub(super) fn new(maps: (AxisMap, AxisMap), lattice: Lattice, grid: &Grid, cpu: CpuLevel) -> Self {
        let bands = maps.0.input.div_ceil(BAND);
        let bins = vec![Vec::new(); grid.height.div_ceil(BIN)];
        let still = Field::uniform(1, 1, Default::default());
        let ones = vec![1.0; maps.1.input];
        let geometry = Geometry { cpu, maps, lattice, grid };
        let chunk = |band| {
            let mut chunk = Chunk::default();
            geometry.build(&mut chunk, geometry.band(band), &still, |_| &ones);
            chunk
        };
        let chunks = (0..bands).into_par_iter().on_free_cores().map(chunk).collect();
        Self { cpu, maps, lattice, chunks, frames: 1, bands, bins }
    }

    /// Values of a quantity given on luma at row `y` (in rows of the plane) and every column of the plane.
    ///
    /// `line` is scratch. If all values are at least `enough` nothing is written and the answer is no.
    pub(super) fn sample_luma(&self, glow: &Glow, y: f32, enough: f32, line: &mut Vec<f32>, out: &mut [f32]) -> bool {
        let Lattice { spacing, site } = self.lattice;
        glow.line(spacing.0 * y + site.0, line);
        if line.iter().all(|value| *value >= enough) {
            return false;
        }
        glow.on_row(line, site.1, spacing.1, out);
        true
    }

    /// The jobs of a run.
    pub(super) fn jobs(&self, run: &Run) -> &[Job] {
        &self.chunks[run.chunk].list.jobs[run.jobs.clone()]
    }

    /// The jobs of rows `BAND * band ..` of a frame.
    pub(super) fn rows_of(&self, frame: usize, band: usize) -> &[Job] {
        &self.chunks[frame * self.bands + band].list.jobs
    }

    /// Whether a run belongs to the reference.
    #[cfg(test)]
    pub(super) fn is_reference(&self, run: &Run) -> bool {
        run.chunk < self.bands
    }

    /// Runs with first taps in rows `BIN * bin ..`, those above the picture in the first bin.
    pub(super) fn bin(&self, bin: usize) -> &[Run] {
        &self.bins[bin]
    }

    /// Number of bins.
    pub(super) fn bins(&self) -> usize {
        self.bins.len()
    }

    /// Takes the neighbours of the next solves, beside the reference.
    pub(super) fn aim(&mut self, grid: &Grid, neighbours: &[Moved<'_>]) {
        self.frames = 1 + neighbours.len();
        let (bands, columns) = (self.bands, self.maps.1.input);
        if self.chunks.len() < self.frames * bands {
            self.chunks.resize_with(self.frames * bands, Chunk::default);
        }
        let geometry = Geometry { cpu: self.cpu, maps: self.maps, lattice: self.lattice, grid };
        let others = &mut self.chunks[bands..self.frames * bands];
        others.par_iter_mut().enumerate().on_free_cores().for_each(|(n, chunk)| {
            let (neighbour, band) = (&neighbours[n / bands], n % bands);
            geometry
                .build(chunk, geometry.band(band), neighbour.field, |y| &neighbour.weights[y * columns..][..columns]);
        });
        self.sort();
    }

    /// Lists the runs of every bin.
    fn sort(&mut self) {
        self.bins.iter_mut().for_each(Vec::clear);
        for (at, chunk) in self.chunks[..self.frames * self.bands].iter().enumerate() {
            for (n, &(bin, first)) in chunk.list.runs.iter().enumerate() {
                let end = chunk.list.runs.get(n + 1).map_or(chunk.list.jobs.len(), |(_, next)| *next as usize);
                let run = Run { frame: at / self.bands, chunk: at, jobs: first as usize..end };
                self.bins[bin as usize].push(run);
            }
        }
    }
}

/// What the places of a plane's samples follow from.
struct Geometry<'a> {
    cpu: CpuLevel,
    maps: (AxisMap, AxisMap),
    lattice: Lattice,
    grid: &'a Grid,
}

impl Geometry<'_> {
    /// Rows of a band.
    fn band(&self, band: usize) -> Range<usize> {
        band * BAND..((band + 1) * BAND).min(self.maps.0.input)
    }

    /// Makes the jobs of rows `rows` of a frame.
    fn build<'w>(&self, chunk: &mut Chunk, rows: Range<usize>, field: &Field, weights: impl Fn(usize) -> &'w [f32]) {
        let (columns, (map_y, map_x)) = (self.maps.1.input, self.maps);
        let Lattice { spacing, site } = self.lattice;
        let [scale_y, scale_x] = [map_y.scale as f32, map_x.scale as f32];
        // Memory that grows by doubling would be twice what is needed: most rows take a fifth more than without motion.
        let jobs = rows.len() * columns.div_ceil(LANES) * 3 / 2;
        chunk.list.restart(jobs);
        chunk.vectors.resize(2 * columns, 0.0);
        let (dy, dx) = chunk.vectors.split_at_mut(columns);
        for row in rows {
            field.row(spacing.0 * row as f32 + site.0, site.1, spacing.1, dy, dx);
            let places = Places {
                dy,
                dx,
                weight: weights(row),
                origin: [row as f32 * scale_y + (map_y.origin as f32 - 0.5), map_x.origin as f32 - 0.5],
                per_unit: [scale_y / spacing.0, scale_x / spacing.1],
                scale: self.grid.phases,
                size: [self.grid.height, self.grid.width],
                margin: MARGIN,
                first: (row * columns) as u32,
                bin: BIN,
            };
            place_row(self.cpu, &places, &mut chunk.list);
        }
    }
}
