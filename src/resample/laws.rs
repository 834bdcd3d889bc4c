//! What every filter must obey, whatever the sizes, and agreement with a naive `f64` sum.

use super::{Filter, Resampler};
use crate::frame::{AxisMap, Plane};
use crate::kernels::CpuLevel;
use ndarray::{Array2, ArrayView2, ShapeBuilder, s};
use proptest::prelude::*;
use std::f64::consts::PI;

fn resampled(input: ArrayView2<'_, f32>, vertical: AxisMap, horizontal: AxisMap, filter: Filter) -> Plane {
    let mut out = Plane::from_elem((vertical.output, horizontal.output), f32::NAN);
    Resampler::new(vertical, horizontal, filter, CpuLevel::detect()).resample(input, &mut out);
    out
}

/// Samples from 0 to 255, the same for the same seed.
fn noise(rows: usize, columns: usize, seed: u64) -> Plane {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    Plane::from_shape_simple_fn((rows, columns), || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) % 65281) as f32 / 256.0
    })
}

/// The definition: weights at their exact distances, divided by their sum, borders mirrored.
fn naive(input: &Plane, vertical: AxisMap, horizontal: AxisMap, filter: Filter) -> Array2<f64> {
    let (v, h) = (matrix(vertical, filter), matrix(horizontal, filter));
    v.dot(&input.mapv(f64::from)).dot(&h.t())
}

fn matrix(map: AxisMap, filter: Filter) -> Array2<f64> {
    let sinc = |x: f64| if x == 0.0 { 1.0 } else { (PI * x).sin() / (PI * x) };
    let kernel = |x: f64| match (filter, x.abs()) {
        (Filter::Bilinear, a) if a < 1.0 => 1.0 - a,
        (Filter::Bicubic, a) if a <= 1.0 => 1.5 * a.powi(3) - 2.5 * a.powi(2) + 1.0,
        (Filter::Bicubic, a) if a < 2.0 => -0.5 * a.powi(3) + 2.5 * a.powi(2) - 4.0 * a + 2.0,
        (Filter::Lanczos, a) if a < 3.0 => sinc(x) * sinc(x / 3.0),
        _ => 0.0,
    };
    let (n, stretch) = (map.input as i64, (1.0 / map.scale).max(1.0));
    let mut matrix = Array2::zeros((map.output, map.input));
    for (o, mut row) in matrix.rows_mut().into_iter().enumerate() {
        let position = map.input_position(o as f64);
        let reach = (4.0 * stretch).ceil() as i64;
        for i in position.floor() as i64 - reach..=position.ceil() as i64 + reach {
            let mirrored = i.rem_euclid(2 * n);
            let mirrored = if mirrored < n { mirrored } else { 2 * n - 1 - mirrored };
            row[mirrored as usize] += kernel((i as f64 - position) / stretch);
        }
        let sum = row.sum();
        row /= sum;
    }
    matrix
}

fn largest_difference(a: &Plane, b: &Plane) -> f32 {
    a.iter().zip(b).map(|(x, y)| (x - y).abs()).fold(0.0, |m, d| if d.is_nan() { f32::NAN } else { d.max(m) })
}

fn bits(plane: &Plane) -> Vec<u32> {
    plane.iter().map(|v| v.to_bits()).collect()
}

/// Whether some output lies exactly between two samples, where the nearest one depends on the direction.
fn has_ties(map: AxisMap) -> bool {
    (0..map.output)
        .any(|o| ((map.input_position(o as f64) - 0.5) - (map.input_position(o as f64) - 0.5).round()).abs() < 1e-6)
}

fn filters() -> impl Strategy<Value = Filter> {
    prop::sample::select(Filter::ALL.to_vec())
}

proptest! {
    #[test]
    fn any_size_agrees_with_the_definition(
        (rows, columns, to_rows, to_columns) in (1usize..40, 1usize..40, 1usize..40, 1usize..40),
        (dy, dx) in (-0.9f64..0.9, -0.9f64..0.9),
        filter in prop::sample::select(Filter::ALL[1..].to_vec()),
        seed: u64,
    ) {
        let shifted = |map: AxisMap, by| AxisMap { origin: map.origin + by, ..map };
        let vertical = shifted(AxisMap::centered(rows, to_rows), dy);
        let horizontal = shifted(AxisMap::centered(columns, to_columns), dx);
        let input = noise(rows, columns, seed);
        let want = naive(&input, vertical, horizontal, filter).mapv(|v| v as f32);
        let difference = largest_difference(&resampled(input.view(), vertical, horizontal, filter), &want);
        prop_assert!(difference < 1e-3, "{} {:?} {:?}: {}", filter, vertical, horizontal, difference);
    }

    #[test]
    fn constants_stay_and_sums_go_through(
        (rows, columns, to_rows, to_columns) in (1usize..40, 1usize..40, 1usize..40, 1usize..40),
        filter in filters(),
        seed: u64,
    ) {
        let (vertical, horizontal) = (AxisMap::centered(rows, to_rows), AxisMap::centered(columns, to_columns));
        let go = |plane: &Plane| resampled(plane.view(), vertical, horizontal, filter);
        let constant = Plane::from_elem((to_rows, to_columns), 235.0);
        prop_assert!(largest_difference(&go(&Plane::from_elem((rows, columns), 235.0)), &constant) < 2e-4, "constant");
        let (a, b) = (noise(rows, columns, seed), noise(rows, columns, !seed));
        let (sum, sum_of) = (go(&(&a * 0.5 - &b * 2.0)), go(&a) * 0.5 - go(&b) * 2.0);
        prop_assert!(largest_difference(&sum, &sum_of) < 2e-3, "linearity");
    }

    #[test]
    fn directions_and_axes_are_alike(
        (rows, columns, to_rows, to_columns) in (1usize..40, 1usize..40, 1usize..40, 1usize..40),
        filter in filters(),
        seed: u64,
    ) {
        let (vertical, horizontal) = (AxisMap::centered(rows, to_rows), AxisMap::centered(columns, to_columns));
        let input = noise(rows, columns, seed);
        let out = resampled(input.view(), vertical, horizontal, filter);
        let transposed = resampled(input.t(), horizontal, vertical, filter);
        prop_assert!(largest_difference(&transposed.t().to_owned(), &out) < 1e-3, "transposed");
        if filter != Filter::Nearest || !has_ties(vertical) && !has_ties(horizontal) {
            let turned = resampled(input.slice(s![..;-1, ..;-1]), vertical, horizontal, filter);
            prop_assert!(largest_difference(&turned.slice(s![..;-1, ..;-1]).to_owned(), &out) < 1e-3, "turned");
        }
    }

    #[test]
    fn the_nearest_sample_is_one_of_the_nearest_bit_for_bit(
        (rows, columns, to_rows, to_columns) in (1usize..40, 1usize..40, 1usize..40, 1usize..40),
    ) {
        let (vertical, horizontal) = (AxisMap::centered(rows, to_rows), AxisMap::centered(columns, to_columns));
        let input = Plane::from_shape_fn((rows, columns), |(y, x)| (y * 64 + x) as f32);
        let out = resampled(input.view(), vertical, horizontal, Filter::Nearest);
        for ((o, p), value) in out.indexed_iter() {
            let (y, x) = (*value as usize / 64, *value as usize % 64);
            prop_assert!((vertical.input_position(o as f64) - y as f64).abs() <= 0.5 + 1e-9, "row {} from {}", o, y);
            prop_assert!((horizontal.input_position(p as f64) - x as f64).abs() <= 0.5 + 1e-9, "column {} from {}", p, x);
        }
    }
}

#[test]
fn the_same_grid_gives_the_input_back_bit_for_bit() {
    let mut input = noise(9, 70, 1);
    input[[3, 3]] = -0.0;
    input[[4, 4]] = f32::NAN;
    for filter in Filter::ALL {
        let out = resampled(input.view(), AxisMap::centered(9, 9), AxisMap::centered(70, 70), filter);
        assert_eq!(bits(&out), bits(&input), "{filter}");
    }
}

#[test]
fn bits_depend_on_neither_cpu_level_nor_threads_nor_memory_order() {
    // Integer, rational, reducing, one axis only: all ways to compute a row, in several bands.
    for (rows, columns) in [(600, 194), (450, 150), (100, 31), (300, 194), (600, 97), (900, 291)] {
        let (vertical, horizontal) = (AxisMap::centered(300, rows), AxisMap::centered(97, columns));
        let input = noise(300, 97, 5);
        for filter in Filter::ALL {
            let want = bits(&resampled(input.view(), vertical, horizontal, filter));
            for (level, threads) in CpuLevel::available().into_iter().zip([1, 3, 2]) {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
                let mut out = Plane::zeros((rows, columns).f());
                let resampler = Resampler::new(vertical, horizontal, filter, level);
                pool.install(|| resampler.resample(input.t().as_standard_layout().t(), &mut out));
                assert_eq!(bits(&out), want, "{filter} to {columns}x{rows}, {level:?}, {threads} threads");
            }
        }
    }
}

/// Numbers of the measurements' reference, `resample` of `clips.py` (NumPy, `f64`):
/// ```python
/// y, x = np.mgrid[:6, :7]; p = ((y * 37 + x * 101 + y * x * 13) % 256).astype(float)[None]
/// for kind in ("bicubic", "lanczos"):
///     for s in (2, 0.5): r = resample(p, s, kind)[0]; print(kind, s, r[0, 0], r[1, 2], r[-1, -1])
/// ```
const REFERENCES: [(Filter, usize, usize, [f32; 3]); 4] = [
    (Filter::Bicubic, 12, 14, [-12.8232, 85.3847, 159.458]),
    (Filter::Bicubic, 3, 4, [65.7718, 123.8477, 129.9936]),
    (Filter::Lanczos, 12, 14, [-15.6489, 82.2487, 160.3646]),
    (Filter::Lanczos, 3, 4, [60.9558, 120.8858, 132.9681]),
];

#[test]
fn measured_references_are_met() {
    let input = Plane::from_shape_fn((6, 7), |(y, x)| ((y * 37 + x * 101 + y * x * 13) % 256) as f32);
    for (filter, rows, columns, want) in REFERENCES {
        // The reference keeps the scale where the size is rounded: 7 * 0.5 gives 4 columns at scale 1/2.
        let scale = rows as f64 / 6.0;
        let horizontal = AxisMap { input: 7, output: columns, scale, origin: (scale - 1.0) / 2.0 };
        let out = resampled(input.view(), AxisMap::centered(6, rows), horizontal, filter);
        let got = [out[[0, 0]], out[[1, 2]], out[[rows - 1, columns - 1]]];
        for (got, want) in got.into_iter().zip(want) {
            assert!((got - want).abs() < 1e-3, "{filter} to {columns}x{rows}: {got}, not {want}");
        }
    }
}
