//! `subpel emit`: print the script that hands a job to a scheduler. Runs nothing.

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::progress::duration;
use super::segment_job::JobArgs;
use super::{Outcome, values};
use crate::error::{Error, Kind, Result};
use crate::segment::{Conditions, Engine, SegmentJob, Submission, Workload, emit, memory_of};

/// Who is to run the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Scheduler {
    /// Slurm: an array job, and a job that joins
    Slurm,
    /// HyperQueue
    Hq,
    /// Kubernetes: an indexed Job, and one that joins
    K8s,
    /// GNU parallel on this machine
    Parallel,
}

/// Print a script that has a cluster make what is missing of a job
///
/// The script goes to standard output; nothing is run or submitted. Read it, save it, and do what its first lines say.
/// docs/cluster.md has whole recipes.
#[derive(Args, Debug)]
pub(super) struct Emit {
    /// For whom
    #[arg(value_enum, value_name = "ENGINE")]
    engine: Scheduler,

    #[command(flatten)]
    job: JobArgs,

    /// Video to write when all segments are whole; without it they are not joined
    #[arg(short, long, value_name = "OUT")]
    output: Option<PathBuf>,

    /// Replace OUT if it exists
    #[arg(long, requires = "output")]
    overwrite: bool,

    /// Cores of a task
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1024))]
    cpus: u32,

    /// Cores of the join, which encodes all of the video [default: as --cpus; 1 where segments are encoded by themselves]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    join_cpus: Option<u32>,

    /// Memory of a task, such as 2GiB [default: estimated from the input]
    #[arg(long, value_name = "SIZE", value_parser = values::bytes)]
    memory: Option<u64>,

    /// Most tasks at once; also says how long they would take, once a segment has been made
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    workers: Option<u32>,

    /// Segments that a task of Slurm makes, one after the other [default: 1 up to 1000 segments]
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pack: Option<u32>,

    /// How often a task that asks for it (exit code 75) is tried again
    #[arg(long, value_name = "K", default_value_t = 3, value_parser = clap::value_parser!(u32).range(0..=100))]
    attempts: u32,

    /// Where workers find this program [default: where it is now; for k8s: subpel]
    #[arg(long, value_name = "PATH")]
    program: Option<PathBuf>,

    /// Container image with this program
    #[arg(long, value_name = "NAME", default_value = concat!("subpel:", env!("CARGO_PKG_VERSION")), help_heading = "Kubernetes")]
    image: String,

    /// Persistent volume claim with input, job and output
    #[arg(long, value_name = "NAME", default_value = "subpel", help_heading = "Kubernetes")]
    claim: String,

    /// Folder at which its volume is mounted, here and in pods [default: the folder that holds JOB]
    #[arg(long, value_name = "DIR", help_heading = "Kubernetes")]
    mount: Option<PathBuf>,
}

impl Emit {
    pub(super) fn run(self, out: &mut dyn Write) -> Result<Outcome> {
        let job = self.job.open()?;
        let engine = match self.engine {
            Scheduler::Slurm => Engine::Slurm,
            Scheduler::Hq => Engine::HyperQueue,
            Scheduler::K8s => Engine::Kubernetes,
            Scheduler::Parallel => Engine::Parallel,
        };
        let forecast = self.workers.map(|n| forecast(&job, n as usize)).transpose()?.flatten();
        let usual_join = if job.manifest().delivery.is_in_parts() { 1 } else { self.cpus };
        let how = Submission {
            program: program(self.program, engine)?,
            output: self.output,
            overwrite: self.overwrite,
            cpus: self.cpus as usize,
            join_cpus: self.join_cpus.unwrap_or(usual_join) as usize,
            memory: self.memory.map_or_else(|| memory_of(&job), Ok)?,
            workers: self.workers.map(|n| n as usize),
            pack: self.pack.map(|n| n as usize),
            attempts: self.attempts as usize,
            image: self.image,
            claim: self.claim,
            mount: self.mount,
            forecast,
        };
        let script = emit(&job, engine, &how)?;
        match out.write_all(&script).and_then(|()| out.flush()) {
            Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
                Err(Error::new(Kind::of_io(&e), "writing to standard output failed").caused_by(e))
            }
            _ => Ok(Outcome::Done),
        }
    }
}

/// Where the script will look for this program.
fn program(given: Option<PathBuf>, engine: Engine) -> Result<PathBuf> {
    match given {
        Some(path) => Ok(path),
        None if engine == Engine::Kubernetes => Ok("subpel".into()),
        None => std::env::current_exe().map_err(|e| {
            Error::new(Kind::Io, "cannot tell where this program is").hint("--program says it").caused_by(e)
        }),
    }
}

/// How long the rest takes on `workers`, in words; `None` before a segment was made.
fn forecast(job: &SegmentJob, workers: usize) -> Result<Option<String>> {
    let Some(workload) = Workload::of_receipts(job)? else { return Ok(None) };
    let rest = times(&workload, workers);
    Ok(Some(format!("At the pace of the segments that are whole, the others take {rest}; the join comes on top.")))
}

/// How long all segments of a job that was just planned take on `workers` such as this machine, in words.
///
/// # Errors
/// Those of enlarging its first frames.
pub(super) fn foretold(job: &SegmentJob, workers: usize) -> Result<String> {
    let workload = Workload::of_first_frames(job)?;
    let besides =
        if job.manifest().delivery.is_in_parts() { "; encoding comes on top" } else { "; the join comes on top" };
    Ok(format!("on machines like this one, segments take {}{besides}", times(&workload, workers)))
}

/// The time of `workers`, and of one if they are more.
fn times(workload: &Workload, workers: usize) -> String {
    let about = |workers| duration(workload.predict(workers, &Conditions::default()).seconds);
    match workers {
        1 => format!("about {} on one worker", about(1)),
        n => format!("about {} on {n} workers, {} on one", about(n), about(1)),
    }
}
