//! Has a function called for every message, and commits at intervals.

mod allocator;

use std::process::ExitCode;

use point_to_point::cli;
use point_to_point::programs::consumer_push;

fn main() -> ExitCode {
    cli::main::<consumer_push::Arguments>("consumer_push")
}
