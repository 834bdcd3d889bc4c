//! `subpel metrics` as a program: its figures, its forms of output, pictures of different kinds, what it refuses.

#![allow(clippy::expect_used, reason = "a test stops at the first surprise")]

mod support;

use serde_json::Value;
use support::{Scratch, list, number, skipped};

/// A picture that moves, large enough for every metric.
const SOURCE: &str = "testsrc2=s=256x192:r=25";

impl Scratch {
    /// What `metrics ARGUMENTS --json` prints.
    fn metrics(&self, arguments: &str) -> Value {
        let text = self.subpel(&format!("metrics {arguments} --json")).ends(0).text();
        serde_json::from_str(&text).expect("JSON")
    }
}

/// A clip `a.mkv` and a spoilt one `b.mkv`, both Y'CbCr 4:2:0 of 8 bits and tagged BT.601.
fn pair() -> Scratch {
    let scratch = Scratch::new();
    let tags = "-pix_fmt yuv420p -colorspace smpte170m -color_range tv -c:v ffv1";
    scratch.ffmpeg(&format!("-f lavfi -i {SOURCE} -frames:v 4 {tags} a.mkv"));
    scratch.ffmpeg(&format!("-i a.mkv -vf gblur=0.8 {tags} b.mkv"));
    scratch
}

#[test]
fn every_form_of_output_holds_the_same_figures() {
    let scratch = pair();
    scratch.ffmpeg("-i a.mkv -vf scale=128:96:flags=bicubic -c:v ffv1 low.mkv");
    let json = scratch.metrics("b.mkv a.mkv --input low.mkv");
    let names = ["psnr_y", "psnr_rgb", "ssim_y", "ms_ssim_y", "fidelity", "temporal", "edge_width"];
    for name in names {
        assert!(number(&json[name]).is_finite() && json["worst"][name].is_f64(), "{name} in {json}");
    }
    assert!(json.get("niqe").is_none() && json.get("vmaf").is_none(), "not asked for: {json}");
    let rows = list(&json["per_frame"]);
    assert_eq!((rows.len(), &json["frames"]), (4, &4.into()), "frames");
    assert!(rows[0].get("temporal").is_none() && rows[1]["temporal"].is_f64(), "the first frame has none before it");
    let least = rows.iter().map(|row| number(&row["psnr_y"])).fold(f64::INFINITY, f64::min);
    assert_eq!(number(&json["psnr_y_min"]), least, "the worst frame");

    let text = scratch.subpel("metrics b.mkv a.mkv --input low.mkv --csv -").ends(0).text();
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(lines[0], [&["frame"], &names[..]].concat(), "heading");
    for (line, row) in lines[1..].iter().zip(rows) {
        for (field, name) in line[1..].iter().zip(names) {
            let (field, want) = (field.parse::<f64>().ok(), row[name].as_f64());
            // Numbers in JSON are read to the last bit but one.
            let same = field.zip(want).map_or(field == want, |(a, b)| (a - b).abs() <= 1e-12 * b.abs());
            assert!(same, "{name} in {line:?}, not {want:?}");
        }
    }
    let table = scratch.subpel("metrics b.mkv a.mkv --input low.mkv --csv out.csv").ends(0).text();
    assert_eq!(scratch.read("out.csv"), text.as_bytes(), "the file");
    assert!(table.contains(&format!("{:.3}", number(&json["psnr_y"]))) && table.contains("4 frames"), "{table}");
    assert!(table.lines().all(|line| line.chars().count() <= 100), "{table}");
    scratch.subpel("metrics b.mkv a.mkv --csv out.csv").ends(73).says(&["out.csv", "exists already"]);
    scratch.subpel("metrics b.mkv a.mkv --csv out.csv --overwrite").ends(0);
}

#[test]
fn identical_clips_are_perfect_and_without_a_truth_there_are_figures_too() {
    let scratch = pair();
    let json = scratch.metrics("a.mkv a.mkv --input a.mkv");
    let of = |name: &str| number(&json[name]);
    assert_eq!([of("psnr_y"), of("psnr_rgb"), of("fidelity"), of("psnr_y_min")], [99.0; 4], "{json}");
    assert_eq!([of("ssim_y"), of("ms_ssim_y"), of("temporal")], [1.0, 1.0, 0.0], "{json}");
    let json = scratch.metrics("b.mkv --input a.mkv");
    assert!(json.get("psnr_y").is_none() && json.get("psnr_y_min").is_none(), "no truth: {json}");
    assert!(number(&json["fidelity"]) < 99.0 && json["temporal"].is_f64() && json["edge_width"].is_f64(), "{json}");
    let (sharp, soft) = (scratch.metrics("a.mkv"), scratch.metrics("b.mkv"));
    assert!(number(&sharp["edge_width"]) < number(&soft["edge_width"]), "{sharp} {soft}");
}

/// The same picture stored in other ways is the same picture, to the rounding of the way.
#[test]
fn pixel_formats_that_differ_are_compared_as_what_they_mean() {
    let scratch = pair();
    let exact = "-sws_flags accurate_rnd+full_chroma_int+bitexact";
    let tags = "-colorspace smpte170m -c:v ffv1";
    scratch.ffmpeg(&format!("-i a.mkv {exact} -pix_fmt yuv420p10le {tags} -color_range tv deep.mkv"));
    scratch.ffmpeg(&format!(
        "-i a.mkv {exact} -vf scale=in_range=tv:out_range=pc:in_color_matrix=bt601:out_color_matrix=bt601 -pix_fmt yuv420p {tags} -color_range pc full.mkv"
    ));
    scratch.ffmpeg(&format!("-i a.mkv {exact} -pix_fmt yuv444p {tags} -color_range tv whole.mkv"));
    scratch.ffmpeg(&format!(
        "-i whole.mkv {exact} -vf scale=in_range=tv:in_color_matrix=bt601 -pix_fmt gbrp -c:v ffv1 rgb.mkv"
    ));
    scratch.ffmpeg(&format!(
        "-i rgb.mkv {exact} -vf scale=out_color_matrix=bt709:out_range=tv -pix_fmt yuv444p -colorspace bt709 -color_range tv -c:v ffv1 other.mkv"
    ));
    // Y is the same but for rounding; chroma that was made larger or smaller on the way is not.
    for (name, luma, color) in
        [("deep", 60.0, 60.0), ("full", 50.0, 45.0), ("whole", 99.0, 27.0), ("rgb", 46.0, 27.0), ("other", 46.0, 27.0)]
    {
        let json = scratch.metrics(&format!("{name}.mkv a.mkv --metrics psnr_y,psnr_rgb"));
        let (y, rgb) = (number(&json["psnr_y"]), number(&json["psnr_rgb"]));
        assert!(y >= luma && rgb >= color, "{name}: {y} dB of luma, {rgb} of colour");
    }
    let json = scratch.metrics("other.mkv rgb.mkv --metrics psnr_y,psnr_rgb");
    assert!(number(&json["psnr_rgb"]) > 45.0 && number(&json["psnr_y"]) > 45.0, "two matrices: {json}");
}

#[test]
fn what_cannot_be_compared_is_refused_in_one_message() {
    let scratch = pair();
    scratch.clip("long.mkv", SOURCE, 6);
    scratch.clip("large.mkv", "testsrc2=s=320x192:r=25", 4);
    scratch.write("no.json", "{\"mean\": []}");
    let rows: &[(&str, i32, &[&str])] = &[
        ("metrics", 2, &["<A>"]),
        ("metrics a.mkv large.mkv", 65, &["a.mkv", "256x192", "large.mkv", "320x192"]),
        ("metrics a.mkv long.mkv", 65, &["a.mkv", "4 frames", "long.mkv"]),
        ("metrics a.mkv a.mkv --input long.mkv", 65, &["a.mkv", "4 frames", "long.mkv"]),
        ("metrics a.mkv b.mkv --metrics psnr", 2, &["'psnr'", "psnr_y"]),
        ("metrics a.mkv b.mkv --metrics niqe", 2, &["--niqe-model"]),
        ("metrics a.mkv b.mkv --metrics fidelity", 2, &["--input"]),
        ("metrics a.mkv --metrics psnr_y", 2, &["psnr_y", "B"]),
        ("metrics a.mkv --metrics temporal", 2, &["--input"]),
        ("metrics a.mkv b.mkv --niqe-model no.json", 65, &["no.json", "no NIQE model"]),
        ("metrics a.mkv b.mkv --niqe-model none.json", 65, &["none.json"]),
        ("metrics a.mkv b.mkv --json --csv -", 2, &["--csv -"]),
        ("metrics --fit-niqe a.mkv", 2, &["--output"]),
        ("metrics a.mkv b.mkv --crop 96", 2, &["--crop 96", "256x192"]),
    ];
    for (arguments, code, parts) in rows {
        scratch.subpel(arguments).ends(*code).says(parts);
    }
    scratch.clip("few.mkv", SOURCE, 1);
    scratch.subpel("metrics --fit-niqe few.mkv -o model.json").ends(65).says(&["sharp patches", "too few"]);
    assert!(!scratch.path("model.json").exists(), "no model");
}

#[test]
fn clips_whose_frames_are_shown_at_other_times_are_compared_in_order_with_a_warning() {
    let scratch = pair();
    scratch.ffmpeg("-i a.mkv -vf setpts=PTS+gt(N\\,1)*0.1/TB -fps_mode passthrough -c:v ffv1 late.mkv");
    let done = scratch.subpel("metrics late.mkv a.mkv --json").ends(0).mentions(&["in order", "frame 2"]);
    let json: Value = serde_json::from_str(&done.text()).expect("JSON");
    assert_eq!(json["psnr_y"], 99.0, "the same pictures");
    assert_eq!(done.err.lines().count(), 1, "said once:\n{}", done.err);
}

#[test]
fn a_niqe_model_is_fitted_and_used() {
    let scratch = Scratch::new();
    // Noise of several kinds and edges: something that every patch has its own features of.
    let noise =
        "-f lavfi -i mandelbrot=s=480x384:rate=5 -frames:v 12 -vf noise=alls=12:allf=t -pix_fmt yuv420p -c:v ffv1";
    scratch.ffmpeg(&format!("{noise} natural.mkv"));
    scratch.ffmpeg("-i natural.mkv -frames:v 2 -c:v ffv1 some.mkv");
    scratch.ffmpeg("-i natural.mkv -frames:v 2 -vf gblur=2 -c:v ffv1 soft.mkv");
    let text = scratch.subpel("metrics --fit-niqe natural.mkv -o model.json").ends(0).text();
    assert!(text.starts_with("12 pictures, "), "{text}");
    scratch.subpel("metrics --fit-niqe natural.mkv -o model.json").ends(73).says(&["model.json", "exists already"]);
    let score = |name: &str| number(&scratch.metrics(&format!("{name} --niqe-model model.json"))["niqe"]);
    let (own, soft) = (score("some.mkv"), score("soft.mkv"));
    assert!(own > 0.0 && soft > 2.0 * own, "NIQE {own}, blurred {soft}");
}

/// Against libvmaf run by hand on the same two files: equal to 1e-6, as both get the same 8-bit luma.
#[test]
fn vmaf_is_that_of_the_filter_on_the_files_themselves() {
    let scratch = pair();
    let plain = "-lavfi [0:v][1:v]libvmaf=log_fmt=json:log_path=log.json -f null -";
    if !scratch.try_ffmpeg(&format!("-i b.mkv -i a.mkv {plain}")) {
        let done =
            scratch.subpel("metrics b.mkv a.mkv --metrics psnr_y,vmaf --json").ends(0).mentions(&["VMAF", "libvmaf"]);
        let json: Value = serde_json::from_str(&done.text()).expect("JSON");
        assert!(json.get("vmaf").is_none() && json["psnr_y"].is_f64(), "{json}");
        skipped("VMAF's figures: this ffmpeg has no filter libvmaf");
        return;
    }
    let log: Value = serde_json::from_slice(&scratch.read("log.json")).expect("JSON");
    let json = scratch.metrics("b.mkv a.mkv --metrics psnr_y,vmaf");
    let (want, got) = (list(&log["frames"]), list(&json["per_frame"]));
    assert_eq!((want.len(), got.len()), (4, 4), "frames");
    for (want, got) in want.iter().zip(got) {
        let (want, got) = (number(&want["metrics"]["vmaf"]), number(&got["vmaf"]));
        assert!((want - got).abs() < 1e-6, "{got}, not {want}");
    }
}
