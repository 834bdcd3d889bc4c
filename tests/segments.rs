//! Segments give what one go gives, frame by frame and time by time, however a video is cut.
//!
//! Clips and cuts are random with a fixed seed; `SUBPEL_CUTS` says how many ways each clip is cut (2 by default).

#![allow(clippy::expect_used, reason = "a test stops at the first surprise")]

mod support;

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;
use support::{Scratch, names_in, skipped};

/// Numbers that look random.
struct Random(u64);

impl Random {
    /// One from 0 to below `end`.
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

const QUIET: &str = "--progress none";
/// Frames of the clips.
const FRAMES: usize = 36;

/// A moving picture with detail, and a cut in its middle.
fn picture() -> String {
    let half = FRAMES / 2;
    format!(
        "-f lavfi -i testsrc2=s=64x48:r=25 -f lavfi -i mandelbrot=s=64x48:r=25:start_scale=0.8 \
         -filter_complex [0]trim=end_frame={half}[a];[1]trim=end_frame={half},setpts=PTS-STARTPTS[b];[a][b]concat"
    )
}

/// The clips and what each is for; some encoders may be missing.
fn clips(scratch: &Scratch) -> Vec<(&'static str, &'static str)> {
    let picture = picture();
    let x264 = "-c:v libx264 -preset veryfast -pix_fmt yuv420p -g 6";
    let open = "-bf 3 -x264-params open-gop=1:b-pyramid=normal:scenecut=0";
    let sound = "-f lavfi -i sine=d=1.4";
    scratch.ffmpeg(&format!("{picture} {x264} -bf 0 closed.mp4"));
    scratch.ffmpeg(&format!("{picture} {x264} {open} open.mp4"));
    // Sound from 0, pictures later.
    scratch.ffmpeg(&format!("-itsoffset 0.23 -i open.mp4 {sound} -map 0 -map 1 -c:v copy -c:a pcm_s16le late.mkv"));
    scratch.ffmpeg("-i open.mp4 -c copy stream.ts");
    scratch.ffmpeg("-i open.mp4 -c copy -bsf:v h264_mp4toannexb raw.h264");
    scratch.ffmpeg(&format!("{picture},setpts=(N*N/9+N)/TB/25 {x264} -bf 2 -fps_mode vfr variable.mkv"));
    scratch.ffmpeg(&format!("{picture} {x264} -bf 0 -x264-params intra-refresh=1:keyint=6 refresh.mp4"));
    let mut all = vec![
        ("closed.mp4", "closed groups"),
        ("open.mp4", "open groups"),
        ("late.mkv", "pictures that begin after the sound"),
        ("stream.ts", "a transport stream"),
        ("raw.h264", "a stream without times"),
        ("variable.mkv", "a variable rate"),
        ("refresh.mp4", "no key frames but the first"),
    ];
    if scratch
        .try_ffmpeg(&format!("{picture} -pix_fmt yuv420p -c:v libx265 -x265-params log-level=none:keyint=6 hevc.mp4"))
    {
        all.push(("hevc.mp4", "HEVC"));
    } else {
        skipped("this FFmpeg has no libx265");
    }
    all
}

/// Runs all segments of a job in any order; returns how each was read.
fn run_all(scratch: &Scratch, job: &str, random: &mut Random) -> BTreeSet<String> {
    let count = segments(scratch, job);
    let mut order: Vec<usize> = (1..=count).collect();
    for at in (1..count).rev() {
        order.swap(at, random.below(at as u64 + 1) as usize);
    }
    for number in order {
        scratch.subpel(&format!("run-segment {job} {number} {QUIET}")).ends(0);
    }
    receipts(scratch, job).iter().map(|r| r["reading"].as_str().expect("reading").to_owned()).collect()
}

fn segments(scratch: &Scratch, job: &str) -> usize {
    let manifest: Value = serde_json::from_slice(&scratch.read(format!("{job}/manifest.json"))).expect("JSON");
    manifest["body"]["segments"].as_array().expect("segments").len()
}

/// All receipts in a job's folder.
fn receipts(scratch: &Scratch, job: &str) -> Vec<Value> {
    let names = names_in(&scratch.path(job));
    let receipts = names.iter().filter(|n| n.starts_with("seg-") && n.ends_with(".json"));
    receipts
        .map(|name| {
            serde_json::from_slice::<Value>(&scratch.read(format!("{job}/{name}"))).expect("JSON")["body"].clone()
        })
        .collect()
}

#[track_caller]
fn same_video(scratch: &Scratch, one: &str, other: &str, what: &str) {
    assert_eq!(scratch.told_times(one), scratch.told_times(other), "times of {what}");
    assert_eq!(scratch.pictures(one, None), scratch.pictures(other, None), "pictures of {what}");
}

#[test]
fn any_video_cut_in_any_way_is_the_same_video() {
    let scratch = Scratch::new();
    let cuts: u64 = std::env::var("SUBPEL_CUTS").ok().and_then(|n| n.parse().ok()).unwrap_or(2);
    let mut random = Random(20);
    let mut readings = BTreeSet::new();
    for (at, (clip, what)) in clips(&scratch).into_iter().enumerate() {
        scratch.subpel(&format!("upscale {clip} whole.mkv -c ffv1 --overwrite {QUIET}")).ends(0);
        assert_eq!(scratch.pictures("whole.mkv", None).len(), FRAMES, "frames of {what}");
        for cut in 0..cuts {
            // One clip is cut down to single frames.
            let count = if at == 1 && cut == 0 { FRAMES as u64 } else { 1 + random.below(5) };
            let form = if random.below(2) == 0 {
                format!("--segments {count}")
            } else {
                format!("--segment-frames {}", FRAMES as u64 / count)
            };
            let keep = if random.below(2) == 0 { "--keep-as fast" } else { "" };
            scratch.subpel(&format!("plan {clip} -o job -c ffv1 {form} {keep} {QUIET}")).ends(0);
            readings.extend(run_all(&scratch, "job", &mut random));
            scratch.subpel("status job").ends(0);
            scratch.subpel(&format!("join job -o joined.mkv --overwrite {QUIET}")).ends(0);
            same_video(&scratch, "joined.mkv", "whole.mkv", &format!("{what} ({form} {keep})"));
            fs::remove_dir_all(scratch.path("job")).expect("removed");
        }
    }
    assert!(readings.contains("seek") && readings.contains("linear"), "ways of reading: {readings:?}");
}

#[test]
fn the_joined_file_is_the_same_byte_for_byte() {
    let scratch = Scratch::new();
    let sound = "-f lavfi -i sine=d=1.4";
    scratch.write("a.srt", "1\n00:00:00,100 --> 00:00:00,900\nwords\n");
    scratch.ffmpeg(&format!(
        "{} {sound} -i a.srt -c:v libx264 -g 6 -pix_fmt yuv420p -c:a aac -c:s mov_text in.mp4",
        picture()
    ));
    // x264's vector code reads memory that it has not written; without it the same pictures give the same bytes.
    for (options, container) in
        [("--encoder-option x264-params=asm=0", "mp4"), ("-c prores_ks", "mov"), ("-c mpeg4", "mov")]
    {
        scratch.subpel(&format!("upscale in.mp4 whole.{container} {options} --overwrite {QUIET}")).ends(0);
        let whole = scratch.read(format!("whole.{container}"));
        scratch.subpel(&format!("run in.mp4 -o ran.{container} {options} --overwrite {QUIET}")).ends(0);
        assert!(scratch.read(format!("ran.{container}")) == whole, "run, {options}");
        scratch.subpel(&format!("upscale in.mp4 resumed.{container} {options} --resume --overwrite {QUIET}")).ends(0);
        assert!(scratch.read(format!("resumed.{container}")) == whole, "upscale --resume, {options}");
        scratch.subpel(&format!("plan in.mp4 -o job --segments 4 --container {container} {options} {QUIET}")).ends(0);
        run_all(&scratch, "job", &mut Random(3));
        scratch.subpel(&format!("join job -o joined.{container} --overwrite {QUIET}")).ends(0);
        assert!(scratch.read(format!("joined.{container}")) == whole, "plan, run-segment and join, {options}");
        fs::remove_dir_all(scratch.path("job")).expect("removed");
    }
    let left: Vec<String> =
        scratch.names().into_iter().filter(|n| n.contains("subpel-job") || n.starts_with('.')).collect();
    assert_eq!(left, Vec::<String>::new(), "nothing is left beside the outputs");
}

#[test]
fn formats_turns_and_parts_come_through() {
    let scratch = Scratch::new();
    let source = "-f lavfi -i testsrc2=s=36x28:r=25 -frames:v 7";
    for format in ["yuva420p", "gray10le", "gbrp", "bgr0", "yuv422p12le", "ya8", "gbrap16le"] {
        scratch.ffmpeg(&format!("{source} -pix_fmt {format} -c:v ffv1 {format}.mkv"));
    }
    scratch.ffmpeg(&format!("{source} -c:v mjpeg full.avi"));
    scratch.ffmpeg(&format!("{source} -c:v libx264 -pix_fmt yuv420p flat.mp4"));
    scratch.ffmpeg("-i flat.mp4 -metadata:s:v rotate=90 -c copy turned.mp4");
    let cases = [
        ("yuva420p.mkv", "out.mkv", "-c ffv1"),
        ("gray10le.mkv", "out.mkv", "-c ffv1"),
        ("gbrp.mkv", "out.mkv", "-c libx264rgb"),
        ("bgr0.mkv", "out.mkv", "-c ffv1"),
        ("bgr0.mkv", "out%02d.png", ""),
        ("yuv422p12le.mkv", "out.mkv", "-c ffv1 --pix-fmt yuv420p10le"),
        ("ya8.mkv", "out%02d.png", ""),
        ("gbrap16le.mkv", "out%02d.png", ""),
        ("full.avi", "out.mkv", "-c mjpeg"),
        ("full.avi", "out.mkv", "--pix-fmt nv12 --encoder-option x264-params=asm=0"),
        ("turned.mp4", "out.mkv", "-c ffv1"),
        ("turned.mp4", "out.mp4", "--encoder-option x264-params=asm=0"),
        ("flat.mp4", "out.mkv", "-c ffv1 --start 0.1 --frames 3"),
        ("flat.mp4", "out.mkv", "-c ffv1 --method lanczos --scale 1.7"),
        ("flat.mp4", "out.mkv", "-c ffv1 --refine builtin --scale 2"),
    ];
    for (input, output, options) in cases {
        let what = format!("{input} to {output} {options}");
        let files = |folder: &str| -> Vec<Vec<u8>> {
            let names = names_in(&scratch.path(folder));
            names.iter().map(|name| scratch.read(format!("{folder}/{name}"))).collect()
        };
        for folder in ["one", "many"] {
            fs::create_dir(scratch.path(folder)).expect("made");
        }
        scratch.subpel(&format!("upscale {input} one/{output} {options} {QUIET}")).ends(0);
        scratch
            .subpel(&format!("run {input} -o many/{output} --segment-frames 2 {options} --job job --keep-job {QUIET}"))
            .ends(0);
        if output.contains('%') {
            assert!(files("one") == files("many"), "{what}");
        } else {
            same_video(&scratch, &format!("one/{output}"), &format!("many/{output}"), &what);
        }
        // The same from the pictures that were kept.
        fs::remove_dir_all(scratch.path("many")).expect("removed");
        fs::create_dir(scratch.path("many")).expect("made");
        scratch.subpel(&format!("join job -o many/{output} {QUIET}")).ends(0);
        if output.contains('%') {
            assert!(files("one") == files("many"), "{what}, joined");
        } else {
            same_video(&scratch, &format!("one/{output}"), &format!("many/{output}"), &format!("{what}, joined"));
        }
        for folder in ["one", "many", "job"] {
            fs::remove_dir_all(scratch.path(folder)).expect("removed");
        }
    }
}

#[test]
fn a_blur_that_is_measured_is_the_same_in_every_segment() {
    let scratch = Scratch::new();
    // The first scene moves and is sharp, the second is blurred.
    scratch.ffmpeg(
        "-f lavfi -i testsrc2=s=96x72:r=25 -f lavfi -i mandelbrot=s=96x72:r=25:start_scale=0.8 -filter_complex \
         [0]trim=end_frame=15[a];[1]trim=end_frame=15,setpts=PTS-STARTPTS,gblur=sigma=1[b];[a][b]concat -c:v ffv1 in.mkv",
    );
    scratch.subpel(&format!("upscale in.mkv whole.mkv -c ffv1 --psf auto {QUIET}")).ends(0);
    scratch.subpel(&format!("plan in.mkv -o job -c ffv1 --psf auto --segment-frames 4 {QUIET}")).ends(0);
    let manifest: Value = serde_json::from_slice(&scratch.read("job/manifest.json")).expect("JSON");
    let blurs = manifest["body"]["blurs"].as_array().expect("blurs").clone();
    assert_eq!((manifest["body"]["cuts"].clone(), blurs.len()), (serde_json::json!([15]), 2), "scenes: {blurs:?}");
    run_all(&scratch, "job", &mut Random(5));
    scratch.subpel(&format!("join job -o joined.mkv {QUIET}")).ends(0);
    same_video(&scratch, "joined.mkv", "whole.mkv", "measured blurs");
    scratch.subpel(&format!("run in.mkv -o ran.mkv -c ffv1 --psf auto {QUIET}")).ends(0);
    same_video(&scratch, "ran.mkv", "whole.mkv", "measured blurs in one process");
}

/// An H.264 stream with a message before every picture: payload type and bytes of the picture with this number, from 1.
fn with_messages(stream: &[u8], message: impl Fn(u8) -> (u8, Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    let mut at = 0;
    let mut number = 0u8;
    while at < stream.len() {
        let start = |from: usize| (from..stream.len() - 3).find(|&i| stream[i..i + 3] == [0, 0, 1]);
        let Some(this) = start(at) else { break };
        let next = start(this + 3).unwrap_or(stream.len());
        if matches!(stream[this + 3] & 31, 1 | 5) {
            number += 1;
            let (kind, body) = message(number);
            out.extend([0, 0, 0, 1, 6, kind, body.len() as u8]);
            out.extend(body);
            out.push(0x80);
        }
        out.extend([0, 0, 1]);
        out.extend(&stream[this + 3..next]);
        at = next;
    }
    out
}

/// Captions as ATSC A/53 has them.
fn caption(number: u8) -> (u8, Vec<u8>) {
    let words = [0xfc, 0x80 | (number & 0x3f), 0x94];
    (4, [&[0xb5, 0, 0x31, b'G', b'A', b'9', b'4', 3, 0x41, 0xff][..], &words, &[0xff]].concat())
}

/// "From here on everything can be decoded, exactly."
fn recovery_point(_number: u8) -> (u8, Vec<u8>) {
    (6, vec![0xc4])
}

#[test]
fn a_video_that_lies_about_its_key_frames_is_read_from_its_start() {
    let scratch = Scratch::new();
    let slices = "-x264-params slices=1:sliced-threads=0:keyint=infinite:scenecut=0";
    scratch.ffmpeg(&format!("{} -c:v libx264 -pix_fmt yuv420p -bf 0 {slices} plain.h264", picture()));
    scratch.write("in.h264", with_messages(&scratch.read("plain.h264"), recovery_point));
    scratch.ffmpeg("-i in.h264 -c copy in.mp4");
    scratch.subpel(&format!("upscale in.mp4 whole.mkv -c ffv1 {QUIET}")).ends(0);
    scratch.subpel(&format!("plan in.mp4 -o job -c ffv1 --segments 3 {QUIET}")).ends(0);
    let readings = run_all(&scratch, "job", &mut Random(7));
    assert!(readings.contains("fallback"), "ways of reading: {readings:?}");
    scratch.subpel(&format!("join job -o joined.mkv {QUIET}")).ends(0);
    same_video(&scratch, "joined.mkv", "whole.mkv", "a video that lies");
}

#[test]
fn captions_come_through() {
    let scratch = Scratch::new();
    let slices = "-x264-params slices=1:sliced-threads=0";
    scratch
        .ffmpeg(&format!("-f lavfi -i testsrc2=s=64x48:r=25 -frames:v 9 -c:v libx264 -bf 0 -g 3 {slices} plain.h264"));
    scratch.write("in.h264", with_messages(&scratch.read("plain.h264"), caption));
    scratch.ffmpeg("-i in.h264 -c copy in.mp4");
    let captions = |name: &str| {
        // Packets hold them as they are.
        scratch.ffmpeg(&format!("-i {name} -c copy -bsf:v h264_mp4toannexb -f h264 out.h264"));
        let bytes = scratch.read("out.h264");
        let found = bytes.windows(4).enumerate().filter(|(_, w)| *w == b"GA94");
        // Number of captions and their words; in the order of the packets.
        found.map(|(at, _)| [&bytes[at + 5..at + 6], &bytes[at + 7..at + 10]].concat()).collect::<BTreeSet<_>>()
    };
    assert_eq!(captions("in.mp4").len(), 9, "the input has them");
    let options = "--encoder-option x264-params=asm=0 --encoder-option a53cc=1";
    scratch.subpel(&format!("upscale in.mp4 whole.mp4 {options} {QUIET}")).ends(0);
    assert_eq!(captions("whole.mp4"), captions("in.mp4"), "in one go");
    scratch.subpel(&format!("plan in.mp4 -o job --segments 4 --container mp4 {options} {QUIET}")).ends(0);
    run_all(&scratch, "job", &mut Random(6));
    scratch.subpel(&format!("join job -o joined.mp4 {QUIET}")).ends(0);
    assert_eq!(captions("joined.mp4"), captions("in.mp4"), "joined");
    assert!(scratch.read("joined.mp4") == scratch.read("whole.mp4"), "the same file");
    scratch.subpel(&format!("run in.mp4 -o ran.mp4 --encode-per-segment --segments 4 {options} {QUIET}")).ends(0);
    assert_eq!(captions("ran.mp4"), captions("in.mp4"), "encoded by themselves");
}

#[test]
fn a_plan_depends_on_input_and_options_alone() {
    let scratch = Scratch::new();
    scratch.clip("in.mkv", "testsrc2=s=48x32:r=25", 20);
    let plan = |job: &str, options: &str| scratch.subpel(&format!("plan in.mkv -o {job} {options} {QUIET}"));
    plan("a", "--segments 3").ends(0);
    plan("b", "--segments 3 --threads 0 --max-memory 2GiB").ends(0);
    assert!(scratch.read("a/manifest.json") == scratch.read("b/manifest.json"), "the same manifest");
    assert!(scratch.read("a/frames.idx") == scratch.read("b/frames.idx"), "the same index");
    plan("a", "--segments 3").ends(0);
    plan("a", "--segments 3 --scale 3").ends(78).says(&["holds another plan", "scale"]);
    plan("a", "--segments 4").ends(78).says(&["holds another plan"]);
    fs::create_dir(scratch.path("c")).expect("made");
    scratch.write("c/letter.txt", "mine");
    plan("c", "").ends(73).says(&["letter.txt", "empty folder"]);
}
