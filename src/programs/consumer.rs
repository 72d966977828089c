//! A consumer of the group: prints each message once and then commits it.

use super::base::Footing;
use crate::channel::print::Printer;
use crate::channel::receiver::Receiver;
use crate::cli::{Given, Program, ProgramOption};
use crate::config::Settings;
use crate::error::Result;

/// `consumer1`, `consumer2` or the subcommand `consumer`: the same, each with a name of its own.
pub const fn named(name: &'static str) -> Program {
    Program {
        name,
        about: "Prints the messages that this member of the group gets",
        options: &[ProgramOption::Name, ProgramOption::Supervised],
        run,
    }
}

/// The settings, with a program's own group where none is set.
pub(super) fn in_group(given: &Given, group: &str) -> Settings {
    let mut settings = given.settings.clone();
    settings.consumer.group.get_or_insert_with(|| group.to_owned());
    settings
}

fn run(given: &Given) -> Result<()> {
    let stop = given.begin()?;
    let footing = Footing::find(given, &stop)?;
    let receiver = Receiver::new(&given.settings, footing.endpoint(), &given.name, stop);
    let outcome =
        receiver.and_then(|receiver| receiver.start(Printer::on_stdout())).and_then(|running| running.wait());
    footing.stop();
    outcome
}
