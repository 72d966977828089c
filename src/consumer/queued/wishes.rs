//! The thread that looks for wishes of an administrator's command, about messages that wait in partitions
//! that are owned. [`crate::queue::wishes`] says how they come.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use client::Cluster;
use client::assignor;
use client::coordinator::Coordinator;
use net::sync::wait_timeout;
use protocol::TopicPartition;

use super::shared::{Queue, Shared};
use crate::queue::wishes::{Wish, group_of};

/// How often it looks.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long one look may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// The last wish that was seen of a partition.
struct Seen {
    text: String,
    /// What is left to do of it.
    wish: Wish,
}

/// Looks until the membership is over.
pub fn run(shared: &Shared, cluster: &Arc<Cluster>, membership: u64) {
    let settings = &shared.settings;
    let mut coordinator = Coordinator::looking_on(cluster.clone(), &group_of(&settings.group), &shared.name);
    let mut seen: BTreeMap<TopicPartition, Seen> = BTreeMap::new();
    let mut is_told = false;
    while let Some(owned) = next(shared, membership) {
        seen.retain(|place, _| owned.contains(place));
        if owned.is_empty() {
            continue;
        }
        let deadline = cluster.deadline(Instant::now() + PATIENCE);
        let places = assignor::by_topic(&owned);
        match coordinator.committed(&places, deadline) {
            Ok(committed) => {
                for (place, committed) in committed {
                    let Some(committed) = committed else { continue };
                    look(shared, &mut seen, &place, &committed.metadata);
                }
            }
            Err(error) if error.is_lasting() && !is_told => {
                is_told = true;
                log::warn!("{}: the command 'queue' cannot reach this consumer: {error}", shared.name);
            }
            Err(error) => log::debug!("{}: looking for wishes: {error}", shared.name),
        }
    }
}

/// Waits; gives what is owned then, `None` when the membership is over.
fn next(shared: &Shared, memberships: u64) -> Option<BTreeSet<TopicPartition>> {
    let end = Instant::now() + INTERVAL;
    let mut queue = shared.queue();
    loop {
        if queue.memberships != memberships {
            return None;
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Some(queue.spans.keys().cloned().collect());
        }
        queue = wait_timeout(&shared.wishes, queue, left);
    }
}

/// Applies what is left to do of a partition's wish.
fn look(shared: &Shared, seen: &mut BTreeMap<TopicPartition, Seen>, place: &TopicPartition, text: &str) {
    let is_new = seen.get(place).is_none_or(|seen| seen.text != text);
    if is_new {
        let wish = Wish::read(text).unwrap_or_default();
        seen.insert(place.clone(), Seen { text: text.to_owned(), wish });
    }
    let Some(Seen { wish, .. }) = seen.get_mut(place) else { return };
    if wish.is_void(shared.clock.now()) || (wish.retry.is_empty() && wish.aside.is_empty()) {
        return;
    }
    let mut queue = shared.queue();
    let applied = queue.apply(place, wish);
    shared.wake(&queue, applied.len());
    drop(queue);
    if !applied.is_empty() {
        shared.commit.notify_one();
        shared.refetch.notify_one();
    }
    for (offset, what) in applied {
        let TopicPartition { topic, partition } = place;
        log::info!("{what} by hand: topic={topic} partition={partition} offset={offset}");
    }
}

impl Queue {
    /// Applies a wish, and leaves in it what is about messages that are not read yet. Gives the messages that
    /// it was applied to.
    fn apply(&mut self, place: &TopicPartition, wish: &mut Wish) -> Vec<(i64, &'static str)> {
        let Some((_, from)) = self.spans.get(place).copied() else { return Vec::new() };
        let Some(engine) = self.partitions.engine_of(from) else { return Vec::new() };
        let mut applied = Vec::new();
        let position = engine.position();
        wish.retry.retain(|offset| {
            if engine.retry_now(*offset) {
                applied.push((*offset, "attempted now"));
            }
            *offset >= position
        });
        wish.aside.retain(|offset| {
            if engine.put_aside(*offset) {
                self.histories.put_aside(from, *offset);
                applied.push((*offset, "put aside"));
            }
            *offset >= position
        });
        applied
    }
}
