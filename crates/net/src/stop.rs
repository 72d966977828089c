//! The stop of a program, which every thread of it can ask for and hear; and the wish that it waits for
//! nothing any more.

use crate::sync::{Condvar, Mutex, MutexGuard};
use std::fmt;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

/// The stop of a program: asked for once, heard by every clone.
#[derive(Clone, Default)]
pub struct Stop(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    asked: Condvar,
}

#[derive(Default)]
struct State {
    is_asked: bool,
    is_hurried: bool,
    hooks: Vec<(u64, Hook)>,
    next_hook: u64,
}

type Hook = Box<dyn FnOnce() + Send>;

/// A function that waits for a stop. Dropped, it is not called any more.
#[must_use = "the hook is removed when this is dropped"]
pub struct StopHook {
    stop: Stop,
    number: u64,
}

impl Drop for StopHook {
    fn drop(&mut self) {
        let mut state = self.stop.lock();
        let place = state.hooks.iter().position(|(number, _)| *number == self.number);
        let removed = place.map(|place| state.hooks.swap_remove(place));
        // The hook's own destructor may take locks.
        drop(state);
        drop(removed);
    }
}

impl fmt::Debug for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Stop").field(&self.is_asked()).finish()
    }
}

impl Stop {
    /// A stop that has not been asked for.
    pub fn new() -> Stop {
        Stop::default()
    }

    /// Asks to stop.
    pub fn ask(&self) {
        let mut state = self.lock();
        state.is_asked = true;
        let hooks = std::mem::take(&mut state.hooks);
        drop(state);
        self.0.asked.notify_all();
        hooks.into_iter().for_each(|(_, hook)| hook());
    }

    /// Calls `hook` when the stop is asked for, on the thread that asks, or at once if it was asked already.
    /// So a thread that waits for something else, as on a channel or a condition variable, hears the stop,
    /// too.
    pub fn on_ask(&self, hook: impl FnOnce() + Send + 'static) -> StopHook {
        let mut state = self.lock();
        let number = state.next_hook;
        state.next_hook += 1;
        if state.is_asked {
            drop(state);
            hook();
        } else {
            state.hooks.push((number, Box::new(hook)));
        }
        StopHook { stop: self.clone(), number }
    }

    /// Asks to stop at once: what is in hand is not waited for any more.
    pub fn hurry(&self) {
        self.lock().is_hurried = true;
        self.ask();
    }

    /// Whether what is in hand is not waited for any more.
    pub fn is_hurried(&self) -> bool {
        self.lock().is_hurried
    }

    /// Whether the stop was asked for.
    pub fn is_asked(&self) -> bool {
        self.lock().is_asked
    }

    /// Waits until the stop is asked for.
    pub fn wait(&self) {
        drop(self.0.asked.wait_while(self.lock(), |state| !state.is_asked));
    }

    /// Waits for `time`, or until the stop is asked for; tells whether it was.
    pub fn wait_for(&self, time: Duration) -> bool {
        let end = Instant::now() + time;
        let mut state = self.lock();
        while !state.is_asked {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = self.0.asked.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.is_asked
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_clone_sees_the_wish() {
        let stop = Stop::new();
        let other = stop.clone();
        let waiting = std::thread::spawn(move || other.wait());
        assert!(!stop.wait_for(Duration::from_millis(1)));
        stop.ask();
        waiting.join().unwrap();
        assert!(stop.is_asked() && stop.wait_for(Duration::from_secs(60)));
    }

    #[test]
    fn a_stop_that_is_hurried_is_one_that_was_asked_for() {
        let stop = Stop::new();
        stop.ask();
        assert!(!stop.is_hurried());
        let other = Stop::new();
        other.clone().hurry();
        assert!(other.is_asked() && other.is_hurried());
    }

    #[test]
    fn a_hook_is_called_once_at_the_stop_or_at_once_after_it_unless_it_was_dropped() {
        use std::sync::mpsc;
        let (sender, called) = mpsc::channel();
        let hook = |name: &'static str| {
            let sender = sender.clone();
            move || sender.send(name).unwrap()
        };
        let stop = Stop::new();
        let _kept = stop.on_ask(hook("kept"));
        drop(stop.on_ask(hook("dropped")));
        assert!(called.try_recv().is_err());
        stop.ask();
        stop.ask();
        let _late = stop.on_ask(hook("late"));
        assert_eq!(called.try_iter().collect::<Vec<_>>(), ["kept", "late"]);
    }
}
