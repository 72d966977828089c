//! The administration of consumer groups: list, describe, and reset what they have committed.

mod look;
mod reset;

use clap::builder::NonEmptyStringValueParser;
use clap::{ArgGroup, Args, Subcommand, value_parser};

use super::administration::{with_broker, with_cluster};
use crate::cli::{AFTER_HELP, Invocation, Program, SettingsOptions};
use crate::error::{Error, Result};
use crate::runtime::Store;

/// The command line.
#[derive(Debug, Args)]
#[command(about = "Lists or describes consumer groups, or resets what they have committed")]
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
    Describe(Describe),
    #[command(after_help = AFTER_HELP)]
    Reset(Reset),
}

impl Program for Arguments {
    fn settings(&self) -> &SettingsOptions {
        &self.settings
    }

    fn subcommand(&self) -> Option<(&'static str, &dyn Program)> {
        self.subcommand.as_ref().map(|task| -> (_, &dyn Program) {
            match task {
                Task::List(list) => ("list", list),
                Task::Describe(describe) => ("describe", describe),
                Task::Reset(reset) => ("reset", reset),
            }
        })
    }

    fn run(&self, _: &Invocation) -> Result<()> {
        Err(Error::new("the command is list, describe or reset; see --help").about_settings())
    }
}

/// The name in the log, and what the command needs.
const ON_GROUPS: (&str, Store) = ("groups", Store::Needed);

#[derive(Debug, Args)]
#[command(about = "Lists the consumer groups with their states and the numbers of their members")]
struct List {
    #[command(flatten)]
    settings: SettingsOptions,
    /// A JSON object a line, one for each group
    #[arg(long)]
    json: bool,
}

impl Program for List {
    fn settings(&self) -> &SettingsOptions {
        &self.settings
    }

    fn run(&self, invocation: &Invocation) -> Result<()> {
        with_cluster(&invocation.settings, ON_GROUPS, |cluster| look::list(cluster, self.json))
    }
}

#[derive(Debug, Args)]
#[command(
    about = "Describes groups: what they have committed, what is left, and which member has a partition"
)]
struct Describe {
    #[command(flatten)]
    settings: SettingsOptions,
    /// The groups [default: all]
    #[arg(value_name = "GROUP", value_parser = NonEmptyStringValueParser::new())]
    names: Vec<String>,
    /// A JSON object a line, one for each group
    #[arg(long)]
    json: bool,
}

impl Program for Describe {
    fn settings(&self) -> &SettingsOptions {
        &self.settings
    }

    fn run(&self, invocation: &Invocation) -> Result<()> {
        with_cluster(&invocation.settings, ON_GROUPS, |cluster| look::describe(cluster, self))
    }
}

#[derive(Debug, Args)]
#[command(
    about = "Shows what a group would have committed after a reset, and with --execute commits it",
    group = ArgGroup::new("target").required(true)
)]
struct Reset {
    #[command(flatten)]
    settings: SettingsOptions,
    /// The group; it must have no members
    #[arg(long, value_name = "GROUP", value_parser = NonEmptyStringValueParser::new())]
    group: String,
    /// A topic (repeatable)
    #[arg(long, value_name = "TOPIC", required = true, value_parser = NonEmptyStringValueParser::new())]
    topic: Vec<String>,
    /// Only this partition (repeatable)
    #[arg(long, value_name = "N", value_parser = value_parser!(i32).range(0..))]
    partition: Vec<i32>,
    /// To the first message that is there
    #[arg(long, group = "target")]
    to_earliest: bool,
    /// Behind the last message
    #[arg(long, group = "target")]
    to_latest: bool,
    /// To the first message since then, such as 2026-05-01T10:00:00Z; behind the last if there is none
    #[arg(long, group = "target", value_name = "RFC3339", value_parser = reset::time)]
    to_time: Option<i64>,
    /// To this offset, or the nearest one that is there
    #[arg(long, group = "target", value_name = "N", value_parser = value_parser!(i64).range(0..))]
    to_offset: Option<i64>,
    /// Do it, and do not only show it
    #[arg(long)]
    execute: bool,
}

impl Program for Reset {
    fn settings(&self) -> &SettingsOptions {
        &self.settings
    }

    fn run(&self, invocation: &Invocation) -> Result<()> {
        with_broker(&invocation.settings, ON_GROUPS, |cluster, is_ours| reset::run(cluster, is_ours, self))
    }
}

#[cfg(test)]
mod tests {
    use clap::Command;
    use clap::error::ErrorKind;

    use super::*;

    #[test]
    fn a_name_that_is_empty_is_refused_at_the_command_line() {
        let refusal = |words: &[&str]| {
            let words = std::iter::once(&"groups").chain(words);
            Arguments::augment_args(Command::new("groups"))
                .try_get_matches_from(words)
                .err()
                .map(|e| e.kind())
        };
        let reset = |group, topic| ["reset", "--group", group, "--topic", topic, "--to-earliest"];
        assert_eq!(refusal(&reset("g", "t")), None);
        // A group of others may have a name that the settings would not take.
        assert_eq!(refusal(&reset(" ", "t")), None);
        for words in [&reset("", "t")[..], &reset("g", ""), &["describe", ""], &["describe", "g", ""]] {
            assert_eq!(refusal(words), Some(ErrorKind::InvalidValue), "{words:?}");
        }
    }
}
