//! Whether the topic can be reached, and since when not: what the log and the records that wait are told.

use std::time::{Duration, Instant};

use super::batch::NotStoredReason;
use super::{NotStoredKind, ProducerState, Shared};

/// The most reasons of one outage that the log tells.
const MOST_REASONS: usize = 8;

/// An outage that has lasted: what comes does not wait for its end.
#[derive(Clone)]
pub(super) struct KnownOutage {
    /// What came since then is refused, ...
    pub(super) since: Instant,
    /// ... for this reason.
    pub(super) why: NotStoredReason,
}

impl Shared {
    /// The topic is reached.
    pub(super) fn reached(&self, partitions: usize) {
        let mut state = self.lock();
        let changed = state.accumulator.partitions() != partitions;
        let recovered = !std::mem::take(&mut state.unreachable).is_empty();
        state.accumulator.set_partitions(partitions);
        drop(state);
        if changed || recovered {
            log::info!("topic {} can be reached, it has {partitions} partitions", self.topic);
        }
    }

    /// The topic cannot be reached, for this reason.
    pub(super) fn unreachable(&self, kind: NotStoredKind, reason: &str) {
        let sentence = format!("topic {} cannot be reached: {reason}", self.topic);
        let mut state = self.lock();
        state.accumulator.set_unreachable(Instant::now(), kind, &sentence);
        let is_news = state.unreachable.len() < MOST_REASONS && !state.unreachable.contains(&sentence);
        if is_news {
            state.unreachable.push(sentence.clone());
        }
        drop(state);
        if is_news && !self.ended() {
            // That no broker answers is said by what looks for one.
            let is_said = matches!(kind, NotStoredKind::NoBroker);
            let level = if is_said { log::Level::Debug } else { log::Level::Warn };
            log::log!(level, "{sentence}; trying until it works");
        }
    }

    /// Takes note of what the store check has `seen` of the brokers. Once no broker can be reached for half
    /// of the answer timeout, or the own failure has lasted so long, the outage is known. A failure for want
    /// of a broker is the cluster's to tell: it hears first that one is back.
    pub(super) fn note_outage(
        &self,
        state: &mut ProducerState,
        seen: Option<Option<(Instant, String)>>,
        now: Instant,
    ) {
        let Some(seen) = seen else { return };
        let of_cluster = seen.map(|(since, why)| {
            let sentence = format!("topic {} cannot be reached: {why}", self.topic);
            (since, NotStoredReason::new(NotStoredKind::NoBroker, &sentence))
        });
        if state.accumulator.set_no_broker(of_cluster.as_ref().map(|(_, why)| why.clone())) {
            state.recoveries += 1;
            // What was seen until now may have been the outage.
            state.accumulator.renew_unreachable(now);
        }
        let own = state.accumulator.lasting_failure();
        let known = |(since, why)| KnownOutage { since: since + self.outage_is_known, why };
        let is_known = |outage: &KnownOutage| outage.since <= now;
        state.outage = of_cluster.map(known).filter(is_known).or_else(|| own.map(known).filter(is_known));
    }

    /// Waits for `time` before the next try to reach the topic, or until a broker is back; true at the end.
    pub(super) fn pause(&self, time: Duration) -> bool {
        let state = self.lock();
        let before = state.recoveries;
        let over = |state: &mut ProducerState| state.recoveries != before || self.ended();
        drop(self.wait_until(Instant::now() + time, state, over));
        self.ended()
    }
}
