//! A consumer of the group: handles each message, which is printing it unless a handler is set, and then
//! commits it.

use super::base::Footing;
use super::monitor::Monitor;
use crate::channel::command::CommandHandler;
use crate::channel::handler::{Failure, Handler};
use crate::channel::print::Printer;
use crate::channel::puller::{Puller, Received};
use crate::channel::receiver::receive;
use crate::channel::running::Running;
use crate::channel::worker::Worker;
use crate::cli::{Given, Program, ProgramOption};
use crate::config::{ConsumerSettings, Settings};
use crate::error::Result;
use crate::metrics::ConsumerMetrics;
use crate::stop::Stop;

/// `consumer1`, `consumer2` or the subcommand `consumer`: the same, each with a name of its own.
pub const fn named(name: &'static str) -> Program {
    Program {
        name,
        about: "Prints or handles the messages that this member of the group gets",
        options: &[ProgramOption::Name, ProgramOption::Supervised],
        subcommands: &[],
        run,
    }
}

/// What consumers do with messages, as `consumer.handler` says.
pub(super) enum Chosen {
    Print(Printer<std::io::Stdout>),
    Run(CommandHandler),
}

impl Chosen {
    /// # Errors
    /// There is no such program.
    fn new(settings: &Settings, stop: &Stop) -> Result<Chosen> {
        if settings.consumer.handler.is_empty() {
            return Ok(Chosen::Print(Printer::on_stdout()));
        }
        CommandHandler::new(&settings.consumer, stop.clone()).map(Chosen::Run)
    }
}

impl Handler for Chosen {
    fn joined(&mut self) -> Result<()> {
        match self {
            Chosen::Print(printer) => printer.joined(),
            Chosen::Run(command) => command.joined(),
        }
    }

    fn handle(&mut self, message: &Received<'_>) -> Result<(), Failure> {
        match self {
            Chosen::Print(printer) => printer.handle(message),
            Chosen::Run(command) => command.handle(message),
        }
    }

    fn not_json(&mut self, message: &Received<'_>) -> Result<()> {
        match self {
            Chosen::Print(printer) => printer.not_json(message),
            Chosen::Run(command) => command.not_json(message),
        }
    }
}

/// Runs `body`, a loop over the messages of a program's own group where none is set, until stop is asked.
pub(super) fn run_in_group(
    given: &Given,
    group: &str,
    body: fn(&mut Puller, &mut Worker<Chosen>) -> Result<()>,
) -> Result<()> {
    let stop = given.begin()?;
    let mut settings = given.settings.clone();
    settings.consumer.group.get_or_insert_with(|| group.to_owned());
    let handler = Chosen::new(&settings, &stop)?;
    let metrics = ConsumerMetrics::default();
    let footing = Footing::find(given, &stop)?;
    let endpoint = footing.endpoint();
    let worker = Worker::new(&settings, endpoint.clone(), &given.name, stop.clone(), handler);
    let mut worker = worker.counted(metrics.clone());
    let outcome = Monitor::start(&settings, &given.name, &metrics).and_then(|_monitor| {
        let puller = Puller::new(&settings, endpoint, &given.name, stop)?.counted(metrics);
        Running::start(puller, move |puller| body(puller, &mut worker))?.wait()
    });
    footing.stop();
    outcome
}

fn run(given: &Given) -> Result<()> {
    run_in_group(given, ConsumerSettings::DEFAULT_GROUP, receive)
}
