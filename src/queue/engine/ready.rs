//! The messages that may be handed out, and those that wait for their time.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use super::slots::{Slots, State};

/// A message that is ready, found again by its offset.
pub type Entry = (i64, u32);

/// Whether a message may be handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum May {
    Go,
    /// Not now.
    Stay,
    /// Its entry is an old one: it is not ready, or was handed out by another entry.
    Stale,
}

/// The messages that are ready, the lowest offset first.
///
/// Most are added in order of offset, and stand in a queue; those that become ready later stand in a heap.
#[derive(Debug, Default)]
pub struct Ready {
    fresh: VecDeque<Entry>,
    again: BinaryHeap<Reverse<Entry>>,
}

impl Ready {
    /// Adds a message.
    pub fn push(&mut self, offset: i64, index: u32) {
        if self.fresh.back().is_none_or(|(last, _)| *last < offset) {
            self.fresh.push_back((offset, index));
        } else {
            self.again.push(Reverse((offset, index)));
        }
    }

    /// Takes the lowest message that `may` go; of those in the queue and in the heap only the first is asked
    /// for. Stale entries are dropped.
    pub fn pop(&mut self, may: &mut dyn FnMut(Entry) -> May) -> Option<u32> {
        'entries: loop {
            let fresh = self.fresh.front().copied();
            let again = self.again.peek().map(|Reverse(entry)| *entry);
            let fresh_first = fresh.is_some_and(|fresh| again.is_none_or(|again| fresh < again));
            for takes_fresh in [fresh_first, !fresh_first] {
                let Some(entry) = (if takes_fresh { fresh } else { again }) else { continue };
                let answer = may(entry);
                if answer == May::Stay {
                    continue;
                }
                if takes_fresh {
                    self.fresh.pop_front();
                } else {
                    self.again.pop();
                }
                if answer == May::Go {
                    return Some(entry.1);
                }
                continue 'entries;
            }
            return None;
        }
    }

    /// The same for the lowest message above `offset`; if there is none that may go, for those up to there. All
    /// that are ready are gone through.
    pub fn pop_after(&mut self, offset: i64, may: &mut dyn FnMut(Entry) -> May) -> Option<u32> {
        let fresh = self.fresh.split_off(self.fresh.partition_point(|(at, _)| *at <= offset));
        let (before, again) = std::mem::take(&mut self.again).into_iter().partition(|at| at.0.0 <= offset);
        self.again = before;
        let mut later = Ready { fresh, again };
        let found = later.pop(may).or_else(|| self.pop(may));
        self.fresh.append(&mut later.fresh);
        self.again.append(&mut later.again);
        found
    }
}

/// The messages that wait for their time, the earliest first. An entry whose message no longer waits by that
/// stamp is passed over.
#[derive(Debug, Default)]
pub struct Waits {
    heap: BinaryHeap<Reverse<(u64, u64, u32)>>,
}

impl Waits {
    /// Adds a message that waits until `due`.
    pub fn push(&mut self, due: u64, stamp: u64, index: u32) {
        self.heap.push(Reverse((due, stamp, index)));
    }

    /// Takes the earliest message whose time has come.
    pub fn pop<T>(&mut self, slots: &Slots<T>, now: u64) -> Option<u32> {
        self.earliest(slots).filter(|due| *due <= now)?;
        self.heap.pop().map(|Reverse((_, _, index))| index)
    }

    /// When the earliest message is due.
    pub fn earliest<T>(&mut self, slots: &Slots<T>) -> Option<u64> {
        loop {
            let Reverse((due, stamp, index)) = *self.heap.peek()?;
            let slot = slots.at(index);
            if slot.state == State::Waiting && slot.stamp == stamp {
                return Some(due);
            }
            self.heap.pop();
        }
    }
}
