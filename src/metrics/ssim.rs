//! Structural similarity (Wang, Bovik, Sheikh and Simoncelli 2004, doi:10.1109/TIP.2003.819861).
//!
//! The four averages that equation 13 needs (both means, the sum of the squares, the product) are resampling by
//! another name: rows of the four quantities side by side, summed with the window's weights along the row, then
//! over the rows of a band.

use super::{BAND, common_size, samples};
use crate::error::Result;
use crate::kernels::{
    CpuLevel,
    measuring::{moments, similarity},
    resampling::weighted_rows,
};
use ndarray::ArrayView2;
use rayon::prelude::*;
use std::ops::Range;

/// Side of the window in samples, and its standard deviation.
const WINDOW: usize = 11;
const SIGMA: f64 = 1.5;

/// `(K1 L)^2` and `(K2 L)^2` with K1 = 0.01, K2 = 0.03 and L = 255.
const C1: f32 = 0.01 * 255.0 * 0.01 * 255.0;
const C2: f32 = 0.03 * 255.0 * 0.03 * 255.0;

/// Mean structural similarity of `a` and `b`, at most 1, which it is for equal planes.
///
/// Both planes are on the 8-bit scale. Gaussian window of 11x11 samples and standard deviation 1.5, K1 = 0.01,
/// K2 = 0.03, population variances, averaged over the positions where the whole window is inside the plane. Along a
/// side shorter than 11 samples the window is as long as that side, centred on it, with the same deviation.
/// Symmetric in `a` and `b`; NaN if a sample is. O(samples), in `f32` about mid-scale: within 1e-6 of `f64`.
///
/// # Errors
/// [`Kind::Input`](crate::Kind::Input) naming both sizes if they differ, or if the planes are empty.
pub fn ssim(a: ArrayView2<'_, f32>, b: ArrayView2<'_, f32>) -> Result<f64> {
    let (rows, columns) = common_size(&a, &b)?;
    let comparison = Comparison {
        a: &samples(&a),
        b: &samples(&b),
        columns,
        vertical: gaussian(WINDOW.min(rows)),
        horizontal: gaussian(WINDOW.min(columns)),
        cpu: CpuLevel::detect(),
    };
    let (down, across) = (rows + 1 - comparison.vertical.len(), columns + 1 - comparison.horizontal.len());
    let bands: Vec<f64> = (0..down.div_ceil(BAND))
        .into_par_iter()
        .map(|i| comparison.band(i * BAND..((i + 1) * BAND).min(down)))
        .collect();
    Ok(bands.iter().sum::<f64>() / (down * across) as f64)
}

/// Weights of a window of `length` samples, summing to 1.
fn gaussian(length: usize) -> Vec<f32> {
    let centre = (length - 1) as f64 / 2.0;
    let weights: Vec<f64> = (0..length).map(|i| (-0.5 * ((i as f64 - centre) / SIGMA).powi(2)).exp()).collect();
    let sum: f64 = weights.iter().sum();
    weights.iter().map(|w| (w / sum) as f32).collect()
}

/// Two planes in row-major order and the window they are compared through.
struct Comparison<'a> {
    a: &'a [f32],
    b: &'a [f32],
    columns: usize,
    vertical: Vec<f32>,
    horizontal: Vec<f32>,
    cpu: CpuLevel,
}

impl Comparison<'_> {
    /// Sum of the similarity over all window positions whose first row is in `rows`.
    fn band(&self, rows: Range<usize>) -> f64 {
        let across = self.columns + 1 - self.horizontal.len();
        let width = 4 * across;
        let mut row = vec![0.0; 4 * self.columns];
        let mut averages = vec![0.0; (rows.len() + self.vertical.len() - 1) * width];
        for (i, averages) in averages.chunks_exact_mut(width).enumerate() {
            let at = (rows.start + i) * self.columns;
            moments(self.cpu, &mut row, &self.a[at..][..self.columns], &self.b[at..][..self.columns]);
            for (average, row) in averages.chunks_exact_mut(across).zip(row.chunks_exact(self.columns)) {
                weighted_rows(self.cpu, average, row, 1, &self.horizontal);
            }
        }
        let mut window = vec![0.0; width];
        let similarities = (0..rows.len()).map(|i| {
            weighted_rows(self.cpu, &mut window, &averages[i * width..], width, &self.vertical);
            similarity(self.cpu, &window, C1, C2)
        });
        similarities.sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::tests::pairs;
    use ndarray::{Array2, s};

    /// `clips.ssim(a, b)` and `skimage.metrics.structural_similarity(a, b, data_range=255, gaussian_weights=True,
    /// sigma=1.5, use_sample_covariance=False)` (0.26.0), which agree to all digits.
    #[test]
    fn reference_values_are_met() {
        for ((a, b), want) in pairs().iter().zip([0.985_239_109_803_977_8, 0.960_346_024_222_108_9]) {
            let got = ssim(a.view(), b.view()).expect("sizes are equal");
            assert!((got - want).abs() < 1e-6, "{got}, not {want}");
        }
    }

    #[test]
    fn equal_planes_have_similarity_one_at_any_size() {
        let [(a, b), _] = pairs();
        for (rows, columns) in [(1, 1), (1, 50), (40, 3), (10, 10), (11, 12), (40, 50)] {
            let (a, b) = (a.slice(s![..rows, ..columns]), &b + 3.0);
            let b = b.slice(s![..rows, ..columns]);
            assert_eq!(ssim(a, a).expect("sizes are equal"), 1.0, "{rows}x{columns}");
            let (there, back) = (ssim(a, b).expect("sizes are equal"), ssim(b, a).expect("sizes are equal"));
            assert!((there - back).abs() < 1e-6 && there < 1.0, "{rows}x{columns}: {there} and {back}");
        }
    }

    #[test]
    fn flat_planes_compare_by_their_means_alone() {
        let (a, b) = (Array2::from_elem((100, 20), 16.0), Array2::from_elem((100, 20), 235.0));
        let (c1, got) = (f64::from(C1), ssim(a.view(), b.view()).expect("sizes are equal"));
        let want = (2.0 * 16.0 * 235.0 + c1) / (16.0 * 16.0 + 235.0 * 235.0 + c1);
        assert!((got - want).abs() < 1e-4, "{got}, not {want}");
    }

    #[test]
    fn threads_do_not_change_the_result() {
        let plane = |k: usize| Array2::from_shape_fn((150, 37), |(y, x)| ((y * 7 + x * k) % 256) as f32);
        let measure = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
            pool.install(|| ssim(plane(3).view(), plane(5).view())).expect("sizes are equal")
        };
        assert_eq!(measure(1).to_bits(), measure(3).to_bits(), "1 and 3 threads");
    }
}
