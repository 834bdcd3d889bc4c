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

use super::appearance::{Appearance, MARGIN, WINDOW, blur, gauss, median, mirror};
use super::grid::mirrored;
use super::light::Glow;
use crate::frame::Plane;
use crate::kernels::CpuLevel;
use crate::kernels::comparing::{add_near, agreement, inverse_tolerance, matched_difference, squared_without};
use crate::kernels::warp::warp_row;
use crate::register::Field;

/// Difference given to pixels that the reference does not show.
const UNSEEN: f32 = 1e6;
/// Differences from here on are of pixels that the reference does not show.
const LARGEST: f32 = 1e4;
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
const GATE_CELL: usize = 4;
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
    scratch: Vec<f32>,
    found: Vec<Found>,
    /// Mean confidence per cell of the reference of the frames that take part; no cells if none does.
    mass: Glow,
    /// How far the gate is open in these cells.
    gate: Glow,
}

/// What is known of one candidate.
#[derive(Debug, Clone, Default)]
struct Found {
    /// Differences, rows with margins.
    difference: Vec<f32>,
    /// Columns of each row that look inside the reference.
    inside: Vec<Range<usize>>,
    /// Confidences, rows x columns; 0 outside of it.
    weights: Vec<f32>,
    glow: Glow,
}

impl Judge {
    pub(super) fn new(rows: usize, columns: usize, cpu: CpuLevel) -> Self {
        let scratch = vec![0.0; rows * (columns + 2 * MARGIN)];
        Self { cpu, rows, columns, scratch, found: Vec::new(), mass: Glow::default(), gate: Glow::default() }
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
            difference: vec![0.0; rows * (columns + 2 * MARGIN)],
            inside: vec![0..0; rows],
            weights: vec![0.0; rows * columns],
            glow: Glow::default(),
        };
        self.found.resize_with(candidates.len().max(self.found.len()), new);
        let mut noise = reference.noise;
        // Counting is not parallel in itself: candidates are, and each is compared while another one is counted.
        let (cpu, stride) = (self.cpu, reference.stride());
        let compared = self.found.par_iter_mut().zip(candidates).map(|(found, candidate)| {
            found.differ(cpu, reference, candidate);
            temporal_noise(&found.difference, stride)
        });
        let compared: Vec<f32> = compared.collect();
        noise = compared.into_iter().fold(noise, f32::min);
        for (k, candidate) in candidates.iter().enumerate() {
            let found = &mut self.found[k];
            light(cpu, &found.difference, (rows, columns), noise.max(1.0), &mut found.glow);
            let (noise, coding) = (noise.max(LEAST_NOISE), reference.coding.max(candidate.appearance.coding));
            self.weigh(k, candidate.appearance, NOISE_TOLERATED * noise * noise + coding * coding);
        }
        noise
    }

    /// `weights` from `difference`: squares, averaged over the window that the detail is of, against the tolerance.
    fn weigh(&mut self, k: usize, appearance: &Appearance, floor: f32) {
        let (rows, columns, stride, cpu) = (self.rows, self.columns, appearance.stride(), self.cpu);
        let Found { difference, inside, weights, glow } = &mut self.found[k];
        let glow = &*glow;
        let squared = difference.par_chunks_mut(stride).zip(&mut *inside).enumerate().with_min_len(ROWS);
        squared.for_each_init(Default::default, |(line, ends), (y, (row, inside))| {
            let own = &mut row[MARGIN..MARGIN + columns];
            *inside = seen(own);
            glow.ends(y as f32, columns, line, ends);
            squared_without(cpu, own, ends);
            continue_outwards(own, inside);
            mirror(row, columns);
        });
        continue_up_and_down(difference, inside, stride);
        blur(cpu, difference, &mut self.scratch, &gauss(WINDOW.0, WINDOW.1), (rows, columns));
        let mean = &self.scratch;
        weights.par_chunks_mut(columns).zip(&*inside).enumerate().with_min_len(ROWS).for_each_init(
            || vec![0.0; columns],
            |tolerance, (i, (out, inside))| {
                inverse_tolerance(cpu, tolerance, &appearance.detail[i * stride + MARGIN..], floor, ALIASING);
                out.copy_from_slice(&mean[i * stride + MARGIN..][..columns]);
                agreement(cpu, out, tolerance);
                out[..inside.start].fill(0.0);
                out[inside.end..].fill(0.0);
            },
        );
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
        let (columns, gate) = (self.columns, &self.gate);
        if gate.nodes.iter().any(|open| *open < 1.0) {
            for &k in kept {
                let field = candidates[k].field;
                let bands = self.found[k].weights.par_chunks_mut(GATE_CELL * columns).enumerate();
                bands.with_min_len(ROWS / GATE_CELL).for_each_init(Default::default, |scratch, (n, band)| {
                    close_gate(gate, field, n * GATE_CELL + GATE_CELL / 2, columns, band, scratch);
                });
            }
        }
        gate.nodes.iter().map(|v| f64::from(*v)).sum::<f64>() / gate.nodes.len() as f64
    }

    /// The gate of every cell of the reference, from what the candidates `kept` show of it.
    fn measure_mass(&mut self, kept: &[usize], candidates: &[Candidate<'_>]) {
        let (rows, columns) = (self.rows.div_ceil(GATE_CELL), self.columns.div_ceil(GATE_CELL));
        let size = (self.rows, self.columns);
        let sums: Vec<Vec<f32>> =
            kept.par_iter().map(|&k| mass(&self.found[k].weights, candidates[k].field, size)).collect();
        let mut mean = vec![0.0; rows * columns];
        for sums in &sums {
            mean.iter_mut().zip(sums).for_each(|(m, s)| *m += s);
        }
        // Samples that a cell holds: those of every second row; cells at the lower and right border may be smaller.
        let held = |n: usize, size: usize| (size - n * GATE_CELL).min(GATE_CELL);
        for (n, mean) in mean.iter_mut().enumerate() {
            let samples = held(n / columns, self.rows).div_ceil(2) * held(n % columns, self.columns);
            *mean /= (samples * kept.len()) as f32;
        }
        let along: Vec<f32> = mean.chunks_exact(columns).flat_map(|row| blurred(row, 1, columns)).collect();
        let mut nodes = vec![0.0; rows * columns];
        for x in 0..columns {
            let column = blurred(&along[x..], columns, rows);
            nodes[x..].iter_mut().step_by(columns).zip(column).for_each(|(node, mean)| *node = mean);
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
    /// `difference` = neighbour in the reference's light - reference moved onto it, both blurred.
    fn differ(&mut self, cpu: CpuLevel, reference: &Appearance, candidate: &Candidate<'_>) {
        let (columns, stride) = (reference.width, reference.stride());
        let (image, seen) = (reference.image(), &candidate.appearance.smooth);
        let out = self.difference.par_chunks_mut(stride).enumerate();
        out.with_min_len(ROWS).for_each_init(
            || (vec![0.0; columns], vec![0.0; columns]),
            |(dy, dx), (y, out)| {
                candidate.field.row(y as f32, 0.0, 1.0, dy, dx);
                let row = &mut out[MARGIN..MARGIN + columns];
                warp_row(cpu, row, &image, y, dy, dx, UNSEEN);
                matched_difference(cpu, row, &seen[y * stride + MARGIN..], candidate.gain, candidate.offset);
            },
        );
    }
}

/// `count` values, `step` apart, each half of itself and a quarter of its two neighbours.
fn blurred(values: &[f32], step: usize, count: usize) -> impl Iterator<Item = f32> {
    let at = move |i: usize| values[i * step];
    (0..count).map(move |i| 0.25 * (at(i.saturating_sub(1)) + at((i + 1).min(count - 1))) + 0.5 * at(i))
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
fn mass(weights: &[f32], field: &Field, (height, width): (usize, usize)) -> Vec<f32> {
    let (rows, columns) = (height.div_ceil(GATE_CELL), width.div_ceil(GATE_CELL));
    let mut sums = vec![0.0; rows * columns];
    let (mut seen_rows, mut seen_columns) = (vec![0.0; columns], vec![0.0; columns]);
    for (y, row) in weights.chunks_exact(width).enumerate().step_by(2) {
        cells_seen(field, y, &mut seen_rows, &mut seen_columns);
        for ((part, r), c) in row.chunks(GATE_CELL).zip(&seen_rows).zip(&seen_columns) {
            // One more, so that rounding towards zero is rounding down.
            let (r, c) = ((r + 1.5) as usize, (c + 1.5) as usize);
            if (1..=rows).contains(&r) && (1..=columns).contains(&c) {
                sums[(r - 1) * columns + c - 1] += part.iter().sum::<f32>();
            }
        }
    }
    sums
}

/// Multiplies rows of a candidate's weights by the gate where the row `y` in their middle looks.
fn close_gate(
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
    for row in weights.chunks_mut(width) {
        for (part, open) in row.chunks_mut(GATE_CELL).zip(rows.iter()) {
            part.iter_mut().for_each(|weight| *weight *= open);
        }
    }
}

/// The slowly varying part of `differences` (rows with margins), from pixels that agree but for it.
fn light(cpu: CpuLevel, differences: &[f32], (rows, columns): (usize, usize), noise: f32, glow: &mut Glow) {
    let stride = columns + 2 * MARGIN;
    let (cell_rows, cell_columns) = (rows.div_ceil(GLOW_CELL), columns.div_ceil(GLOW_CELL));
    let bound = 4.0 * noise + 4.0;
    let of_cells = |(sums, counts): &mut (Vec<f32>, Vec<f32>), row: usize| -> Vec<(f32, f32)> {
        sums.fill(0.0);
        counts.fill(0.0);
        for y in row * GLOW_CELL..((row + 1) * GLOW_CELL).min(rows) {
            add_near(cpu, sums, counts, &differences[y * stride + MARGIN..][..columns], bound);
        }
        let cells = sums.chunks(GLOW_CELL).zip(counts.chunks(GLOW_CELL));
        cells.map(|(sums, counts)| (sums.iter().sum(), counts.iter().sum())).collect()
    };
    let scratch = || (vec![0.0; columns], vec![0.0; columns]);
    let cells: Vec<Vec<(f32, f32)>> = (0..cell_rows).into_par_iter().map_init(scratch, of_cells).collect();
    let cells = cells.concat();
    let node = |y: usize, x: usize| {
        let (mut sum, mut count) = (0.0, GLOW_PRIOR);
        for (dy, wy) in [(-1, 0.5), (0, 1.0), (1, 0.5)] {
            for (dx, wx) in [(-1, 0.5), (0, 1.0), (1, 0.5)] {
                let at = mirrored(y as isize + dy, cell_rows) * cell_columns + mirrored(x as isize + dx, cell_columns);
                sum += wy * wx * cells[at].0;
                count += wy * wx * cells[at].1;
            }
        }
        sum / count
    };
    glow.nodes.clear();
    glow.nodes.extend((0..cells.len()).map(|n| node(n / cell_columns, n % cell_columns)));
    (glow.spacing, glow.rows, glow.columns) = (GLOW_CELL, cell_rows, cell_columns);
}

/// Where a row of differences begins and ends to be of pixels that the reference shows.
fn seen(row: &[f32]) -> Range<usize> {
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

/// The same for whole rows above and below.
fn continue_up_and_down(rows: &mut [f32], inside: &[Range<usize>], stride: usize) {
    let shown = |inside: &Range<usize>| !inside.is_empty();
    let (Some(first), Some(last)) = (inside.iter().position(shown), inside.iter().rposition(shown)) else { return };
    for y in 0..first {
        rows.copy_within(first * stride..(first + 1) * stride, y * stride);
    }
    for y in last + 1..inside.len() {
        rows.copy_within(last * stride..(last + 1) * stride, y * stride);
    }
}

/// Noise from blurred differences of two frames: robust deviation, over the root of 2 frames and of the blur.
fn temporal_noise(differences: &[f32], stride: usize) -> f32 {
    let rows = differences.chunks_exact(stride).step_by(4);
    let seen = rows.flat_map(|row| &row[MARGIN..stride - MARGIN]).map(|d| d.abs()).filter(|d| *d < LARGEST);
    median(seen).map_or(f32::INFINITY, |d| 1.4826 * d / (std::f32::consts::SQRT_2 * NOISE_LEFT))
}
