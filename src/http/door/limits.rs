//! What the front door allows: sizes, numbers and times.

use std::time::Duration;

/// The largest head of a request: request line and headers with their line ends, in bytes. Over it: 431.
pub(super) const MAX_HEAD_BYTES: usize = 16 * 1024;

/// The largest number of headers in a request. Over it: 431.
pub(super) const MAX_HEADERS: usize = 64;

/// The longest request target (path and query), in bytes. Over it: 414.
pub(super) const MAX_TARGET_BYTES: usize = 8 * 1024;

/// The longest method, in bytes.
pub(super) const MAX_METHOD_BYTES: usize = 32;

/// How many bytes one read takes from a socket at most.
pub(super) const READ_BYTES: usize = 64 * 1024;

/// How many reads one connection gets before the others have their turn.
pub(super) const READS_IN_A_ROW: usize = 4;

/// How many connections are accepted before the others have their turn.
pub(super) const ACCEPTS_IN_A_ROW: usize = 128;

/// How many steps of TLS handshakes are taken before the others have their turn.
pub(super) const HANDSHAKES_IN_A_ROW: usize = 8;

/// Connections that wait in the kernel to be accepted.
pub(super) const BACKLOG: i32 = 4096;

/// What every connection may hold in memory without being counted, in bytes; what is above comes out of one
/// budget for all of them.
pub(super) const UNCOUNTED_BYTES: usize = 32 * 1024;

/// The budget of all connections together for bodies, in bytes (or four of the largest bodies, if that is
/// more). A body that does not fit in is answered 503.
pub(super) const BODY_BUDGET_BYTES: usize = 64 * 1024 * 1024;

/// Once this many bytes wait to be written to the handlers, further requests wait with their clients.
pub(super) const UPSTREAM_OUT_BYTES: usize = 256 * 1024;

/// The largest answer of a handler, in bytes.
pub(super) const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;

/// How often deadlines are looked at, so also how late one may be noticed.
pub(super) const SWEEP_EVERY: Duration = Duration::from_millis(200);

/// How long the rest of a refused request is read and thrown away, so that the answer reaches a client which
/// is still sending (RFC 9112 §9.6).
pub(super) const DRAIN_FOR: Duration = Duration::from_secs(2);

/// How many bytes of a refused request are thrown away at most.
pub(super) const DRAIN_BYTES: usize = 16 * 1024 * 1024;

/// How long accepting rests when there are no descriptors left.
pub(super) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long a connection to the handlers may take to answer its first request, and the pause before the next
/// try.
pub(super) const PROVE_WITHIN: Duration = Duration::from_secs(2);
/// See [`PROVE_WITHIN`].
pub(super) const RECONNECT_PAUSE: Duration = Duration::from_millis(100);

/// How much longer than the channel's deadline for its message the front door waits for an answer.
pub const ANSWER_GRACE: Duration = Duration::from_secs(1);

/// How often troubles are summed up in the log at most.
pub(super) const REPORT_EVERY: Duration = Duration::from_secs(10);

/// The limits that are settings.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    /// Connections at once.
    pub(crate) max_connections: usize,
    /// The largest body in bytes, declared or streamed. Over it: 413.
    pub(crate) max_body_bytes: usize,
    /// From the first byte of a request to the end of its head. Over it: 408.
    pub(crate) head_timeout: Duration,
    /// From the end of the head to the end of the body (408), and from an answer's first byte to its last.
    pub(crate) body_timeout: Duration,
    /// How long a connection may be silent between requests before it is closed.
    pub(crate) idle_timeout: Duration,
    /// How long the channel may take with a message; the door gives up [`ANSWER_GRACE`] later.
    pub(crate) answer_timeout: Duration,
}

impl Limits {
    /// The budget for bodies of all connections together, in bytes.
    pub(super) fn body_budget(&self) -> usize {
        BODY_BUDGET_BYTES.max(self.max_body_bytes.saturating_mul(4))
    }
}
