//! Whether the topic can be reached, and since when not: what the log and the records that wait are told.

use std::time::Instant;

use super::{NotStoredKind, ProducerState, Shared};

/// The most reasons of one outage that the log tells.
const MOST_REASONS: usize = 8;

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
            log::warn!("{sentence}; trying until it works");
        }
    }

    /// Since when it is known that no broker can be reached, as the store check has `seen`, or that the topic
    /// cannot; `None` where records wait for as long as they may.
    pub(super) fn known_outage(
        &self,
        state: &ProducerState,
        seen: Option<Option<Instant>>,
        now: Instant,
    ) -> Option<Instant> {
        let since = seen?.into_iter().chain(state.accumulator.unreachable_since()).min()?;
        Some(since + self.outage_is_known).filter(|known| *known <= now)
    }
}
