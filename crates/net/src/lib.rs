//! Sockets of the Kafka protocol from either end, without knowing what the bytes mean; and tools for
//! threads.
//!
//! - [`connect`]: a connection to a host, until a deadline
//! - [`descriptors`]: file descriptors that are used up
//! - [`frame`]: frames on a blocking socket
//! - [`listener`]: a listening socket with a thread for each connection
//! - [`own_connections`]: the connections that this process has made itself
//! - [`sync`]: locks, worker threads, byte budgets; [`stop`]: the stop of a program
//! - [`secret_file`], [`secret_variables`]: secrets from files, and kept from programs of others
//! - [`service_manager`], [`pulse`]: what systemd is told of a process; whether a loop still goes round
//! - [`backoff`]: waits between tries; [`random`]: names that cannot be guessed

pub mod backoff;
pub mod connect;
pub mod descriptors;
pub mod frame;
pub mod listener;
pub mod own_connections;
pub mod pulse;
pub mod random;
pub mod secret_file;
pub mod secret_variables;
pub mod service_manager;
pub mod stop;
pub mod sync;

use std::io;
use std::net::TcpStream;

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
