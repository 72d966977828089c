//! The state of the cluster for the endpoint's page.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use super::open_messages::{self, QueueFacts};
use crate::config::Settings;
use crate::dead_letters::{
    DeadLetter, DeadLetterBrowser, DeadLetterFilter, DeadLetterId, Missing, ReplayAction, ReplayOutcome,
    ReplayRequest,
};
use crate::error::{Error, Result};
use crate::http::{DeadLetterView, Excerpt, GroupState, MemberState, PartitionState, QueueState, Replayed};
use crate::runtime::StoreFailure;
use client::Cluster;
use client::describe::groups::{self, Group, Progress};
use client::offsets::{self, LATEST, Offsets};
use net::stop::Stop;
use protocol::TopicPartition;

/// The largest number of partitions that the page shows.
const MAX_PARTITIONS: usize = 500;

/// A client of the cluster with connections of its own.
pub struct DashboardSource {
    cluster: Arc<Cluster>,
    topic: String,
    group: String,
    browser: DeadLetterBrowser,
    store: StoreFailure,
    stop: Stop,
}

impl DashboardSource {
    /// The source for the consumers' group and the topic.
    pub fn new(cluster: &Cluster, settings: &Settings) -> DashboardSource {
        DashboardSource {
            cluster: Arc::new(cluster.share(settings.cluster())),
            topic: settings.kafka.topic.clone(),
            group: settings.consumer.group().to_owned(),
            browser: DeadLetterBrowser::new(&settings.dead_letter_browser()).on(cluster),
            store: settings.store_failure(),
            stop: Stop::new(),
        }
    }

    /// The topic's partitions; none while it does not exist.
    fn partitions(&self, deadline: Instant) -> Result<Vec<TopicPartition>> {
        let topic = self.cluster.topic(&self.topic, deadline);
        let topic = topic.map_err(|error| Error::new("no broker answers").caused_by(error))?;
        let leaders = topic.map(|topic| topic.leaders.len()).unwrap_or_default();
        Ok((0..).take(leaders).map(|partition| TopicPartition::new(&self.topic, partition)).collect())
    }

    fn ends(&self, places: &BTreeSet<TopicPartition>, deadline: Instant) -> Offsets {
        let wanted: Vec<_> = places.iter().map(|place| (place.clone(), LATEST)).collect();
        let ends = offsets::find(&self.cluster, "point-to-point", &wanted, deadline);
        if ends.len() < wanted.len() {
            // A leader may have changed: the next call asks the new one.
            let topics: BTreeSet<&str> = places.iter().map(|place| place.topic.as_str()).collect();
            let topics: Vec<&str> = topics.into_iter().collect();
            if let Err(error) = self.cluster.refresh(&topics, self.cluster.deadline(deadline)) {
                log::debug!("the page: {error}");
            }
        }
        ends
    }
}

impl crate::http::DashboardSource for DashboardSource {
    fn group(&self, deadline: Instant) -> Result<GroupState> {
        if let Some(failure) = self.store.read() {
            return Err(Error::new(failure));
        }
        let partitions = self.partitions(deadline)?;
        let group = groups::one(&self.cluster, &self.group, deadline);
        let group = group.map_err(|error| Error::new("the group cannot be seen").caused_by(error))?;
        let places = group.progress(&partitions, &Offsets::new());
        let places = places.iter().take(MAX_PARTITIONS).map(|progress| progress.place.clone()).collect();
        let ends = self.ends(&places, deadline);
        Ok(shown(&group, &places, &ends))
    }

    fn dead_letters(&self, most: usize, deadline: Instant) -> Result<Vec<DeadLetterView>> {
        let letters = self.browser.newest(most, deadline)?;
        Ok(letters.iter().rev().map(dead_letter).collect())
    }

    fn replay(&self, letters: &[DeadLetterId], deadline: Instant) -> Result<Vec<Replayed>> {
        let filter = DeadLetterFilter::with_ids(letters.iter().copied());
        let order = ReplayRequest { filter, max: None, deadline: Some(deadline) };
        let mut errors: BTreeMap<DeadLetterId, Option<String>> = BTreeMap::new();
        let summary =
            self.browser.replay(ReplayAction::Replay, &order, &self.stop, &mut |letter, outcome| {
                errors.insert(letter.id, failure(outcome));
            })?;
        for (name, missing) in summary.missing {
            let what = match missing {
                Missing::AlreadyReplayed => "it is replayed or discarded already",
                Missing::NotThere => "there is no such dead letter",
            };
            errors.insert(name, Some(what.to_owned()));
        }
        let ended_early = summary.stopped.unwrap_or_else(|| "its turn did not come".to_owned());
        let outcome = |name: &DeadLetterId| {
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

/// Why a letter is not replayed; `None` if it is.
fn failure(outcome: &ReplayOutcome) -> Option<String> {
    match outcome {
        ReplayOutcome::Replayed { .. } | ReplayOutcome::Discarded => None,
        ReplayOutcome::Kept => Some("it was kept".to_owned()),
        ReplayOutcome::Failed { reason, .. } => Some(reason.clone()),
        ReplayOutcome::Unknown { reason } => {
            Some(format!("it may have been replayed all the same: {reason}"))
        }
    }
}

fn dead_letter(letter: &DeadLetter) -> DeadLetterView {
    let number = |number: Option<i64>| number.map_or_else(|| "?".to_owned(), |number| number.to_string());
    let topic = letter.topic().unwrap_or("?".into());
    let (partition, offset) = (number(letter.partition().map(i64::from)), number(letter.offset()));
    let error = letter.message().or_else(|| letter.exception()).unwrap_or_default();
    DeadLetterView {
        letter: letter.id,
        at: letter.timestamp,
        from: format!("{topic} {partition} · offset {offset}"),
        error: Excerpt::of(error.as_bytes()).text,
        replays: letter.replays(),
        attempts: letter.attempts(),
        key: letter.key.as_deref().map(Excerpt::of),
        value: letter.value.as_deref().map(Excerpt::of),
    }
}

fn shown(group: &Group, places: &BTreeSet<TopicPartition>, ends: &Offsets) -> GroupState {
    let member = |member: &groups::Member| MemberState {
        id: member.member_id.clone(),
        name: member.client_id.clone(),
        host: member.host.clone(),
    };
    let now = open_messages::now();
    let partition = |progress: Progress<'_>| PartitionState {
        topic: progress.place.topic.clone(),
        partition: progress.place.partition,
        committed: progress.committed,
        end: progress.end,
        lag: progress.lag,
        owner: progress.owner.map(|owner| owner.member_id.clone()),
        queue: QueueFacts::of(&progress, now).map(|facts| QueueState {
            open: facts.open,
            waiting: facts.waiting,
            next_due: facts.next_due,
            paused: facts.paused,
        }),
    };
    GroupState {
        group: group.name.clone(),
        state: group.state.clone(),
        members: group.members.as_ref().map(|members| members.iter().map(member).collect()),
        partitions: group.progress(places, ends).into_iter().take(MAX_PARTITIONS).map(partition).collect(),
    }
}
