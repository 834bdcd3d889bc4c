//! Segments that are encoded by themselves: every frame at its time, each segment as it was encoded, and nothing that one encoder
//! alone could know.

#![allow(clippy::expect_used, reason = "a test stops at the first surprise")]

mod support;

use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use support::{Scratch, list, names_in, number, skipped};

const QUIET: &str = "--progress none";
/// Frames of the clip, and of most of its segments.
const FRAMES: usize = 30;
const PART: usize = 8;
/// x264's vector code reads memory that it has not written: without it the same pictures give the same bytes.
const SAME_BYTES: &str = "--encoder-option x264-params=asm=0";

/// A folder with a clip: moving detail, a cut, sound.
fn with_clip() -> Scratch {
    let scratch = Scratch::new();
    let half = FRAMES / 2;
    scratch.ffmpeg(&format!(
        "-f lavfi -i testsrc2=s=80x64:r=25 -f lavfi -i mandelbrot=s=80x64:r=25:start_scale=0.8 -f lavfi -i sine=d=1.2 \
         -filter_complex [0]trim=end_frame={half}[a];[1]trim=end_frame={half},setpts=PTS-STARTPTS[b];[a][b]concat \
         -map 2:a -c:v libx264 -g 6 -pix_fmt yuv420p -c:a aac in.mp4"
    ));
    scratch
}

/// Plans, makes all segments in an order of its own, and joins.
fn make(scratch: &Scratch, job: &str, out: &str, options: &str) {
    let container = out.rsplit_once('.').expect("extension").1;
    let plan = format!("plan in.mp4 -o {job} --container {container} --encode-per-segment {options} {QUIET}");
    scratch.subpel(&plan).ends(0);
    let count = names_of(scratch, job).len();
    for number in (1..=count).rev() {
        scratch.subpel(&format!("run-segment {job} {number} --threads {} {QUIET}", 1 + number % 2)).ends(0);
    }
    scratch.subpel(&format!("verify {job}")).ends(0);
    scratch.subpel(&format!("join {job} -o {out} --overwrite {QUIET}")).ends(0);
}

/// Ranges of a job's segments.
fn names_of(scratch: &Scratch, job: &str) -> Vec<Value> {
    let manifest: Value = serde_json::from_slice(&scratch.read(format!("{job}/manifest.json"))).expect("JSON");
    list(&manifest["body"]["segments"]).to_vec()
}

/// The files of a job with this extension, by number.
fn files(scratch: &Scratch, job: &str, extension: &str) -> Vec<PathBuf> {
    let names = names_in(&scratch.path(job));
    let found = names.iter().filter(|n| n.starts_with("seg-") && n.ends_with(extension));
    found.map(|name| scratch.path(job).join(name)).collect()
}

/// Times of showing and decoding of all packets of the picture, as far as the container tells them.
fn packet_times(scratch: &Scratch, name: &str) -> Vec<String> {
    let text = scratch.ffmpeg(&format!("-i {name} -map 0:v:0 -c copy -f framecrc -"));
    let column = |line: &str| line.split(',').take(4).map(str::trim).collect::<Vec<_>>().join(",");
    text.lines().filter(|l| !l.starts_with('#')).map(column).collect()
}

/// Encoder, container, options, and whether nothing is lost.
fn encoders() -> Vec<(&'static str, &'static str, &'static str, bool)> {
    vec![
        ("libx264", "mkv", "", false),
        ("libx264", "mp4", "--crf 0", true),
        ("libx264", "ts", "", false),
        ("libx265", "mp4", "--encoder-option x265-params=lossless=1:log-level=none", true),
        ("libx265", "mkv", "--encoder-option x265-params=bframes=8:log-level=none", false),
        ("libvpx-vp9", "webm", "--crf 0 --encoder-option lossless=1", true),
        ("libsvtav1", "mkv", "--encoder-option preset=12", false),
        ("libaom-av1", "mp4", "--encoder-option cpu-used=8", false),
        ("prores_ks", "mov", "", true),
        ("ffv1", "nut", "", true),
    ]
}

#[test]
fn every_encoder_gives_all_frames_at_their_times() {
    let scratch = with_clip();
    for (codec, container, options, lossless) in encoders() {
        let what = format!("{codec} in {container} {options}");
        if !scratch.try_ffmpeg(&format!("-f lavfi -i color=s=64x64 -frames:v 1 -c:v {codec} -f null -")) {
            skipped(&format!("this FFmpeg has no {codec}"));
            continue;
        }
        let (whole, joined) = (format!("whole.{container}"), format!("joined.{container}"));
        scratch.subpel(&format!("upscale in.mp4 {whole} -c {codec} {options} --overwrite {QUIET}")).ends(0);
        make(&scratch, "job", &joined, &format!("-c {codec} {options} --segment-frames {PART}"));
        assert_eq!(scratch.times(&joined).len(), FRAMES, "frames, {what}");
        assert_eq!(scratch.told_times(&joined), scratch.told_times(&whole), "times of frames, {what}");
        let sound = |name: &str| scratch.stream(name, "audio")["codec_name"].clone();
        assert_eq!(sound(&joined), sound(&whole), "sound, {what}");
        if lossless {
            assert_eq!(scratch.pictures(&joined, None), scratch.pictures(&whole, None), "pictures, {what}");
        }
        let parts: Vec<String> =
            files(&scratch, "job", "nut").iter().flat_map(|f| scratch.pictures(&f.to_string_lossy(), None)).collect();
        assert!(scratch.pictures(&joined, None) == parts, "the pictures of the segments, {what}");
        fs::remove_dir_all(scratch.path("job")).expect("removed");
    }
}

#[test]
fn packets_are_timed_as_if_one_encoder_had_made_them() {
    let scratch = with_clip();
    scratch.ffmpeg("-i in.mp4 -vf setpts=(N*N/9+N)/TB/25 -fps_mode vfr -c:v libx264 -bf 2 -c:a copy varied.mp4");
    // The same groups in both: as long as segments, without changes at cuts.
    let groups = format!("x264-params=keyint={PART}:min-keyint={PART}:scenecut=0:b-adapt=0:bframes=3:asm=0");
    let options = format!("--encoder-option {groups} --threads 4");
    for what in ["an even rate", "a variable rate"] {
        scratch.subpel(&format!("upscale in.mp4 whole.mp4 {options} --overwrite {QUIET}")).ends(0);
        make(&scratch, "job", "joined.mp4", &format!("{options} --segment-frames {PART}"));
        let decoding = |name: &str| -> Vec<String> {
            packet_times(&scratch, name).iter().map(|line| line.split(',').nth(1).expect("dts").to_owned()).collect()
        };
        assert_eq!(decoding("joined.mp4"), decoding("whole.mp4"), "times of decoding, {what}");
        assert_eq!(scratch.times("joined.mp4"), scratch.times("whole.mp4"), "times of showing, {what}");
        let rate = |name: &str| scratch.stream(name, "video")["avg_frame_rate"].clone();
        assert_eq!(rate("joined.mp4"), rate("whole.mp4"), "{what}");
        fs::rename(scratch.path("varied.mp4"), scratch.path("in.mp4")).unwrap_or(());
        fs::remove_dir_all(scratch.path("job")).expect("removed");
    }
}

#[test]
fn the_same_plan_gives_the_same_file_whoever_makes_it() {
    let scratch = with_clip();
    for (container, options) in [("mp4", SAME_BYTES), ("mov", "-c prores_ks")] {
        let cut = format!("{options} --segments 4");
        let out = |n: usize| format!("{n}.{container}");
        make(&scratch, "one", &out(1), &cut);
        make(&scratch, "two", &out(2), &format!("{cut} --max-memory 2GiB"));
        assert!(scratch.read(out(1)) == scratch.read(out(2)), "two jobs, {options}");
        let run = |n: usize, more: &str| {
            let what = format!("run in.mp4 -o {} --encode-per-segment {cut} {more} {QUIET}", out(n));
            scratch.subpel(&what).ends(0);
            assert!(scratch.read(out(n)) == scratch.read(out(1)), "{what}");
        };
        run(3, "");
        // Some segments are whole already, some are gone, and one is damaged.
        for (at, path) in files(&scratch, "two", "nut").into_iter().enumerate() {
            match at {
                1 => fs::write(path, "nothing").expect("written"),
                2 => fs::remove_file(path).expect("removed"),
                _ => {}
            }
        }
        run(4, "--job two --keep-job");
        for job in ["one", "two"] {
            fs::remove_dir_all(scratch.path(job)).expect("removed");
        }
    }
}

#[test]
fn single_frames_parts_and_variable_rates_come_through() {
    let scratch = with_clip();
    let varied = "setpts=(N*N/9+N)/TB/25";
    scratch.ffmpeg(&format!("-i in.mp4 -vf {varied} -fps_mode vfr -c:v libx264 -bf 2 -c:a copy varied.mkv"));
    scratch.ffmpeg("-i in.mp4 -metadata:s:v rotate=90 -c copy turned.mp4");
    fs::rename(scratch.path("in.mp4"), scratch.path("plain.mp4")).expect("renamed");
    for (input, out, options) in [
        ("plain.mp4", "joined.mkv", "--segment-frames 1"),
        ("plain.mp4", "joined.mkv", "--segments 1"),
        ("plain.mp4", "joined.mp4", "--segment-frames 5 --start 0.2 --frames 13"),
        ("varied.mkv", "joined.mp4", "--segment-frames 7"),
        ("varied.mkv", "joined.mkv", "--segment-frames 7"),
        ("turned.mp4", "joined.mkv", "--segment-frames 12"),
        ("turned.mp4", "joined.mp4", "--segment-frames 12"),
    ] {
        let what = format!("{input} to {out} {options}");
        fs::copy(scratch.path(input), scratch.path("in.mp4")).expect("copied");
        let whole = out.replace("joined", "whole");
        let part = options.split_once("--start").map_or(String::new(), |(_, rest)| format!("--start{rest}"));
        scratch.subpel(&format!("upscale in.mp4 {whole} --crf 0 {part} --overwrite {QUIET}")).ends(0);
        make(&scratch, "job", out, &format!("--crf 0 {options}"));
        assert_eq!(scratch.told_times(out), scratch.told_times(&whole), "times, {what}");
        assert_eq!(scratch.pictures(out, None), scratch.pictures(&whole, None), "pictures, {what}");
        let [mine, theirs] = [out, &whole].map(|name| scratch.stream(name, "video"));
        for tag in ["width", "height", "avg_frame_rate", "side_data_list"] {
            assert_eq!(mine[tag], theirs[tag], "{tag}, {what}");
        }
        assert!((number(&mine["start_time"]) - number(&theirs["start_time"])).abs() < 1e-6, "start, {what}");
        fs::remove_dir_all(scratch.path("job")).expect("removed");
    }
}

#[test]
fn alpha_beside_vp9_is_kept() {
    let scratch = Scratch::new();
    scratch.ffmpeg(
        "-f lavfi -i testsrc2=s=64x48:r=25 -vf format=yuva420p,geq=lum=lum(X\\,Y):a=X*2+N -frames:v 10 -c:v ffv1 a.mkv",
    );
    fs::copy(scratch.path("a.mkv"), scratch.path("in.mp4")).expect("copied");
    scratch.subpel(&format!("upscale in.mp4 whole.webm --crf 0 --encoder-option lossless=1 {QUIET}")).ends(0);
    make(&scratch, "job", "joined.webm", "--crf 0 --encoder-option lossless=1 --segment-frames 4");
    let alpha = |name: &str| {
        scratch.ffmpeg(&format!("-c:v libvpx-vp9 -i {name} -vf alphaextract,format=gray -f rawvideo -y alpha.raw"));
        scratch.read("alpha.raw")
    };
    let whole = alpha("whole.webm");
    assert!(whole.iter().any(|a| *a > 100) && whole.iter().any(|a| *a < 30), "there is something to lose");
    assert!(alpha("joined.webm") == whole, "alpha");
}

#[test]
fn a_second_run_is_harmless_even_if_the_encoder_gives_other_bytes() {
    let scratch = with_clip();
    make(&scratch, "job", "one.mp4", &format!("--segment-frames {PART}"));
    let before = files(&scratch, "job", "nut").iter().map(|f| fs::read(f).expect("there")).collect::<Vec<_>>();
    for number in 1..=before.len() {
        scratch.subpel(&format!("run-segment job {number} --again {QUIET}")).ends(0);
    }
    let after = files(&scratch, "job", "nut").iter().map(|f| fs::read(f).expect("there")).collect::<Vec<_>>();
    assert!(after == before, "the first results stay");
    assert!(files(&scratch, "job", "conflict").is_empty(), "no conflict");
}

#[test]
fn any_number_of_workers_on_one_segment_is_as_good_as_one() {
    let scratch = with_clip();
    scratch
        .subpel(&format!("plan in.mp4 -o job -m bicubic --container mp4 --encode-per-segment --segments 1 {QUIET}"))
        .ends(0);
    for round in 0..8 {
        files(&scratch, "job", "nut").into_iter().chain(files(&scratch, "job", "json")).for_each(|path| {
            fs::remove_file(path).expect("removed");
        });
        // Memory that is not written holds something else in each: x264 reads it.
        let start = |filling: u32| {
            let mut command = scratch.raw_program(&format!("run-segment job 1 {QUIET}"));
            command.env("MALLOC_PERTURB_", (filling + round).to_string());
            command.stderr(std::process::Stdio::null()).spawn().expect("started")
        };
        let workers: Vec<_> = [1, 77, 200].map(start).into_iter().collect();
        for mut worker in workers {
            assert_eq!(worker.wait().expect("ends").code(), Some(0), "a worker of round {round}");
        }
        scratch.subpel("verify job").ends(0);
        assert!(files(&scratch, "job", "conflict").is_empty(), "no conflict");
    }
    scratch.subpel(&format!("join job -o out.mp4 {QUIET}")).ends(0);
    assert_eq!(scratch.times("out.mp4").len(), FRAMES, "frames");
}

#[test]
fn headers_of_hevc_tell_nothing_of_the_machine_and_flags_are_kept() {
    let scratch = with_clip();
    if !scratch.try_ffmpeg("-f lavfi -i color=s=64x64 -frames:v 1 -c:v libx265 -f null -") {
        return skipped("this FFmpeg has no libx265");
    }
    let options = "-c libx265 --encoder-option x265-params=log-level=none";
    scratch.subpel(&format!("upscale in.mp4 whole.mp4 {options} {QUIET}")).ends(0);
    make(&scratch, "job", "joined.mp4", &format!("{options} --segments 2"));
    let holds = |bytes: &[u8], text: &str| bytes.windows(text.len()).any(|w| w == text.as_bytes());
    for path in files(&scratch, "job", "nut") {
        assert!(!holds(&fs::read(path).expect("there"), "cpuid="), "the kind of processor");
    }
    // Which pictures no other needs.
    assert!(holds(&scratch.read("whole.mp4"), "sdtp") && holds(&scratch.read("joined.mp4"), "sdtp"), "the table");
}

/// Puts a value in the place of what a sealed file holds.
fn reseal(path: &PathBuf, change: impl Fn(&str) -> String) {
    let text = fs::read_to_string(path).expect("readable");
    let body = change(text.split_once("\"body\":").expect("body").1.trim_end().strip_suffix('}').expect("end"));
    let hash = blake3::hash(body.as_bytes()).to_hex();
    fs::write(path, format!("{{\"blake3\":\"{hash}\",\"body\":{body}}}\n")).expect("written");
}

#[test]
fn a_segment_of_another_encoding_is_refused() {
    let scratch = with_clip();
    make(&scratch, "mine", "out.mp4", &format!("--segment-frames {PART}"));
    make(
        &scratch,
        "other",
        "out.mp4",
        &format!("--segment-frames {PART} --encoder-option x264-params=ref=1:bframes=0"),
    );
    // Segment 2 of another plan takes the place of this one's, receipt and all.
    // Names of pictures end with a hash of theirs, those of receipts with the key.
    let [mine, other] = ["mine", "other"].map(|job| [files(&scratch, job, "nut"), files(&scratch, job, "json")]);
    let key = |path: &PathBuf| path.file_stem().expect("name").to_string_lossy()["seg-00002-".len()..].to_owned();
    let (own, foreign) = (key(&mine[1][1]), key(&other[1][1]));
    let data = other[0][1].file_name().expect("name").to_string_lossy().replace(&foreign, &own);
    fs::copy(&other[0][1], scratch.path("mine").join(data)).expect("copied");
    fs::copy(&other[1][1], &mine[1][1]).expect("copied");
    reseal(&mine[1][1], |body| body.replace(&foreign, &own));
    let join = format!("join mine -o bad.mp4 {QUIET}");
    scratch.subpel(&join).ends(78).says(&["encoded by another encoder, or with other options", "seg-00002"]);
    assert!(!scratch.path("bad.mp4").exists(), "no output");
}

#[test]
fn receipts_and_outputs_that_cannot_be_are_refused() {
    let scratch = with_clip();
    make(&scratch, "job", "out.mp4", "--segments 2");
    for out in ["bad.mkv", "bad.avi"] {
        scratch.subpel(&format!("join job -o {out} {QUIET}")).ends(2).says(&["planned for: .mp4", "--container"]);
    }
    let receipt = &files(&scratch, "job", "json")[1];
    let sound = fs::read(receipt).expect("there");
    let delay = |body: &str, to: &str| {
        let at = body.find("\"delay\":").expect("delay") + "\"delay\":".len();
        let end = at + body[at..].find('}').expect("end");
        format!("{}{to}{}", &body[..at], &body[end..])
    };
    for wrong in ["33", "1000", "9000000000000000"] {
        reseal(receipt, |body| delay(body, wrong));
        scratch.subpel(&format!("join job -o bad.mp4 {QUIET}")).ends(65).says(&["segments 2 are damaged"]);
        fs::write(receipt, &sound).expect("written");
    }
    for hash in ["../../../../etc/passwd", "", "zz"] {
        reseal(receipt, |body| {
            let at = body.find("\"blake3\":\"").expect("hash") + "\"blake3\":\"".len();
            format!("{}{hash}{}", &body[..at], &body[at + 64..])
        });
        scratch.subpel("status job --missing").ends(3);
        fs::write(receipt, &sound).expect("written");
    }
    scratch.subpel(&format!("join job -o good.mp4 {QUIET}")).ends(0);
}

#[test]
fn what_needs_the_whole_video_is_refused() {
    let scratch = with_clip();
    for (options, words) in [
        ("--encoder-option b=1000000", "rules the rate of a whole video"),
        ("--encoder-option x264-params=ref=2:vbv-maxrate=500", "rules the rate of a whole video"),
        ("--encoder-option x264opts=bitrate=200", "rules the rate of a whole video"),
        ("--encoder-option x264-params=vbv_maxrate=300:vbv_bufsize=300", "rules the rate of a whole video"),
        ("-c mpeg4", "no constant quality"),
        ("-c mpeg2video", "no constant quality"),
        ("-c mjpeg --pix-fmt yuvj420p", "no constant quality"),
        ("-c gif --container gif", "no constant quality"),
        ("-c tiff --container mov", "cannot be kept in"),
    ] {
        let plan = format!("plan in.mp4 -o job -m bicubic --encode-per-segment {options} {QUIET}");
        scratch.subpel(&plan).ends(2).says(&[words, "leave out --encode-per-segment"]);
        assert!(!scratch.path("job").exists(), "no folder for {options}");
    }
    scratch.subpel("plan in.mp4 -o job --encode-per-segment --keep-as fast").ends(2);
    scratch.subpel(&format!("plan in.mp4 -o job {QUIET}")).ends(0);
    let other = format!("plan in.mp4 -o job --encode-per-segment {QUIET}");
    scratch.subpel(&other).ends(78).says(&["holds another plan", "encoded"]);
}
