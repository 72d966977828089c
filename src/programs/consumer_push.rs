//! Has a function called for every message, and commits automatically.

use super::base::Footing;
use super::consumer;
use crate::channel::print::Printer;
use crate::channel::puller::Puller;
use crate::channel::push::push;
use crate::channel::receiver::Handler;
use crate::channel::running::Running;
use crate::cli::{Given, Program, ProgramOption};
use crate::error::Result;

/// `consumer_push`.
pub const PROGRAM: Program = Program {
    name: "consumer_push",
    about: "Prints the messages of its group as they come and commits them at intervals",
    options: &[ProgramOption::Name],
    run,
};

/// Its group where none is set.
const GROUP: &str = "grupo-push";

fn run(given: &Given) -> Result<()> {
    let stop = given.begin()?;
    let footing = Footing::find(given, &stop)?;
    let puller = Puller::new(&consumer::in_group(given, GROUP), footing.endpoint(), &given.name, stop);
    let outcome = puller.and_then(|puller| Running::start(puller, print)).and_then(Running::wait);
    footing.stop();
    outcome
}

fn print(puller: &mut Puller) -> Result<()> {
    let mut printer = Printer::on_stdout();
    if puller.join() {
        printer.joined()?;
    }
    push(puller, |message| printer.handle(message))
}
