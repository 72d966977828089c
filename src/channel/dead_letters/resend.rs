//! Dead letters on their way back to the topic that they came from.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::letter::Letter;
use crate::cluster::producing::{self, Batch, Producer};
use crate::cluster::{self, Cluster};
use crate::protocol::partitioner::partition_for_key;
use crate::protocol::records::{Content, OwnHeaders};

/// How long the answer to where a topic is may take.
const LOOK_UP: Duration = Duration::from_secs(10);

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
        for ((index, letter), outcome) in letters.iter().enumerate().zip(&mut outcomes) {
            match self.target(letter) {
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

    /// The partition that a letter came from, so that messages with one key stay in order; where the topic has no
    /// such partition any more, the one of its key.
    fn target(&self, letter: &Letter) -> Result<Target, Outcome> {
        let topic = letter.topic().map_or_else(|| self.source.clone(), |topic| topic.into_owned());
        let failed = |reason, retry| Outcome::Failed { reason, retry };
        let deadline = Instant::now() + LOOK_UP;
        let found =
            cluster::groups::in_time(&self.cluster, deadline, || self.cluster.topic(&topic, deadline));
        let found = found.map_err(|error| failed(error.to_string(), true))?;
        let found = found.ok_or_else(|| failed(format!("there is no topic {topic}"), false))?;
        let count = i32::try_from(found.leaders.len()).unwrap_or(i32::MAX).max(1);
        let original = letter.partition().unwrap_or(letter.name.partition);
        let partition = match &letter.key {
            _ if (0..count).contains(&original) => original,
            Some(key) => partition_for_key(key, count),
            None => original.rem_euclid(count),
        };
        Ok((topic, partition))
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
