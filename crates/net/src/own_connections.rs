//! The connections that this process has made itself, so that a server in it knows its own process's clients:
//! when the process dies, they die with it.

use crate::sync::Mutex;
use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::net::{SocketAddr, TcpStream};
use std::sync::LazyLock;

use super::sync::lock;

static OURS: LazyLock<Mutex<HashSet<SocketAddr>>> = LazyLock::new(Mutex::default);
static PROCESS: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one(std::process::id()));

/// A random number that stands for this process.
pub fn process() -> u64 {
    *PROCESS
}

/// Whether `peer` is our end of a connection that this process has made.
pub fn is_ours(peer: &SocketAddr) -> bool {
    lock(&OURS).contains(peer)
}

/// A connection of ours, for as long as this lives.
#[derive(Debug)]
pub struct OwnConnection(Option<SocketAddr>);

impl OwnConnection {
    /// Notes a connection that this process has made. To be dropped before `stream`, whose port may then be
    /// another process's.
    pub fn note(stream: &TcpStream) -> OwnConnection {
        let address = stream.local_addr().ok();
        lock(&OURS).extend(address);
        OwnConnection(address)
    }
}

impl Drop for OwnConnection {
    fn drop(&mut self) {
        if let Some(address) = self.0 {
            lock(&OURS).remove(&address);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_connection_is_ours_while_it_is_noted() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (_, peer) = listener.accept().unwrap();
        assert!(!is_ours(&peer));
        let own = OwnConnection::note(&stream);
        assert!(is_ours(&peer));
        drop(own);
        assert!(!is_ours(&peer));
    }
}
