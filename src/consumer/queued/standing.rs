//! Whether a consumer works, for whoever asks.

use std::sync::Arc;

use net::sync::{Mutex, lock};

/// Whether a consumer works now; a clone tells of the same consumer.
#[derive(Debug, Clone)]
pub struct Standing(Arc<Mutex<Option<String>>>);

impl Default for Standing {
    fn default() -> Standing {
        Standing(Arc::new(Mutex::new(Some(NO_MEMBER.to_owned()))))
    }
}

/// The obstacle of a consumer that has not joined, or has ended.
pub const NO_MEMBER: &str = "The consumer is no member of its group.";

impl Standing {
    /// Why it handles no message now, as a sentence; `None` if it does.
    pub fn obstacle(&self) -> Option<String> {
        lock(&self.0).clone()
    }

    /// The obstacle, unless it is that it has not joined yet, or has ended.
    pub fn trouble(&self) -> Option<String> {
        self.obstacle().filter(|obstacle| obstacle != NO_MEMBER)
    }

    /// Sets why it handles no message now.
    pub fn set(&self, obstacle: Option<String>) {
        *lock(&self.0) = obstacle;
    }

    /// It has ended.
    pub fn end(&self) {
        self.set(Some(NO_MEMBER.to_owned()));
    }
}
