//! The wait before a child that has ended is restarted.

use std::time::Duration;

use net::backoff::Backoff;

const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(10);
/// A child that ran this long is taken for healthy: its waits begin anew.
const HEALTHY_UPTIME: Duration = Duration::from_secs(30);

/// The growing waits of one child.
#[derive(Debug)]
pub struct RestartBackoff(Backoff);

impl Default for RestartBackoff {
    fn default() -> Self {
        RestartBackoff(Backoff::new(FIRST, LONGEST))
    }
}

impl RestartBackoff {
    /// The wait before the restart of a child that has ended after this `uptime`.
    pub fn next_wait(&mut self, uptime: Duration) -> Duration {
        if uptime >= HEALTHY_UPTIME {
            self.0.reset();
        }
        self.0.next_wait()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_that_ran_well_is_started_again_soon_and_another_one_later() {
        let mut backoff = RestartBackoff::default();
        let last = (0..8).map(|_| backoff.next_wait(Duration::from_secs(1))).last();
        assert!(last.is_some_and(|wait| wait >= LONGEST / 2 && wait <= LONGEST));
        assert!(backoff.next_wait(HEALTHY_UPTIME) <= FIRST);
    }
}
