//! The adapter as a program of its own, for other programs that use the `kafka` crate.

use crate::cli::{Invocation, Program, SettingsOptions};
use crate::error::Result;
use crate::runtime::Runtime;
use clap::Args;

/// The command line.
#[derive(Debug, Args)]
#[command(about = "Lets programs with the kafka crate use a Kafka of today, as members of groups")]
pub struct Arguments {
    #[command(flatten)]
    settings: SettingsOptions,
}

impl Program for Arguments {
    fn settings(&self) -> &SettingsOptions {
        &self.settings
    }

    fn run(&self, invocation: &Invocation) -> Result<()> {
        run(invocation)
    }
}

fn run(invocation: &Invocation) -> Result<()> {
    let stop = invocation.begin()?;
    let runtime = Runtime::start(invocation.settings.shared_runtime())?;
    log::info!("adapter listening on {}", runtime.adapter().endpoint().address());
    stop.wait();
    runtime.stop();
    Ok(())
}
