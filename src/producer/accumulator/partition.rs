//! A partition of the accumulator: its waiting records, and its pauses after failures.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::{BatchOutcome, NotStoredKind, NotStoredReason, QueuedRecord};
use net::backoff::jittered;

/// The longest pause before a partition that backs off is tried again; the adapter itself waits for a leader,
/// too.
pub(super) const RETRY_BACKOFF: Duration = Duration::from_millis(100);

/// A partition that backs off and that no key asks for is tried with one record after this time.
pub(super) const PROBE_AFTER: Duration = Duration::from_secs(5);

/// The longest pause before a batch without a definite answer is sent again. Its partition waits for that
/// long, so that nothing passes it.
pub(super) const PAUSE: Duration = Duration::from_millis(500);

const NO_ANSWER: &str = "its partition did not acknowledge the messages before it";

/// The records that wait for one partition, and its state.
#[derive(Default)]
pub(super) struct Partition {
    pub(super) waiting: VecDeque<QueuedRecord>,
    pub(super) in_flight: bool,
    pub(super) backing_off: Option<PartitionBackoff>,
}

/// The state of a partition that had no leader or gave no answer at the last try. Until it answers, its
/// records go in requests apart from those of the healthy partitions, so that these need not wait with it.
pub(super) struct PartitionBackoff {
    pub(super) why: NotStoredReason,
    pub(super) retry_at: Instant,
    pub(super) probe_at: Instant,
}

impl PartitionBackoff {
    /// The state after a request with this outcome; `None` if the partition answered.
    pub(super) fn after(outcome: &BatchOutcome, now: Instant) -> Option<PartitionBackoff> {
        let why = match outcome {
            BatchOutcome::NeverWritten { kind, reason } => NotStoredReason::new(*kind, reason),
            BatchOutcome::Unknown { .. } => NotStoredReason::new(NotStoredKind::NoAnswer, NO_ANSWER),
            _ => return None,
        };
        Some(PartitionBackoff { why, retry_at: now + jittered(RETRY_BACKOFF), probe_at: now + PROBE_AFTER })
    }

    /// The state before a batch with this outcome is sent again: nothing of its partition passes it.
    pub(super) fn before_another_try(outcome: &BatchOutcome, now: Instant) -> PartitionBackoff {
        let why = match outcome {
            BatchOutcome::Refused { reason, .. } => NotStoredReason::new(NotStoredKind::Refused, reason),
            _ => NotStoredReason::new(NotStoredKind::NoAnswer, NO_ANSWER),
        };
        PartitionBackoff { why, retry_at: now + jittered(PAUSE), probe_at: now + PROBE_AFTER }
    }
}
