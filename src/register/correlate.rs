//! Where the shift may be: peaks of low-passed phase correlation of the whole frame and of nine overlapping tiles.
//!
//! The cross-power spectrum `C = F_moving conj(F_reference)` of two shifted pictures has phase `-w . d`; its inverse
//! transform after division by `|C|^a` has a peak at d (a = 1: Kuglin and Hines 1975; a = 1/2 is less easily lost in
//! noise). Aliased and noisy high frequencies are suppressed by a Gaussian low-pass. Tiles see a background that a
//! large object hides from the transform of the whole frame. Peaks are known modulo the window, so every shift that a
//! peak can stand for becomes a candidate; which one is right is decided on the pixels, in `agreement`.

use std::ops::Deref;

use rayon::prelude::*;
use rustfft::FftPlannerScalar;
use rustfft::num_complex::Complex32;

use super::prepare::Level;
use super::spectrum::{RealFft, Spectrum};
use crate::cores::Pieces;
use crate::kernels::sizes::fast_size;

/// Width of the low-pass, cycles per pixel.
const LOW_PASS: f64 = 0.15;
/// Tiles along each axis.
const TILES: usize = 3;

/// How one size of window is transformed: apodization, low-pass and plan.
struct Window {
    rows: usize,
    columns: usize,
    taper: [Vec<f32>; 2],
    low_pass: [Vec<f32>; 2],
    fft: RealFft,
}

impl Window {
    fn new(planner: &mut FftPlannerScalar<f32>, rows: usize, columns: usize) -> Self {
        let fft = RealFft::new(planner, fast_size(rows), fast_size(columns));
        let low_pass = [low_pass(fft.rows()), low_pass(fft.columns())];
        Self { rows, columns, taper: [taper(rows), taper(columns)], low_pass, fft }
    }

    /// Spectrum of the window of `level` whose first pixel is at row `top`, column `left`.
    fn spectrum(&self, level: &Level<impl Deref<Target = [f32]> + Sync>, top: usize, left: usize) -> Spectrum {
        let rows = || (0..self.rows).map(|y| &level.row(top + y)[left..left + self.columns]);
        let total: f64 = rows().map(|row| f64::from(row.iter().sum::<f32>())).sum();
        let mean = (total / (self.rows * self.columns) as f64) as f32;
        let mut picture = vec![0.0; self.fft.rows() * self.fft.columns()];
        for ((out, row), vertical) in picture.chunks_mut(self.fft.columns()).zip(rows()).zip(&self.taper[0]) {
            for ((out, value), horizontal) in out.iter_mut().zip(row).zip(&self.taper[1]) {
                *out = (value - mean) * vertical * horizontal;
            }
        }
        self.fft.forward(&picture)
    }

    /// The correlation surface of two spectra; `whiten` maps `|C|^2` to the factor of `C`.
    fn correlate(&self, reference: &Spectrum, moving: &Spectrum, whiten: impl Fn(f32) -> f32) -> Vec<f32> {
        let rows = self.fft.rows();
        let mut cross: Spectrum = Vec::with_capacity(reference.len());
        for (k, (a, b)) in reference.chunks(rows).zip(moving.chunks(rows)).enumerate() {
            let across = self.low_pass[1][k];
            cross.extend(a.iter().zip(b).zip(&self.low_pass[0]).map(|((a, b), down)| {
                let c = b * a.conj();
                let power = c.re * c.re + c.im * c.im;
                if power > f32::MIN_POSITIVE { c * (across * down * whiten(power)) } else { Complex32::default() }
            }));
        }
        self.fft.inverse(cross)
    }

    /// Adds every shift within `reach` (rows, columns) that the `count` highest peaks of `surface` can stand for.
    fn add_peaks(&self, surface: &[f32], count: usize, reach: [i64; 2], out: &mut Vec<[i64; 2]>) {
        let (rows, columns) = (self.fft.rows(), self.fft.columns());
        for (y, x) in peaks(surface, rows, columns, count) {
            for dy in aliases(y, rows, reach[0]) {
                out.extend(aliases(x, columns, reach[1]).map(|dx| [dy, dx]));
            }
        }
    }
}

/// Square root of a Hann window of `n` samples, never quite 0.
fn taper(n: usize) -> Vec<f32> {
    (0..n).map(|i| (std::f64::consts::PI * (i as f64 + 0.5) / n as f64).sin() as f32).collect()
}

/// Gaussian low-pass over the frequencies of a transform of `n` samples.
fn low_pass(n: usize) -> Vec<f32> {
    let frequency = |i: usize| i.min(n - i) as f64 / n as f64;
    (0..n).map(|i| (-0.5 * (frequency(i) / LOW_PASS).powi(2)).exp() as f32).collect()
}

/// All shifts equal to `peak` modulo `n` and at most `reach` long.
fn aliases(peak: usize, n: usize, reach: i64) -> impl Iterator<Item = i64> {
    let (peak, n) = (peak as i64, n as i64);
    let first = peak - (peak + reach).div_euclid(n) * n;
    (0..).map(move |k| first + k * n).take_while(move |&d| d <= reach)
}

/// Positions (row, column) of the `count` highest local maxima of a periodic surface, highest first.
fn peaks(surface: &[f32], rows: usize, columns: usize, count: usize) -> Vec<(usize, usize)> {
    let mut best: Vec<(f32, usize)> = Vec::with_capacity(count + 1);
    for y in 0..rows {
        let near = [(y + rows - 1) % rows, y, (y + 1) % rows].map(|y| &surface[y * columns..][..columns]);
        for x in 0..columns {
            let value = near[1][x];
            if best.len() == count && best.last().is_some_and(|last| value <= last.0) {
                continue;
            }
            let sides = [(x + columns - 1) % columns, x, (x + 1) % columns];
            if near.iter().all(|row| sides.iter().all(|&x| row[x] <= value)) {
                let at = best.partition_point(|b| b.0 >= value);
                best.insert(at, (value, y * columns + x));
                best.truncate(count);
            }
        }
    }
    best.iter().map(|&(_, i)| (i / columns, i % columns)).collect()
}

/// Search for shifts on frames of one size.
pub(super) struct Search {
    whole: Window,
    tile: Window,
    corners: Vec<(usize, usize)>,
    reach: [i64; 2],
}

impl Search {
    /// Plans the search of `rows x columns` for shifts up to `reach` times the side.
    pub(super) fn new(rows: usize, columns: usize, reach: f64) -> Self {
        let mut planner = FftPlannerScalar::new();
        let (high, wide) = (rows.div_ceil(2), columns.div_ceil(2));
        let corner = |i: usize, n: usize, tile: usize| i * (n - tile) / (TILES - 1);
        let corners = (0..TILES * TILES).map(|i| (corner(i / TILES, rows, high), corner(i % TILES, columns, wide)));
        Self {
            whole: Window::new(&mut planner, rows, columns),
            tile: Window::new(&mut planner, high, wide),
            corners: corners.collect(),
            reach: [rows, columns].map(|n| (reach * n as f64) as i64),
        }
    }

    /// Spectra of the whole of `level`, then of its tiles.
    pub(super) fn spectra(&self, level: &Level<impl Deref<Target = [f32]> + Sync>) -> Vec<Spectrum> {
        (0..self.corners.len() + 1)
            .into_par_iter()
            .on_free_cores()
            .map(|i| match i.checked_sub(1) {
                None => self.whole.spectrum(level, 0, 0),
                Some(i) => self.tile.spectrum(level, self.corners[i].0, self.corners[i].1),
            })
            .collect()
    }

    /// Candidate shifts (rows, columns) of the moving frame, each once, no shift first.
    pub(super) fn candidates(&self, reference: &[Spectrum], moving: &[Spectrum]) -> Vec<[i64; 2]> {
        let phase_only = |power: f32| 1.0 / power.sqrt();
        let half_whitened = |power: f32| 1.0 / power.sqrt().sqrt();
        let found: Vec<Vec<[i64; 2]>> = (0..self.corners.len() + 2)
            .into_par_iter()
            .on_free_cores()
            .map(|i| {
                let mut out = Vec::new();
                match i {
                    0 => {
                        let surface = self.whole.correlate(&reference[0], &moving[0], phase_only);
                        self.whole.add_peaks(&surface, 6, self.reach, &mut out);
                    }
                    1 => {
                        let surface = self.whole.correlate(&reference[0], &moving[0], half_whitened);
                        self.whole.add_peaks(&surface, 4, self.reach, &mut out);
                    }
                    _ => {
                        let surface = self.tile.correlate(&reference[i - 1], &moving[i - 1], phase_only);
                        self.tile.add_peaks(&surface, 2, self.reach, &mut out);
                    }
                }
                out
            })
            .collect();
        let mut unique = vec![[0, 0]];
        for shift in found.into_iter().flatten() {
            if !unique.contains(&shift) {
                unique.push(shift);
            }
        }
        unique
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aliases_are_all_shifts_within_reach() {
        assert_eq!(aliases(3, 10, 8).collect::<Vec<_>>(), [-7, 3], "both sides");
        assert_eq!(aliases(9, 10, 4).collect::<Vec<_>>(), [-1], "only the short one");
        assert_eq!(aliases(5, 10, 16).collect::<Vec<_>>(), [-15, -5, 5, 15], "more than one period");
        assert_eq!(aliases(5, 10, 4).count(), 0, "none within reach");
    }

    #[test]
    fn peaks_are_local_maxima_in_order_and_wrap_around() {
        let mut surface = vec![0.0; 48];
        surface[0] = 5.0; // (0, 0): its neighbour over the edge is lower
        surface[7] = 4.0; // (0, 7): beside (0, 0) over the edge, so no peak
        surface[3 * 8 + 4] = 3.0;
        surface[5 * 8 + 2] = 9.0;
        assert_eq!(peaks(&surface, 6, 8, 3), [(5, 2), (0, 0), (3, 4)], "highest first");
    }
}
