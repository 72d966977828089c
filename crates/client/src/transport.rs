//! The socket to a broker, in plain or with TLS: bytes in, bytes out, and whether the broker has closed it.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, TcpStream};
use std::time::Instant;

use net::frame::READ_SLICE;
use net::own_connections::OwnConnection;

use super::error::Cause;
use super::security::Security;

/// A connected socket. A read and a write give up with `WouldBlock` or `TimedOut` after [`READ_SLICE`], and
/// can be made again. With TLS the bytes written may be held back until a flush.
#[derive(Debug)]
pub(crate) struct Transport {
    _own: OwnConnection,
    stream: Stream,
}

#[derive(Debug)]
enum Stream {
    Plain(TcpStream),
    Tls(Box<tls::Stream>),
}

impl Transport {
    /// Takes a socket that is connected to the broker at `address` (`host:port`), and makes the TLS handshake
    /// if the connection is to be secured so.
    ///
    /// # Errors
    /// The socket takes no options; TLS cannot be had, or not before `deadline`.
    pub(crate) fn secure(
        socket: TcpStream,
        address: &str,
        security: &Security,
        deadline: Instant,
    ) -> Result<Transport, Cause> {
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(READ_SLICE))?;
        socket.set_write_timeout(Some(READ_SLICE))?;
        let own = OwnConnection::note(&socket);
        let stream = match &security.tls {
            None => Stream::Plain(socket),
            Some(connector) => {
                let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
                Stream::Tls(Box::new(connector.connect(socket, host, deadline)?))
            }
        };
        Ok(Transport { _own: own, stream })
    }

    /// Whether what is sent can be read on its way: it is not encrypted, and leaves this host.
    pub(crate) fn is_readable_by_others(&self) -> bool {
        match &self.stream {
            Stream::Plain(socket) => !socket.peer_addr().is_ok_and(|peer| !leaves_this_host(peer.ip())),
            Stream::Tls(_) => false,
        }
    }

    /// Whether the broker has closed the connection. Does not wait.
    pub(crate) fn is_closed(&mut self) -> bool {
        match &mut self.stream {
            Stream::Plain(socket) => is_closed(socket),
            Stream::Tls(stream) => stream.is_closed(),
        }
    }
}

fn leaves_this_host(peer: IpAddr) -> bool {
    !peer.to_canonical().is_loopback()
}

fn is_closed(socket: &TcpStream) -> bool {
    if socket.set_nonblocking(true).is_err() {
        return true;
    }
    let seen = socket.peek(&mut [0]);
    let blocking = socket.set_nonblocking(false);
    blocking.is_err() || !matches!(seen, Err(e) if e.kind() == ErrorKind::WouldBlock)
}

impl Read for Transport {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match &mut self.stream {
            Stream::Plain(socket) => socket.read(into),
            Stream::Tls(stream) => stream.read(into),
        }
    }
}

impl Write for Transport {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.stream {
            Stream::Plain(socket) => socket.write(bytes),
            Stream::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.stream {
            Stream::Plain(socket) => socket.flush(),
            Stream::Tls(stream) => stream.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_addresses_stay_on_this_host() {
        for stays in ["127.0.0.1", "127.0.0.2", "::1", "::ffff:127.0.0.1"] {
            assert!(!leaves_this_host(stays.parse().unwrap()), "{stays}");
        }
        for leaves in ["10.0.0.1", "::ffff:10.0.0.1", "fe80::1", "2001:db8::1", "128.0.0.1"] {
            assert!(leaves_this_host(leaves.parse().unwrap()), "{leaves}");
        }
    }
}
