//! The thread that looks for wishes of an administrator's command, about messages that wait in partitions
//! that are owned. [`crate::queue::wishes`] says how they come.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use client::Cluster;
use client::coordinator::Coordinator;
use net::sync::wait_timeout;

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
    let mut seen: BTreeMap<i32, Seen> = BTreeMap::new();
    let mut is_told = false;
    while let Some(owned) = next(shared, membership) {
        seen.retain(|partition, _| owned.contains(partition));
        if owned.is_empty() {
            continue;
        }
        let deadline = cluster.deadline(Instant::now() + PATIENCE);
        let places = [(settings.topic.clone(), owned)].into();
        match coordinator.committed_with_metadata(&places, deadline) {
            Ok(committed) => {
                for (place, committed) in committed {
                    let Some(committed) = committed else { continue };
                    look(shared, &mut seen, place.partition, &committed.metadata);
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
fn next(shared: &Shared, memberships: u64) -> Option<Vec<i32>> {
    let end = Instant::now() + INTERVAL;
    let mut queue = shared.queue();
    loop {
        if queue.memberships != memberships {
            return None;
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Some(queue.spans.keys().copied().collect());
        }
        queue = wait_timeout(&shared.wishes, queue, left);
    }
}

/// Applies what is left to do of a partition's wish.
fn look(shared: &Shared, seen: &mut BTreeMap<i32, Seen>, partition: i32, text: &str) {
    let is_new = seen.get(&partition).is_none_or(|seen| seen.text != text);
    if is_new {
        let wish = Wish::read(text).unwrap_or_default();
        seen.insert(partition, Seen { text: text.to_owned(), wish });
    }
    let Some(Seen { wish, .. }) = seen.get_mut(&partition) else { return };
    if wish.is_void(shared.clock.now()) || (wish.retry.is_empty() && wish.aside.is_empty()) {
        return;
    }
    let mut queue = shared.queue();
    let applied = queue.apply(partition, wish);
    shared.wake(&queue, applied.len());
    drop(queue);
    if !applied.is_empty() {
        shared.commit.notify_one();
        shared.refetch.notify_one();
    }
    for (offset, what) in applied {
        log::info!("{what} by hand: topic={} partition={partition} offset={offset}", shared.settings.topic);
    }
}

impl Queue {
    /// Applies a wish, and leaves in it what is about messages that are not read yet. Gives the messages that
    /// it was applied to.
    fn apply(&mut self, partition: i32, wish: &mut Wish) -> Vec<(i64, &'static str)> {
        let Some((_, from)) = self.spans.get(&partition).copied() else { return Vec::new() };
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
