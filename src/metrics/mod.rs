//! How far one plane is from another (PSNR, SSIM, MS-SSIM), how sharp and how natural one is (edge width, NIQE).
//!
//! Planes are on the 8-bit scale with peak 255 whatever their depth. Which planes to compare, and how many border
//! samples to leave out, is the caller's choice; pass views. Rows are shared out over the threads of rayon in bands
//! of fixed size whose sums are added in order, so results depend on neither threads nor CPU level.

mod aggd;
mod edges;
mod niqe;
mod niqe_model;
mod psnr;
#[cfg(test)]
mod reference_tests;
mod scores;
mod ssim;

pub use edges::edge_width;
pub use niqe::{FEATURES as NIQE_FEATURES, NIQE_PATCH, niqe, niqe_features};
pub use niqe_model::{NiqeFit, NiqeModel};
pub use psnr::{decibels, mean_squared_error, psnr};
pub use scores::{Metric, Scores};
pub use ssim::{MS_SSIM_SIDE, Similarities, ms_ssim, similarities, ssim};

use crate::error::{Error, Kind, Result};
use ndarray::ArrayView2;
use std::borrow::Cow;

/// Rows of a band.
const BAND: usize = 32;

/// Samples in row-major order, copied only where the view has another order or gaps.
fn samples<'a>(plane: &ArrayView2<'a, f32>) -> Cow<'a, [f32]> {
    plane.to_slice().map_or_else(|| plane.iter().copied().collect(), Cow::Borrowed)
}

/// The common size, rows and columns.
///
/// # Errors
/// `Kind::Input` if the sizes differ or there is nothing to compare.
fn common_size(a: &ArrayView2<'_, f32>, b: &ArrayView2<'_, f32>) -> Result<(usize, usize)> {
    let name = |plane: &ArrayView2<'_, f32>| format!("{}x{}", plane.ncols(), plane.nrows());
    if a.dim() != b.dim() {
        let message = format!("cannot compare planes of {} and {} samples: the sizes must be equal", name(a), name(b));
        return Err(Error::new(Kind::Input, message));
    }
    if a.is_empty() {
        return Err(Error::new(Kind::Input, format!("cannot compare planes of {} samples: they are empty", name(a))));
    }
    Ok(a.dim())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array2, s};

    /// The pairs of planes the quoted numbers were computed from:
    /// ```python
    /// y, x = np.mgrid[:40, :50]
    /// a = ((y * 37 + x * 101 + y * x * 13) % 256).astype(float); b = np.floor(a * 7 / 8) + (x * y) % 11
    /// c = (128 + 90 * np.sin(x / 5) * np.cos(y / 7)).astype(np.float32).astype(float)
    /// d = (c + 6 * np.sin(x * 1.7 + y)).astype(np.float32).astype(float)
    /// ```
    pub(super) fn pairs() -> [(Array2<f32>, Array2<f32>); 2] {
        let plane =
            |f: &dyn Fn(f64, f64) -> f64| Array2::from_shape_fn((40, 50), |(y, x)| f(y as f64, x as f64) as f32);
        let a = plane(&|y, x| (y * 37.0 + x * 101.0 + y * x * 13.0) % 256.0);
        let noisy = plane(&|y, x| ((y * 37.0 + x * 101.0 + y * x * 13.0) % 256.0 * 7.0 / 8.0).floor() + (x * y) % 11.0);
        let c = |y: f64, x: f64| 128.0 + 90.0 * (x / 5.0).sin() * (y / 7.0).cos();
        let d = move |y: f64, x: f64| c(y, x) + 6.0 * (x * 1.7 + y).sin();
        [(a, noisy), (plane(&c), plane(&d))]
    }

    #[test]
    fn planes_of_unequal_or_no_size_are_refused_by_both_sizes() {
        let (a, b) = (Array2::zeros((480, 640)), Array2::zeros((240, 640)));
        for metric in [psnr, ssim] {
            let error = metric(a.view(), b.view()).expect_err("sizes differ");
            assert_eq!(error.kind(), Kind::Input, "{error}");
            let text = "cannot compare planes of 640x480 and 640x240 samples: the sizes must be equal";
            assert_eq!(error.to_string(), text, "text");
            let error = metric(a.slice(s![..0, ..]), b.slice(s![..0, ..])).expect_err("nothing to compare");
            assert_eq!(error.to_string(), "cannot compare planes of 640x0 samples: they are empty", "text");
        }
    }

    #[test]
    fn views_with_gaps_and_other_orders_measure_the_same() {
        let [(a, b), _] = pairs();
        for metric in [psnr, ssim] {
            let (a_part, b_part) = (a.slice(s![4..36, 4..46]), b.slice(s![4..36, 4..46]));
            let want = metric(a_part.to_owned().view(), b_part.to_owned().view()).expect("sizes are equal");
            assert_eq!(metric(a_part, b_part).expect("sizes are equal"), want, "a crop");
            let transposed = metric(a_part.t(), b_part.t()).expect("sizes are equal");
            assert!((transposed - want).abs() < 1e-5, "transposed: {transposed}, not {want}");
        }
    }
}
