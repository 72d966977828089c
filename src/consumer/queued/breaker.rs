//! When a consumer pauses: its handler cannot be started, or too many attempts in a row have failed. It then
//! tries one message after growing waits, until one shows that it can go on.

use net::backoff::Backoff;
use std::time::Duration;

use super::clock::millis;

/// The waits before a try.
const WAITS: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(30));

/// Whether messages are handed out. `K` tells one handing out from all others.
#[derive(Debug)]
pub struct Breaker<K> {
    /// So many failures in a row open it; 0: none do.
    limit: u32,
    in_a_row: u32,
    open: Option<Open<K>>,
}

/// A pause.
#[derive(Debug)]
struct Open<K> {
    why: Why,
    reason: String,
    waits: Backoff,
    until: u64,
    /// The try that is in hand. What was in hand when the pause began is none.
    tried: Option<K>,
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

impl<K: PartialEq> Breaker<K> {
    /// One that opens after `limit` failures in a row; 0: never for failures.
    pub fn new(limit: u32) -> Breaker<K> {
        Breaker { limit, in_a_row: 0, open: None }
    }

    /// How many of `max` messages may be handed out at `now`; in a pause one when its wait is over, for the
    /// try.
    pub fn admits(&self, max: usize, now: u64) -> usize {
        match &self.open {
            None => max,
            Some(open) if open.tried.is_none() && open.until <= now => max.min(1),
            Some(_) => 0,
        }
    }

    /// A message was handed out to the handler: in a pause it is the try, until it [ends](Breaker::ends).
    pub fn tries(&mut self, message: K) {
        if let Some(open) = &mut self.open {
            open.tried = Some(message);
        }
    }

    /// What was handed out has come back, or is over; gives whether it was the try. One that tells nothing of the
    /// handler is followed by the next at once.
    pub fn ends(&mut self, message: &K) -> bool {
        self.open.as_mut().is_some_and(|open| open.tried.take_if(|tried| tried == message).is_some())
    }

    /// Forgets a try that is not in hand any more for all that is known, as its partition is lost.
    pub fn keep(&mut self, is_owned: impl Fn(&K) -> bool) {
        if let Some(open) = &mut self.open {
            open.tried.take_if(|tried| !is_owned(tried));
        }
    }

    /// When the wait of a pause is over.
    pub fn due(&self) -> Option<u64> {
        self.open.as_ref().filter(|open| open.tried.is_none()).map(|open| open.until)
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

    /// An attempt has failed, for which the handler was started; `is_try`: [`Breaker::ends`] says so.
    pub fn failed(&mut self, reason: &str, is_try: bool, now: u64) -> Change {
        self.in_a_row = self.in_a_row.saturating_add(1);
        match &self.open {
            Some(open) if open.why == Why::NotStarted => self.close(),
            None if self.limit == 0 || self.in_a_row < self.limit => Change::None,
            _ => self.pause(Why::Failures, reason, is_try, now),
        }
    }

    /// An attempt was put off, for which the handler was started.
    pub fn tried_later(&mut self, reason: &str, is_try: bool, now: u64) -> Change {
        match &self.open {
            None => Change::None,
            Some(open) if open.why == Why::NotStarted => self.close(),
            Some(_) => self.pause(Why::Failures, reason, is_try, now),
        }
    }

    /// The handler could not be started.
    pub fn not_started(&mut self, reason: &str, is_try: bool, now: u64) -> Change {
        self.pause(Why::NotStarted, reason, is_try, now)
    }

    fn close(&mut self) -> Change {
        if self.open.take().is_some() { Change::GoesOn } else { Change::None }
    }

    fn pause(&mut self, why: Why, reason: &str, is_try: bool, now: u64) -> Change {
        let was_open = self.open.is_some();
        if was_open && !is_try {
            return Change::None;
        }
        let open = self.open.get_or_insert_with(|| Open {
            why,
            reason: String::new(),
            waits: WAITS,
            until: 0,
            tried: None,
        });
        (open.why, open.reason) = (why, reason.to_owned());
        open.until = now.saturating_add(millis(open.waits.next_wait()));
        if was_open { Change::None } else { Change::Paused(open.reason.clone()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hands out a try, which has to be due, and lets it end.
    fn try_one(breaker: &mut Breaker<u32>, message: u32, now: u64) {
        assert_eq!((breaker.admits(8, now - 1), breaker.admits(8, now)), (0, 1));
        breaker.tries(message);
        assert_eq!((breaker.admits(8, now), breaker.due()), (0, None), "one at a time");
        assert!(breaker.ends(&message));
    }

    #[test]
    fn a_handler_that_cannot_be_started_is_tried_with_one_message_after_growing_waits() {
        let mut breaker = Breaker::new(0);
        assert_eq!(breaker.admits(8, 0), 8);
        assert_eq!(breaker.not_started("gone", false, 0), Change::Paused("gone".to_owned()));
        // Seven others were in hand.
        (0..7).for_each(|_| assert_eq!(breaker.not_started("gone", false, 0), Change::None));
        let mut last = 0;
        for _ in 0..4 {
            let due = breaker.due().unwrap();
            try_one(&mut breaker, 1, due);
            assert_eq!(breaker.not_started("gone", true, due), Change::None);
            let wait = breaker.due().unwrap() - due;
            assert!(wait >= last / 2, "{wait} after {last}");
            last = wait;
        }
        assert!(last >= 4_000);
        let due = breaker.due().unwrap();
        try_one(&mut breaker, 1, due);
        assert!(!breaker.excuses(), "it costs an attempt");
        assert_eq!(breaker.failed("exit 1", true, due), Change::GoesOn, "it was started");
        assert_eq!((breaker.admits(8, due), breaker.reason()), (8, None));
    }

    #[test]
    fn so_many_failures_in_a_row_pause_and_one_success_goes_on() {
        let mut breaker = Breaker::new(3);
        let mut changes = Vec::new();
        for outcome in [false, false, true, false, false, false] {
            assert!(!breaker.excuses());
            changes.push(if outcome { breaker.succeeded() } else { breaker.failed("down", false, 0) });
        }
        assert_eq!(changes.pop(), Some(Change::Paused("down".to_owned())));
        assert!(changes.iter().all(|change| *change == Change::None));
        assert!(breaker.excuses());
        let due = breaker.due().unwrap();
        try_one(&mut breaker, 1, due);
        assert_eq!(breaker.failed("down", true, due), Change::None);
        assert!(breaker.due().unwrap() > due && breaker.excuses());
        assert_eq!(breaker.succeeded(), Change::GoesOn);
        assert_eq!((breaker.admits(8, due), breaker.excuses()), (8, false));
    }

    #[test]
    fn what_was_in_hand_when_the_pause_began_ends_no_try() {
        let mut breaker = Breaker::new(1);
        assert_eq!(breaker.failed("down", false, 0), Change::Paused("down".to_owned()));
        let due = breaker.due().unwrap();
        breaker.tries(1);
        assert!(!breaker.ends(&2));
        assert_eq!(breaker.failed("others", false, due), Change::None);
        assert_eq!((breaker.admits(8, due), breaker.reason()), (0, Some("down")), "the try is in hand");
        assert!(breaker.ends(&1) && !breaker.ends(&1));
        assert_eq!(breaker.tried_later("later", true, due), Change::None);
        assert!(breaker.due().unwrap() > due && breaker.reason() == Some("later"));
    }

    #[test]
    fn a_try_that_says_nothing_of_the_handler_is_followed_by_the_next_at_once() {
        let mut breaker = Breaker::new(1);
        let _ = breaker.failed("down", false, 0);
        let due = breaker.due().unwrap();
        try_one(&mut breaker, 1, due);
        try_one(&mut breaker, 2, due);
        breaker.tries(3);
        breaker.keep(|message| *message == 3);
        assert_eq!(breaker.due(), None);
        breaker.keep(|message| *message != 3);
        assert_eq!(breaker.due(), Some(due), "its partition is lost");
        assert!(!breaker.ends(&3));
    }

    #[test]
    fn without_a_limit_failures_pause_nothing() {
        let mut breaker = Breaker::<u32>::new(0);
        assert!((0..1_000).all(|_| breaker.failed("x", false, 0) == Change::None));
    }
}
