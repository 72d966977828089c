//! The limits of queued and in-flight records, for one producer or shared by several.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::{ProducerSettings, StoreFailureCheck};
use crate::metrics::ProducerMetrics;

/// The most requests in flight, each on its own connection.
pub(super) const MAX_IN_FLIGHT: usize = 4;

/// The most that a batch of several records weighs, to stay under the broker's default `message.max.bytes`
/// (1048588).
pub(super) const BATCH_BYTES: usize = 900_000;

/// The most that the batches of one request weigh together, so that a request is answered soon.
pub(super) const CALL_BYTES: usize = 4 << 20;

/// Limits of records and of their bytes, and how much of each is taken.
pub(super) struct Limits {
    messages: Count,
    bytes: Count,
    /// A record was refused because the queue was full, and no record has left since.
    full: AtomicBool,
    metrics: ProducerMetrics,
    store_check: StoreFailureCheck,
}

impl Limits {
    /// Limits of `messages` records and of `bytes` in all.
    pub(super) fn new(messages: usize, bytes: usize, metrics: ProducerMetrics) -> Arc<Limits> {
        Limits::with(messages, bytes, metrics, StoreFailureCheck::default())
    }

    fn with(
        messages: usize,
        bytes: usize,
        metrics: ProducerMetrics,
        store_check: StoreFailureCheck,
    ) -> Arc<Limits> {
        let (messages, bytes) = (Count::new(messages), Count::new(bytes));
        Arc::new(Limits { messages, bytes, full: AtomicBool::new(false), metrics, store_check })
    }

    /// The limits `queue_messages` and `queue_bytes` of the settings.
    pub(super) fn of(
        settings: &ProducerSettings,
        metrics: ProducerMetrics,
        store_check: StoreFailureCheck,
    ) -> Arc<Limits> {
        metrics.limits(settings.queue_messages, settings.queue_bytes);
        Limits::with(settings.queue_messages, settings.queue_bytes, metrics, store_check)
    }

    /// The check that makes it certain that nothing can be stored.
    pub(super) fn store_check(&self) -> &StoreFailureCheck {
        &self.store_check
    }

    /// The metrics that count queued records.
    pub(super) fn metrics(&self) -> &ProducerMetrics {
        &self.metrics
    }

    /// Whether a record was refused because the queue was full, and no record has left since.
    pub(super) fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    /// Reserves room for one record of `bytes`; false if the queue is full.
    pub(super) fn take(&self, bytes: usize) -> bool {
        let taken = self.messages.take(1) && {
            let taken = self.bytes.take(bytes);
            if !taken {
                self.messages.give_back(1);
            }
            taken
        };
        self.full.store(!taken, Ordering::Relaxed);
        if taken {
            self.metrics.queued(1, signed(bytes));
        }
        taken
    }

    /// Gives back the room of records that left.
    pub(super) fn give_back(&self, messages: usize, bytes: usize) {
        if messages > 0 {
            self.messages.give_back(messages);
            self.bytes.give_back(bytes);
            self.full.store(false, Ordering::Relaxed);
            self.metrics.queued(-signed(messages), -signed(bytes));
        }
    }
}

fn signed(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

struct Count {
    taken: AtomicUsize,
    most: usize,
}

impl Count {
    fn new(most: usize) -> Count {
        Count { taken: AtomicUsize::new(0), most }
    }

    fn take(&self, count: usize) -> bool {
        let within = |taken: usize| taken.checked_add(count).filter(|sum| *sum <= self.most);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, within).is_ok()
    }

    fn give_back(&self, count: usize) {
        self.taken.fetch_sub(count, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_does_not_fit_takes_nothing() {
        let limits = Limits::new(2, 10, ProducerMetrics::default());
        assert!(limits.take(6));
        assert!(!limits.take(5), "too many bytes");
        assert!(limits.take(4));
        assert!(!limits.take(0), "too many messages");
        limits.give_back(1, 6);
        assert!(!limits.take(7));
        assert!(limits.take(6));
    }
}
