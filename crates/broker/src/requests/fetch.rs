//! Fetch: record batches as they were stored. A long poll waits until there are `min_bytes`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::{FetchRequest, FetchResponse};

use super::call::{Call, CloseReason, Handled};
use super::check_leader_epoch;
use crate::node::Node;
use crate::request_context::RequestContext;
use crate::settings::MAX_BATCH_BYTES;
use crate::storage::{FetchWaiter, LogBounds, Store};
use net::sync::{Reserved, lock};
use protocol::error_code::ErrorCode;

/// The largest number of bytes of records in one response: the broker's `fetch.max.bytes` in Kafka, 55 MiB.
const MAX_BYTES: usize = 55 * 1024 * 1024;

/// The limit of `max_wait_ms`.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// The first version whose topics have ids instead of names (KIP-516).
const BY_ID: i16 = 13;
/// How long a batch that is larger than most waits for room.
const ROOM_TIMEOUT: Duration = Duration::from_secs(5);

/// How often a long poll checks whether its client is still connected.
const SLICE: Duration = Duration::from_millis(100);

/// Reads record batches; waits for them as long as the request says.
pub fn handle<'n>(call: Call<'n, '_>) -> Result<Handled<'n>, CloseReason> {
    let (response, reserved) = fetch(call.node, call.context, call.decode()?);
    Ok(Handled::Answered(Some((call.encode(&response)?, reserved))))
}

/// Reads from each partition, as soon as there are `min_bytes` in all, or an error, or the wait is over, or
/// nothing can be awaited. The first batch of the answer comes whole whatever its size (KIP-74). The room is
/// that of the records in the answer.
fn fetch<'n>(
    node: &'n Node,
    context: &RequestContext<'_>,
    request: FetchRequest,
) -> (FetchResponse, Option<Reserved<'n>>) {
    if request.session_id != 0 {
        let code = ErrorCode::FETCH_SESSION_ID_NOT_FOUND;
        return (FetchResponse::default().with_error_code(code.0), None);
    }
    let wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0)).min(MAX_WAIT);
    let deadline = Instant::now() + wait;
    let topics = asked_topics(node, context, &request);
    let (mut waiter, mut over) = (None, wait.is_zero());
    loop {
        let reading = Reading::all(node, context, &request, &topics);
        if reading.is_enough(&request) || over {
            return reading.response(request.topics);
        }
        drop(reading);
        match &waiter {
            // The next read sees batches that were appended before the waiter was registered.
            None => waiter = Some(node.store.fetch_waiter(logs(&request, &topics))),
            Some(waiter) => over = !await_change(waiter, context, deadline),
        }
    }
}

/// A topic that a request asks for.
struct AskedTopic {
    name: Arc<str>,
    /// The id that it is asked for by.
    id: Option<u128>,
}

/// The topics of a request, in order; `None` for an id that no topic has.
fn asked_topics(
    node: &Node,
    context: &RequestContext<'_>,
    request: &FetchRequest,
) -> Vec<Option<AskedTopic>> {
    let asked = |topic: &FetchTopic| {
        if context.version < BY_ID {
            return Some(AskedTopic { name: topic.topic.as_str().into(), id: None });
        }
        let found = node.store.topic_by_id(topic.topic_id.as_u128())?;
        Some(AskedTopic { name: found.name, id: Some(found.id) })
    };
    request.topics.iter().map(asked).collect()
}

impl AskedTopic {
    /// Checks that the name has been that of the topic with this id all the time.
    fn check_id(&self, store: &Store) -> Result<(), ErrorCode> {
        match self.id {
            Some(id) if store.topic_by_id(id).is_none() => Err(match store.topic(&self.name) {
                Some(_) => ErrorCode::INCONSISTENT_TOPIC_ID,
                None => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
            }),
            _ => Ok(()),
        }
    }
}

/// The logs that a request asks for.
fn logs(request: &FetchRequest, topics: &[Option<AskedTopic>]) -> Vec<(Arc<str>, i32)> {
    let of_topic = |(asked, topic): (&FetchTopic, &Option<AskedTopic>)| {
        let name = topic.as_ref().map(|topic| topic.name.clone());
        let log = |partition: &FetchPartition| Some((name.clone()?, partition.partition));
        asked.partitions.iter().filter_map(log).collect::<Vec<_>>()
    };
    request.topics.iter().zip(topics).flat_map(of_topic).collect()
}

/// Waits until one of the logs has changed; `false` at the deadline, or if the client has disconnected.
fn await_change(waiter: &FetchWaiter<'_>, context: &RequestContext<'_>, deadline: Instant) -> bool {
    while Instant::now() < deadline && !(context.gone)() {
        if waiter.wait(deadline.min(Instant::now() + SLICE)) {
            return true;
        }
    }
    false
}

/// A pass over the partitions of a request.
struct Reading<'n, 'c> {
    node: &'n Node,
    context: &'c RequestContext<'c>,
    room: Reserved<'n>,
    isolation_level: i8,
    /// Bytes that may be read.
    allowed: usize,
    /// Bytes that were read.
    bytes: usize,
    failed: bool,
    /// There was no room in time for a first batch.
    is_out_of_room: bool,
    partitions: Vec<Vec<PartitionData>>,
}

impl<'n, 'c> Reading<'n, 'c> {
    fn all(
        node: &'n Node,
        context: &'c RequestContext<'c>,
        request: &FetchRequest,
        topics: &[Option<AskedTopic>],
    ) -> Reading<'n, 'c> {
        let wanted = usize::try_from(request.max_bytes).unwrap_or(0).min(MAX_BYTES);
        let room = node.record_budget.take_some(wanted, MAX_BATCH_BYTES);
        let mut reading = Reading {
            node,
            context,
            allowed: wanted.min(room.bytes()),
            room,
            isolation_level: request.isolation_level,
            bytes: 0,
            failed: false,
            is_out_of_room: false,
            partitions: Vec::with_capacity(request.topics.len()),
        };
        for (asked, topic) in request.topics.iter().zip(topics) {
            let read = asked.partitions.iter().map(|partition| reading.partition(topic.as_ref(), partition));
            let read = read.collect();
            reading.partitions.push(read);
        }
        reading.room.shrink(reading.bytes);
        reading
    }

    fn partition(&mut self, topic: Option<&AskedTopic>, asked: &FetchPartition) -> PartitionData {
        let data = PartitionData::default().with_partition_index(asked.partition);
        match self.read(topic, asked) {
            Ok((records, bounds)) => {
                self.bytes += records.len();
                // Aborted transactions: none; null unless the client reads committed records only.
                let aborted = (self.isolation_level == 1).then(Vec::new);
                data.with_high_watermark(bounds.log_end_offset)
                    .with_last_stable_offset(bounds.log_end_offset)
                    .with_log_start_offset(bounds.log_start_offset)
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

    fn read(
        &mut self,
        topic: Option<&AskedTopic>,
        asked: &FetchPartition,
    ) -> Result<(Bytes, LogBounds), ErrorCode> {
        let topic = topic.ok_or(ErrorCode::UNKNOWN_TOPIC_ID)?;
        let read = self.read_by_name(&topic.name, asked);
        topic.check_id(&self.node.store)?;
        read
    }

    fn read_by_name(&mut self, topic: &str, asked: &FetchPartition) -> Result<(Bytes, LogBounds), ErrorCode> {
        check_leader_epoch(asked.current_leader_epoch)?;
        let left = self.allowed.saturating_sub(self.bytes);
        let max_bytes = usize::try_from(asked.partition_max_bytes).unwrap_or(0).min(left);
        let read = self.node.store.read(topic, asked.partition, asked.fetch_offset, max_bytes, false)?;
        let (records, bounds) = &read;
        let is_left_out = records.is_empty() && asked.fetch_offset < bounds.log_end_offset;
        if is_left_out && self.bytes == 0 && !self.is_out_of_room {
            self.read_first(topic, asked)
        } else {
            Ok(read)
        }
    }

    /// The first batch of the answer, whatever its size. One that is larger than the room comes once there is
    /// room for it; nothing comes if there is none in time.
    fn read_first(&mut self, topic: &str, asked: &FetchPartition) -> Result<(Bytes, LogBounds), ErrorCode> {
        let read = || self.node.store.read(topic, asked.partition, asked.fetch_offset, 0, true);
        let (size, bounds) = {
            // Its size is known once it is read, so one at a time is read without room.
            let _alone = lock(&self.node.large_reads);
            let (records, bounds) = read()?;
            if records.len() <= self.room.bytes() {
                return Ok((records, bounds));
            }
            (records.len(), bounds)
        };
        self.room.shrink(0);
        let until = Instant::now() + ROOM_TIMEOUT;
        match self.node.record_budget.take(size, until, &|| !(self.context.gone)()) {
            Some(room) => {
                self.room = room;
                read()
            }
            None => {
                self.is_out_of_room = true;
                self.allowed = 0;
                Ok((Bytes::new(), bounds))
            }
        }
    }

    /// Whether there is nothing to wait for.
    fn is_enough(&self, request: &FetchRequest) -> bool {
        let wanted = usize::try_from(request.min_bytes).unwrap_or(0).min(self.allowed);
        self.bytes >= wanted || self.failed || self.partitions.iter().all(Vec::is_empty)
    }

    fn response(self, topics: Vec<FetchTopic>) -> (FetchResponse, Option<Reserved<'n>>) {
        let answered = topics.into_iter().zip(self.partitions).map(|(topic, partitions)| {
            FetchableTopicResponse::default()
                .with_topic(topic.topic)
                .with_topic_id(topic.topic_id)
                .with_partitions(partitions)
        });
        (FetchResponse::default().with_responses(answered.collect()), Some(self.room))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::Retention;
    use crate::tests::Folder;

    #[test]
    fn a_topic_that_takes_the_place_of_another_while_it_is_read_is_not_the_one_that_was_asked_for() {
        let folder = Folder::new();
        let store = Store::open(folder.path(), Retention::default()).unwrap();
        let created = store.create_topic("t", 1, Default::default()).wait().unwrap();
        let asked = AskedTopic { name: created.name.clone(), id: Some(created.id) };
        assert_eq!(asked.check_id(&store), Ok(()));
        store.delete_topic("t").wait().unwrap();
        assert_eq!(asked.check_id(&store), Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
        let again = store.create_topic("t", 1, Default::default()).wait().unwrap();
        assert_eq!(asked.check_id(&store), Err(ErrorCode::INCONSISTENT_TOPIC_ID));
        assert_eq!(AskedTopic { id: Some(again.id), ..asked }.check_id(&store), Ok(()));
    }
}
