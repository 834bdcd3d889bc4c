//! How far each pixel of a neighbour frame can be trusted, and how noisy the clip is.
//!
//! A neighbour's pixel is trusted where its surroundings agree with the reference moved onto them. The mean squared
//! difference over a small window is judged against noise and against the finest detail in the same window, which both frames
//! alias in their own way: where a picture is soft, nothing but wrong motion can differ. Single pixels are not judged: the
//! largest differences of two good frames are their aliasing, the very signal that the reconstruction lives on. What
//! differs slowly over the picture is light, not motion: it is measured and taken out first, here and in the samples
//! that the reconstruction gets.

use std::ops::Range;

use rayon::prelude::*;

use super::appearance::{Appearance, LARGEST, MARGIN, Magnitudes, over_windows};
use super::grid::mirrored;
use super::light::Glow;
use super::mean;
use crate::cores::Pieces;
use crate::frame::Plane;
use crate::kernels::CpuLevel;
use crate::kernels::comparing::{
    CELL, add_near, add_to_cells, agreement, inverse_tolerance, matched_difference, scale_cells, squared_without,
};
use crate::kernels::warp::warp_row;
use crate::register::Field;

/// Difference given to pixels that the reference does not show; from [`LARGEST`] on they are taken for such.
const UNSEEN: f32 = 1e6;
/// Noise that the blur of sigma 0.8 leaves of white noise: the root of the sum of its squared weights.
const NOISE_LEFT: f32 = 0.36;
/// Share of the energy of the finest detail that is tolerated as aliasing. The variance of the window instead lets soft edges that
/// move otherwise pass (-0.9 dB on flames, -0.1 on walk); half costs 0.15 dB on walk behind a soft lens.
const ALIASING: f32 = 0.06;
/// Share of the variance of the noise that is tolerated: 0.5 costs 0.9 dB at a noise of 8, 3 a little on all scenes without.
const NOISE_TOLERATED: f32 = 2.0;
/// Least noise that is tolerated: rounding to 8 bits has 0.29. At 1 soft scenes of 45 dB and more lose to Lanczos.
const LEAST_NOISE: f32 = 0.4;
/// Mean confidence of the neighbours at which they begin to take part, and from which they do in full.
const GATE: (f32, f32) = (0.1, 0.4);
/// Pixels of a side of the cells that light is measured on.
const GLOW_CELL: usize = 16;
/// Pixels of a cell that stand for no difference in light.
const GLOW_PRIOR: f32 = 64.0;
/// Pixels of a side of the cells that the gate is made of.
const GATE_CELL: usize = CELL;
/// Rows of a task.
const ROWS: usize = 32;

/// A neighbour as the comparison takes it.
#[derive(Clone, Copy)]
pub(super) struct Candidate<'a> {
    pub(super) appearance: &'a Appearance,
    pub(super) field: &'a Field,
    /// Brings the neighbour to the reference's light: `gain * value + offset`.
    pub(super) gain: f32,
    /// See `gain`.
    pub(super) offset: f32,
}

/// Compares frames of one size; keeps its buffers.
#[derive(Debug)]
pub(super) struct Judge {
    cpu: CpuLevel,
    rows: usize,
    columns: usize,
    found: Vec<Found>,
    /// Mean confidence per cell of the reference of the frames that take part; no cells if none does.
    mass: Glow,
    /// How far the gate is open in these cells.
    gate: Glow,
}

/// What is known of one candidate.
#[derive(Debug, Clone, Default)]
struct Found {
    /// Differences, rows x columns.
    difference: Vec<f32>,
    /// Columns of each row that look inside the reference.
    inside: Vec<Range<usize>>,
    /// Confidences, rows x columns; 0 outside of it.
    weights: Vec<f32>,
    glow: Glow,
}

impl Judge {
    pub(super) fn new(rows: usize, columns: usize, cpu: CpuLevel) -> Self {
        Self { cpu, rows, columns, found: Vec::new(), mass: Glow::default(), gate: Glow::default() }
    }

    /// Weights of candidate `k`, `rows x columns`, 0..=1.
    pub(super) fn weights(&self, k: usize) -> &[f32] {
        &self.found[k].weights
    }

    /// How far the gate is open, where there was one to open.
    pub(super) fn open(&self) -> Option<&Glow> {
        (!self.gate.nodes.is_empty()).then_some(&self.gate)
    }

    /// Gives all pixels of the candidates `kept` that look inside the reference full weight; the others are left out as their jobs
    /// are made.
    pub(super) fn trust_all(&mut self, kept: &[usize]) {
        kept.iter().for_each(|&k| self.found[k].weights.fill(1.0));
    }

    /// What candidate `k` is brighter than the reference, in luma, beyond its gain and offset.
    pub(super) fn glow(&self, k: usize) -> &Glow {
        &self.found[k].glow
    }

    /// Compares all candidates with the reference; returns the noise estimate, 8-bit scale.
    pub(super) fn compare(&mut self, reference: &Appearance, candidates: &[Candidate<'_>]) -> f32 {
        let (rows, columns) = (self.rows, self.columns);
        let new = || Found {
            difference: vec![0.0; rows * columns],
            inside: vec![0..0; rows],
            weights: vec![0.0; rows * columns],
            glow: Glow::default(),
        };
        self.found.resize_with(candidates.len().max(self.found.len()), new);
        let cpu = self.cpu;
        let compared = self.found.par_iter_mut().zip(candidates);
        let noises: Vec<f32> =
            compared.map(|(found, candidate)| temporal_noise(&found.differ(cpu, reference, candidate))).collect();
        let noise = noises.into_iter().fold(reference.noise, f32::min);
        let allowed = noise.max(LEAST_NOISE);
        self.found.par_iter_mut().zip(candidates).on_free_cores().for_each(|(found, candidate)| {
            light(cpu, &found.difference, (rows, columns), noise.max(1.0), &mut found.glow);
            let coding = reference.coding.max(candidate.appearance.coding);
            found.weigh(cpu, candidate.appearance, NOISE_TOLERATED * allowed * allowed + coding * coding);
        });
        noise
    }

    /// Lets neighbours take part only where enough of them agree, and returns the share of the picture that is.
    ///
    /// The mean confidence of the candidates `kept` around each pixel of the reference opens the gate from 0 at
    /// [`GATE`]`.0` to 1 at `.1`; their weights are multiplied by it. Where it is shut, the reference stands alone.
    ///
    /// Unless it is `wanted` the gate is open everywhere.
    pub(super) fn gate(&mut self, kept: &[usize], candidates: &[Candidate<'_>], wanted: bool) -> f64 {
        if kept.is_empty() {
            (self.mass, self.gate) = (Glow::default(), Glow::default());
            return 0.0;
        }
        self.measure_mass(kept, candidates);
        if !wanted {
            self.gate.nodes.fill(1.0);
        }
        let (cpu, columns, gate) = (self.cpu, self.columns, &self.gate);
        if gate.nodes.iter().any(|open| *open < 1.0) {
            for &k in kept {
                let field = candidates[k].field;
                let bands = self.found[k].weights.par_chunks_mut(GATE_CELL * columns).enumerate();
                bands.with_min_len(ROWS / GATE_CELL).on_free_cores().for_each_init(
                    Default::default,
                    |scratch, (n, band)| {
                        close_gate(cpu, gate, field, n * GATE_CELL + GATE_CELL / 2, columns, band, scratch);
                    },
                );
            }
        }
        mean(&gate.nodes)
    }

    /// The gate of every cell of the reference, from what the candidates `kept` show of it.
    fn measure_mass(&mut self, kept: &[usize], candidates: &[Candidate<'_>]) {
        let (rows, columns) = (self.rows.div_ceil(GATE_CELL), self.columns.div_ceil(GATE_CELL));
        let size = (self.rows, self.columns);
        let sums: Vec<Vec<f32>> = kept
            .par_iter()
            .on_free_cores()
            .map(|&k| mass(self.cpu, &self.found[k].weights, candidates[k].field, size))
            .collect();
        let mut mean = vec![0.0; rows * columns];
        for sums in &sums {
            mean.iter_mut().zip(sums).for_each(|(m, s)| *m += s);
        }
        // Samples that a cell holds: those of every second row; cells at the lower and right border may be smaller.
        let held = |n: usize, size: usize| (size - n * GATE_CELL).min(GATE_CELL);
        let mut along = vec![0.0; rows * columns];
        for (row, (mean, along)) in mean.chunks_exact_mut(columns).zip(along.chunks_exact_mut(columns)).enumerate() {
            let samples = |n: usize| (held(row, self.rows).div_ceil(2) * held(n, self.columns) * kept.len()) as f32;
            let (last, whole) = (columns - 1, samples(0));
            mean[..last].iter_mut().for_each(|mean| *mean /= whole);
            mean[last] /= samples(last);
            let padded = [&mean[..1], mean, &mean[last..]].concat();
            soften(along, &padded, mean, &padded[2..]);
        }
        let mut nodes = vec![0.0; rows * columns];
        for (row, nodes) in nodes.chunks_exact_mut(columns).enumerate() {
            let line = |row: usize| &along[row * columns..][..columns];
            let (above, below) = (line(row.saturating_sub(1)), line((row + 1).min(rows - 1)));
            soften(nodes, above, line(row), below);
        }
        let open = nodes.iter().map(|mean| ((mean - GATE.0) / (GATE.1 - GATE.0)).clamp(0.0, 1.0)).collect();
        self.gate = Glow { spacing: GATE_CELL, rows, columns, nodes: open };
        self.mass = Glow { spacing: GATE_CELL, rows, columns, nodes };
    }

    /// At every pixel of the reference: mean confidence of the neighbours that took part last, before the gate, and how
    /// far the gate was open; both 0 if none took part.
    pub(super) fn maps(&self) -> [Plane; 2] {
        [&self.mass, &self.gate].map(|cells| {
            let value = |(y, x): (usize, usize)| cells.at(y as f32, x as f32);
            let size = (self.rows, self.columns);
            if cells.nodes.is_empty() { Plane::zeros(size) } else { Plane::from_shape_fn(size, value) }
        })
    }
}

impl Found {
    /// `difference` = neighbour in the reference's light - reference moved onto it, both blurred. Returns the magnitudes of every
    /// fourth row, counted while it is near.
    fn differ(&mut self, cpu: CpuLevel, reference: &Appearance, candidate: &Candidate<'_>) -> Box<Magnitudes> {
        let (columns, stride) = (reference.width, reference.stride());
        let (image, seen) = (reference.image(), &candidate.appearance.smooth);
        let out = self.difference.par_chunks_mut(columns).zip(&mut self.inside).enumerate();
        let out = out.with_min_len(ROWS).rows_on_free_cores();
        let nothing = || (vec![0.0; columns], vec![0.0; columns], Box::new(Magnitudes::new()));
        let differences = out.fold(nothing, |mut so_far, (y, (row, inside))| {
            let (dy, dx, magnitudes) = &mut so_far;
            candidate.field.row(y as f32, 0.0, 1.0, dy, dx);
            warp_row(cpu, row, &image, y, dy, dx, UNSEEN);
            matched_difference(cpu, row, &seen[y * stride + MARGIN..], candidate.gain, candidate.offset);
            *inside = seen_part(row);
            if y % 4 == 0 {
                magnitudes.add(cpu, row);
            }
            so_far
        });
        differences.map(|(_, _, magnitudes)| magnitudes).reduce(|| Box::new(Magnitudes::new()), Magnitudes::and)
    }

    /// `weights` from `difference`: squares without what is light, averaged over the window that the detail is of, against the
    /// tolerance, of which `floor` is there everywhere.
    fn weigh(&mut self, cpu: CpuLevel, appearance: &Appearance, floor: f32) {
        let size @ (_, columns) = (appearance.height, appearance.width);
        let Self { difference, inside, weights, glow } = self;
        let shown = |inside: &Range<usize>| !inside.is_empty();
        // Above and below what the reference shows, rows are like its first and its last one, as windows reach across.
        let ends = inside.iter().position(shown).zip(inside.iter().rposition(shown));
        let square = |(line, ends_of_jobs): &mut (Vec<f32>, Vec<f32>), y: usize, row: &mut [f32]| {
            let y = ends.map_or(y, |(first, last)| y.clamp(first, last));
            row.copy_from_slice(&difference[y * columns..][..columns]);
            glow.ends(y as f32, columns, line, ends_of_jobs);
            squared_without(cpu, row, ends_of_jobs);
            continue_outwards(row, &inside[y]);
        };
        let judge = |(tolerance, _): &mut (Vec<f32>, Vec<f32>), y: usize, row: &mut [f32]| {
            tolerance.resize(columns, 0.0);
            inverse_tolerance(cpu, tolerance, &appearance.detail[y * columns..], floor, ALIASING);
            agreement(cpu, row, tolerance);
            row[..inside[y].start].fill(0.0);
            row[inside[y].end..].fill(0.0);
        };
        over_windows(cpu, weights, size, square, judge);
    }
}

/// Half of the values `here`, and a quarter of those before and after them.
fn soften(out: &mut [f32], before: &[f32], here: &[f32], after: &[f32]) {
    for ((out, here), (before, after)) in out.iter_mut().zip(here).zip(before.iter().zip(after)) {
        *out = 0.25 * (before + after) + 0.5 * here;
    }
}

/// Where the middles of every [`GATE_CELL`] columns of row `y` look in the reference, in cells of the gate: rows, columns.
fn cells_seen(field: &Field, y: usize, rows: &mut [f32], columns: &mut [f32]) {
    const PART: f32 = 1.0 / GATE_CELL as f32;
    let middle = (GATE_CELL as f32 - 1.0) / 2.0;
    field.row(y as f32, middle, GATE_CELL as f32, rows, columns);
    for (g, (row, column)) in rows.iter_mut().zip(columns).enumerate() {
        *row = (*row + y as f32 - middle) * PART;
        *column = *column * PART + g as f32;
    }
}

/// Sums of a candidate's weights, of every second row, in the cells of the reference that its pixels look at.
fn mass(cpu: CpuLevel, weights: &[f32], field: &Field, (height, width): (usize, usize)) -> Vec<f32> {
    let (rows, columns) = (height.div_ceil(GATE_CELL), width.div_ceil(GATE_CELL));
    let mut sums = vec![0.0; rows * columns];
    let (mut seen_rows, mut seen_columns) = (vec![0.0; columns], vec![0.0; columns]);
    for (y, row) in weights.chunks_exact(width).enumerate().step_by(2) {
        cells_seen(field, y, &mut seen_rows, &mut seen_columns);
        add_to_cells(cpu, &mut sums, row, (&seen_rows, &seen_columns), (rows, columns));
    }
    sums
}

/// Multiplies rows of a candidate's weights by the gate where the row `y` in their middle looks.
fn close_gate(
    cpu: CpuLevel,
    gate: &Glow,
    field: &Field,
    y: usize,
    width: usize,
    weights: &mut [f32],
    [rows, columns]: &mut [Vec<f32>; 2],
) {
    let groups = width.div_ceil(GATE_CELL);
    rows.resize(groups, 0.0);
    columns.resize(groups, 0.0);
    cells_seen(field, y, rows, columns);
    for (open, column) in rows.iter_mut().zip(columns) {
        *open = gate.at_node(*open, *column);
    }
    if rows.iter().all(|open| *open == 1.0) {
        return;
    }
    for row in weights.chunks_mut(width) {
        scale_cells(cpu, row, rows);
    }
}

/// The slowly varying part of `differences`, from pixels that agree but for it.
fn light(cpu: CpuLevel, differences: &[f32], (rows, columns): (usize, usize), noise: f32, glow: &mut Glow) {
    let (cell_rows, cell_columns) = (rows.div_ceil(GLOW_CELL), columns.div_ceil(GLOW_CELL));
    let bound = 4.0 * noise + 4.0;
    let of_cells = |(sums, counts): &mut (Vec<f32>, Vec<f32>), row: usize| -> Vec<(f32, f32)> {
        sums.fill(0.0);
        counts.fill(0.0);
        for y in row * GLOW_CELL..((row + 1) * GLOW_CELL).min(rows) {
            add_near(cpu, sums, counts, &differences[y * columns..][..columns], bound);
        }
        let cells = sums.chunks(GLOW_CELL).zip(counts.chunks(GLOW_CELL));
        cells.map(|(sums, counts)| (sums.iter().sum(), counts.iter().sum())).collect()
    };
    let scratch = || (vec![0.0; columns], vec![0.0; columns]);
    let cells: Vec<Vec<(f32, f32)>> =
        (0..cell_rows).into_par_iter().on_free_cores().map_init(scratch, of_cells).collect();
    let cells = cells.concat();
    let around =
        |n: usize, size: usize| [(-1, 0.5), (0, 1.0), (1, 0.5)].map(|(d, w)| (mirrored(n as isize + d, size), w));
    let across: Vec<_> = (0..cell_columns).map(|x| around(x, cell_columns)).collect();
    let node = |down: &[(usize, f32); 3], across: &[(usize, f32); 3]| {
        let (mut sum, mut count) = (0.0, GLOW_PRIOR);
        for (y, wy) in down {
            for (x, wx) in across {
                let (of_cell, seen) = cells[y * cell_columns + x];
                sum += wy * wx * of_cell;
                count += wy * wx * seen;
            }
        }
        sum / count
    };
    glow.nodes.clear();
    for down in (0..cell_rows).map(|y| around(y, cell_rows)) {
        glow.nodes.extend(across.iter().map(|across| node(&down, across)));
    }
    (glow.spacing, glow.rows, glow.columns) = (GLOW_CELL, cell_rows, cell_columns);
}

/// Where a row of differences begins and ends to be of pixels that the reference shows.
fn seen_part(row: &[f32]) -> Range<usize> {
    let shown = |d: &f32| d.abs() < LARGEST;
    let start = row.iter().position(shown).unwrap_or(0);
    start..row.iter().rposition(shown).map_or(start, |last| last + 1)
}

/// Lets pixels beyond the border of the reference be like the last ones within it, as windows reach across.
fn continue_outwards(row: &mut [f32], inside: &Range<usize>) {
    if !inside.is_empty() {
        let (first, last) = (row[inside.start], row[inside.end - 1]);
        row[..inside.start].fill(first);
        row[inside.end..].fill(last);
    }
}

/// Noise from magnitudes of blurred differences of two frames: robust deviation, over the root of 2 frames and of the blur.
fn temporal_noise(magnitudes: &Magnitudes) -> f32 {
    magnitudes.median().map_or(f32::INFINITY, |d| 1.4826 * d / (std::f32::consts::SQRT_2 * NOISE_LEFT))
}
