//! `subpel upscale`: enlarge a video.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use super::enlarging::EnlargeArgs;
use super::progress::{Progress, ProgressMode};
use super::segments::Run;
use super::{Outcome, signals, text};
use crate::error::Result;
use crate::media::VideoReader;
use crate::pipeline::{Control, Job, MemoryPlan, Summary, upscale_file};

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

    #[command(flatten)]
    how: EnlargeArgs,

    /// Replace OUT if it exists
    #[arg(long, help_heading = "Output")]
    overwrite: bool,

    /// Write motion, confidence and gate of every frame as pictures into this folder
    #[arg(long, value_name = "DIR", help_heading = "Output")]
    debug_maps: Option<PathBuf>,

    /// Work in pieces that outlive a crash, kept beside OUT until it is whole; given again, the same command goes on
    #[arg(long, conflicts_with_all = ["debug_maps", "dry_run"])]
    resume: bool,

    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,

    /// How to show progress
    #[arg(long, value_enum, value_name = "MODE", default_value_t = ProgressMode::Auto)]
    progress: ProgressMode,
}

impl Upscale {
    pub(super) fn run(self) -> Result<Outcome> {
        if self.resume {
            return Run::of_upscale(self.input, self.output, self.how, self.overwrite, self.progress).run();
        }
        let job = Job { debug_maps: self.debug_maps, ..self.how.job(&self.input, &self.output, self.overwrite)? };
        if self.dry_run {
            return describe(&job);
        }
        let control = Arc::new(Control::default());
        signals::stop_on_signals(&control)?;
        let progress = Progress::start(self.progress, &control);
        let result = upscale_file(&job, &control);
        drop(progress);
        Ok(report(&job.input.path, &result?, self.progress))
    }
}

/// Prints the closing summary and what there is to know beside it.
pub(super) fn report(input: &Path, summary: &Summary, mode: ProgressMode) -> Outcome {
    match mode {
        ProgressMode::None => {}
        ProgressMode::Json => eprintln!("{}", text::json_summary(summary)),
        ProgressMode::Auto | ProgressMode::Plain => eprintln!("{}", text::summary(summary)),
    }
    if summary.source.interlaced {
        text::print_warning(&format!(
            "{}: the video is interlaced and was enlarged as it is: combed edges are enlarged too; de-interlace it first (for example with FFmpeg's bwdif)",
            input.display()
        ));
    }
    text::print_damage(input, &summary.damage);
    if summary.damage.count > 0 { Outcome::Damaged } else { Outcome::Done }
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
