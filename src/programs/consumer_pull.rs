//! A consumer that polls one message at a time and commits each.

use super::consumer::{consumer_name, run_in_group};
use crate::cli::{Invocation, Program, SettingsOptions};
use crate::consumer::Consumer;
use crate::consumer::printing::{Printed, Printing};
use crate::error::Result;
use clap::Args;

/// The command line.
#[derive(Debug, Args)]
#[command(about = "Prints the messages of its group: asks for one at a time and commits it")]
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
const GROUP: &str = "grupo-pull";

fn run(invocation: &Invocation) -> Result<()> {
    run_in_group(invocation, GROUP, pull)
}

fn pull(consumer: &mut Consumer, printing: &mut Printing) -> Result<()> {
    if consumer.join() {
        printing.joined()?;
    }
    let timeout = consumer.settings().fetch_max_wait;
    while !consumer.stop().is_asked() {
        if let Some(message) = consumer.next(timeout) {
            if printing.print(&message)? == Printed::Unfinished {
                consumer.give_back();
            } else if let Err(error) = consumer.commit() {
                log::warn!("{error}; it may come again");
            }
        }
    }
    Ok(())
}
