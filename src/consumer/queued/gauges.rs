//! What is told of a queue while it runs: to its metrics, and in its standing.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::breaker::Why;
use super::clock::Clock;
use super::item::{Item, LeaseKey};
use super::shared::{Oldest, Queue, Shared};
use super::standing::Obstacle;
use crate::metrics::{PauseReason, QueueLook};
use client::group_member::reader::{ReaderPhase, View};

impl Shared {
    /// Looks at the queue.
    pub fn look(&self, view: &View) {
        let mut queue = self.queue();
        let looks = queue.look(&self.clock);
        let paused = queue.breaker.why().map(|why| match why {
            Why::NotStarted => PauseReason::Handler,
            Why::Failures => PauseReason::Failures,
        });
        let pause = queue.breaker.reason().map(str::to_owned);
        drop(queue);
        let pause = pause.or_else(|| self.window.as_ref()?.trouble());
        let named = self.settings.topics.named().iter().map(|topic| (&**topic, QueueLook::default()));
        let mut shown: BTreeMap<&str, QueueLook> = named.collect();
        shown.extend(looks.iter().map(|(topic, look)| (&**topic, *look)));
        self.metrics.queue().looks(&shown, paused);
        self.standing.set(obstacle(view, pause));
    }
}

fn obstacle(view: &View, pause: Option<String>) -> Option<Obstacle> {
    if let Some(error) = &view.join_error {
        let reason = format!("The consumer cannot join its group: {error}.");
        return Some(Obstacle { reason, lasts: error.is_lasting() });
    }
    match view.phase {
        ReaderPhase::Joining | ReaderPhase::Ended(_) => Some(Obstacle::no_member()),
        _ if view.is_in_doubt => {
            Some(Obstacle::lasting("The coordinator of the consumer's group does not answer."))
        }
        _ => pause.map(|reason| Obstacle::passing(format!("The consumer pauses: {reason}."))),
    }
}

impl Queue {
    /// How the queue of each topic looks now of which partitions are owned.
    pub fn look(&mut self, clock: &Clock) -> BTreeMap<Arc<str>, QueueLook> {
        let mut looks = BTreeMap::new();
        let now = clock.now();
        let mut seen = Oldest::new();
        for (from, engine) in self.partitions.iter() {
            let Some(topic) = self.partitions.topic_of(from) else { continue };
            let look: &mut QueueLook = looks.entry(topic.clone()).or_default();
            look.open += engine.open_count();
            look.leased += engine.leased_count();
            look.waiting += engine.waiting_count();
            look.note_length = look.note_length.max(engine.note_length());
            let Some((offset, record)) = engine.first_open() else { continue };
            let known = self.oldest.get(&from).filter(|(known, _)| *known == offset).map(|(_, since)| *since);
            let made = || u64::try_from(record?.content().timestamp?).ok();
            let since = known.or_else(made).unwrap_or(now);
            seen.insert(from, (offset, since));
            // Milliseconds fit what an f64 keeps whole.
            let age = now.saturating_sub(since) as f64 / 1_000.0;
            look.oldest_seconds = look.oldest_seconds.max(age);
        }
        self.oldest = seen;
        looks
    }

    /// Up to `most` leases that workers have: those that run out first, each with its end in ms since 1970.
    pub fn leases_to_show(&self, most: usize) -> Vec<(u64, Item)> {
        // A message that is being stored as a dead letter has a lease as well, and no worker.
        let given = |(until, from, id)| Some((until, self.leases.given.get(&LeaseKey { from, id })?.clone()));
        let by_partition = self.partitions.leases();
        let mut leases: Vec<_> =
            by_partition.flat_map(|leases| leases.filter_map(given).take(most)).collect();
        leases.sort_by_key(|(until, item)| (*until, item.handed.from.partition, item.handed.lease.offset));
        leases.truncate(most);
        leases
    }
}
