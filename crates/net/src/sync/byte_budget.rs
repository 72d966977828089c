//! Memory that several threads share: a thread that wants a large piece waits for its turn, or gets less.

use crate::sync::{Condvar, Mutex};
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use super::lock;

/// How often a waiting connection looks whether it is still wanted.
const SLICE: Duration = Duration::from_millis(100);

/// A number of bytes that may be in use at once.
#[derive(Debug)]
pub struct ByteBudget {
    bytes: usize,
    used: Mutex<usize>,
    freed: Condvar,
}

/// Bytes taken from a [`ByteBudget`]; dropping it gives them back.
#[derive(Debug)]
pub struct Reserved<'a> {
    budget: &'a ByteBudget,
    bytes: usize,
}

impl ByteBudget {
    /// A budget of `bytes`, all of them free.
    pub const fn new(bytes: usize) -> ByteBudget {
        ByteBudget { bytes, used: Mutex::new(0), freed: Condvar::new() }
    }

    /// Takes `bytes` as soon as so many are free; a larger piece than the whole budget as soon as nothing is
    /// in use. `None` when they are not free by `deadline`, or `proceed`, asked ten times a second, says no.
    pub fn take(&self, bytes: usize, deadline: Instant, proceed: &dyn Fn() -> bool) -> Option<Reserved<'_>> {
        let bytes = bytes.min(self.bytes);
        let mut used = lock(&self.used);
        while bytes > self.bytes.saturating_sub(*used) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || !proceed() {
                return None;
            }
            let waited = self.freed.wait_timeout(used, left.min(SLICE));
            used = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        *used += bytes;
        Some(Reserved { budget: self, bytes })
    }

    /// Takes what is free up to `wanted` bytes without waiting, but always `least`: so the use stays within
    /// the budget and `least` for each taker.
    pub fn take_some(&self, wanted: usize, least: usize) -> Reserved<'_> {
        let mut used = lock(&self.used);
        let bytes = wanted.min(self.bytes.saturating_sub(*used)).max(least);
        *used += bytes;
        Reserved { budget: self, bytes }
    }

    fn give_back(&self, bytes: usize) {
        *lock(&self.used) -= bytes;
        self.freed.notify_all();
    }
}

impl Reserved<'_> {
    /// How many bytes these are.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Gives back all but `bytes`.
    pub fn shrink(&mut self, bytes: usize) {
        let surplus = self.bytes.saturating_sub(bytes);
        self.bytes -= surplus;
        self.budget.give_back(surplus);
    }
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        self.budget.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(30)
    }

    #[test]
    fn a_thread_that_finds_no_room_waits_until_another_gives_it_back() {
        let budget = ByteBudget::new(100);
        let first = budget.take(80, soon(), &|| true).unwrap();
        assert!(budget.take(30, Instant::now(), &|| true).is_none());
        assert!(budget.take(30, soon(), &|| false).is_none());
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| budget.take(30, soon(), &|| true).map(|reserved| reserved.bytes()));
            drop(first);
            assert_eq!(waiting.join().unwrap(), Some(30));
        });
    }

    #[test]
    fn a_piece_larger_than_the_budget_is_had_when_nothing_else_is_in_use() {
        let budget = ByteBudget::new(100);
        let reserved = budget.take(1000, soon(), &|| true).unwrap();
        assert!(budget.take(1, Instant::now(), &|| true).is_none());
        drop(reserved);
        assert!(budget.take(1, Instant::now(), &|| true).is_some());
    }

    #[test]
    fn a_thread_that_does_not_wait_gets_what_is_free_and_never_less_than_the_least() {
        let budget = ByteBudget::new(100);
        let mut most = budget.take_some(90, 5);
        let least = budget.take_some(90, 20);
        assert_eq!((most.bytes(), least.bytes()), (90, 20));
        assert_eq!(budget.take_some(90, 0).bytes(), 0);
        most.shrink(10);
        drop(least);
        assert_eq!(budget.take_some(1000, 5).bytes(), 90);
    }
}
