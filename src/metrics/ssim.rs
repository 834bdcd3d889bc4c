//! Structural similarity (Wang, Bovik, Sheikh and Simoncelli 2004, doi:10.1109/TIP.2003.819861), at one scale and at
//! five (Wang, Simoncelli and Bovik 2003, doi:10.1109/ACSSC.2003.1292216).
//!
//! The four averages that equation 13 needs (both means, the sum of the squares, the product) are resampling by
//! another name: rows of the four quantities side by side, summed with the window's weights along the row, then
//! over the rows of a band.

use super::{BAND, common_size, samples};
use crate::error::Result;
use crate::kernels::{
    CpuLevel,
    measuring::{contrast, moments, similarity},
    registration::halve_rows,
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

/// Exponents of the five scales (section 3.2 of Wang et al. 2003).
const SCALE_WEIGHTS: [f64; 5] = [0.0448, 0.2856, 0.3001, 0.2363, 0.1333];

/// The shortest side that holds the window at the smallest of five scales.
pub const MS_SSIM_SIDE: usize = WINDOW << 4;

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
    Ok(Comparison::new(&samples(&a), &samples(&b), rows, columns).mean(true, false).0)
}

/// Multi-scale structural similarity of `a` and `b`, at most 1; `None` if a side is below [`MS_SSIM_SIDE`].
///
/// Both planes are on the 8-bit scale. Equation 7 with the published weights: contrast and structure at five scales,
/// luminance at the last, the window of [`ssim`]; from scale to scale means of 2 x 2 samples, of which an odd size has
/// the last ones doubled, as the authors' code does. Contrast that is negative over a whole picture counts as 0 (its
/// power is not a real number). O(samples).
///
/// # Errors
/// As for [`ssim`].
pub fn ms_ssim(a: ArrayView2<'_, f32>, b: ArrayView2<'_, f32>) -> Result<Option<f64>> {
    similarities(a, b).map(|both| both.multi_scale)
}

/// Both similarities of a pair of planes, for little more than the second costs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Similarities {
    /// [`ssim`].
    pub single_scale: f64,
    /// [`ms_ssim`].
    pub multi_scale: Option<f64>,
}

/// [`ssim`] and [`ms_ssim`] at once.
///
/// # Errors
/// As for [`ssim`].
pub fn similarities(a: ArrayView2<'_, f32>, b: ArrayView2<'_, f32>) -> Result<Similarities> {
    let (mut rows, mut columns) = common_size(&a, &b)?;
    let several = rows.min(columns) >= MS_SSIM_SIDE;
    let (a, b) = (samples(&a), samples(&b));
    let (single_scale, contrast) = Comparison::new(&a, &b, rows, columns).mean(true, several);
    if !several {
        return Ok(Similarities { single_scale, multi_scale: None });
    }
    let mut product = contrast.max(0.0).powf(SCALE_WEIGHTS[0]);
    let (mut small_a, mut small_b) = (Vec::new(), Vec::new());
    for (i, weight) in SCALE_WEIGHTS.into_iter().enumerate().skip(1) {
        let (from_a, from_b) = if i == 1 { (&a[..], &b[..]) } else { (&small_a[..], &small_b[..]) };
        let halves = rayon::join(|| halved(from_a, rows, columns), || halved(from_b, rows, columns));
        (small_a, small_b) = halves;
        (rows, columns) = (rows.div_ceil(2), columns.div_ceil(2));
        let last = i + 1 == SCALE_WEIGHTS.len();
        let (whole, contrast) = Comparison::new(&small_a, &small_b, rows, columns).mean(last, !last);
        product *= if last { whole } else { contrast }.max(0.0).powf(weight);
    }
    Ok(Similarities { single_scale, multi_scale: Some(product) })
}

/// Means of 2 x 2 samples; the last row and column of an odd size are used twice.
fn halved(plane: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    let (cpu, small) = (CpuLevel::detect(), columns.div_ceil(2));
    let mut out = vec![0.0; rows.div_ceil(2) * small];
    out.par_chunks_mut(BAND * small).enumerate().for_each(|(band, out)| {
        for (i, out) in out.chunks_exact_mut(small).enumerate() {
            let y = 2 * (band * BAND + i);
            let [top, bottom] = [y, (y + 1).min(rows - 1)].map(|y| &plane[y * columns..][..columns]);
            halve_rows(cpu, &mut out[..columns / 2], top, bottom);
            if columns % 2 == 1 {
                out[small - 1] = 0.5 * (top[columns - 1] + bottom[columns - 1]);
            }
        }
    });
    out
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

impl<'a> Comparison<'a> {
    fn new(a: &'a [f32], b: &'a [f32], rows: usize, columns: usize) -> Self {
        let (vertical, horizontal) = (gaussian(WINDOW.min(rows)), gaussian(WINDOW.min(columns)));
        Self { a, b, columns, vertical, horizontal, cpu: CpuLevel::detect() }
    }

    /// Means over all window positions of the similarity and of its contrast part, those that are wanted.
    fn mean(&self, whole: bool, part: bool) -> (f64, f64) {
        let rows = self.a.len() / self.columns;
        let (down, across) = (rows + 1 - self.vertical.len(), self.columns + 1 - self.horizontal.len());
        let bands: Vec<[f64; 2]> = (0..down.div_ceil(BAND))
            .into_par_iter()
            .map(|i| self.band(i * BAND..((i + 1) * BAND).min(down), whole, part))
            .collect();
        let mean = |k: usize| bands.iter().map(|sums| sums[k]).sum::<f64>() / (down * across) as f64;
        (mean(0), mean(1))
    }

    /// Sums over all window positions whose first row is in `rows`.
    fn band(&self, rows: Range<usize>, whole: bool, part: bool) -> [f64; 2] {
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
        let mut sums = [0.0; 2];
        for i in 0..rows.len() {
            weighted_rows(self.cpu, &mut window, &averages[i * width..], width, &self.vertical);
            sums[0] += if whole { similarity(self.cpu, &window, C1, C2) } else { 0.0 };
            sums[1] += if part { contrast(self.cpu, &window, C2) } else { 0.0 };
        }
        sums
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
