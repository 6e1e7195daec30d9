//! The `lockerfs` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    lockerfs::cli::main()
}
