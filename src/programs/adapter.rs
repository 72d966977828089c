//! The adapter as a program of its own, for other programs that use the `kafka` crate.

use super::base::Base;
use crate::adapter::AdapterSettings;
use crate::cli::{Given, Program};
use crate::error::Result;

/// `adapter`.
pub const PROGRAM: Program = Program {
    name: "adapter",
    about: "Lets programs with the kafka crate use a Kafka of today, as members of groups",
    options: &[],
    subcommands: &[],
    run,
};

fn run(given: &Given) -> Result<()> {
    let stop = given.begin()?;
    let base = Base::start(&given.settings, AdapterSettings::stand_alone(&given.settings))?;
    log::info!("adapter listening on {}", base.adapter().endpoint().address());
    stop.wait();
    base.stop();
    Ok(())
}
