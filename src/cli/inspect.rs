//! `subpel inspect`: what is in a file, what would be done with it, and what that would take.

use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use serde::Serialize;

use super::progress::duration;
use super::values::{self, InputOptions};
use super::{Outcome, print_line, text};
use crate::error::Result;
use crate::kernels::CpuLevel;
use crate::media::{MediaInfo, VideoInfo, VideoReader};
use crate::pipeline::{EnlargeOptions, EnlargePlan, MemoryPlan, Method, Preset, Scale, Upscaler};

/// Show what is in a file, what would be done, and how much time and memory it would take
///
/// Enlarges the first few frames, without writing them, to measure time.
#[derive(Args, Debug)]
pub(super) struct Inspect {
    /// Video to look at
    #[arg(value_name = "IN")]
    input: PathBuf,

    /// Factor for width and height, 1 to 8
    #[arg(short, long, value_name = "F", value_parser = values::factor, default_value = "2")]
    scale: f64,

    /// Method, as for upscale
    #[arg(short, long, value_name = "M", default_value_t = Method::Ibp)]
    method: Method,

    /// Preset, as for upscale
    #[arg(short, long, value_name = "P", default_value_t = Preset::Balanced)]
    preset: Preset,

    /// One JSON object
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    reading: InputOptions,
}

/// Frames enlarged for the measurement.
const PROBE: usize = 6;

#[derive(Serialize)]
struct Report {
    media: MediaInfo,
    video_stream: usize,
    pixel_format: String,
    interlaced: bool,
    frames_estimated: u64,
    output_width: usize,
    output_height: usize,
    method: String,
    window: usize,
    memory_bytes: u64,
    seconds_per_frame: f64,
    mean_shift: f64,
    multi_frame_share: f64,
}

/// What enlarging a few frames has shown.
struct Probe {
    seconds_per_frame: f64,
    mean_shift: f64,
    share: f64,
}

impl Inspect {
    pub(super) fn run(self, out: &mut dyn Write) -> Result<Outcome> {
        let spec = self.reading.spec(&self.input);
        let mut reader = VideoReader::open(&spec, 0, CpuLevel::detect())?;
        let media = reader.media_info();
        let info = reader.info().clone();
        let scale = if self.method == Method::None { None } else { Some(Scale::Factor(self.scale)) };
        let options = EnlargeOptions { scale, method: self.method, preset: self.preset, ..Default::default() };
        let plan = options.resolve(&info.layout)?;
        let probe = probe(&mut reader, &options, &plan)?;
        let report = if self.json { json(media, &info, &plan, &probe) } else { plain(&media, &info, &plan, &probe) };
        print_line(out, &report)?;
        let damage = reader.damage();
        text::print_damage(&self.input, &damage);
        Ok(if damage.count > 0 { Outcome::Damaged } else { Outcome::Done })
    }
}

/// Enlarges the first frames and measures.
fn probe(reader: &mut VideoReader, options: &EnlargeOptions, plan: &EnlargePlan) -> Result<Probe> {
    let mut builder =
        Upscaler::builder(&plan.from).size(plan.to.width, plan.to.height).method(options.method).preset(options.preset);
    if plan.window > 0 {
        builder = builder.window(plan.window);
    }
    let mut upscaler = builder.build()?;
    let start = Instant::now();
    let mut enlarged = Vec::new();
    for _ in 0..PROBE {
        let Some(frame) = reader.next_frame()? else { break };
        enlarged.extend(upscaler.push(frame)?);
    }
    enlarged.extend(upscaler.finish()?);
    let n = enlarged.len().max(1) as f64;
    Ok(Probe {
        seconds_per_frame: start.elapsed().as_secs_f64() / n,
        mean_shift: enlarged.iter().skip(1).map(|e| e.motion.dx.hypot(e.motion.dy)).sum::<f64>() / (n - 1.0).max(1.0),
        share: enlarged.iter().map(|e| e.multi_frame_share).sum::<f64>() / n,
    })
}

fn json(media: MediaInfo, info: &VideoInfo, plan: &EnlargePlan, probe: &Probe) -> String {
    let report = Report {
        media,
        video_stream: info.stream,
        pixel_format: info.pixel_format.clone(),
        interlaced: info.interlaced,
        frames_estimated: info.frames_estimated,
        output_width: plan.to.width,
        output_height: plan.to.height,
        method: plan.method.to_string(),
        window: plan.window,
        memory_bytes: MemoryPlan::of(plan).total(),
        seconds_per_frame: probe.seconds_per_frame,
        mean_shift: probe.mean_shift,
        multi_frame_share: probe.share,
    };
    serde_json::to_string(&report).unwrap_or_default()
}

fn plain(media: &MediaInfo, info: &VideoInfo, plan: &EnlargePlan, probe: &Probe) -> String {
    let length = media.duration.map_or("unknown length".into(), duration);
    let mut lines = vec![format!(
        "{}: {}, {length}, {} streams, {} chapters",
        info.path.display(),
        media.container,
        media.streams.len(),
        media.chapters
    )];
    for s in &media.streams {
        let kind = format!("{:?}", s.kind).to_lowercase();
        let language = s.language.as_ref().map_or(String::new(), |l| format!(" ({l})"));
        let title = s.title.as_ref().map_or(String::new(), |t| format!(" {t:?}"));
        let mark = if s.index == info.stream { "  <- to be enlarged" } else { "" };
        lines.push(format!("  {:2} {kind:10} {:10} {}{language}{title}{mark}", s.index, s.codec, s.details));
    }
    let rate = if info.frame_rate.0 > 0 { f64::from(info.frame_rate.0) / f64::from(info.frame_rate.1) } else { 0.0 };
    let interlaced = if info.interlaced { ", INTERLACED: de-interlace it first" } else { "" };
    lines.push(format!(
        "picture: {}x{} {}, {rate:.3} frames a second{interlaced}",
        info.layout.width, info.layout.height, info.pixel_format
    ));
    lines.push(format!("plan:    {}", text::plan_line(plan)));
    lines.push(format!("memory:  {}", text::memory_line(&MemoryPlan::of(plan))));
    let whole = match info.frames_estimated {
        0 => String::new(),
        n => format!(", {} for about {n} frames, encoding not counted", duration(n as f64 * probe.seconds_per_frame)),
    };
    lines.push(format!("time:    {:.3} s a frame{whole}", probe.seconds_per_frame));
    if plan.window > 0 {
        lines.push(format!(
            "motion:  {:.2} pixels a frame at the start; {:.0} % of the first pictures would come from several frames",
            probe.mean_shift,
            100.0 * probe.share
        ));
    }
    lines.join("\n")
}
