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
use crate::frame::AxisMap;
use crate::kernels::CpuLevel;
use crate::kernels::places::{JobList, Places, place_row};
use crate::kernels::splat::{Jobs, LANES};
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
    /// The samples themselves, as loaded for one plane.
    samples: Vec<[f32; LANES]>,
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

/// How the samples of one plane of a frame become values in the reference's light.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen<'a> {
    /// `rows x columns`.
    pub(super) samples: &'a [f32],
    /// In the reference's light a sample is `gain * sample + offset - glow`.
    pub(super) gain: f32,
    /// See `gain`.
    pub(super) offset: f32,
    /// What is left of the difference in light, varying slowly over the picture.
    pub(super) glow: Option<&'a Glow>,
}

/// A quantity that varies slowly, on nodes `spacing` samples apart (the first at `(spacing - 1) / 2`).
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Glow {
    pub(super) spacing: usize,
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) nodes: Vec<f32>,
}

impl Glow {
    /// Value at row `y`, column `x`, bilinear between nodes and constant outside them.
    pub(super) fn at(&self, y: f32, x: f32) -> f32 {
        self.at_node(self.node(y), self.node(x))
    }

    /// The nodes as they are at row `y`, to be read with [`Self::on_line`]; the last one twice.
    pub(super) fn line(&self, y: f32, line: &mut Vec<f32>) {
        let node = self.node(y).clamp(0.0, (self.rows - 1) as f32);
        let upper = (node as usize).min(self.rows.saturating_sub(2));
        let (lower, down) = ((upper + 1).min(self.rows - 1), node - upper as f32);
        let nodes = |row: usize| &self.nodes[row * self.columns..][..self.columns];
        line.clear();
        line.extend(nodes(upper).iter().zip(nodes(lower)).map(|(a, b)| a + down * (b - a)));
        line.push(line[self.columns - 1]);
    }

    /// Value at column `x` of the row that `line` was made for.
    #[inline]
    pub(super) fn on_line(&self, line: &[f32], x: f32) -> f32 {
        let x = self.node(x).clamp(0.0, (self.columns - 1) as f32);
        let left = x as usize;
        line[left] + (x - left as f32) * (line[left + 1] - line[left])
    }

    /// A sample's position in nodes.
    fn node(&self, position: f32) -> f32 {
        (position - (self.spacing as f32 - 1.0) / 2.0) / self.spacing as f32
    }

    /// The same at a place given in nodes.
    #[inline]
    pub(super) fn at_node(&self, row: f32, column: f32) -> f32 {
        let place = |p: f32, n: usize| {
            let p = p.clamp(0.0, (n - 1) as f32);
            let i = (p as usize).min(n.saturating_sub(2));
            (i, (i + 1).min(n - 1), p - i as f32)
        };
        let ((y0, y1, fy), (x0, x1, fx)) = (place(row, self.rows), place(column, self.columns));
        let (upper, lower) = (&self.nodes[y0 * self.columns..], &self.nodes[y1 * self.columns..]);
        let top = upper[x0] + fx * (upper[x1] - upper[x0]);
        let bottom = lower[x0] + fx * (lower[x1] - lower[x0]);
        top + fy * (bottom - top)
    }
}

/// The samples of all frames of a window, and where they lie on the grid of the reference.
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
        let mut new = Self { cpu, maps, lattice, chunks: Vec::new(), frames: 1, bands, bins };
        new.chunks.resize_with(bands, Chunk::default);
        let still = Field::uniform(1, 1, Default::default());
        let ones = vec![1.0; maps.1.input];
        for band in 0..bands {
            let mut chunk = Chunk::default();
            let geometry = Geometry { cpu, maps, lattice, grid };
            geometry.build(&mut chunk, new.band(band), &still, |_| &ones);
            new.chunks[band] = chunk;
        }
        new
    }

    fn band(&self, band: usize) -> Range<usize> {
        band * BAND..((band + 1) * BAND).min(self.maps.0.input)
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
        for (column, out) in out.iter_mut().enumerate() {
            *out = glow.on_line(line, spacing.1 * column as f32 + site.1);
        }
        true
    }

    /// The jobs of a run.
    pub(super) fn jobs(&self, run: &Run) -> Jobs<'_> {
        let JobList { heads, jobs, .. } = &self.chunks[run.chunk].list;
        Jobs { heads: &heads[run.jobs.clone()], jobs: &jobs[run.jobs.clone()] }
    }

    /// The samples of a run's jobs.
    pub(super) fn samples(&self, run: &Run) -> &[[f32; LANES]] {
        &self.chunks[run.chunk].samples[run.jobs.clone()]
    }

    /// The jobs of rows `BAND * band ..` of a frame, their samples, and the first sample of each, counted through the
    /// plane.
    pub(super) fn rows_of(&self, frame: usize, band: usize) -> (Jobs<'_>, &[[f32; LANES]], &[u32]) {
        let Chunk { list: JobList { heads, jobs, at, .. }, samples, .. } = &self.chunks[frame * self.bands + band];
        (Jobs { heads, jobs }, samples, at)
    }

    /// A job's first sample, counted through the plane, the weights of its samples, and the samples.
    pub(super) fn job(&self, chunk: usize, job: usize) -> (usize, &[u8; LANES], &[f32; LANES]) {
        let Chunk { list, samples, .. } = &self.chunks[chunk];
        (list.at[job] as usize, &list.jobs[job].weight, &samples[job])
    }

    /// First sample of a run, counted through the plane.
    #[cfg(test)]
    pub(super) fn place(&self, run: &Run) -> usize {
        self.chunks[run.chunk].list.at[run.jobs.start] as usize
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
        let rows = self.maps.0.input;
        let others = &mut self.chunks[bands..self.frames * bands];
        others.par_iter_mut().enumerate().for_each(|(n, chunk)| {
            let (neighbour, band) = (&neighbours[n / bands], n % bands);
            let range = band * BAND..((band + 1) * BAND).min(rows);
            geometry.build(chunk, range, neighbour.field, |y| &neighbour.weights[y * columns..][..columns]);
        });
        self.sort();
    }

    /// Lists the runs of every bin.
    fn sort(&mut self) {
        self.bins.iter_mut().for_each(Vec::clear);
        for (at, chunk) in self.chunks[..self.frames * self.bands].iter().enumerate() {
            for (n, &(bin, first)) in chunk.list.runs.iter().enumerate() {
                let end = chunk.list.runs.get(n + 1).map_or(chunk.list.heads.len(), |(_, next)| *next as usize);
                let run = Run { frame: at / self.bands, chunk: at, jobs: first as usize..end };
                self.bins[bin as usize].push(run);
            }
        }
    }

    /// Takes the samples of one plane of all frames: the reference first, then the neighbours as given to `aim`.
    pub(super) fn load(&mut self, seen: &[Seen<'_>]) {
        let (bands, columns) = (self.bands, self.maps.1.input);
        let chunks = &mut self.chunks[..seen.len() * bands];
        chunks.par_iter_mut().enumerate().for_each(|(n, chunk)| chunk.load(&seen[n / bands], columns));
    }
}

impl Chunk {
    fn load(&mut self, seen: &Seen<'_>, columns: usize) {
        self.samples.clear();
        self.samples.shrink_to(self.list.at.capacity());
        self.samples.reserve_exact(self.list.at.capacity());
        let Seen { samples, gain, offset, glow } = seen;
        let (mut line, mut line_of) = (Vec::new(), usize::MAX);
        for &at in &self.list.at {
            let (row, column) = (at as usize / columns, at as usize % columns);
            let source = &samples[at as usize..at as usize + LANES.min(columns - column)];
            let mut lane = [0.0; LANES];
            lane[..source.len()].copy_from_slice(source);
            if let Some(glow) = glow.filter(|_| line_of != row) {
                glow.line(row as f32, &mut line);
                line_of = row;
            }
            // Ends of neighbouring jobs meet: the light stays without steps.
            let ends = [column, column + LANES].map(|x| glow.map_or(0.0, |glow| glow.on_line(&line, x as f32)));
            let slope = (ends[1] - ends[0]) / LANES as f32;
            let start = offset - ends[0];
            for (i, value) in lane.iter_mut().enumerate() {
                *value = gain * *value + (start - slope * i as f32);
            }
            self.samples.push(lane);
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
