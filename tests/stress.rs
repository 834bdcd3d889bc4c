//! Never worse: whatever a clip does, the default must not lose against Lanczos, nor against one frame alone where
//! several cannot help.
//!
//! Scenes are functions of the plane: waves of several octaves, edges and bars like text, all with detail down to the
//! pixels of the large picture. They are rendered at the size to reach, reduced by a known kernel, rounded to 8 bits
//! and enlarged again. Each test prints its table (`--nocapture`): luma PSNR, the mean over all frames, in dB.

#![allow(clippy::expect_used, reason = "a test stops at the first surprise")]

mod support;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use ndarray::Array2;
use subpel::color::ColorDescription;
use subpel::frame::{ChromaSite, ColorFamily, Frame, PictureLayout};
use subpel::resample::Filter;
use subpel::{Method, Upscaler};
use support::{Scratch, skipped};

type Plane = Array2<f32>;

/// How far under Lanczos the default may be, dB.
const UNDER_LANCZOS: f64 = 0.05;
/// How far under one frame alone it may be where others cannot help, dB.
const UNDER_SINGLE: f64 = 0.15;

// ---- Scenes ----

/// Numbers from 0 to 1 that look random.
struct Random(u64);

impl Random {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / (1 << 24) as f32
    }

    /// Normal, from twelve even ones.
    fn normal(&mut self) -> f32 {
        (0..12).map(|_| self.next()).sum::<f32>() - 6.0
    }
}

/// A picture without end; positions in pixels of the large picture.
struct World {
    /// (frequency down, frequency right, phase, height).
    waves: Vec<[f32; 4]>,
    seed: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Random(1000 + seed);
        (0..8).for_each(|_| _ = random.next());
        let wave = |n: usize| {
            let length = 2.6 * 1.18f32.powi(n as i32);
            let (angle, frequency) = (random.next() * std::f32::consts::TAU, std::f32::consts::TAU / length);
            [
                frequency * angle.sin(),
                frequency * angle.cos(),
                random.next() * std::f32::consts::TAU,
                2.2 * length.powf(0.6),
            ]
        };
        Self { waves: (0..20).map(wave).collect(), seed }
    }

    /// Sample at row `y`, column `x`.
    fn at(&self, y: f32, x: f32) -> f32 {
        let edge = 26.0 * (30.0 * ((x + 0.6 * y) * 0.035 + self.seed as f32).sin()).clamp(-1.0, 1.0);
        self.waves(y, x) + edge - 70.0 * self.ink(y, x)
    }

    /// The same without edges and strokes.
    fn waves(&self, y: f32, x: f32) -> f32 {
        let wave = |[fy, fx, phase, height]: &[f32; 4]| height * (fy * y + fx * x + phase).cos();
        120.0 + 0.8 * self.waves.iter().map(wave).sum::<f32>()
    }

    /// Lines of strokes: how much of the pixel is covered.
    fn ink(&self, y: f32, x: f32) -> f32 {
        let (line, letter) = ((y / 22.0).floor(), (x / 9.0).floor());
        let (v, u) = (y - 22.0 * line, x - 9.0 * letter);
        let mut bits =
            Random(self.seed ^ (line as i64 as u64).wrapping_mul(7919) ^ (letter as i64 as u64).wrapping_mul(104_729));
        (0..3).for_each(|_| _ = bits.next());
        if (line as i64).rem_euclid(2) == 1 || bits.next() < 0.2 {
            return 0.0;
        }
        let bar = |at: f32, middle: f32, half: f32| (half + 0.5 - (at - middle).abs()).clamp(0.0, 1.0);
        let upright = bar(u, 2.0 + 1.5 * bits.next(), 0.8) * bar(v, 8.0, 5.0);
        let cross = bar(v, 4.0 + 8.0 * bits.next(), 0.8) * bar(u, 4.0, 3.0);
        upright.max(cross)
    }
}

/// `count` pictures of (rows, columns); `scene` gives the sample of frame t at (y, x).
fn clip(count: usize, (rows, columns): (usize, usize), scene: impl Fn(f32, f32, f32) -> f32) -> Vec<Plane> {
    let picture = |t: usize| Plane::from_shape_fn((rows, columns), |(y, x)| scene(t as f32, y as f32, x as f32));
    let rounded = |picture: Plane| picture.mapv(|v| v.round().clamp(0.0, 255.0));
    (0..count).map(picture).map(rounded).collect()
}

/// A camera that drifts by fractions of a pixel and shakes a little, frame `t`; large pixels (down, right).
fn drift(t: f32) -> (f32, f32) {
    (0.83 * t + 0.4 * (1.7 * t).sin(), 1.37 * t + 0.4 * (2.3 * t).cos())
}

/// A clip of `world` under that camera.
fn drifting(world: &World, count: usize, size: (usize, usize)) -> Vec<Plane> {
    clip(count, size, |t, y, x| {
        let (dy, dx) = drift(t);
        world.at(y + dy, x + dx)
    })
}

// ---- Reduction ----

#[derive(Debug, Clone, Copy)]
enum Kernel {
    Box,
    /// Standard deviation in small pixels.
    Gaussian(f64),
    /// Keys, a = -1/2, widened by the scale.
    Cubic,
    Lanczos,
}

impl Kernel {
    /// Weight at a distance in small pixels; `half` is half a large pixel.
    fn weight(self, d: f64, half: f64) -> f64 {
        let sinc =
            |x: f64| if x.abs() < 1e-9 { 1.0 } else { (std::f64::consts::PI * x).sin() / (std::f64::consts::PI * x) };
        match self {
            // What the large pixel covers of the small one.
            Self::Box => ((d + half).min(0.5) - (d - half).max(-0.5)).max(0.0),
            Self::Gaussian(sigma) => (-0.5 * (d / sigma).powi(2)).exp(),
            Self::Cubic => match d.abs() {
                d if d < 1.0 => 1.5 * d.powi(3) - 2.5 * d * d + 1.0,
                d if d < 2.0 => -0.5 * d.powi(3) + 2.5 * d * d - 4.0 * d + 2.0,
                _ => 0.0,
            },
            Self::Lanczos if d.abs() < 3.0 => sinc(d) * sinc(d / 3.0),
            Self::Lanczos => 0.0,
        }
    }
}

/// Columns of weights: small sample `i` of `small` lies at `scale * i + origin` of `large`.
fn weights(large: usize, small: usize, scale: f64, origin: f64, kernel: Kernel) -> Vec<Vec<(usize, f64)>> {
    let one = |i: usize| {
        let center = scale * i as f64 + origin;
        let reach = (3.2 * scale).ceil() as i64;
        let taps: Vec<(usize, f64)> = (center as i64 - reach..=center as i64 + reach)
            .map(|j| (j.clamp(0, large as i64 - 1) as usize, kernel.weight((j as f64 - center) / scale, 0.5 / scale)))
            .filter(|(_, w)| *w != 0.0)
            .collect();
        let total: f64 = taps.iter().map(|(_, w)| w).sum();
        taps.into_iter().map(|(j, w)| (j, w / total)).collect()
    };
    (0..small).map(one).collect()
}

/// `picture` reduced to (rows, columns), not rounded; origins as in [`weights`], none for centred.
fn reduce(picture: &Plane, (rows, columns): (usize, usize), kernel: Kernel, origin: Option<(f64, f64)>) -> Plane {
    let (h, w) = picture.dim();
    let scale = (h as f64 / rows as f64, w as f64 / columns as f64);
    let origin = origin.unwrap_or(((scale.0 - 1.0) / 2.0, (scale.1 - 1.0) / 2.0));
    let down = weights(h, rows, scale.0, origin.0, kernel);
    let across = weights(w, columns, scale.1, origin.1, kernel);
    let flat = Array2::from_shape_fn((rows, w), |(i, x)| {
        down[i].iter().map(|&(y, weight)| weight * f64::from(picture[[y, x]])).sum::<f64>()
    });
    Array2::from_shape_fn((rows, columns), |(i, j)| {
        across[j].iter().map(|&(x, weight)| weight * flat[[i, x]]).sum::<f64>() as f32
    })
}

fn eight_bit(v: f32) -> f32 {
    v.round().clamp(0.0, 255.0)
}

// ---- Enlarging and judging ----

fn layout(width: usize, height: usize, family: ColorFamily) -> PictureLayout {
    let chroma_log2 = if family == ColorFamily::YCbCr { (1, 1) } else { (0, 0) };
    let (chroma_site, color) = (ChromaSite { x: 0.0, y: 0.5 }, ColorDescription::default());
    PictureLayout { width, height, family, chroma_log2, chroma_site, alpha: false, depth: 8, color }
}

/// All frames enlarged to (rows, columns), rounded.
fn enlarge(
    frames: &[Vec<Plane>],
    layout: &PictureLayout,
    (rows, columns): (usize, usize),
    method: Method,
    window: Option<usize>,
) -> Vec<Vec<Plane>> {
    let mut builder = Upscaler::builder(layout).size(columns, rows).method(method);
    if let Some(window) = window {
        builder = builder.window(window);
    }
    let mut upscaler = builder.build().expect("built");
    let mut out = Vec::new();
    for (t, planes) in frames.iter().enumerate() {
        let planes = planes.clone();
        let frame = Frame { index: t as u64, pts: t as i64, duration: 1, planes, coding: None, carried: Vec::new() };
        out.extend(upscaler.push(frame).expect("pushed"));
    }
    out.extend(upscaler.finish().expect("finished"));
    out.into_iter().map(|e| e.frame.planes.iter().map(|p| p.mapv(eight_bit)).collect()).collect()
}

fn psnr(a: &Plane, b: &Plane) -> f64 {
    let square = a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>() / a.len() as f64;
    10.0 * (255.0 * 255.0 / square.max(1e-3)).log10()
}

/// Mean over frames of the PSNR of a plane.
fn mean_psnr(made: &[Vec<Plane>], truth: &[Vec<Plane>], plane: usize) -> f64 {
    made.iter().zip(truth).map(|(m, t)| psnr(&m[plane], &t[plane])).sum::<f64>() / truth.len() as f64
}

/// What is asked of a situation beside not to be under Lanczos.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Help {
    /// Other frames can show more.
    Can,
    /// They cannot: one frame alone is the measure.
    Cannot,
}

/// Situations, their figures, and what was missed.
struct Table {
    text: String,
    missed: Vec<String>,
}

impl Table {
    fn new(title: &str) -> Self {
        let heads = format!("{:>9} {:>9} {:>9} {:>7}", "Lanczos", "one frame", "default", "gain");
        Self { text: format!("\n{title:44} {heads}\n"), missed: Vec::new() }
    }

    /// Compares one plane of what the methods make of `frames` with the `truth`.
    fn judge(&mut self, name: &str, help: Help, truth: &[Vec<Plane>], frames: &[Vec<Plane>], window: Option<usize>) {
        let family = if truth[0].len() > 1 { ColorFamily::YCbCr } else { ColorFamily::Gray };
        let ((rows, columns), size) = (frames[0][0].dim(), truth[0][0].dim());
        let layout = layout(columns, rows, family);
        let lanczos = enlarge(frames, &layout, size, Method::Interpolate(Filter::Lanczos), None);
        let single = enlarge(frames, &layout, size, Method::default(), Some(0));
        let multi = enlarge(frames, &layout, size, Method::default(), window);
        assert_eq!(multi.len(), truth.len(), "{name}: frames");
        for plane in 0..truth[0].len() {
            let name = if plane == 0 { name.to_owned() } else { format!("{name}, chroma {plane}") };
            let of = |made: &[Vec<Plane>]| mean_psnr(made, truth, plane);
            self.add(&name, help, of(&lanczos), of(&single), of(&multi));
        }
    }

    fn add(&mut self, name: &str, help: Help, lanczos: f64, single: f64, multi: f64) {
        let mut mark = String::new();
        if multi < lanczos - UNDER_LANCZOS {
            mark += "  UNDER LANCZOS";
        }
        if help == Help::Cannot && multi < single - UNDER_SINGLE {
            mark += "  UNDER ONE FRAME";
        }
        let gain = multi - lanczos;
        let line = format!("{name:44} {lanczos:9.2} {single:9.2} {multi:9.2} {gain:+7.2}{mark}");
        writeln!(self.text, "{line}").expect("text grows");
        if !mark.is_empty() {
            self.missed.push(line);
        }
    }

    /// A clip of luma, reduced by `scale` with `kernel`.
    fn luma(&mut self, name: &str, help: Help, truth: &[Plane], kernel: Kernel, scale: f64) {
        self.changed(name, help, truth, kernel, scale, |_, picture| picture);
    }

    /// The same where `change` is made to the small frames before they are rounded.
    fn changed(
        &mut self,
        name: &str,
        help: Help,
        truth: &[Plane],
        kernel: Kernel,
        scale: f64,
        mut change: impl FnMut(usize, Plane) -> Plane,
    ) {
        let (rows, columns) = truth[0].dim();
        let small = ((rows as f64 / scale).round() as usize, (columns as f64 / scale).round() as usize);
        let frames: Vec<Vec<Plane>> = truth
            .iter()
            .enumerate()
            .map(|(t, picture)| vec![change(t, reduce(picture, small, kernel, None)).mapv(eight_bit)])
            .collect();
        let truth: Vec<Vec<Plane>> = truth.iter().map(|p| vec![p.clone()]).collect();
        self.judge(name, help, &truth, &frames, None);
    }

    /// Shows the table; fails if anything was missed.
    #[track_caller]
    fn end(self) {
        #[allow(clippy::print_stdout, reason = "the table is what the test shows")]
        {
            println!("{}", self.text);
        }
        assert!(self.missed.is_empty(), "worse than it may be:\n{}", self.missed.join("\n"));
    }
}

/// Large pictures (rows, columns): 72 x 96 at x2.
const SIZE: (usize, usize) = (144, 192);
/// More than the window of five.
const COUNT: usize = 7;
/// A usual lens.
const USUAL: Kernel = Kernel::Gaussian(0.42);

#[test]
fn nothing_to_gain_loses_nothing() {
    let mut table = Table::new("nothing to gain");
    let world = World::new(1);
    table.luma("static", Help::Cannot, &clip(COUNT, SIZE, |_, y, x| world.at(y, x)), USUAL, 2.0);
    table.luma("static, box", Help::Cannot, &clip(COUNT, SIZE, |_, y, x| world.at(y, x)), Kernel::Box, 2.0);
    let worlds: Vec<World> = (0..COUNT as u64).map(|n| World::new(10 + n)).collect();
    let other = clip(COUNT, SIZE, |t, y, x| worlds[t as usize].at(y, x));
    table.luma("every frame another picture", Help::Cannot, &other, USUAL, 2.0);
    let apart = clip(COUNT, SIZE, |t, y, x| world.at(y + 300.0 * t, x + 411.0 * t));
    table.luma("every frame another part of one picture", Help::Cannot, &apart, USUAL, 2.0);
    let mixed = clip(COUNT, SIZE, |t, y, x| 0.6 * world.at(y, x) + 0.4 * worlds[t as usize].at(y, x));
    table.luma("another picture over a static one", Help::Cannot, &mixed, USUAL, 2.0);
    let whole = clip(COUNT, SIZE, |t, y, x| world.at(y + 2.0 * t, x - 4.0 * t));
    table.luma("shifts by whole pixels", Help::Cannot, &whole, USUAL, 2.0);
    table.luma("a flat picture", Help::Cannot, &clip(COUNT, SIZE, |t, _, _| 90.0 + t), USUAL, 2.0);
    table.luma("one frame", Help::Cannot, &drifting(&world, 1, SIZE), USUAL, 2.0);
    table.end();
}

#[test]
fn cuts_flicker_and_fades() {
    let mut table = Table::new("cuts, flicker, fades");
    let (world, after) = (World::new(2), World::new(3));
    for cut in [1, 2, 3, COUNT - 1] {
        let truth = clip(COUNT, SIZE, |t, y, x| {
            let (dy, dx) = drift(t);
            (if t < cut as f32 { &world } else { &after }).at(y + dy, x + dx)
        });
        table.luma(&format!("cut at frame {cut} of {COUNT}"), Help::Can, &truth, USUAL, 2.0);
    }
    let lit = |light: &dyn Fn(f32) -> (f32, f32)| {
        clip(COUNT, SIZE, |t, y, x| {
            let ((dy, dx), (gain, offset)) = (drift(t), light(t));
            gain * world.at(y + dy, x + dx) + offset
        })
    };
    let sign = |t: f32| if t % 2.0 < 1.0 { 1.0 } else { -1.0 };
    table.luma("flicker, gain 10 %", Help::Can, &lit(&|t| (1.0 + 0.1 * sign(t), 0.0)), USUAL, 2.0);
    table.luma("flicker, offset 6", Help::Can, &lit(&|t| (1.0, 6.0 * sign(t))), USUAL, 2.0);
    let part = |t: f32| t / (COUNT - 1) as f32;
    table.luma("fade to black", Help::Can, &lit(&|t| (1.0 - part(t), 0.0)), USUAL, 2.0);
    table.luma("fade to white", Help::Can, &lit(&|t| (1.0 - part(t), 255.0 * part(t))), USUAL, 2.0);
    let cross = clip(COUNT, SIZE, |t, y, x| {
        let (dy, dx) = drift(t);
        (1.0 - part(t)) * world.at(y + dy, x + dx) + part(t) * after.at(y - dy, x + dx)
    });
    table.luma("cross-fade", Help::Can, &cross, USUAL, 2.0);
    table.end();
}

#[test]
fn noise() {
    let mut table = Table::new("noise");
    let world = World::new(4);
    let moving = drifting(&world, COUNT, SIZE);
    let still = clip(COUNT, SIZE, |_, y, x| world.at(y, x));
    for sigma in [2.0, 5.0, 10.0] {
        for (name, truth) in [("drifting", &moving), ("static", &still)] {
            let mut random = Random(sigma as u64);
            table.changed(&format!("noise {sigma}, {name}"), Help::Can, truth, USUAL, 2.0, |_, picture| {
                picture.mapv(|v| v + sigma * random.normal())
            });
        }
    }
    table.end();
}

#[test]
fn other_blurs_than_expected() {
    let mut table = Table::new("blur");
    let truth = drifting(&World::new(5), COUNT, SIZE);
    for sigma in [0.25, 0.3, 0.4, 0.5, 0.6] {
        table.luma(&format!("Gaussian {sigma}"), Help::Can, &truth, Kernel::Gaussian(sigma), 2.0);
    }
    for kernel in [Kernel::Box, Kernel::Cubic, Kernel::Lanczos] {
        table.luma(&format!("{kernel:?}"), Help::Can, &truth, kernel, 2.0);
        let still = vec![truth[0].clone(); 3];
        table.luma(&format!("{kernel:?}, static"), Help::Cannot, &still, kernel, 2.0);
    }
    table.end();
}

#[test]
fn motion_of_all_kinds() {
    let mut table = Table::new("motion");
    let (world, other) = (World::new(6), World::new(7));
    let every = clip(COUNT, SIZE, |t, y, x| {
        let (dy, dx) = drift(4.0 * t);
        world.at(y + dy, x + dx)
    });
    table.luma("every fourth frame", Help::Can, &every, USUAL, 2.0);
    let fast = clip(COUNT, SIZE, |t, y, x| world.at(y + 3.3 * t, x + 40.6 * t));
    table.luma("20 pixels a frame", Help::Can, &fast, USUAL, 2.0);
    let back = clip(COUNT, SIZE, |t, y, x| world.at(y, x + if t % 2.0 < 1.0 { 0.0 } else { 40.6 }));
    table.luma("20 pixels forth and back", Help::Can, &back, USUAL, 2.0);
    let (cy, cx) = (SIZE.0 as f32 / 2.0, SIZE.1 as f32 / 2.0);
    let turned = |step: f32| {
        clip(COUNT, SIZE, |t, y, x| {
            let (s, c) = (step.to_radians() * t).sin_cos();
            let (y, x) = (y - cy, x - cx);
            world.at(c * y + s * x, c * x - s * y)
        })
    };
    table.luma("turning by 1 degree a frame", Help::Can, &turned(1.0), USUAL, 2.0);
    table.luma("turning by 5 degrees a frame", Help::Can, &turned(5.0), USUAL, 2.0);
    for step in [0.99f32, 1.03] {
        let zoom = clip(COUNT, SIZE, |t, y, x| {
            let z = step.powf(t);
            world.at(z * (y - cy), z * (x - cx))
        });
        table.luma(&format!("zoom by {step} a frame"), Help::Can, &zoom, USUAL, 2.0);
    }
    let object = clip(COUNT, SIZE, |t, y, x| {
        let ((dy, dx), (oy, ox)) = (drift(t), (0.4 * cy + 4.3 * t, 0.4 * cx + 7.7 * t));
        let part = (34.5 - (y - oy).hypot(x - ox)).clamp(0.0, 1.0);
        part * other.at(y - oy, x - ox) + (1.0 - part) * world.at(y + dy, x + dx)
    });
    table.luma("object over a moving background", Help::Can, &object, USUAL, 2.0);
    // What is soft hides its wrong motion: it differs by little.
    let soft = clip(COUNT, SIZE, |t, y, x| {
        let ((dy, dx), bend) = (drift(t), 1.2 * (x / 9.0 + 1.9 * t).sin());
        world.waves((y + dy + bend) / 3.0, (x + dx) / 3.0)
    });
    table.luma("soft, bending", Help::Can, &soft, USUAL, 2.0);
    let waving = clip(COUNT, SIZE, |t, y, x| {
        let bend = 3.0 * (x / 23.0 + 0.9 * t).sin();
        world.at(y + bend, x + 2.0 * (y / 31.0 - 0.7 * t).cos())
    });
    table.luma("waving", Help::Can, &waving, USUAL, 2.0);
    table.end();
}

#[test]
fn short_clips_and_small_or_odd_frames() {
    let mut table = Table::new("short, small, odd");
    let world = World::new(8);
    table.luma("two frames", Help::Can, &drifting(&world, 2, SIZE), USUAL, 2.0);
    let three = drifting(&world, 3, SIZE);
    let truth: Vec<Vec<Plane>> = three.iter().map(|p| vec![p.clone()]).collect();
    let small = |p: &Plane| vec![reduce(p, (SIZE.0 / 2, SIZE.1 / 2), USUAL, None).mapv(eight_bit)];
    let frames: Vec<Vec<Plane>> = three.iter().map(small).collect();
    table.judge("three frames, window 30", Help::Can, &truth, &frames, Some(30));
    for (columns, rows) in [(8, 6), (1, 9), (9, 1), (1, 1), (15, 40), (37, 53), (101, 3)] {
        let truth = drifting(&world, 5, (2 * rows, 2 * columns));
        table.luma(&format!("{columns}x{rows}"), Help::Can, &truth, USUAL, 2.0);
    }
    table.end();
}

#[test]
fn all_scales() {
    let mut table = Table::new("scales");
    let world = World::new(9);
    for (scale, size, count) in
        [(1.5, (108, 144), 7), (2.0, (144, 192), 7), (3.0, (144, 192), 11), (4.0, (144, 192), 17)]
    {
        let moving = drifting(&world, count, size);
        for kernel in [USUAL, Kernel::Box, Kernel::Cubic] {
            table.luma(&format!("x{scale}, {kernel:?}"), Help::Can, &moving, kernel, scale);
        }
        let still = clip(3, size, |_, y, x| world.at(y, x));
        table.luma(&format!("x{scale}, static"), Help::Cannot, &still, USUAL, scale);
    }
    table.end();
}

#[test]
fn chroma() {
    let mut table = Table::new("chroma 4:2:0");
    let worlds = [World::new(20), World::new(21), World::new(22)];
    let (rows, columns) = SIZE;
    for (name, help, speed) in [("drifting", Help::Can, 1.0), ("static", Help::Cannot, 0.0)] {
        let planes: Vec<Vec<Plane>> = (0..3)
            .map(|plane| {
                let (size, per, site) = match plane {
                    0 => (SIZE, 1.0, 0.0),
                    _ => ((rows / 2, columns / 2), 2.0, 0.5),
                };
                let strength = if plane == 0 { 1.0 } else { 0.5 };
                clip(COUNT, size, |t, y, x| {
                    let (dy, dx) = drift(speed * t);
                    128.0 + strength * (worlds[plane].at(per * y + site + dy, per * x + dx) - 128.0)
                })
            })
            .collect();
        let truth: Vec<Vec<Plane>> = (0..COUNT).map(|t| planes.iter().map(|p| p[t].clone()).collect()).collect();
        let small = |planes: &Vec<Plane>| {
            let one = |(n, plane): (usize, &Plane)| {
                let (h, w) = plane.dim();
                // Left-sited chroma i of the small picture is at 2 i + 1/4 of the large one.
                let origin = if n == 0 { (0.5, 0.5) } else { (0.5, 0.25) };
                reduce(plane, (h / 2, w / 2), USUAL, Some(origin)).mapv(eight_bit)
            };
            planes.iter().enumerate().map(one).collect::<Vec<_>>()
        };
        let frames: Vec<Vec<Plane>> = truth.iter().map(small).collect();
        table.judge(name, help, &truth, &frames, None);
    }
    table.end();
}

// ---- Real clips ----

/// The folder of clips that are not in the project, where there is one.
fn data() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let near = root.ancestors().skip(1).map(|folder| folder.join("shared/data"));
    near.into_iter().find(|folder| folder.is_dir())
}

/// Luma of `count` pictures of a clip, cropped as FFmpeg's `crop` says; every `step`th.
fn real(scratch: &Scratch, file: &Path, crop: Crop, count: usize, step: usize) -> Vec<Plane> {
    let (w, h, x, y) = crop;
    let filter = format!("select=not(mod(n\\,{step})),crop={w}:{h}:{x}:{y}");
    let input = file.to_str().expect("a plain name");
    scratch.ffmpeg(&format!(
        "-i {input} -vf {filter} -fps_mode passthrough -frames:v {count} -pix_fmt gray -f rawvideo crop.raw"
    ));
    let bytes = scratch.read("crop.raw");
    let picture = |part: &[u8]| Plane::from_shape_fn((h, w), |(y, x)| f32::from(part[y * w + x]));
    bytes.chunks_exact(w * h).map(picture).collect()
}

/// Part of a picture: width, height, left, top.
type Crop = (usize, usize, usize, usize);

/// A table of what `judge` adds for each clip (name, file, part) that is there; says which are not.
fn real_table(
    title: &str,
    clips: &[(&str, &str, Crop)],
    judge: impl Fn(&mut Table, &str, &dyn Fn(usize, usize) -> Vec<Plane>),
) {
    let Some(data) = data() else { return skipped(&format!("{title}: no shared/data beside the project")) };
    let scratch = Scratch::new();
    let mut table = Table::new(title);
    for &(name, file, crop) in clips {
        let file = data.join(file);
        if file.is_file() {
            judge(&mut table, name, &|count, step| real(&scratch, &file, crop, count, step));
        } else {
            skipped(&format!("{name}: {} is not there", file.display()));
        }
    }
    table.end();
}

#[test]
fn real_clips() {
    let clips = [
        ("city", "vsr_gt/vid4_city_GT.mkv", (240, 192, 200, 200)),
        ("walk", "vsr_gt/vid4_walk_GT.mkv", (240, 192, 240, 140)),
        ("carphone", "video/carphone_pristine.mp4", (168, 144, 4, 0)),
        ("bbb", "video/bbb_642x642_768kbps_30fps_vp9.webm", (240, 192, 200, 220)),
    ];
    real_table("real clips", &clips, |table, name, pictures| {
        let truth = pictures(COUNT, 1);
        for kernel in [Kernel::Gaussian(0.3), USUAL, Kernel::Gaussian(0.6), Kernel::Box, Kernel::Cubic] {
            table.luma(&format!("{name}, {kernel:?}"), Help::Can, &truth, kernel, 2.0);
        }
        table.luma(&format!("{name}, x3"), Help::Can, &truth, USUAL, 3.0);
        table.luma(&format!("{name}, x4"), Help::Can, &truth, USUAL, 4.0);
        table.luma(&format!("{name}, x1.5"), Help::Can, &truth, USUAL, 1.5);
        let still = vec![truth[0].clone(); 3];
        table.luma(&format!("{name}, static"), Help::Cannot, &still, USUAL, 2.0);
        let mut random = Random(77);
        table.changed(&format!("{name}, noise 5"), Help::Can, &truth, USUAL, 2.0, |_, picture| {
            picture.mapv(|v| v + 5.0 * random.normal())
        });
        table.luma(&format!("{name}, every fourth frame"), Help::Can, &pictures(5, 4), USUAL, 2.0);
    });
}

/// Water, flames and a defocused camera: little or nothing for other frames to show, and wrong motion that hardly differs.
#[test]
fn soft_and_flowing_clips() {
    let clips = [
        ("lavafalls", "video/lavafalls.avi", (160, 120, 0, 0)),
        ("flames", "video/fire2.mp4", (320, 192, 480, 264)),
        ("defocused", "video/example2.mp4", (400, 300, 440, 210)),
        ("a far ship", "video/launch.mpg", (320, 240, 0, 0)),
    ];
    real_table("soft and flowing clips", &clips, |table, name, pictures| {
        let truth = pictures(COUNT, 2);
        for (kernel, scale) in [(USUAL, 2.0), (Kernel::Gaussian(0.6), 2.0), (USUAL, 4.0)] {
            table.luma(&format!("{name}, {kernel:?}, x{scale}"), Help::Can, &truth, kernel, scale);
        }
        for (noise, scale) in [(2.0, 2.0), (5.0, 2.0), (2.0, 4.0), (5.0, 4.0)] {
            let mut random = Random(78);
            let situation = format!("{name}, noise {noise}, x{scale}");
            table.changed(&situation, Help::Can, &truth, USUAL, scale, |_, picture| {
                picture.mapv(|v| v + noise * random.normal())
            });
        }
    });
}
