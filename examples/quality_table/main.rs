//! Measures what each part of the reconstruction is worth: `cargo run --release --example quality_table [CLIP ...]`.
//!
//! Every clip (default: the project's own sample) is taken as truth, reduced by two and by four through a Gaussian of
//! 0.4 low-resolution pixels with 8-bit rounding, and enlarged again with all parts and with each one left out; by two also after
//! noise was added. Prints the table of docs/quality.md: mean PSNR of luma and chroma over Lanczos-3, and seconds a frame.

#![allow(clippy::expect_used, reason = "a measurement that cannot start has nothing to say")]
#![allow(clippy::print_stdout, reason = "the table is the result")]

use std::path::PathBuf;
use std::time::Instant;

use subpel::frame::{Frame, PictureLayout, Plane};
use subpel::fuse::{Blur, Parts};
use subpel::kernels::CpuLevel;
use subpel::media::VideoReader;
use subpel::metrics::psnr;
use subpel::resample::Filter;
use subpel::{InputSpec, Method, Upscaler};

/// Frames of a clip that are used.
const FRAMES: usize = 16;
/// Border left out of the comparison, pixels.
const BORDER: usize = 8;

/// Standard deviation of the noise that is added.
const NOISE: f32 = 3.0;

/// A variant: its name and how it is set up.
type Variant = (&'static str, Parts, Option<Blur>, Method);

fn variants() -> Vec<Variant> {
    let (all, usual, map) = (Parts::default(), Some(Blur::Usual), subpel::EnlargeOptions::default().method);
    vec![
        ("all parts", all, usual, map),
        ("no field: one shift a frame", Parts { field: false, ..all }, usual, map),
        ("no confidence", Parts { confidence: false, ..all }, usual, map),
        ("no gate", Parts { gate: false, ..all }, usual, map),
        ("no shares", Parts { shares: false, ..all }, usual, map),
        ("no bounds", Parts { bounds: false, ..all }, usual, map),
        ("no prior", Parts { prior: false, ..all }, usual, map),
        ("no light", Parts { glow: false, ..all }, usual, map),
        ("no drafts", Parts { drafts: false, ..all }, usual, map),
        ("no model of blur", all, Some(Blur::Gaussian(0.1)), map),
        ("blur told (Gaussian 0.4)", all, Some(Blur::Gaussian(0.4)), map),
        ("chroma interpolated", Parts { chroma: false, ..all }, usual, map),
        ("Lanczos", all, usual, Method::Interpolate(Filter::Lanczos)),
    ]
}

/// All planes of the clip's first frames, cut to a multiple of eight.
fn read(path: &PathBuf) -> (PictureLayout, Vec<Vec<Plane>>) {
    let mut reader = VideoReader::open(&InputSpec::local(path), 0, CpuLevel::detect()).expect("a clip");
    let layout = reader.info().layout.clone();
    let cut = layout.resized(layout.width / 8 * 8, layout.height / 8 * 8);
    let mut frames = Vec::new();
    while let Some(frame) = reader.next_frame().expect("a frame") {
        let crop = |(index, plane): (usize, &Plane)| {
            let (h, w) = cut.plane_size(index);
            plane.slice(ndarray::s![..h, ..w]).to_owned()
        };
        frames.push(frame.planes.iter().enumerate().map(crop).collect());
        if frames.len() == FRAMES {
            break;
        }
    }
    (cut, frames)
}

/// Every `scale`-th row of `plane` blurred by a Gaussian of `0.4 scale`, centred between rows; then transposed.
fn reduce_rows(plane: &Plane, scale: usize) -> Plane {
    let (rows, columns) = plane.dim();
    let sigma = 0.4 * scale as f64;
    let reach = (4.0 * sigma).ceil() as isize;
    Plane::from_shape_fn((columns, rows / scale), |(x, y)| {
        let center = (scale * y) as f64 + (scale as f64 - 1.0) / 2.0;
        let first = center.floor() as isize - reach;
        let (mut sum, mut total) = (0.0, 0.0);
        for k in first..=first + 2 * reach + 1 {
            let weight = (-0.5 * ((k as f64 - center) / sigma).powi(2)).exp();
            let at = k.rem_euclid(2 * rows as isize) as usize;
            sum += weight * f64::from(plane[[at.min(2 * rows - 1 - at), x]]);
            total += weight;
        }
        (sum / total) as f32
    })
}

/// The clip reduced by `scale`, with noise added and rounded to 8 bits.
fn reduced(frames: &[Vec<Plane>], scale: usize, noise: f32) -> Vec<Vec<Plane>> {
    let mut random = fastrand::Rng::with_seed(3);
    // Box and Muller (1958).
    let mut normal = move || (-2.0 * (1.0 - random.f32()).ln()).sqrt() * (std::f32::consts::TAU * random.f32()).cos();
    let mut small = |plane: &Plane| {
        let plane = reduce_rows(&reduce_rows(plane, scale), scale);
        plane.mapv(|v| (v + noise * normal()).round().clamp(0.0, 255.0))
    };
    frames.iter().map(|planes| planes.iter().map(&mut small).collect()).collect()
}

/// Mean PSNR of luma and of the other planes, and seconds a frame.
fn measure(
    layout: &PictureLayout,
    small: &[Vec<Plane>],
    truth: &[Vec<Plane>],
    variant: &Variant,
    scale: usize,
) -> (f64, f64, f64) {
    let (_, parts, blur, method) = *variant;
    let from = layout.resized(layout.width / scale, layout.height / scale);
    let builder = Upscaler::builder(&from).scale(scale as f64).method(method).blur(blur).parts(parts);
    let mut upscaler = builder.build().expect("an upscaler");
    let start = Instant::now();
    let mut out = Vec::new();
    for (index, planes) in small.iter().enumerate() {
        let (pts, carried) = (index as i64, Vec::new());
        let frame = Frame { index: index as u64, pts, duration: 1, planes: planes.clone(), coding: None, carried };
        out.extend(upscaler.push(frame).expect("a frame"));
    }
    out.extend(upscaler.finish().expect("the rest"));
    let seconds = start.elapsed().as_secs_f64() / small.len() as f64;
    let inner = |plane: &Plane| {
        let (h, w) = plane.dim();
        plane.slice(ndarray::s![BORDER..h - BORDER, BORDER..w - BORDER]).to_owned()
    };
    let (mut luma, mut chroma, mut planes) = (0.0, 0.0, 0.0);
    for (made, wanted) in out.iter().zip(truth) {
        for (index, (made, wanted)) in made.frame.planes.iter().zip(wanted).enumerate() {
            let score = psnr(inner(made).view(), inner(wanted).view()).expect("equal sizes").min(99.0);
            if index == 0 {
                luma += score;
            } else {
                chroma += score;
                planes += 1.0;
            }
        }
    }
    (luma / truth.len() as f64, if planes > 0.0 { chroma / planes } else { 0.0 }, seconds)
}

fn main() {
    let mut clips: Vec<PathBuf> = std::env::args().skip(1).map(PathBuf::from).collect();
    if clips.is_empty() {
        clips.push(PathBuf::from("samples/clip.mkv"));
    }
    for path in clips {
        let (layout, truth) = read(&path);
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        println!("\n{name}, {} frames of {}x{}\n", truth.len(), layout.width, layout.height);
        println!(
            "| part | x2 luma | x2 chroma | x2 s/frame | x4 luma | x4 chroma | x4 s/frame | x2, noise {NOISE}: luma | chroma |\n\
             |---|---|---|---|---|---|---|---|---|"
        );
        let inputs = [(2, 0.0), (4, 0.0), (2, NOISE)].map(|(scale, noise)| (scale, reduced(&truth, scale, noise)));
        let lanczos = variants().pop().expect("the last variant");
        let base = inputs.each_ref().map(|(scale, small)| measure(&layout, small, &truth, &lanczos, *scale));
        for variant in variants() {
            let mut line = format!("| {}", variant.0);
            for (column, ((scale, small), base)) in inputs.iter().zip(&base).enumerate() {
                let (luma, chroma, seconds) = measure(&layout, small, &truth, &variant, *scale);
                line += &format!(" | {:+.2} | {:+.2}", luma - base.0, chroma - base.1);
                if column < 2 {
                    line += &format!(" | {seconds:.3}");
                }
            }
            println!("{line} |");
        }
    }
}
