//! Waits between the tries of a call that failed.

use std::time::Duration;

use crate::random::fraction;

/// Waits that double up to a limit. Each is shortened by chance, by up to a half, so that clients which lost
/// the same broker do not come back in the same moment.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    /// Waits from `first` to `longest`.
    pub const fn new(first: Duration, longest: Duration) -> Backoff {
        Backoff { first, longest, next: first }
    }

    /// How long to wait now: between a half of the wait that is due and all of it. The wait that is due
    /// doubles.
    pub fn next_wait(&mut self) -> Duration {
        let due = self.next;
        self.next = due.saturating_mul(2).min(self.longest);
        jittered(due)
    }

    /// Begins anew with the first wait: the call has succeeded.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

/// Between a half of `wait` and all of it. Without randomness from the system it is all of it.
pub fn jittered(wait: Duration) -> Duration {
    fraction().map_or(wait, |fraction| wait.mul_f64(0.5 + 0.5 * fraction))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_begin_anew_after_a_success() {
        let [first, longest] = [20, 500].map(Duration::from_millis);
        let mut backoff = Backoff::new(first, longest);
        for due in [20, 40, 80, 160, 320, 500, 500].map(Duration::from_millis) {
            let wait = backoff.next_wait();
            assert!(wait >= due / 2 && wait <= due, "{wait:?} of {due:?}");
        }
        backoff.reset();
        assert!(backoff.next_wait() <= first);
    }

    #[test]
    fn two_clients_do_not_wait_in_step() {
        let mut waits: Vec<Duration> = (0..16).map(|_| jittered(Duration::from_secs(1))).collect();
        waits.sort();
        waits.dedup();
        assert!(waits.len() > 8, "{waits:?}");
    }
}
