//! The thread that commits: one request at a time, with all that is done since the last.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use client::coordinator::Commit;
use client::group_member::Member;
use net::backoff::Backoff;
use net::sync::wait_timeout;
use protocol::TopicPartition;
use protocol::error_code::ErrorCode;

use super::shared::{Queue, Shared};
use crate::error::Error;
use crate::queue::engine;
use crate::queue::note::MIN_LIMIT;
use crate::queue::partitions::Ownership;

/// A commit without an answer is given up after so long, and made anew with what is done by then.
const PATIENCE: Duration = Duration::from_secs(5);
/// The waits after commits that came to nothing.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(2));
/// From the answer to one commit to the next one, unless somebody waits for that: under load a commit is for
/// many messages then. Brokers keep each commit with its notes until they compact them.
const PAUSE: Duration = Duration::from_millis(5);
/// How often it is looked for something to commit that nobody has told of.
const INTERVAL: Duration = Duration::from_millis(500);
/// The shortest wait for the next one.
const SHORTEST_WAIT: Duration = Duration::from_millis(1);

/// What is committed of one partition.
struct Made {
    from: Ownership,
    topic: Arc<str>,
    span: u64,
    commit: engine::Commit,
}

/// Partitions whose last commit came to nothing, which are left alone for a moment.
type Rests = HashMap<Ownership, (Instant, Backoff)>;

/// Commits until this membership is over.
pub fn run(shared: &Shared, member: &Member, membership: u64) {
    let mut rests = Rests::new();
    let (mut not_before, mut told) = (Instant::now(), None);
    while let Some(made) = next(shared, membership, not_before, &mut rests) {
        let commit = |made: &Made| {
            let offset = Commit {
                topic: made.topic.to_string(),
                partition: made.from.partition,
                offset: made.commit.offset,
                metadata: made.commit.note.clone(),
            };
            (made.span, offset)
        };
        let commits: Vec<_> = made.iter().map(commit).collect();
        let began = Instant::now();
        let codes = member.commit_spans(&commits, began + PATIENCE);
        let arrived = codes.iter().all(|code| code.is_ok());
        shared.metrics.committed(began.elapsed(), arrived);
        if answered(shared, &made, &codes) {
            member.wake();
        }
        shared.answer_acknowledged();
        not_before = Instant::now() + PAUSE;
        for (made, code) in made.iter().zip(&codes) {
            if code.is_ok() {
                rests.remove(&made.from);
            } else {
                let (until, backoff) = rests.entry(made.from).or_insert((Instant::now(), BACKOFF));
                *until = Instant::now() + backoff.next_wait();
            }
        }
        if arrived {
            told = None;
        } else {
            let refused = made.iter().zip(&codes).find(|(_, code)| is_lasting(**code));
            if let Some((Made { topic, .. }, code)) = refused
                && told.replace(*code) != Some(*code)
            {
                log::error!("{}: commits of {topic} are refused: {code}; trying again", shared.name);
            }
        }
    }
}

/// Whether a commit was refused for a reason that does not pass with the next generation.
fn is_lasting(code: ErrorCode) -> bool {
    let passing = [
        ErrorCode::ILLEGAL_GENERATION,
        ErrorCode::UNKNOWN_MEMBER_ID,
        ErrorCode::REBALANCE_IN_PROGRESS,
        ErrorCode::OFFSET_METADATA_TOO_LARGE,
    ];
    !code.is_ok() && !code.is_retriable() && !passing.contains(&code)
}

/// Waits for something to commit; `None` when the membership is over.
fn next(shared: &Shared, membership: u64, not_before: Instant, rests: &mut Rests) -> Option<Vec<Made>> {
    let mut queue = shared.queue();
    loop {
        if queue.memberships != membership {
            return None;
        }
        let early = not_before.saturating_duration_since(Instant::now());
        if !early.is_zero() && !queue.hands_over && !queue.partitions.waits_for_commit() {
            queue.commit_rests = true;
            queue = wait_timeout(&shared.commit, queue, early);
            queue.commit_rests = false;
            continue;
        }
        let made = commits(&mut queue, rests, shared.clock.now());
        if !made.is_empty() {
            return Some(made);
        }
        let rested = rests.values().map(|(until, _)| until.saturating_duration_since(Instant::now()));
        let wait = rested.fold(INTERVAL, Duration::min).max(SHORTEST_WAIT);
        queue = wait_timeout(&shared.commit, queue, wait);
    }
}

/// Commits of all partitions but those that rest: these hold up no other.
fn commits(queue: &mut Queue, rests: &mut Rests, now: u64) -> Vec<Made> {
    rests.retain(|from, _| queue.partitions.engine_of(*from).is_some());
    let rests = |from: &Ownership| rests.get(from).is_some_and(|(until, _)| *until > Instant::now());
    let commits = queue.partitions.commits(now, |from| !rests(&from));
    let made = |(from, commit): (Ownership, engine::Commit)| {
        let topic = queue.partitions.topic_of(from)?.clone();
        let place = TopicPartition::new(&*topic, from.partition);
        let span = queue.spans.get(&place).map_or(0, |(span, _)| *span);
        Some(Made { from, topic, span, commit })
    };
    commits.into_iter().filter_map(made).collect()
}

/// Tells the engines; gives whether somebody waits for that.
fn answered(shared: &Shared, made: &[Made], codes: &[ErrorCode]) -> bool {
    let mut queue = shared.queue();
    for (made, code) in made.iter().zip(codes) {
        if *code == ErrorCode::OFFSET_METADATA_TOO_LARGE {
            shorten(shared, &mut queue, made);
        }
        let Some(engine) = queue.partitions.engine_of(made.from) else { continue };
        if code.is_ok() {
            engine.committed();
            continue;
        }
        engine.not_committed();
        let (topic, partition) = (&made.topic, made.from.partition);
        log::debug!("{}: a commit of {topic}-{partition} came to nothing: {code}", shared.name);
    }
    // What was ready may have waited for it.
    shared.wake(&queue, 1);
    queue.hands_over
}

/// The broker takes no note of this length.
fn shorten(shared: &Shared, queue: &mut Queue, made: &Made) {
    let limit = made.commit.note.len() / 2;
    if made.commit.note.len() <= MIN_LIMIT {
        let error = Error::new(format!(
            "the brokers take no metadata of {} characters with a commit: offset.metadata.max.bytes has to be at \
             least {MIN_LIMIT}",
            made.commit.note.len()
        ));
        queue.failure.get_or_insert(error);
        queue.is_without_notes = true;
        return shared.stop.ask();
    }
    log::warn!(
        "{}: the brokers take no metadata of {} characters (offset.metadata.max.bytes): notes are kept shorter, \
         and so fewer messages can be under way",
        shared.name,
        made.commit.note.len()
    );
    queue.note_limit = queue.note_limit.min(limit.max(MIN_LIMIT));
    let limit = queue.note_limit;
    let owned: Vec<Ownership> = queue.spans.values().map(|(_, from)| *from).collect();
    for from in owned {
        if let Some(engine) = queue.partitions.engine_of(from) {
            engine.limit_note(limit);
        }
    }
}
