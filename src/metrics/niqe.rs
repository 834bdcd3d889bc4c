//! NIQE, how natural a picture looks without knowing the right one (Mittal, Soundararajan and Bovik 2013, "Making a
//! completely blind image quality analyzer", doi:10.1109/LSP.2012.2227726).
//!
//! Samples less their local mean over their local deviation (equation 1) are nearly Gaussian in pictures of nature. Of
//! each patch of 96 x 96 samples, at full and at half size, the shapes of their distribution and of that of products
//! of neighbours make 36 features; how far their mean and covariance are from a model's (`niqe_model`) is the score.

use super::aggd::Aggd;
use super::{BAND, niqe_model::NiqeModel, samples};
use crate::kernels::CpuLevel;
use crate::kernels::measuring::{normalise, powers, sides_of_products};
use crate::kernels::resampling::weighted_rows;
use crate::kernels::taps::{Taps, cubic};
use ndarray::{ArrayView2, s};
use rayon::prelude::*;

/// Side of a patch, samples.
pub const NIQE_PATCH: usize = 96;
/// Features of a patch.
pub const FEATURES: usize = 36;
/// The window of the local mean: 7 samples, standard deviation 7/6.
const WINDOW: usize = 7;
const SIGMA: f64 = 7.0 / 6.0;

/// The features of one patch, and its mean local deviation at full size, by which sharp patches are told.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Patch {
    /// NaN where a distribution could not be fitted: flat patches.
    pub(super) features: [f64; FEATURES],
    pub(super) sharpness: f64,
}

/// NIQE of a plane of luma on the 8-bit scale, 0 and up; small is natural. `None` if a side is below
/// [`NIQE_PATCH`], or no patch has texture.
///
/// Samples beyond a multiple of 96 rows and columns are left out, at the bottom and the right. O(samples).
pub fn niqe(plane: ArrayView2<'_, f32>, model: &NiqeModel) -> Option<f64> {
    model.distance(&patches(plane).iter().map(|patch| patch.features).collect::<Vec<_>>())
}

/// The 36 features of each patch of 96 x 96 samples, row after row; NaN where a distribution could not be fitted.
///
/// In the order of the authors' code, first of full size, then of half size: shape and mean scale of the samples, then for
/// the products with the left, upper, upper left and upper right neighbour shape, mean, left and right scale.
pub fn niqe_features(plane: ArrayView2<'_, f32>) -> Vec<[f64; FEATURES]> {
    patches(plane).iter().map(|patch| patch.features).collect()
}

/// All patches of a plane, row after row.
pub(super) fn patches(plane: ArrayView2<'_, f32>) -> Vec<Patch> {
    let (down, across) = (plane.nrows() / NIQE_PATCH, plane.ncols() / NIQE_PATCH);
    if down == 0 || across == 0 {
        return Vec::new();
    }
    let (rows, columns) = (down * NIQE_PATCH, across * NIQE_PATCH);
    let view = plane.slice(s![..rows, ..columns]);
    let whole = samples(&view);
    let cpu = CpuLevel::detect();
    let half = halved(&whole, columns, cpu);
    let (large, small) = (Normalised::new(&whole, columns, cpu), Normalised::new(&half, columns / 2, cpu));
    (0..down * across)
        .into_par_iter()
        .map(|i| {
            let at = (i / across, i % across);
            let mut features = [f64::NAN; FEATURES];
            let (first, second) = features.split_at_mut(FEATURES / 2);
            large.features(at, NIQE_PATCH, first);
            small.features(at, NIQE_PATCH / 2, second);
            Patch { features, sharpness: large.sharpness(at, NIQE_PATCH) }
        })
        .collect()
}

/// Half the size: cubic, antialiased, borders mirrored (MATLAB's imresize).
fn halved(plane: &[f32], columns: usize, cpu: CpuLevel) -> Vec<f32> {
    let rows = plane.len() / columns;
    let taps = |n: usize| {
        let positions: Vec<f64> = (0..n / 2).map(|o| 2.0 * o as f64 + 0.5).collect();
        Taps::new(n, &positions, 4.0, |x| cubic(x / 2.0))
    };
    let (vertical, horizontal) = (taps(rows), taps(columns));
    let mut out = vec![0.0; (rows / 2) * (columns / 2)];
    out.par_chunks_mut(columns / 2).enumerate().for_each_init(
        || vec![0.0; columns],
        |row, (y, out)| {
            let from = vertical.start(y) * columns;
            weighted_rows(cpu, row, &plane[from..], columns, vertical.weights(y));
            for (x, out) in out.iter_mut().enumerate() {
                let window = &row[horizontal.start(x)..];
                *out = window.iter().zip(horizontal.weights(x)).map(|(v, w)| v * w).sum();
            }
        },
    );
    out
}

/// A plane normalised by equation 1, and its local deviations.
struct Normalised {
    columns: usize,
    values: Vec<f32>,
    deviations: Vec<f32>,
    cpu: CpuLevel,
}

impl Normalised {
    fn new(plane: &[f32], columns: usize, cpu: CpuLevel) -> Self {
        let (mut values, mut deviations) = (vec![0.0; plane.len()], vec![0.0; plane.len()]);
        let bands = values.par_chunks_mut(BAND * columns).zip(deviations.par_chunks_mut(BAND * columns));
        bands.enumerate().for_each(|(i, (values, deviations))| {
            normalised_band(plane, columns, i * BAND, (values, deviations), cpu);
        });
        Self { columns, values, deviations, cpu }
    }

    /// Row `y` of patch `(down, across)`.
    fn row<'a>(&self, of: &'a [f32], (down, across): (usize, usize), side: usize, y: usize) -> &'a [f32] {
        &of[(down * side + y) * self.columns + across * side..][..side]
    }

    fn sharpness(&self, at: (usize, usize), side: usize) -> f64 {
        let rows = (0..side).map(|y| self.row(&self.deviations, at, side, y));
        rows.map(|row| row.iter().map(|v| f64::from(*v)).sum::<f64>()).sum::<f64>() / (side * side) as f64
    }

    /// The 18 features of a patch at this size.
    fn features(&self, at: (usize, usize), side: usize, out: &mut [f64]) {
        let ones = [1.0; NIQE_PATCH];
        let mut sums = [[0.0; 5]; 5];
        let mut turned = [0.0; NIQE_PATCH];
        for y in 0..side {
            let row = self.row(&self.values, at, side, y);
            // Neighbours beyond the patch are those of its other side, as the authors' code has it.
            let above = self.row(&self.values, at, side, (y + side - 1) % side);
            let mut add = |k: usize, other: &[f32]| {
                let parts = sides_of_products(self.cpu, row, other);
                sums[k].iter_mut().zip(parts).for_each(|(sum, part)| *sum += part);
            };
            let rotated = |turned: &mut [f32; NIQE_PATCH], row: &[f32], by: usize| {
                turned[..side].copy_from_slice(row);
                turned[..side].rotate_right(by);
            };
            add(0, &ones[..side]);
            rotated(&mut turned, row, 1);
            add(1, &turned[..side]);
            add(2, above);
            rotated(&mut turned, above, 1);
            add(3, &turned[..side]);
            rotated(&mut turned, above, side - 1);
            add(4, &turned[..side]);
        }
        let fitted = sums.map(|sums| Aggd::fit(sums, side * side));
        if let Some(own) = fitted[0] {
            (out[0], out[1]) = (own.alpha, 0.5 * (own.left + own.right));
        }
        for (out, found) in out[2..].chunks_exact_mut(4).zip(&fitted[1..]) {
            if let Some(found) = found {
                out.copy_from_slice(&[found.alpha, found.mean(), found.left, found.right]);
            }
        }
    }
}

/// Rows of [`Normalised`] from `first` on; borders are repeated.
fn normalised_band(plane: &[f32], columns: usize, first: usize, out: (&mut [f32], &mut [f32]), cpu: CpuLevel) {
    let (rows, reach) = (plane.len() / columns, WINDOW / 2);
    let weights = gaussian();
    let count = out.0.len() / columns;
    let padded = columns + 2 * reach;
    let (mut row, mut squares) = (vec![0.0; padded], vec![0.0; 2 * padded]);
    let mut averages = vec![0.0; (count + 2 * reach) * 2 * columns];
    for (i, averages) in averages.chunks_exact_mut(2 * columns).enumerate() {
        let y = (first + i).saturating_sub(reach).min(rows - 1);
        let source = &plane[y * columns..][..columns];
        row[..reach].fill(source[0]);
        row[reach..reach + columns].copy_from_slice(source);
        row[reach + columns..].fill(source[columns - 1]);
        powers(cpu, &mut squares, &row);
        for (average, row) in averages.chunks_exact_mut(columns).zip(squares.chunks_exact(padded)) {
            weighted_rows(cpu, average, row, 1, &weights);
        }
    }
    let mut window = vec![0.0; 2 * columns];
    let rows_out = out.0.chunks_exact_mut(columns).zip(out.1.chunks_exact_mut(columns));
    for (i, (values, deviations)) in rows_out.enumerate() {
        weighted_rows(cpu, &mut window, &averages[i * 2 * columns..], 2 * columns, &weights);
        normalise(cpu, values, deviations, &plane[(first + i) * columns..][..columns], &window);
    }
}

fn gaussian() -> Vec<f32> {
    let weight = |i: usize| (-0.5 * ((i as f64 - (WINDOW / 2) as f64) / SIGMA).powi(2)).exp();
    let sum: f64 = (0..WINDOW).map(weight).sum();
    (0..WINDOW).map(|i| (weight(i) / sum) as f32).collect()
}
