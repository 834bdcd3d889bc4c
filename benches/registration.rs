//! Time of each part of registration on a pair of 960 x 540 frames: `cargo bench --bench registration`.

#![allow(clippy::expect_used, reason = "a benchmark that cannot start has nothing to measure")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use ndarray::Array2;
use subpel::kernels::CpuLevel;
use subpel::register::{Field, FieldDetail, Motion, Options, Registrar};

const HEIGHT: usize = 540;
const WIDTH: usize = 960;

/// A textured scene moved by (dx, dy), with a little noise.
fn frame(dx: f64, dy: f64, seed: u32) -> Array2<f32> {
    let mut state = seed;
    Array2::from_shape_fn((HEIGHT, WIDTH), |(y, x)| {
        let (x, y) = (x as f64 - dx, y as f64 - dy);
        let waves = 30.0 * (0.11 * x + 0.05 * y).sin() + 25.0 * (0.17 * y - 0.03 * x).sin();
        let texture = 20.0 * (0.013 * x).sin() * (0.021 * y).cos() + 15.0 * (0.37 * x).sin() * (0.41 * y).sin();
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (120.0 + waves + texture) as f32 + (state >> 24) as f32 / 64.0
    })
}

fn registration(criterion: &mut Criterion) {
    for cpu in CpuLevel::available() {
        let registrar = Registrar::new(HEIGHT, WIDTH, Options::default(), cpu).expect("registrar");
        let (still, moved) = (frame(0.0, 0.0, 1), frame(5.3, -2.7, 2));
        let [reference, moving] = [&still, &moved].map(|f| registrar.prepare(f.view()).expect("prepared"));
        let near = Motion::translation(5.0, -3.0);
        let mut group = criterion.benchmark_group(format!("registration 960x540 {}", cpu.name()));
        group.bench_function("prepare", |b| b.iter(|| registrar.prepare(black_box(moved.view()))));
        group.bench_function("estimate", |b| b.iter(|| registrar.estimate(black_box(&reference), &moving)));
        group.bench_function("refine", |b| b.iter(|| registrar.refine(black_box(&reference), &moving, &near)));
        let estimate = registrar.estimate(&reference, &moving);
        for detail in [FieldDetail::Coarse, FieldDetail::Normal, FieldDetail::Fine] {
            let name = format!("field, {detail:?}");
            group.bench_function(name, |b| {
                b.iter(|| registrar.field(black_box(&reference), &moving, &estimate, detail))
            });
        }
        let near = Field::uniform(HEIGHT, WIDTH, -estimate.motion.global());
        for detail in [FieldDetail::Coarse, FieldDetail::Normal] {
            let name = format!("refine_field, {detail:?}");
            group.bench_function(name, |b| {
                b.iter(|| registrar.refine_field(black_box(&reference), &moving, &near, detail))
            });
        }
        let (mut dy, mut dx) = (vec![0.0; WIDTH], vec![0.0; WIDTH]);
        group.bench_function("rows of a field", |b| {
            b.iter(|| (0..HEIGHT).for_each(|y| near.row(black_box(y as f32), 0.0, 1.0, &mut dy, &mut dx)));
        });
        group.finish();
    }
}

criterion_group!(benches, registration);
criterion_main!(benches);
