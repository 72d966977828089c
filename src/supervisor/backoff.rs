//! How long a child that has ended waits until it is started again.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(10);
/// A child that ran for so long works: what ended it is no lasting trouble.
const RAN_WELL: Duration = Duration::from_secs(30);

/// The waits of one child: each twice as long as the one before, until it has run well.
#[derive(Debug)]
pub struct Backoff {
    next: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Backoff { next: FIRST }
    }
}

impl Backoff {
    /// How long to wait, now that the child has ended after it `ran` for so long.
    pub fn wait(&mut self, ran: Duration) -> Duration {
        if ran >= RAN_WELL {
            self.next = FIRST;
        }
        let wait = self.next;
        self.next = (wait * 2).min(LONGEST);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_ten_seconds() {
        let mut backoff = Backoff::default();
        let waits: Vec<u128> = (0..8).map(|_| backoff.wait(Duration::ZERO).as_millis()).collect();
        assert_eq!(waits, [200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
    }

    #[test]
    fn a_child_that_ran_well_is_started_again_soon() {
        let mut backoff = Backoff::default();
        (0..5).for_each(|_| assert!(backoff.wait(Duration::from_secs(1)) >= FIRST));
        assert_eq!(backoff.wait(RAN_WELL), FIRST);
    }
}
