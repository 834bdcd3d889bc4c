//! Registration as a whole, on scenes whose shift is known exactly: sums of waves, evaluated where they are wanted.

use std::f64::consts::{PI, TAU};

use ndarray::Array2;

use super::*;

/// Deterministic numbers in 0..1.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f64 / f64::from(1u32 << 24)
    }

    /// Standard normal.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.next()).sum::<f64>() - 6.0
    }
}

/// A picture without borders: waves of amplitude 1 / frequency, seen through a Gaussian point spread function.
pub(super) struct Scene {
    /// Frequency along x and y, phase, amplitude.
    waves: Vec<[f64; 4]>,
}

impl Scene {
    /// Waves up to `highest` cycles per pixel; those above 1/2 are aliased when the scene is sampled.
    pub(super) fn new(seed: u64, highest: f64) -> Self {
        let mut random = Random(seed * 7919 + 1);
        let wave = |_| {
            let frequency = 0.01 * (highest / 0.01).powf(random.next());
            let angle = PI * random.next();
            let blur = (-0.5 * (TAU * 0.4 * frequency).powi(2)).exp();
            let amplitude = 12.0 * blur * (0.01 / frequency).powf(0.4);
            [frequency * angle.cos(), frequency * angle.sin(), TAU * random.next(), amplitude]
        };
        Self { waves: (0..80).map(wave).collect() }
    }

    pub(super) fn value(&self, x: f64, y: f64) -> f64 {
        self.waves.iter().fold(128.0, |sum, w| sum + w[3] * (TAU * (w[0] * x + w[1] * y) + w[2]).cos())
    }

    /// The scene after it has moved by (dx, dy).
    fn frame(&self, (rows, columns): (usize, usize), (dx, dy): (f64, f64)) -> Array2<f32> {
        let mut frame = Array2::from_elem((rows, columns), 128.0);
        for [fx, fy, phase, amplitude] in &self.waves {
            // cos(p + q) from the cosines and sines of p, which only rows change, and q, which only columns do.
            let across: Vec<(f64, f64)> = (0..columns).map(|x| (TAU * fx * (x as f64 - dx)).sin_cos()).collect();
            for (y, mut row) in frame.rows_mut().into_iter().enumerate() {
                let (sin, cos) = (TAU * fy * (y as f64 - dy) + phase).sin_cos();
                row.iter_mut().zip(&across).for_each(|(v, (s, c))| *v += amplitude * (cos * c - sin * s));
            }
        }
        frame.mapv(|v| v as f32)
    }
}

/// What a camera with noise of `sigma` makes of it: 8-bit numbers.
pub(super) fn digitized(frame: &Array2<f32>, sigma: f64, seed: u64) -> Array2<f32> {
    let mut random = Random(seed);
    frame.mapv(|v| (f64::from(v) + sigma * random.normal()).round().clamp(0.0, 255.0) as f32)
}

pub(super) fn registrar(frame: &Array2<f32>) -> Registrar {
    Registrar::new(frame.nrows(), frame.ncols(), Options::default(), CpuLevel::detect()).expect("registrar")
}

fn estimate(reference: &Array2<f32>, moving: &Array2<f32>) -> Estimate {
    let registrar = registrar(reference);
    let prepare = |frame: &Array2<f32>| registrar.prepare(frame.view()).expect("prepared");
    registrar.estimate(&prepare(reference), &prepare(moving))
}

/// Largest error along an axis.
fn error(found: &Estimate, (dx, dy): (f64, f64)) -> f64 {
    let shift = found.motion.global();
    (shift.dx - dx).abs().max((shift.dy - dy).abs())
}

#[test]
fn a_bright_point_that_goes_right_and_down_has_positive_shifts() {
    let point = |x: f64, y: f64| {
        Array2::from_shape_fn((64, 80), |(r, c)| {
            let square = (c as f64 - x).powi(2) + (r as f64 - y).powi(2);
            (50.0 + 150.0 * (-square / 60.0).exp()) as f32
        })
    };
    let shift = estimate(&point(30.0, 28.0), &point(33.0, 30.0)).motion.global();
    assert!((shift.dx - 3.0).abs() < 0.05 && (shift.dy - 2.0).abs() < 0.05, "{shift:?} is not 3 right, 2 down");
}

#[test]
fn band_limited_shifts_are_found_to_a_thousandth_of_a_pixel() {
    for (seed, size, shift) in [(1, (96, 131), (2.4, -1.32)), (2, (67, 64), (-0.5, 0.5)), (3, (128, 97), (5.013, 3.77))]
    {
        let scene = Scene::new(seed, 0.3);
        let found = estimate(&scene.frame(size, (0.0, 0.0)), &scene.frame(size, shift));
        assert!(error(&found, shift) < 1e-3, "{size:?}: {found:?} is not {shift:?}");
        assert!(found.confidence > 0.97 && !found.scene_cut, "{size:?}: {found:?}");
        assert!((found.gain - 1.0).abs() < 2e-3 && found.offset.abs() < 0.3, "{size:?}: {found:?}");
    }
}

#[test]
fn aliased_and_noisy_pairs_are_found_within_the_accuracy_promised() {
    for (sigma, limit) in [(0.0, 0.005), (5.0, 0.012), (10.0, 0.025)] {
        let mut squares = Vec::new();
        for seed in 1..=8 {
            let (scene, mut random) = (Scene::new(seed, 0.9), Random(seed));
            let shift = (6.0 * random.next() - 3.0, 6.0 * random.next() - 3.0);
            let [a, b] = [(0.0, 0.0), shift].map(|s| scene.frame((110, 120), s));
            let found = estimate(&digitized(&a, sigma, seed), &digitized(&b, sigma, seed + 100));
            let [x, y] = [found.motion.global().dx - shift.0, found.motion.global().dy - shift.1];
            squares.push((x * x + y * y) / 2.0);
        }
        let rmse = (squares.iter().sum::<f64>() / squares.len() as f64).sqrt();
        assert!(rmse < limit, "noise {sigma}: {rmse} px");
    }
}

#[test]
fn a_third_of_the_frame_is_not_too_far() {
    for (seed, shift) in [(1, (42.3, -30.7)), (2, (-41.6, 33.2)), (3, (40.0, 33.0))] {
        let scene = Scene::new(seed, 0.9);
        let [a, b] = [(0.0, 0.0), shift].map(|s| digitized(&scene.frame((100, 128), s), 5.0, seed + s.0.abs() as u64));
        let found = estimate(&a, &b);
        assert!(error(&found, shift) < 0.05 && !found.scene_cut, "{found:?} is not {shift:?}");
    }
}

#[test]
fn flicker_and_fades_change_gain_and_offset_only() {
    let scene = Scene::new(4, 0.9);
    for (gain, offset) in [(0.85, 12.0), (1.15, -12.0), (0.5, 3.0)] {
        let a = digitized(&scene.frame((100, 120), (0.0, 0.0)), 2.0, 1);
        let b = digitized(&scene.frame((100, 120), (1.7, -0.6)).mapv(|v| gain * v + offset), 2.0, 2);
        let found = estimate(&a, &b);
        assert!(error(&found, (1.7, -0.6)) < 0.02 && !found.scene_cut, "{found:?}");
        assert!((found.gain - f64::from(gain)).abs() < 0.02, "gain {} is not {gain}", found.gain);
        assert!((found.offset - f64::from(offset)).abs() < 3.0, "offset {} is not {offset}", found.offset);
    }
}

/// Two frames of a scene moving by `shift`, with another scene moving by (-3, 2) in a rectangle of share `share`.
fn pair_with_mover(seed: u64, shift: (f64, f64), share: f64) -> [Array2<f32>; 2] {
    let (back, front) = (Scene::new(seed, 0.9), Scene::new(seed + 50, 0.9));
    let side = 120.0 * share.sqrt();
    [((0.0, 0.0), (0.0, 0.0)), (shift, (-3.0, 2.0))].map(|(moved, other)| {
        let mut frame = back.frame((120, 120), moved);
        for ((y, x), value) in frame.indexed_iter_mut() {
            let (u, v) = (x as f64 - other.0 - 20.0, y as f64 - other.1 - 25.0);
            if (0.0..side).contains(&u) && (0.0..side).contains(&v) {
                *value = front.value(u, v) as f32;
            }
        }
        digitized(&frame, 5.0, seed + moved.0.to_bits() % 97)
    })
}

#[test]
fn an_object_that_moves_otherwise_is_left_out() {
    for seed in 1..=4 {
        let [a, b] = pair_with_mover(seed, (1.3, -2.4), 0.2);
        let found = estimate(&a, &b);
        assert!(error(&found, (1.3, -2.4)) < 0.05 && !found.scene_cut, "seed {seed}: {found:?}");
        assert!((0.4..0.97).contains(&found.confidence), "seed {seed}: {found:?}");
    }
    // Of two motions that share the frame either may be called the dominant one.
    for seed in 5..=8 {
        let [a, b] = pair_with_mover(seed, (1.3, -2.4), 0.45);
        let found = estimate(&a, &b);
        let nearest = error(&found, (1.3, -2.4)).min(error(&found, (-3.0, 2.0)));
        assert!(nearest < 0.1 && !found.scene_cut, "nearly half the frame, seed {seed}: {found:?}");
    }
}

#[test]
fn equal_frames_have_exactly_no_motion_and_full_confidence() {
    for size in [(1, 1), (5, 40), (64, 80)] {
        let frame = digitized(&Scene::new(1, 0.9).frame(size, (0.0, 0.0)), 3.0, 5);
        let wanted = Estimate { motion: Motion::still(), confidence: 1.0, gain: 1.0, offset: 0.0, scene_cut: false };
        assert_eq!(estimate(&frame, &frame), wanted, "{size:?}");
        let registrar = registrar(&frame);
        let prepared = registrar.prepare(frame.view()).expect("prepared");
        let refined = registrar.refine(&prepared, &prepared, &Motion::translation(1.0, 1.0));
        assert_eq!(refined, wanted, "{size:?}, refined from a wrong start");
    }
}

#[test]
fn flat_and_tiny_frames_have_no_motion_and_low_confidence() {
    for (size, noise) in [((64, 64), 0.0), ((64, 64), 2.0), ((270, 480), 2.0)] {
        let flat = |value: f32, seed| digitized(&Array2::from_elem(size, value), noise, seed);
        let found = estimate(&flat(100.0, 1), &flat(104.0, 2));
        assert_eq!(found.motion, Motion::still(), "flat with noise {noise}");
        assert!(found.confidence < 0.1 && !found.scene_cut, "flat with noise {noise}: {found:?}");
        assert!((found.offset - 4.0).abs() < 1.1, "flat with noise {noise}: {found:?}");
    }
    let scene = Scene::new(1, 0.4);
    for size in [(1, 1), (1, 200), (200, 1), (2, 3), (7, 7), (15, 300), (16, 16), (17, 23), (16, 400)] {
        let found = estimate(&scene.frame(size, (0.0, 0.0)), &scene.frame(size, (0.4, 0.3)));
        assert!(found.motion.global().length().is_finite() && !found.scene_cut, "{size:?}: {found:?}");
        if size.0.min(size.1) < 16 {
            assert_eq!((found.motion, found.confidence), (Motion::still(), 0.0), "{size:?}");
        } else {
            assert!(error(&found, (0.4, 0.3)) < 0.5 || found.confidence < 0.1, "{size:?}: {found:?}");
        }
    }
}

#[test]
fn unrelated_frames_are_cuts_with_low_confidence_and_noise_is_not() {
    for seed in 1..=10 {
        let size = [(90, 120), (144, 176), (300, 400)][seed as usize % 3];
        let [a, b] = [seed, seed + 20].map(|s| digitized(&Scene::new(s, 0.9).frame(size, (0.0, 0.0)), 3.0, s));
        let cut = estimate(&a, &b);
        assert!(cut.scene_cut && cut.confidence < 0.25, "seed {seed}: {cut:?}");
        let [a, b] = [1, 2].map(|n| digitized(&Scene::new(seed, 0.9).frame(size, (0.0, 0.0)), 20.0, n));
        let noisy = estimate(&a, &b);
        assert!(!noisy.scene_cut && noisy.confidence > 0.5, "seed {seed}: {noisy:?}");
    }
    let scene = digitized(&Scene::new(3, 0.9).frame((100, 100), (0.0, 0.0)), 1.0, 1);
    assert!(estimate(&scene, &Array2::from_elem((100, 100), 16.0)).scene_cut, "to black");
}

#[test]
fn refinement_from_near_the_truth_ends_where_the_search_does() {
    for (size, shift) in [((90, 120), (3.3, -1.8)), ((360, 500), (7.4, 5.2))] {
        let scene = Scene::new(6, 0.9);
        let registrar = Registrar::new(size.0, size.1, Options::default(), CpuLevel::detect()).expect("registrar");
        let [a, b] = [(0.0, 0.0), shift].map(|s| digitized(&scene.frame(size, s), 3.0, s.0 as u64));
        let [a, b] = [a, b].map(|f| registrar.prepare(f.view()).expect("prepared"));
        let (searched, refined) =
            (registrar.estimate(&a, &b), registrar.refine(&a, &b, &Motion::translation(shift.0 + 0.7, shift.1 - 0.6)));
        let apart = searched.motion.global() - refined.motion.global();
        assert!(apart.length() < 2e-3, "{size:?}: {searched:?}, {refined:?}");
        assert!((searched.confidence - refined.confidence).abs() < 0.01, "{size:?}: {searched:?}, {refined:?}");
    }
}

#[test]
fn refinement_keeps_what_was_assumed_where_nothing_can_be_measured() {
    let flat = digitized(&Array2::from_elem((64, 64), 90.0), 1.0, 1);
    let other = digitized(&Array2::from_elem((64, 64), 90.0), 1.0, 2);
    let registrar = registrar(&flat);
    let [a, b] = [flat, other].map(|f| registrar.prepare(f.view()).expect("prepared"));
    for assumed in [Motion::translation(1.5, -0.25), Motion::translation(500.0, 0.0)] {
        let found = registrar.refine(&a, &b, &assumed);
        assert_eq!(found.motion, assumed, "nothing to see");
        assert!(found.confidence < 0.1, "{found:?}");
    }
}

#[test]
fn every_cpu_level_and_thread_count_gives_the_same_bits() {
    let scene = Scene::new(8, 0.9);
    // Larger than the search level, so that all steps take part.
    let [a, b] = [(0.0, 0.0), (9.2, -4.7)].map(|s| digitized(&scene.frame((401, 503), s), 4.0, s.0 as u64));
    let run = |cpu, threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("pool");
        pool.install(|| {
            let registrar = Registrar::new(401, 503, Options::default(), cpu).expect("registrar");
            let [a, b] = [&a, &b].map(|f| registrar.prepare(f.view()).expect("prepared"));
            let found = registrar.estimate(&a, &b);
            (found, registrar.refine(&a, &b, &Motion::translation(9.0, -5.0)))
        })
    };
    let wanted = run(CpuLevel::SCALAR, 1);
    assert!(error(&wanted.0, (9.2, -4.7)) < 0.02, "{:?}", wanted.0);
    for cpu in CpuLevel::available() {
        for threads in [1, 2, 5] {
            assert_eq!(run(cpu, threads), wanted, "{cpu:?}, {threads} threads");
        }
    }
}

#[test]
fn bad_input_is_refused_with_the_values_met() {
    let registrar = Registrar::new(20, 30, Options::default(), CpuLevel::SCALAR).expect("registrar");
    let error = registrar.prepare(Array2::zeros((30, 20)).view()).expect_err("wrong size");
    assert!(
        error.kind() == Kind::Bug && error.to_string().contains("20x30") && error.to_string().contains("30x20"),
        "{error}"
    );
    for bad in [f32::NAN, f32::INFINITY] {
        let mut frame = Array2::zeros((20, 30));
        frame[[4, 17]] = bad;
        let error = registrar.prepare(frame.view()).expect_err("not finite");
        assert!(error.kind() == Kind::Input && error.to_string().contains("column 17, row 4"), "{error}");
    }
    let defaults = Options::default();
    let wrong = [
        (Options { reach: 0.0, ..defaults }, "reach is 0"),
        (Options { reach: f64::NAN, ..defaults }, "reach is NaN"),
        (Options { smoothing: 2.5, ..defaults }, "smoothing is 2.5"),
        (Options { iterations: 0, ..defaults }, "iterations is 0"),
        (Options { cut_threshold: 1.5, ..defaults }, "cut_threshold is 1.5"),
    ];
    for (options, text) in wrong {
        let error = Registrar::new(20, 30, options, CpuLevel::SCALAR).expect_err(text);
        assert!(error.kind() == Kind::Usage && error.to_string().contains(text), "{error}");
    }
    assert!(Registrar::new(0, 30, defaults, CpuLevel::SCALAR).is_err(), "no rows");
}
