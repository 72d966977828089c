//! Refusals of records while nothing can be stored.

use std::mem;
use std::time::{Duration, Instant};

use super::super::outage::KnownOutage;
use super::{
    Accumulator, Finished, InFlightRequest, NotStoredKind, NotStoredReason, Partition, Released, unknown,
};

/// A request that was sent before it was known that nothing can be stored is back after this time, unless its
/// fate is unknown.
pub(super) const COMES_BACK: Duration = Duration::from_millis(900);

/// What comes in an outage waits for so long: it may be over by then.
pub(super) const OUTAGE_GRACE: Duration = Duration::from_millis(500);

impl Accumulator {
    /// Says why the topic cannot be reached at present.
    pub(in crate::producer) fn set_unreachable(&mut self, now: Instant, kind: NotStoredKind, reason: &str) {
        let before = self.unreachable.as_ref().filter(|(why, _)| why.kind() == kind);
        let since = before.map_or(now, |(_, since)| *since);
        self.unreachable = Some((NotStoredReason::new(kind, reason), since));
    }

    /// Lets the failure to reach the topic begin now, if there is one.
    pub(in crate::producer) fn renew_unreachable(&mut self, now: Instant) {
        self.unreachable.iter_mut().for_each(|(_, since)| *since = now);
    }

    /// Says why no broker can be reached at present, or that one may be; returns whether one may be again.
    pub(in crate::producer) fn set_no_broker(&mut self, why: Option<NotStoredReason>) -> bool {
        let is_known = why.is_some();
        mem::replace(&mut self.no_broker, why).is_some() && !is_known
    }

    /// Why the topic cannot be reached, and since when, if that does not end by itself as the election of a
    /// leader does.
    pub(in crate::producer) fn lasting_failure(&self) -> Option<(Instant, NotStoredReason)> {
        let lasts = |kind| matches!(kind, NotStoredKind::NoTopic | NotStoredKind::Refused);
        let (why, since) = self.unreachable.as_ref().filter(|(why, _)| lasts(why.kind()))?;
        Some((*since, why.clone()))
    }

    /// Refuses what waits although it came after an outage was known: not stored.
    /// What is older waits for as long as it may, and what is under way for its outcome.
    pub(in crate::producer) fn refuse_in_outage(
        &mut self,
        now: Instant,
        known: &KnownOutage,
        finished: &mut Vec<Finished>,
    ) {
        let mut released = Released::default();
        let late =
            |since: Instant| since >= known.since && now.saturating_duration_since(since) >= OUTAGE_GRACE;
        let queues = self.partitions.iter_mut().map(|partition| &mut partition.waiting);
        for queue in queues.chain([&mut self.unplaced, &mut self.unkeyed]) {
            // The oldest are in front: mostly none is late, or all are.
            if !queue.iter().any(|waiting| late(waiting.record.since)) {
                continue;
            }
            for waiting in mem::take(queue) {
                if late(waiting.record.since) {
                    released.add(&waiting.record);
                    finished.push((waiting.done, known.why.not_stored()));
                } else {
                    queue.push_back(waiting);
                }
            }
        }
        self.forget(&released);
    }

    /// Refuses what waits, as it is known that nothing can be stored now: not stored. What is under way has a
    /// while to come back with its outcome; then that is unknown.
    pub(in crate::producer) fn refuse(&mut self, now: Instant, reason: &str, finished: &mut Vec<Finished>) {
        let why = NotStoredReason::new(NotStoredKind::StoreFailed, reason);
        let mut released = Released::default();
        let queues = self.partitions.iter_mut().map(|partition| &mut partition.waiting);
        for waiting in queues.chain([&mut self.unplaced, &mut self.unkeyed]).flat_map(mem::take) {
            released.add(&waiting.record);
            finished.push((waiting.done, why.not_stored()));
        }
        self.forget(&released);
        let overdue =
            |request: &&mut InFlightRequest| now.saturating_duration_since(request.since) >= COMES_BACK;
        for open in self.requests.iter_mut().flatten().filter(overdue).flat_map(|request| &mut request.open) {
            finished.extend(open.take().map(|(_, done)| (done, unknown(reason))));
        }
    }

    /// The reason why none of the partitions took a message when that was last tried, if that was lately.
    pub(in crate::producer) fn last_refusal(&self, now: Instant) -> Option<String> {
        let lately = |partition: &Partition| {
            let backing_off = partition.backing_off.as_ref()?;
            (now < backing_off.probe_at).then(|| backing_off.why.reason().to_owned())
        };
        let mut refusals = self.partitions.iter().map(lately);
        let first = refusals.next()??;
        refusals.all(|refusal| refusal.is_some()).then_some(first)
    }
}
