//! MS-SSIM and NIQE against numbers of an independent implementation in Python: numpy 2.4 and scipy 1.17, in `f64`,
//! written from the papers and the authors' MATLAB releases.

use super::*;
use ndarray::Array2;

const MS_SSIM_LARGE: f64 = 0.997_438_271;
const MS_SSIM_LEAST: f64 = 0.997_219_38;
const NIQE_FIRST_PATCH: [f64; NIQE_FEATURES] = [
    1.545, 0.712_085, 0.605, -0.049_431, 0.078_871, 0.062_381, 0.62, -0.048_143, 0.083_675, 0.066_353, 0.595,
    -0.026_439, 0.071_081, 0.062_718, 0.59, -0.043_976, 0.071_872, 0.058_337, 1.442, 0.348_56, 0.5, 0.057_729,
    0.004_932, 0.014_553, 0.51, 0.053_741, 0.005_771, 0.015_488, 0.544, 0.051_309, 0.007_318, 0.019_23, 0.52,
    0.045_791, 0.007_114, 0.016_064,
];
const NIQE_PATCHES: usize = 70;
/// Means by number; entries of the covariance as 100 (row + 1) + column.
const NIQE_MODEL: [(usize, f64); 8] = [
    (0, 1.687_585_714),
    (1, 0.912_007_454),
    (3, -0.071_409_727),
    (20, 0.558_6),
    (35, 0.030_913_797),
    (100, 0.008_058_159),
    (606, 0.000_851_818),
    (2135, 0.000_283_515),
];
/// Of planes of 300 x 400 with these seeds.
const NIQE_SCORES: [(i64, f64); 2] = [(9, 3.505_272_291), (10, 3.377_519_067)];

/// The planes the quoted numbers were computed from; integers, so that both sides have the same:
/// ```python
/// def plane(seed, h, w):
///     y, x = np.mgrid[:h, :w].astype(np.int64)
///     def noise(k):
///         n = ((y * 7919 + x * 104729 + k * 15485863) ^ ((y * x + k) * 1299709)) % 65536
///         return ((n * 1103515245 + 12345) >> 8) % 256 - 128
///     n = (noise(seed) * noise(seed + 100)) >> 7
///     s = 128 + 60 * np.sin((x + seed) / 9.0) * np.cos(y / 7.0)
///     return np.floor(np.clip(s + n / 8.0 * (1 + ((x // 100 + y // 70) % 3)), 0, 255))
/// ```
fn plane(seed: i64, rows: usize, columns: usize) -> Array2<f32> {
    Array2::from_shape_fn((rows, columns), |(y, x)| {
        let (y, x) = (y as i64, x as i64);
        let noise = |k: i64| {
            let n = ((y * 7919 + x * 104_729 + k * 15_485_863) ^ ((y * x + k) * 1_299_709)).rem_euclid(65536);
            ((n * 1_103_515_245 + 12345) >> 8).rem_euclid(256) - 128
        };
        let n = ((noise(seed) * noise(seed + 100)) >> 7) as f64;
        let s = 128.0 + 60.0 * ((x + seed) as f64 / 9.0).sin() * (y as f64 / 7.0).cos();
        (s + n / 8.0 * (1 + (x / 100 + y / 70) % 3) as f64).clamp(0.0, 255.0).floor() as f32
    })
}

/// Five scales after Wang et al. (2003): 11 x 11 windows inside the plane, 2 x 2 means, `np.pad(.., 'symmetric')` of odd
/// sizes. Agreement: 2e-6.
#[test]
fn ms_ssim_is_that_of_the_reference() {
    let a = plane(1, 211, 305);
    let b = (&a * 0.875 + 12.0 + plane(2, 211, 305) / 16.0).mapv(|v| v.clamp(0.0, 255.0).floor());
    let both = similarities(a.view(), b.view()).expect("sizes are equal");
    let got = both.multi_scale.expect("large enough");
    assert!((got - MS_SSIM_LARGE).abs() < 2e-6, "{got}, not {MS_SSIM_LARGE}");
    assert_eq!(both.single_scale, ssim(a.view(), b.view()).expect("sizes are equal"), "SSIM");
    let a = plane(3, 176, 176);
    let b = Array2::from_shape_fn(a.dim(), |(y, x)| (a[[y, x]] + 4.0 * ((x / 2) % 2) as f32).clamp(0.0, 255.0));
    let got = ms_ssim(a.view(), b.view()).expect("sizes are equal").expect("just large enough");
    assert!((got - MS_SSIM_LEAST).abs() < 2e-6, "{got}, not {MS_SSIM_LEAST}");
    let small = a.slice(ndarray::s![1.., ..]);
    assert_eq!(ms_ssim(small, small).expect("sizes are equal"), None, "175 rows");
    assert_eq!(ms_ssim(a.view(), a.view()).expect("sizes are equal"), Some(1.0), "equal planes");
}

/// Agreement: 2e-3 for shapes, which are looked up in steps of 1e-3, 1e-3 for the rest.
#[test]
fn niqe_features_are_those_of_the_reference() {
    let features = niqe_features(plane(1, 200, 300).view());
    assert_eq!(features.len(), 6, "patches of 96 x 96 in 200 x 300");
    for (i, (got, want)) in features[0].iter().zip(NIQE_FIRST_PATCH).enumerate() {
        assert!((got - want).abs() < 2e-3, "feature {i}: {got}, not {want}");
    }
}

/// A model fitted to five planes, and the distance of others. Agreement: 0.2 % of the score.
#[test]
fn niqe_scores_are_those_of_the_reference() {
    let mut fit = NiqeFit::default();
    let taken: usize = (1..6).map(|k| fit.push(plane(k, 384, 480).view())).sum();
    assert_eq!(taken, NIQE_PATCHES, "sharp patches");
    let model = fit.finish().expect("enough patches");
    model.validate().expect("a model");
    for (i, want) in NIQE_MODEL {
        let got = if i < NIQE_FEATURES { model.mean[i] } else { model.covariance[i / 100 - 1][i % 100] };
        assert!((got - want).abs() < 1e-3 * want.abs().max(0.1), "number {i}: {got}, not {want}");
    }
    for (seed, want) in NIQE_SCORES {
        let got = niqe(plane(seed, 300, 400).view(), &model).expect("patches");
        assert!((got - want).abs() < 2e-3 * want, "plane {seed}: {got}, not {want}");
    }
    assert_eq!(niqe(plane(1, 95, 400).view(), &model), None, "95 rows");
    assert_eq!(niqe(Array2::from_elem((200, 200), 90.0).view(), &model), None, "nothing but one value");
}

#[test]
fn niqe_models_that_are_none_are_refused() {
    let mut fit = NiqeFit::default();
    fit.push(plane(1, 192, 192).view());
    let message = fit.finish().expect_err("four patches").to_string();
    assert!(message.contains("too few"), "{message}");
    let good = NiqeModel {
        mean: vec![1.0; NIQE_FEATURES],
        covariance: vec![vec![0.0; NIQE_FEATURES]; NIQE_FEATURES],
        pictures: 1,
        patches: 40,
    };
    good.validate().expect("a model");
    let mut short = good.clone();
    short.mean.pop();
    let mut skew = good.clone();
    skew.covariance[3][4] = 1.0;
    let mut endless = good;
    endless.mean[2] = f64::INFINITY;
    for (model, part) in [(short, "35 numbers"), (skew, "symmetric"), (endless, "finite")] {
        let message = model.validate().expect_err(part).to_string();
        assert!(message.contains(part), "{message}");
    }
}
