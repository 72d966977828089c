//! What the commands for topics and groups share: the way to the cluster, and what is said of names.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::status;
use crate::cli::printed;
use crate::config::Settings;
use crate::error::{Error, Result};
use crate::logging;
use crate::runtime::Store;
use crate::text::safe_json;
use broker::Broker;
use client::Cluster;
use client::describe::{Description, TopicDescription};

/// The time limit for the first answer of a broker.
const FIRST_ANSWER: Duration = Duration::from_secs(5);
/// The time limit for the answers after the first.
const ALL_ANSWERS: Duration = Duration::from_secs(30);

/// Runs `work` on the cluster. The embedded broker is started for it, if no other broker is named and no
/// process serves it.
///
/// # Errors
/// As `work`; or nothing is stored yet, or the embedded broker cannot be started: another program may listen
/// at its address.
pub(super) fn with_cluster<T>(
    settings: &Settings,
    on: (&str, Store),
    work: impl FnOnce(&Arc<Cluster>) -> Result<T>,
) -> Result<T> {
    with_broker(settings, on, |cluster, _| work(cluster))
}

/// As [`with_cluster`]; `work` is told whether the embedded broker was started for it.
///
/// # Errors
/// As [`with_cluster`].
pub(super) fn with_broker<T>(
    settings: &Settings,
    (name, store): (&str, Store),
    work: impl FnOnce(&Arc<Cluster>, bool) -> Result<T>,
) -> Result<T> {
    logging::start(&settings.log.of_a_look(), name)?;
    let broker = status::serve_if_unserved(settings, store)?;
    let cluster = Arc::new(Cluster::new(settings.cluster()));
    let outcome = work(&cluster, broker.is_some());
    broker.into_iter().for_each(Broker::stop);
    outcome
}

/// All brokers and topics of the cluster: the first question.
///
/// # Errors
/// No broker answers in time.
pub(super) fn described(cluster: &Cluster) -> Result<Description> {
    let deadline = Instant::now() + FIRST_ANSWER;
    client::in_time(cluster, deadline, || cluster.describe(None, deadline)).map_err(|error| {
        let brokers = cluster.settings().bootstrap_servers.join(", ");
        Error::new(format!("no answer about the topics of {brokers}")).caused_by(error)
    })
}

/// When the answers after the first must be there.
pub(super) fn deadline() -> Instant {
    Instant::now() + ALL_ANSWERS
}

/// A topic of the cluster.
///
/// # Errors
/// There is none of this name.
pub(super) fn topic<'a>(description: &'a Description, name: &str) -> Result<&'a TopicDescription> {
    description.topics.iter().find(|topic| topic.name == name).ok_or_else(|| {
        let names = description.topics.iter().map(|topic| topic.name.as_str());
        missing("topic", name, names)
    })
}

/// The error for a name that nothing has.
pub(super) fn missing<'a>(what: &str, name: &str, names: impl Iterator<Item = &'a str>) -> Error {
    let meant = crate::text::closest(name, names);
    let meant = meant.map(|meant| format!(", did you mean {}?", status::shown(meant))).unwrap_or_default();
    Error::new(format!("there is no {what} {}{meant}", status::shown(name)))
}

/// Tells what was done. What was done stays done, whether that can be told or not.
pub(super) fn print(text: &str) {
    let _ = print_whole(text);
}

/// Prints what was asked for. A reader such as `head` may close the pipe early.
///
/// # Errors
/// It cannot be written.
pub(super) fn print_whole(text: &str) -> Result<()> {
    let mut output = io::stdout().lock();
    printed(output.write_all(text.as_bytes()).and_then(|()| output.flush()))
}

/// A line of JSON for each value.
pub(super) fn lines(values: impl Iterator<Item = Value>) -> String {
    values.map(|value| format!("{}\n", safe_json(&value.to_string()))).collect()
}

/// `1 partition`, `4 partitions`.
pub(super) fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_nothing_has_is_told_with_the_one_that_is_most_like_it() {
        let names = || ["orders", "bills"].into_iter();
        let said = |name| missing("topic", name, names()).to_string();
        assert_eq!(said("ordres"), "there is no topic ordres, did you mean orders?");
        assert_eq!(said("letters"), "there is no topic letters");
    }

    #[test]
    fn a_single_thing_has_no_plural() {
        assert_eq!(
            (counted(1, "partition"), counted(2, "partition")),
            ("1 partition".into(), "2 partitions".into())
        );
    }
}
