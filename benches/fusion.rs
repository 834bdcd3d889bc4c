//! One reconstructed frame, 960x540 to 1920x1080, 4:2:0, two neighbours on each side, and its single-frame path.

#![allow(clippy::expect_used, reason = "a benchmark that cannot start has nothing to measure")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use subpel::color::ColorDescription;
use subpel::frame::{ChromaSite, ColorFamily, PictureLayout, Plane};
use subpel::fuse::{Appearance, Neighbour, Options, Reconstructor};
use subpel::kernels::CpuLevel;
use subpel::register::{Field, Shift};

/// A picture of waves that has moved by (dx, dy).
fn frame(layout: &PictureLayout, dx: f64, dy: f64) -> Vec<Plane> {
    let plane = |index| {
        let spacing = f64::from(1u32 << layout.plane_log2(index).0);
        Plane::from_shape_fn(layout.plane_size(index), |(y, x)| {
            let (x, y) = (spacing * x as f64 - dx, spacing * y as f64 - dy);
            (128.0 + 40.0 * (0.31 * x + 0.2 * y).sin() + 40.0 * (0.13 * x - 0.44 * y).sin()) as f32
        })
    };
    (0..layout.plane_count()).map(plane).collect()
}

fn fusion(criterion: &mut Criterion) {
    let from = PictureLayout {
        width: 960,
        height: 540,
        family: ColorFamily::YCbCr,
        chroma_log2: (1, 1),
        chroma_site: ChromaSite { x: 0.0, y: 0.5 },
        alpha: false,
        depth: 8,
        color: ColorDescription::default(),
    };
    let shifts = [(-1.3, 0.4), (-0.6, 0.2), (0.7, -0.3), (1.4, -0.6)];
    let reference = frame(&from, 0.0, 0.0);
    let best = *CpuLevel::available().last().expect("a level");
    let appearance = Appearance::new(&reference, None, &from, best);
    let other = |&(dx, dy): &(f64, f64)| {
        let planes = frame(&from, dx, dy);
        let appearance = Appearance::new(&planes, None, &from, best);
        (planes, appearance, Field::uniform(from.height, from.width, Shift { dx: -dx, dy: -dy }))
    };
    let others: Vec<_> = shifts.iter().map(other).collect();
    let neighbours: Vec<_> = others
        .iter()
        .map(|(planes, appearance, field)| Neighbour { planes, appearance, field, gain: 1.0, offset: 0.0 })
        .collect();
    let mut group = criterion.benchmark_group("reconstruct 960x540 to 1920x1080");
    group.sample_size(20);
    for cpu in CpuLevel::available() {
        let to = from.resized(1920, 1080);
        let mut out: Vec<Plane> = (0..3).map(|i| Plane::zeros(to.plane_size(i))).collect();
        let mut fuse = Reconstructor::new(&from, &to, Options::default(), cpu).expect("the sizes fit");
        for (name, neighbours) in [("one frame", &neighbours[..0]), ("five frames", &neighbours[..])] {
            group.bench_function(format!("{name}, {}", cpu.name()), |b| {
                b.iter(|| black_box(fuse.reconstruct(&reference, &appearance, neighbours, &mut out)));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, fusion);
criterion_main!(benches);
