//! Has a function called for every message, and commits automatically.

use super::consumer::run_in_group;
use crate::channel::push::push;
use crate::cli::{Given, Program, ProgramOption};
use crate::error::Result;

/// `consumer_push`.
pub const PROGRAM: Program = Program {
    name: "consumer_push",
    about: "Prints the messages of its group as they come and commits them at intervals",
    options: &[ProgramOption::Name],
    subcommands: &[],
    run,
};

/// Its group where none is set.
const GROUP: &str = "grupo-push";

fn run(given: &Given) -> Result<()> {
    run_in_group(given, GROUP, push)
}
