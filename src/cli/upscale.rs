//! `subpel upscale`: enlarge a video.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use super::progress::{Progress, ProgressMode};
use super::values::{self, BlurChoice, InputOptions};
use super::{Outcome, signals, text};
use crate::error::Result;
use crate::fuse::Parts;
use crate::media::{EncoderSpec, OutputSpec, VideoReader};
use crate::pipeline::{
    Control, DEFAULT_CONSISTENCY, EnlargeOptions, Excerpt, Job, LightDomain, MemoryPlan, Method, Preset, RefineOptions,
    Scale, upscale_file,
};
use crate::refine::{Checkpoint, Device, Network, Precision, Settings, Tile};

/// Enlarge a video and copy everything else in the container
///
/// IN is any file that FFmpeg reads, a numbered sequence such as frames/%04d.png, or - for y4m on standard input.
/// OUT names the container by its extension; - is y4m on standard output. OUT appears when it is whole.
#[derive(Args, Debug)]
pub(super) struct Upscale {
    /// Video to enlarge
    #[arg(value_name = "IN")]
    input: PathBuf,

    /// Video to write
    #[arg(value_name = "OUT")]
    output: PathBuf,

    /// Factor for width and height, 1 to 8, fractions allowed [default: 2]
    #[arg(short, long, value_name = "F", value_parser = values::factor, conflicts_with = "size")]
    scale: Option<f64>,

    /// Columns and rows instead of a factor
    #[arg(long, value_name = "WxH", value_parser = values::size)]
    size: Option<(usize, usize)>,

    /// none, nearest, bilinear, bicubic, lanczos (from one frame), frequency, shift-add, ibp, map, pocs (from several)
    #[arg(short, long, value_name = "M", default_value_t)]
    method: Method,

    /// fast, balanced or best
    #[arg(short, long, value_name = "P", default_value_t = Preset::Balanced)]
    preset: Preset,

    /// Frames used on each side, 0 to 30; 0 is single-frame [default: by preset and scale]
    #[arg(long, value_name = "R")]
    window: Option<usize>,

    /// Blur of the camera: usual, auto (measured in each scene), standard deviation in low-resolution pixels (0.1 to 1),
    /// or cubic for frames that a program has made smaller
    #[arg(long, value_name = "SIGMA|auto|usual|cubic", default_value = "usual")]
    psf: BlurChoice,

    /// What sample values mean while frames are fused: gamma (code values) or linear light; auto is gamma, as frames do
    /// not tell
    #[arg(long, value_name = "gamma|linear|auto", default_value = "gamma")]
    light: LightDomain,

    /// Network that pictures go through after the method: builtin, or a .safetensors, .pth or ncnn .bin file; of several
    /// scales in one file the smallest that suffices for F (2 with --size)
    #[arg(long, value_name = "MODEL", help_heading = "Network")]
    refine: Option<PathBuf>,

    /// Scale that the method reaches before the network [default: what the network leaves to do, at least 1]
    #[arg(long, value_name = "F", value_parser = values::factor, requires = "refine", help_heading = "Network")]
    fuse_scale: Option<f64>,

    /// Back-projection steps that hold the network's pictures to the frames, 0 to 100; 0 is off. With several frames 4 are
    /// as many as the preset takes for a reconstruction
    #[arg(long, value_name = "N", value_parser = values::steps, default_value_t = DEFAULT_CONSISTENCY, requires = "refine", help_heading = "Network")]
    consistency: usize,

    /// Network interpolation: that share A of a second checkpoint of the same shape, 0 to 1
    #[arg(long, value_name = "A=MODEL", value_parser = values::share, requires = "refine", help_heading = "Network")]
    blend: Option<(f64, PathBuf)>,

    /// Where the network runs: cpu, cuda, cuda:N or metal (as far as the program was built for them)
    #[arg(long, value_name = "NAME", default_value_t, requires = "refine", help_heading = "Network")]
    device: Device,

    /// How numbers are multiplied on the CPU: f32, or bf16, faster where the CPU has it and several codes off at worst
    #[arg(long, value_name = "f32|bf16", default_value_t, requires = "refine", help_heading = "Network")]
    precision: Precision,

    /// Pieces that pictures are refined in, pixels of the network's input; auto takes as few as memory allows
    #[arg(long, value_name = "PX|auto", default_value_t, requires = "refine", help_heading = "Network")]
    tile: Tile,

    /// Any FFmpeg encoder [default: libx264, for webm libvpx-vp9]
    #[arg(short, long, value_name = "NAME", help_heading = "Output")]
    codec: Option<String>,

    /// Constant quality in the encoder's own scale
    #[arg(long, value_name = "Q", help_heading = "Output")]
    crf: Option<f32>,

    /// Option of the encoder, may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = values::pair, help_heading = "Output")]
    encoder_option: Vec<(String, String)>,

    /// Pixel format [default: the input's, if the encoder takes it]
    #[arg(long, value_name = "F", help_heading = "Output")]
    pix_fmt: Option<String>,

    /// Replace OUT if it exists
    #[arg(long, help_heading = "Output")]
    overwrite: bool,

    /// Fail if anything beside the picture cannot be kept
    #[arg(long, help_heading = "Output")]
    strict: bool,

    /// Start at this time after the first frame, seconds or H:M:S
    #[arg(long, value_name = "T", value_parser = values::seconds, help_heading = "Input")]
    start: Option<f64>,

    /// Number of frames to enlarge
    #[arg(long, value_name = "N", help_heading = "Input")]
    frames: Option<u64>,

    #[command(flatten)]
    reading: InputOptions,

    /// Threads; 0 is one per core
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = values::threads)]
    threads: usize,

    /// Most memory to hold, such as 512M or 2GiB
    #[arg(long, value_name = "SIZE", value_parser = values::bytes)]
    max_memory: Option<u64>,

    /// Write motion, confidence and gate of every frame as pictures into this folder
    #[arg(long, value_name = "DIR", help_heading = "Output")]
    debug_maps: Option<PathBuf>,

    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,

    /// How to show progress
    #[arg(long, value_enum, value_name = "MODE", default_value_t = ProgressMode::Auto)]
    progress: ProgressMode,
}

impl Upscale {
    pub(super) fn run(self) -> Result<Outcome> {
        let mode = self.progress;
        let dry_run = self.dry_run;
        let job = self.into_job()?;
        if dry_run {
            return describe(&job);
        }
        let control = Arc::new(Control::default());
        signals::stop_on_signals(&control)?;
        let progress = Progress::start(mode, &control);
        let result = upscale_file(&job, &control);
        drop(progress);
        let summary = result?;
        match mode {
            ProgressMode::None => {}
            ProgressMode::Json => eprintln!("{}", text::json_summary(&summary)),
            ProgressMode::Auto | ProgressMode::Plain => eprintln!("{}", text::summary(&summary)),
        }
        if summary.source.interlaced {
            text::print_warning(&format!(
                "{}: the video is interlaced and was enlarged as it is: combed edges are enlarged too; de-interlace it first (for example with FFmpeg's bwdif)",
                job.input.path.display()
            ));
        }
        text::print_damage(&job.input.path, &summary.damage);
        Ok(if summary.damage.count > 0 { Outcome::Damaged } else { Outcome::Done })
    }

    /// The network with its options, if one was asked for.
    fn refining(&self) -> Result<Option<RefineOptions>> {
        let Some(model) = &self.refine else { return Ok(None) };
        let mut checkpoint = Checkpoint::named(model)?;
        if let Some((share, other)) = &self.blend {
            let second = Checkpoint::named(other)?;
            checkpoint = checkpoint.blended(&second, *share).map_err(|error| error.file(other))?;
        }
        // A size is no factor before the video is read, so it counts as the default.
        let wanted = self.scale.unwrap_or(2.0) / self.fuse_scale.unwrap_or(1.0);
        let network = Network::of_scale(&checkpoint, wanted).map_err(|error| error.file(model))?;
        Ok(Some(RefineOptions {
            fuse_scale: self.fuse_scale,
            consistency: self.consistency,
            settings: Settings { device: self.device, precision: self.precision, tile: self.tile },
            ..RefineOptions::new(Arc::new(network))
        }))
    }

    fn into_job(self) -> Result<Job> {
        let refine = self.refining()?;
        let scale = self.size.map(|(w, h)| Scale::Size(w, h)).or(self.scale.map(Scale::Factor));
        Ok(Job {
            input: self.reading.spec(&self.input),
            output: OutputSpec {
                path: self.output,
                overwrite: self.overwrite,
                strict: self.strict,
                encoder: EncoderSpec {
                    codec: self.codec,
                    crf: self.crf,
                    options: self.encoder_option,
                    pixel_format: self.pix_fmt,
                    threads: self.threads,
                },
            },
            enlarge: EnlargeOptions {
                scale,
                method: self.method,
                preset: self.preset,
                window: self.window,
                blur: self.psf.0,
                parts: Parts::default(),
                light: self.light,
                refine,
            },
            excerpt: Excerpt { start: self.start, frames: self.frames },
            threads: self.threads,
            max_memory: self.max_memory,
            debug_maps: self.debug_maps,
        })
    }
}

/// `--dry-run`: reads the headers and the first frame only.
fn describe(job: &Job) -> Result<Outcome> {
    job.output.check((!job.input.is_pipe()).then_some(job.input.path.as_path()))?;
    let reader = VideoReader::open(&job.input, job.threads, crate::kernels::CpuLevel::detect())?;
    let plan = job.enlarge.resolve(&reader.info().layout)?;
    eprintln!("{}: {}", job.input.path.display(), text::plan_line(&plan));
    eprintln!("memory: {}", text::memory_line(&MemoryPlan::of(&plan, job.max_memory)?));
    eprintln!("nothing was written to {}", job.output.path.display());
    Ok(Outcome::Done)
}
