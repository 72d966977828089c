//! The stop as something that a wait for pipes hears, and the times at which an exchange ends.

use std::io;
use std::time::{Duration, Instant};

use super::failed::Trouble;
use net::stop::{Stop, StopHook};
use platform::pipes::{self, Woken};

/// Once the stop was asked, it is looked so often whether it is hurried.
const STOP_LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// What is woken when the stop is asked.
pub struct StopSignal {
    asked: Woken,
    stop: Stop,
    _hook: StopHook,
}

impl StopSignal {
    /// # Errors
    /// The system gives no pipe.
    pub fn of(stop: &Stop) -> io::Result<StopSignal> {
        let (waker, asked) = pipes::waker()?;
        Ok(StopSignal { asked, stop: stop.clone(), _hook: stop.on_ask(move || waker.wake()) })
    }
}

/// The times at which an exchange ends without an answer.
pub struct Limits<'a> {
    signal: &'a StopSignal,
    deadline: Instant,
    grace: Duration,
    /// When the grace after a stop ends.
    interrupted_at: Option<Instant>,
}

impl<'a> Limits<'a> {
    /// The exchange ends after `time`, or `grace` after the stop.
    pub fn new(signal: &'a StopSignal, time: Duration, grace: Duration) -> Limits<'a> {
        Limits { signal, deadline: Instant::now() + time, grace, interrupted_at: None }
    }

    /// The time that is left, or, once the stop was asked, until it has to be looked whether it is hurried.
    ///
    /// # Errors
    /// None is.
    pub fn left(&self, now: Instant) -> Result<Duration, Trouble> {
        if self.interrupted_at.is_some_and(|at| now >= at) || self.signal.stop.is_hurried() {
            return Err(Trouble::Interrupted);
        }
        if now >= self.deadline {
            return Err(Trouble::Silent);
        }
        let left = self.deadline - now;
        Ok(self.interrupted_at.map_or(left, |at| left.min(at - now).min(STOP_LOOK_INTERVAL)))
    }

    /// What is ready once the stop is asked; `None` when it is known that it was.
    pub fn signal(&self) -> Option<&'a Woken> {
        self.interrupted_at.is_none().then_some(&self.signal.asked)
    }

    /// Notes that the stop was asked.
    pub fn stop_asked(&mut self, now: Instant) {
        self.interrupted_at.get_or_insert(now + self.grace);
    }
}
