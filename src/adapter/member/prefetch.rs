//! Fetching ahead: one thread for each leader of the member's partitions, translating record batches into the
//! crate's messages while the program handles the ones before.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{Chunk, Member, OffsetReset, Phase};
use crate::cluster::connection::Connection;
use crate::cluster::fetching::{self, Fetched, Position};
use crate::cluster::{self, Backoff};
use crate::protocol::error_code::ErrorCode;
use crate::protocol::legacy::message_set;
use crate::protocol::records::{Batches, RecordsError};

/// A partition is not fetched further while this many of its bytes wait.
const PARTITION_AHEAD: usize = 1024 * 1024;
/// Nothing is fetched while this many bytes wait in all.
const TOTAL_AHEAD: usize = 32 * 1024 * 1024;
/// The most bytes one partition is asked for.
const FETCH_BYTES: i32 = 1024 * 1024;
/// The most bytes that one record batch may have when unpacked.
const MAX_UNPACKED: usize = 128 * 1024 * 1024;
/// How long a broker holds a fetch that finds nothing.
const FETCH_WAIT: Duration = Duration::from_millis(500);

/// The same while another partition has no room: it may have room again at any moment.
const CROWDED_WAIT: Duration = Duration::from_millis(20);

/// What to ask a leader next.
struct Round {
    /// Positions, each with the version of the span it was read from.
    wanted: Vec<(Position, u64)>,
    wait: Duration,
}

/// Leaders of owned partitions that have no thread yet; they count as having one from now on.
pub(super) fn missing(member: &Member) -> Vec<i32> {
    let leader = |(topic, partition): &(String, i32)| member.cluster.leader(topic, *partition);
    if member.state().owned.keys().any(|key| leader(key).is_none()) {
        look_for_leaders(member);
    }
    let mut state = member.state();
    if matches!(state.phase, Phase::Ended(_)) {
        return Vec::new();
    }
    let leaders: BTreeSet<i32> = state.owned.keys().filter_map(leader).collect();
    let missing: Vec<i32> = leaders.difference(&state.fetching).copied().collect();
    state.fetching.extend(&missing);
    missing
}

/// Fetches from `leader` until it leads none of the member's partitions or the member has ended.
pub(super) fn run(member: &Member, leader: i32) {
    let mut connection = None;
    let mut backoff = Backoff::default();
    while let Some(round) = next_round(member, leader) {
        if round.wanted.is_empty() {
            continue;
        }
        match fetch(member, leader, &mut connection, &round) {
            Ok(fetched) => {
                let troubled = take(member, &round, fetched);
                if !troubled {
                    backoff = Backoff::default();
                    continue;
                }
            }
            Err(cluster::Error::Cancelled) => connection = None,
            Err(error) => {
                log::debug!("{}: fetching from node {leader}: {error}", member.role.name);
                connection = None;
            }
        }
        look_for_leaders(member);
        member.poke();
        std::thread::sleep(backoff.wait());
    }
}

/// What to fetch; empty after a wait in which there was nothing, `None` when the thread is not needed any more.
fn next_round(member: &Member, leader: i32) -> Option<Round> {
    let mut state = member.state();
    let led: Vec<&(String, i32)> =
        state.owned.keys().filter(|(topic, p)| member.cluster.leader(topic, *p) == Some(leader)).collect();
    if matches!(state.phase, Phase::Ended(_)) || led.is_empty() {
        state.fetching.remove(&leader);
        return None;
    }
    let waiting: usize = state.owned.values().map(|span| span.buffered).sum();
    let mut wanted = Vec::new();
    let count = led.len();
    for (topic, partition) in led {
        let Some(span) = state.owned.get(&(topic.clone(), *partition)) else { continue };
        if span.floor.is_some() && span.buffered < PARTITION_AHEAD && waiting < TOTAL_AHEAD {
            let position = Position {
                topic: topic.clone(),
                partition: *partition,
                offset: span.fetch_from,
                max_bytes: FETCH_BYTES,
            };
            wanted.push((position, span.version));
        }
    }
    if wanted.is_empty() {
        state.out_of_room = true;
        drop(member.wait(state, FETCH_WAIT));
    }
    let wait = if wanted.len() < count { CROWDED_WAIT } else { FETCH_WAIT };
    Some(Round { wanted, wait })
}

fn fetch(
    member: &Member,
    leader: i32,
    connection: &mut Option<Connection>,
    round: &Round,
) -> cluster::Result<Vec<Fetched>> {
    let deadline = member.cluster.deadline(Instant::now() + Duration::from_secs(60));
    let link = match connection {
        Some(link) => link,
        None => connection.insert(member.cluster.connect(leader, &member.role.name, deadline)?),
    };
    let positions: Vec<Position> = round.wanted.iter().map(|(position, _)| position.clone()).collect();
    fetching::ask(link, &positions, round.wait)?;
    fetching::answer(link, deadline, &mut || !member.ended())
}

/// Adds what came to the spans; tells whether a partition was in trouble.
fn take(member: &Member, round: &Round, fetched: Vec<Fetched>) -> bool {
    let mut troubled = false;
    for partition in fetched {
        let asked = round.wanted.iter().find(|(position, _)| {
            position.topic == partition.topic && position.partition == partition.partition
        });
        let Some((position, version)) = asked else { continue };
        match partition.error {
            ErrorCode::NONE => match convert(&partition.records, position.offset) {
                Ok(chunk) => add(member, position, *version, &partition, chunk),
                Err(reason) => {
                    troubled = true;
                    log::error!(
                        "{}-{} from offset {}: {reason}; it is fetched again",
                        position.topic,
                        position.partition,
                        position.offset
                    );
                }
            },
            ErrorCode::OFFSET_OUT_OF_RANGE => out_of_range(member, position, *version, partition.log_start),
            code => {
                troubled = true;
                log::debug!("{}: {}-{}: {code}", member.role.name, position.topic, position.partition);
            }
        }
    }
    member.changed.notify_all();
    troubled
}

fn add(member: &Member, position: &Position, version: u64, partition: &Fetched, chunk: Chunk) {
    let mut state = member.state();
    if let Some(span) = state.owned.get_mut(&(position.topic.clone(), position.partition)) {
        span.high_watermark = partition.high_watermark;
        span.add(version, position.offset, chunk);
    }
}

/// The log no longer has, or does not have yet, what comes next: goes on where the records begin, or by the reset
/// policy when the log has become shorter than what was consumed.
fn out_of_range(member: &Member, position: &Position, version: u64, log_start: i64) {
    let (topic, partition) = (&position.topic, position.partition);
    let to = if position.offset < log_start || member.settings.offset_reset == OffsetReset::Earliest {
        log_start
    } else {
        let wanted = [(topic.clone(), partition, cluster::offsets::LATEST)];
        let deadline = member.cluster.deadline(Instant::now() + Duration::from_secs(5));
        let found = cluster::offsets::list(&member.cluster, &member.role.name, &wanted, deadline);
        match found.ok().and_then(|found| found.get(&(topic.clone(), partition)).copied()) {
            Some(latest) => latest,
            None => return,
        }
    };
    let mut state = member.state();
    let span = state.owned.get_mut(&(topic.clone(), partition));
    if let Some(span) = span.filter(|span| span.version == version) {
        log::warn!(
            "{}: {topic}-{partition} has no offset {} any more; going on at {to}",
            member.role.name,
            position.offset
        );
        span.reset(to);
        state.epoch += 1;
    }
}

fn look_for_leaders(member: &Member) {
    let topics: Vec<&str> = member.role.topics.iter().map(String::as_str).collect();
    let deadline = member.cluster.deadline(Instant::now() + Duration::from_secs(5));
    if let Err(error) = member.cluster.refresh(&topics, deadline) {
        log::debug!("{}: {error}", member.role.name);
    }
}

/// Translates record batches into format 0 messages, from `from` on; control batches and other gaps are stepped over.
///
/// # Errors
/// A batch is damaged, or larger than [`MAX_UNPACKED`] when unpacked; nothing after it can be told either.
pub fn convert(batches: &Bytes, from: i64) -> Result<Chunk, RecordsError> {
    let mut chunk = Chunk { next_offset: from, ..Chunk::default() };
    chunk.bytes.reserve(batches.len() * 2);
    for batch in Batches::new(batches) {
        let batch = batch?;
        if !batch.header.is_control() {
            for record in &batch.unpack(MAX_UNPACKED)? {
                let record = record?;
                if record.offset >= from {
                    message_set::append(&mut chunk.bytes, record.offset, record.key, record.value);
                    chunk.messages.push((record.offset, chunk.bytes.len()));
                }
            }
        }
        chunk.next_offset = chunk.next_offset.max(batch.header.last_offset() + 1);
    }
    Ok(chunk)
}
