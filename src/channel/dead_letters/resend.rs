//! Dead letters on their way back to the topic that they came from.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::letter::Letter;
use crate::cluster::producing::{self, Batch, Producer};
use crate::cluster::{self, Cluster};
use crate::protocol::partitioner::partition_for_key;
use crate::protocol::records::{Content, OwnHeaders};

/// How long the answer to where a topic is may take.
const LOOK_UP: Duration = Duration::from_secs(10);

/// The longest name that a topic can have.
const LONGEST_TOPIC: usize = 249;

/// What became of a letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Stored in its original topic by all in-sync replicas.
    Replayed {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// The offset; -1 in the rare case that the broker no longer knows.
        offset: i64,
    },
    /// It is a dead letter no more, and was sent nowhere.
    Discarded,
    /// Certainly not replayed: it is still a dead letter.
    Failed {
        /// Why.
        reason: String,
        /// Whether it may succeed later.
        retry: bool,
    },
    /// It may have been replayed, and is still a dead letter.
    Unknown {
        /// Why nobody knows.
        reason: String,
    },
}

impl Outcome {
    /// Whether it is a dead letter no more.
    pub fn is_settled(&self) -> bool {
        matches!(self, Outcome::Replayed { .. } | Outcome::Discarded)
    }

    /// Whether other letters can be expected to fare better.
    pub(super) fn concerns_it_alone(&self) -> bool {
        self.is_settled() || matches!(self, Outcome::Failed { retry: false, .. })
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
    /// One that sends to `source` what does not say where it came from.
    pub fn new(cluster: Arc<Cluster>, client_id: &str, source: &str) -> Resender {
        let producer = Producer::new(cluster.clone(), client_id);
        Resender { cluster, producer, source: source.to_owned() }
    }

    /// Sends letters to where they came from, in their order: key, value and own headers as they are, with the time
    /// of today. What became of each, in their order.
    pub fn send(&mut self, letters: &[Letter]) -> Vec<Outcome> {
        let mut outcomes: Vec<Option<Outcome>> = vec![None; letters.len()];
        let mut targets: BTreeMap<Target, Vec<usize>> = BTreeMap::new();
        let mut topics: HashMap<String, Result<i32, Outcome>> = HashMap::new();
        for ((index, letter), outcome) in letters.iter().enumerate().zip(&mut outcomes) {
            let topic = letter.topic().map_or_else(|| self.source.clone(), |topic| topic.into_owned());
            let partitions = topics.entry(topic.clone()).or_insert_with(|| self.partitions(&topic));
            match partitions.clone().map(|count| (topic, partition(letter, count))) {
                Ok(target) => targets.entry(target).or_default().push(index),
                Err(failed) => *outcome = Some(failed),
            }
        }
        let headers: Vec<OwnHeaders> = letters.iter().map(Letter::headers_again).collect();
        let contents: Vec<Content<'_>> = letters.iter().zip(&headers).map(|(l, h)| content(l, h)).collect();
        let together = self.produce(&contents, &targets);
        for ((target, indexes), outcome) in targets.iter().zip(together) {
            // One that is refused takes the others of its batch with it, so they go alone.
            let alone = indexes.len() > 1 && matches!(outcome, producing::Outcome::Refused(_));
            for (place, index) in (0..).zip(indexes) {
                let outcome = if alone {
                    let one = BTreeMap::from([(target.clone(), vec![*index])]);
                    told(target, self.produce(&contents, &one).first(), 0)
                } else {
                    told(target, Some(&outcome), place)
                };
                outcomes.get_mut(*index).map(|slot| slot.replace(outcome));
            }
        }
        outcomes
            .into_iter()
            .map(|outcome| outcome.unwrap_or_else(|| told(&Target::default(), None, 0)))
            .collect()
    }

    fn produce(
        &mut self,
        contents: &[Content<'_>],
        targets: &BTreeMap<Target, Vec<usize>>,
    ) -> Vec<producing::Outcome> {
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

    /// How many partitions a topic has.
    fn partitions(&self, topic: &str) -> Result<i32, Outcome> {
        let failed = |reason, retry| Outcome::Failed { reason, retry };
        let none = || failed(format!("there is no topic {topic}"), false);
        // What a header says may be longer than a request can ask.
        if topic.is_empty() || topic.len() > LONGEST_TOPIC {
            return Err(none());
        }
        let deadline = Instant::now() + LOOK_UP;
        let found = cluster::in_time(&self.cluster, deadline, || self.cluster.topic(topic, deadline));
        let found = found.map_err(|error| failed(error.to_string(), true))?;
        let found = found.ok_or_else(none)?;
        Ok(i32::try_from(found.leaders.len()).unwrap_or(i32::MAX))
    }
}

/// The partition that a letter came from, so that messages with one key stay in order; where the topic has no such
/// partition any more, the one of its key.
fn partition(letter: &Letter, count: i32) -> i32 {
    let original = letter.partition().unwrap_or(letter.name.partition);
    match &letter.key {
        _ if (0..count).contains(&original) => original,
        Some(key) => partition_for_key(key, count),
        None => original.rem_euclid(count.max(1)),
    }
}

fn content<'a>(letter: &'a Letter, headers: &'a OwnHeaders) -> Content<'a> {
    let (key, value) = (letter.key.as_deref(), letter.value.as_deref());
    Content { timestamp: None, key, value, headers: headers.borrowed() }
}

/// What the outcome of a batch is for its record number `place`.
fn told(target: &Target, outcome: Option<&producing::Outcome>, place: i64) -> Outcome {
    let unknown = |reason: &str| Outcome::Unknown { reason: reason.to_owned() };
    match outcome {
        Some(producing::Outcome::Stored(base)) => Outcome::Replayed {
            topic: target.0.clone(),
            partition: target.1,
            offset: if *base < 0 { -1 } else { base + place },
        },
        Some(producing::Outcome::NotWritten(code)) => {
            Outcome::Failed { reason: code.to_string(), retry: true }
        }
        Some(producing::Outcome::Refused(code)) => {
            Outcome::Failed { reason: format!("the broker refuses it: {code}"), retry: false }
        }
        Some(producing::Outcome::Unknown(reason)) => unknown(reason),
        None => unknown("no outcome"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::letter::tests::letter;
    use super::super::{Name, ORIGINAL_PARTITION};
    use super::*;

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
        found.name = Name { partition: 2, ..found.name };
        assert_eq!(partition(&found, 4), 2, "that with its own number, where it says nothing");
    }

    #[test]
    fn each_record_of_a_batch_has_an_offset_of_its_own() {
        let target = ("t".to_owned(), 3);
        let offset = |base, place| match told(&target, Some(&producing::Outcome::Stored(base)), place) {
            Outcome::Replayed { offset, .. } => offset,
            other => panic!("{other:?}"),
        };
        assert_eq!((offset(7, 0), offset(7, 2), offset(-1, 2)), (7, 9, -1));
    }
}
