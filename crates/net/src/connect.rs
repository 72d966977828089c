//! A connection to `host:port`, by whichever of its addresses answers first.

use std::fmt;
use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Instant;

/// Why there is no connection.
#[derive(Debug)]
pub enum ConnectError {
    /// The host name cannot be looked up, or the last address that was tried does not answer.
    Io(io::Error),
    /// The host name has no address.
    NoAddress,
    /// The deadline passed before an address could be tried.
    NoTimeLeft,
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConnectError::Io(error) => write!(f, "{error}"),
            ConnectError::NoAddress => f.write_str("the host name has no address"),
            ConnectError::NoTimeLeft => f.write_str("no time was left for the call"),
        }
    }
}

impl std::error::Error for ConnectError {}

/// Connects to `address` (`host:port`), each of its addresses in turn, until `deadline`.
///
/// # Errors
/// As [`ConnectError`] lists them; of several addresses that of the last one tried.
pub fn connect(address: &str, deadline: Instant) -> Result<TcpStream, ConnectError> {
    let mut last = None;
    for candidate in address.to_socket_addrs().map_err(ConnectError::Io)? {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(last.unwrap_or(ConnectError::NoTimeLeft));
        }
        match TcpStream::connect_timeout(&candidate, left) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = Some(ConnectError::Io(error)),
        }
    }
    Err(last.unwrap_or(ConnectError::NoAddress))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_connection_is_made_in_time_or_the_error_says_why_not() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let soon = Instant::now() + Duration::from_secs(30);
        assert!(connect(&address, soon).is_ok());
        assert!(matches!(connect(&address, Instant::now()), Err(ConnectError::NoTimeLeft)));
        drop(listener);
        assert!(matches!(connect(&address, soon), Err(ConnectError::Io(_))));
    }
}
