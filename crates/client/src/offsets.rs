//! The offsets that a partition's log itself knows: its first, its next, and the first after a time
//! (ListOffsets).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::{ApiKey, BrokerId, ListOffsetsRequest, ListOffsetsResponse};

use super::READ_MARGIN;
use super::error::{Error, Result};
use super::metadata::{Cluster, topic_name};
use super::request_context::RequestContext;
use super::versioned_request::VersionedRequest;
use net::backoff::Backoff;
use protocol::TopicPartition;
use protocol::error_code::ErrorCode;

impl VersionedRequest for ListOffsetsRequest {
    const API: ApiKey = ApiKey::ListOffsets;
    const VERSION: i16 = 4;
}

/// The timestamp that asks for the offset after the last record.
pub const LATEST: i64 = -1;
/// The timestamp that asks for the offset of the first record.
pub const EARLIEST: i64 = -2;

/// The time limit of [`bounds`].
const BOUNDS: Duration = Duration::from_secs(5);

/// The offsets found, by topic and partition; -1 where no record is as young as the time asked for.
pub type Offsets = HashMap<TopicPartition, i64>;

/// Asks the leaders for the offsets of `wanted` (topic, partition, timestamp in milliseconds or [`LATEST`] or
/// [`EARLIEST`]), and again after leader changes until `deadline`.
///
/// Beside what was found stands the last error, when an offset is still missing at `deadline` or a broker
/// refused for good.
pub fn list(
    cluster: &Cluster,
    client_id: &str,
    wanted: &[(TopicPartition, i64)],
    deadline: Instant,
) -> (Offsets, Option<Error>) {
    find_while(cluster, client_id, wanted, deadline, &|_| true)
}

/// Asks once for the offsets of `wanted`, as [`list`] does; what cannot be had now is left out.
pub fn find(
    cluster: &Cluster,
    client_id: &str,
    wanted: &[(TopicPartition, i64)],
    deadline: Instant,
) -> Offsets {
    let (found, error) = try_find(cluster, client_id, wanted, deadline);
    error.into_iter().for_each(|error| log::debug!("offsets: {error}"));
    found
}

/// The first and the next offsets of partitions, of those that have a leader. A leader does not answer at
/// once for a partition that was just created or that it just took over: it is asked again, for 5 s at most.
pub fn bounds<'a>(
    cluster: &Cluster,
    client_id: &str,
    places: impl IntoIterator<Item = &'a TopicPartition>,
) -> [Offsets; 2] {
    let places: Vec<&TopicPartition> = places.into_iter().collect();
    let deadline = Instant::now() + BOUNDS;
    [EARLIEST, LATEST].map(|time| {
        let wanted: Vec<_> = places.iter().map(|&place| (place.clone(), time)).collect();
        let (found, error) = find_led(cluster, client_id, &wanted, deadline);
        error.into_iter().for_each(|error| log::debug!("offsets: {error}"));
        found
    })
}

/// As [`list`], of the partitions that have a leader: it waits for no other. An error says why one is
/// missing.
pub fn find_led(
    cluster: &Cluster,
    client_id: &str,
    wanted: &[(TopicPartition, i64)],
    deadline: Instant,
) -> (Offsets, Option<Error>) {
    let is_led = |key: &TopicPartition| cluster.leader(&key.topic, key.partition).is_some();
    find_while(cluster, client_id, wanted, deadline, &is_led)
}

/// Asks again while an offset is missing that is awaited.
fn find_while(
    cluster: &Cluster,
    client_id: &str,
    wanted: &[(TopicPartition, i64)],
    deadline: Instant,
    is_awaited: &dyn Fn(&TopicPartition) -> bool,
) -> (Offsets, Option<Error>) {
    let mut found = Offsets::new();
    let mut backoff = crate::backoff();
    loop {
        let round = one_round(cluster, client_id, wanted, &mut found, deadline);
        let mut missing = wanted.iter().map(|(key, _)| key).filter(|key| !found.contains_key(key)).peekable();
        let Some(&first) = missing.peek() else { return (found, None) };
        let is_lasting = round.as_ref().is_err_and(Error::is_lasting);
        let goes_on = missing.any(is_awaited) && !is_lasting && !cluster.stopping();
        if !goes_on || Instant::now() >= deadline {
            let leaderless =
                || Error::refused(context().for_partition(first), ErrorCode::LEADER_NOT_AVAILABLE);
            return (found, Some(round.err().unwrap_or_else(leaderless)));
        }
        pause_and_refresh(cluster, &mut backoff, wanted, deadline);
    }
}

/// Waits before another round, for which the leaders are looked up anew.
fn pause_and_refresh(
    cluster: &Cluster,
    backoff: &mut Backoff,
    wanted: &[(TopicPartition, i64)],
    deadline: Instant,
) {
    cluster.pause(backoff.next_wait());
    let topics: BTreeSet<&str> = wanted.iter().map(|(key, _)| key.topic.as_str()).collect();
    let topics: Vec<&str> = topics.into_iter().collect();
    if let Err(error) = cluster.refresh(&topics, cluster.deadline(deadline)) {
        log::debug!("offsets: {error}");
    }
}

/// As [`find`], beside an error of what could not be had.
pub fn try_find(
    cluster: &Cluster,
    client_id: &str,
    wanted: &[(TopicPartition, i64)],
    deadline: Instant,
) -> (Offsets, Option<Error>) {
    let mut found = Offsets::new();
    let error = one_round(cluster, client_id, wanted, &mut found, deadline).err();
    found.retain(|_, offset| *offset >= 0);
    (found, error)
}

fn one_round(
    cluster: &Cluster,
    client_id: &str,
    wanted: &[(TopicPartition, i64)],
    found: &mut Offsets,
    deadline: Instant,
) -> Result<()> {
    let mut by_leader: BTreeMap<i32, BTreeMap<&str, Vec<ListOffsetsPartition>>> = BTreeMap::new();
    let mut result = Ok(());
    for (key, timestamp) in wanted {
        let TopicPartition { topic, partition } = key;
        if found.contains_key(key) {
            continue;
        }
        // The partitions of other topics are asked for all the same.
        match cluster.topic(topic, cluster.deadline(deadline)) {
            Ok(Some(_)) => {}
            Ok(None) => {
                let refused =
                    Error::refused(context().for_topic(topic), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
                result = Err(refused);
                continue;
            }
            Err(error @ Error::Refused { .. }) => {
                result = Err(error);
                continue;
            }
            Err(error) => return Err(error),
        }
        let Some(leader) = cluster.leader(topic, *partition) else { continue };
        let entry = ListOffsetsPartition::default()
            .with_partition_index(*partition)
            .with_current_leader_epoch(-1)
            .with_timestamp(*timestamp);
        by_leader.entry(leader).or_default().entry(topic).or_default().push(entry);
    }
    let mut asked = Vec::new();
    for (leader, topics) in by_leader {
        let topic = |(name, partitions)| {
            ListOffsetsTopic::default().with_name(topic_name(name)).with_partitions(partitions)
        };
        let request = ListOffsetsRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_isolation_level(0)
            .with_topics(topics.into_iter().map(topic).collect());
        let sent =
            cluster.connect(leader, client_id, cluster.deadline(deadline)).and_then(|mut connection| {
                connection.send(&request)?;
                Ok(connection)
            });
        match sent {
            Ok(connection) => asked.push(connection),
            Err(error) => result = Err(error),
        }
    }
    for mut connection in asked {
        let limit = cluster.deadline(deadline) + READ_MARGIN;
        match connection.receive::<ListOffsetsRequest>(limit, &mut || !cluster.stopping()) {
            Ok(answer) => result = take(&answer, found).and(result),
            Err(error) => result = Err(error),
        }
    }
    result
}

fn take(answer: &ListOffsetsResponse, found: &mut Offsets) -> Result<()> {
    let mut result = Ok(());
    for topic in &answer.topics {
        for partition in &topic.partitions {
            match ErrorCode(partition.error_code) {
                ErrorCode::NONE => {
                    found.insert(
                        TopicPartition::new(topic.name.as_str(), partition.partition_index),
                        partition.offset,
                    );
                }
                code => {
                    let partition = TopicPartition::new(topic.name.as_str(), partition.partition_index);
                    result = Err(Error::refused(context().for_partition(&partition), code));
                }
            }
        }
    }
    result
}

fn context() -> RequestContext {
    RequestContext::of::<ListOffsetsRequest>()
}
