//! The wish that a program stops, shared by its threads.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};

/// A wish to stop: asked once, seen by every clone.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<(Mutex<bool>, Condvar)>);

impl Stop {
    /// A wish that nobody has yet.
    pub fn new() -> Stop {
        Stop::default()
    }

    /// A wish that Ctrl-C, SIGTERM or SIGHUP asks.
    ///
    /// # Errors
    /// When the handler cannot be installed, as there can be only one.
    pub fn on_signals() -> Result<Stop> {
        let stop = Stop::new();
        let asked = stop.clone();
        ctrlc::set_handler(move || {
            if !asked.is_asked() {
                asked.ask();
                log::info!("stopping");
            }
        })
        .map_err(|e| Error::new("signals cannot be handled").caused_by(e))?;
        Ok(stop)
    }

    /// Asks to stop.
    pub fn ask(&self) {
        *self.lock() = true;
        self.0.1.notify_all();
    }

    /// Whether somebody asked.
    pub fn is_asked(&self) -> bool {
        *self.lock()
    }

    /// Waits until somebody asks.
    pub fn wait(&self) {
        drop(self.0.1.wait_while(self.lock(), |asked| !*asked));
    }

    /// Waits for `time`, or until somebody asks; tells whether somebody did.
    pub fn wait_for(&self, time: Duration) -> bool {
        let end = Instant::now() + time;
        let mut asked = self.lock();
        while !*asked {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            asked = self.0.1.wait_timeout(asked, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        *asked
    }

    fn lock(&self) -> MutexGuard<'_, bool> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
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
}
