//! Options of every command that enlarges a video, and what they are made into.

use std::path::Path;

use clap::Args;

use super::network::NetworkArgs;
use super::values::{self, BlurChoice, InputOptions};
use crate::error::Result;
use crate::media::OutputSpec;
use crate::pipeline::{Job, LightDomain, Method, Preset, Resources};
use crate::segment::{Delivery, Params};

/// How pictures of segments are compressed until they are joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Keep {
    /// FFV1: smallest
    Small,
    /// Huffman codes: up to four times the size, a seventh of the time
    Fast,
}

impl std::fmt::Display for Keep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(if *self == Self::Small { "small" } else { "fast" })
    }
}

/// How a video is enlarged and written.
#[derive(Args, Debug)]
pub(super) struct EnlargeArgs {
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

    #[command(flatten)]
    network: NetworkArgs,

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
}

impl EnlargeArgs {
    /// What decides the pixels, as plain data. Weights are hashed for it.
    pub(super) fn params(&self) -> Result<Params> {
        let InputOptions { allow_network, fps, max_pixels } = self.reading;
        Ok(Params {
            scale: self.scale,
            size: self.size.map(|(width, height)| [width, height]),
            method: self.method.to_string(),
            preset: self.preset.to_string(),
            window: self.window,
            blur: self.psf.0.map(Into::into),
            light: if self.light == LightDomain::Linear { "linear" } else { "gamma" }.to_owned(),
            refine: self.network.params()?,
            start: self.start,
            frames: self.frames,
            allow_network,
            sequence_rate: fps,
            max_pixels,
        })
    }

    /// How a file with extension `container` is written.
    pub(super) fn delivery(&self, container: &str, keeping: Keep) -> Delivery {
        Delivery {
            container: container.to_owned(),
            codec: self.codec.clone(),
            crf: self.crf,
            encoder_options: self.encoder_option.clone(),
            pixel_format: self.pix_fmt.clone(),
            threads: self.threads,
            strict: self.strict,
            form: (String::new(), false, 0),
            keeping: keeping.to_string(),
        }
    }

    /// What may be taken of the machine.
    pub(super) fn resources(&self) -> Resources {
        Resources { threads: self.threads, max_memory: self.max_memory }
    }

    /// All of it in one go.
    pub(super) fn job(&self, input: &Path, output: &Path, overwrite: bool) -> Result<Job> {
        let params = self.params()?;
        Ok(Job {
            output: self.delivery("", Keep::Small).output(output, overwrite),
            enlarge: params.options()?,
            excerpt: params.excerpt(),
            threads: self.threads,
            max_memory: self.max_memory,
            ..Job::new(params.input(input), OutputSpec::file(output))
        })
    }
}
