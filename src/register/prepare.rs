//! What is computed once for each frame: a pyramid of smoothed luma and the spectra of its search windows.
//!
//! Smoothing with a Gaussian before differences are taken keeps aliased frequencies, which do not move with the
//! picture, and noise out of the estimate. Borders are mirrored with the edge sample repeated.

use std::borrow::Cow;
use std::ops::Deref;

use ndarray::ArrayView2;
use rayon::prelude::*;

use crate::cores::Pieces;
use crate::kernels::CpuLevel;
use crate::kernels::filters::weighted_sum;
use crate::kernels::registration::halve_rows;

use super::rank::ranked;
use super::spectrum::Spectrum;

/// Rows smoothed or halved by one task.
const BAND: usize = 32;

/// One size of a frame: `rows x columns`, row after row.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Level<P = Vec<f32>> {
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) pixels: P,
}

impl<'a> Level<Cow<'a, [f32]>> {
    /// The frame itself, where it lies if it lies there in order.
    pub(super) fn of(plane: ArrayView2<'a, f32>) -> Self {
        let (rows, columns) = plane.dim();
        let pixels = match plane.to_slice() {
            Some(pixels) => Cow::Borrowed(pixels),
            None => Cow::Owned(plane.iter().copied().collect()),
        };
        Self { rows, columns, pixels }
    }
}

impl<P: Deref<Target = [f32]> + Sync> Level<P> {
    /// Row `y`.
    pub(super) fn row(&self, y: usize) -> &[f32] {
        &self.pixels[y * self.columns..][..self.columns]
    }

    /// Half the size, each pixel the mean of four; an odd last row or column is left out.
    pub(super) fn halved(&self, cpu: CpuLevel) -> Level {
        let (rows, columns) = (self.rows / 2, self.columns / 2);
        let mut pixels = vec![0.0; rows * columns];
        pixels.par_chunks_mut(columns.max(1) * BAND).enumerate().on_free_cores().for_each(|(band, out)| {
            for (y, out) in (band * BAND..).zip(out.chunks_mut(columns)) {
                halve_rows(cpu, out, self.row(2 * y), self.row(2 * y + 1));
            }
        });
        Level { rows, columns, pixels }
    }

    /// Convolved with a Gaussian given by its `taps`, an odd number of them.
    pub(super) fn smoothed(&self, taps: &[f32], cpu: CpuLevel) -> Level {
        let (columns, radius) = (self.columns, taps.len() / 2);
        let mut pixels = vec![0.0; self.pixels.len()];
        let shifts: Vec<usize> = (0..taps.len()).collect();
        let buffers = || (vec![0.0; columns + 2 * radius], vec![0; taps.len()]);
        let bands = pixels.par_chunks_mut(columns * BAND).enumerate().on_free_cores();
        bands.for_each_init(buffers, |(padded, rows), (band, out)| {
            for (y, out) in (band * BAND..).zip(out.chunks_mut(columns)) {
                for (start, y) in rows.iter_mut().zip(y as i64 - radius as i64..) {
                    *start = mirrored(y, self.rows) * columns;
                }
                weighted_sum(cpu, &mut padded[radius..radius + columns], &self.pixels, rows, taps, false);
                for i in 0..radius {
                    padded[radius - 1 - i] = padded[radius + mirrored(-1 - i as i64, columns)];
                    padded[radius + columns + i] = padded[radius + mirrored((columns + i) as i64, columns)];
                }
                weighted_sum(cpu, out, padded, &shifts, taps, false);
            }
        });
        Level { rows: self.rows, columns, pixels }
    }

    /// The values below which the `shares` (0 to 1) of about `count` pixels of an even grid lie.
    fn quantiles<const N: usize>(&self, count: usize, shares: [f64; N]) -> [f32; N] {
        let step = sample_step(self.rows * self.columns, count);
        let rows = (0..self.rows).step_by(step);
        let values: Vec<f32> = rows.flat_map(|y| self.row(y).iter().step_by(step).copied()).collect();
        let Some(last) = values.len().checked_sub(1) else { return [0.0; N] };
        shares.map(|share| ranked(&values, (share * last as f64).round() as usize))
    }
}

/// The step along both axes that leaves about `count` of `pixels` pixels.
pub(super) fn sample_step(pixels: usize, count: usize) -> usize {
    ((pixels as f64 / count as f64).sqrt().round() as usize).max(1)
}

/// Index `i` of an axis of `n` samples, mirrored at both ends with the edge repeated.
fn mirrored(i: i64, n: usize) -> usize {
    let n = n as i64;
    let i = i.rem_euclid(2 * n);
    (if i < n { i } else { 2 * n - 1 - i }) as usize
}

/// Samples of a Gaussian of `sigma` pixels out to four sigma, with sum 1.
pub(super) fn gaussian(sigma: f64) -> Vec<f32> {
    let radius = (4.0 * sigma).ceil() as i64;
    let values: Vec<f64> = (-radius..=radius).map(|i| (-0.5 * (i as f64 / sigma).powi(2)).exp()).collect();
    let total: f64 = values.iter().sum();
    values.iter().map(|v| (v / total) as f32).collect()
}

/// A frame ready to be registered, made by [`super::Registrar::prepare`].
///
/// Memory: 16/3 bytes a pixel for the smoothed pyramid, and at most 4 MB of spectra and detail whatever the size.
#[derive(Clone)]
pub struct Prepared {
    /// Smoothed luma, full size first, each level half the size of the one before.
    pub(super) levels: Vec<Level>,
    /// Spectra of the search windows, the whole frame first.
    pub(super) spectra: Vec<Spectrum>,
    /// Detail of level `likeness_level`, for comparing scenes.
    pub(super) detail: Level,
    pub(super) likeness_level: usize,
    /// Where the values of the search level lie, from which brightness is guessed.
    pub(super) spread: Spread,
}

impl Prepared {
    /// One size alone, which is enough to refine motion.
    pub(super) fn of_one_size(level: Level) -> Self {
        let detail = Level { rows: 0, columns: 0, pixels: Vec::new() };
        Self { levels: vec![level], spectra: Vec::new(), detail, likeness_level: 0, spread: Spread::default() }
    }
}

/// Pixels that quantiles are taken of.
const VALUES: usize = 16_384;
/// A fifth, half and four fifths.
const SHARES: [f64; 3] = [0.2, 0.5, 0.8];

/// Values of the search level below which [`SHARES`] of its pixels lie.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Spread([f32; 3]);

impl Spread {
    /// Of about [`VALUES`] pixels of the search level.
    pub(super) fn of(level: &Level) -> Self {
        Self(level.quantiles(VALUES, SHARES))
    }

    /// Median of the luma.
    pub(super) fn median(&self) -> f64 {
        f64::from(self.0[1])
    }

    /// From the luma that a fifth of the pixels lies below to the one that four fifths do.
    pub(super) fn width(&self) -> f64 {
        f64::from(self.0[2]) - f64::from(self.0[0])
    }
}

impl std::fmt::Debug for Prepared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sizes: Vec<(usize, usize)> = self.levels.iter().map(|l| (l.rows, l.columns)).collect();
        f.debug_struct("Prepared").field("levels", &sizes).field("spectra", &self.spectra.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn smoothing_keeps_a_constant_and_spreads_a_point_into_the_gaussian() {
        let taps = gaussian(1.0);
        for (rows, columns) in [(1, 1), (2, 3), (40, 7)] {
            let flat = Level { rows, columns, pixels: vec![100.0; rows * columns] };
            let smooth = flat.smoothed(&taps, CpuLevel::SCALAR);
            assert!(smooth.pixels.iter().all(|v| (v - 100.0).abs() < 1e-3), "{rows}x{columns}: {:?}", smooth.pixels);
        }
        let mut point = Level { rows: 40, columns: 11, pixels: vec![0.0; 440] };
        point.pixels[33 * 11 + 5] = 1.0;
        let smooth = point.smoothed(&taps, CpuLevel::SCALAR);
        assert!((smooth.row(34)[3] - taps[5] * taps[6]).abs() < 1e-7, "one down, two left");
    }

    #[test]
    fn halving_takes_means_and_leaves_odd_edges_out() {
        let level: Level = Level { rows: 3, columns: 5, pixels: (0..15).map(|v| v as f32).collect() };
        let half = level.halved(CpuLevel::SCALAR);
        assert_eq!((half.rows, half.columns, &half.pixels[..]), (1, 2, &[3.0, 5.0][..]), "means of four");
    }
}
