//! A consumer whose loop calls a function for each message and commits automatically.

use super::consumer::{consumer_name, run_in_group};
use crate::cli::{Invocation, Program, SettingsOptions};
use crate::consumer::push;
use crate::error::Result;
use clap::Args;

/// The command line.
#[derive(Debug, Args)]
#[command(about = "Prints the messages of its group as they come and commits them at intervals")]
pub struct Arguments {
    #[command(flatten)]
    settings: SettingsOptions,
    /// The consumer's name, which Kafka's tools show as its client id
    #[arg(long, value_parser = consumer_name)]
    name: Option<String>,
}

impl Program for Arguments {
    fn settings(&self) -> &SettingsOptions {
        &self.settings
    }

    fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    fn run(&self, invocation: &Invocation) -> Result<()> {
        run(invocation)
    }
}

/// The group where none is set.
const GROUP: &str = "grupo-push";

fn run(invocation: &Invocation) -> Result<()> {
    run_in_group(invocation, GROUP, push)
}
