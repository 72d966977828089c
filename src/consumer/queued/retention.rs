//! How long the topic keeps its records: what waits for longer would be lost.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use client::{Cluster, configs};

use super::clock::millis;

/// How often the configuration is read, at most.
const INTERVAL: Duration = Duration::from_secs(60);
/// How long reading it may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// The topic's `retention.ms`, as far as it is known.
#[derive(Debug)]
pub struct Retention {
    began: Instant,
    /// -1: for ever, or not known.
    kept: AtomicI64,
    /// When it is read again, in ms since the beginning.
    look_at: AtomicU64,
}

impl Default for Retention {
    fn default() -> Retention {
        Retention { began: Instant::now(), kept: AtomicI64::new(-1), look_at: AtomicU64::new(0) }
    }
}

impl Retention {
    /// Reads the configuration, if that is long ago.
    pub fn look(&self, cluster: &Cluster, client_id: &str, topic: &str) {
        let now = millis(self.began.elapsed());
        if now < self.look_at.load(Ordering::Relaxed) {
            return;
        }
        self.look_at.store(now.saturating_add(millis(INTERVAL)), Ordering::Relaxed);
        let deadline = Instant::now() + PATIENCE;
        match configs::of_topic(cluster, client_id, topic, "retention.ms", deadline) {
            Ok(found) => {
                let kept = found.and_then(|text| text.parse().ok()).unwrap_or(-1);
                self.kept.store(kept, Ordering::Relaxed);
            }
            // It may be that it may not be read.
            Err(error) => log::debug!("{client_id}: the retention of {topic} is not known: {error}"),
        }
    }

    /// Whether a record with this timestamp may be removed by `at`, both in ms since 1970.
    pub fn is_over(&self, timestamp: Option<i64>, at: u64) -> bool {
        let kept = u64::try_from(self.kept.load(Ordering::Relaxed)).ok();
        let since = timestamp.and_then(|timestamp| u64::try_from(timestamp).ok());
        since.zip(kept).is_some_and(|(since, kept)| since.saturating_add(kept) <= at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_kept_for_a_known_time_can_be_over() {
        let retention = Retention::default();
        assert!(!retention.is_over(Some(0), u64::MAX), "for ever");
        retention.kept.store(1_000, Ordering::Relaxed);
        assert_eq!([999, 1_000].map(|at| retention.is_over(Some(0), at)), [false, true]);
        assert!(!retention.is_over(None, u64::MAX), "its time is not known");
    }
}
