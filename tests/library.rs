//! The library's face: frames in, frames out in order with their times; whole files, watched and stopped.

#![allow(clippy::expect_used, reason = "a test stops at the first surprise")]

mod support;

use std::sync::Arc;

use ndarray::Array2;
use subpel::color::ColorDescription;
use subpel::error::Stage;
use subpel::frame::{ChromaSite, ColorFamily, Frame, PictureLayout, PlanePool};
use subpel::kernels::CpuLevel;
use subpel::media::{Origin, VideoReader, VideoWriter};
use subpel::pipeline::Enlarged;
use subpel::pipeline::Excerpt;
use subpel::resample::Filter;
use subpel::{
    Control, EnlargeOptions, InputSpec, Job, Kind, Method, OutputSpec, Preset, Scale, Upscaler, upscale_file,
};
use support::Scratch;

const WIDTH: usize = 64;
const HEIGHT: usize = 48;

fn layout(family: ColorFamily, chroma_log2: (u8, u8)) -> PictureLayout {
    PictureLayout {
        width: WIDTH,
        height: HEIGHT,
        family,
        chroma_log2,
        chroma_site: ChromaSite { x: 0.0, y: 0.5 },
        alpha: false,
        depth: 8,
        color: ColorDescription::default(),
    }
}

fn gray() -> PictureLayout {
    layout(ColorFamily::Gray, (0, 0))
}

/// A picture of `scene`, moved by `shift` pixels to the right: blobs at places that look random.
fn picture(scene: u32, shift: f32) -> Array2<f32> {
    let mut state = 77 + 1000 * scene;
    let mut random = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 24) as f32
    };
    let blobs: Vec<[f32; 4]> = (0..90)
        .map(|_| [random() * 80.0 - 8.0, random() * HEIGHT as f32, 1.2 + 2.5 * random(), 160.0 * (random() - 0.5)])
        .collect();
    Array2::from_shape_fn((HEIGHT, WIDTH), |(y, x)| {
        let (x, y) = (x as f32 - shift, y as f32);
        let blob = |[cx, cy, size, height]: &[f32; 4]| {
            height * (-((x - cx).powi(2) + (y - cy).powi(2)) / (2.0 * size * size)).exp()
        };
        (120.0 + 25.0 * scene as f32 + blobs.iter().map(blob).sum::<f32>()).clamp(0.0, 255.0)
    })
}

/// Frame `index` at an uneven time.
fn frame(index: u64, scene: u32) -> Frame {
    let planes = vec![picture(scene, 0.37 * index as f32)];
    Frame { index, pts: time(index), duration: 3, planes, coding: None, carried: Vec::new() }
}

fn time(index: u64) -> i64 {
    7 * index as i64 + (index * index) as i64 - 5
}

/// All frames enlarged, in the order in which they came out.
fn enlarge(mut upscaler: Upscaler, frames: impl IntoIterator<Item = Frame>) -> Vec<Enlarged> {
    let mut enlarged = Vec::new();
    for frame in frames {
        enlarged.extend(upscaler.push(frame).expect("pushed"));
    }
    enlarged.extend(upscaler.finish().expect("finished"));
    enlarged
}

#[test]
fn as_many_frames_come_out_as_went_in() {
    for count in [0, 1, 2, 3, 7] {
        for window in [0, 1, 2, 30] {
            for method in [Method::default(), Method::Interpolate(Filter::Lanczos)] {
                let upscaler = Upscaler::builder(&gray()).method(method).window(window).build().expect("built");
                let enlarged = enlarge(upscaler, (0..count).map(|i| frame(i, 0)));
                let what = format!("{count} frames, window {window}, {method}");
                let indices: Vec<u64> = enlarged.iter().map(|e| e.frame.index).collect();
                let times: Vec<(i64, i64)> = enlarged.iter().map(|e| (e.frame.pts, e.frame.duration)).collect();
                assert_eq!(indices, (0..count).collect::<Vec<_>>(), "{what}: order");
                assert_eq!(times, (0..count).map(|i| (time(i), 3)).collect::<Vec<_>>(), "{what}: times");
                assert!(enlarged.iter().all(|e| e.frame.planes[0].dim() == (2 * HEIGHT, 2 * WIDTH)), "{what}: size");
                let most = if method.is_multi_frame() { (count as usize).saturating_sub(1).min(2 * window) } else { 0 };
                assert!(enlarged.iter().all(|e| e.neighbours <= most), "{what}: neighbours");
                assert!(enlarged.iter().all(|e| e.frame.planes[0].iter().all(|v| v.is_finite())), "{what}: numbers");
            }
        }
    }
}

#[test]
fn a_frame_waits_for_its_window_and_no_longer() {
    let mut upscaler = Upscaler::builder(&gray()).window(2).build().expect("built");
    for index in 0..6 {
        let ready = upscaler.push(frame(index, 0)).expect("pushed");
        let wanted: Vec<u64> = index.checked_sub(2).into_iter().collect();
        assert_eq!(ready.iter().map(|e| e.frame.index).collect::<Vec<_>>(), wanted, "after frame {index}");
    }
    assert_eq!(upscaler.finish().expect("finished").len(), 2, "the rest");
}

#[test]
fn motion_is_that_of_the_pictures() {
    let upscaler = Upscaler::builder(&gray()).window(1).build().expect("built");
    let enlarged = enlarge(upscaler, (0..5).map(|i| frame(i, 0)));
    for e in &enlarged[1..] {
        assert!((e.motion.dx - 0.37).abs() < 0.05 && e.motion.dy.abs() < 0.05, "{:?}", e.motion);
        assert!(!e.motion.scene_cut, "{:?}", e.motion);
    }
    assert!(enlarged.iter().all(|e| (0.0..=1.0).contains(&e.multi_frame_share)), "shares");
    assert_eq!(enlarged.len(), 5, "frames");
}

#[test]
fn a_scene_is_enlarged_as_if_it_were_alone() {
    let build = || Upscaler::builder(&gray()).window(3).build().expect("built");
    let scene = |index: u64| u32::from(index >= 4);
    let film = enlarge(build(), (0..9).map(|i| frame(i, scene(i))));
    let first = enlarge(build(), (0..4).map(|i| frame(i, 0)));
    let second = enlarge(build(), (4..9).map(|i| frame(i, 1)));
    let cuts: Vec<u64> = film.iter().filter(|e| e.motion.scene_cut).map(|e| e.frame.index).collect();
    assert_eq!(cuts, [4], "scene cuts: {:?}", film[4].motion);
    for (whole, alone) in film.iter().zip(first.iter().chain(&second)) {
        assert_eq!(whole.frame.planes, alone.frame.planes, "frame {}", whole.frame.index);
        assert_eq!(whole.neighbours, alone.neighbours, "neighbours of frame {}", whole.frame.index);
    }
    assert_eq!(film.len(), first.len() + second.len(), "frames");
}

#[test]
fn colour_planes_are_enlarged_with_luma() {
    let layout = layout(ColorFamily::YCbCr, (1, 1));
    let upscaler = Upscaler::builder(&layout).size(100, 60).preset(Preset::Fast).build();
    let error = upscaler.err().map(|e| e.kind());
    assert_eq!(error, None, "100x60 from 64x48");
    let upscaler = Upscaler::builder(&layout).scale(1.5).preset(Preset::Fast).build().expect("built");
    assert_eq!((upscaler.plan().to.width, upscaler.plan().to.height), (96, 72), "plan");
    let flat = |value: f32| Array2::from_elem((HEIGHT / 2, WIDTH / 2), value);
    let frames = (0..3).map(|i| {
        let mut f = frame(i, 0);
        f.planes.extend([flat(90.0), flat(170.0)]);
        f
    });
    let enlarged = enlarge(upscaler, frames);
    for e in &enlarged {
        let sizes: Vec<_> = e.frame.planes.iter().map(Array2::dim).collect();
        assert_eq!(sizes, [(72, 96), (36, 48), (36, 48)], "sizes");
        for (plane, value) in [(1, 90.0), (2, 170.0)] {
            assert!(e.frame.planes[plane].iter().all(|v| (v - value).abs() < 0.5), "plane {plane} stays flat");
        }
    }
    assert_eq!(enlarged.len(), 3, "frames");
}

#[test]
fn wrong_frames_and_options_are_refused_by_kind() {
    let mut upscaler = Upscaler::builder(&gray()).build().expect("built");
    let small = Frame { planes: vec![Array2::zeros((HEIGHT, WIDTH - 1))], ..frame(0, 0) };
    assert_eq!(upscaler.push(small).expect_err("another size").kind(), Kind::Usage, "size");
    let mut odd = frame(0, 0);
    odd.planes[0][[5, 7]] = f32::NAN;
    let tried = upscaler.push(odd).and_then(|_| upscaler.push(frame(1, 0)));
    assert_eq!(tried.expect_err("no number").kind(), Kind::Input, "NaN, at the latest when it is compared");
    let builders = [
        Upscaler::builder(&gray()).scale(0.9),
        Upscaler::builder(&gray()).scale(8.1),
        Upscaler::builder(&gray()).size(10, 10),
        Upscaler::builder(&gray()).window(31),
        Upscaler::builder(&gray()).blur(Some(subpel::fuse::Blur::Gaussian(0.0))),
        Upscaler::builder(&gray()).method(Method::None).scale(2.0),
    ];
    for builder in builders {
        let what = format!("{builder:?}");
        assert_eq!(builder.build().expect_err("refused").kind(), Kind::Usage, "{what}");
    }
}

fn job(scratch: &Scratch) -> Job {
    let mut job = Job::new(InputSpec::local(scratch.path("in.mkv")), OutputSpec::file(scratch.path("out.mkv")));
    job.enlarge = EnlargeOptions { scale: Some(Scale::Factor(2.0)), preset: Preset::Fast, ..Default::default() };
    job
}

#[test]
fn a_file_is_enlarged_and_counted() {
    let scratch = Scratch::new();
    scratch.clip("in.mkv", "testsrc2=s=64x48:r=25", 12);
    let control = Control::default();
    let summary = upscale_file(&job(&scratch), &control).expect("done");
    assert_eq!(summary.written.frames, 12, "frames");
    assert_eq!(summary.written.bytes, scratch.read("out.mkv").len() as u64, "bytes");
    assert_eq!((summary.plan.to.width, summary.plan.to.height), (128, 96), "size");
    assert_eq!(summary.encoding, ("libx264".to_owned(), "yuv420p".to_owned()), "encoding");
    assert_eq!((summary.damage.count, summary.repaired_times, summary.converted_frames), (0, (0, 0), 0), "faults");
    for stage in [Stage::Decode, Stage::Register, Stage::Fuse, Stage::Encode] {
        assert!((12..=13).contains(&control.count(stage).frames), "{stage:?}: {:?}", control.count(stage));
    }
    assert_eq!(scratch.names(), ["in.mkv", "out.mkv"], "the folder");
}

#[test]
fn planes_of_a_frame_are_free_before_it_is_with_the_encoder() {
    let scratch = Scratch::new();
    scratch.clip("in.mkv", "testsrc2=s=64x48:r=25", 2);
    let (input, output) = (InputSpec::local(scratch.path("in.mkv")), OutputSpec::file(scratch.path("out.png")));
    let cpu = CpuLevel::detect();
    let mut reader = VideoReader::open(&input, 1, cpu).expect("a video");
    let source = reader.info().clone();
    let layout = &source.layout;
    let origin = Origin { input: &input, source: &source, layout, cut: None, usual_step: reader.usual_step() };
    let mut writer = VideoWriter::create(&output, &origin, None, cpu).expect("a picture");
    let spare = PlanePool::new(1);
    let mut written = || {
        let frame = reader.next_frame().expect("decoded").expect("a frame");
        let planes = frame.planes.clone();
        (writer.write_once(frame, &spare), planes == spare.take(layout))
    };
    assert!(matches!(written(), (Ok(()), true)), "the first one is written, and its planes are there");
    let (second, given) = written();
    assert_eq!(second.expect_err("one picture has room for one").kind(), Kind::Usage, "the second is refused");
    assert!(given, "after its planes were given");
}

#[test]
fn an_excerpt_is_what_was_asked_for() {
    let scratch = Scratch::new();
    scratch.clip("in.mkv", "testsrc2=s=64x48:r=25", 12);
    let mut job = job(&scratch);
    job.excerpt = Excerpt { start: Some(0.2), frames: Some(4) };
    let summary = upscale_file(&job, &Control::default()).expect("done");
    assert_eq!((summary.written.frames, scratch.times("out.mkv").len()), (4, 4), "frames");
}

#[test]
fn a_stopped_job_leaves_nothing() {
    let scratch = Scratch::new();
    scratch.clip("in.mkv", "testsrc2=s=160x120:r=25", 400);
    for (signal, kind) in [(0, Kind::Interrupted), (libc::SIGTERM, Kind::Terminated)] {
        let control = Arc::new(Control::default());
        let shared = Arc::clone(&control);
        let job = job(&scratch);
        let worker = std::thread::spawn(move || upscale_file(&job, &shared));
        while control.count(Stage::Fuse).frames < 3 && !worker.is_finished() {
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        control.stop(signal);
        let error = worker.join().expect("no panic").expect_err("stopped");
        assert_eq!(error.kind(), kind, "{error}");
        assert!(control.count(Stage::Encode).frames < 400, "stopped early");
        assert_eq!(scratch.names(), ["in.mkv"], "the folder afterwards");
    }
}

#[test]
fn a_job_stopped_before_it_begins_does_nothing() {
    let scratch = Scratch::new();
    scratch.clip("in.mkv", "testsrc2=s=64x48:r=25", 3);
    let control = Control::default();
    control.stop(0);
    let error = upscale_file(&job(&scratch), &control).expect_err("stopped");
    assert_eq!(error.kind(), Kind::Interrupted, "{error}");
    assert_eq!(scratch.names(), ["in.mkv"], "the folder afterwards");
}

#[test]
fn errors_name_their_file_and_kind() {
    let scratch = Scratch::new();
    let error = upscale_file(&job(&scratch), &Control::default()).expect_err("no input");
    assert_eq!(error.kind(), Kind::Input, "{error}");
    assert!(error.to_string().contains("in.mkv") && error.remedy().is_some(), "{error}");
}

#[test]
fn the_public_types_may_cross_threads() {
    fn send<T: Send>() {}
    fn shared<T: Send + Sync>() {}
    send::<Upscaler>();
    shared::<Control>();
    shared::<subpel::Error>();
    shared::<Job>();
    assert_eq!(Control::default().expected(), 0, "nothing is expected of a job that has not begun");
}
