//! Fetching records from the leaders of partitions, without fetch sessions.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::{BrokerId, FetchRequest, FetchResponse};

use super::READ_MARGIN;
use super::connection::Connection;
use super::error::{Error, Result};
use super::metadata::topic_name;
use crate::protocol::error_code::ErrorCode;

/// The most bytes of records that one answer is asked to hold over all its partitions.
const MAX_BYTES: i32 = 16 * 1024 * 1024;

/// A partition to fetch and where from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The topic's name.
    pub topic: String,
    /// The partition's number.
    pub partition: i32,
    /// The offset of the first record wanted.
    pub offset: i64,
    /// The most bytes wanted; the first record batch comes whole even when it is larger (KIP-74).
    pub max_bytes: i32,
}

/// What one partition answered.
#[derive(Debug)]
pub struct Fetched {
    /// The topic's name.
    pub topic: String,
    /// The partition's number.
    pub partition: i32,
    /// [`ErrorCode::NONE`] or why there are no records.
    pub error: ErrorCode,
    /// The offset after the last record that all in-sync replicas have.
    pub high_watermark: i64,
    /// The offset of the oldest record that is still there.
    pub log_start: i64,
    /// Record batches as the log has them; the first may begin before the offset asked for, the last may be cut off.
    pub records: Bytes,
}

/// Asks the broker of `connection`, which leads all `positions`. The broker holds its answer until it has a record or
/// `wait` is over.
///
/// # Errors
/// As [`Connection::send`].
pub fn ask(connection: &mut Connection, positions: &[Position], wait: Duration) -> Result<()> {
    let mut topics: BTreeMap<&str, Vec<FetchPartition>> = BTreeMap::new();
    for position in positions {
        let partition = FetchPartition::default()
            .with_partition(position.partition)
            .with_current_leader_epoch(-1)
            .with_fetch_offset(position.offset)
            .with_last_fetched_epoch(-1)
            .with_log_start_offset(-1)
            .with_partition_max_bytes(position.max_bytes);
        topics.entry(&position.topic).or_default().push(partition);
    }
    let topic =
        |(name, partitions)| FetchTopic::default().with_topic(topic_name(name)).with_partitions(partitions);
    let request = FetchRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_max_wait_ms(wait.as_millis().min(i32::MAX as u128) as i32)
        .with_min_bytes(1)
        .with_max_bytes(MAX_BYTES)
        .with_isolation_level(0)
        .with_session_id(0)
        .with_session_epoch(-1)
        .with_topics(topics.into_iter().map(topic).collect());
    connection.send(&request)
}

/// The answer to [`ask`]; `wait` as given there, `deadline` the end for a broker that does not answer at all.
///
/// # Errors
/// As [`Connection::receive`], and [`Error::Refused`] for an error that concerns the whole request.
pub fn answer(
    connection: &mut Connection,
    deadline: Instant,
    proceed: &mut dyn FnMut() -> bool,
) -> Result<Vec<Fetched>> {
    let answer: FetchResponse = connection.receive::<FetchRequest>(deadline + READ_MARGIN, proceed)?;
    ErrorCode(answer.error_code).ok().map_err(|code| Error::refused("fetching", code))?;
    let mut fetched = Vec::new();
    for topic in answer.responses {
        for partition in topic.partitions {
            fetched.push(Fetched {
                topic: topic.topic.to_string(),
                partition: partition.partition_index,
                error: ErrorCode(partition.error_code),
                high_watermark: partition.high_watermark,
                log_start: partition.log_start_offset,
                records: partition.records.unwrap_or_default(),
            });
        }
    }
    Ok(fetched)
}
