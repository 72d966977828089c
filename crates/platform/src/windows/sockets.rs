//! How readiness and the end of sockets are told.

use std::time::Duration;

/// Whether a read that gives less than it could has taken all that is there, so that the next event tells of
/// more. On Windows no event comes before a read has found nothing: `mio` asks the system for the next one
/// only then.
pub const A_SHORT_READ_TAKES_ALL: bool = false;

/// The longest wait of one read that ends when the socket is shut down for reading: here it goes on, and only
/// the next one finds the end.
pub const LONGEST_READ: Option<Duration> = Some(Duration::from_millis(250));
