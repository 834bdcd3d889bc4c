//! Commands on a planned job: `subpel run-segment`, `status`, `verify`, `join` and `gc`.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::progress::ProgressMode;
use super::segments::watched;
use super::upscale::report;
use super::{Outcome, print_line, values};
use crate::error::{Error, Kind, Result};
use crate::pipeline::Resources;
use crate::segment::{SegmentJob, State, Trust, Work, collect_garbage, join, numbers_in_words, run_segment};

/// What commands on a job have in common.
#[derive(Args, Debug)]
pub(super) struct JobArgs {
    /// Folder of the job
    #[arg(value_name = "JOB")]
    job: PathBuf,

    /// Put up with another version of the program or of FFmpeg than planned the job
    #[arg(long)]
    allow_mixed: bool,
}

impl JobArgs {
    pub(super) fn open(&self) -> Result<SegmentJob> {
        SegmentJob::open(&self.job, self.allow_mixed)
    }
}

/// Make one segment of a job
///
/// Done already, it ends at once. May run anywhere, at any time, and more than once: exit code 75 asks for another try.
#[derive(Args, Debug)]
pub(super) struct RunSegment {
    #[command(flatten)]
    job: JobArgs,

    /// Number of the segment, from 1
    #[arg(value_name = "N", required_unless_present = "index_from_env")]
    number: Option<usize>,

    /// Take the number from SLURM_ARRAY_TASK_ID or HQ_TASK_ID, or JOB_COMPLETION_INDEX and add 1
    #[arg(long, conflicts_with = "number")]
    index_from_env: bool,

    /// Where the input is, if not where it was planned
    #[arg(long, value_name = "IN")]
    input: Option<PathBuf>,

    /// Believe a segment that is there by its size, without reading it
    #[arg(long)]
    trust_receipt: bool,

    /// Make it again even if it is whole
    #[arg(long)]
    again: bool,

    /// How often SLURM_RESTART_COUNT may say that this was tried before 75 becomes 74
    #[arg(long, value_name = "K", default_value_t = 5)]
    max_restarts: u32,

    #[command(flatten)]
    machine: MachineArgs,
}

/// What may be taken of the machine.
#[derive(Args, Debug)]
struct MachineArgs {
    /// Threads; 0 is one per core
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = values::threads)]
    threads: usize,

    /// Most memory to hold, such as 512M or 2GiB
    #[arg(long, value_name = "SIZE", value_parser = values::bytes)]
    max_memory: Option<u64>,

    /// How to show progress
    #[arg(long, value_enum, value_name = "MODE", default_value_t = ProgressMode::Auto)]
    progress: ProgressMode,
}

impl MachineArgs {
    fn work(&self, input: Option<PathBuf>, again: bool) -> Work {
        Work { resources: Resources { threads: self.threads, max_memory: self.max_memory }, input, again }
    }
}

impl RunSegment {
    pub(super) fn run(self) -> Result<Outcome> {
        let number = match self.number {
            Some(number) => number,
            None => number_from_environment(|name| std::env::var(name).ok())?,
        };
        let trust = if self.trust_receipt { Trust::Receipt } else { Trust::Hash };
        let work = self.machine.work(self.input.clone(), self.again);
        let made = self
            .job
            .open()
            .and_then(|job| watched(self.machine.progress, |control| run_segment(&job, number, trust, &work, control)));
        let (receipt, now) = made.map_err(|e| self.resigned(e))?;
        if self.machine.progress != ProgressMode::None {
            let (first, end) = receipt.frames;
            let what = if now { format!("made in {:.1} s", receipt.seconds) } else { "was whole already".to_owned() };
            eprintln!("segment {number}, frames {first} to {}: {what}", end - 1);
        }
        Ok(Outcome::Done)
    }

    /// A scheduler that tries again for ever is told to stop.
    fn resigned(&self, error: Error) -> Error {
        let restarts = std::env::var("SLURM_RESTART_COUNT").ok().and_then(|n| n.parse::<u32>().ok()).unwrap_or(0);
        if error.kind() != Kind::Resource || restarts < self.max_restarts {
            return error;
        }
        Error::new(Kind::Io, format!("given up after {restarts} restarts")).caused_by(error)
    }
}

/// The number that a scheduler has set.
fn number_from_environment(get: impl Fn(&str) -> Option<String>) -> Result<usize> {
    for (name, add) in [("SLURM_ARRAY_TASK_ID", 0), ("HQ_TASK_ID", 0), ("JOB_COMPLETION_INDEX", 1)] {
        let Some(text) = get(name) else { continue };
        let wrong = || Error::new(Kind::Usage, format!("{name} is {text:?}, which is no number of a segment"));
        return text.parse::<usize>().ok().and_then(|n| n.checked_add(add)).ok_or_else(wrong);
    }
    let message = "none of SLURM_ARRAY_TASK_ID, HQ_TASK_ID and JOB_COMPLETION_INDEX is set";
    Err(Error::new(Kind::Usage, message).hint("give the number: subpel run-segment JOB N"))
}

/// Say which segments of a job are whole
///
/// Exit code 0 if all are, 3 if not. Looks at receipts and sizes; `verify` reads everything.
#[derive(Args, Debug)]
pub(super) struct Status {
    #[command(flatten)]
    job: JobArgs,

    /// Print the numbers of those that are not, as 3,7-9, and nothing else
    #[arg(long)]
    missing: bool,
}

impl Status {
    pub(super) fn run(self, out: &mut dyn Write) -> Result<Outcome> {
        let job = self.job.open()?;
        let states = job.states(Trust::Receipt)?;
        let missing: Vec<usize> =
            (1..).zip(&states).filter(|(_, s)| !matches!(s, State::Whole(_))).map(|(n, _)| n).collect();
        let words = numbers_in_words(&missing);
        if self.missing {
            if !missing.is_empty() {
                print_line(out, &words)?;
            }
            return Ok(complete(missing.is_empty()));
        }
        let rest = if missing.is_empty() { String::new() } else { format!(", missing: {words}") };
        print_line(out, &format!("{} of {} segments are whole{rest}", states.len() - missing.len(), states.len()))?;
        for number in missing {
            if let Some((code, host, words)) = job.failure(number) {
                print_line(out, &format!("segment {number} failed on {host} with exit code {code}: {words}"))?;
            }
        }
        Ok(complete(words.is_empty()))
    }
}

fn complete(all: bool) -> Outcome {
    if all { Outcome::Done } else { Outcome::Incomplete }
}

/// Read all segments of a job and hold them against their receipts
///
/// Exit code 0 if all are whole, 3 if some are missing, 65 if some are damaged.
#[derive(Args, Debug)]
pub(super) struct Verify {
    #[command(flatten)]
    job: JobArgs,

    /// Take damaged segments out, so that they are made again
    #[arg(long)]
    repair: bool,

    /// Longest wait for files that are on their way through a network file system, seconds
    #[arg(long, value_name = "T", default_value = "30", value_parser = values::seconds)]
    wait: f64,
}

impl Verify {
    pub(super) fn run(self, out: &mut dyn Write) -> Result<Outcome> {
        let job = self.job.open()?;
        let (mut missing, mut damaged) = (Vec::new(), Vec::new());
        for number in 1..=job.segments() {
            match job.awaited(number, Trust::Hash, Duration::from_secs_f64(self.wait))? {
                State::Whole(_) => match job.decode(number) {
                    Ok(()) => {}
                    Err(e) if e.kind() == Kind::Input => damaged.push((number, e.to_string())),
                    Err(e) => return Err(e),
                },
                State::Missing => missing.push(number),
                State::Late { .. } => damaged.push((number, "its file is missing or cut short".to_owned())),
                State::Damaged(what) => damaged.push((number, what)),
            }
        }
        for (number, what) in &damaged {
            print_line(out, &format!("segment {number}: {what}"))?;
            if self.repair {
                job.take_out(*number)?;
                missing.push(*number);
            }
        }
        missing.sort_unstable();
        if !missing.is_empty() {
            print_line(out, &format!("missing: {}", numbers_in_words(&missing)))?;
        }
        if !damaged.is_empty() && !self.repair {
            let numbers: Vec<usize> = damaged.iter().map(|(number, _)| *number).collect();
            let message = format!("segments {} are damaged", numbers_in_words(&numbers));
            return Err(Error::new(Kind::Input, message).hint("--repair takes them out").file(&self.job.job));
        }
        if missing.is_empty() {
            print_line(out, &format!("all {} segments are whole", job.segments()))?;
        }
        Ok(complete(missing.is_empty()))
    }
}

/// Join the segments of a job to one video
///
/// All of them have to be whole. OUT is what upscale would have written, unless the job was planned with --encode-per-segment.
#[derive(Args, Debug)]
pub(super) struct Join {
    #[command(flatten)]
    job: JobArgs,

    /// Video to write
    #[arg(short, long, value_name = "OUT")]
    output: PathBuf,

    /// Replace OUT if it exists
    #[arg(long)]
    overwrite: bool,

    /// Where the input is, if not where it was planned
    #[arg(long, value_name = "IN")]
    input: Option<PathBuf>,

    /// Longest wait for files that are on their way through a network file system, seconds
    #[arg(long, value_name = "T", default_value = "30", value_parser = values::seconds)]
    wait: f64,

    #[command(flatten)]
    machine: MachineArgs,
}

impl Join {
    pub(super) fn run(self) -> Result<Outcome> {
        let job = self.job.open()?;
        let input = self.input.clone().unwrap_or_else(|| PathBuf::from(&job.manifest().source.path));
        let work = self.machine.work(self.input, false);
        let wait = Duration::from_secs_f64(self.wait);
        let summary = watched(self.machine.progress, |control| {
            control.expect(job.manifest().frames);
            join(&job, &self.output, self.overwrite, &work, wait, control)
        })?;
        Ok(report(&input, &summary, self.machine.progress))
    }
}

/// Remove what killed processes and older plans have left in a job's folder
#[derive(Args, Debug)]
pub(super) struct Gc {
    /// Folder of the job
    #[arg(value_name = "JOB")]
    job: PathBuf,
}

impl Gc {
    pub(super) fn run(self, out: &mut dyn Write) -> Result<Outcome> {
        for name in collect_garbage(&self.job)? {
            print_line(out, &format!("removed {name}"))?;
        }
        Ok(Outcome::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_from_whatever_scheduler_there_is() {
        let with = |name: &'static str, value: &'static str| {
            number_from_environment(move |asked| (asked == name).then(|| value.to_owned()))
        };
        assert_eq!(with("SLURM_ARRAY_TASK_ID", "7").expect("Slurm"), 7, "Slurm");
        assert_eq!(with("HQ_TASK_ID", "3").expect("HyperQueue"), 3, "HyperQueue");
        assert_eq!(with("JOB_COMPLETION_INDEX", "0").expect("Kubernetes"), 1, "Kubernetes counts from 0");
        for bad in ["", "-1", "x", "1-3"] {
            assert!(with("HQ_TASK_ID", bad).is_err(), "{bad:?}");
        }
        assert!(with("OTHER", "1").is_err(), "none");
    }
}
