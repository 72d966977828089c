//! The administration of dead letters: list, show, replay to the original topic, discard.

mod look;
mod settle;
mod through;

use std::io::{self, Write};
use std::time::{Duration, Instant};

use crate::cli::{
    AFTER_HELP, AllDeadLetters, DeadLetterChoice, DeadLetterIds, DeadLetterProgram, DeadLetterTopics,
    Invocation, LetterTopic, LetterTopics, Program, SettingsOptions, check_names,
};
use crate::config::{Settings, Subscription};
use crate::dead_letters::{DeadLetterBrowser, DeadLetterId, ReplayAction, source_topic};
use crate::error::{Error, Result};
use crate::logging;
use crate::runtime::{self, Store};
use broker::Broker;
use clap::{Args, Subcommand};
use client::Cluster;
use client::describe::Description;
use protocol::error_code::ErrorCode;
use settle::Order;

/// The longest wait for a broker that knows all topics.
const FIRST_ANSWER: Duration = Duration::from_secs(5);

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
    meant: &Meant<'_>,
    look: impl FnOnce(&[DeadLetterBrowser]) -> Result<()>,
) -> Result<()> {
    logging::start(&settings.log.of_a_look(), "dead-letters")?;
    with_browsers(settings, meant, look)
}

/// The topics whose letters are meant, and the letters, where these are named.
struct Meant<'a> {
    topics: LetterTopics<'a>,
    /// The command line names the topics, and not the settings.
    are_given: bool,
    ids: Vec<DeadLetterId>,
}

impl<'a> Meant<'a> {
    /// # Errors
    /// The options contradict each other.
    fn new(
        topics: &DeadLetterTopics,
        consumed: &'a Subscription,
        ids: impl IntoIterator<Item = DeadLetterId>,
    ) -> Result<Meant<'a>> {
        let are_given = topics.are_given();
        let meant = Meant { topics: topics.or(consumed)?, are_given, ids: ids.into_iter().collect() };
        if let LetterTopics::Named(topics) = &meant.topics {
            meant.check(topics)?;
        }
        Ok(meant)
    }

    fn check(&self, topics: &[LetterTopic]) -> Result<()> {
        check_names(topics, self.ids.iter().copied())
    }

    /// Whether letters of one topic alone are meant.
    fn is_of_one(&self) -> bool {
        matches!(&self.topics, LetterTopics::Named(topics) if topics.len() == 1)
    }

    fn browsers(&self, settings: &Settings) -> Result<Vec<DeadLetterBrowser>> {
        let topics = match &self.topics {
            LetterTopics::Named(topics) => {
                if self.are_given {
                    check_existence(settings, topics)?;
                }
                topics.clone()
            }
            LetterTopics::Matching(consumed) => matching(settings, consumed)?,
        };
        self.check(&topics)?;
        let browser = |LetterTopic { source, topic }: &LetterTopic| {
            DeadLetterBrowser::new(&settings.dead_letter_browser_in(source, topic))
        };
        Ok(topics.iter().map(browser).collect())
    }
}

/// A name that is mistyped has no dead letters, which must not look as if all were well. What the user may
/// not see may be there.
///
/// # Errors
/// One of the topics is not there, and that for its dead letters neither; or no broker answers in time.
fn check_existence(settings: &Settings, topics: &[LetterTopic]) -> Result<()> {
    let names: Vec<&str> = topics.iter().flat_map(|of| [of.source.as_str(), of.topic.as_str()]).collect();
    let found = described(settings, Some(&names))?;
    let none = [ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, ErrorCode::INVALID_TOPIC_EXCEPTION];
    let is_missing =
        |name: &str| !found.topics.iter().any(|topic| topic.name == name && !none.contains(&topic.error));
    match topics.iter().find(|of| is_missing(&of.source) && is_missing(&of.topic)) {
        None => Ok(()),
        Some(LetterTopic { source, topic }) => {
            let brokers = settings.brokers().join(", ");
            let hint = "`point-to-point status` lists those that are there";
            Err(Error::new(format!("there is no topic {source} at {brokers}, nor {topic}: {hint}")))
        }
    }
}

/// The topics with dead letters of those that a pattern matches, by name.
fn matching(settings: &Settings, consumed: &Subscription) -> Result<Vec<LetterTopic>> {
    let found = described(settings, None)?;
    let sources = found.topics.iter().filter_map(|topic| source_topic(&topic.name));
    Ok(sources.filter(|source| consumed.has(source)).map(LetterTopic::of).collect())
}

/// These topics, or all of them, as far as they are there.
fn described(settings: &Settings, topics: Option<&[&str]>) -> Result<Description> {
    let cluster = Cluster::new(settings.cluster());
    let deadline = Instant::now() + FIRST_ANSWER;
    let found = client::in_time(&cluster, deadline, || cluster.describe(topics, deadline));
    found.map_err(|error| Error::new("no answer about dead letters").caused_by(error))
}

/// Runs `work` with a browser for each topic with letters. The embedded broker is started if no other broker
/// is named and no process serves it.
fn with_browsers<T>(
    settings: &Settings,
    meant: &Meant<'_>,
    work: impl FnOnce(&[DeadLetterBrowser]) -> Result<T>,
) -> Result<T> {
    let embedded = settings.broker();
    if let Some(embedded) = &embedded {
        runtime::is_served(embedded, Store::Needed)?;
    }
    // Also beside a process that serves: a replay may take longer than that process lives.
    let broker = embedded.map(runtime::start_broker).transpose()?;
    let outcome = meant.browsers(settings).and_then(|browsers| work(&browsers));
    broker.into_iter().for_each(Broker::stop);
    outcome
}

/// Prints, and returns whether the reader still takes it.
fn print(text: &str) -> bool {
    let mut output = io::stdout().lock();
    output.write_all(text.as_bytes()).and_then(|()| output.flush()).is_ok()
}
