//! The leases that a queue has given to workers elsewhere, and who waits for it: for messages, or for the commit
//! of what is acknowledged.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

pub use super::item::{Item, LeaseKey};
use crate::metrics::{LeaseCounts, LeaseEnd};
use crate::queue::partitions::Ownership;

/// Acknowledgements that are remembered, so that a second one of the same lease is answered as the first.
const REMEMBERED: usize = 100_000;

/// Waits for messages.
pub trait Receiver: Send {
    /// Whether it waits no longer, and should get none.
    fn has_left(&self) -> bool;

    /// Gives it messages; none where none came in time, or the queue ends. False if it had left: nobody has
    /// them.
    fn give(self: Box<Self>, items: Vec<Item>) -> bool;

    /// Tells it why there are none, as a sentence.
    fn refuse(self: Box<Self>, why: String);
}

/// Hears what became of acknowledgements, in their order.
pub type OnSettled = Box<dyn FnOnce(Vec<Settled>) + Send>;

/// What became of the end of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// It is as the worker said.
    Done,
    /// The lease had ended before: nothing has changed, and the message may be another's.
    Late,
}

/// The number of leases that all queues of an endpoint have given, and the most that they may.
#[derive(Debug, Clone)]
pub struct LeaseLimit {
    given: Arc<AtomicUsize>,
    pub most: usize,
}

impl LeaseLimit {
    /// At most `most` leases.
    pub fn new(most: usize) -> LeaseLimit {
        LeaseLimit { given: Arc::default(), most }
    }

    /// How many are given.
    pub fn given(&self) -> usize {
        self.given.load(Ordering::Relaxed)
    }

    /// How many more may be given.
    pub fn left(&self) -> usize {
        self.most.saturating_sub(self.given())
    }

    /// Counts up to `max` leases as given, as far as there is room; tells how many. What does not become a
    /// lease is [returned](LeaseLimit::give_back).
    pub fn reserve(&self, max: usize) -> usize {
        let mut given = self.given();
        loop {
            let count = max.min(self.most.saturating_sub(given));
            let (next, order) = (given.saturating_add(count), Ordering::Relaxed);
            match self.given.compare_exchange_weak(given, next, order, order) {
                Ok(_) => return count,
                Err(now) => given = now,
            }
        }
    }

    /// So many are given no more.
    pub fn give_back(&self, count: usize) {
        self.given.fetch_sub(count, Ordering::Relaxed);
    }
}

impl Default for LeaseLimit {
    fn default() -> LeaseLimit {
        LeaseLimit::new(0)
    }
}

/// What a queue with leases keeps beside its engines.
#[derive(Default)]
pub struct Leases {
    pub limit: LeaseLimit,
    pub given: HashMap<LeaseKey, Item>,
    pub counts: LeaseCounts,
    pub waiters: VecDeque<Waiter>,
    pub acknowledged: Acknowledged,
    pub unconfirmed: Vec<Unconfirmed>,
}

impl std::fmt::Debug for Leases {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Leases").field("given", &self.given.len()).finish_non_exhaustive()
    }
}

/// One who waits for messages.
pub struct Waiter {
    pub max: usize,
    pub lease: Duration,
    pub until: Instant,
    pub receiver: Box<dyn Receiver>,
}

/// The leases that were acknowledged last, each with the number of the commit that has it.
#[derive(Default)]
pub struct Acknowledged {
    pub commits: HashMap<LeaseKey, u64>,
    order: VecDeque<LeaseKey>,
}

impl Acknowledged {
    /// Remembers one, and forgets the oldest where there are too many.
    pub fn remember(&mut self, key: LeaseKey, commit: u64) {
        self.commits.insert(key, commit);
        self.order.push_back(key);
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.commits.remove(&oldest);
        }
    }
}

/// Acknowledgements whose commits are on their way.
pub struct Unconfirmed {
    pub outcomes: Vec<Settled>,
    /// Which of them wait, and for which commit of which ownership.
    pub open: Vec<(usize, Ownership, u64)>,
    pub reply: OnSettled,
}

impl Leases {
    /// Notes that a message is handed out, for which a lease is reserved.
    pub fn give(&mut self, item: Item) {
        self.given.insert(item.key(), item);
        self.counts.given += 1;
    }

    /// The message of a lease, which ends so.
    pub fn take(&mut self, key: LeaseKey, end: LeaseEnd) -> Option<Item> {
        let item = self.given.remove(&key)?;
        self.counts.ended(end);
        self.limit.give_back(1);
        Some(item)
    }

    /// Forgets the leases of ownerships that have ended.
    pub fn keep(&mut self, is_live: impl Fn(Ownership) -> bool) {
        let lost: Vec<LeaseKey> = self.given.keys().copied().filter(|key| !is_live(key.from)).collect();
        lost.into_iter().for_each(|key| drop(self.take(key, LeaseEnd::Lost)));
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn queues_that_reserve_at_a_time_stay_within_the_limit_together() {
        let limit = LeaseLimit::new(10);
        assert_eq!([limit.reserve(7), limit.reserve(7), limit.reserve(1)], [7, 3, 0]);
        limit.give_back(10);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..10_000 {
                        let count = limit.reserve(3);
                        assert!(limit.given() <= limit.most);
                        limit.give_back(count);
                    }
                });
            }
        });
        assert_eq!(limit.given(), 0);
    }
}
