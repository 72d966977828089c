//! The administration of topics: list, describe, create, alter, delete.

mod change;
mod look;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand, value_parser};

use super::administration::with_cluster;
use crate::cli::{AFTER_HELP, Invocation, Program, SettingsOptions};
use crate::config;
use crate::error::{Error, Result};
use crate::runtime::Store;

/// How many partitions a topic may have.
const PARTITIONS: RangeInclusive<i64> = 1..=config::MOST_PARTITIONS as i64;

/// The command line.
#[derive(Debug, Args)]
#[command(about = "Lists, describes, creates, alters or deletes topics")]
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
    Create(Create),
    #[command(after_help = AFTER_HELP)]
    Alter(Alter),
    #[command(after_help = AFTER_HELP)]
    Delete(Delete),
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
                Task::Create(create) => ("create", create),
                Task::Alter(alter) => ("alter", alter),
                Task::Delete(delete) => ("delete", delete),
            }
        })
    }

    fn run(&self, _: &Invocation) -> Result<()> {
        let what = "the command is list, describe, create, alter or delete; see --help";
        Err(Error::new(what).about_settings())
    }
}

/// The name in the log, and what the command needs.
const ON_TOPICS: (&str, Store) = ("topics", Store::Needed);

#[derive(Debug, Args)]
#[command(about = "Lists the topics with the numbers of their partitions and replicas")]
struct List {
    #[command(flatten)]
    settings: SettingsOptions,
    /// Without Kafka's own topics, such as __consumer_offsets
    #[arg(long)]
    exclude_internal: bool,
    /// A JSON object a line, one for each topic
    #[arg(long)]
    json: bool,
}

impl Program for List {
    fn settings(&self) -> &SettingsOptions {
        &self.settings
    }

    fn run(&self, invocation: &Invocation) -> Result<()> {
        with_cluster(&invocation.settings, ON_TOPICS, |cluster| look::list(cluster, self))
    }
}

#[derive(Debug, Args)]
#[command(
    about = "Describes topics: leader, replicas, first and next offset of each partition, and configurations"
)]
struct Describe {
    #[command(flatten)]
    settings: SettingsOptions,
    /// The topics [default: all but Kafka's own]
    #[arg(value_name = "TOPIC", value_parser = NonEmptyStringValueParser::new())]
    names: Vec<String>,
    /// Also the configurations that a topic does not have of its own
    #[arg(long)]
    all_configs: bool,
    /// A JSON object a line, one for each topic
    #[arg(long)]
    json: bool,
}

impl Program for Describe {
    fn settings(&self) -> &SettingsOptions {
        &self.settings
    }

    fn run(&self, invocation: &Invocation) -> Result<()> {
        with_cluster(&invocation.settings, ON_TOPICS, |cluster| look::describe(cluster, self))
    }
}

#[derive(Debug, Args)]
#[command(about = "Creates a topic")]
struct Create {
    #[command(flatten)]
    settings: SettingsOptions,
    #[arg(value_name = "TOPIC", value_parser = config::check_topic)]
    name: String,
    /// Its partitions [default: as the brokers' num.partitions says; the embedded broker's: kafka.partitions]
    #[arg(long, value_name = "N", value_parser = value_parser!(i32).range(PARTITIONS))]
    partitions: Option<i32>,
    /// The replicas of each partition [default: as the brokers' default.replication.factor says]
    #[arg(long, value_name = "N", value_parser = value_parser!(i16).range(1..))]
    replication_factor: Option<i16>,
    /// A configuration, such as retention.ms=86400000 (repeatable)
    #[arg(long, value_name = "NAME=VALUE", value_parser = configuration)]
    topic_config: Vec<(String, String)>,
    /// A topic that is there stays as it is, and that is no error
    #[arg(long)]
    if_not_exists: bool,
}

impl Program for Create {
    fn settings(&self) -> &SettingsOptions {
        &self.settings
    }

    fn run(&self, invocation: &Invocation) -> Result<()> {
        with_cluster(&invocation.settings, ("topics", Store::Begun), |cluster| change::create(cluster, self))
    }
}

#[derive(Debug, Args)]
#[command(about = "Gives a topic more partitions, sets its configurations, or takes them from it")]
struct Alter {
    #[command(flatten)]
    settings: SettingsOptions,
    #[arg(value_name = "TOPIC", value_parser = NonEmptyStringValueParser::new())]
    name: String,
    /// So many partitions in all: more than it has
    #[arg(long, value_name = "N", value_parser = value_parser!(i32).range(PARTITIONS))]
    partitions: Option<i32>,
    /// A configuration to set, such as retention.ms=86400000 (repeatable)
    #[arg(long, value_name = "NAME=VALUE", value_parser = configuration)]
    topic_config: Vec<(String, String)>,
    /// A configuration that the topic has no longer of its own (repeatable)
    #[arg(long, value_name = "NAME")]
    delete_config: Vec<String>,
}

impl Program for Alter {
    fn settings(&self) -> &SettingsOptions {
        &self.settings
    }

    fn run(&self, invocation: &Invocation) -> Result<()> {
        let changes = self.changes()?;
        with_cluster(&invocation.settings, ON_TOPICS, |cluster| change::alter(cluster, self, &changes))
    }
}

impl Alter {
    /// The changes of configurations: a value, or none for one that is taken from the topic.
    fn changes(&self) -> Result<BTreeMap<String, Option<String>>> {
        let set = self.topic_config.iter().map(|(name, value)| (name.clone(), Some(value.clone())));
        let mut changes: BTreeMap<_, _> = set.collect();
        for name in &self.delete_config {
            if changes.insert(name.clone(), None).is_some_and(|value| value.is_some()) {
                let what = format!("{name} is both in --topic-config and in --delete-config");
                return Err(Error::new(what).about_settings());
            }
        }
        if changes.is_empty() && self.partitions.is_none() {
            let what = "what shall be altered? give --partitions, --topic-config or --delete-config";
            return Err(Error::new(what).about_settings());
        }
        Ok(changes)
    }
}

#[derive(Debug, Args)]
#[command(about = "Deletes topics with everything in them")]
struct Delete {
    #[command(flatten)]
    settings: SettingsOptions,
    #[arg(value_name = "TOPIC", required = true, value_parser = NonEmptyStringValueParser::new())]
    names: Vec<String>,
    /// A topic that is not there is no error
    #[arg(long)]
    if_exists: bool,
}

impl Program for Delete {
    fn settings(&self) -> &SettingsOptions {
        &self.settings
    }

    fn run(&self, invocation: &Invocation) -> Result<()> {
        with_cluster(&invocation.settings, ON_TOPICS, |cluster| change::delete(cluster, self))
    }
}

/// `name=value`.
fn configuration(text: &str) -> Result<(String, String), String> {
    let parts = text.split_once('=').map(|(name, value)| (name.trim(), value.trim()));
    match parts.filter(|(name, _)| !name.is_empty()) {
        Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
        None => Err("a configuration is NAME=VALUE, such as retention.ms=86400000".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alter(config: &[(&str, &str)], delete_config: &[&str]) -> Alter {
        let topic_config =
            config.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let delete_config = delete_config.iter().map(|&name| name.to_owned()).collect();
        let (settings, name) = (SettingsOptions::default(), "t".to_owned());
        Alter { settings, name, partitions: None, topic_config, delete_config }
    }

    #[test]
    fn a_configuration_is_set_or_taken_and_something_is_altered() {
        let changes = alter(&[("a", "1"), ("b", "")], &["c"]).changes().unwrap();
        let expected = [("a", Some("1")), ("b", Some("")), ("c", None)];
        assert_eq!(changes, expected.map(|(name, value)| (name.to_owned(), value.map(str::to_owned))).into());
        let said = |alter: Alter| alter.changes().unwrap_err().to_string();
        assert_eq!(said(alter(&[("a", "1")], &["a"])), "a is both in --topic-config and in --delete-config");
        assert!(said(alter(&[], &[])).starts_with("what shall be altered?"));
    }

    #[test]
    fn a_name_that_is_empty_is_refused_at_the_command_line() {
        let refusal = |words: &[&str]| {
            let command = Arguments::augment_args(clap::Command::new("topics"));
            let words = std::iter::once(&"topics").chain(words);
            command.try_get_matches_from(words).err().map(|error| error.kind())
        };
        assert_eq!(refusal(&["delete", "t"]), None);
        for words in [&["describe", ""][..], &["alter", "", "--partitions", "2"], &["delete", "t", ""]] {
            assert_eq!(refusal(words), Some(clap::error::ErrorKind::InvalidValue), "{words:?}");
        }
    }

    #[test]
    fn a_configuration_has_a_name_and_a_value_which_may_be_empty() {
        let pair = |name: &str, value: &str| Ok((name.to_owned(), value.to_owned()));
        assert_eq!(configuration("retention.ms=1"), pair("retention.ms", "1"));
        assert_eq!(configuration("cleanup.policy=compact,delete"), pair("cleanup.policy", "compact,delete"));
        assert_eq!(configuration("a="), pair("a", ""));
        assert!(configuration("retention.ms").is_err() && configuration("=1").is_err());
    }
}
