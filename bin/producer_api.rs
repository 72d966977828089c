//! The HTTP endpoint: what is posted to it is stored in the topic.

mod allocator;

use std::process::ExitCode;

use point_to_point::cli;
use point_to_point::programs::producer_api;

fn main() -> ExitCode {
    cli::main::<producer_api::Arguments>("producer_api")
}
