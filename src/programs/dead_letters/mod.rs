//! The administration of dead letters: list, show, replay to the original topic, discard.

mod look;
mod settle;
mod through;

use std::io::{self, Write};

use crate::cli::{
    AFTER_HELP, AllDeadLetters, DeadLetterChoice, DeadLetterIds, DeadLetterProgram, DeadLetterTopics,
    Invocation, Program, SettingsOptions,
};
use crate::config::Settings;
use crate::dead_letters::{DeadLetterBrowser, ReplayAction};
use crate::error::{Error, Result};
use crate::logging;
use crate::runtime;
use broker::Broker;
use clap::{Args, Subcommand};
use settle::Order;

/// The command line.
#[derive(Debug, Args)]
#[command(about = "Lists, shows, replays or discards the messages that could not be handled")]
pub struct Arguments {
    #[command(flatten)]
    settings: SettingsOptions,
    #[command(subcommand)]
    subcommand: Option<Task>,
}

#[derive(Debug, Subcommand)]
enum Task {
    #[command(after_help = AFTER_HELP)]
    List(List),
    #[command(after_help = AFTER_HELP)]
    Show(Show),
    #[command(after_help = AFTER_HELP)]
    Replay(Replay),
    #[command(after_help = AFTER_HELP)]
    Discard(Discard),
}

impl Program for Arguments {
    fn settings(&self) -> &SettingsOptions {
        &self.settings
    }

    fn subcommand(&self) -> Option<(&'static str, &dyn Program)> {
        self.subcommand.as_ref().map(|task| -> (_, &dyn Program) {
            match task {
                Task::List(list) => ("list", list),
                Task::Show(show) => ("show", show),
                Task::Replay(replay) => ("replay", replay),
                Task::Discard(discard) => ("discard", discard),
            }
        })
    }

    fn run(&self, _: &Invocation) -> Result<()> {
        let what = "what shall be done? list, show, replay or discard; see --help";
        Err(Error::new(what).about_settings())
    }
}

#[derive(Debug, Args)]
#[command(
    about = "Lists the dead letters that are neither replayed nor discarded, the oldest first, or those that are chosen"
)]
struct List {
    #[command(flatten)]
    settings: SettingsOptions,
    #[command(flatten)]
    topics: DeadLetterTopics,
    #[command(flatten)]
    choice: DeadLetterChoice,
}

impl Program for List {
    fn settings(&self) -> &SettingsOptions {
        &self.settings
    }

    fn run(&self, invocation: &Invocation) -> Result<()> {
        look::list(invocation, &self.topics, &self.choice)
    }
}

#[derive(Debug, Args)]
#[command(
    about = "Shows all of a dead letter: where it came from, what went wrong, its headers and its value"
)]
struct Show {
    #[command(flatten)]
    settings: SettingsOptions,
    #[command(flatten)]
    topics: DeadLetterTopics,
    #[command(flatten)]
    ids: DeadLetterIds,
}

impl Program for Show {
    fn settings(&self) -> &SettingsOptions {
        &self.settings
    }

    fn run(&self, invocation: &Invocation) -> Result<()> {
        look::show(invocation, &self.topics, &self.ids)
    }
}

#[derive(Debug, Args)]
#[command(
    about = "Sends the dead letters, or those that are chosen, to the topic and partition that they came from"
)]
struct Replay {
    #[command(flatten)]
    settings: SettingsOptions,
    #[command(flatten)]
    topics: DeadLetterTopics,
    #[command(flatten)]
    choice: DeadLetterChoice,
    #[command(flatten)]
    program: DeadLetterProgram,
}

impl Program for Replay {
    fn settings(&self) -> &SettingsOptions {
        &self.settings
    }

    fn run(&self, invocation: &Invocation) -> Result<()> {
        let (action, program) = (ReplayAction::Replay, self.program.command());
        settle::run(invocation, &Order { action, topics: &self.topics, choice: &self.choice, program })
    }
}

#[derive(Debug, Args)]
#[command(about = "Takes the dead letters that are chosen for done with, and sends them nowhere")]
struct Discard {
    #[command(flatten)]
    settings: SettingsOptions,
    #[command(flatten)]
    topics: DeadLetterTopics,
    #[command(flatten)]
    choice: DeadLetterChoice,
    #[command(flatten)]
    all: AllDeadLetters,
}

impl Program for Discard {
    fn settings(&self) -> &SettingsOptions {
        &self.settings
    }

    fn run(&self, invocation: &Invocation) -> Result<()> {
        if self.choice.filter().is_everything() && !self.all.all {
            let what = "which letters? name them, choose some (see --help), or give --all for every one";
            return Err(Error::new(what).about_settings());
        }
        let (action, program) = (ReplayAction::Discard, None);
        settle::run(invocation, &Order { action, topics: &self.topics, choice: &self.choice, program })
    }
}

/// Runs a reading command, whose output is complete without a log.
fn looking(
    settings: &Settings,
    topics: &[&str],
    look: impl FnOnce(&[DeadLetterBrowser]) -> Result<()>,
) -> Result<()> {
    logging::start(&settings.log.of_a_look(), "dead-letters")?;
    with_browsers(settings, topics, look)
}

/// Runs `work` with a browser for each topic that letters came from. The embedded broker is started if no
/// other broker is named and no process serves it.
fn with_browsers<T>(
    settings: &Settings,
    topics: &[&str],
    work: impl FnOnce(&[DeadLetterBrowser]) -> Result<T>,
) -> Result<T> {
    let mut broker = None;
    if let Some(embedded) = settings.embedded_broker() {
        runtime::is_served(&embedded.address(), &embedded.data_dir)?;
        broker = settings.broker().map(runtime::start_broker).transpose()?;
    }
    let browser = |topic: &&str| DeadLetterBrowser::new(&settings.dead_letter_browser_of(topic));
    let browsers: Vec<DeadLetterBrowser> = topics.iter().map(browser).collect();
    let outcome = work(&browsers);
    broker.into_iter().for_each(Broker::stop);
    outcome
}

/// Prints, and returns whether the reader still takes it.
fn print(text: &str) -> bool {
    let mut output = io::stdout().lock();
    output.write_all(text.as_bytes()).and_then(|()| output.flush()).is_ok()
}
