//! Why a server's session takes no more bytes.

use std::io;

/// Why the bytes of a client could not be taken.
#[derive(Debug)]
pub enum ReceiveError {
    /// The socket's error; [`io::ErrorKind::WouldBlock`]: there are no bytes now.
    Io(io::Error),
    /// The client's TLS is invalid, or its certificate is refused; an alert is ready to be sent.
    Invalid(String),
}
