//! How readiness of sockets is told.

/// Whether a read that gives less than it could has taken all that is there, so that the next event tells of more. On
/// Windows no event comes before a read has found nothing: `mio` asks the system for the next one only then.
pub const A_SHORT_READ_TAKES_ALL: bool = false;
