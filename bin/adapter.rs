//! The adapter as a program of its own, for other programs that use the `kafka` crate.

mod allocator;

use std::process::ExitCode;

use point_to_point::cli;
use point_to_point::programs::adapter;

fn main() -> ExitCode {
    cli::main::<adapter::Arguments>("adapter")
}
