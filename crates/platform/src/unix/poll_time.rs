//! The time of a poll.

use std::time::Duration;

use nix::poll::PollTimeout;

/// A wait of at least `time`, in whole milliseconds.
pub fn at_least(time: Duration) -> PollTimeout {
    let ms = time.as_micros().div_ceil(1_000);
    PollTimeout::from(u16::try_from(ms).unwrap_or(u16::MAX))
}
