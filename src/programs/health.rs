//! `health`: whether the endpoint is alive, for what starts the program again where it is not, as the health
//! check of a container.

use super::endpoint_word;
use crate::cli::{Invocation, Program, SettingsOptions};
use crate::error::{Error, Result};
use clap::Args;

/// The command line.
#[derive(Debug, Args)]
#[command(about = "Asks the endpoint at producer_api.listen whether it is alive (GET /healthz)")]
pub struct Arguments {
    #[command(flatten)]
    settings: SettingsOptions,
}

impl Program for Arguments {
    fn settings(&self) -> &SettingsOptions {
        &self.settings
    }

    /// # Errors
    /// The endpoint is not there, or does not answer 200 in time.
    fn run(&self, invocation: &Invocation) -> Result<()> {
        endpoint_word::check_life(&invocation.settings.producer_api).map_err(Error::new)
    }
}
