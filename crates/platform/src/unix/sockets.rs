//! How readiness and the end of sockets are told.

use std::time::Duration;

/// Whether a read that gives less than it could has taken all that is there, so that the next event tells of
/// more. On Windows no event comes before a read has found nothing.
pub const A_SHORT_READ_TAKES_ALL: bool = true;

/// The longest wait of one read that ends when the socket is shut down for reading: on Windows it goes on.
pub const LONGEST_READ: Option<Duration> = None;
