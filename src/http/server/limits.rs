//! The limits of the server: sizes, numbers and times.

use std::time::Duration;

/// The largest head of a request: request line and headers with their line ends, in bytes. Over it: 431.
pub(super) const MAX_HEAD_BYTES: usize = 16 * 1024;

/// The largest number of headers in a request. Over it: 431.
pub(super) const MAX_HEADERS: usize = 64;

/// The longest request target (path and query), in bytes. Over it: 414.
pub(super) const MAX_TARGET_BYTES: usize = 8 * 1024;

/// The longest method, in bytes.
pub(super) const MAX_METHOD_BYTES: usize = 32;

/// The most bytes that one read takes from a socket.
pub(super) const READ_BYTES: usize = 64 * 1024;

/// The most reads of one connection before the next connection is served.
pub(super) const READS_IN_A_ROW: usize = 4;

/// The most connections that are accepted before open ones are served.
pub(super) const ACCEPTS_IN_A_ROW: usize = 128;

/// The most steps of TLS handshakes before other connections are served.
pub(super) const HANDSHAKES_IN_A_ROW: usize = 8;

/// The backlog of the listening socket.
pub(super) const BACKLOG: i32 = 4096;

/// The bytes that a connection may hold in memory without being counted; further bytes are taken out of one
/// budget for all connections.
pub(super) const UNCOUNTED_BYTES: usize = 32 * 1024;

/// The budget of all connections together for bodies, in bytes (or four of the largest bodies, if that is
/// more). A body that does not fit in is answered 503.
pub(super) const BODY_BUDGET_BYTES: usize = 64 * 1024 * 1024;

/// The interval at which deadlines are checked, and so the most by which one is late.
pub(super) const SWEEP_EVERY: Duration = Duration::from_millis(200);

/// The time in which the rest of a refused request is read and thrown away, so that the response reaches a
/// client that is still sending (RFC 9112 §9.6).
pub(super) const DRAIN_FOR: Duration = Duration::from_secs(2);

/// The most bytes of a refused request that are thrown away.
pub(super) const DRAIN_BYTES: usize = 16 * 1024 * 1024;

/// The pause in accepting when there are no descriptors left.
pub(super) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long connections wait for a descriptor before they are accepted as guests.
pub(super) const GUESTS_AFTER: Duration = Duration::from_secs(1);

/// The most guests at a time: descriptors that are kept for them.
pub(super) const GUESTS: usize = 4;

/// The time that a guest has from its connection to its answer.
pub(super) const GUEST_TIME: Duration = Duration::from_millis(500);

/// How long a guest that has sent nothing keeps its descriptor from others that wait, and the pause in
/// accepting while there are guests.
pub(super) const GUEST_SILENCE: Duration = Duration::from_millis(50);

/// The time that the server waits for a response after the deadline of the request's message.
pub const ANSWER_GRACE: Duration = Duration::from_secs(1);

/// The most bytes of a stream that may wait to be written; a client that reads more slowly is dropped.
pub(super) const STREAM_OUT_BYTES: usize = 512 * 1024;

/// The interval of the heartbeats in a stream. All earlier bytes must be written by the next one.
pub(super) const HEARTBEAT_EVERY: Duration = Duration::from_secs(15);

/// The shortest interval between two summaries of problems in the log.
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
    /// The time without a request after which a connection is closed.
    pub(crate) idle_timeout: Duration,
    /// The time in which a message must be delivered; the server gives up [`ANSWER_GRACE`] later.
    pub(crate) answer_timeout: Duration,
}

impl Limits {
    /// The budget for bodies of all connections together, in bytes.
    pub(super) fn body_budget(&self) -> usize {
        BODY_BUDGET_BYTES.max(self.max_body_bytes.saturating_mul(4))
    }
}
