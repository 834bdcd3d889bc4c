//! Enlarging in resumable segments: `subpel plan` and `run`, which is also `upscale --resume`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use super::enlarging::{EnlargeArgs, Keep};
use super::progress::{Progress, ProgressMode};
use super::upscale::report;
use super::{Outcome, print_line, signals, text};
use crate::error::{Error, Kind, Result};
use crate::pipeline::Control;
use crate::segment::{Delivery, Lengths, Request, plan, run};

/// Plan a job in segments: index the whole video, say who has to make what
///
/// JOB is a folder that all workers see. The plan depends on the input and the options alone. IN is not copied: workers read
/// it where it is now, or where --input says.
#[derive(Args, Debug)]
pub(super) struct Plan {
    /// Video to enlarge
    #[arg(value_name = "IN")]
    input: PathBuf,

    /// Folder for the job, made if it is missing
    #[arg(short, long, value_name = "JOB")]
    output: PathBuf,

    #[command(flatten)]
    how: EnlargeArgs,

    /// Kind of file that segments will be joined to, by its extension
    #[arg(long, value_name = "EXT", default_value = "mkv", value_parser = extension, help_heading = "Segments")]
    container: String,

    #[command(flatten)]
    cut: CutArgs,

    /// Enlarge a few frames, and say how long so many workers like this machine would take
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000), help_heading = "Segments")]
    workers: Option<u32>,

    /// How pictures are compressed until they are joined
    #[arg(long, value_enum, value_name = "HOW", default_value_t = Keep::Small, conflicts_with = "encode_per_segment", help_heading = "Segments")]
    keep_as: Keep,

    /// How to show progress
    #[arg(long, value_enum, value_name = "MODE", default_value_t = ProgressMode::Auto)]
    progress: ProgressMode,
}

/// How long segments are, and who encodes them.
#[derive(Args, Debug, Clone, Copy, Default)]
struct CutArgs {
    /// Most frames of a segment
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), help_heading = "Segments")]
    segment_frames: Option<u64>,

    /// Number of segments
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), conflicts_with = "segment_frames", help_heading = "Segments")]
    segments: Option<u64>,

    /// Encode each segment by itself, where it is made; joining then only puts them together. For slow encoders on many machines: OUT
    /// is the same for the same plan, not that of upscale. Needs constant quality; --threads of the encoder, else 4, are in the plan
    #[arg(long, help_heading = "Segments")]
    encode_per_segment: bool,
}

/// Frames of a segment that is worth a process of its own.
const USUAL_FRAMES: u64 = 240;

impl CutArgs {
    fn lengths_or(self, otherwise: Lengths) -> Lengths {
        let frames = self.segment_frames.map(Lengths::Frames);
        frames.or(self.segments.map(Lengths::Count)).unwrap_or(otherwise)
    }

    fn delivery(self, delivery: Delivery) -> Delivery {
        if self.encode_per_segment { delivery.in_parts() } else { delivery }
    }
}

/// An extension as file names have it.
fn extension(text: &str) -> Result<String, String> {
    let plain = !text.is_empty() && text.len() <= 16 && text.bytes().all(|b| b.is_ascii_alphanumeric());
    if plain { Ok(text.to_owned()) } else { Err(format!("{text:?} is not an extension such as mkv")) }
}

/// Runs `work` with signals and progress.
pub(super) fn watched<T>(mode: ProgressMode, work: impl FnOnce(&Control) -> Result<T>) -> Result<T> {
    let control = Arc::new(Control::default());
    signals::stop_on_signals(&control)?;
    let progress = Progress::start(mode, &control);
    let result = work(&control);
    drop(progress);
    result
}

impl Plan {
    pub(super) fn run(self, out: &mut dyn Write) -> Result<Outcome> {
        let request = Request {
            input: self.input,
            params: self.how.params()?,
            delivery: self.cut.delivery(self.how.delivery(&self.container, self.keep_as)),
            lengths: self.cut.lengths_or(Lengths::Frames(USUAL_FRAMES)),
            find_scenes: true,
            resources: self.how.resources(),
        };
        let job = watched(self.progress, |control| plan(&self.output, &request, control))?;
        let manifest = job.manifest();
        print_line(out, &format!("{} frames in {} segments", manifest.frames, job.segments()))?;
        if let Some(workers) = self.workers {
            print_line(out, &super::emit::foretold(&job, workers as usize)?)?;
        }
        if manifest.found.damage > 0 {
            text::print_warning(&format!(
                "{}: the input is damaged: {}; segments will hold all that decodes",
                request.input.display(),
                manifest.found.notes.join("; ")
            ));
        }
        Ok(Outcome::Done)
    }
}

/// Enlarge a video in segments that outlive a crash, in this process
///
/// Like upscale, but what is made is kept beside OUT, in OUT.subpel-job, until OUT is whole. After a crash the same command
/// goes on. OUT is the same, bit for bit, but with --encode-per-segment.
#[derive(Args, Debug)]
pub(super) struct Run {
    /// Video to enlarge
    #[arg(value_name = "IN")]
    input: PathBuf,

    /// Video to write
    #[arg(short, long, value_name = "OUT")]
    output: PathBuf,

    #[command(flatten)]
    how: EnlargeArgs,

    #[command(flatten)]
    cut: CutArgs,

    /// Folder for the job [default: OUT.subpel-job]
    #[arg(long, value_name = "JOB", help_heading = "Segments")]
    job: Option<PathBuf>,

    /// Leave the job's folder when OUT is whole
    #[arg(long, help_heading = "Segments")]
    keep_job: bool,

    /// Replace OUT if it exists
    #[arg(long, help_heading = "Output")]
    overwrite: bool,

    /// How to show progress
    #[arg(long, value_enum, value_name = "MODE", default_value_t = ProgressMode::Auto)]
    progress: ProgressMode,
}

impl Run {
    /// What `upscale --resume` is.
    pub(super) fn of_upscale(
        input: PathBuf,
        output: PathBuf,
        how: EnlargeArgs,
        overwrite: bool,
        progress: ProgressMode,
    ) -> Self {
        Self { input, output, how, cut: CutArgs::default(), job: None, keep_job: false, overwrite, progress }
    }

    pub(super) fn run(self) -> Result<Outcome> {
        let folder = self.job.map_or_else(|| beside(&self.output), Ok)?;
        let container = self.output.extension().and_then(|e| e.to_str()).filter(|e| extension(e).is_ok());
        let container = container.ok_or_else(|| {
            Error::new(Kind::Usage, "no container is known for this name")
                .hint("name it .mkv, .mp4, .mov, .webm or .nut")
                .file(&self.output)
        })?;
        let request = Request {
            input: self.input,
            params: self.how.params()?,
            // The folder is gone soon: time counts, not size.
            delivery: self.cut.delivery(self.how.delivery(container, Keep::Fast)),
            lengths: self.cut.lengths_or(if self.cut.encode_per_segment {
                // Each begins with a picture that takes many bits.
                Lengths::Frames(USUAL_FRAMES)
            } else {
                Lengths::Small
            }),
            find_scenes: false,
            resources: self.how.resources(),
        };
        let summary = watched(self.progress, |control| {
            run(&request, &folder, &self.output, self.overwrite, self.keep_job, control)
        })?;
        Ok(report(&request.input, &summary, self.progress))
    }
}

/// The folder for a job that makes `output`.
fn beside(output: &Path) -> Result<PathBuf> {
    let Some(name) = output.file_name().filter(|_| output.as_os_str() != "-") else {
        return Err(Error::new(Kind::Usage, "segments need a file to be joined to").file(output));
    };
    let mut name = name.to_owned();
    name.push(".subpel-job");
    Ok(output.with_file_name(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_of_a_job_lies_beside_its_output() {
        assert_eq!(beside(Path::new("a/b.mkv")).expect("name"), Path::new("a/b.mkv.subpel-job"), "beside");
        assert!(beside(Path::new("-")).is_err(), "a pipe");
    }
}
