//! Peak signal-to-noise ratio.

use super::{BAND, common_size, samples};
use crate::error::Result;
use crate::kernels::{CpuLevel, measuring::squared_difference};
use ndarray::ArrayView2;
use rayon::prelude::*;

/// Peak signal-to-noise ratio of `b` against `a` in decibels: `10 log10(255^2 / mean((a - b)^2))`.
///
/// Both planes are on the 8-bit scale. Symmetric in `a` and `b`; infinity if they are equal, NaN if a sample is.
/// Differences are squared and added in `f64`. O(samples).
///
/// # Errors
/// [`Kind::Input`](crate::Kind::Input) naming both sizes if they differ, or if the planes are empty.
pub fn psnr(a: ArrayView2<'_, f32>, b: ArrayView2<'_, f32>) -> Result<f64> {
    mean_squared_error(a, b).map(decibels)
}

/// Decibels of a mean squared error against peak 255; infinity if it is 0.
pub fn decibels(error: f64) -> f64 {
    10.0 * (255.0 * 255.0 / error).log10()
}

/// Mean of `(a - b)^2`; averages of several planes' make one PSNR of all of them.
///
/// # Errors
/// As for [`psnr`].
pub fn mean_squared_error(a: ArrayView2<'_, f32>, b: ArrayView2<'_, f32>) -> Result<f64> {
    let (rows, columns) = common_size(&a, &b)?;
    let (a, b, cpu) = (samples(&a), samples(&b), CpuLevel::detect());
    let band = BAND * columns;
    let sums: Vec<f64> =
        a.par_chunks(band).zip(b.par_chunks(band)).map(|(a, b)| squared_difference(cpu, a, b)).collect();
    Ok(sums.iter().sum::<f64>() / (rows * columns) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::tests::pairs;
    use ndarray::Array2;

    /// `clips.psnr(a, b)` and `skimage.metrics.peak_signal_noise_ratio(a, b, data_range=255)` (0.26.0).
    #[test]
    fn reference_values_are_met() {
        for ((a, b), want) in pairs().iter().zip([24.272_971_885_131_6, 35.578_411_461_215_85]) {
            let got = psnr(a.view(), b.view()).expect("sizes are equal");
            assert!((got - want).abs() < 1e-6, "{got} dB, not {want}");
        }
    }

    #[test]
    fn equal_planes_are_infinitely_far_from_noise_and_one_step_is_48_decibels() {
        let a = Array2::from_elem((70, 33), 17.0);
        assert_eq!(psnr(a.view(), a.view()).expect("sizes are equal"), f64::INFINITY, "equal");
        let step = psnr(a.view(), (&a + 1.0).view()).expect("sizes are equal");
        assert!((step - 20.0 * 255f64.log10()).abs() < 1e-12, "{step}");
    }
}
