//! Signs of life for the service manager that watches over the supervisor: they come from the supervisor's
//! own loop, and stop when the loop of a server among the children stands still, or its process is frozen.
//!
//! A frozen consumer costs nothing but its share: others get its partitions.

use std::time::{Duration, Instant};

/// A server that was not ready yet may take so long to begin.
const BEGINNING: Duration = Duration::from_secs(60);
/// Questions that a child has not answered, beyond which it is not asked any more: it reads nothing, and its
/// socket must not become full.
const MOST_QUESTIONS: u32 = 32;

/// When the next sign of life is due, where somebody watches.
pub struct Watchdog {
    /// Half of the time after which the supervisor is taken for dead.
    patience: Duration,
    next: Option<Instant>,
}

impl Watchdog {
    /// For a service manager that takes the supervisor for dead after a silence of `limit`; `None`: nobody
    /// watches.
    pub fn new(limit: Option<Duration>) -> Watchdog {
        Watchdog { patience: limit.unwrap_or_default() / 2, next: limit.map(|_| Instant::now()) }
    }

    /// Whether the children have to be asked, and life may be shown.
    pub fn is_due(&mut self) -> bool {
        let now = Instant::now();
        let is_due = self.next.is_some_and(|next| next <= now);
        if is_due {
            self.next = Some(now + self.patience / 2);
        }
        is_due
    }

    /// The time until [`Watchdog::is_due`].
    pub fn wait(&self) -> Option<Duration> {
        self.next.map(|next| next.saturating_duration_since(Instant::now()))
    }

    /// How old a child's last answer may be.
    pub fn patience(&self) -> Duration {
        self.patience
    }
}

/// What a running child has shown of its life.
pub struct Life {
    /// The last answer, or the start.
    seen: Instant,
    is_ready: bool,
    unanswered: u32,
}

impl Life {
    /// Of a child that starts now.
    pub fn begin() -> Life {
        Life { seen: Instant::now(), is_ready: false, unanswered: 0 }
    }

    /// The child serves.
    pub fn ready(&mut self) {
        self.is_ready = true;
        self.answered();
    }

    /// The child has answered.
    pub fn answered(&mut self) {
        (self.seen, self.unanswered) = (Instant::now(), 0);
    }

    /// Whether the child can be asked now; counts that it is.
    pub fn may_be_asked(&mut self) -> bool {
        self.unanswered += 1;
        self.unanswered <= MOST_QUESTIONS
    }

    /// Whether the child has shown life for `patience`, or is only beginning.
    pub fn is_shown(&self, patience: Duration) -> bool {
        self.seen.elapsed() < if self.is_ready { patience } else { BEGINNING }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn life_is_shown_four_times_in_the_time_of_the_manager_and_never_where_none_watches() {
        let mut watchdog = Watchdog::new(Some(Duration::from_secs(60)));
        assert!(watchdog.is_due() && !watchdog.is_due());
        let wait = watchdog.wait().unwrap();
        assert!(wait <= Duration::from_secs(15) && wait > Duration::from_secs(10), "{wait:?}");
        assert_eq!(watchdog.patience(), Duration::from_secs(30));
        let mut none = Watchdog::new(None);
        assert!(!none.is_due() && none.wait().is_none());
    }

    #[test]
    fn a_server_that_was_ready_has_to_answer_and_one_that_begins_has_time() {
        let mut life = Life::begin();
        assert!(life.is_shown(Duration::ZERO), "it begins");
        life.ready();
        assert!(!life.is_shown(Duration::ZERO) && life.is_shown(Duration::from_secs(60)));
    }

    #[test]
    fn a_child_that_reads_nothing_is_not_asked_for_ever() {
        let mut life = Life::begin();
        let asked = (0..1000).filter(|_| life.may_be_asked()).count();
        assert_eq!(asked, 32);
        life.answered();
        assert!(life.may_be_asked());
    }
}
