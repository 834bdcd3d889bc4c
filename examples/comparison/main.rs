//! Writes docs/comparison.md: `cargo run --release --example comparison [FOLDER OF CLIPS]`, or `make comparison`.
//!
//! Every clip is made smaller and recovered by the methods of this project and by what a user would take instead from
//! FFmpeg, run as commands; `subpel::compare` measures all alike. Clips are those of `../shared/data` as far as they are
//! there, and the project's own sample, of which the page also shows a part.

#![allow(clippy::expect_used, reason = "a measurement that cannot start has nothing to say")]
#![allow(clippy::print_stdout, reason = "progress is for whoever waits")]

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use subpel::InputSpec;
use subpel::compare::{Contender, Request, Watch, compare};
use subpel::report::{Comparison, MethodResult, Test, Truth};

/// A clip below the folder, the scale it is recovered by, and frames that are used.
const CLIPS: [(&str, f64, u64); 4] = [
    ("vsr_gt/vid4_city_GT.mkv", 4.0, 16),
    ("vsr_gt/vid4_walk_GT.mkv", 4.0, 16),
    ("vsr_gt/vid4_city_GT.mkv", 2.0, 16),
    ("film/chaplin.mp4", 2.0, 24),
];
const SAMPLE: &str = "samples/clip.mkv";
/// Where pictures go, and columns of the part that is shown.
const PICTURES: &str = "docs/comparison";

fn contenders(scale: f64) -> Vec<Contender> {
    let mut all = Contender::usual();
    let filters = [
        ("FFmpeg bicubic", format!("scale=iw*{scale}:ih*{scale}:flags=bicubic+accurate_rnd+full_chroma_int")),
        ("FFmpeg lanczos", format!("scale=iw*{scale}:ih*{scale}:flags=lanczos+accurate_rnd+full_chroma_int")),
        ("FFmpeg spline", format!("scale=iw*{scale}:ih*{scale}:flags=spline+accurate_rnd+full_chroma_int")),
        ("FFmpeg xbr", format!("xbr=n={scale}")),
    ];
    for (name, filter) in filters {
        let line = format!("ffmpeg -v error -nostdin -i {{in}} -vf {filter} -c:v ffv1 {{out}}");
        all.push(Contender::command(name, &line).expect("a command"));
    }
    all
}

fn compared(path: &Path, scale: f64, frames: u64, pictures: bool) -> Comparison {
    let request = Request {
        contenders: contenders(scale),
        scale: Some(scale),
        frames: Some(0..frames),
        enlargement: false,
        pictures,
        ..Request::new(InputSpec::local(path))
    };
    println!("{} x{scale}", path.display());
    compare(&request, &Watch::default()).expect("a comparison").comparison
}

/// PSNR-Y and SSIM-Y of every test with a truth, and what the last test takes.
fn table(comparison: &Comparison) -> String {
    let judged: Vec<&Test> = comparison.tests.iter().filter(|test| test.truth != Truth::Nothing).collect();
    let mut text = String::from("| method |");
    judged.iter().for_each(|test| text += &format!(" {} |", test.title.trim_start_matches("Recovered ")));
    text += " flicker | edges | fps | MiB |\n|---|";
    text += &"---|".repeat(judged.len() + 4);
    text.push('\n');
    let Some(last) = comparison.tests.last() else { return text };
    for method in &last.methods {
        let _ = write!(text, "| {} |", method.name);
        for test in &judged {
            let mean = test.methods.iter().find(|m| m.name == method.name).map(|m| m.mean).unwrap_or_default();
            match (mean.psnr_y, mean.ssim_y) {
                (Some(psnr), Some(ssim)) => text += &format!(" {psnr:.2} / {ssim:.4} |"),
                _ => text += " - |",
            }
        }
        text += &costs(method);
    }
    text
}

fn costs(method: &MethodResult) -> String {
    let figure = |value: Option<f64>, decimals: usize| value.map_or("-".into(), |v| format!("{v:.decimals$}"));
    let memory = method.peak_memory.map(|bytes| (bytes >> 20) as f64);
    format!(
        " {} | {} | {} | {} |\n",
        figure(method.mean.temporal, 2),
        figure(method.mean.edge_width, 2),
        figure(method.frames_per_second, 1),
        figure(memory, 0)
    )
}

/// The part of the sample where methods differ most, as files and a row of a table.
fn pictures(comparison: &Comparison) -> String {
    fs::create_dir_all(PICTURES).expect("a folder for pictures");
    let test = comparison.tests.iter().find(|test| test.key == "recovery-gaussian");
    let Some(crop) = test.and_then(|test| test.crops.first()) else { return String::new() };
    let (mut head, mut row) = (String::from("|"), String::from("|"));
    for (name, bytes) in &crop.pictures {
        let file = format!("{}.png", name.replace([' ', '+'], "-"));
        fs::write(Path::new(PICTURES).join(&file), bytes).expect("a picture");
        head += &format!(" {name} |");
        row += &format!(" ![{name}](comparison/{file}) |");
    }
    format!("{head}\n|{}\n{row}\n", "---|".repeat(crop.pictures.len()))
}

fn main() {
    let folder = std::env::args_os().nth(1).map_or_else(|| PathBuf::from("../shared/data"), PathBuf::from);
    let mut text = String::from(HEAD);
    let sample = compared(Path::new(SAMPLE), 2.0, 24, true);
    let _ = write!(text, "\n## The project's sample, x2\n\n{}\n{}", table(&sample), pictures(&sample));
    for (name, scale, frames) in CLIPS {
        let path = folder.join(name);
        if !path.is_file() {
            println!("skipped: {} is not there", path.display());
            continue;
        }
        let comparison = compared(&path, scale, frames, false);
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let _ = write!(text, "\n## {stem}, x{scale}, first {frames} frames\n\n{}", table(&comparison));
        for note in &comparison.notes {
            let _ = write!(text, "\n{note}.\n");
        }
        let _ = write!(text, "\nThe program's advice: {}\n", comparison.advice.reasons.join(" "));
    }
    fs::write("docs/comparison.md", text).expect("the page");
}

const HEAD: &str = "# Comparison

Made by `make comparison`; the figures are what it printed on one machine with two cores that other programs used
too, so speeds are for comparing within a table. Every clip was made smaller (bicubic: antialiased cubic; Gaussian:
0.4 small pixels; as coded: bicubic, then H.264 as strongly compressed as the clip itself) and recovered, the clip
being the truth: PSNR-Y in dB / SSIM-Y, 8 pixels of border left out. Flicker (temporal error, code values), edges
(10 to 90 %, pixels), frames a second and memory are of the last of these tests. FFmpeg's methods were run as
commands; its memory is what the system told of the process while it ran.

`none+builtin` and `map+builtin` use the network that is part of the program. It was trained on drawn shapes, not on
photographs. `xbr` is made for pixel art.

How to read it, and how the program comes to its advice:

- Methods run in turn in one process, so time and memory are their own; time includes decoding and lossless encoding.
- Advice goes by PSNR-Y over Lanczos in the mean of these tests, \"as coded\" weighing as much as the others together;
  nothing below Lanczos is advised; of methods within 0.1 dB the cheapest is (src/compare/advice.rs has the rules).
- Which tests stand for a clip is an assumption: nobody knows how it would have looked larger. A method that is better
  in all of them is better; where they differ, the one that is nearest to how the clip was made counts most.
";
