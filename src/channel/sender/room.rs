//! How much may wait or be under way at a time: in one sender, or in several together.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::config::ProducerApiSettings;
use crate::metrics::SenderMetrics;

/// Limits for messages and their bytes, and what is taken of them.
pub(in crate::channel) struct Room {
    messages: Share,
    bytes: Share,
    /// A message was not taken for want of room, and none has left since.
    full: AtomicBool,
    metrics: SenderMetrics,
}

impl Room {
    /// Room for so many messages of so many bytes in all.
    pub(super) fn new(messages: usize, bytes: usize, metrics: SenderMetrics) -> Arc<Room> {
        let (messages, bytes) = (Share::new(messages), Share::new(bytes));
        Arc::new(Room { messages, bytes, full: AtomicBool::new(false), metrics })
    }

    /// Room as `producer_api.queue_messages` and `.queue_bytes` say.
    pub(in crate::channel) fn of(settings: &ProducerApiSettings, metrics: SenderMetrics) -> Arc<Room> {
        metrics.limits(settings.queue_messages, settings.queue_bytes);
        Room::new(settings.queue_messages, settings.queue_bytes, metrics)
    }

    /// Where it is counted what is taken.
    pub(super) fn metrics(&self) -> &SenderMetrics {
        &self.metrics
    }

    /// Whether a message was not taken for want of room, and none has left since.
    pub(super) fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    /// Takes the room of one message; false if there is not enough.
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

    /// Gives back what was taken.
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

struct Share {
    taken: AtomicUsize,
    most: usize,
}

impl Share {
    fn new(most: usize) -> Share {
        Share { taken: AtomicUsize::new(0), most }
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
        let room = Room::new(2, 10, SenderMetrics::default());
        assert!(room.take(6));
        assert!(!room.take(5), "too many bytes");
        assert!(room.take(4));
        assert!(!room.take(0), "too many messages");
        room.give_back(1, 6);
        assert!(!room.take(7));
        assert!(room.take(6));
    }
}
