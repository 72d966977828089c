//! Whether a consumer that works on one message at a time has something in hand, and since when.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Shared with who stops the consumer.
#[derive(Debug, Default)]
pub struct InHand(
    /// 0: nothing; else one more than the milliseconds from [`began`] on.
    AtomicU64,
);

/// Where the times of this process are counted from.
fn began() -> Instant {
    static BEGAN: OnceLock<Instant> = OnceLock::new();
    *BEGAN.get_or_init(Instant::now)
}

fn now() -> u64 {
    u64::try_from(began().elapsed().as_millis()).map_or(u64::MAX, |time| time.saturating_add(1))
}

impl InHand {
    /// A message is taken.
    pub fn take(&self) {
        self.0.store(now(), Ordering::Release);
    }

    /// Whether something taken before is still in hand.
    pub fn keep(&self, is_kept: bool) {
        if !is_kept {
            self.0.store(0, Ordering::Release);
        }
    }

    /// For how long something is in hand; `None` if nothing is.
    pub fn since(&self) -> Option<Duration> {
        let taken = self.0.load(Ordering::Acquire);
        (taken > 0).then(|| Duration::from_millis(now().saturating_sub(taken)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_hand_has_an_age_until_it_is_let_go() {
        let in_hand = InHand::default();
        assert_eq!(in_hand.since(), None);
        in_hand.take();
        in_hand.keep(true);
        assert!(in_hand.since().is_some());
        in_hand.keep(false);
        assert_eq!(in_hand.since(), None);
    }
}
