//! The same bits for any number of threads, any CPU level, and every time.

#![allow(clippy::expect_used, reason = "a test stops at the first surprise")]

mod support;

use std::path::Path;

use support::{Done, Scratch, skipped};

/// Checksums of the frames that `arguments` give for a part of the sample clip.
fn frames(scratch: &Scratch, arguments: &str, level: Option<&str>) -> Vec<String> {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples/clip.mkv");
    let mut command = scratch.program();
    command.arg("upscale").arg(sample).arg("out.mkv");
    command.args("--overwrite --codec ffv1 --progress none".split(' ')).args(arguments.split_whitespace());
    match level {
        Some(level) => command.env("SUBPEL_CPU", level),
        None => command.env_remove("SUBPEL_CPU"),
    };
    Done::of(&mut command).ends(0);
    scratch.pictures("out.mkv", None)
}

/// Asserts that all ways of running give the same frames, `count` of them.
fn assert_same_everywhere(arguments: &str, count: usize) {
    let scratch = Scratch::new();
    let wanted = frames(&scratch, &format!("{arguments} --threads 1"), None);
    assert_eq!(wanted.len(), count, "frames");
    for (threads, level) in
        [(1, None), (2, None), (5, None), (2, Some("scalar")), (1, Some("avx2")), (0, Some("avx512"))]
    {
        if level.is_some_and(|level| !has(level)) {
            skipped(&format!("this machine has no {level:?}"));
            continue;
        }
        let got = frames(&scratch, &format!("{arguments} --threads {threads}"), level);
        assert_eq!(got, wanted, "{arguments} with {threads} threads, CPU level {level:?}");
    }
}

fn has(level: &str) -> bool {
    subpel::kernels::CpuLevel::available().iter().any(|l| l.name() == level)
}

#[test]
fn reconstruction_gives_the_same_bits() {
    assert_same_everywhere("--method ibp --frames 12", 12);
}

#[test]
fn reconstruction_around_a_scene_cut_gives_the_same_bits() {
    // The sample's cut is at frame 56, 24 frames a second.
    assert_same_everywhere("--method ibp --preset fast --start 2.2 --frames 8", 8);
}

#[test]
fn fractional_scales_give_the_same_bits() {
    assert_same_everywhere("--method ibp --scale 1.5 --window 1 --frames 5", 5);
}

#[test]
fn drafts_give_the_same_bits() {
    assert_same_everywhere("--method map --preset best --frames 5", 5);
    assert_same_everywhere("--method map --scale 3 --window 1 --frames 3", 3);
}

#[test]
fn interpolation_gives_the_same_bits() {
    assert_same_everywhere("--method lanczos --scale 2.7 --frames 20", 20);
    assert_same_everywhere("--method bicubic --size 700x400 --frames 10", 10);
}

#[test]
fn an_excerpt_has_the_bits_of_the_whole() {
    let scratch = Scratch::new();
    let whole = frames(&scratch, "--method ibp --window 2 --frames 16", None);
    let part = frames(&scratch, "--method ibp --window 2 --start 0.25 --frames 8", None);
    // Two frames at each end have another window.
    assert_eq!(part[2..6], whole[8..12], "frames 8 to 11");
}

#[test]
fn motion_is_the_same_for_any_number_of_threads() {
    let scratch = Scratch::new();
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples/clip.mkv");
    let measured = |threads: &str, level: &str| {
        let mut command = scratch.program();
        command.env("SUBPEL_CPU", level).args(["motion", "--json", "--threads", threads]).arg(&sample);
        Done::of(&mut command).ends(0).text()
    };
    let wanted = measured("1", "scalar");
    assert_eq!(wanted.lines().count(), 96, "frames");
    assert_eq!(measured("3", "scalar"), wanted, "three threads");
    assert_eq!(measured("2", "avx512"), wanted, "the best CPU level");
}

#[test]
fn an_encoded_file_is_the_same_every_time() {
    let scratch = Scratch::new();
    scratch.clip("in.mkv", "testsrc2=s=64x48:r=25", 10);
    for name in ["a.mp4", "b.mp4"] {
        scratch.subpel(&format!("upscale in.mkv {name} --threads 2 --progress none")).ends(0);
    }
    assert_eq!(scratch.packets("a.mp4", "0:v"), scratch.packets("b.mp4", "0:v"), "packets");
}

#[test]
fn networks_give_the_same_bits() {
    assert_same_everywhere("--method none --refine builtin --scale 4 --frames 3", 3);
    assert_same_everywhere("--refine builtin --scale 3 --window 1 --frames 3", 3);
    assert_same_everywhere("--method bicubic --refine builtin --tile 64 --frames 2", 2);
}
