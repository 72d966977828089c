//! Polls by hand, one message at a time, and commits each.

use super::base::Footing;
use super::consumer;
use crate::channel::print::Printer;
use crate::channel::puller::Puller;
use crate::channel::receiver::Handler;
use crate::channel::running::Running;
use crate::cli::{Given, Program, ProgramOption};
use crate::error::Result;

/// `consumer_pull`.
pub const PROGRAM: Program = Program {
    name: "consumer_pull",
    about: "Prints the messages of its group: asks for one at a time and commits it",
    options: &[ProgramOption::Name],
    run,
};

/// Its group where none is set.
const GROUP: &str = "grupo-pull";

fn run(given: &Given) -> Result<()> {
    let stop = given.begin()?;
    let footing = Footing::find(given, &stop)?;
    let puller = Puller::new(&consumer::in_group(given, GROUP), footing.endpoint(), &given.name, stop);
    let outcome = puller.and_then(|puller| Running::start(puller, pull)).and_then(Running::wait);
    footing.stop();
    outcome
}

fn pull(puller: &mut Puller) -> Result<()> {
    let mut printer = Printer::on_stdout();
    if puller.join() {
        printer.joined()?;
    }
    let timeout = puller.settings().fetch_max_wait();
    while !puller.stop().is_asked() {
        if let Some(message) = puller.next(timeout) {
            printer.handle(&message)?;
            if let Err(error) = puller.commit() {
                log::warn!("{error}; it may come again");
            }
        }
    }
    Ok(())
}
