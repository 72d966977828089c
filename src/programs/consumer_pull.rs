//! Polls by hand, one message at a time, and commits each.

use super::consumer::{Chosen, run_in_group};
use crate::channel::puller::Puller;
use crate::channel::worker::{Worked, Worker};
use crate::cli::{Given, Program, ProgramOption};
use crate::error::Result;

/// `consumer_pull`.
pub const PROGRAM: Program = Program {
    name: "consumer_pull",
    about: "Prints the messages of its group: asks for one at a time and commits it",
    options: &[ProgramOption::Name],
    subcommands: &[],
    run,
};

/// Its group where none is set.
const GROUP: &str = "grupo-pull";

fn run(given: &Given) -> Result<()> {
    run_in_group(given, GROUP, pull)
}

fn pull(puller: &mut Puller, worker: &mut Worker<Chosen>) -> Result<()> {
    if puller.join() {
        worker.joined()?;
    }
    let timeout = puller.settings().fetch_max_wait();
    while !puller.stop().is_asked() {
        if let Some(message) = puller.next(timeout) {
            if worker.work(&message)? == Worked::Left {
                puller.give_back();
            } else if let Err(error) = puller.commit() {
                log::warn!("{error}; it may come again");
            }
        }
    }
    Ok(())
}
