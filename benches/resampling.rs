//! Interpolation of a 960x540 picture to 1920x1080, 4:2:0, per CPU level and filter; other scales of one plane; PSNR
//! and SSIM of 1920x1080.
//!
//! Set `RAYON_NUM_THREADS=1` to measure the time of one core.

use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use subpel::color::ColorDescription;
use subpel::frame::{AxisMap, ChromaSite, ColorFamily, PictureLayout, Plane};
use subpel::kernels::CpuLevel;
use subpel::metrics::{psnr, ssim};
use subpel::resample::{Filter, PictureResampler, Resampler};

fn plane(rows: usize, columns: usize) -> Plane {
    Plane::from_shape_fn((rows, columns), |(y, x)| ((y * 31 + x * 17) % 256) as f32)
}

fn picture(c: &mut Criterion) {
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
    let to = from.resized(1920, 1080);
    let planes: Vec<Plane> = (0..3).map(|i| from.plane_size(i)).map(|(rows, columns)| plane(rows, columns)).collect();
    let mut group = c.benchmark_group("picture_540p_to_1080p");
    for filter in Filter::ALL {
        for level in CpuLevel::available() {
            let resampler = PictureResampler::new(&from, &to, filter, level);
            let mut out = resampler.allocate();
            group.bench_function(format!("{filter}/{}", level.name()), |b| {
                b.iter(|| resampler.resample(black_box(&planes), &mut out));
            });
        }
    }
    group.finish();
}

fn scales(c: &mut Criterion) {
    let input = plane(540, 960);
    let mut group = c.benchmark_group("lanczos_plane_from_540p");
    for (rows, columns) in [(270, 480), (720, 1280), (1080, 1920), (1620, 2880), (2160, 3840)] {
        let (vertical, horizontal) = (AxisMap::centered(540, rows), AxisMap::centered(960, columns));
        let resampler = Resampler::new(vertical, horizontal, Filter::Lanczos, CpuLevel::detect());
        let mut out = Plane::zeros((rows, columns));
        group.bench_function(format!("{columns}x{rows}"), |b| {
            b.iter(|| resampler.resample(black_box(input.view()), &mut out));
        });
    }
    group.finish();
}

fn metrics(c: &mut Criterion) {
    let (a, b) = (plane(1080, 1920), plane(1080, 1920) * 0.9);
    let mut group = c.benchmark_group("metrics_1080p");
    group.bench_function("psnr", |bench| bench.iter(|| psnr(black_box(a.view()), b.view())));
    group.bench_function("ssim", |bench| bench.iter(|| ssim(black_box(a.view()), b.view())));
    group.finish();
}

criterion_group!(benches, picture, scales, metrics);
criterion_main!(benches);
