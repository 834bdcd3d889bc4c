//! The refine stage: colours through a network and back, pieces, and pictures held to the frames.
//!
//! Networks here are the built-in one and ones of a single operation whose result is known.

#![allow(clippy::expect_used, reason = "a test stops at the first surprise")]

mod support;

use std::sync::Arc;

use ndarray::{Array2, Array3, s};
use subpel::color::{ColorDescription, Range};
use subpel::frame::{ChromaSite, ColorFamily, Frame, PictureLayout, Plane};
use subpel::kernels::CpuLevel;
use subpel::pipeline::{Enlarged, RefineOptions};
use subpel::refine::{Input, Network, Node, Op, Runner, Settings, Tile};
use subpel::resample::Filter;
use subpel::{EnlargeOptions, Kind, Method, Scale, Upscaler};
use support::Scratch;

const WIDTH: usize = 46;
const HEIGHT: usize = 34;

/// A network that gives `factor * picture + offset`, every pixel repeated `scale` times.
fn known(input: Input, scale: usize, factor: f32, offset: f32) -> Network {
    let ops = [Op::Repeat(scale), Op::Scale { factor, offset }];
    let nodes = ops.into_iter().enumerate().map(|(n, op)| Node { op, takes: vec![n] }).collect();
    Network { name: "known".into(), input, scale, multiple: 1, nodes }
}

fn layout(family: ColorFamily, chroma_log2: (u8, u8), range: Range, depth: u8) -> PictureLayout {
    PictureLayout {
        width: WIDTH,
        height: HEIGHT,
        family,
        chroma_log2,
        chroma_site: ChromaSite { x: 0.0, y: 0.5 },
        alpha: true,
        depth,
        color: ColorDescription { range, ..ColorDescription::default() },
    }
}

/// A smooth picture, another one in every plane, with a pattern in luma.
fn frame(layout: &PictureLayout, index: u64) -> Frame {
    let plane = |n: usize| {
        let (rows, columns) = layout.plane_size(n);
        let value = |(y, x): (usize, usize)| {
            let (v, u) = (y as f32 / rows as f32, x as f32 / columns as f32);
            let wave = (3.0 * u + 2.0 * v + n as f32 + 0.1 * index as f32).sin();
            let fine = if n == 0 { ((x * 5 + y * 3) % 7) as f32 } else { 0.0 };
            120.0 + 40.0 * wave * (1.0 - 0.2 * n as f32) + 2.0 * fine
        };
        Plane::from_shape_fn((rows, columns), value)
    };
    let planes = (0..layout.plane_count()).map(plane).collect();
    Frame { index, pts: index as i64, duration: 1, planes, coding: None, carried: Vec::new() }
}

fn options(method: Method, network: Network, consistency: usize) -> EnlargeOptions {
    let refine = RefineOptions { consistency, ..RefineOptions::new(Arc::new(network)) };
    EnlargeOptions { method, refine: Some(refine), ..EnlargeOptions::default() }
}

fn enlarge(layout: &PictureLayout, options: EnlargeOptions, frames: u64) -> Vec<Enlarged> {
    let mut upscaler = Upscaler::builder(layout).options(options).build().expect("built");
    let mut made = Vec::new();
    for index in 0..frames {
        made.extend(upscaler.push(frame(layout, index)).expect("pushed"));
    }
    made.extend(upscaler.finish().expect("finished"));
    made
}

fn farthest(a: &Plane, b: &Plane) -> f32 {
    assert_eq!(a.dim(), b.dim(), "sizes");
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

const FAMILIES: [(ColorFamily, (u8, u8)); 5] = [
    (ColorFamily::Gray, (0, 0)),
    (ColorFamily::YCbCr, (0, 0)),
    (ColorFamily::YCbCr, (1, 0)),
    (ColorFamily::YCbCr, (1, 1)),
    (ColorFamily::Rgb, (0, 0)),
];

#[test]
fn a_network_that_changes_nothing_changes_no_colour() {
    for (family, chroma) in FAMILIES {
        for (range, depth) in [(Range::Limited, 8), (Range::Full, 10)] {
            for input in [Input::Rgb, Input::Luma, Input::EnlargedLuma] {
                let layout = layout(family, chroma, range, depth);
                let wanted = frame(&layout, 0).planes;
                let options = EnlargeOptions {
                    scale: Some(Scale::Factor(1.0)),
                    ..options(Method::None, known(input, 1, 1.0, 0.0), 0)
                };
                let made = &enlarge(&layout, options, 1)[0].frame.planes;
                for (n, (made, wanted)) in made.iter().zip(&wanted).enumerate() {
                    // Chroma goes to the pixels of luma and back, which a smooth picture survives but for its edge.
                    let inner = |plane: &Plane| {
                        let (rows, columns) = plane.dim();
                        plane.slice(s![3..rows - 3, 3..columns - 3]).to_owned()
                    };
                    let off = farthest(&inner(made), &inner(wanted));
                    let bound = if n > 0 && chroma != (0, 0) { 0.3 } else { 2e-3 };
                    assert!(off < bound, "{family:?} {chroma:?} {range:?} {depth} {input:?}, plane {n}: {off}");
                }
            }
        }
    }
}

#[test]
fn luma_networks_get_studio_luma_and_leave_chroma_to_interpolation() {
    for (family, chroma) in FAMILIES {
        let layout = layout(family, chroma, Range::Full, 8);
        // Ten codes of studio luma are 10 * 255 / 219 of full range.
        let network = known(Input::Luma, 2, 1.0, 10.0 / 255.0);
        let made = enlarge(&layout, options(Method::None, network, 0), 1);
        let plain = EnlargeOptions { method: Method::Interpolate(Filter::Bicubic), ..EnlargeOptions::default() };
        let bicubic = enlarge(&layout, plain, 1);
        let mean = |of: &[Enlarged], n: usize| of[0].frame.planes[n].mean().expect("samples");
        let step = 10.0 * 255.0 / 219.0;
        let brighter = mean(&made, 0) - mean(&bicubic, 0);
        assert!((brighter - step).abs() < 0.1, "{family:?} {chroma:?}: luma (or red) rose by {brighter}, not {step}");
        let colours = layout.plane_count() - 1;
        for n in 1..colours {
            let wanted = if family == ColorFamily::Rgb { step } else { 0.0 };
            let rose = mean(&made, n) - mean(&bicubic, n);
            assert!((rose - wanted).abs() < 0.2, "{family:?} {chroma:?}: plane {n} rose by {rose}, not {wanted}");
        }
    }
}

#[test]
fn a_shift_of_colours_is_taken_out_by_holding() {
    for (family, chroma) in FAMILIES {
        for method in [Method::None, Method::Interpolate(Filter::Bicubic), Method::default()] {
            let layout = layout(family, chroma, Range::Limited, 8);
            let network = || known(Input::Rgb, 2, 0.9, 0.08);
            let means = |consistency| {
                let made = enlarge(&layout, options(method, network(), consistency), 3);
                let planes = &made[1].frame.planes;
                let means: Vec<f32> = planes.iter().map(|plane| plane.mean().expect("samples")).collect();
                (means, made[1].held)
            };
            let wanted: Vec<f32> =
                frame(&layout, 1).planes.iter().map(|plane| plane.mean().expect("samples")).collect();
            let ((free, none), (held, told)) = (means(0), means(4));
            let off = |means: &[f32], n: usize| (means[n] - wanted[n]).abs();
            let what = format!("{family:?} {chroma:?} {method}");
            assert!(off(&free, 0) > 2.0, "{what}: the network alone shifts luma by {}", off(&free, 0));
            for n in 0..wanted.len() {
                // Neighbours are a little brighter or darker, and have a say.
                let bound = if method.is_multi_frame() { 0.5 } else { 0.3 };
                assert!(off(&held, n) < bound, "{what}: plane {n} is off by {}", off(&held, n));
            }
            assert_eq!(none, None, "{what}: nothing was held");
            let told = told.expect("held");
            assert!(told.after < 0.25 * told.before, "{what}: {told:?}");
        }
    }
}

#[test]
fn sizes_that_no_network_makes_are_reached_and_held() {
    let layout = layout(ColorFamily::YCbCr, (1, 1), Range::Limited, 8);
    for (scale, method) in [
        (Scale::Factor(1.5), Method::None),
        (Scale::Factor(2.0), Method::default()),
        (Scale::Factor(3.0), Method::default()),
        (Scale::Factor(6.0), Method::Interpolate(Filter::Lanczos)),
        (Scale::Size(101, 47), Method::default()),
    ] {
        let options = EnlargeOptions { scale: Some(scale), ..options(method, known(Input::Rgb, 4, 1.0, 0.05), 4) };
        let plan = options.resolve(&layout).expect("plan");
        let made = enlarge(&layout, options, 2);
        let lanczos = Method::Interpolate(Filter::Lanczos);
        let plain =
            enlarge(&layout, EnlargeOptions { scale: Some(scale), method: lanczos, ..EnlargeOptions::default() }, 2);
        for (n, (plane, plain)) in made[1].frame.planes.iter().zip(&plain[1].frame.planes).enumerate() {
            assert_eq!(plane.dim(), plan.to.plane_size(n), "{scale:?} {method}: plane {n}");
            let off = (plane.mean().expect("samples") - plain.mean().expect("samples")).abs();
            assert!(off < 0.5, "{scale:?} {method}: plane {n} is {off} from Lanczos interpolation");
        }
    }
}

#[test]
fn pictures_in_pieces_are_pictures_made_at_once() {
    let value = |(c, y, x): (usize, usize, usize)| ((c * 7 + y * 13 + x * x) % 29) as f32 / 29.0;
    let picture = Array3::from_shape_fn((3, 75, 90), value);
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/networks");
    let mut networks = vec![Network::builtin().expect("built in")];
    for name in ["x1unshuffle.pth", "x2plus.pth", "edsr_x4.safetensors"] {
        networks.push(Network::read(&folder.join(name)).expect("network"));
    }
    for network in networks {
        let run = |tile, memory| {
            let settings = Settings { tile, ..Settings::default() };
            let runner = Runner::new(&network, settings, memory, CpuLevel::detect()).expect("a runner");
            let mut out = Array3::zeros((3, 75 * network.scale, 90 * network.scale));
            runner.run(picture.view(), out.view_mut()).expect("a result");
            out
        };
        let whole = run(Tile::Auto, u64::MAX);
        for (tile, memory) in [(Tile::Pixels(16), 0), (Tile::Pixels(48), 0), (Tile::Auto, 0)] {
            let pieces = run(tile, memory);
            let off = whole.iter().zip(&pieces).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(off <= 1e-4, "{} in pieces of {tile}: {off}", network.name);
        }
    }
}

#[test]
fn pictures_at_once_are_pictures_one_by_one() {
    let value = |n: usize, (c, y, x): (usize, usize, usize)| ((n + c * 7 + y * 13 + x * x) % 29) as f32 / 29.0;
    let pictures: Vec<_> = (0..5).map(|n| Array3::from_shape_fn((3, 75, 90), |at| value(n, at))).collect();
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/networks");
    let unshuffled = Network::read(&folder.join("x1unshuffle.pth")).expect("network");
    for network in [Network::builtin().expect("built in"), unshuffled] {
        for tile in [Tile::Auto, Tile::Pixels(48)] {
            let settings = Settings { tile, ..Settings::default() };
            let runner = Runner::new(&network, settings, u64::MAX, CpuLevel::detect()).expect("a runner");
            let made = || Array3::zeros((3, 75 * network.scale, 90 * network.scale));
            let one = |picture: &Array3<f32>| {
                let mut out = made();
                runner.run(picture.view(), out.view_mut()).map(|()| out).expect("a result")
            };
            let wanted: Vec<_> = pictures.iter().map(one).collect();
            for (threads, count) in [(1, 1), (2, 2), (3, 2), (5, 2), (5, 5), (2, 5)] {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
                let mut outs: Vec<_> = (0..count).map(|_| made()).collect();
                pool.install(|| {
                    runner.reserve(count, 75, 90).expect("memory");
                    let pairs = pictures.iter().zip(&mut outs).map(|(picture, out)| (picture.view(), out.view_mut()));
                    runner.run_all(&mut pairs.collect::<Vec<_>>()).expect("results");
                });
                assert!(outs == wanted[..count], "{} {tile}: {count} by {threads} threads", network.name);
            }
        }
    }
    let network = Network::builtin().expect("built in");
    let runner = Runner::new(&network, Settings::default(), u64::MAX, CpuLevel::detect()).expect("a runner");
    let (other, mut outs) = (Array3::zeros((3, 75, 91)), vec![Array3::zeros((3, 300, 360)); 2]);
    let pairs =
        [&pictures[0], &other].into_iter().zip(&mut outs).map(|(picture, out)| (picture.view(), out.view_mut()));
    let error = runner.run_all(&mut pairs.collect::<Vec<_>>()).expect_err("two sizes");
    assert_eq!(error.kind(), Kind::Usage, "{error}");
}

#[test]
fn wrong_wishes_are_told_with_what_is_allowed() {
    let layout = layout(ColorFamily::Gray, (0, 0), Range::Limited, 8);
    let with = |refine: fn(&mut RefineOptions), method| {
        let mut options = options(method, known(Input::Rgb, 2, 1.0, 0.0), 4);
        options.refine.as_mut().map(refine).expect("a network");
        options.resolve(&layout).expect_err("refused")
    };
    for error in [
        with(|refine| refine.fuse_scale = Some(2.0), Method::None),
        with(|refine| refine.fuse_scale = Some(0.5), Method::default()),
        with(|refine| refine.consistency = 101, Method::default()),
    ] {
        assert_eq!(error.kind(), Kind::Usage, "{error}");
        assert!(error.to_string().contains("allowed") || error.to_string().contains("x1"), "{error}");
    }
}

#[test]
fn networks_that_make_features_enlarge_nothing() {
    let layout = layout(ColorFamily::Rgb, (0, 0), Range::Full, 8);
    let network = Network { scale: 0, ..known(Input::Rgb, 1, 1.0, 0.0) };
    let error = options(Method::None, network, 4).resolve(&layout).expect_err("refused");
    assert_eq!(error.kind(), Kind::Usage, "{error}");
    assert!(error.to_string().contains("features"), "{error}");
}

/// A picture with edges at many angles, 4 times the size of what the network sees.
fn scene(rows: usize, columns: usize) -> Plane {
    Array2::from_shape_fn((rows, columns), |(y, x)| {
        let (y, x) = (y as f32 - 60.0, x as f32 - 70.0);
        let ray = ((x.atan2(y) * 9.0).sin() > 0.2) as u8 as f32;
        let ring = ((x.hypot(y) / 9.0).sin() > 0.0) as u8 as f32;
        60.0 + 70.0 * ray + 60.0 * ring
    })
}

#[test]
fn the_built_in_network_is_better_than_bicubic_interpolation() {
    let (rows, columns) = (30, 36);
    let truth = scene(4 * rows, 4 * columns);
    let small = PictureLayout {
        width: columns,
        height: rows,
        alpha: false,
        ..layout(ColorFamily::Gray, (0, 0), Range::Full, 8)
    };
    let reduced = subpel::resample::Resampler::new(
        subpel::frame::AxisMap::centered(4 * rows, rows),
        subpel::frame::AxisMap::centered(4 * columns, columns),
        Filter::Bicubic,
        CpuLevel::detect(),
    );
    let mut plane = Plane::zeros((rows, columns));
    reduced.resample(truth.view(), &mut plane);
    let error = |options: EnlargeOptions| {
        let options = EnlargeOptions { scale: Some(Scale::Factor(4.0)), ..options };
        let mut upscaler = Upscaler::builder(&small).options(options).build().expect("built");
        let planes = vec![plane.clone()];
        let frame = Frame { index: 0, pts: 0, duration: 1, planes, coding: None, carried: Vec::new() };
        let mut made = upscaler.push(frame).expect("pushed");
        made.extend(upscaler.finish().expect("finished"));
        let off = &made[0].frame.planes[0] - &truth;
        (&off * &off).mean().expect("samples")
    };
    let bicubic = error(EnlargeOptions { method: Method::Interpolate(Filter::Bicubic), ..EnlargeOptions::default() });
    let network = || Network::builtin().expect("built in");
    for consistency in [0, 4] {
        let refined = error(options(Method::None, network(), consistency));
        let gain = 10.0 * (bicubic / refined).log10();
        eprintln!("{gain:.2} dB over bicubic with {consistency} steps");
        assert!(gain > 0.8, "{gain} dB over bicubic with {consistency} steps");
    }
}

#[test]
fn the_program_says_how_far_the_network_was_from_the_input() {
    let scratch = Scratch::new();
    scratch.clip("in.mkv", "testsrc2=s=48x32:r=8", 4);
    let done = scratch.subpel("upscale in.mkv out.mkv --scale 4 --refine builtin --codec ffv1").ends(0);
    done.mentions(&["Compact", "held to the frames", "reduced as the camera would", "dB from the input"]);
    let json =
        scratch.subpel("upscale in.mkv out.mkv --overwrite --method none --refine builtin --progress json").ends(0);
    let last = json.err.lines().last().expect("a summary").to_owned();
    let summary: serde_json::Value = serde_json::from_str(&last).expect("JSON");
    let [before, after] = [0, 1].map(|n| support::number(&summary["summary"]["consistency_psnr"][n]));
    assert!(after > before + 6.0, "{before} dB before, {after} dB after: {last}");
    assert_eq!(support::number(&summary["summary"]["width"]), 96.0, "x2 is the default: {last}");
}

#[test]
fn models_that_cannot_be_used_are_refused_before_anything_is_written() {
    let scratch = Scratch::new();
    scratch.clip("in.mkv", "testsrc2=s=48x32:r=8", 2);
    scratch.write("junk.pth", b"no network at all, but long enough to be looked at");
    let cases = [
        ("--refine missing.pth", 74, "missing.pth"),
        ("--refine junk.pth", 65, "junk.pth"),
        ("--refine builtin --blend 2=builtin", 2, "0 to 1"),
        ("--fuse-scale 2", 2, "--refine"),
        ("--refine builtin --tile 3", 2, "16"),
        ("--refine builtin --consistency 1000", 2, "0 to 100"),
    ];
    for (arguments, code, word) in cases {
        scratch.subpel(&format!("upscale in.mkv out.mkv {arguments}")).ends(code).says(&[word]);
        assert_eq!(scratch.names(), ["in.mkv", "junk.pth"], "{arguments}");
    }
    scratch.subpel("upscale in.mkv out.mkv --refine builtin --blend 0.5=builtin --tile 32 --progress none").ends(0);
}

#[test]
fn devices_that_are_not_there_are_told() {
    let scratch = Scratch::new();
    scratch.clip("in.mkv", "testsrc2=s=48x32:r=8", 2);
    if cfg!(not(feature = "cuda")) {
        let done = scratch.subpel("upscale in.mkv out.mkv --refine builtin --device cuda").ends(69);
        done.says(&["cuda", "--features cuda"]);
    }
    scratch.subpel("upscale in.mkv out.mkv --refine builtin --device tpu").ends(2).says(&["cpu, cuda, cuda:N, metal"]);
    scratch.subpel("upscale in.mkv out.mkv --refine builtin --precision f16").ends(2).says(&["f32, bf16"]);
    assert_eq!(scratch.names(), ["in.mkv"], "nothing is left behind");
    scratch.subpel("upscale in.mkv out.mkv --refine builtin --precision bf16 --progress none").ends(0);
}
