//! What the page of the endpoint shows of the cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use crate::channel::dead_letters::{Action, Filter, Letter, Missing, Name, Office, Order, Outcome};
use crate::cluster::groups::{self, Group, Progress};
use crate::cluster::offsets::{self, LATEST, Offsets};
use crate::cluster::{Cluster, ClusterSettings};
use crate::config::Settings;
use crate::error::{Error, Result};
use crate::http::{DeadLetter, Excerpt, GroupState, MemberState, PartitionState, Replayed};
use crate::stop::Stop;

/// The most partitions that are shown.
const MAX_PARTITIONS: usize = 500;

/// Looks at the cluster that the settings name, with connections of its own.
pub struct Onlooker {
    cluster: Arc<Cluster>,
    topic: String,
    group: String,
    office: Office,
    stop: Stop,
}

impl Onlooker {
    /// Looks at the consumers' group and at the topic.
    pub fn new(settings: &Settings) -> Onlooker {
        Onlooker {
            cluster: Arc::new(Cluster::new(ClusterSettings::of(settings))),
            topic: settings.kafka.topic.clone(),
            group: settings.consumer.group().to_owned(),
            office: Office::new(settings),
            stop: Stop::new(),
        }
    }

    /// The topic's partitions; none while it does not exist.
    fn partitions(&self, deadline: Instant) -> Result<Vec<(String, i32)>> {
        let topic = self.cluster.topic(&self.topic, deadline);
        let topic = topic.map_err(|error| Error::new("no broker answers").caused_by(error))?;
        let leaders = topic.map(|topic| topic.leaders.len()).unwrap_or_default();
        Ok((0..).take(leaders).map(|partition| (self.topic.clone(), partition)).collect())
    }

    fn ends(&self, places: &BTreeSet<(String, i32)>, deadline: Instant) -> Offsets {
        let wanted: Vec<_> =
            places.iter().map(|(topic, partition)| (topic.clone(), *partition, LATEST)).collect();
        let ends = offsets::find(&self.cluster, "point-to-point", &wanted, deadline);
        if ends.len() < wanted.len() {
            // A leader may have changed: the next look asks the new one.
            let topics: BTreeSet<&str> = places.iter().map(|(topic, _)| topic.as_str()).collect();
            let topics: Vec<&str> = topics.into_iter().collect();
            if let Err(error) = self.cluster.refresh(&topics, self.cluster.deadline(deadline)) {
                log::debug!("the page: {error}");
            }
        }
        ends
    }
}

impl crate::http::Onlooker for Onlooker {
    fn group(&self, deadline: Instant) -> Result<GroupState> {
        let partitions = self.partitions(deadline)?;
        let group = groups::one(&self.cluster, &self.group, deadline);
        let group = group.map_err(|error| Error::new("the group cannot be seen").caused_by(error))?;
        let places = group.progress(&partitions, &Offsets::new());
        let places = places.iter().take(MAX_PARTITIONS).map(|progress| progress.place.clone()).collect();
        let ends = self.ends(&places, deadline);
        Ok(shown(&group, &places, &ends))
    }

    fn dead_letters(&self, most: usize, deadline: Instant) -> Result<Vec<DeadLetter>> {
        let letters = self.office.newest(most, deadline)?;
        Ok(letters.iter().rev().map(dead_letter).collect())
    }

    fn replay(&self, letters: &[Name], deadline: Instant) -> Result<Vec<Replayed>> {
        let filter = Filter::named(letters.iter().copied());
        let order = Order { filter, max: None, deadline: Some(deadline) };
        let mut errors: BTreeMap<Name, Option<String>> = BTreeMap::new();
        let summary = self.office.settle(Action::Replay, &order, &self.stop, &mut |letter, outcome| {
            errors.insert(letter.name, failure(outcome));
        })?;
        for (name, missing) in summary.missing {
            let what = match missing {
                Missing::Settled => "it is replayed or discarded already",
                Missing::NotThere => "there is no such dead letter",
            };
            errors.insert(name, Some(what.to_owned()));
        }
        let ended_early = summary.stopped.unwrap_or_else(|| "its turn did not come".to_owned());
        let outcome = |name: &Name| {
            let error = errors.remove(name).unwrap_or_else(|| Some(ended_early.clone()));
            Replayed { letter: *name, error }
        };
        Ok(letters.iter().map(outcome).collect())
    }

    fn stop(&self) {
        self.cluster.stop();
        self.stop.ask();
    }
}

/// Why a letter is not replayed, unless it is.
fn failure(outcome: &Outcome) -> Option<String> {
    match outcome {
        Outcome::Replayed { .. } | Outcome::Discarded => None,
        Outcome::Failed { reason, .. } => Some(reason.clone()),
        Outcome::Unknown { reason } => Some(format!("it may have been replayed all the same: {reason}")),
    }
}

fn dead_letter(letter: &Letter) -> DeadLetter {
    let number = |number: Option<i64>| number.map_or_else(|| "?".to_owned(), |number| number.to_string());
    let topic = letter.topic().unwrap_or("?".into());
    let (partition, offset) = (number(letter.partition().map(i64::from)), number(letter.offset()));
    let error = letter.message().or_else(|| letter.exception()).unwrap_or_default();
    DeadLetter {
        letter: letter.name,
        at: letter.timestamp,
        from: format!("{topic} {partition} · offset {offset}"),
        error: Excerpt::of(error.as_bytes()).text,
        replays: letter.replays(),
        key: letter.key.as_deref().map(Excerpt::of),
        value: letter.value.as_deref().map(Excerpt::of),
    }
}

fn shown(group: &Group, places: &BTreeSet<(String, i32)>, ends: &Offsets) -> GroupState {
    let member = |member: &groups::Member| MemberState {
        id: member.member_id.clone(),
        name: member.client_id.clone(),
        host: member.host.clone(),
    };
    let partition = |progress: Progress<'_>| PartitionState {
        topic: progress.place.0.clone(),
        partition: progress.place.1,
        committed: progress.committed,
        end: progress.end,
        lag: progress.lag,
        owner: progress.owner.map(|owner| owner.member_id.clone()),
    };
    GroupState {
        group: group.name.clone(),
        state: group.state.clone(),
        members: group.members.as_ref().map(|members| members.iter().map(member).collect()),
        partitions: group.progress(places, ends).into_iter().take(MAX_PARTITIONS).map(partition).collect(),
    }
}
