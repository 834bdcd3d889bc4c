//! `subpel completions` and `subpel man`: generated from the same definitions as `--help`.

use std::io::Write;

use clap::{Args, CommandFactory};

use super::{Cli, Outcome};
use crate::error::{Error, Kind, Result};

/// Print completions for a shell
#[derive(Args, Debug)]
pub(super) struct Completions {
    /// Shell to complete for
    #[arg(value_name = "SHELL", value_enum)]
    shell: clap_complete::Shell,
}

/// Print the manual page, with all commands
#[derive(Args, Debug)]
pub(super) struct Man {}

impl Completions {
    pub(super) fn run(self, out: &mut dyn Write) -> Result<Outcome> {
        let mut text = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "subpel", &mut text);
        print_whole(out, &text)
    }
}

impl Man {
    pub(super) fn run(self, out: &mut dyn Write) -> Result<Outcome> {
        let mut text = Vec::new();
        let failed = |e| Error::new(Kind::Bug, "the manual page could not be made").caused_by(e);
        let mut root = Cli::command();
        root.build();
        clap_mangen::Man::new(root.clone()).render(&mut text).map_err(failed)?;
        for command in root.get_subcommands().filter(|c| c.get_name() != "help") {
            clap_mangen::Man::new(command.clone()).render(&mut text).map_err(failed)?;
        }
        print_whole(out, &text)
    }
}

fn print_whole(out: &mut dyn Write, text: &[u8]) -> Result<Outcome> {
    match out.write_all(text) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::new(Kind::of_io(&e), "writing to standard output failed").caused_by(e))
        }
        _ => Ok(Outcome::Done),
    }
}
