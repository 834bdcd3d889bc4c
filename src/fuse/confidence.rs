//! How far each pixel of a neighbour frame can be trusted, and how noisy the clip is.
//!
//! A neighbour's pixel is trusted where it agrees with the reference moved onto it. Both are first blurred slightly
//! (sigma 0.8), because unblurred frames of a detailed scene differ by their aliasing, which is the very signal that
//! the reconstruction lives on. A difference is judged against noise and local contrast: detail that is out of place
//! by a little differs more where there is more of it.

use std::ops::Range;

use rayon::prelude::*;

use super::grid::mirrored;
use crate::kernels::observation::{
    absolute_difference, agreement, inverse_tolerance, minimum_of_three, multiply, ramp, squares, weighted_sum,
};
use crate::kernels::{CpuLevel, taps::cubic};

/// Mirrored samples on both sides of every row.
const MARGIN: usize = 8;
/// Difference given to pixels that the reference does not show.
const UNSEEN: f32 = 1e3;
/// Noise that the blur of sigma 0.8 leaves of white noise: the root of the sum of its squared weights.
const NOISE_LEFT: f32 = 0.36;
/// Share of the local variance that is tolerated as misplacement.
const CONTRAST: f32 = 0.05;
/// Mean confidence of the neighbours at which they begin to take part, and from which they do in full.
const GATE: (f32, f32) = (0.1, 0.4);

/// A luma plane with mirrored margins left and right.
#[derive(Debug, Clone, Default)]
struct Padded {
    data: Vec<f32>,
}

/// A frame as the comparison takes it.
pub(super) struct Candidate<'a> {
    /// Luma, rows x columns.
    pub(super) luma: &'a [f32],
    /// (vertical, horizontal) displacement in luma pixels.
    pub(super) shift: (f64, f64),
    /// Brings the neighbour to the reference's light.
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
    reference: Padded,
    blurred: Padded,
    squared: Padded,
    tolerance: Padded,
    /// Differences, then confidences with margins, one per candidate.
    differences: Vec<Padded>,
    /// Confidences, rows x columns, one per candidate.
    weights: Vec<Vec<f32>>,
}

/// Weights of a Gaussian at -radius..=radius.
fn gauss(sigma: f32, radius: i32) -> Vec<f32> {
    let raw: Vec<f32> = (-radius..=radius).map(|i| (-0.5 * (i as f32 / sigma).powi(2)).exp()).collect();
    let total: f32 = raw.iter().sum();
    raw.iter().map(|w| w / total).collect()
}

impl Judge {
    pub(super) fn new(rows: usize, columns: usize, cpu: CpuLevel) -> Self {
        let padded = || Padded { data: vec![0.0; rows * (columns + 2 * MARGIN)] };
        Self {
            cpu,
            rows,
            columns,
            reference: padded(),
            blurred: padded(),
            squared: padded(),
            tolerance: padded(),
            differences: Vec::new(),
            weights: Vec::new(),
        }
    }

    /// Weights of candidate `k`, `rows x columns`, 0..=1.
    pub(super) fn weights(&self, k: usize) -> &[f32] {
        &self.weights[k]
    }

    /// Compares all candidates with the reference; returns the noise estimate, 8-bit scale.
    pub(super) fn compare(&mut self, reference: &[f32], candidates: &[Candidate<'_>]) -> f32 {
        let (rows, columns, stride) = (self.rows, self.columns, self.columns + 2 * MARGIN);
        let padded = || Padded { data: vec![0.0; rows * stride] };
        self.differences.resize_with(candidates.len().max(self.differences.len()), padded);
        self.weights.resize_with(candidates.len().max(self.weights.len()), || vec![0.0; rows * columns]);
        let mut noise = spatial_noise(reference, columns);
        if candidates.is_empty() {
            return noise;
        }
        let narrow = gauss(0.8, 2);
        self.pad(reference);
        let (cpu, source) = (self.cpu, std::mem::take(&mut self.blurred));
        let mut moved = std::mem::take(&mut self.reference);
        blur(cpu, &source, &mut moved, &narrow, (rows, columns));
        (self.blurred, self.reference) = (source, moved);
        for (k, candidate) in candidates.iter().enumerate() {
            self.pad(candidate.luma);
            blur(cpu, &self.blurred, &mut self.squared, &narrow, (rows, columns));
            self.difference(k, candidate);
            noise = noise.min(temporal_noise(&self.differences[k], stride));
        }
        self.tolerate(noise.max(1.0));
        for (k, candidate) in candidates.iter().enumerate() {
            self.weigh(k, candidate.shift);
        }
        noise
    }

    /// Lets neighbours take part only where enough of them agree, and returns the share of the picture that is.
    ///
    /// The mean confidence of the candidates `kept` at each pixel of the reference, smoothed, opens the gate from 0 at
    /// [`GATE`]`.0` to 1 at `.1`; their weights are multiplied by it. Where it is shut, the reference stands alone.
    pub(super) fn gate(&mut self, kept: &[usize], candidates: &[Candidate<'_>]) -> f64 {
        if kept.is_empty() {
            return 0.0;
        }
        let (rows, columns, stride, cpu) = (self.rows, self.columns, self.columns + 2 * MARGIN, self.cpu);
        let shifts: Vec<_> = kept.iter().map(|&k| nearest(candidates[k].shift)).collect();
        let part = 1.0 / kept.len() as f32;
        let weights = &self.weights;
        let mass = self.blurred.data.par_chunks_mut(stride).enumerate().with_min_len(32);
        mass.for_each(|(y, out)| {
            out.fill(0.0);
            for (&k, &(dy, dx)) in kept.iter().zip(&shifts) {
                if let Some((line, here, there)) = overlap(y, dy, dx, rows, columns) {
                    let out = &mut out[MARGIN..MARGIN + columns][here];
                    weighted_sum(cpu, out, &weights[k], &[line * columns + there.start], &[part], true);
                }
            }
            mirror(out, columns);
        });
        blur(cpu, &self.blurred, &mut self.squared, &gauss(1.5, 3), (rows, columns));
        let open = self.squared.data.par_chunks_mut(stride).with_min_len(32);
        open.for_each(|row| ramp(cpu, row, GATE.0, 1.0 / (GATE.1 - GATE.0)));
        let gate = &self.squared.data;
        for (&k, &(dy, dx)) in kept.iter().zip(&shifts) {
            let rows_out = self.weights[k].par_chunks_mut(columns).enumerate().with_min_len(32);
            rows_out.for_each(|(i, row)| match overlap(i, -dy, -dx, rows, columns) {
                Some((line, here, there)) => {
                    multiply(cpu, &mut row[here], &gate[line * stride + MARGIN + there.start..])
                }
                None => row.fill(0.0),
            });
        }
        let total = |row: &[f32]| row[MARGIN..MARGIN + columns].iter().map(|v| f64::from(*v)).sum::<f64>();
        gate.chunks_exact(stride).map(total).sum::<f64>() / (rows * columns) as f64
    }

    /// Copies a plane into `blurred`, with margins.
    fn pad(&mut self, plane: &[f32]) {
        let (columns, stride) = (self.columns, self.columns + 2 * MARGIN);
        let rows = self.blurred.data.par_chunks_mut(stride).zip(plane.par_chunks(columns));
        rows.with_min_len(32).for_each(|(out, row)| {
            out[MARGIN..MARGIN + columns].copy_from_slice(row);
            mirror(out, columns);
        });
    }

    /// `differences[k]` = |blurred neighbour (in `squared`) - blurred reference moved onto it|.
    fn difference(&mut self, k: usize, candidate: &Candidate<'_>) {
        let (rows, columns, stride, cpu) = (self.rows, self.columns, self.columns + 2 * MARGIN, self.cpu);
        let (reference, seen) = (&self.reference.data, &self.squared.data);
        let (first_y, weights_y) = window(-candidate.shift.0);
        let (first_x, weights_x) = window(-candidate.shift.1);
        // Samples that look inside the reference, by half a pixel at most beyond its border.
        let valid = |n: usize, shift: f64| {
            let low = (-0.5 - shift).ceil().clamp(0.0, n as f64);
            low as usize..((n as f64 - 0.5 - shift).floor() + 1.0).clamp(low, n as f64) as usize
        };
        let (valid_y, valid_x) = (valid(rows, -candidate.shift.0), valid(columns, -candidate.shift.1));
        let out = self.differences[k].data.par_chunks_mut(stride).enumerate();
        out.with_min_len(32).for_each_init(
            || vec![0.0; stride],
            |row, (i, out)| {
                out.fill(UNSEEN);
                if !valid_y.contains(&i) || valid_x.is_empty() {
                    return;
                }
                let line = |k: usize| mirrored(i as isize + first_y + k as isize, rows) * stride;
                weighted_sum(cpu, row, reference, &[line(0), line(1), line(2), line(3)], &weights_y, false);
                let start = (MARGIN + valid_x.start) as isize + first_x;
                let at: [usize; 4] = std::array::from_fn(|k| (start + k as isize) as usize);
                let out = &mut out[MARGIN + valid_x.start..MARGIN + valid_x.end];
                weighted_sum(cpu, out, row, &at, &weights_x, false);
                let seen = &seen[i * stride + MARGIN + valid_x.start..];
                absolute_difference(cpu, out, seen, candidate.gain, candidate.offset);
            },
        );
    }

    /// `tolerance` = 1 / (noise^2 + share of the local variance of the reference).
    fn tolerate(&mut self, noise: f32) {
        let (size, stride, cpu) = ((self.rows, self.columns), self.columns + 2 * MARGIN, self.cpu);
        let wide = gauss(1.5, 3);
        let squared = self.squared.data.par_chunks_mut(stride).zip(self.reference.data.par_chunks(stride));
        squared.with_min_len(32).for_each(|(out, row)| squares(cpu, out, row));
        blur(cpu, &self.squared, &mut self.blurred, &wide, size);
        blur(cpu, &self.reference, &mut self.tolerance, &wide, size);
        let rows = self.tolerance.data.par_chunks_mut(stride).zip(self.blurred.data.par_chunks(stride));
        rows.with_min_len(32).for_each(|(mean, square)| inverse_tolerance(cpu, mean, square, noise * noise, CONTRAST));
    }

    /// `weights[k]` from `differences[k]`: 3x3 blur, comparison with the tolerance, 3x3 minimum.
    fn weigh(&mut self, k: usize, shift: (f64, f64)) {
        let (rows, columns, stride, cpu) = (self.rows, self.columns, self.columns + 2 * MARGIN, self.cpu);
        let (tolerance, differences) = (&self.tolerance.data, &mut self.differences[k].data);
        differences.par_chunks_mut(stride).with_min_len(32).for_each(|row| mirror(row, columns));
        let (dy, dx) = (-shift.0.round() as isize, -shift.1.round() as isize);
        let out = self.squared.data.par_chunks_mut(stride).enumerate().with_min_len(32);
        let (side, center) = (0.1065f32, 0.787f32);
        let offsets = |i: usize, by: usize| -> [usize; 9] {
            let line = |k: isize| mirrored(i as isize + k, rows) * stride + MARGIN - by;
            let lines = [line(-1), line(0), line(1)];
            std::array::from_fn(|n| lines[n / 3] + n % 3)
        };
        let taps: [f32; 9] = std::array::from_fn(|n| [side, center, side][n / 3] * [side, center, side][n % 3]);
        out.for_each(|(i, out)| {
            weighted_sum(cpu, &mut out[MARGIN..MARGIN + columns], differences, &offsets(i, 1), &taps, false);
            // The tolerance belongs to the reference: read it where the pixel looks, to the nearest pixel.
            let y = (i as isize + dy).clamp(0, rows as isize - 1) as usize;
            let low = (-dx).clamp(0, columns as isize) as usize;
            let high = (columns as isize - dx).clamp(low as isize, columns as isize) as usize;
            let row = &mut out[MARGIN..MARGIN + columns];
            row[..low].fill(0.0);
            row[high..].fill(0.0);
            if low < high {
                let from = ((y * stride + MARGIN + low) as isize + dx) as usize;
                agreement(cpu, &mut row[low..high], &tolerance[from..]);
            }
            mirror(out, columns);
        });
        let agreed = &self.squared.data;
        let narrow = differences.par_chunks_mut(stride).enumerate().with_min_len(32);
        narrow.for_each(|(i, out)| {
            let line = |k: isize| &agreed[mirrored(i as isize + k, rows) * stride..][..stride];
            out.copy_from_slice(line(0));
            minimum_of_three(cpu, out, line(-1), line(1));
        });
        let weights = self.weights[k].par_chunks_mut(columns).zip(differences.par_chunks(stride)).with_min_len(32);
        weights.for_each(|(out, row)| {
            out.copy_from_slice(&row[MARGIN..MARGIN + columns]);
            minimum_of_three(cpu, out, &row[MARGIN - 1..], &row[MARGIN + 1..]);
        });
    }
}

/// A shift to the nearest pixel.
fn nearest(shift: (f64, f64)) -> (isize, isize) {
    (shift.0.round() as isize, shift.1.round() as isize)
}

/// Where row `y` moved by (dy, dx) lies: its line there, its columns here that stay inside, and those columns there.
fn overlap(y: usize, dy: isize, dx: isize, rows: usize, columns: usize) -> Option<(usize, Range<usize>, Range<usize>)> {
    let line = y.checked_add_signed(dy).filter(|line| *line < rows)?;
    let low = (-dx).clamp(0, columns as isize);
    let high = (columns as isize - dx).clamp(low, columns as isize);
    (low < high).then_some((line, low as usize..high as usize, (low + dx) as usize..(high + dx) as usize))
}

/// First sample and cubic weights of the window around `i + shift`, relative to `i`.
fn window(shift: f64) -> (isize, [f32; 4]) {
    let first = shift.floor();
    (first as isize - 1, std::array::from_fn(|k| cubic(first + k as f64 - 1.0 - shift) as f32))
}

/// Mirrors the ends of a row with margins.
fn mirror(row: &mut [f32], columns: usize) {
    for k in 1..=MARGIN {
        row[MARGIN - k] = row[MARGIN + mirrored(-(k as isize), columns)];
        row[MARGIN + columns + k - 1] = row[MARGIN + mirrored((columns + k - 1) as isize, columns)];
    }
}

/// Separable blur with mirrored borders; all rows keep their margins.
fn blur(cpu: CpuLevel, input: &Padded, out: &mut Padded, taps: &[f32], (rows, columns): (usize, usize)) {
    let (radius, stride) = (taps.len() / 2, columns + 2 * MARGIN);
    let rows_out = out.data.par_chunks_mut(stride).enumerate().with_min_len(32);
    rows_out.for_each_init(
        || vec![0.0; stride],
        |row, (i, out)| {
            let mut lines = [0; 16];
            for (k, line) in lines[..taps.len()].iter_mut().enumerate() {
                *line = mirrored(i as isize + k as isize - radius as isize, rows) * stride;
            }
            weighted_sum(cpu, row, &input.data, &lines[..taps.len()], taps, false);
            for (k, line) in lines[..taps.len()].iter_mut().enumerate() {
                *line = MARGIN - radius + k;
            }
            weighted_sum(cpu, &mut out[MARGIN..MARGIN + columns], row, &lines[..taps.len()], taps, false);
            mirror(out, columns);
        },
    );
}

/// Median of magnitudes, to 1/32, from a histogram.
fn median(values: impl Iterator<Item = f32>) -> Option<f32> {
    let mut counts = [0u32; 2048];
    let mut total = 0u32;
    for value in values {
        counts[((value * 32.0) as usize).min(2047)] += 1;
        total += 1;
    }
    let mut below = 0;
    let bin = counts.iter().position(|count| {
        below += count;
        2 * below >= total
    });
    (total > 0).then_some((bin? as f32 + 0.5) / 32.0)
}

/// Noise from blurred differences of two frames: robust deviation, over the root of 2 frames and of the blur.
fn temporal_noise(differences: &Padded, stride: usize) -> f32 {
    let rows = differences.data.chunks_exact(stride).step_by(4);
    let seen = rows.flat_map(|row| &row[MARGIN..stride - MARGIN]).copied().filter(|d| *d < UNSEEN);
    median(seen).map_or(f32::INFINITY, |d| 1.4826 * d / (std::f32::consts::SQRT_2 * NOISE_LEFT))
}

/// Noise from one frame: median response of the mask [1 -2 1; -2 4 -2; 1 -2 1] (Immerkaer 1996, doi:10.1006/cviu.1996.0060).
fn spatial_noise(plane: &[f32], columns: usize) -> f32 {
    let rows = plane.len() / columns;
    let second = |i: usize, j: usize| {
        let at = i * columns + j;
        plane[at - 1] - 2.0 * plane[at] + plane[at + 1]
    };
    let response = |i: usize, j: usize| (second(i - 1, j) - 2.0 * second(i, j) + second(i + 1, j)).abs();
    let sites = (1..rows.saturating_sub(1)).step_by(4).flat_map(|i| (1..columns.max(1) - 1).map(move |j| (i, j)));
    median(sites.map(|(i, j)| response(i, j))).map_or(0.0, |m| 1.4826 * m / 6.0)
}
