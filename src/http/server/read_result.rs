//! The result of a read from a socket, with or without TLS.

/// The result of one read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ReadResult {
    /// This many bytes were read.
    Bytes(usize),
    /// Bytes for TLS alone: the next read may bring more.
    Progress,
    /// The socket is empty: wait for an event.
    WouldBlock,
    /// The next step of the TLS handshake needs a permit.
    NeedsPermit,
    /// The client has closed its sending side.
    Eof,
    /// The connection is broken.
    Broken,
    /// The client does not speak TLS.
    NotTls,
    /// The client's TLS is invalid; it has got an alert.
    BadTls,
}
