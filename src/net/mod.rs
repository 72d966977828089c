//! Sockets of the Kafka protocol, from either end, without knowing what the bytes mean.
//!
//! - [`frame`]: frames on a blocking socket
//! - [`listener`]: a listening socket with a thread for each connection
//! - [`own`]: the connections that this process has made itself

pub mod frame;
pub mod listener;
pub mod own;

use std::io;
use std::net::TcpStream;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks `mutex`, also after a panic elsewhere: what these mutexes guard is never left half changed.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether the other end has closed its side of the connection.
pub fn gone(stream: &TcpStream) -> bool {
    if stream.set_nonblocking(true).is_err() {
        return true;
    }
    let seen = stream.peek(&mut [0]);
    let blocking = stream.set_nonblocking(false);
    blocking.is_err()
        || !matches!(&seen, Ok(1..)) && !matches!(&seen, Err(e) if e.kind() == io::ErrorKind::WouldBlock)
}
