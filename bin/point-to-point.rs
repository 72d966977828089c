//! The default program: the whole channel at once; its subcommands are the parts.

mod allocator;

use std::process::ExitCode;

use point_to_point::cli;
use point_to_point::programs::supervise;

fn main() -> ExitCode {
    cli::main::<supervise::Arguments>("point-to-point")
}
