//! Long polling: Fetch requests that wait for logs to change.
//!
//! A waiter is woken by changes of its own logs only, so that a busy partition does not wake clients of a
//! quiet one.

use net::sync::{Condvar, Mutex, lock, wait_timeout};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

/// The waiters of one log, by waiter number.
type LogWaiters = HashMap<u64, Arc<Wakeup>>;

/// All registered waiters.
#[derive(Default)]
pub(super) struct FetchWaiters(Mutex<Table>);

#[derive(Default)]
struct Table {
    last: u64,
    /// By topic and partition.
    logs: HashMap<Arc<str>, HashMap<i32, LogWaiters>>,
}

#[derive(Default)]
struct Wakeup {
    woken: Mutex<bool>,
    changed: Condvar,
}

impl Wakeup {
    fn wake(&self) {
        *lock(&self.woken) = true;
        self.changed.notify_all();
    }
}

/// A waiter for changes of some logs; dropping it removes it.
pub struct FetchWaiter<'s> {
    registry: &'s FetchWaiters,
    id: u64,
    logs: Vec<(Arc<str>, i32)>,
    wakeup: Arc<Wakeup>,
}

impl FetchWaiters {
    /// Registers a waiter for these logs, which need not exist yet.
    pub(super) fn register(&self, logs: Vec<(Arc<str>, i32)>) -> FetchWaiter<'_> {
        let wakeup = Arc::new(Wakeup::default());
        let mut table = lock(&self.0);
        table.last += 1;
        let id = table.last;
        for (topic, partition) in &logs {
            let waiters = table.logs.entry(topic.clone()).or_default().entry(*partition).or_default();
            waiters.insert(id, wakeup.clone());
        }
        drop(table);
        FetchWaiter { registry: self, id, logs, wakeup }
    }

    /// Wakes the waiters of a changed log, or with `None` those of all logs of a topic.
    pub(super) fn wake(&self, topic: &str, partition: Option<i32>) {
        let table = lock(&self.0);
        let Some(logs) = table.logs.get(topic) else { return };
        let changed = logs.iter().filter(|(number, _)| partition.is_none_or(|changed| changed == **number));
        changed.flat_map(|(_, waiters)| waiters.values()).for_each(|wakeup| wakeup.wake());
    }

    /// Wakes all waiters.
    pub(super) fn wake_all(&self) {
        let table = lock(&self.0);
        table
            .logs
            .values()
            .flat_map(HashMap::values)
            .flat_map(HashMap::values)
            .for_each(|wakeup| wakeup.wake());
    }
}

impl FetchWaiter<'_> {
    /// Waits until one of the logs has changed since the waiter was registered or this last returned `true`;
    /// `false` at `deadline`. Also returns `true`, once, when the store stops or fails.
    pub fn wait(&self, deadline: Instant) -> bool {
        let mut woken = lock(&self.wakeup.woken);
        while !*woken {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else { return false };
            woken = wait_timeout(&self.wakeup.changed, woken, left);
        }
        std::mem::take(&mut *woken)
    }
}

impl Drop for FetchWaiter<'_> {
    fn drop(&mut self) {
        let mut table = lock(&self.registry.0);
        for (topic, partition) in &self.logs {
            let Some(logs) = table.logs.get_mut(topic) else { continue };
            if let Some(waiters) = logs.get_mut(partition) {
                waiters.remove(&self.id);
                if waiters.is_empty() {
                    logs.remove(partition);
                }
            }
            if logs.is_empty() {
                table.logs.remove(topic);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_wakes_the_waiters_of_its_log_once() {
        let fetch_waiters = FetchWaiters::default();
        let (one, other) =
            (fetch_waiters.register(vec![("a".into(), 0)]), fetch_waiters.register(vec![("a".into(), 1)]));
        let elsewhere = fetch_waiters.register(vec![("b".into(), 0)]);
        let now = Instant::now();
        fetch_waiters.wake("a", Some(0));
        assert_eq!([&one, &other, &elsewhere].map(|waiter| waiter.wait(now)), [true, false, false]);
        assert!(!one.wait(now));
        fetch_waiters.wake("a", None);
        assert_eq!([&one, &other, &elsewhere].map(|waiter| waiter.wait(now)), [true, true, false]);
        // As when the store fails: waiters are woken once, and do not spin.
        fetch_waiters.wake_all();
        assert_eq!((elsewhere.wait(now), elsewhere.wait(now)), (true, false));
    }

    #[test]
    fn a_dropped_waiter_leaves_nothing_behind() {
        let fetch_waiters = FetchWaiters::default();
        let staying = fetch_waiters.register(vec![("a".into(), 0)]);
        drop(fetch_waiters.register(vec![
            ("a".into(), 0),
            ("a".into(), 0),
            ("a".into(), 1),
            ("b".into(), 0),
        ]));
        assert_eq!(lock(&fetch_waiters.0).logs.len(), 1);
        assert_eq!(lock(&fetch_waiters.0).logs["a"].len(), 1);
        drop(staying);
        assert!(lock(&fetch_waiters.0).logs.is_empty());
    }
}
