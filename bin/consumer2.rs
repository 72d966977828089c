//! A consumer of the group: prints each message once and then commits it.

mod allocator;

use std::process::ExitCode;

use point_to_point::cli;
use point_to_point::programs::consumer;

fn main() -> ExitCode {
    cli::main::<consumer::Arguments>("consumer2")
}
