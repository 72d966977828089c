//! The lines of messages whose order matters: those of one key, or all of the partition.
//!
//! Of a line at most [`Lines::burst`] messages are handed out beyond what is committed. So the messages of a
//! line that may have been in hand when an owner ended without a word are among its first ones in the note.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};

use super::slots::{NIL, Slot, Slots};

/// The order in which messages are handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Messages with one key one after the other, others beside them.
    Key,
    /// Any message beside any other.
    None,
    /// One message after the other.
    Partition,
}

/// The first and the last message of a line; [`NIL`] where it has none.
#[derive(Debug, Clone, Copy)]
struct Line {
    head: u32,
    tail: u32,
    /// How many messages were added to it.
    pushed: u32,
    ended: Ended,
}

/// How many messages of a line have ended since the last commit that is confirmed.
#[derive(Debug, Clone, Copy, Default)]
struct Ended {
    /// The number of the first commit that has the end of the latest ones, and how many they are.
    commit: u64,
    latest: u32,
    /// The same for those before.
    earlier_commit: u64,
    earlier: u32,
}

impl Ended {
    /// A further one has ended, which the commit numbered `next` has.
    fn count(&mut self, next: u64, confirmed: u64) {
        if self.commit != next {
            let kept = if self.earlier_commit > confirmed { self.earlier } else { 0 };
            (self.earlier_commit, self.earlier) = (self.commit, kept.saturating_add(self.latest));
            (self.commit, self.latest) = (next, 0);
        }
        self.latest = self.latest.saturating_add(1);
    }

    fn unconfirmed(&self, confirmed: u64) -> u32 {
        let latest = if self.commit > confirmed { self.latest } else { 0 };
        let earlier = if self.earlier_commit > confirmed { self.earlier } else { 0 };
        latest.saturating_add(earlier)
    }
}

/// The place of a message that was added to its line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The first message of the line, perhaps itself.
    pub head: u32,
    /// It stands so far behind in its line that the owner before cannot have had it in hand.
    pub is_far: bool,
}

/// The lines.
///
/// A line is known by a hash of its key, with a seed of this process: two keys that share one wait for each
/// other, which is true to the promise of both, and no key is copied.
#[derive(Debug)]
pub struct Lines {
    order: Order,
    seed: RandomState,
    lines: HashMap<u64, Line, BuildHasherDefault<Hashed>>,
    /// The most messages of a line that are handed out beyond what is committed.
    burst: u32,
    /// The number of the last commit that is confirmed.
    confirmed: u64,
    /// The lines that may be without messages, each with the number of the commit until which it is kept.
    emptied: VecDeque<(u64, u64)>,
}

/// Takes a number that is a hash already for its own.
#[derive(Debug, Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}

impl Lines {
    /// No lines yet.
    pub fn new(order: Order, burst: u32) -> Lines {
        Lines {
            order,
            seed: RandomState::new(),
            lines: HashMap::default(),
            burst,
            confirmed: 0,
            emptied: VecDeque::new(),
        }
    }

    /// The line of a message with `key`, if it is in one.
    pub fn of(&self, key: Option<&[u8]>) -> Option<u64> {
        match self.order {
            Order::Key => key.map(|key| self.seed.hash_one(key)),
            Order::None => None,
            Order::Partition => Some(0),
        }
    }

    /// Adds a message at the end of its line.
    pub fn push<T>(&mut self, slots: &mut Slots<T>, index: u32) -> Place {
        let Some(line) = slots.at(index).line else { return Place { head: index, is_far: false } };
        let new = Line { head: NIL, tail: NIL, pushed: 0, ended: Ended::default() };
        let line = self.lines.entry(line).or_insert(new);
        if line.head == NIL {
            line.head = index;
        } else {
            slots.at_mut(line.tail).behind = index;
        }
        line.tail = index;
        let is_far = line.pushed >= self.burst;
        line.pushed = line.pushed.saturating_add(1);
        Place { head: line.head, is_far }
    }

    /// Takes the head of a line away, whose end the commit numbered `next` has; gives the next one, or
    /// [`NIL`].
    pub fn pop<T>(&mut self, slots: &Slots<T>, index: u32, next: u64) -> u32 {
        let Slot { line: Some(key), behind, .. } = *slots.at(index) else { return NIL };
        if let Some(line) = self.lines.get_mut(&key) {
            line.head = behind;
            line.ended.count(next, self.confirmed);
            if behind == NIL {
                self.emptied.push_back((next, key));
            }
        }
        behind
    }

    /// Whether as many messages of a line have ended since the last commit as may, or more.
    pub fn is_burst_over(&self, line: Option<u64>) -> bool {
        let line = line.and_then(|line| self.lines.get(&line));
        line.is_some_and(|line| line.ended.unconfirmed(self.confirmed) >= self.burst)
    }

    /// The commit of this number is confirmed: lines that are empty since are forgotten.
    pub fn confirm(&mut self, number: u64) {
        self.confirmed = number;
        while let Some((_, key)) = self.emptied.front().copied().filter(|(until, _)| *until <= number) {
            self.emptied.pop_front();
            if self.lines.get(&key).is_some_and(|line| line.head == NIL && line.ended.commit <= number) {
                self.lines.remove(&key);
            }
        }
    }
}
