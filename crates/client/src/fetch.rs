//! Fetching records from the leaders of partitions, without fetch sessions (KIP-227).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::{ApiKey, BrokerId, FetchRequest, FetchResponse};

use super::READ_MARGIN;
use super::connection::Connection;
use super::error::{Error, Result};
use super::metadata::{Cluster, topic_name};
use super::request_context::RequestContext;
use super::topic_id::TopicId;
use super::versioned_request::VersionedRequest;
use protocol::TopicPartition;
use protocol::error_code::ErrorCode;

impl VersionedRequest for FetchRequest {
    const API: ApiKey = ApiKey::Fetch;
    const VERSION: i16 = 11;
    /// The first that asks for topics by their ids (KIP-516), and so for no other topic of the same name.
    const NEWER: Option<i16> = Some(13);
}

/// The most bytes of records that one answer is asked to hold over all its partitions.
const MAX_BYTES: i32 = 16 * 1024 * 1024;

impl RequestContext {
    /// A Fetch of this partition.
    pub fn fetch(partition: &TopicPartition) -> RequestContext {
        RequestContext::of::<FetchRequest>().for_partition(partition)
    }
}

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
    /// The topic alone that has this id is wanted; `None` for whichever has the name. Brokers before Kafka
    /// 3.1 know names alone.
    pub topic_id: Option<TopicId>,
}

impl Position {
    /// A position in the topic that has the name, whatever its id.
    pub fn new(partition: &TopicPartition, offset: i64, max_bytes: i32) -> Position {
        let TopicPartition { topic, partition } = partition.clone();
        Position { topic, partition, offset, max_bytes, topic_id: None }
    }

    /// The partition to fetch.
    pub fn topic_partition(&self) -> TopicPartition {
        TopicPartition::new(self.topic.as_str(), self.partition)
    }
}

/// The answer of a partition.
#[derive(Debug)]
pub struct Fetched {
    /// The topic's name.
    pub topic: String,
    /// The partition's number.
    pub partition: i32,
    /// The topic was asked for by its id.
    pub by_id: bool,
    /// [`ErrorCode::NONE`] or why there are no records.
    pub error: ErrorCode,
    /// The offset after the last record that all in-sync replicas have.
    pub high_watermark: i64,
    /// The offset of the oldest record that is still there.
    pub log_start: i64,
    /// Record batches as the log has them; the first may begin before the offset asked for, the last may be
    /// cut off.
    pub records: Bytes,
}

/// Asks the broker of `connection`, which leads all `positions`. The broker holds its answer until it has a
/// record or `wait` is over. Topics are asked for by their ids if each position has one.
///
/// # Errors
/// As [`Connection::send`].
pub fn ask(connection: &mut Connection, positions: &[Position], wait: Duration) -> Result<()> {
    let has_ids = positions.iter().all(|position| position.topic_id.is_some());
    let by_id = connection.newer::<FetchRequest>().filter(|_| has_ids);
    let mut topics: BTreeMap<(&str, Option<TopicId>), Vec<FetchPartition>> = BTreeMap::new();
    for position in positions {
        let partition = FetchPartition::default()
            .with_partition(position.partition)
            .with_current_leader_epoch(-1)
            .with_fetch_offset(position.offset)
            .with_last_fetched_epoch(-1)
            .with_log_start_offset(-1)
            .with_partition_max_bytes(position.max_bytes);
        let id = position.topic_id.filter(|_| by_id.is_some());
        topics.entry((&position.topic, id)).or_default().push(partition);
    }
    let topic = |((name, id), partitions): ((&str, Option<TopicId>), _)| {
        let topic = FetchTopic::default().with_partitions(partitions);
        match id {
            Some(id) => topic.with_topic_id(id.to_message()),
            None => topic.with_topic(topic_name(name)),
        }
    };
    let request = FetchRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_max_wait_ms(wait.as_millis().min(i32::MAX as u128) as i32)
        .with_min_bytes(1)
        .with_max_bytes(MAX_BYTES)
        .with_isolation_level(0)
        .with_session_id(0)
        .with_session_epoch(-1)
        .with_topics(topics.into_iter().map(topic).collect());
    connection.send_in(by_id.unwrap_or(FetchRequest::VERSION), &request)
}

/// The answer to [`ask`] for the same `positions`; `deadline` is the end for a broker that does not answer at
/// all.
///
/// # Errors
/// As [`Connection::receive`], and [`Error::Refused`] for an error that concerns the whole request.
pub fn answer(
    connection: &mut Connection,
    positions: &[Position],
    deadline: Instant,
    proceed: &mut dyn FnMut() -> bool,
) -> Result<Vec<Fetched>> {
    let answer: FetchResponse = connection.receive::<FetchRequest>(deadline + READ_MARGIN, proceed)?;
    ErrorCode(answer.error_code)
        .ok()
        .map_err(|code| Error::refused(connection.context::<FetchRequest>(), code))?;
    let mut fetched = Vec::new();
    for topic in answer.responses {
        let id = TopicId::of(topic.topic_id.as_u128());
        for partition in topic.partitions {
            let is_it = |position: &&Position| {
                position.topic_id == id && position.partition == partition.partition_index
            };
            let name = match id {
                Some(_) => positions.iter().find(is_it).map(|position| position.topic.clone()),
                None => Some(topic.topic.to_string()),
            };
            let Some(name) = name else { continue };
            fetched.push(Fetched {
                topic: name,
                partition: partition.partition_index,
                by_id: id.is_some(),
                error: ErrorCode(partition.error_code),
                high_watermark: partition.high_watermark,
                log_start: partition.log_start_offset,
                records: partition.records.unwrap_or_default(),
            });
        }
    }
    Ok(fetched)
}

/// Fetches from the leader of one partition what is there from a position on, without waiting for more. Uses
/// `connection`, which is to the node beside it, if that leads, and leaves there the one that was used. The
/// answer has no error but [`ErrorCode::OFFSET_OUT_OF_RANGE`].
///
/// # Errors
/// There is no leader, it cannot be reached or does not answer until `deadline`, or it refuses; what was known
/// of the leader is looked up anew then.
pub fn from_leader(
    cluster: &Cluster,
    client_id: &str,
    connection: &mut Option<(i32, Connection)>,
    position: &Position,
    deadline: Instant,
) -> Result<Fetched> {
    let place = position.topic_partition();
    let refused = |code| Error::refused(RequestContext::fetch(&place), code);
    cluster.topic(&place.topic, deadline)?;
    let leader = cluster.leader(&place.topic, place.partition);
    let leader = leader.ok_or_else(|| refused(ErrorCode::LEADER_NOT_AVAILABLE))?;
    let open = match connection.take() {
        Some((node, open)) if node == leader => open.if_open(),
        _ => None,
    };
    let mut link = match open {
        Some(link) => link,
        None => cluster.connect(leader, client_id, deadline)?,
    };
    ask(&mut link, std::slice::from_ref(position), Duration::ZERO)?;
    let answers = answer(&mut link, std::slice::from_ref(position), deadline, &mut || !cluster.stopping())?;
    *connection = Some((leader, link));
    let fetched = answers.into_iter().find(|fetched| fetched.partition == place.partition);
    let fetched = fetched.ok_or_else(|| refused(ErrorCode::UNKNOWN_SERVER_ERROR))?;
    match fetched.error {
        ErrorCode::NONE | ErrorCode::OFFSET_OUT_OF_RANGE => Ok(fetched),
        code => {
            cluster.refresh(&[&place.topic], deadline)?;
            Err(refused(code))
        }
    }
}
