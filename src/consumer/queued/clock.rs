//! The time that the work queue counts in.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970 that never go back, whatever happens to the system's time.
#[derive(Debug)]
pub struct Clock {
    began: Instant,
    at: u64,
}

impl Clock {
    /// A clock that begins at the system's time.
    pub fn new() -> Clock {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Clock { began: Instant::now(), at: millis(since) }
    }

    /// The time.
    pub fn now(&self) -> u64 {
        self.at.saturating_add(millis(self.began.elapsed()))
    }
}

/// Whole milliseconds.
pub fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
