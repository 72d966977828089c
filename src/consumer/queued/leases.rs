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

    /// Gives it messages; none where none came in time, or the queue ends. False if it had left: nobody has them.
    fn give(self: Box<Self>, items: Vec<Item>) -> bool;
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
    /// Notes that a message is handed out.
    pub fn give(&mut self, item: Item) {
        self.given.insert(item.key(), item);
        self.counts.given += 1;
        self.limit.given.fetch_add(1, Ordering::Relaxed);
    }

    /// The message of a lease, which ends so.
    pub fn take(&mut self, key: LeaseKey, end: LeaseEnd) -> Option<Item> {
        let item = self.given.remove(&key)?;
        self.counts.ended(end);
        self.limit.given.fetch_sub(1, Ordering::Relaxed);
        Some(item)
    }

    /// Forgets the leases of ownerships that have ended.
    pub fn keep(&mut self, is_live: impl Fn(Ownership) -> bool) {
        let lost: Vec<LeaseKey> = self.given.keys().copied().filter(|key| !is_live(key.from)).collect();
        lost.into_iter().for_each(|key| drop(self.take(key, LeaseEnd::Lost)));
    }
}
