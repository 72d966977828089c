//! Whether a consumer works, for whoever asks.

use std::sync::Arc;

use net::sync::{Mutex, lock};

use crate::error::Error;

/// Whether a consumer works now; a clone tells of the same consumer.
#[derive(Debug, Clone)]
pub struct Standing(Arc<Mutex<Option<Obstacle>>>);

/// Why a consumer handles no message now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obstacle {
    /// A sentence.
    pub reason: String,
    /// It does not pass by itself.
    pub lasts: bool,
}

impl Obstacle {
    /// One that passes by itself.
    pub fn passing(reason: impl Into<String>) -> Obstacle {
        Obstacle { reason: reason.into(), lasts: false }
    }

    /// One that lasts until something changes elsewhere.
    pub fn lasting(reason: impl Into<String>) -> Obstacle {
        Obstacle { reason: reason.into(), lasts: true }
    }

    /// That of a consumer that has not joined, or has ended.
    pub fn no_member() -> Obstacle {
        Obstacle::passing("The consumer is no member of its group.")
    }
}

impl Default for Standing {
    fn default() -> Standing {
        Standing(Arc::new(Mutex::new(Some(Obstacle::no_member()))))
    }
}

impl Standing {
    /// Why it handles no message now, as a sentence; `None` if it does.
    pub fn obstacle(&self) -> Option<String> {
        lock(&self.0).as_ref().map(|obstacle| obstacle.reason.clone())
    }

    /// The obstacle, if it does not pass by itself.
    pub fn lasting_obstacle(&self) -> Option<String> {
        lock(&self.0).as_ref().filter(|obstacle| obstacle.lasts).map(|obstacle| obstacle.reason.clone())
    }

    /// Sets why it handles no message now.
    pub fn set(&self, obstacle: Option<Obstacle>) {
        *lock(&self.0) = obstacle;
    }

    /// It has ended, perhaps with an error.
    pub fn end(&self, error: Option<&Error>) {
        self.set(Some(match error {
            Some(error) => Obstacle::lasting(format!("The consumer has ended: {error}.")),
            None => Obstacle::no_member(),
        }));
    }
}
