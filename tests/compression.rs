//! How strongly frames were compressed: what decoders tell against what was lost.

#![allow(clippy::expect_used, reason = "a test stops at the first surprise")]

mod support;

use std::path::Path;

use subpel::InputSpec;
use subpel::kernels::CpuLevel;
use subpel::media::VideoReader;
use support::Scratch;

/// Root mean square of the difference of two files' luma, and of the coding error expected of the second's frames.
fn coding_errors(scratch: &Scratch, source: &str, coded: &str) -> (f64, Option<f64>) {
    let open = |name: &str| {
        VideoReader::open_with_coding(&InputSpec::local(scratch.path(name)), 0, CpuLevel::detect())
            .expect("the file is readable")
    };
    let (mut source, mut coded) = (open(source), open(coded));
    let (mut real, mut expected) = (Vec::new(), Vec::new());
    while let (Some(a), Some(b)) = (source.next_frame().expect("a frame"), coded.next_frame().expect("a frame")) {
        let squares = a.planes[0].iter().zip(&b.planes[0]).map(|(a, b)| f64::from(a - b).powi(2));
        real.push(squares.sum::<f64>() / a.planes[0].len() as f64);
        expected.extend(b.coding.as_ref().map(|c| f64::from(c.deviation).powi(2)));
        let (height, width) = b.planes[0].dim();
        let blocks = b.coding.and_then(|c| c.blocks).map(|blocks| blocks.dim());
        assert!(blocks.is_none_or(|dim| dim == (height.div_ceil(16), width.div_ceil(16))), "{blocks:?} blocks");
    }
    let mean = |all: &[f64]| (all.iter().sum::<f64>() / all.len() as f64).sqrt();
    (mean(&real), (!expected.is_empty()).then(|| mean(&expected)))
}

#[test]
fn the_expected_coding_error_is_near_the_real_one() {
    let scratch = Scratch::new();
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples/clip.mkv");
    scratch.ffmpeg(&format!("-i {} -map 0:v -frames:v 24 -c:v ffv1 source.mkv", sample.display()));
    assert_eq!(coding_errors(&scratch, "source.mkv", "source.mkv").1, None, "a codec without loss");
    let codings = ["libx264 -crf 18", "libx264 -crf 30", "mpeg4 -q:v 4", "mpeg2video -q:v 12", "flv -q:v 8"];
    for (i, coding) in codings.iter().enumerate() {
        let name = format!("{i}.mkv");
        if !scratch.try_ffmpeg(&format!("-i source.mkv -c:v {coding} {name}")) {
            continue;
        }
        let (real, expected) = coding_errors(&scratch, "source.mkv", &name);
        let expected = expected.unwrap_or_else(|| panic!("{coding}: the decoder tells nothing"));
        let ratio = expected / real;
        assert!((0.75..1.33).contains(&ratio), "{coding}: expected {expected:.2}, it is {real:.2}");
    }
}

#[test]
fn the_expected_coding_error_does_not_depend_on_threads() {
    for coding in ["libx264 -crf 28 -bf 3", "mpeg4 -q:v 8 -bf 2", "libvpx-vp9 -crf 40 -b:v 0"] {
        errors_do_not_depend_on_threads(coding);
    }
}

fn errors_do_not_depend_on_threads(coding: &str) {
    let scratch = Scratch::new();
    if !scratch.try_ffmpeg(&format!("-f lavfi -i testsrc2=s=320x240:r=25:d=2 -c:v {coding} clip.mkv")) {
        return;
    }
    let errors = |threads: usize| {
        let clip = InputSpec::local(scratch.path("clip.mkv"));
        let mut reader =
            VideoReader::open_with_coding(&clip, threads, CpuLevel::detect()).expect("the file is readable");
        let mut errors = Vec::new();
        while let Some(frame) = reader.next_frame().expect("a frame") {
            errors.push(frame.coding.map(|coding| coding.deviation.to_bits()));
        }
        errors
    };
    let wanted = errors(1);
    assert_eq!(wanted.len(), 50);
    // The decoder of MPEG-4 tells nothing of the last picture.
    assert!(wanted.iter().flatten().count() >= 49, "{coding}: {wanted:?}");
    for threads in [2, 4, 8, 8, 8] {
        assert_eq!(errors(threads), wanted, "{coding}: {threads} threads");
    }
}
