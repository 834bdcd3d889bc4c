//! `subpel metrics`: how far one video is from another.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::values::InputOptions;
use super::{Outcome, print_line, text};
use crate::color::{Coding, studio_luma};
use crate::error::{Error, Kind, Result};
use crate::frame::{ColorFamily, Frame, PictureLayout, Plane};
use crate::kernels::CpuLevel;
use crate::media::VideoReader;
use crate::metrics::{psnr, ssim};

/// PSNR and SSIM of A against B, frame by frame and mean
///
/// Measured on luma, studio range, peak 255: the file's own Y, or Y of RGB by the tagged matrix. Identical frames
/// count as 99 dB.
#[derive(Args, Debug)]
pub(super) struct Metrics {
    /// Video to judge
    #[arg(value_name = "A")]
    distorted: PathBuf,

    /// Video that is right
    #[arg(value_name = "B")]
    reference: PathBuf,

    /// Pixels left out at each border
    #[arg(long, value_name = "N", default_value_t = 0)]
    crop: usize,

    /// One JSON object: frames, psnr_y, ssim_y, psnr_y_min, per_frame
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    reading: InputOptions,
}

/// PSNR of identical frames.
const IDENTICAL: f64 = 99.0;

#[derive(Serialize)]
struct FrameScore {
    frame: u64,
    psnr_y: f64,
    ssim_y: f64,
}

#[derive(Serialize)]
struct Scores {
    frames: usize,
    psnr_y: f64,
    ssim_y: f64,
    psnr_y_min: f64,
    per_frame: Vec<FrameScore>,
}

impl Metrics {
    pub(super) fn run(self, out: &mut dyn Write) -> Result<Outcome> {
        let cpu = CpuLevel::detect();
        let open = |path: &PathBuf| VideoReader::open(&self.reading.spec(path), 0, cpu);
        let (mut a, mut b) = (open(&self.distorted)?, open(&self.reference)?);
        self.check_sizes(&a.info().layout, &b.info().layout)?;
        let mut per_frame = Vec::new();
        loop {
            match (a.next_frame()?, b.next_frame()?) {
                (None, None) => break,
                (Some(x), Some(y)) => per_frame.push(self.score(&x, &a.info().layout, &y, &b.info().layout)?),
                (x, _) => return Err(self.lengths_differ(per_frame.len(), x.is_some())),
            }
        }
        let scores = Scores::of(per_frame);
        let line = if self.json { serde_json::to_string(&scores).unwrap_or_default() } else { scores.table() };
        print_line(out, &line)?;
        let damaged = [(&self.distorted, a.damage()), (&self.reference, b.damage())];
        damaged.iter().for_each(|(path, damage)| text::print_damage(path, damage));
        Ok(if damaged.iter().any(|(_, d)| d.count > 0) { Outcome::Damaged } else { Outcome::Done })
    }

    fn score(&self, x: &Frame, x_layout: &PictureLayout, y: &Frame, y_layout: &PictureLayout) -> Result<FrameScore> {
        let (x_luma, y_luma) = (luma(x, x_layout), luma(y, y_layout));
        let c = self.crop as isize;
        let inner = ndarray::s![c..x_luma.nrows() as isize - c, c..x_luma.ncols() as isize - c];
        let (p, q) = (x_luma.slice(inner), y_luma.slice(inner));
        Ok(FrameScore { frame: x.index, psnr_y: psnr(p, q)?.min(IDENTICAL), ssim_y: ssim(p, q)? })
    }

    fn check_sizes(&self, a: &PictureLayout, b: &PictureLayout) -> Result<()> {
        if (a.width, a.height) != (b.width, b.height) {
            let message =
                format!("is {}x{}, but {} is {}x{}", a.width, a.height, self.reference.display(), b.width, b.height);
            return Err(Error::new(Kind::Input, message)
                .hint("videos are compared at the same size")
                .file(&self.distorted));
        }
        if self.crop >= a.width.min(a.height).div_ceil(2) {
            return Err(Error::new(
                Kind::Usage,
                format!("--crop {} leaves nothing of {}x{}", self.crop, a.width, a.height),
            ));
        }
        Ok(())
    }

    fn lengths_differ(&self, common: usize, first_is_longer: bool) -> Error {
        let (long, short) =
            if first_is_longer { (&self.distorted, &self.reference) } else { (&self.reference, &self.distorted) };
        Error::new(Kind::Input, format!("has only {common} frames, {} has more", long.display())).file(short)
    }
}

/// Luma in studio range on the 8-bit scale.
fn luma(frame: &Frame, layout: &PictureLayout) -> Plane {
    let full = layout.color.is_full(layout.family);
    match layout.family {
        ColorFamily::Rgb => {
            let weights = layout.color.luma_weights(layout.height);
            studio_luma(
                [&frame.planes[0], &frame.planes[1], &frame.planes[2]],
                weights,
                Coding { full, depth: layout.depth },
            )
        }
        _ if full => frame.planes[0].mapv(|v| 16.0 + v * 219.0 / 255.0),
        _ => frame.planes[0].clone(),
    }
}

impl Scores {
    fn of(per_frame: Vec<FrameScore>) -> Self {
        let n = per_frame.len().max(1) as f64;
        let mean = |f: fn(&FrameScore) -> f64| per_frame.iter().map(f).sum::<f64>() / n;
        Self {
            frames: per_frame.len(),
            psnr_y: mean(|s| s.psnr_y),
            ssim_y: mean(|s| s.ssim_y),
            psnr_y_min: per_frame.iter().map(|s| s.psnr_y).fold(IDENTICAL, f64::min),
            per_frame,
        }
    }

    fn table(&self) -> String {
        let mut lines: Vec<String> =
            self.per_frame.iter().map(|s| format!("{:7}  {:7.3} dB  {:.5}", s.frame, s.psnr_y, s.ssim_y)).collect();
        lines.insert(0, "  frame      PSNR-Y   SSIM-Y".into());
        lines.push(format!(
            "   mean  {:7.3} dB  {:.5}   worst {:.3} dB, {} frames",
            self.psnr_y, self.ssim_y, self.psnr_y_min, self.frames
        ));
        lines.join("\n")
    }
}
