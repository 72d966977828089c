//! When a consumer pauses: its handler cannot be started, or too many attempts in a row have failed. It then
//! tries one message after growing waits, until one shows that it can go on.

use net::backoff::Backoff;
use std::time::Duration;

use super::clock::millis;

/// The waits before a try.
const WAITS: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(30));

/// Whether messages are handed out.
#[derive(Debug)]
pub struct Breaker {
    /// So many failures in a row open it; 0: none do.
    limit: u32,
    in_a_row: u32,
    open: Option<Open>,
}

/// A pause.
#[derive(Debug)]
struct Open {
    why: Why,
    reason: String,
    waits: Backoff,
    until: u64,
    is_trying: bool,
}

/// What a pause waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// That the handler can be started.
    NotStarted,
    /// That an attempt succeeds.
    Failures,
}

/// What changed with an outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Nothing that has to be told.
    None,
    /// The consumer pauses from now on, for this reason.
    Paused(String),
    /// It goes on.
    GoesOn,
}

impl Breaker {
    /// One that opens after `limit` failures in a row; 0: never for failures.
    pub fn new(limit: u32) -> Breaker {
        Breaker { limit, in_a_row: 0, open: None }
    }

    /// How many of `max` messages may be handed out at `now`; in a pause one when its wait is over, which is
    /// the try.
    pub fn admits(&mut self, max: usize, now: u64) -> usize {
        match &mut self.open {
            None => max,
            Some(open) if !open.is_trying && open.until <= now => {
                open.is_trying = max > 0;
                max.min(1)
            }
            Some(_) => 0,
        }
    }

    /// Nothing was there to try, or what was let through does not come to the handler.
    pub fn not_tried(&mut self) {
        if let Some(open) = &mut self.open {
            open.is_trying = false;
        }
    }

    /// When the wait of a pause is over.
    pub fn due(&self) -> Option<u64> {
        self.open.as_ref().filter(|open| !open.is_trying).map(|open| open.until)
    }

    /// Why it is open.
    pub fn reason(&self) -> Option<&str> {
        self.open.as_ref().map(|open| open.reason.as_str())
    }

    /// Whether a failed attempt costs none: it says nothing about its message while nearly all fail.
    pub fn excuses(&self) -> bool {
        self.why() == Some(Why::Failures)
    }

    /// What it waits for, if it is open.
    pub fn why(&self) -> Option<Why> {
        self.open.as_ref().map(|open| open.why)
    }

    /// A message was handled.
    pub fn succeeded(&mut self) -> Change {
        self.in_a_row = 0;
        self.close()
    }

    /// An attempt has failed, for which the handler was started.
    pub fn failed(&mut self, reason: &str, now: u64) -> Change {
        self.in_a_row = self.in_a_row.saturating_add(1);
        match &self.open {
            Some(open) if open.why == Why::NotStarted => self.close(),
            None if self.limit == 0 || self.in_a_row < self.limit => Change::None,
            _ => self.pause(Why::Failures, reason, now),
        }
    }

    /// An attempt was put off, for which the handler was started.
    pub fn tried_later(&mut self, reason: &str, now: u64) -> Change {
        match &self.open {
            None => Change::None,
            Some(open) if open.why == Why::NotStarted => self.close(),
            Some(_) => self.pause(Why::Failures, reason, now),
        }
    }

    /// The handler could not be started.
    pub fn not_started(&mut self, reason: &str, now: u64) -> Change {
        self.pause(Why::NotStarted, reason, now)
    }

    fn close(&mut self) -> Change {
        if self.open.take().is_some() { Change::GoesOn } else { Change::None }
    }

    fn pause(&mut self, why: Why, reason: &str, now: u64) -> Change {
        let was_open = self.open.is_some();
        let open = self.open.get_or_insert_with(|| Open {
            why,
            reason: String::new(),
            waits: WAITS,
            until: 0,
            is_trying: true,
        });
        // What was in hand beside the try when the pause began is no try.
        if was_open && !open.is_trying {
            return Change::None;
        }
        (open.why, open.reason, open.is_trying) = (why, reason.to_owned(), false);
        open.until = now.saturating_add(millis(open.waits.next_wait()));
        if was_open { Change::None } else { Change::Paused(open.reason.clone()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handler_that_cannot_be_started_is_tried_with_one_message_after_growing_waits() {
        let mut breaker = Breaker::new(0);
        assert_eq!(breaker.admits(8, 0), 8);
        assert_eq!(breaker.not_started("gone", 0), Change::Paused("gone".to_owned()));
        // Seven others were in hand.
        (0..7).for_each(|_| assert_eq!(breaker.not_started("gone", 0), Change::None));
        let mut last = 0;
        for _ in 0..4 {
            let due = breaker.due().unwrap();
            assert_eq!(breaker.admits(8, due - 1), 0);
            assert_eq!(breaker.admits(8, due), 1);
            assert_eq!((breaker.admits(8, due), breaker.due()), (0, None), "one at a time");
            assert_eq!(breaker.not_started("gone", due), Change::None);
            let wait = breaker.due().unwrap() - due;
            assert!(wait >= last / 2, "{wait} after {last}");
            last = wait;
        }
        assert!(last >= 4_000);
        let due = breaker.due().unwrap();
        assert_eq!(breaker.admits(8, due), 1);
        assert_eq!(breaker.failed("exit 1", due), Change::GoesOn, "it was started");
        assert_eq!((breaker.admits(8, due), breaker.reason()), (8, None));
    }

    #[test]
    fn so_many_failures_in_a_row_pause_and_one_success_goes_on() {
        let mut breaker = Breaker::new(3);
        let mut changes = Vec::new();
        for outcome in [false, false, true, false, false, false] {
            changes.push(if outcome { breaker.succeeded() } else { breaker.failed("down", 0) });
        }
        assert_eq!(changes.pop(), Some(Change::Paused("down".to_owned())));
        assert!(changes.iter().all(|change| *change == Change::None));
        assert!(breaker.excuses());
        let due = breaker.due().unwrap();
        assert_eq!(breaker.admits(8, due), 1);
        breaker.not_tried();
        assert_eq!(breaker.admits(8, due), 1, "nothing was there to try");
        assert_eq!(breaker.failed("down", due), Change::None);
        assert!(breaker.due().unwrap() > due);
        assert_eq!(breaker.succeeded(), Change::GoesOn);
        assert_eq!((breaker.admits(8, due), breaker.excuses()), (8, false));
        breaker.not_started("gone", due);
        assert!(!breaker.excuses(), "an attempt says that it can be started");
    }

    #[test]
    fn without_a_limit_failures_pause_nothing() {
        let mut breaker = Breaker::new(0);
        assert!((0..1_000).all(|_| breaker.failed("x", 0) == Change::None));
    }
}
