//! Sends dead letters back to the topics that they came from.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::dead_letters::dead_letter::DeadLetter;
use client::Cluster;
use client::producer::{self, Batch, Producer};
use protocol::partitioner::partition_for_key;
use protocol::records::{Content, OwnHeaders};

/// The longest wait for the metadata of a topic.
const LOOK_UP: Duration = Duration::from_secs(10);

/// The most topics that are looked up for a list: their names come from outside.
const MOST_LOOK_UPS: usize = 100;

/// The longest name that a topic can have.
const LONGEST_TOPIC: usize = 249;

/// The result for a letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReplayOutcome {
    /// Stored in its original topic by all in-sync replicas.
    Replayed {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// The offset; -1 in the rare case that the broker no longer knows.
        offset: i64,
    },
    /// It is no longer a dead letter, and was sent nowhere.
    Discarded,
    /// Not replayed, as [`ReplayEdit::Keep`](super::ReplayEdit::Keep) asks: it is still a dead letter.
    Kept,
    /// Certainly not replayed: it is still a dead letter.
    Failed {
        /// The reason of the failure.
        reason: String,
        /// Whether it may succeed later.
        retry: bool,
    },
    /// It may have been replayed, and is still a dead letter.
    Unknown {
        /// The reason why that is unknown.
        reason: String,
    },
}

impl ReplayOutcome {
    /// Whether it is settled: no longer a dead letter.
    pub fn is_settled(&self) -> bool {
        matches!(self, ReplayOutcome::Replayed { .. } | ReplayOutcome::Discarded)
    }

    /// Whether other letters can be expected to fare better.
    pub(super) fn concerns_it_alone(&self) -> bool {
        self.is_settled() || matches!(self, ReplayOutcome::Kept | ReplayOutcome::Failed { retry: false, .. })
    }
}

/// Sends letters back.
pub struct Resender {
    cluster: Arc<Cluster>,
    producer: Producer,
    source: String,
}

type Target = (String, i32);

impl Resender {
    /// A resender. Letters that do not tell their original topic go to `source`.
    pub fn new(cluster: Arc<Cluster>, client_id: &str, source: &str) -> Resender {
        let producer = Producer::new(cluster.clone(), client_id);
        Resender { cluster, producer, source: source.to_owned() }
    }

    /// Sends letters to where they came from, in their order: key, value and own headers as they are, with
    /// the present time. The outcomes are in the order of the letters.
    pub fn send(&mut self, letters: &[&DeadLetter]) -> Vec<ReplayOutcome> {
        let mut outcomes: Vec<Option<ReplayOutcome>> = vec![None; letters.len()];
        let mut targets: BTreeMap<Target, Vec<usize>> = BTreeMap::new();
        let mut topics: HashMap<String, Result<i32, ReplayOutcome>> = HashMap::new();
        for ((index, letter), outcome) in letters.iter().enumerate().zip(&mut outcomes) {
            let topic = letter.topic().map_or_else(|| self.source.clone(), |topic| topic.into_owned());
            let deadline = Instant::now() + LOOK_UP;
            let look_up = || partitions(&self.cluster, &topic, deadline);
            let partitions = topics.entry(topic.clone()).or_insert_with(look_up);
            match partitions.clone().map(|count| (topic, partition(letter, count))) {
                Ok(target) => targets.entry(target).or_default().push(index),
                Err(failed) => *outcome = Some(failed),
            }
        }
        let headers: Vec<OwnHeaders> = letters.iter().map(|letter| letter.headers_again()).collect();
        let contents: Vec<Content<'_>> = letters.iter().zip(&headers).map(|(l, h)| content(l, h)).collect();
        let together = self.produce(&contents, &targets);
        for ((target, indexes), outcome) in targets.iter().zip(together) {
            // A refused record makes the broker refuse its whole batch, so each is sent alone.
            let alone = indexes.len() > 1 && matches!(outcome, producer::Outcome::Refused(_));
            for (record_index, index) in (0..).zip(indexes) {
                let outcome = if alone {
                    let one = BTreeMap::from([(target.clone(), vec![*index])]);
                    outcome_of(target, self.produce(&contents, &one).first(), 0)
                } else {
                    outcome_of(target, Some(&outcome), record_index)
                };
                outcomes.get_mut(*index).map(|slot| slot.replace(outcome));
            }
        }
        outcomes
            .into_iter()
            .map(|outcome| outcome.unwrap_or_else(|| outcome_of(&Target::default(), None, 0)))
            .collect()
    }

    fn produce(
        &mut self,
        contents: &[Content<'_>],
        targets: &BTreeMap<Target, Vec<usize>>,
    ) -> Vec<producer::Outcome> {
        let batches: Vec<Batch<'_>> = targets
            .iter()
            .map(|((topic, partition), indexes)| Batch {
                topic,
                partition: *partition,
                records: indexes.iter().filter_map(|index| contents.get(*index).copied()).collect(),
            })
            .collect();
        let patience = self.cluster.settings().delivery_timeout;
        if batches.is_empty() { Vec::new() } else { self.producer.produce(&batches, patience) }
    }
}

/// The number of partitions of a topic.
fn partitions(cluster: &Cluster, topic: &str, deadline: Instant) -> Result<i32, ReplayOutcome> {
    let failed = |reason, retry| ReplayOutcome::Failed { reason, retry };
    let none = || failed(format!("there is no topic {topic}"), false);
    // A header may hold a name that is too long for a request.
    if topic.is_empty() || topic.len() > LONGEST_TOPIC {
        return Err(none());
    }
    let found = client::in_time(cluster, deadline, || cluster.topic(topic, deadline));
    let found = found.map_err(|error| failed(error.to_string(), true))?;
    let found = found.ok_or_else(none)?;
    Ok(i32::try_from(found.leaders.len()).unwrap_or(i32::MAX))
}

/// Where a replay would send letters that do not say which partition they came from.
pub struct ReplayTargets {
    cluster: Arc<Cluster>,
    source: String,
    deadline: Option<Instant>,
    /// The partitions of the topics that were looked up; `None` of one that is not there.
    topics: HashMap<String, Option<i32>>,
}

impl ReplayTargets {
    /// Letters that do not tell their original topic go to `source`. Topics are looked up until `deadline`.
    pub(super) fn new(cluster: Arc<Cluster>, source: &str, deadline: Option<Instant>) -> ReplayTargets {
        ReplayTargets { cluster, source: source.to_owned(), deadline, topics: HashMap::new() }
    }

    /// The topic that a replay would send the letter to.
    pub fn topic<'a>(&'a self, letter: &'a DeadLetter) -> Cow<'a, str> {
        letter.topic().unwrap_or(Cow::Borrowed(&self.source))
    }

    /// The partition that the letter came from; where it does not say that, the one that a replay would send
    /// it to; `None` if that topic is not there, or cannot be looked up.
    pub fn partition(&mut self, letter: &DeadLetter) -> Option<i32> {
        if let Some(told) = letter.partition() {
            return Some(told);
        }
        let topic = self.topic(letter).into_owned();
        if !self.topics.contains_key(&topic) && self.topics.len() >= MOST_LOOK_UPS {
            return None;
        }
        let longest = Instant::now() + LOOK_UP;
        let deadline = self.deadline.map_or(longest, |deadline| deadline.min(longest));
        let look_up = |topic: &String| partitions(&self.cluster, topic, deadline).ok();
        let count = *self.topics.entry(topic).or_insert_with_key(look_up);
        count.map(|count| partition(letter, count))
    }
}

/// The partition that a letter came from, so that messages with one key stay in order; where the topic has no
/// such partition any more, the one of its key.
fn partition(letter: &DeadLetter, count: i32) -> i32 {
    let original = letter.partition().unwrap_or(letter.id.partition);
    match &letter.key {
        _ if (0..count).contains(&original) => original,
        Some(key) => partition_for_key(key, count),
        None => original.rem_euclid(count.max(1)),
    }
}

fn content<'a>(letter: &'a DeadLetter, headers: &'a OwnHeaders) -> Content<'a> {
    let (key, value) = (letter.key.as_deref(), letter.value.as_deref());
    Content { timestamp: None, key, value, headers: headers.borrowed() }
}

/// The outcome of the record number `record_index` of a batch.
fn outcome_of(target: &Target, outcome: Option<&producer::Outcome>, record_index: i64) -> ReplayOutcome {
    let unknown = |reason: &str| ReplayOutcome::Unknown { reason: reason.to_owned() };
    match outcome {
        Some(producer::Outcome::Stored(base)) => ReplayOutcome::Replayed {
            topic: target.0.clone(),
            partition: target.1,
            offset: if *base < 0 { -1 } else { base + record_index },
        },
        Some(producer::Outcome::NotWritten(obstacle)) => {
            ReplayOutcome::Failed { reason: obstacle.why.clone(), retry: true }
        }
        Some(producer::Outcome::Refused(obstacle)) => {
            ReplayOutcome::Failed { reason: format!("the broker refuses it: {}", obstacle.why), retry: false }
        }
        Some(producer::Outcome::Unknown(reason)) => unknown(reason),
        None => unknown("the request ended without an answer for this record"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dead_letters::DeadLetterId;
    use crate::dead_letters::dead_letter::tests::letter;
    use crate::dead_letters::headers::ORIGINAL_PARTITION;

    #[test]
    fn a_letter_goes_to_the_partition_that_it_came_from_where_there_is_one() {
        let bytes = 5_i32.to_be_bytes();
        let mut found = letter(&[(ORIGINAL_PARTITION, Some(&bytes))]);
        assert_eq!((partition(&found, 6), partition(&found, 4)), (5, 1));
        found.key = Some(b"k".to_vec());
        assert_eq!((partition(&found, 6), partition(&found, 4)), (5, partition_for_key(b"k", 4)));
        found = letter(&[(ORIGINAL_PARTITION, Some(&(-3_i32).to_be_bytes()))]);
        assert_eq!(partition(&found, 4), 1);
        found = letter(&[]);
        found.id = DeadLetterId { partition: 2, ..found.id };
        assert_eq!(partition(&found, 4), 2, "that with its own number, where it says nothing");
    }

    #[test]
    fn each_record_of_a_batch_has_an_offset_of_its_own() {
        let target = ("t".to_owned(), 3);
        let offset = |base, record_index| match outcome_of(
            &target,
            Some(&producer::Outcome::Stored(base)),
            record_index,
        ) {
            ReplayOutcome::Replayed { offset, .. } => offset,
            other => panic!("{other:?}"),
        };
        assert_eq!((offset(7, 0), offset(7, 2), offset(-1, 2)), (7, 9, -1));
    }
}
