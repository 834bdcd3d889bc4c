//! A comparison as `compare` would find it: real enlargements of the sample clip, figures made up.

use crate::support::Scratch;
use std::sync::OnceLock;
use subpel::metrics::Scores;
use subpel::report::{Advice, Clip, Comparison, Crop, FrameScores, MethodResult, Shot, Test, Truth};

pub(crate) const METHODS: [&str; 5] = ["bicubic", "lanczos", "map", "none+builtin", "map+builtin"];
/// Frames with pictures.
pub(crate) const SHOTS: [u64; 4] = [4, 12, 20, 27];
const FRAMES: u64 = 32;

/// Three tests of five methods on the sample clip, pictures and all.
pub(crate) fn comparison() -> Comparison {
    static MADE: OnceLock<Comparison> = OnceLock::new();
    MADE.get_or_init(make).clone()
}

fn make() -> Comparison {
    let scratch = Scratch::new();
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/samples/clip.mkv");
    scratch.ffmpeg(&format!("-i {source} -an -sn -frames:v {FRAMES} -c:v ffv1 truth.mkv"));
    scratch.ffmpeg("-i truth.mkv -vf scale=160:90:flags=bicubic -c:v ffv1 bi.mkv");
    scratch.ffmpeg("-i truth.mkv -vf gblur=sigma=0.8,scale=160:90:flags=neighbor -c:v ffv1 bd.mkv");
    let tests = vec![
        made(&scratch, "recovery-bi", "Recovery, bicubic", "bi", true, 0.0),
        made(&scratch, "recovery-bd", "Recovery, blurred", "bd", true, -1.3),
        made(&scratch, "real", "Real enlargement", "truth", false, 0.0),
    ];
    Comparison {
        program: "subpel 0.1.0".to_owned(),
        input: Clip {
            name: "clip.mkv".to_owned(),
            width: 320,
            height: 180,
            frames: FRAMES,
            rate: 24.0,
            format: "H.264, 8 bit 4:2:0".to_owned(),
        },
        scale: 2.0,
        tests,
        notes: Vec::new(),
        advice: Advice {
            method: "map+builtin".to_owned(),
            command: "subpel upscale clip.mkv clip-x2.mkv --method map --refine builtin --scale 2".to_owned(),
            reasons: vec![
                "It restores most of what was taken away: PSNR-Y 33.42 dB against 31.06 dB of bicubic.".to_owned(),
                "It stays with what the camera saw: reduced again, it differs from the input by 48.1 dB, the best of all.".to_owned(),
                "It does not flicker: its temporal error of 0.61 is that of the input.".to_owned(),
                "The clip moves by fractions of a pixel, so that 87 % of the picture comes from several frames.".to_owned(),
            ],
        },
    }
}

/// One test: results of all methods on `input`.mkv.
fn made(scratch: &Scratch, key: &str, title: &str, input: &str, truth: bool, offset: f64) -> Test {
    let size = if truth { (320, 180) } else { (640, 360) };
    enlarge(scratch, key, input);
    scratch.ffmpeg(&format!("-i {input}.mkv -vf scale={}:{}:flags=neighbor -c:v ffv1 {key}-input.mkv", size.0, size.1));
    let mut shown: Vec<(String, String)> =
        METHODS.iter().map(|name| ((*name).to_owned(), format!("{key}-{name}.mkv"))).collect();
    if truth {
        shown.push(("truth".to_owned(), "truth.mkv".to_owned()));
    }
    shown.push(("input".to_owned(), format!("{key}-input.mkv")));
    let pictures = |frame: u64, crop: Option<(usize, usize, usize, usize)>| {
        shown.iter().map(|(name, file)| (name.clone(), picture(scratch, file, frame, crop))).collect()
    };
    let k = size.0 / 320;
    let areas = [(12, (34, 40, 64, 64)), (20, (190, 96, 64, 64)), (4, (120, 20, 64, 64))];
    let crop = |(frame, (x, y, w, h)): (u64, (usize, usize, usize, usize))| {
        let area = (x * k, y * k, w * k, h * k);
        Crop { frame, area, pictures: pictures(frame, Some(area)) }
    };
    Test {
        key: key.to_owned(),
        title: title.to_owned(),
        explanation: match truth {
            true => "The input was reduced to 160 × 90 and every method brought it back to 320 × 180. What it restores here is what it can restore.",
            false => "The input as it is, enlarged twice. Figures that need a truth are left out.",
        }
        .to_owned(),
        truth: if truth { Truth::Recovery(format!("reduced by {}", &title[10..])) } else { Truth::Nothing },
        size,
        methods: METHODS.iter().enumerate().map(|(n, name)| result(n, name, truth, offset, FRAMES)).collect(),
        shots: SHOTS.iter().map(|&frame| Shot { frame, pictures: pictures(frame, None) }).collect(),
        crops: areas.map(crop).into(),
    }
}

fn enlarge(scratch: &Scratch, key: &str, input: &str) {
    for method in METHODS {
        let (fusion, network) = method.split_once('+').map_or((method, None), |(f, n)| (f, Some(n)));
        let refine = network.map_or(String::new(), |n| format!("--refine {n}"));
        let options = format!("--method {fusion} {refine} --scale 2 --codec ffv1 --overwrite");
        scratch.subpel(&format!("upscale {input}.mkv {key}-{method}.mkv {options}")).ends(0);
    }
}

/// One frame of a file as PNG, or a part of it.
fn picture(scratch: &Scratch, file: &str, frame: u64, crop: Option<(usize, usize, usize, usize)>) -> Vec<u8> {
    let part = crop.map_or(String::new(), |(x, y, w, h)| format!(",crop={w}:{h}:{x}:{y}"));
    scratch.ffmpeg(&format!("-i {file} -vf select=eq(n\\,{frame}){part} -frames:v 1 -pix_fmt rgb24 picture.png"));
    scratch.read("picture.png")
}

/// Figures of the method at place `n`, made up: later methods are better and slower.
pub(crate) fn result(n: usize, name: &str, truth: bool, offset: f64, frames: u64) -> MethodResult {
    let per_frame: Vec<FrameScores> = (0..frames).map(|frame| frame_scores(n, truth, offset, frame)).collect();
    let mean = |of: fn(&Scores) -> Option<f64>| {
        let values: Vec<f64> = per_frame.iter().filter_map(|f| of(&f.scores)).collect();
        (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
    };
    let mean = Scores {
        psnr_y: mean(|s| s.psnr_y),
        psnr_rgb: mean(|s| s.psnr_rgb),
        ssim_y: mean(|s| s.ssim_y),
        ms_ssim_y: mean(|s| s.ms_ssim_y),
        fidelity: mean(|s| s.fidelity),
        temporal: mean(|s| s.temporal),
        edge_width: mean(|s| s.edge_width),
        niqe: None,
        vmaf: None,
    };
    MethodResult {
        name: name.to_owned(),
        command: format!("subpel upscale clip.mkv clip-x2.mkv --method {}", name.replace('+', " --refine ")),
        external: false,
        psnr_y_min: per_frame.iter().filter_map(|f| f.scores.psnr_y).reduce(f64::min),
        mean,
        per_frame,
        frames_per_second: Some([212.0, 187.0, 31.4, 9.7, 6.2][n.min(4)]),
        peak_memory: Some([38_000_000, 38_400_000, 121_000_000, 164_000_000, 241_000_000][n.min(4)]),
        failed: None,
    }
}

fn frame_scores(n: usize, truth: bool, offset: f64, frame: u64) -> FrameScores {
    let noise = |salt: u64| {
        let mixed = (frame * 31 + n as u64 * 7 + salt).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
        mixed as f64 / f64::from(1 << 24) - 0.5
    };
    let wave = (frame as f64 / 9.0).sin();
    let gain = [0.0, 0.35, 1.6, 1.1, 2.4][n % 5];
    let psnr = 31.0 + gain + offset + 0.8 * wave + 0.3 * noise(1) - if frame % 97 == 19 { 2.2 } else { 0.0 };
    let of_truth = |value: f64| truth.then_some(value);
    let several = [2, 4].contains(&(n % 5));
    FrameScores {
        frame,
        scores: Scores {
            psnr_y: of_truth(psnr),
            psnr_rgb: of_truth(psnr - 1.9),
            ssim_y: of_truth(0.90 + 0.018 * gain + 0.004 * wave),
            ms_ssim_y: of_truth(0.975 + 0.006 * gain + 0.001 * noise(5)),
            fidelity: Some(38.0 + 4.2 * gain + 0.4 * noise(2)),
            temporal: (frame > 0).then_some(1.3 - 0.28 * gain + 0.15 * noise(3)),
            edge_width: Some(3.1 - 0.4 * gain + 0.05 * noise(4)),
            niqe: None,
            vmaf: None,
        },
        motion: (several && frame > 0).then_some(0.6 + 0.4 * wave),
        confidence: (several && frame > 0).then_some(0.93 + 0.05 * noise(6)),
        multi_frame_share: several.then_some(0.87 + 0.06 * wave),
    }
}

/// A comparison without pictures: `count` methods, one test, `frames` frames.
pub(crate) fn figures_only(count: usize, frames: u64) -> Comparison {
    let method = |n: usize| result(n, &format!("method-{n}"), true, 0.0, frames);
    let test = Test {
        key: "reference".to_owned(),
        title: "Against the reference".to_owned(),
        explanation: "Every method enlarged the input.".to_owned(),
        truth: Truth::Reference("hr.mkv".to_owned()),
        size: (640, 360),
        methods: (0..count).map(method).collect(),
        shots: Vec::new(),
        crops: Vec::new(),
    };
    Comparison {
        program: "subpel 0.1.0".to_owned(),
        input: Clip { name: "long.mkv".to_owned(), width: 320, height: 180, frames, rate: 25.0, format: String::new() },
        scale: 2.0,
        tests: vec![test],
        advice: Advice::default(),
        notes: Vec::new(),
    }
}
