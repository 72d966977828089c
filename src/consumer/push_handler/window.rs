//! How many messages are on their way to a target at a time: fewer when it refuses, more when it takes what it
//! gets (additive increase, multiplicative decrease, with a fast return to what it took before).

use std::sync::Arc;
use std::time::{Duration, Instant};

use net::backoff::Backoff;
use net::sync::{Mutex, lock};

/// So many are sent before the target has shown what it takes.
const FIRST: f64 = 16.0;
/// The waits between single messages to a target that refuses all.
const WAITS: Backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(2));

/// The longest such wait that a target can ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The limit of messages on their way. Clones share it.
#[derive(Debug, Clone)]
pub struct Window(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    most: f64,
    limit: f64,
    /// Below this the limit grows with each message that is taken, above it with each round of them.
    good: f64,
    /// The messages that were on their way when the limit was last lowered: they say nothing new.
    old: usize,
    in_hand: usize,
    /// Some were taken since the limit was last lowered.
    has_taken: bool,
    pause: Option<Instant>,
    /// Why the target takes nothing, since it does so.
    trouble: Option<String>,
    waits: Backoff,
}

impl Window {
    /// At most `most` messages at a time.
    pub fn new(most: u32) -> Window {
        let most = f64::from(most.max(1));
        let state = State {
            most,
            limit: FIRST.min(most),
            good: most,
            old: 0,
            in_hand: 0,
            has_taken: false,
            pause: None,
            trouble: None,
            waits: WAITS,
        };
        Window(Arc::new(Mutex::new(state)))
    }

    /// How many of `max` messages may be sent, where `in_hand` are on their way.
    pub fn admits(&self, max: usize, in_hand: usize) -> usize {
        let mut state = lock(&self.0);
        state.in_hand = in_hand;
        if state.pause.is_some_and(|until| Instant::now() < until) {
            return 0;
        }
        max.min(state.limit().saturating_sub(in_hand))
    }

    /// How long nothing may be sent, in a pause.
    pub fn pause(&self) -> Option<Duration> {
        let until = lock(&self.0).pause?;
        until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
    }

    /// The messages that may be on their way at a time now.
    pub fn limit(&self) -> usize {
        lock(&self.0).limit()
    }

    /// Why the target takes nothing, as far as that is known.
    pub fn trouble(&self) -> Option<String> {
        lock(&self.0).trouble.clone()
    }

    /// The target has taken a message, whatever it made of it.
    pub fn taken(&self) {
        let mut state = lock(&self.0);
        state.old = state.old.saturating_sub(1);
        state.grow();
    }

    /// The target has not taken a message, and asks for a wait before the next one.
    pub fn refused(&self, why: &str, wait: Option<Duration>) {
        let mut state = lock(&self.0);
        match state.old.checked_sub(1) {
            Some(old) => state.old = old,
            None => state.shrink(why, wait),
        }
    }
}

impl State {
    /// A whole number, as it is at least 1 and at most the setting.
    fn limit(&self) -> usize {
        self.limit as usize
    }

    fn grow(&mut self) {
        self.has_taken = true;
        (self.pause, self.trouble) = (None, None);
        self.waits.reset();
        let step = if self.limit < self.good { 1.0 } else { 1.0 / self.limit };
        self.limit = (self.limit + step).min(self.most);
    }

    fn shrink(&mut self, why: &str, wait: Option<Duration>) {
        if self.limit >= self.good {
            self.good = self.limit * 0.9;
        } else if self.has_taken {
            // It takes less than before.
            self.good = f64::midpoint(self.good, self.limit);
        }
        if self.limit < 2.0 {
            let asked = wait.unwrap_or_default().min(LONGEST_PAUSE);
            self.pause = Some(Instant::now() + self.waits.next_wait().max(asked));
            self.trouble = Some(why.to_owned());
        }
        self.limit = (self.limit / 2.0).max(1.0);
        self.good = self.good.max(1.0);
        (self.old, self.has_taken) = (self.in_hand.saturating_sub(1), false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends rounds of as many as are admitted to a target that takes `capacity` of each; gives the limits.
    fn rounds(window: &Window, capacity: usize, rounds: usize) -> Vec<usize> {
        let round = |_| {
            let sent = window.admits(usize::MAX, 0);
            let _ = window.admits(0, sent);
            for number in 0..sent {
                if number < capacity { window.taken() } else { window.refused("full", None) }
            }
            window.limit()
        };
        (0..rounds).map(round).collect()
    }

    #[test]
    fn a_target_that_takes_all_soon_gets_all() {
        let window = Window::new(256);
        assert_eq!(rounds(&window, usize::MAX, 4), [32, 64, 128, 256]);
        assert_eq!(rounds(&window, usize::MAX, 2), [256; 2], "and no more than that");
        assert_eq!(rounds(&Window::new(1), usize::MAX, 2), [1; 2]);
    }

    #[test]
    fn a_target_that_refuses_all_gets_one_at_a_time_and_with_waits() {
        let window = Window::new(256);
        rounds(&window, usize::MAX, 4);
        assert_eq!(rounds(&window, 0, 8), [128, 64, 32, 16, 8, 4, 2, 1]);
        assert_eq!(window.trouble(), None);
        assert_eq!(rounds(&window, 0, 1), [1]);
        assert_eq!(window.admits(9, 0), 0, "it pauses");
        assert!(window.pause().is_some_and(|left| left <= Duration::from_millis(250)));
        assert_eq!(window.trouble().as_deref(), Some("full"));
        window.refused("away", Some(Duration::from_secs(7)));
        assert!(window.pause().is_some_and(|left| left > Duration::from_secs(6)), "as it asks");
        window.taken();
        assert_eq!((window.pause(), window.trouble(), window.admits(9, 0)), (None, None, 2));
    }

    #[test]
    fn a_target_that_comes_back_soon_gets_nine_tenths_of_what_it_got() {
        let window = Window::new(256);
        rounds(&window, usize::MAX, 4);
        rounds(&window, 0, 8);
        let limits = rounds(&window, usize::MAX, 9);
        assert!(limits.last().is_some_and(|limit| (230..256).contains(limit)), "{limits:?}");
    }

    #[test]
    fn what_was_on_its_way_when_the_limit_was_lowered_does_not_lower_it_again() {
        let window = Window::new(64);
        rounds(&window, usize::MAX, 2);
        let _ = window.admits(0, 64);
        (0..64).for_each(|_| window.refused("full", None));
        assert_eq!(window.limit(), 32);
    }

    #[test]
    fn a_target_with_a_capacity_gets_about_that_much() {
        let window = Window::new(256);
        let limits = rounds(&window, 40, 200).split_off(20);
        assert!(limits.iter().all(|limit| (15..=48).contains(limit)), "{limits:?}");
        let mean = limits.iter().sum::<usize>() / limits.len();
        assert!((28..=44).contains(&mean), "{mean}: {limits:?}");
    }
}
