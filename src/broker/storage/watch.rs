//! Waiting for logs to change. Who waits is woken by the logs that it watches and by no others: a busy partition costs
//! those nothing who wait for quiet ones.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Instant;

use crate::net::lock;

/// Who watches one log, by number.
type Bells = HashMap<u64, Arc<Bell>>;

/// Everyone who watches a log.
#[derive(Default)]
pub(super) struct Watchers(Mutex<Table>);

#[derive(Default)]
struct Table {
    last: u64,
    /// By topic and partition.
    logs: HashMap<Arc<str>, HashMap<i32, Bells>>,
}

#[derive(Default)]
struct Bell {
    rung: Mutex<bool>,
    changed: Condvar,
}

impl Bell {
    fn ring(&self) {
        *lock(&self.rung) = true;
        self.changed.notify_all();
    }
}

/// Logs under watch, until it is dropped.
pub struct Watch<'s> {
    watchers: &'s Watchers,
    number: u64,
    logs: Vec<(Arc<str>, i32)>,
    bell: Arc<Bell>,
}

impl Watchers {
    /// Watches logs, those of partitions that do not exist included.
    pub(super) fn watch(&self, logs: Vec<(Arc<str>, i32)>) -> Watch<'_> {
        let bell = Arc::new(Bell::default());
        let mut table = lock(&self.0);
        table.last += 1;
        let number = table.last;
        for (topic, partition) in &logs {
            let bells = table.logs.entry(topic.clone()).or_default().entry(*partition).or_default();
            bells.insert(number, bell.clone());
        }
        drop(table);
        Watch { watchers: self, number, logs, bell }
    }

    /// A log has changed, or with `None` all those of a topic.
    pub(super) fn ring(&self, topic: &str, partition: Option<i32>) {
        let table = lock(&self.0);
        let Some(logs) = table.logs.get(topic) else { return };
        let changed = logs.iter().filter(|(number, _)| partition.is_none_or(|changed| changed == **number));
        changed.flat_map(|(_, bells)| bells.values()).for_each(|bell| bell.ring());
    }

    /// Wakes everyone.
    pub(super) fn ring_all(&self) {
        let table = lock(&self.0);
        table.logs.values().flat_map(HashMap::values).flat_map(HashMap::values).for_each(|bell| bell.ring());
    }
}

impl Watch<'_> {
    /// Waits until one of the logs has changed since the watch began or this was last said; `false` if that is not so
    /// by `deadline`. Once, when the store stops or fails, `true` means only that.
    pub fn wait(&self, deadline: Instant) -> bool {
        let mut rung = lock(&self.bell.rung);
        while !*rung {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else { return false };
            rung = self.bell.changed.wait_timeout(rung, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        std::mem::take(&mut *rung)
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        let mut table = lock(&self.watchers.0);
        for (topic, partition) in &self.logs {
            let Some(logs) = table.logs.get_mut(topic) else { continue };
            if let Some(bells) = logs.get_mut(partition) {
                bells.remove(&self.number);
                if bells.is_empty() {
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
    fn a_change_is_told_to_those_who_watch_its_log_and_once() {
        let watchers = Watchers::default();
        let (one, other) = (watchers.watch(vec![("a".into(), 0)]), watchers.watch(vec![("a".into(), 1)]));
        let elsewhere = watchers.watch(vec![("b".into(), 0)]);
        let now = Instant::now();
        watchers.ring("a", Some(0));
        assert_eq!([&one, &other, &elsewhere].map(|watch| watch.wait(now)), [true, false, false]);
        assert!(!one.wait(now));
        watchers.ring("a", None);
        assert_eq!([&one, &other, &elsewhere].map(|watch| watch.wait(now)), [true, true, false]);
        // As when the store fails: nobody is to look again and again because of it.
        watchers.ring_all();
        assert_eq!((elsewhere.wait(now), elsewhere.wait(now)), (true, false));
    }

    #[test]
    fn nothing_is_left_of_those_who_no_longer_watch() {
        let watchers = Watchers::default();
        let staying = watchers.watch(vec![("a".into(), 0)]);
        drop(watchers.watch(vec![("a".into(), 0), ("a".into(), 0), ("a".into(), 1), ("b".into(), 0)]));
        assert_eq!(lock(&watchers.0).logs.len(), 1);
        assert_eq!(lock(&watchers.0).logs["a"].len(), 1);
        drop(staying);
        assert!(lock(&watchers.0).logs.is_empty());
    }
}
