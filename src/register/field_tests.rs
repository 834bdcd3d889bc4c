//! Dense motion on scenes whose motion is known everywhere: pixel `q` of the moving frame is the scene at `q + v(q)`.

use ndarray::Array2;

use super::tests::{Random, Scene, digitized, registrar};
use super::*;

type Size = (usize, usize);

/// The scene at `q + v(q)`, `v` as (down, right).
fn warped(scene: &Scene, size: Size, v: impl Fn(f64, f64) -> [f64; 2]) -> Array2<f32> {
    Array2::from_shape_fn(size, |(y, x)| {
        let (y, x) = (y as f64, x as f64);
        let [down, right] = v(y, x);
        scene.value(x + right, y + down) as f32
    })
}

/// Turned by `degrees` and enlarged around the middle, then shifted.
fn similarity(size: Size, degrees: f64, zoom: f64, shift: [f64; 2]) -> impl Fn(f64, f64) -> [f64; 2] {
    let (sin, cos) = degrees.to_radians().sin_cos();
    move |y, x| {
        let (u, w) = (y - size.0 as f64 / 2.0, x - size.1 as f64 / 2.0);
        [zoom * (cos * u + sin * w) - u + shift[0], zoom * (cos * w - sin * u) - w + shift[1]]
    }
}

/// The field from nothing, and that refined once more with the same detail.
fn fields(reference: &Array2<f32>, moving: &Array2<f32>, detail: FieldDetail) -> [Field; 2] {
    let registrar = registrar(reference);
    let [a, b] = [reference, moving].map(|f| registrar.prepare(f.view()).expect("prepared"));
    let field = registrar.field(&a, &b, &registrar.estimate(&a, &b), detail);
    let refined = registrar.refine_field(&a, &b, &field, detail);
    [field, refined]
}

/// Middle and 95th percentile of the errors of pixels that are `asked` for, pixels.
fn errors(field: &Field, v: impl Fn(f64, f64) -> [f64; 2], asked: impl Fn(f64, f64) -> bool) -> [f64; 2] {
    let (height, width) = field.size();
    let (mut errors, mut dy, mut dx) = (Vec::new(), vec![0.0; width], vec![0.0; width]);
    for y in 0..height {
        field.row(y as f32, 0.0, 1.0, &mut dy, &mut dx);
        for x in (0..width).filter(|&x| asked(y as f64, x as f64)) {
            let want = v(y as f64, x as f64);
            errors.push((f64::from(dy[x]) - want[0]).hypot(f64::from(dx[x]) - want[1]));
        }
    }
    errors.sort_by(f64::total_cmp);
    [errors[errors.len() / 2], errors[errors.len() * 95 / 100]]
}

/// Pixels that the reference shows too, with a little room.
fn shared(size: Size, v: &impl Fn(f64, f64) -> [f64; 2]) -> impl Fn(f64, f64) -> bool {
    move |y, x| {
        let [down, right] = v(y, x);
        let inside = |p: f64, n: usize| p > 4.0 && p < n as f64 - 5.0;
        inside(y + down, size.0) && inside(x + right, size.1)
    }
}

#[test]
fn shifts_turns_and_zooms_are_found_everywhere_in_aliased_frames() {
    let size = (104, 136);
    let cases = [(0.0, 1.0, [1.37, -2.61]), (4.0, 1.0, [0.4, 1.3]), (-3.0, 0.97, [-2.2, 3.1]), (0.0, 1.06, [0.5, 0.0])];
    for (seed, (degrees, zoom, shift)) in (1..).zip(cases) {
        let (scene, v) = (Scene::new(seed, 0.7), similarity(size, degrees, zoom, shift));
        let [a, b] =
            [digitized(&warped(&scene, size, |_, _| [0.0; 2]), 0.0, 1), digitized(&warped(&scene, size, &v), 0.0, 2)];
        for detail in [FieldDetail::Coarse, FieldDetail::Normal, FieldDetail::Fine] {
            for field in fields(&a, &b, detail) {
                let [middle, high] = errors(&field, &v, shared(size, &v));
                assert!(middle < 0.03 && high < 0.12, "{degrees} degrees, x{zoom}, {detail:?}: {middle}, {high}");
            }
        }
    }
}

#[test]
fn an_object_and_what_is_behind_it_have_each_their_own_motion() {
    let (size, behind, object) = ((120, 160), [-1.2, 1.4], [2.3, -1.9]);
    let (back, front) = (Scene::new(5, 0.5), Scene::new(6, 0.5));
    let inside = |y: f64, x: f64| (y - 60.0).hypot(x - 80.0) - 32.0;
    let a = Array2::from_shape_fn(size, |(y, x)| {
        let (y, x) = (y as f64, x as f64);
        (if inside(y - object[0], x - object[1]) < 0.0 { front.value(x, y) } else { back.value(x, y) }) as f32
    });
    let b = Array2::from_shape_fn(size, |(y, x)| {
        let (y, x) = (y as f64, x as f64);
        let value = |scene: &Scene, v: [f64; 2]| scene.value(x + v[1], y + v[0]) as f32;
        if inside(y, x) < 0.0 { value(&front, object) } else { value(&back, behind) }
    });
    let (far, near) = (|y, x| inside(y, x) > 14.0, |y, x| (inside(y, x) + 6.0).abs() < 2.0);
    let core = |y, x| inside(y, x) < -12.0;
    let mut edge = Vec::new();
    for detail in [FieldDetail::Coarse, FieldDetail::Normal] {
        for field in fields(&a, &b, detail) {
            let both = [errors(&field, |_, _| behind, far)[0], errors(&field, |_, _| object, core)[0]];
            assert!(both.iter().all(|e| *e < 0.03), "{detail:?}: {both:?} behind and on the object");
            edge.push(errors(&field, |_, _| object, near)[1]);
        }
    }
    assert!(edge[2] < edge[0] && edge[3] < edge[1], "small windows follow the edge of the object: {edge:?}");
}

#[test]
fn light_that_changes_from_place_to_place_is_not_motion() {
    let (size, v) = ((96, 128), |_: f64, _: f64| [0.6, -1.3]);
    let scene = Scene::new(8, 0.5);
    let a = digitized(&warped(&scene, size, |_, _| [0.0; 2]), 0.0, 1);
    let mut b = warped(&scene, size, v).mapv(|value| 0.85 * value + 9.0);
    b.indexed_iter_mut().for_each(|((y, x), value)| *value += 8.0 * (x as f32 / 30.0).sin() + 0.05 * y as f32);
    for field in fields(&a, &digitized(&b, 0.0, 2), FieldDetail::Normal) {
        let [middle, high] = errors(&field, v, shared(size, &v));
        assert!(middle < 0.04 && high < 0.15, "{middle}, {high}");
    }
}

#[test]
fn refinement_follows_a_chain_and_mends_it() {
    let size = (96, 128);
    let (scene, first) = (Scene::new(9, 0.5), similarity(size, 1.0, 1.0, [0.3, 0.8]));
    let frames = [0.0, 1.0, 2.0].map(|k| {
        let v = similarity(size, k, 1.0, [0.3 * k, 0.8 * k]);
        digitized(&warped(&scene, size, v), 0.0, k as u64 + 1)
    });
    let step = |from: usize| fields(&frames[from - 1], &frames[from], FieldDetail::Coarse)[0].clone();
    let v = similarity(size, 2.0, 1.0, [0.6, 1.6]);
    let off = Field::uniform(size.0, size.1, Shift { dx: 0.4, dy: -0.3 });
    let registrar = registrar(&frames[0]);
    let [a, c] = [&frames[0], &frames[2]].map(|f| registrar.prepare(f.view()).expect("prepared"));
    assert!(errors(&step(1), first, |_, _| true)[0] < 0.02, "the first link");
    let chain = step(2).then(&step(1));
    for start in [chain.clone(), chain.then(&off), chain.with_spacing(4)] {
        let field = registrar.refine_field(&a, &c, &start, FieldDetail::Coarse);
        let [middle, high] = errors(&field, &v, shared(size, &v));
        assert!(middle < 0.025 && high < 0.12, "{middle}, {high}");
    }
}

#[test]
fn frames_that_tell_nothing_give_finite_fields_of_any_size() {
    let mut random = Random(3);
    for size in [(1, 1), (15, 40), (16, 16), (17, 90), (90, 18), (64, 64)] {
        let flat = Array2::from_elem(size, 77.0);
        let mut noise = || Array2::from_shape_fn(size, |_| (255.0 * random.next()) as f32);
        let (one, other) = (noise(), noise());
        let huge = one.mapv(|v| v * 1e30);
        let pairs = [(&flat, &flat), (&flat, &one), (&one, &other), (&huge, &other), (&one, &huge)];
        for (a, b) in pairs {
            for detail in [FieldDetail::Coarse, FieldDetail::Fine] {
                for field in fields(a, b, detail) {
                    assert_eq!(field.size(), size, "as large as the frames");
                    assert!(field.vectors.iter().flatten().all(|v| v.is_finite()), "{size:?}, {detail:?}");
                }
            }
        }
        let registrar = registrar(&flat);
        let prepare = |frame: &Array2<f32>| registrar.prepare(frame.view()).expect("prepared");
        let far = Field::uniform(size.0, size.1, Shift { dx: 1e9, dy: -1e30 });
        let kept = registrar.refine_field(&prepare(&one), &prepare(&other), &far, FieldDetail::Normal);
        assert!(kept.vectors.iter().flatten().all(|v| v.is_finite()), "{size:?}: vectors that lead out of the frame");
        let [same, _] = fields(&one, &one, FieldDetail::Normal);
        assert!(same.vectors.iter().all(|v| *v == [0.0; 2]), "{size:?}: equal frames do not move");
    }
}

#[test]
fn threads_and_cpu_levels_do_not_show() {
    let size = (300, 150);
    let (scene, v) = (Scene::new(4, 0.6), |y: f64, x: f64| [0.7 + 2.0 * (x / 20.0).sin(), (y / 15.0).cos() - 1.1]);
    let a = digitized(&warped(&scene, size, |_, _| [0.0; 2]), 3.0, 1);
    let b = digitized(&warped(&scene, size, v), 3.0, 2);
    let run = |cpu, threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("pool");
        pool.install(|| {
            let registrar = Registrar::new(size.0, size.1, Options::default(), cpu).expect("registrar");
            let [a, b] = [&a, &b].map(|f| registrar.prepare(f.view()).expect("prepared"));
            let field = registrar.field(&a, &b, &registrar.estimate(&a, &b), FieldDetail::Fine);
            let refined = registrar.refine_field(&a, &b, &field, FieldDetail::Normal);
            [field, refined].map(|f| f.vectors.iter().flatten().map(|v| v.to_bits()).collect::<Vec<_>>())
        })
    };
    let want = run(CpuLevel::SCALAR, 1);
    for cpu in CpuLevel::available() {
        for threads in [1, 3] {
            assert!(run(cpu, threads) == want, "{cpu:?}, {threads} threads");
        }
    }
}

#[test]
fn a_field_is_corrected_by_what_it_foretells_wrongly() {
    let (size, motion) = ((96, 128), [1.37, -2.61]);
    let scene = Scene::new(11, 0.5);
    let registrar = registrar(&warped(&scene, size, |_, _| motion));
    let seen = digitized(&warped(&scene, size, |_, _| motion), 1.0, 3);
    for error in [[0.0, 0.0], [0.2, -0.15], [-0.4, 0.3]] {
        let assumed = [motion[0] + error[0], motion[1] + error[1]];
        let field = Field::uniform(size.0, size.1, Shift { dy: assumed[0], dx: assumed[1] });
        let predicted = warped(&scene, size, |_, _| assumed);
        let corrected = registrar.correct_field(predicted.view(), seen.view(), &field, FieldDetail::Normal);
        let [middle, high] = errors(&corrected, |_, _| motion, |_, _| true);
        assert!(middle < 0.02 && high < 0.06, "{error:?}: {middle:.3}, {high:.3}");
    }
}

#[test]
fn brightness_is_that_of_the_light_however_the_frame_turns() {
    let size = (104, 136);
    let (scene, v) = (Scene::new(3, 0.7), similarity(size, 5.0, 1.0, [0.4, 1.3]));
    let a = warped(&scene, size, |_, _| [0.0; 2]);
    for (gain, offset) in [(1.0, 0.0), (0.8, 20.0)] {
        let b = warped(&scene, size, &v).mapv(|value| gain * value + offset);
        let registrar = registrar(&a);
        let [a, b] = [&a, &b].map(|f| registrar.prepare(digitized(f, 0.0, 1).view()).expect("prepared"));
        let estimate = registrar.estimate(&a, &b);
        let field = registrar.field(&a, &b, &estimate, FieldDetail::Normal);
        let found = registrar.brightness_under(&a, &b, &field);
        let level = |(gain, offset): (f64, f64)| gain * 128.0 + offset;
        let want = (f64::from(gain), f64::from(offset));
        assert!((found.0 - want.0).abs() < 0.02, "{found:?} instead of {want:?}");
        assert!((level(found) - level(want)).abs() < 0.5, "{found:?} instead of {want:?}");
        let shifted = (estimate.gain, estimate.offset);
        assert!((shifted.0 - want.0).abs() > 0.04, "a shift alone gives {shifted:?}: the field would not be needed");
    }
}

#[test]
fn the_way_back_is_the_motion_inverted() {
    let v = similarity((96, 128), 3.0, 1.02, [1.5, -2.0]);
    let field = Field::from_fn(96, 128, 4, |y, x| v(f64::from(y), f64::from(x)).map(|v| v as f32));
    let both = field.then(&field.inverted());
    let left = (20..76).flat_map(|y| (20..108).map(move |x| (y, x))).map(|(y, x)| both.at(y as f32, x as f32));
    let worst = left.map(|[dy, dx]| dy.hypot(dx)).fold(0.0, f32::max);
    assert!(worst < 0.02, "{worst} pixels are left of there and back");
}
