//! `subpel inspect`: what is in a file, what would be done with it, and what that would take.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::network::NetworkArgs;
use super::progress::duration;
use super::values::{self, InputOptions};
use super::{Outcome, print_line, text};
use crate::error::Result;
use crate::kernels::CpuLevel;
use crate::media::{MediaInfo, VideoInfo, VideoReader};
use crate::pipeline::{EnlargeOptions, EnlargePlan, Forecast, MemoryPlan, Method, Preset, Scale};

/// Show what is in a file, what would be done, and how much time and memory it would take
///
/// Enlarges the first few frames, without writing them, to measure time; makes them smaller and enlarges them again to
/// measure what it would bring.
#[derive(Args, Debug)]
pub(super) struct Inspect {
    /// Video to look at
    #[arg(value_name = "IN")]
    input: PathBuf,

    /// Factor for width and height, 1 to 8 [default: 2]
    #[arg(short, long, value_name = "F", value_parser = values::factor)]
    scale: Option<f64>,

    /// Method, as for upscale
    #[arg(short, long, value_name = "M", default_value_t)]
    method: Method,

    /// Preset, as for upscale
    #[arg(short, long, value_name = "P", default_value_t = Preset::Balanced)]
    preset: Preset,

    #[command(flatten)]
    network: NetworkArgs,

    /// One JSON object
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    reading: InputOptions,
}

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
    network: Option<String>,
    window: usize,
    memory_bytes: u64,
    seconds_per_frame: f64,
    mean_shift: f64,
    multi_frame_share: f64,
    memory: MemoryParts,
    seconds_total: Option<f64>,
    noise: f64,
    subpixel_diversity: f64,
    alias_energy: Option<f64>,
    expected_gain_db: Option<f64>,
}

/// Bytes by part; see [`MemoryPlan`].
#[derive(Serialize)]
struct MemoryParts {
    window: u64,
    solver: u64,
    network: u64,
    channels: u64,
    codecs: u64,
}

impl Inspect {
    pub(super) fn run(self, out: &mut dyn Write) -> Result<Outcome> {
        let spec = self.reading.spec(&self.input);
        // As upscaling would read it, so that the forecast sees the same frames.
        let open = if self.method.is_multi_frame() { VideoReader::open_with_coding } else { VideoReader::open };
        let mut reader = open(&spec, 0, CpuLevel::detect())?;
        let media = reader.media_info();
        let info = reader.info().clone();
        let options = EnlargeOptions {
            scale: self.scale.map(Scale::Factor),
            method: self.method,
            preset: self.preset,
            refine: self.network.params()?.map(|refine| refine.options(self.scale)).transpose()?,
            ..Default::default()
        };
        let plan = options.resolve(&info.layout)?;
        let probe = Forecast::measure(&options, &info.layout, &mut || reader.next_frame())?;
        let memory = MemoryPlan::of(&plan, None)?;
        let (plan, probe) = (&plan, &probe);
        let report =
            if self.json { json(media, &info, plan, memory, probe) } else { plain(&media, &info, plan, memory, probe) };
        print_line(out, &report)?;
        let damage = reader.damage();
        text::print_damage(&self.input, &damage);
        Ok(if damage.count > 0 { Outcome::Damaged } else { Outcome::Done })
    }
}

fn json(media: MediaInfo, info: &VideoInfo, plan: &EnlargePlan, memory: MemoryPlan, probe: &Forecast) -> String {
    let report = Report {
        media,
        video_stream: info.stream,
        pixel_format: info.pixel_format.clone(),
        interlaced: info.interlaced,
        frames_estimated: info.frames_estimated,
        output_width: plan.to.width,
        output_height: plan.to.height,
        method: plan.method.to_string(),
        network: plan.refine.as_ref().map(|refine| refine.network.name.clone()),
        window: plan.window,
        memory_bytes: memory.total(),
        seconds_per_frame: probe.seconds_per_frame,
        mean_shift: probe.mean_shift,
        multi_frame_share: probe.multi_frame_share,
        memory: MemoryParts {
            window: memory.window,
            solver: memory.solver,
            network: memory.network,
            channels: memory.channels,
            codecs: memory.codecs,
        },
        seconds_total: seconds_total(info, probe),
        noise: probe.noise,
        subpixel_diversity: probe.subpixel_diversity,
        alias_energy: probe.alias_energy,
        expected_gain_db: probe.gain,
    };
    serde_json::to_string(&report).unwrap_or_default()
}

fn plain(media: &MediaInfo, info: &VideoInfo, plan: &EnlargePlan, memory: MemoryPlan, probe: &Forecast) -> String {
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
    lines.push(format!("memory:  {}", text::memory_line(&memory)));
    let whole = seconds_total(info, probe).map_or(String::new(), |seconds| {
        format!(", {} for about {} frames, encoding not counted", duration(seconds), info.frames_estimated)
    });
    lines.push(format!("time:    {:.3} s a frame{whole}", probe.seconds_per_frame));
    if plan.window > 0 {
        lines.push(format!(
            "motion:  {:.2} pixels a frame at the start; {:.0} % of the first pictures would come from several frames",
            probe.mean_shift,
            100.0 * probe.multi_frame_share
        ));
        lines.push(detail_line(probe));
    }
    lines.push(gain_line(probe));
    lines.join("\n")
}

/// Time for all frames, if their number is known.
fn seconds_total(info: &VideoInfo, probe: &Forecast) -> Option<f64> {
    (info.frames_estimated > 0).then_some(info.frames_estimated as f64 * probe.seconds_per_frame)
}

/// What there is to find between the pixels.
fn detail_line(probe: &Forecast) -> String {
    let alias = probe.alias_energy.map_or("no detail or no motion to tell alias by".to_owned(), |share| {
        format!("{:.0} % of the fine detail changes with them (alias)", 100.0 * share)
    });
    format!(
        "detail:  the frames of a window meet {:.0} % of the places between pixels; {alias}; noise {:.1} of 255",
        100.0 * probe.subpixel_diversity,
        probe.noise
    )
}

/// What it would bring.
fn gain_line(probe: &Forecast) -> String {
    match probe.gain {
        Some(gain) => format!("gain:    about {gain:+.1} dB over lanczos, from the first frames made smaller"),
        None => "gain:    cannot be told from these frames".to_owned(),
    }
}
