//! Fetching ahead: one thread for each leader of the member's partitions. It translates record batches into
//! what the member serves while the client handles the records before.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::batches::convert;
use super::{Chunk, ClientKind, Member, OwnedPartition, Records, reader};
use crate::connection::Connection;
use crate::fetch::{self, Fetched, Position};
use crate::offsets;
use protocol::TopicPartition;
use protocol::error_code::ErrorCode;
use protocol::records::RecordsError;

/// A partition is not fetched further while this many of its bytes wait.
const PARTITION_AHEAD: usize = 1024 * 1024;
/// Nothing is fetched while this many bytes wait in all.
const TOTAL_AHEAD: usize = 32 * 1024 * 1024;
/// The most bytes one partition is asked for.
const FETCH_BYTES: usize = 1024 * 1024;
/// How long it may take to ask for the leaders.
const REFRESH: Duration = Duration::from_secs(5);
/// How often it is looked for partitions whose leader is not known.
const LEADER_CHECK_INTERVAL: Duration = Duration::from_millis(250);
/// After how long it is told that a partition has no leader.
const LEADERLESS: Duration = Duration::from_secs(5);
/// How often it is asked which topics have the names of those that are consumed. Brokers since Kafka 3.1 tell
/// by themselves that one is gone.
const TOPIC_CHECK_INTERVAL: Duration = Duration::from_secs(30);
/// How long a partition with an error is left alone.
const REST: Duration = Duration::from_secs(1);
/// How long a commit behind offsets without messages may take, and how long it is not tried again where it
/// failed.
const PASS_PATIENCE: Duration = Duration::from_secs(5);
/// How long a broker holds a fetch that finds nothing.
const FETCH_WAIT: Duration = Duration::from_millis(500);

/// The same while another partition has no room: it may have room again at any moment.
const CROWDED_WAIT: Duration = Duration::from_millis(20);

/// What is fetched of a partition.
pub(super) struct Wanted {
    pub position: Position,
    /// The version of the owned partition that it was read from.
    pub version: u64,
    /// Not for its records, but for the proof that the topic is there.
    pub is_proof: bool,
}

/// The next fetch from a leader.
struct Round {
    wanted: Vec<Wanted>,
    wait: Duration,
    fetch_epoch: u64,
}

/// Leaders of owned partitions that have no thread yet; they count as having one from now on.
pub(super) fn missing(member: &Member) -> Vec<i32> {
    let leader = |key: &TopicPartition| member.cluster.leader(&key.topic, key.partition);
    let mut state = member.state();
    if state.has_ended() {
        return Vec::new();
    }
    let leaders: BTreeSet<i32> = state.owned.keys().filter_map(leader).collect();
    let missing: Vec<i32> = leaders.difference(&state.fetching).copied().collect();
    state.fetching.extend(&missing);
    missing
}

/// Keeps the member's partitions led by a known node, and commits behind offsets without messages; runs until
/// the member has ended.
pub(super) fn follow_leaders(member: &Member) {
    let mut pass_at = Instant::now();
    let mut check_at = Instant::now() + TOPIC_CHECK_INTERVAL;
    let mut leaderless = Leaderless::default();
    while !member.ended() {
        let keys: BTreeSet<TopicPartition> = {
            let state = member.state();
            let keys = state.owned.keys();
            let is_leaderless =
                |key: &&TopicPartition| member.cluster.leader(&key.topic, key.partition).is_none();
            keys.filter(is_leaderless).cloned().collect()
        };
        leaderless.tell(&member.spec.name, &keys, Instant::now());
        if !keys.is_empty() {
            refresh_leaders(member);
            member.heartbeat_soon();
        } else if Instant::now() >= check_at {
            check_at = Instant::now() + TOPIC_CHECK_INTERVAL;
            refresh_leaders(member);
        }
        if Instant::now() >= pass_at && !member.pass_gaps(Instant::now() + PASS_PATIENCE) {
            pass_at = Instant::now() + PASS_PATIENCE;
        }
        member.pause(LEADER_CHECK_INTERVAL);
    }
}

/// The owned partitions without a leader: since when, and whether that was told.
#[derive(Default)]
struct Leaderless(BTreeMap<TopicPartition, (Instant, bool)>);

impl Leaderless {
    /// Tells of partitions that have had no leader for a while, and of those that have one again.
    fn tell(&mut self, name: &str, keys: &BTreeSet<TopicPartition>, now: Instant) {
        for key in keys {
            let (since, is_told) = self.0.entry(key.clone()).or_insert((now, false));
            if !*is_told && now.saturating_duration_since(*since) >= LEADERLESS {
                *is_told = true;
                log::warn!("{name}: {key} has no leader, and nothing is read from it until it has one");
            }
        }
        self.0.retain(|key, (_, is_told)| {
            let is_gone = !keys.contains(key);
            if is_gone && *is_told {
                log::info!("{name}: {key} has a leader again, or another owner");
            }
            !is_gone
        });
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
    let mut backoff = crate::backoff();
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
                    backoff.reset();
                    continue;
                }
            }
            Err(crate::Error::Cancelled) => {
                connection = None;
                continue;
            }
            Err(error) => {
                log::debug!("{}: fetching from node {leader}: {error}", member.spec.name);
                connection = None;
            }
        }
        refresh_leaders(member);
        member.heartbeat_soon();
        member.pause(backoff.next_wait());
    }
}

/// The next fetch; empty after a wait without anything to fetch, `None` when the thread is not needed any
/// more.
fn next_round(member: &Member, leader: i32) -> Option<Round> {
    let mut state = member.state();
    let led: Vec<TopicPartition> = state
        .owned
        .keys()
        .filter(|key| member.cluster.leader(&key.topic, key.partition) == Some(leader))
        .cloned()
        .collect();
    if state.has_ended() || led.is_empty() {
        // In the same breath, so that the next leader change is not missed.
        state.fetching.remove(&leader);
        return None;
    }
    let waiting: usize = state.owned.values().map(|owned| owned.buffered).sum();
    let fetch_epoch = state.fetch_epoch;
    let mut wanted = Vec::new();
    let mut crowded = false;
    for key in &led {
        let told = member.cluster.topic_id(&key.topic);
        let Some(owned) = state.owned.get_mut(key) else { continue };
        let rests = owned.rest_until.is_some_and(|until| Instant::now() < until);
        if owned.floor.is_none() || owned.is_revoked || rests {
            continue;
        }
        let room = match &member.spec.records {
            Records::Handed(sink) => sink.room(key, owned.span),
            _ if owned.buffered >= PARTITION_AHEAD || waiting >= TOTAL_AHEAD => 0,
            _ => FETCH_BYTES,
        };
        if room == 0 {
            crowded = true;
        } else {
            wanted.push(owned.wanted(key, told, room.min(FETCH_BYTES) as i32));
        }
    }
    if wanted.is_empty() {
        // A reader does not tell when it has room again.
        let is_reader = member.spec.kind == ClientKind::Reader;
        state.waits_for_room = true;
        drop(member.wait(state, if is_reader && crowded { CROWDED_WAIT } else { FETCH_WAIT }));
    }
    let wait = if crowded { CROWDED_WAIT } else { FETCH_WAIT };
    Some(Round { wanted, wait, fetch_epoch })
}

fn fetch(
    member: &Member,
    leader: i32,
    connection: &mut Option<Connection>,
    round: &Round,
) -> crate::Result<Vec<Fetched>> {
    let deadline = member.cluster.deadline(Instant::now() + Duration::from_secs(60));
    *connection = connection.take().and_then(Connection::if_open);
    let link = match connection {
        Some(link) => link,
        None => connection.insert(member.cluster.connect(leader, &member.spec.name, deadline)?),
    };
    let positions: Vec<Position> = round.wanted.iter().map(|wanted| wanted.position.clone()).collect();
    fetch::ask(link, &positions, round.wait)?;
    fetch::answer(link, &positions, deadline, &mut || {
        let state = member.state();
        state.fetch_epoch == round.fetch_epoch && !state.has_ended()
    })
}

/// Adds the fetched records to the partitions; returns whether a partition has another leader now.
fn take(member: &Member, round: &Round, fetched: Vec<Fetched>) -> bool {
    let (mut moved, mut is_any_unknown) = (false, false);
    for partition in fetched {
        let is_it = |wanted: &&Wanted| {
            wanted.position.topic == partition.topic && wanted.position.partition == partition.partition
        };
        let Some(wanted) = round.wanted.iter().find(is_it) else { continue };
        let Wanted { position, version, is_proof } = wanted;
        let other = match partition.error {
            ErrorCode::NONE | ErrorCode::OFFSET_OUT_OF_RANGE if *is_proof && partition.by_id => {
                position.topic_id
            }
            ErrorCode::NONE | ErrorCode::OFFSET_OUT_OF_RANGE if !partition.by_id => member.other_id(wanted),
            _ => None,
        };
        if let Some(other) = other {
            member.begin_anew(wanted, other);
            continue;
        }
        match partition.error {
            // Asked for by name, it proves nothing.
            ErrorCode::NONE | ErrorCode::OFFSET_OUT_OF_RANGE if *is_proof => member.note_known(wanted),
            ErrorCode::NONE => {
                if let Err(reason) = take_records(member, position, *version, &partition) {
                    rest(member, position, &reason.to_string());
                }
            }
            ErrorCode::OFFSET_OUT_OF_RANGE => {
                if !out_of_range(member, position, *version) {
                    rest(member, position, "the log's offsets are not known now");
                }
            }
            ErrorCode::UNKNOWN_TOPIC_ID | ErrorCode::INCONSISTENT_TOPIC_ID => {
                is_any_unknown = true;
                member.note_unknown(wanted);
            }
            code if code.is_retriable() => {
                moved = true;
                log::debug!("{}: {}-{}: {code}", member.spec.name, position.topic, position.partition);
            }
            code => rest(member, position, code.name()),
        }
    }
    if is_any_unknown {
        refresh_leaders(member);
        member.heartbeat_soon();
    }
    member.changed.notify_all();
    moved
}

fn take_records(
    member: &Member,
    position: &Position,
    version: u64,
    partition: &Fetched,
) -> Result<(), RecordsError> {
    match &member.spec.records {
        Records::NotFetched => {}
        Records::Translated(format) => {
            let chunk = convert(&partition.records, position.offset, *format)?;
            add(member, position, version, partition, chunk);
        }
        Records::Handed(sink) => reader::hand_over(member, &**sink, position, version, partition)?,
    }
    Ok(())
}

fn add(member: &Member, position: &Position, version: u64, partition: &Fetched, chunk: Chunk) {
    let mut state = member.state();
    if let Some(owned) = state.owned.get_mut(&position.topic_partition()) {
        owned.answered(partition.high_watermark);
        owned.add(version, position.offset, chunk);
    }
}

/// Leaves a partition with an error alone for a moment; the leader's others go on.
fn rest(member: &Member, position: &Position, reason: &str) {
    let mut state = member.state();
    if let Some(owned) = state.owned.get_mut(&position.topic_partition()) {
        let first = owned.rest_until.replace(Instant::now() + REST).is_none();
        let level = if first { log::Level::Error } else { log::Level::Debug };
        let (topic, partition, offset) = (&position.topic, position.partition, position.offset);
        log::log!(level, "{topic}-{partition} from offset {offset}: {reason}; it is fetched again");
    }
}

/// The log no longer has, or does not have yet, what comes next: goes on where the records begin, or by the
/// reset policy when the log has become shorter than what was consumed. False if the offsets cannot be had
/// now.
fn out_of_range(member: &Member, position: &Position, version: u64) -> bool {
    let key = position.topic_partition();
    let deadline = member.cluster.deadline(Instant::now() + Duration::from_secs(5));
    let mut bounds = [offsets::EARLIEST, offsets::LATEST].into_iter().map(|time| {
        let wanted = [(key.clone(), time)];
        offsets::find(&member.cluster, &member.spec.name, &wanted, deadline).remove(&key)
    });
    let (Some(Some(earliest)), Some(Some(latest))) = (bounds.next(), bounds.next()) else { return false };
    let mut state = member.state();
    let fits = |owned: &&mut OwnedPartition| owned.version == version && owned.fetch_from == position.offset;
    let Some(owned) = state.owned.get_mut(&key).filter(fits) else { return true };
    let (name, group) = (&member.spec.name, &member.spec.group);
    if position.offset < earliest {
        let mut gone = owned.skip_to(earliest);
        if let Records::Handed(sink) = &member.spec.records {
            owned.ceiling = owned.ceiling.max(earliest);
            // What its note says is done is no loss.
            gone = gone.min(sink.skip_to(&key, owned.span, earliest));
        }
        if gone > 0 {
            let messages = if gone == 1 { "message" } else { "messages" };
            log::warn!(
                "{name}: removed before group {group} handled them: {gone} {messages} of {key}, offsets {} \
                 to {} (retention, or records that were deleted); going on at {earliest}",
                position.offset,
                earliest - 1
            );
        }
    } else if position.offset > latest {
        log::warn!("{name}: {key} ends at {latest}, before offset {}", position.offset);
        owned.fall_back(earliest, latest);
        state.epoch += 1;
    }
    state.fetch_epoch += 1;
    true
}

/// Asks the cluster which nodes lead the member's partitions, for 5 s at most.
pub(super) fn refresh_leaders(member: &Member) {
    refresh_topics(member, REFRESH);
}

/// Asks the cluster for the member's topics, for so long at most.
pub(super) fn refresh_topics(member: &Member, patience: Duration) {
    let topics = member.topics();
    let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
    let deadline = member.cluster.deadline(Instant::now() + patience);
    if let Err(error) = member.cluster.refresh(&topics, deadline) {
        log::debug!("{}: {error}", member.spec.name);
    }
}
