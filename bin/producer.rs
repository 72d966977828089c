//! Sends a file's lines, or those of standard input, to the topic and reports each delivery.

mod allocator;

use std::process::ExitCode;

use point_to_point::cli;
use point_to_point::programs::producer;

fn main() -> ExitCode {
    cli::main::<producer::Arguments>("producer")
}
