//! Asks for one message at a time, prints it and commits it.

mod allocator;

use std::process::ExitCode;

use point_to_point::cli;
use point_to_point::programs::consumer_pull;

fn main() -> ExitCode {
    cli::main::<consumer_pull::Arguments>("consumer_pull")
}
