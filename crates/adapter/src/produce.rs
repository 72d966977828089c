//! Produce: the crate's messages, or the records in their envelopes, become one record batch a partition,
//! stored idempotently with `acks=all`.

use std::collections::HashSet;
use std::time::Duration;

use super::session::Session;
use client::producer::{Batch, Outcome, Producer};
use protocol::envelope;
use protocol::error_code::ErrorCode;
use protocol::records::Content;
use protocol::v0::message_set::{self, MessageV0};
use protocol::v0::remark::Remark;
use protocol::v0::request::{ProducePartition, Topics};
use protocol::v0::response::{self, Produced};
use protocol::wire::Malformed;

/// The longest time that a request may ask to look for a leader.
const MAX_PATIENCE: Duration = Duration::from_secs(30);

/// The highest code that the `kafka` crate knows by name.
const LAST_KNOWN: i16 = 35;

/// Answers Produce. The codes tell the crate's user what is true of the messages: LEADER_NOT_AVAILABLE,
/// BROKER_NOT_AVAILABLE, NOT_ENOUGH_REPLICAS and UNKNOWN_TOPIC_OR_PARTITION mean never written,
/// REQUEST_TIMED_OUT that their fate is unknown, every other code that they were refused.
pub fn produce(
    session: &mut Session,
    id: i32,
    timeout_ms: i32,
    topics: &Topics<ProducePartition<'_>>,
) -> Vec<u8> {
    let patience = Duration::from_millis(u64::try_from(timeout_ms).unwrap_or(0)).min(MAX_PATIENCE);
    let name = session.client.shown().to_owned();
    let partitions = || topics.iter().flat_map(|(topic, list)| list.iter().map(move |p| (topic, p)));
    // The records borrow from these.
    let sets: Vec<_> = partitions().map(|(_, p)| message_set::decode(p.message_set)).collect();
    let mut batches = Vec::new();
    let mut seen = HashSet::new();
    // Per partition of the request: the batch that it became, or why it became none.
    let mut places: Vec<Result<usize, String>> = Vec::new();
    for ((topic, partition), set) in partitions().zip(&sets) {
        let partition = partition.partition;
        places.push(match records(set, session.client.envelope) {
            Ok(records) if !records.is_empty() && seen.insert((topic, partition)) => {
                batches.push(Batch { topic, partition, records });
                Ok(batches.len() - 1)
            }
            Ok(_) => Err("no message, or the partition is named twice".to_owned()),
            Err(reason) => {
                log::warn!("{name}: messages for {topic}-{partition}: {reason}");
                Err(reason)
            }
        });
    }
    let cluster = &session.shared.cluster;
    let producer = session.producer.get_or_insert_with(|| Producer::new(cluster.clone(), &name));
    let outcomes = producer.produce(&batches, patience);
    for (batch, outcome) in batches.iter().zip(&outcomes) {
        note(&name, batch, outcome);
    }
    let results: Vec<(ErrorCode, i64)> = places
        .iter()
        .map(|place| match place {
            Ok(index) => outcomes.get(*index).map_or((ErrorCode::REQUEST_TIMED_OUT, -1), code),
            Err(_) => (ErrorCode::CORRUPT_MESSAGE, -1),
        })
        .collect();
    let remarks = if session.client.is_ours() {
        let remark = |((_, partition), place): ((_, &ProducePartition<'_>), &Result<usize, String>)| {
            let remark = remark(place.as_ref().map(|index| outcomes.get(*index)))?;
            let produced =
                Produced { partition: partition.partition, error: ErrorCode::NONE, base_offset: -1 };
            Some((remark.name(), vec![produced]))
        };
        partitions().zip(&places).filter_map(remark).collect()
    } else {
        Vec::new()
    };
    let mut results = results.into_iter();
    answer(id, topics, || results.next().unwrap_or((ErrorCode::REQUEST_TIMED_OUT, -1)), &remarks)
}

/// What is to be said of a partition whose messages are not known to be stored.
fn remark(outcome: Result<Option<&Outcome>, &String>) -> Option<Remark> {
    match outcome {
        Ok(Some(Outcome::Stored(_)) | None) => None,
        Ok(Some(Outcome::NotWritten(obstacle) | Outcome::Refused(obstacle))) => {
            Some(Remark { code: obstacle.code, text: obstacle.why.clone() })
        }
        Ok(Some(Outcome::Unknown(why))) => {
            Some(Remark { code: ErrorCode::REQUEST_TIMED_OUT, text: why.clone() })
        }
        Err(why) => Some(Remark { code: ErrorCode::CORRUPT_MESSAGE, text: why.clone() }),
    }
}

/// The records that a set's messages stand for; as `envelope` says, each is inside of its message's value.
fn records<'a>(
    set: &'a Result<Vec<MessageV0<'_>>, Malformed>,
    envelope: bool,
) -> Result<Vec<Content<'a>>, String> {
    let messages = set.as_ref().map_err(ToString::to_string)?;
    let record = |(index, message): (usize, &'a MessageV0<'_>)| {
        let (key, value) = (message.key.as_deref(), message.value.as_deref());
        if !envelope {
            return Ok(Content::from((key, value)));
        }
        envelope::read(value.unwrap_or_default()).map_err(|error| format!("envelope {index}: {error}"))
    };
    messages.iter().enumerate().map(record).collect()
}

/// Answers Produce with one code for every partition.
pub fn refused(id: i32, topics: &Topics<ProducePartition<'_>>, code: ErrorCode) -> Vec<u8> {
    answer(id, topics, || (code, -1), &[])
}

fn answer(
    id: i32,
    topics: &Topics<ProducePartition<'_>>,
    mut next: impl FnMut() -> (ErrorCode, i64),
    remarks: &[(String, Vec<Produced>)],
) -> Vec<u8> {
    let mut answers = Vec::with_capacity(topics.len() + remarks.len());
    for (topic, partitions) in topics {
        let mut produced = Vec::with_capacity(partitions.len());
        for partition in partitions {
            let (error, base_offset) = next();
            produced.push(Produced { partition: partition.partition, error, base_offset });
        }
        answers.push((topic.as_str(), produced));
    }
    answers.extend(remarks.iter().map(|(name, produced)| (name.as_str(), produced.clone())));
    response::produce(id, &answers)
}

fn code(outcome: &Outcome) -> (ErrorCode, i64) {
    match outcome {
        Outcome::Stored(offset) => (ErrorCode::NONE, *offset),
        Outcome::NotWritten(obstacle) => match obstacle.code {
            known @ (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
            | ErrorCode::BROKER_NOT_AVAILABLE
            | ErrorCode::NOT_ENOUGH_REPLICAS
            | ErrorCode::MESSAGE_TOO_LARGE) => (known, -1),
            _ => (ErrorCode::LEADER_NOT_AVAILABLE, -1),
        },
        Outcome::Unknown(_) => (ErrorCode::REQUEST_TIMED_OUT, -1),
        // A code that the crate does not know would reach its user as 'unknown'.
        Outcome::Refused(obstacle) => match obstacle.code {
            code if code.0 > LAST_KNOWN || code.0 < 0 => (ErrorCode::CORRUPT_MESSAGE, -1),
            code => (code, -1),
        },
    }
}

fn note(name: &str, batch: &Batch<'_>, outcome: &Outcome) {
    let (topic, partition, count) = (batch.topic, batch.partition, batch.records.len());
    match outcome {
        Outcome::Stored(offset) => {
            log::debug!("{name}: {count} messages stored in {topic}-{partition} from offset {offset}");
        }
        Outcome::NotWritten(obstacle) => {
            log::debug!(
                "{name}: {count} messages for {topic}-{partition} were not written: {}",
                obstacle.why
            );
        }
        Outcome::Refused(obstacle) => {
            log::error!("{name}: {count} messages for {topic}-{partition} were refused: {}", obstacle.why);
        }
        Outcome::Unknown(reason) => {
            log::error!(
                "{name}: whether {count} messages for {topic}-{partition} are stored is unknown: {reason}"
            );
        }
    }
}
