//! The thread that fetches records again whose bytes were dropped while they waited.

use std::collections::HashMap;
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;
use std::time::{Duration, Instant};

use client::connection::Connection;
use client::fetch::{self, Position};
use client::group_member::reader::{Found, read_one};
use client::{Cluster, offsets};
use net::backoff::Backoff;
use net::sync::wait_timeout;
use protocol::TopicPartition;
use protocol::error_code::ErrorCode;

use super::shared::{Queue, Shared};
use crate::queue::partitions::Ownership;

/// The waits after fetches that came to nothing.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
/// How long one fetch may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The bytes that are fetched at a time; a larger batch comes whole.
const FETCH_BYTES: i32 = 64 * 1024;
/// How often it is looked for records that nobody has told of.
const INTERVAL: Duration = Duration::from_secs(1);

/// Partitions that are left alone for a moment; the others go on.
type Rests = HashMap<Ownership, (Instant, Backoff)>;

/// Fetches until this membership is over.
pub fn run(shared: &Shared, cluster: &Cluster, membership: u64) {
    let mut rests = Rests::new();
    let mut connection: Option<(i32, Connection)> = None;
    let mut last = None;
    while let Some(work) = next(shared, membership, &mut rests, last.as_ref()) {
        let (place, from, offset) = match work {
            Work::Fetch(place, from, offset) => (place, from, offset),
            Work::ReadRetention(topic) => {
                shared.retention.read(cluster, &shared.name, &topic);
                continue;
            }
        };
        let fetched = fetch_one(shared, cluster, &mut connection, &place, offset);
        let failed = match &fetched {
            Ok(Found::Record(_) | Found::Gone) => None,
            Ok(Found::Unknown) => Some("the log has nothing there now".to_owned()),
            Err(why) => Some(why.clone()),
        };
        if let Some(why) = failed {
            log::debug!("{}: fetching {place} at {offset} again: {why}", shared.name);
            connection = None;
            let (until, backoff) = rests.entry(from).or_insert((Instant::now(), BACKOFF));
            *until = Instant::now() + backoff.next_wait();
        } else {
            rests.remove(&from);
        }
        took(shared, from, &place, offset, fetched);
        last = Some(place);
    }
}

/// Tells the engine what a fetch has brought.
fn took(
    shared: &Shared,
    from: Ownership,
    place: &TopicPartition,
    offset: i64,
    fetched: Result<Found, String>,
) {
    let mut queue = shared.queue();
    let Some(engine) = queue.partitions.engine_of(from) else { return };
    match fetched {
        Ok(Found::Record(record)) => engine.fetched_again(offset, record.bytes(), Arc::new(record)),
        Ok(Found::Gone) => {
            if engine.vanished(offset) {
                log::error!(
                    "{place} no longer has offset {offset}, which waited for its next attempt: the message is \
                     lost to its topic's retention"
                );
            }
            shared.commit.notify_one();
        }
        Ok(Found::Unknown) | Err(_) => return engine.not_fetched(offset),
    }
    shared.wake(&queue, 1);
}

/// What the thread does next.
enum Work {
    /// It fetches a record.
    Fetch(TopicPartition, Ownership, i64),
    /// It reads how long a topic keeps its records.
    ReadRetention(Arc<str>),
}

/// The next record to fetch, of one partition after the other; `None` when the membership is over. Where
/// there is no room for further bytes, that is the lowest open message alone, as the others may wait for it.
fn next(shared: &Shared, membership: u64, rests: &mut Rests, last: Option<&TopicPartition>) -> Option<Work> {
    let mut queue = shared.queue();
    loop {
        if queue.memberships != membership {
            return None;
        }
        let now = Instant::now();
        if let Some(topic) = shared.retention.due(queue.partitions.topics(), now) {
            return Some(Work::ReadRetention(topic));
        }
        let share = queue.share(shared.settings.queue.buffer_bytes);
        let Queue { spans, partitions, .. } = &mut *queue;
        rests.retain(|from, _| partitions.engine_of(*from).is_some());
        let after_last = last.map_or(Unbounded, Excluded);
        let behind = spans.range::<TopicPartition, _>((after_last, Unbounded));
        let before = last.map(|last| spans.range(..=last)).into_iter().flatten();
        for (place, (_, from)) in behind.chain(before) {
            if rests.get(from).is_some_and(|(until, _)| *until > now) {
                continue;
            }
            let Some(engine) = partitions.engine_of(*from) else { continue };
            // A long line that waits has no bytes, but fills the buffer with its bookkeeping: others are due.
            let has_room = engine.bytes() < share || engine.payload_bytes() < share / 2;
            let wanted = if has_room { engine.next_wanted() } else { engine.lowest_wanted() };
            if let Some(offset) = wanted {
                return Some(Work::Fetch(place.clone(), *from, offset));
            }
        }
        let rested = rests.values().map(|(until, _)| until.saturating_duration_since(now));
        let wait = rested.filter(|left| !left.is_zero()).fold(INTERVAL, Duration::min);
        queue = wait_timeout(&shared.refetch, queue, wait);
    }
}

fn fetch_one(
    shared: &Shared,
    cluster: &Cluster,
    connection: &mut Option<(i32, Connection)>,
    place: &TopicPartition,
    offset: i64,
) -> Result<Found, String> {
    let deadline = cluster.deadline(Instant::now() + PATIENCE);
    let text = |error: client::Error| error.to_string();
    let position = Position::new(place, offset, FETCH_BYTES);
    let answer = fetch::from_leader(cluster, &shared.name, connection, &position, deadline).map_err(text)?;
    if answer.error == ErrorCode::OFFSET_OUT_OF_RANGE {
        // Either retention has removed it, or the leader does not have it yet.
        let wanted = [(place.clone(), offsets::EARLIEST)];
        let first = offsets::find(cluster, &shared.name, &wanted, deadline).remove(place);
        return Ok(if first.is_some_and(|first| first > offset) { Found::Gone } else { Found::Unknown });
    }
    read_one(&answer.records, offset).map_err(|error| error.to_string())
}
