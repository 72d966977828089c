//! Sending at least once: what was refused for now, or got no answer, goes back to the front of its queue.

use std::mem;
use std::time::Instant;

use super::partition::{PAUSE, PartitionBackoff};
use super::{Accumulator, Batch, BatchOutcome, DeliveryCallback, Finished, OpenDelivery};
use crate::producer::DeliveryReport;

impl Accumulator {
    /// From now on records are sent again until their deadline, also those that may be stored already.
    pub(in crate::producer) fn send_at_least_once(&mut self) {
        self.at_least_once = true;
    }

    /// Whether a batch with this outcome is sent again for that.
    pub(super) fn goes_again(&self, outcome: &BatchOutcome) -> bool {
        let for_now =
            matches!(outcome, BatchOutcome::Unknown { .. } | BatchOutcome::Refused { retry: true, .. });
        self.at_least_once && for_now
    }

    /// Puts such a batch back. Records whose deadline leaves no time for another try get their reports.
    pub(super) fn send_again(
        &mut self,
        now: Instant,
        batch: &mut Batch,
        open: Vec<OpenDelivery>,
        outcome: &BatchOutcome,
        finished: &mut Vec<Finished>,
    ) {
        let report = outcome.delivery(&self.topic, batch.partition, 0);
        if let Some(partition) = self.partition(batch.partition) {
            partition.backing_off = Some(PartitionBackoff::before_another_try(outcome, now));
        }
        let in_doubt = matches!(outcome, BatchOutcome::Unknown { .. });
        let open = batch.records.iter_mut().zip(open).map(|(record, open)| {
            let (deadline, done) = open?;
            let first_doubt = in_doubt && !mem::replace(&mut record.in_doubt, true);
            Some((deadline, if first_doubt { doubting(done) } else { done }))
        });
        let open = open.collect();
        // With less left it would be given up at once.
        self.requeue(now + PAUSE + self.definite_after, batch, open, &report, finished);
    }
}

/// After one try without an answer a later refusal is no definite answer.
fn doubting(done: DeliveryCallback) -> DeliveryCallback {
    Box::new(|delivery| {
        done(match delivery {
            DeliveryReport::NotStored { reason, .. } => DeliveryReport::Unknown {
                reason: format!("no answer came when it was sent before; the last try: {reason}"),
            },
            other => other,
        });
    })
}
