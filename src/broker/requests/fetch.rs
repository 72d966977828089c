//! Fetch without sessions: record batches as they were stored, awaited where there are not enough yet (long
//! polling).

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::{FetchRequest, FetchResponse};

use super::check_leader_epoch;
use crate::broker::MAX_BATCH_BYTES;
use crate::broker::budget::Room;
use crate::broker::caller::Caller;
use crate::broker::node::Node;
use crate::broker::storage::{Bounds, Watch};
use crate::protocol::error_code::ErrorCode;

/// The most bytes of records in one answer, whatever is asked for: Kafka's `fetch.max.bytes`, 55 MiB.
const MAX_BYTES: usize = 55 * 1024 * 1024;

/// The longest wait, whatever is asked for.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// How often a waiting request looks whether it is still wanted.
const SLICE: Duration = Duration::from_millis(100);

/// Reads from each partition, as soon as there are `min_bytes` in all, or an error, or the wait is over, or
/// nothing can be awaited. The first batch of the answer comes whole whatever its size (KIP-74). The room is
/// that of the records in the answer.
pub fn answer<'n>(
    node: &'n Node,
    caller: &Caller<'_>,
    request: FetchRequest,
) -> (FetchResponse, Option<Room<'n>>) {
    if request.session_id != 0 {
        let code = ErrorCode::FETCH_SESSION_ID_NOT_FOUND;
        return (FetchResponse::default().with_error_code(code.0), None);
    }
    let wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0)).min(MAX_WAIT);
    let deadline = Instant::now() + wait;
    let (mut watch, mut over) = (None, wait.is_zero());
    loop {
        let reading = Reading::all(node, &request);
        if reading.is_enough(&request) || over {
            return reading.response(request.topics);
        }
        drop(reading);
        match &watch {
            // What was appended before the watch is seen by another look.
            None => watch = Some(node.store.watch(logs(&request))),
            Some(watch) => over = !await_change(watch, caller, deadline),
        }
    }
}

/// The logs that a request asks for.
fn logs(request: &FetchRequest) -> Vec<(Arc<str>, i32)> {
    let of_topic = |topic: &FetchTopic| {
        let name: Arc<str> = topic.topic.as_str().into();
        topic.partitions.iter().map(|asked| (name.clone(), asked.partition)).collect::<Vec<_>>()
    };
    request.topics.iter().flat_map(of_topic).collect()
}

/// Waits until one of the logs has changed; `false` at the deadline, or if nobody waits for the answer any more.
fn await_change(watch: &Watch<'_>, caller: &Caller<'_>, deadline: Instant) -> bool {
    while Instant::now() < deadline && !(caller.gone)() {
        if watch.wait(deadline.min(Instant::now() + SLICE)) {
            return true;
        }
    }
    false
}

/// One pass over the partitions of a request.
struct Reading<'n> {
    node: &'n Node,
    room: Room<'n>,
    isolation_level: i8,
    /// Bytes that may be read, ...
    allowed: usize,
    /// ... and were.
    bytes: usize,
    failed: bool,
    partitions: Vec<Vec<PartitionData>>,
}

impl<'n> Reading<'n> {
    fn all(node: &'n Node, request: &FetchRequest) -> Reading<'n> {
        let wanted = usize::try_from(request.max_bytes).unwrap_or(0).min(MAX_BYTES);
        let room = node.answers.take_some(wanted, MAX_BATCH_BYTES);
        let mut reading = Reading {
            node,
            allowed: wanted.min(room.bytes()),
            room,
            isolation_level: request.isolation_level,
            bytes: 0,
            failed: false,
            partitions: Vec::with_capacity(request.topics.len()),
        };
        for topic in &request.topics {
            let read = topic.partitions.iter().map(|partition| reading.partition(&topic.topic, partition));
            let read = read.collect();
            reading.partitions.push(read);
        }
        reading.room.shrink(reading.bytes);
        reading
    }

    fn partition(&mut self, topic: &str, asked: &FetchPartition) -> PartitionData {
        let data = PartitionData::default().with_partition_index(asked.partition);
        match self.read(topic, asked) {
            Ok((records, bounds)) => {
                self.bytes += records.len();
                // What a transaction gave up: nothing, and null for who does not ask.
                let aborted = (self.isolation_level == 1).then(Vec::new);
                data.with_high_watermark(bounds.end)
                    .with_last_stable_offset(bounds.end)
                    .with_log_start_offset(bounds.log_start)
                    .with_aborted_transactions(aborted)
                    .with_records(Some(records))
            }
            Err(code) => {
                self.failed = true;
                data.with_error_code(code.0)
                    .with_high_watermark(-1)
                    .with_aborted_transactions(None)
                    .with_records(Some(Bytes::new()))
            }
        }
    }

    fn read(&self, topic: &str, asked: &FetchPartition) -> Result<(Bytes, Bounds), ErrorCode> {
        check_leader_epoch(asked.current_leader_epoch)?;
        let left = self.allowed.saturating_sub(self.bytes);
        let max_bytes = usize::try_from(asked.partition_max_bytes).unwrap_or(0).min(left);
        let first = self.bytes == 0;
        self.node.store.read(topic, asked.partition, asked.fetch_offset, max_bytes, first)
    }

    /// Whether there is nothing to wait for.
    fn is_enough(&self, request: &FetchRequest) -> bool {
        let wanted = usize::try_from(request.min_bytes).unwrap_or(0).min(self.allowed);
        self.bytes >= wanted || self.failed || self.partitions.iter().all(Vec::is_empty)
    }

    fn response(self, topics: Vec<FetchTopic>) -> (FetchResponse, Option<Room<'n>>) {
        let answered = topics.into_iter().zip(self.partitions).map(|(topic, partitions)| {
            FetchableTopicResponse::default().with_topic(topic.topic).with_partitions(partitions)
        });
        (FetchResponse::default().with_responses(answered.collect()), Some(self.room))
    }
}
