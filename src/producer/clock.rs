//! The clock thread of a producer: it watches deadlines, and requests that stay out for long.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::limits::MAX_IN_FLIGHT;
use super::{ProducerState, Shared, TICK};

/// Deadlines closer to each other than this are handled together, as a check goes through all records.
const DEADLINE_STEP: Duration = Duration::from_millis(10);

impl Shared {
    /// Runs the clock until the producer ends.
    pub(super) fn run_clock(self: &Arc<Self>) {
        let mut finished = Vec::new();
        let mut state = self.lock();
        while !self.ended() {
            if state.accumulator.open() == 0 {
                state.clock_sleeps = true;
                state = self.clock.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            drop(state);
            let failure = self.store_check.failure();
            let seen = self.store_check.outage();
            state = self.lock();
            let now = Instant::now();
            state.accumulator.age(now);
            state.blocked = failure.is_some();
            if let Some(reason) = failure {
                state.accumulator.refuse(now, &reason, &mut finished);
            }
            self.note_outage(&mut state, seen, now);
            if let Some(known) = state.outage.clone() {
                state.accumulator.refuse_in_outage(now, &known, &mut finished);
            }
            state.accumulator.expire(now, &mut finished);
            let no_thread = if !state.blocked && state.accumulator.has_work(now) {
                self.wake_sender_thread(&mut state)
            } else {
                None
            };
            if !finished.is_empty() || no_thread.is_some() {
                drop(state);
                self.hand_out(std::mem::take(&mut finished));
                if let Some(error) = no_thread {
                    log::warn!("no thread for a further connection can be started: {error}");
                }
                state = self.lock();
            }
            let due =
                state.accumulator.next_deadline().map_or(TICK, |next| next.saturating_duration_since(now));
            let waited = self.clock.wait_timeout(state, due.clamp(DEADLINE_STEP, TICK));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Wakes a sender thread for the records that may leave now, or starts one; none while all are out or
    /// connect to the topic. The error is for the log: it is given once until a thread can be started again.
    fn wake_sender_thread(self: &Arc<Self>, state: &mut ProducerState) -> Option<std::io::Error> {
        if state.sender_threads.idle > 0 {
            state.sender_threads.waking = state.sender_threads.waking.max(1);
            self.work.notify_one();
            return None;
        }
        if state.accumulator.requests() != state.sender_threads.started
            || state.sender_threads.started >= MAX_IN_FLIGHT
        {
            return None;
        }
        let failure = self.start_sender_thread(state).err();
        let known = std::mem::replace(&mut state.sender_threads.start_failed, failure.is_some());
        failure.filter(|_| !known)
    }
}
