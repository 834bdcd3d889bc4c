//! The program: a thin user of the library. See `subpel --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    subpel::cli::main()
}
