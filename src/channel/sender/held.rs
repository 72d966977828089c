//! What a queue holds: what waits and what is under way, which counts against its limits.

use crate::metrics::SenderMetrics;

/// Messages and bytes held, shown in the metrics.
pub(super) struct Held {
    messages: usize,
    bytes: usize,
    /// A message was not taken for want of room, and none has left since.
    full: bool,
    metrics: SenderMetrics,
}

impl Held {
    /// Nothing yet.
    pub(super) fn nothing(metrics: SenderMetrics) -> Held {
        Held { messages: 0, bytes: 0, full: false, metrics }
    }

    /// Messages held.
    pub(super) fn messages(&self) -> usize {
        self.messages
    }

    /// Whether a message was not taken for want of room, and none has left since.
    pub(super) fn is_full(&self) -> bool {
        self.full
    }

    /// Takes one message of so many bytes; false if there would be more than `most_messages` or `most_bytes`.
    pub(super) fn take(&mut self, bytes: usize, most_messages: usize, most_bytes: usize) -> bool {
        self.full = self.messages >= most_messages || self.bytes.saturating_add(bytes) > most_bytes;
        if !self.full {
            self.messages += 1;
            self.bytes += bytes;
            self.metrics.queued(1, signed(bytes));
        }
        !self.full
    }

    /// So much is held no longer.
    pub(super) fn free(&mut self, messages: usize, bytes: usize) {
        if messages > 0 {
            self.messages -= messages;
            self.bytes -= bytes;
            self.full = false;
            self.metrics.queued(-signed(messages), -signed(bytes));
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.free(self.messages, self.bytes);
    }
}

fn signed(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
