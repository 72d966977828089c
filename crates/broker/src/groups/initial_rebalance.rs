//! The initial rebalance (KIP-134): the first members of an empty group wait for others, so that a group
//! whose processes start one after another begins with one generation, and not with one for each of them.

use std::time::Duration;

/// An initial rebalance that is under way.
#[derive(Debug, Clone, Copy)]
pub(super) struct InitialRebalance {
    /// The wait that ends next.
    wait: Duration,
    /// By how much further waits may prolong the rebalance.
    left: Duration,
    /// Whether a member has joined since the wait began.
    joined: bool,
}

impl InitialRebalance {
    /// Begins with a wait of `delay`, for a first member with this rebalance timeout.
    pub fn new(delay: Duration, rebalance_timeout: Duration) -> InitialRebalance {
        InitialRebalance { wait: delay, left: rebalance_timeout.saturating_sub(delay), joined: false }
    }

    /// Notes that one more member has joined.
    pub fn note_join(&mut self) {
        self.joined = true;
    }

    /// At the end of a wait: the next wait if a member has joined in it, up to the rebalance timeout; `None`
    /// if the rebalance is to complete.
    pub fn next_wait(&mut self, delay: Duration) -> Option<Duration> {
        if !self.joined || self.left.is_zero() {
            return None;
        }
        let next = delay.min(self.left);
        *self = InitialRebalance { wait: next, left: self.left.saturating_sub(self.wait), joined: false };
        Some(next)
    }
}
