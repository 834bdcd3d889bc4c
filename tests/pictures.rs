//! Pictures and pipes are videos too: PNG, numbered sequences, y4m on standard input and output.

#![allow(clippy::expect_used, reason = "a test stops at the first surprise")]

mod support;

use std::process::Stdio;

use support::{Done, Scratch};

const SAME: &str = "--scale 1 --method none --progress none";

#[test]
fn a_png_becomes_a_png_of_the_same_kind() {
    let scratch = Scratch::new();
    for format in ["rgb24", "rgba", "rgb48be", "rgba64be", "gray", "gray16be", "ya8", "ya16be"] {
        scratch.ffmpeg(&format!("-f lavfi -i testsrc2=s=40x30 -frames:v 1 -pix_fmt {format} in.png"));
        assert_eq!(scratch.stream("in.png", "video")["pix_fmt"], format, "the input");
        scratch.subpel(&format!("upscale in.png same.png --overwrite {SAME}")).ends(0);
        let copy = scratch.stream("same.png", "video");
        assert_eq!(copy["pix_fmt"], format, "{format}: copy");
        assert_eq!(scratch.pictures("same.png", None), scratch.pictures("in.png", None), "{format}: samples");
        scratch.subpel("upscale in.png large.png --overwrite --progress none").ends(0);
        let large = scratch.stream("large.png", "video");
        assert_eq!((&large["width"], &large["height"]), (&80.into(), &60.into()), "{format}: size");
        assert_eq!(large["pix_fmt"], format, "{format}: enlarged");
    }
    assert_eq!(scratch.names(), ["in.png", "large.png", "same.png"], "the folder");
}

#[test]
fn a_transparent_border_stays_transparent() {
    let scratch = Scratch::new();
    scratch.ffmpeg("-f lavfi -i color=red@0.0:s=32x32,format=rgba -frames:v 1 in.png");
    scratch.subpel("upscale in.png out.png --method lanczos --progress none").ends(0);
    let samples = scratch.raw_pictures("out.png", "rgba");
    assert_eq!(samples.len(), 64 * 64 * 4, "size");
    assert!(samples.chunks(4).all(|p| p[3] == 0), "alpha");
}

#[test]
fn jpeg_and_tiff_are_read() {
    let scratch = Scratch::new();
    for name in ["in.jpg", "in.tiff", "in.bmp", "in.webp"] {
        scratch.ffmpeg(&format!("-f lavfi -i testsrc2=s=40x30 -frames:v 1 {name}"));
        scratch.subpel(&format!("upscale {name} {name}.png --progress none")).ends(0);
        let stream = scratch.stream(&format!("{name}.png"), "video");
        assert_eq!((&stream["width"], &stream["height"]), (&80.into(), &60.into()), "{name}");
    }
}

#[test]
fn one_picture_takes_one_frame() {
    let scratch = Scratch::new();
    scratch.clip("in.mkv", "testsrc2=s=40x30:r=25", 3);
    scratch.subpel("upscale in.mkv out.png").ends(2).says(&["out.png", "several", "%04d"]);
    assert_eq!(scratch.names(), ["in.mkv"], "the folder afterwards");
    scratch.subpel(&format!("upscale in.mkv out.png --frames 1 --start 0.08 {SAME} --pix-fmt rgb24")).ends(0);
    assert_eq!(scratch.names(), ["in.mkv", "out.png"], "one picture");
    assert_eq!(scratch.stream("out.png", "video")["width"], 40, "size");
}

#[test]
fn a_name_with_a_percent_sign_is_a_name() {
    let scratch = Scratch::new();
    scratch.ffmpeg("-f lavfi -i testsrc2=s=40x30 -frames:v 1 in.png");
    for name in ["50%.png", "100%% sure.png", "%s.png"] {
        let arguments = ["upscale", "in.png", name, "--progress", "none"];
        scratch.subpel_with(arguments).ends(0);
        std::fs::rename(scratch.path(name), scratch.path("it.png")).expect("the output is there under its name");
        assert_eq!(scratch.stream("it.png", "video")["width"], 80, "{name}");
    }
    assert_eq!(scratch.names(), ["in.png", "it.png"], "the folder");
}

#[test]
fn sequences_begin_at_any_number() {
    let scratch = Scratch::new();
    scratch.ffmpeg("-f lavfi -i testsrc2=s=40x30:r=10 -frames:v 4 -start_number 37 f%04d.png");
    scratch.subpel(&format!("upscale f%04d.png film.mkv --fps 10 --codec ffv1 {SAME}")).ends(0);
    assert_eq!(scratch.times("film.mkv"), [0.0, 0.1, 0.2, 0.3], "times");
    let wanted: Vec<String> = (37..41).flat_map(|n| scratch.pictures(&format!("f{n:04}.png"), Some("rgb24"))).collect();
    assert_eq!(scratch.pictures("film.mkv", Some("rgb24")), wanted, "pictures");
    scratch.subpel(&format!("upscale f%04d.png ntsc.mp4 --fps 24000/1001 {SAME}")).ends(0);
    assert_eq!(scratch.stream("ntsc.mp4", "video")["r_frame_rate"], "24000/1001", "rate");
    scratch.subpel(&format!("upscale f%04d.png plain.mkv {SAME}")).ends(0);
    assert_eq!(scratch.times("plain.mkv"), [0.0, 0.04, 0.08, 0.12], "25 frames a second unless said otherwise");
}

#[test]
fn a_sequence_with_a_hole_is_no_silent_success() {
    let scratch = Scratch::new();
    scratch.ffmpeg("-f lavfi -i testsrc2=s=40x30 -frames:v 6 g%02d.png");
    std::fs::remove_file(scratch.path("g06.png")).expect("last one removed");
    scratch.subpel(&format!("upscale g%02d.png whole.mkv {SAME}")).ends(0);
    assert_eq!(scratch.times("whole.mkv").len(), 5, "frames up to the gap at the end");
    scratch.write("g03.png", "");
    let done = scratch.subpel(&format!("upscale g%02d.png broken.mkv {SAME}"));
    assert!(matches!(done.code, Some(3 | 65)), "an empty picture in the middle: {:?} {}", done.code, done.err);
    std::fs::remove_file(scratch.path("g03.png")).expect("one in the middle removed");
    let done = scratch.subpel(&format!("upscale g%02d.png hole.mkv {SAME}"));
    let told = done.code == Some(65) || done.code == Some(3) || done.err.contains("warning");
    assert!(told, "pictures 4 and 5 after a hole are left out without a word: {:?} {}", done.code, done.err);
    scratch.subpel("upscale none%02d.png out.mkv").ends(65).says(&["none%02d.png", "numbered sequence"]);
}

#[test]
fn sequences_are_written_whole() {
    let scratch = Scratch::new();
    scratch.clip("in.mkv", "testsrc2=s=40x30:r=25", 5);
    scratch.subpel("upscale in.mkv out-%03d.png --method bicubic --progress none").ends(0);
    let numbered: Vec<String> = (1..=5).map(|n| format!("out-{n:03}.png")).collect();
    assert_eq!(scratch.names()[1..], numbered[..], "names, and no litter");
    for name in &numbered {
        assert_eq!(scratch.stream(name, "video")["width"], 80, "{name}");
    }
    scratch.subpel("upscale in.mkv out-%03d.png").ends(73).says(&["out-00", "exists"]);
    scratch.subpel(&format!("upscale in.mkv out-%03d.png --overwrite {SAME}")).ends(0);
    assert_eq!(scratch.stream("out-003.png", "video")["width"], 40, "replaced");
    assert_eq!(scratch.names().len(), 6, "the folder afterwards");
}

#[test]
fn sequences_work_in_folders_with_percent_signs() {
    let scratch = Scratch::new();
    scratch.clip("in.mkv", "testsrc2=s=40x30:r=25", 2);
    std::fs::create_dir(scratch.path("take%02d")).expect("folder");
    scratch.subpel(&format!("upscale in.mkv take%02d/f%03d.png {SAME} --pix-fmt rgb24")).ends(0);
    assert_eq!(support::names_in(&scratch.path("take%02d")), ["f001.png", "f002.png"], "written");
    scratch.subpel(&format!("upscale take%02d/f%03d.png back.mkv {SAME}")).ends(0);
    assert_eq!(scratch.times("back.mkv").len(), 2, "read");
}

/// Runs the program with a file as standard input.
fn piped(scratch: &Scratch, input: &str, arguments: &str) -> Done {
    let mut command = scratch.program();
    command.args(arguments.split_whitespace()).write_stdin(scratch.read(input));
    Done::of(&mut command)
}

#[test]
fn a_pipe_gives_what_files_give() {
    let scratch = Scratch::new();
    for format in ["yuv420p", "yuv422p", "yuv444p", "gray", "yuv420p10le", "yuv444p12le", "gray16le"] {
        let source = "-f lavfi -i testsrc2=s=48x32:r=30000/1001 -frames:v 4";
        scratch.ffmpeg(&format!("{source} -pix_fmt {format} -strict -1 in.y4m"));
        scratch.subpel("upscale in.y4m file.y4m --overwrite --progress none").ends(0);
        let pipe = piped(&scratch, "in.y4m", "upscale - - --progress none").ends(0);
        assert!(pipe.out == scratch.read("file.y4m"), "{format}: bytes of the pipe and the file");
        scratch.write("pipe.y4m", &pipe.out);
        let stream = scratch.stream("pipe.y4m", "video");
        assert_eq!((&stream["pix_fmt"], &stream["width"]), (&format.into(), &96.into()), "{format}");
        assert_eq!(stream["r_frame_rate"], "30000/1001", "{format}: rate");
        assert_eq!(scratch.times("pipe.y4m").len(), 4, "{format}: frames");
        piped(&scratch, "in.y4m", "upscale - film.mkv --codec ffv1 --overwrite --progress none").ends(0);
        assert_eq!(scratch.pictures("film.mkv", Some(format)), scratch.pictures("file.y4m", Some(format)), "{format}");
    }
}

#[test]
fn only_the_video_goes_to_standard_output() {
    let scratch = Scratch::new();
    scratch.clip("in.mkv", "testsrc2=s=48x32:r=25", 3);
    let done = scratch.subpel("upscale in.mkv - --progress plain --scale 1 --method none").ends(0);
    assert!(done.out.starts_with(b"YUV4MPEG2 W48 H32 "), "header");
    assert_eq!(
        done.out.len() - done.out.iter().position(|b| *b == b'\n').expect("header line") - 1,
        3 * (6 + 48 * 32 * 3 / 2)
    );
    done.mentions(&["3 frames"]);
    let bad = piped(&scratch, "in.mkv", "upscale - -").ends(65);
    assert!(bad.out.is_empty(), "nothing is written for an input that is no y4m");
    bad.says(&["standard input"]);
}

#[test]
fn a_cut_pipe_gives_the_whole_frames() {
    let scratch = Scratch::new();
    scratch.ffmpeg("-f lavfi -i testsrc2=s=48x32:r=25 -frames:v 4 -pix_fmt yuv420p in.y4m");
    let bytes = scratch.read("in.y4m");
    scratch.write("cut.y4m", &bytes[..bytes.len() - 1000]);
    let done = piped(&scratch, "cut.y4m", "upscale - out.mkv --method bilinear").ends(3);
    done.mentions(&["damaged"]);
    assert_eq!(scratch.times("out.mkv").len(), 3, "frames");
}

#[test]
fn two_programs_in_a_pipe() {
    let scratch = Scratch::new();
    scratch.clip("in.mkv", "testsrc2=s=48x32:r=25", 5);
    let mut first = scratch.raw_program("upscale in.mkv - --method bicubic --scale 1.5 --progress none");
    let mut first = first.stdout(Stdio::piped()).spawn().expect("the program starts");
    let middle = first.stdout.take().expect("standard output");
    let mut second = scratch.raw_program("upscale - out.mkv --method bicubic --progress none --codec ffv1");
    let done = second.stdin(middle).output().expect("the program starts");
    assert!(first.wait().expect("the first ends").success(), "the first");
    assert!(done.status.success(), "the second: {}", String::from_utf8_lossy(&done.stderr));
    assert_eq!(
        (scratch.times("out.mkv").len(), &scratch.stream("out.mkv", "video")["width"]),
        (5, &144.into()),
        "result"
    );
}
