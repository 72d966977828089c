//! The changes of topics. Each says what it did.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::{Alter, Create, Delete};
use crate::error::{Error, Result};
use crate::programs::administration::{counted, deadline, described, print, topic};
use client::admin::{self, NewTopic};
use client::{Cluster, Error as ClientError, LOOK_UPS, configs};
use protocol::error_code::ErrorCode;

/// How long a command waits until its change is seen.
const SEEN: Duration = Duration::from_secs(5);

/// Creates a topic.
///
/// # Errors
/// The topic is there, unless that is wanted; or the brokers refuse.
pub(super) fn create(cluster: &Cluster, asked: &Create) -> Result<()> {
    let name = &asked.name;
    let new = NewTopic {
        name: name.clone(),
        partitions: asked.partitions.unwrap_or(-1),
        replication_factor: asked.replication_factor.unwrap_or(-1),
        configs: asked.topic_config.iter().cloned().collect(),
    };
    described(cluster)?;
    match admin::create_topic(cluster, &new, deadline()) {
        Ok(size) => {
            wait_until_seen(cluster, |deadline| Ok(partitions_of(cluster, name, deadline)?.is_some()));
            print(&format!("created topic {name}{}\n", sized(size)));
            Ok(())
        }
        Err(ClientError::Refused { code: ErrorCode::TOPIC_ALREADY_EXISTS, .. }) if asked.if_not_exists => {
            print(&format!("topic {name} is there already, and stays as it is\n"));
            Ok(())
        }
        Err(ClientError::Refused { code: ErrorCode::TOPIC_ALREADY_EXISTS, .. }) => {
            let what = "`topics alter` changes it, and with --if-not-exists it stays as it is";
            Err(Error::new(format!("topic {name} is there already: {what}")))
        }
        Err(error) => Err(Error::new(format!("topic {name} cannot be created")).caused_by(error)),
    }
}

/// The numbers of partitions and replicas, where they are told.
fn sized((partitions, replicas): (i32, i16)) -> String {
    match (usize::try_from(partitions), usize::try_from(replicas)) {
        (Ok(partitions), Ok(replicas)) => {
            format!(" with {}, each on {}", counted(partitions, "partition"), counted(replicas, "broker"))
        }
        _ => String::new(),
    }
}

/// Sets configurations first, which a broker may refuse, and adds partitions then, which lasts.
///
/// # Errors
/// There is no such topic, it would have fewer partitions, or the brokers refuse.
pub(super) fn alter(
    cluster: &Cluster,
    asked: &Alter,
    changes: &BTreeMap<String, Option<String>>,
) -> Result<()> {
    let name = &asked.name;
    let description = described(cluster)?;
    let has = topic(&description, name)?.partitions.len();
    let wanted = asked.partitions.map(|wanted| usize::try_from(wanted).unwrap_or_default());
    if wanted.is_some_and(|wanted| wanted < has) {
        let has = counted(has, "partition");
        return Err(Error::new(format!("topic {name} has {has}: they can become more, but never fewer")));
    }
    let failed = |error| Error::new(format!("topic {name} cannot be altered")).caused_by(error);
    if let Some(unknown) = unknown_removal(cluster, name, changes) {
        return Err(Error::new(format!("topic {name} cannot have a configuration {unknown}")));
    }
    if !changes.is_empty() {
        admin::alter_configs(cluster, name, changes, deadline()).map_err(failed)?;
        wait_until_seen(cluster, |deadline| are_in_effect(cluster, name, changes, deadline));
        for (config, value) in changes {
            print(&match value {
                Some(value) => format!("topic {name}: {config} is {value} now\n"),
                None => format!("topic {name}: {config} is as the brokers have it now\n"),
            });
        }
    }
    match asked.partitions.zip(wanted) {
        Some((_, wanted)) if wanted == has => {
            print(&format!("topic {name} has {} already\n", counted(has, "partition")));
        }
        Some((count, wanted)) => {
            admin::create_partitions(cluster, name, count, deadline()).map_err(failed)?;
            wait_until_seen(cluster, |deadline| Ok(partitions_of(cluster, name, deadline)? >= Some(wanted)));
            let grown = format!("topic {name} has {} now, {has} before", counted(wanted, "partition"));
            print(&format!("{grown}: messages of one key may go to another partition than those before\n"));
        }
        None => {}
    }
    Ok(())
}

/// A configuration to be removed that the brokers do not know. Kafka takes any name for a success.
fn unknown_removal<'a>(
    cluster: &Cluster,
    name: &str,
    changes: &'a BTreeMap<String, Option<String>>,
) -> Option<&'a String> {
    let mut removals =
        changes.iter().filter(|(_, value)| value.is_none()).map(|(config, _)| config).peekable();
    removals.peek()?;
    // Who may not see the configurations may change them all the same.
    let known = configs::of_topics(cluster, LOOK_UPS, &[name], deadline()).ok()?.remove(name)?.ok()?;
    removals.find(|config| known.iter().all(|known| known.name != **config))
}

/// Deletes topics.
///
/// # Errors
/// One of them is not there, and nothing is deleted, unless that is wanted; or the brokers refuse.
pub(super) fn delete(cluster: &Cluster, asked: &Delete) -> Result<()> {
    let description = described(cluster)?;
    let mut found = BTreeMap::new();
    for name in &asked.names {
        match topic(&description, name) {
            Ok(topic) if topic.internal => {
                let what = format!("topic {name} is one of the brokers' own, and nothing is deleted");
                return Err(Error::new(what));
            }
            Ok(topic) => _ = found.insert(name, topic.partitions.len()),
            Err(_) if asked.if_exists => print(&format!("there is no topic {name}\n")),
            Err(error) => return Err(error),
        }
    }
    for (name, partitions) in found {
        admin::delete_topic(cluster, name, deadline())
            .map_err(|error| Error::new(format!("topic {name} cannot be deleted")).caused_by(error))?;
        wait_until_seen(cluster, |deadline| Ok(partitions_of(cluster, name, deadline)?.is_none()));
        print(&format!("deleted topic {name} with {}\n", counted(partitions, "partition")));
    }
    Ok(())
}

/// Waits until the broker that is asked shows a change: the controller has made it then, and the brokers hear
/// of it a little later. The next command finds it.
fn wait_until_seen(cluster: &Cluster, mut is_seen: impl FnMut(Instant) -> client::Result<bool>) {
    let deadline = Instant::now() + SEEN;
    let mut backoff = client::backoff();
    loop {
        match is_seen(deadline) {
            Ok(true) => return,
            Ok(false) => {}
            Err(error) => log::debug!("the change is not seen: {error}"),
        }
        if Instant::now() >= deadline || cluster.pause(backoff.next_wait()) {
            return;
        }
    }
}

/// The number of partitions of a topic, where there is one.
fn partitions_of(cluster: &Cluster, name: &str, deadline: Instant) -> client::Result<Option<usize>> {
    let topic = cluster.describe(Some(&[name]), deadline)?.topic(name)?;
    Ok(topic.map(|topic| topic.partitions.len()))
}

fn are_in_effect(
    cluster: &Cluster,
    name: &str,
    changes: &BTreeMap<String, Option<String>>,
    deadline: Instant,
) -> client::Result<bool> {
    let mut told = configs::of_topics(cluster, LOOK_UPS, &[name], deadline)?;
    let told = told.remove(name).transpose()?.unwrap_or_default();
    Ok(changes.iter().all(|(config, value)| {
        let own = told.iter().find(|told| told.own && told.name == *config);
        own.and_then(|own| own.value.as_ref()) == value.as_ref()
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_of_a_new_topic_is_told_where_the_brokers_tell_it() {
        assert_eq!(sized((1, 3)), " with 1 partition, each on 3 brokers");
        assert_eq!(sized((-1, -1)), "");
    }
}
