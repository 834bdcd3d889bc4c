//! The command line: arguments, messages, exit codes. One file a subcommand; nothing else knows the terminal.

mod compare;
mod compare_text;
mod emit;
mod enlarging;
mod generate;
mod inspect;
mod metrics;
mod model;
mod motion;
mod network;
mod progress;
mod scores;
mod segment_job;
mod segments;
mod signals;
mod text;
mod upscale;
mod values;

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::error::{Error, Kind, Result};

/// Shown below `--help`; the README has the same table, a test compares them.
const EXIT_CODES: &str = "\
Exit codes:
    0  done
    2  wrong usage
    3  done, but the input was damaged: the output holds all that decodes; or (status, verify) segments are missing
   65  the input cannot be used
   69  an encoder, device or library is missing
   70  internal error
   73  the output cannot be created
   74  reading or writing failed
   75  out of disk or memory: try again
   78  plan and input differ
  130  interrupted (SIGINT)
  143  terminated (SIGTERM)";

/// Multi-frame video super-resolution.
///
/// Rebuilds from several frames of a video the detail that none of them holds alone, and writes a video that has lost
/// nothing: every frame at its time, every stream, every bit of depth and colour.
#[derive(Parser)]
#[command(name = "subpel", version, after_help = EXIT_CODES, max_term_width = 120)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Upscale(Box<upscale::Upscale>),
    Run(Box<segments::Run>),
    Plan(Box<segments::Plan>),
    RunSegment(segment_job::RunSegment),
    Status(segment_job::Status),
    Verify(segment_job::Verify),
    Join(segment_job::Join),
    Gc(segment_job::Gc),
    Compare(Box<compare::Compare>),
    Emit(Box<emit::Emit>),
    Motion(motion::Motion),
    Metrics(metrics::Metrics),
    Inspect(inspect::Inspect),
    Model(model::Model),
    Completions(generate::Completions),
    Man(generate::Man),
}

/// How a command that did not fail ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Done,
    /// Done, but the input was damaged.
    Damaged,
    /// Not an error, but segments are missing.
    Incomplete,
}

/// Parses the arguments, runs the command, prints the one message if it failed.
pub fn main() -> ExitCode {
    crate::media::use_one_heap();
    let cli = Cli::parse();
    match guarded(cli) {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Damaged | Outcome::Incomplete) => ExitCode::from(3),
        Err(error) => {
            text::print_error(&error);
            ExitCode::from(error.kind().exit_code())
        }
    }
}

/// Runs the command; a panic anywhere becomes an internal error with its exit code.
fn guarded(cli: Cli) -> Result<Outcome> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(cli))).unwrap_or_else(|_| {
        Err(Error::new(Kind::Bug, "internal error, described above").hint("please report it with the file, if you can"))
    })
}

fn run(cli: Cli) -> Result<Outcome> {
    let mut out = std::io::stdout().lock();
    match cli.command {
        Command::Upscale(command) => command.run(),
        Command::Run(command) => command.run(),
        Command::Plan(command) => command.run(&mut out),
        Command::RunSegment(command) => command.run(),
        Command::Status(command) => command.run(&mut out),
        Command::Verify(command) => command.run(&mut out),
        Command::Join(command) => command.run(),
        Command::Gc(command) => command.run(&mut out),
        Command::Compare(command) => command.run(&mut out),
        Command::Emit(command) => command.run(&mut out),
        Command::Motion(command) => command.run(&mut out),
        Command::Metrics(command) => command.run(&mut out),
        Command::Inspect(command) => command.run(&mut out),
        Command::Model(command) => command.run(&mut out),
        Command::Completions(command) => command.run(&mut out),
        Command::Man(command) => command.run(&mut out),
    }
}

/// Writes one line of a result. `false` if the reader has gone (`| head`), which is no error.
fn print_line(out: &mut dyn Write, line: &str) -> Result<bool> {
    match writeln!(out, "{line}") {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        Err(e) => Err(Error::new(Kind::of_io(&e), "writing to standard output failed").caused_by(e)),
    }
}
