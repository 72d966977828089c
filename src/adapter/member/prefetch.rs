//! Fetching ahead: one thread for each leader of the member's partitions, translating record batches into the
//! crate's messages while the program handles the ones before.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{Chunk, Member, Phase, Span};
use crate::cluster::connection::Connection;
use crate::cluster::fetching::{self, Fetched, Position};
use crate::cluster::{self, Backoff, offsets};
use crate::protocol::error_code::ErrorCode;
use crate::protocol::legacy::message_set;
use crate::protocol::records::{Batch, Batches, RecordsError};

/// A partition is not fetched further while this many of its bytes wait.
const PARTITION_AHEAD: usize = 1024 * 1024;
/// Nothing is fetched while this many bytes wait in all.
const TOTAL_AHEAD: usize = 32 * 1024 * 1024;
/// The most bytes one partition is asked for.
const FETCH_BYTES: i32 = 1024 * 1024;
/// The most bytes that one record batch may have when unpacked.
const MAX_UNPACKED: usize = 128 * 1024 * 1024;
/// No further batch is unpacked into a chunk of this size.
const CHUNK_BYTES: usize = 4 * 1024 * 1024;
/// How often it is looked for partitions whose leader is not known.
const LEADER_LOOK: Duration = Duration::from_millis(250);
/// How long a partition in trouble is left alone.
const REST: Duration = Duration::from_secs(1);
/// How long a broker holds a fetch that finds nothing.
const FETCH_WAIT: Duration = Duration::from_millis(500);

/// The same while another partition has no room: it may have room again at any moment.
const CROWDED_WAIT: Duration = Duration::from_millis(20);

/// What to ask a leader next.
struct Round {
    /// Positions, each with the version of the span it was read from.
    wanted: Vec<(Position, u64)>,
    wait: Duration,
    arrangement: u64,
}

/// Leaders of owned partitions that have no thread yet; they count as having one from now on.
pub(super) fn missing(member: &Member) -> Vec<i32> {
    let leader = |(topic, partition): &(String, i32)| member.cluster.leader(topic, *partition);
    let mut state = member.state();
    if matches!(state.phase, Phase::Ended(_)) {
        return Vec::new();
    }
    let leaders: BTreeSet<i32> = state.owned.keys().filter_map(leader).collect();
    let missing: Vec<i32> = leaders.difference(&state.fetching).copied().collect();
    state.fetching.extend(&missing);
    missing
}

/// Keeps the member's partitions led by somebody who is known; runs until the member has ended.
pub(super) fn follow_leaders(member: &Member) {
    while !member.ended() {
        let leaderless = {
            let state = member.state();
            state.owned.keys().any(|(topic, partition)| member.cluster.leader(topic, *partition).is_none())
        };
        if leaderless {
            look_for_leaders(member);
            member.poke();
        }
        std::thread::sleep(LEADER_LOOK);
    }
}

/// Lets another thread take over when the one for this leader panics.
struct Fetching<'a>(&'a Member, i32);

impl Drop for Fetching<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.state().fetching.remove(&self.1);
        }
    }
}

/// Fetches from `leader` until it leads none of the member's partitions or the member has ended.
pub(super) fn run(member: &Member, leader: i32) {
    let _fetching = Fetching(member, leader);
    let mut connection = None;
    let mut backoff = Backoff::default();
    let mut turn = 0;
    while let Some(mut round) = next_round(member, leader) {
        if round.wanted.is_empty() {
            continue;
        }
        // Only the first partition with data is sure to bring a batch larger than the limits.
        turn = (turn + 1) % round.wanted.len();
        round.wanted.rotate_left(turn);
        match fetch(member, leader, &mut connection, &round) {
            Ok(fetched) => {
                if !take(member, &round, fetched) {
                    backoff = Backoff::default();
                    continue;
                }
            }
            Err(cluster::Error::Cancelled) => {
                connection = None;
                continue;
            }
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
        // In the same breath, so that the next leader change is not missed.
        state.fetching.remove(&leader);
        return None;
    }
    let waiting: usize = state.owned.values().map(|span| span.buffered).sum();
    let arrangement = state.arrangement;
    let mut wanted = Vec::new();
    let mut crowded = false;
    for (topic, partition) in led {
        let Some(span) = state.owned.get(&(topic.clone(), *partition)) else { continue };
        let rests = span.rest_until.is_some_and(|until| Instant::now() < until);
        if span.floor.is_none() || rests {
            continue;
        }
        if span.buffered >= PARTITION_AHEAD || waiting >= TOTAL_AHEAD {
            crowded = true;
        } else {
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
    let wait = if crowded { CROWDED_WAIT } else { FETCH_WAIT };
    Some(Round { wanted, wait, arrangement })
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
    fetching::answer(link, deadline, &mut || {
        let state = member.state();
        state.arrangement == round.arrangement && !matches!(state.phase, Phase::Ended(_))
    })
}

/// Adds what came to the spans; tells whether a partition has another leader now.
fn take(member: &Member, round: &Round, fetched: Vec<Fetched>) -> bool {
    let mut moved = false;
    for partition in fetched {
        let asked = round.wanted.iter().find(|(position, _)| {
            position.topic == partition.topic && position.partition == partition.partition
        });
        let Some((position, version)) = asked else { continue };
        match partition.error {
            ErrorCode::NONE => match convert(&partition.records, position.offset, member.role.envelope) {
                Ok(chunk) => add(member, position, *version, &partition, chunk),
                Err(reason) => rest(member, position, &reason.to_string()),
            },
            ErrorCode::OFFSET_OUT_OF_RANGE => {
                if !out_of_range(member, position, *version) {
                    rest(member, position, "the log's offsets are not known now");
                }
            }
            code if code.is_retriable() => {
                moved = true;
                log::debug!("{}: {}-{}: {code}", member.role.name, position.topic, position.partition);
            }
            code => rest(member, position, code.name()),
        }
    }
    member.changed.notify_all();
    moved
}

fn add(member: &Member, position: &Position, version: u64, partition: &Fetched, chunk: Chunk) {
    let mut state = member.state();
    if let Some(span) = state.owned.get_mut(&(position.topic.clone(), position.partition)) {
        span.rest_until = None;
        span.high_watermark = partition.high_watermark;
        span.add(version, position.offset, chunk);
    }
}

/// Leaves a partition in trouble alone for a moment; the leader's others go on.
fn rest(member: &Member, position: &Position, reason: &str) {
    let mut state = member.state();
    if let Some(span) = state.owned.get_mut(&(position.topic.clone(), position.partition)) {
        let first = span.rest_until.replace(Instant::now() + REST).is_none();
        let level = if first { log::Level::Error } else { log::Level::Debug };
        let (topic, partition, offset) = (&position.topic, position.partition, position.offset);
        log::log!(level, "{topic}-{partition} from offset {offset}: {reason}; it is fetched again");
    }
}

/// The log no longer has, or does not have yet, what comes next: goes on where the records begin, or by the reset
/// policy when the log has become shorter than what was consumed. False if the offsets cannot be had now.
fn out_of_range(member: &Member, position: &Position, version: u64) -> bool {
    let key = (position.topic.clone(), position.partition);
    let deadline = member.cluster.deadline(Instant::now() + Duration::from_secs(5));
    let mut bounds = [offsets::EARLIEST, offsets::LATEST].into_iter().map(|time| {
        let wanted = [(position.topic.clone(), position.partition, time)];
        offsets::find(&member.cluster, &member.role.name, &wanted, deadline).remove(&key)
    });
    let (Some(Some(earliest)), Some(Some(latest))) = (bounds.next(), bounds.next()) else { return false };
    let mut state = member.state();
    let fits = |span: &&mut Span| span.version == version && span.fetch_from == position.offset;
    let Some(span) = state.owned.get_mut(&key).filter(fits) else { return true };
    let name = &member.role.name;
    let (topic, partition) = &key;
    if position.offset < earliest {
        log::warn!(
            "{name}: {topic}-{partition} no longer has offset {}; going on at {earliest}",
            position.offset
        );
        span.seek(earliest);
    } else if position.offset > latest {
        log::warn!("{name}: {topic}-{partition} ends at {latest}, before offset {}", position.offset);
        span.fall_back(earliest, latest);
        state.epoch += 1;
    }
    state.arrangement += 1;
    true
}

/// Asks the cluster who leads the member's partitions, for 5 s at most.
pub(super) fn look_for_leaders(member: &Member) {
    let topics: Vec<&str> = member.role.topics.iter().map(String::as_str).collect();
    let deadline = member.cluster.deadline(Instant::now() + Duration::from_secs(5));
    if let Err(error) = member.cluster.refresh(&topics, deadline) {
        log::debug!("{}: {error}", member.role.name);
    }
}

/// Translates record batches into format 0 messages, from `from` on, with `envelope` each record in one; control batches
/// and other gaps are stepped over. Ends after a batch that makes the chunk larger than [`CHUNK_BYTES`], or before one
/// that is damaged.
///
/// # Errors
/// The first batch is damaged, or larger than [`MAX_UNPACKED`] when unpacked.
pub fn convert(batches: &Bytes, from: i64, envelope: bool) -> Result<Chunk, RecordsError> {
    let mut chunk = Chunk { next_offset: from, ..Chunk::default() };
    chunk.bytes.reserve(batches.len() * 2);
    for batch in Batches::new(batches) {
        let (whole, count) = (chunk.bytes.len(), chunk.messages.len());
        match batch.and_then(|batch| translate(&batch, from, envelope, &mut chunk)) {
            Ok(()) => {}
            Err(error) if chunk.next_offset == from => return Err(error),
            Err(_) => {
                chunk.bytes.truncate(whole);
                chunk.messages.truncate(count);
                break;
            }
        }
        if chunk.bytes.len() > CHUNK_BYTES {
            break;
        }
    }
    Ok(chunk)
}

fn translate(batch: &Batch, from: i64, envelope: bool, chunk: &mut Chunk) -> Result<(), RecordsError> {
    if !batch.header.is_control() {
        for record in &batch.unpack(MAX_UNPACKED)? {
            let record = record?;
            if record.offset >= from {
                match envelope {
                    true => message_set::append_envelope(&mut chunk.bytes, record.offset, &record.content()),
                    false => message_set::append(&mut chunk.bytes, record.offset, record.key, record.value),
                }
                chunk.messages.push((record.offset, chunk.bytes.len()));
            }
        }
    }
    chunk.next_offset = chunk.next_offset.max(batch.header.last_offset().saturating_add(1));
    Ok(())
}
