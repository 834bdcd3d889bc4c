//! Temporal error on scenes whose motion, light and flicker are known exactly.

use super::measure_temporal::*;
use crate::frame::Plane;
use crate::kernels::CpuLevel;

const GUIDE: (usize, usize) = (72, 96);
const SCALE: usize = 2;

/// A smooth scene, seen by a camera that moves by `(0.4, -0.3)` pixels of the guide a frame.
fn scene(size: (usize, usize), scale: f64, t: usize) -> Plane {
    Plane::from_shape_fn(size, |(y, x)| {
        let (y, x) = ((y as f64 + 0.5) / scale - 0.5, (x as f64 + 0.5) / scale - 0.5);
        let (y, x) = (y + 0.3 * t as f64, x - 0.4 * t as f64);
        let waves = (0.31 * x + 0.11 * y).sin() + (0.23 * y - 0.13 * x).sin() + (0.09 * x * 0.7 + 0.29 * y).cos();
        (120.0 + 30.0 * waves) as f32
    })
}

/// Temporal errors of `frames` results that `made` makes of (scene at twice the size, number).
fn errors(frames: usize, guide: impl Fn(usize) -> Plane, made: impl Fn(Plane, usize) -> Plane) -> Vec<f64> {
    let large = (GUIDE.0 * SCALE, GUIDE.1 * SCALE);
    let mut temporal = Temporal::new(Guide::Input, GUIDE, large, 8, CpuLevel::detect()).expect("sizes are fine");
    let found: Vec<Moved> = (0..frames)
        .map(|t| temporal.push(made(scene(large, 2.0, t), t), guide(t)).expect("samples are finite"))
        .collect();
    assert_eq!((found[0].error, found[0].motion), (None, None), "nothing is before the first frame");
    let motion = found[1].motion.expect("a shift");
    assert!((motion - 0.5).abs() < 0.02, "motion of {motion}, not 0.5");
    found[1..].iter().map(|moved| moved.error.expect("an error")).collect()
}

fn plain(t: usize) -> Plane {
    scene(GUIDE, 1.0, t)
}

#[test]
fn what_moves_as_the_input_does_has_no_error() {
    for error in errors(4, plain, |large, _| large) {
        assert!(error < 0.1, "{error}");
    }
}

#[test]
fn flicker_of_known_amplitude_is_found() {
    let sign = |t: usize| if t.is_multiple_of(2) { 1.0 } else { -1.0 };
    for amplitude in [0.5f32, 2.0, 6.0] {
        let want = 2.0 * f64::from(amplitude);
        for error in errors(4, plain, |large, t| large + amplitude * sign(t)) {
            assert!((error - want).abs() < 0.05 * want, "flicker of {amplitude}: {error}, not {want}");
        }
        // Flicker of half of the columns: half of the energy.
        let striped = |mut large: Plane, t| {
            for ((_, x), v) in large.indexed_iter_mut() {
                *v += if (x / 24) % 2 == 0 { amplitude * sign(t) } else { 0.0 };
            }
            large
        };
        let want = want / 2f64.sqrt();
        for error in errors(4, plain, striped) {
            assert!((error - want).abs() < 0.1 * want, "stripes of {amplitude}: {error}, not {want}");
        }
    }
}

#[test]
fn light_that_changes_in_the_input_too_is_no_error() {
    let light = |t: usize| [0.0f32, 5.0, -4.0, 9.0][t];
    for error in errors(4, |t| plain(t) + light(t), |large, t| large + light(t)) {
        assert!(error < 0.2, "{error}");
    }
    for (t, error) in errors(4, |t| plain(t) + light(t), |large, _| large).into_iter().enumerate() {
        let want = f64::from((light(t + 1) - light(t)).abs());
        assert!((error - want).abs() < 0.1 * want, "light that is missing: {error}, not {want}");
    }
}

#[test]
fn what_is_covered_and_uncovered_is_left_out() {
    // A square of another texture moves four pixels a frame over the scene.
    let with_square = |mut plane: Plane, scale: f64, t: usize| {
        let left = 20.0 + 4.0 * t as f64;
        for ((y, x), v) in plane.indexed_iter_mut() {
            let (y, x) = ((y as f64 + 0.5) / scale - 0.5, (x as f64 + 0.5) / scale - 0.5);
            if (20.0..44.0).contains(&y) && (left..left + 24.0).contains(&x) {
                *v = (120.0 + 40.0 * ((x - left) * 0.5).sin() * (y * 0.4).cos()) as f32;
            }
        }
        plane
    };
    let found = errors(3, |t| with_square(plain(t), 1.0, t), |large, t| with_square(large, 2.0, t));
    let ignoring = {
        let (a, b) = (with_square(scene((144, 192), 2.0, 0), 2.0, 0), with_square(scene((144, 192), 2.0, 1), 2.0, 1));
        (a - b).mapv(|d| d * d).mean().map_or(0.0, f32::sqrt)
    };
    for error in found {
        assert!(error < 0.25 * f64::from(ignoring), "{error}; without motion {ignoring}");
    }
}

/// Temporal errors of `frames` results of the guide's own size.
fn errors_of_truth(frames: usize, made: impl Fn(Plane, usize) -> Plane) -> Vec<f64> {
    let mut temporal = Temporal::new(Guide::Truth, GUIDE, GUIDE, 0, CpuLevel::detect()).expect("sizes are fine");
    let push = |t| temporal.push(made(plain(t), t), plain(t)).expect("samples are finite");
    let found: Vec<Moved> = (0..frames).map(push).collect();
    found[1..].iter().map(|moved| moved.error.expect("an error")).collect()
}

#[test]
fn against_the_truth_an_error_that_moves_with_the_scene_is_none_and_one_that_stays_is() {
    assert_eq!(errors_of_truth(3, |truth, _| truth), [0.0, 0.0], "the truth itself");
    let mean = |plane: &Plane, y: usize, x: usize| {
        let at = |y: usize, x: usize| plane[[y.min(GUIDE.0 - 1), x.min(GUIDE.1 - 1)]];
        (0..5).flat_map(|i| (0..5).map(move |j| (i, j))).map(|(i, j)| at(y + i, x + j)).sum::<f32>() / 25.0
    };
    let blurred = |truth: Plane, _| Plane::from_shape_fn(GUIDE, |(y, x)| mean(&truth, y, x));
    let apart = (blurred(plain(0), 0) - plain(0)).mapv(|d| d * d).mean().map_or(0.0, f32::sqrt);
    for error in errors_of_truth(3, blurred) {
        assert!(apart > 8.0 && error < 0.06 * f64::from(apart), "blurred by {apart}: {error}");
    }
    for error in errors_of_truth(3, |truth, t| truth + if t == 1 { 3.0 } else { 0.0 }) {
        assert!((error - 3.0).abs() < 0.05, "flicker of 3: {error}");
    }
    // A pattern of columns that stays: it differs from itself moved by 0.4 columns.
    let stripes = |mut truth: Plane, _| {
        truth.indexed_iter_mut().for_each(|((_, x), v)| *v += 4.0 * (x as f32).sin());
        truth
    };
    let want = 4.0 * 2f64.sqrt() * (0.2f64).sin();
    for error in errors_of_truth(3, stripes) {
        assert!((error - want).abs() < 0.15 * want, "a pattern that stays: {error}, not {want}");
    }
}

#[test]
fn threads_do_not_change_the_result() {
    let measure = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
        pool.install(|| errors(2, plain, |large, t| large + t as f32))
    };
    assert_eq!(measure(1), measure(3), "1 and 3 threads");
}
