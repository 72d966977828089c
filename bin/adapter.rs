//! The adapter as a program of its own, for other programs that use the `kafka` crate.

use std::process::ExitCode;

use point_to_point::adapter::{Adapter, AdapterSettings};
use point_to_point::cli;
use point_to_point::error::Error;

fn main() -> ExitCode {
    cli::program(
        "adapter",
        "Lets programs with the kafka crate use a Kafka of today, as members of groups",
        |settings, stop| {
            let adapter = Adapter::start(AdapterSettings::stand_alone(settings))
                .map_err(|error| Error::new(error.to_string()))?;
            log::info!("adapter listening on {}", adapter.endpoint().address());
            stop.wait();
            adapter.stop();
            Ok(())
        },
    )
}
