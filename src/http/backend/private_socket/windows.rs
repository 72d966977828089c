//! A port of loopback. Others on this machine can connect to it, and are refused for want of the secret; but
//! they speak to `tiny_http` without the limits of the server.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use crate::error::{Error, Result};

/// Where the handlers listen.
pub(crate) type Socket = SocketAddr;
/// The server's end of the connection.
pub(crate) type Stream = mio::net::TcpStream;

/// The socket of the handlers.
pub(crate) struct PrivateListener(SocketAddr);

impl PrivateListener {
    /// Listens on a free port, for `tiny_http`.
    ///
    /// # Errors
    /// The system gives no socket.
    pub(crate) fn open() -> Result<(PrivateListener, TcpListener)> {
        let failed = |error: io::Error| Error::new("the HTTP handlers cannot be set up").caused_by(error);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed)?;
        Ok((PrivateListener(listener.local_addr().map_err(failed)?), listener))
    }

    /// The address of the socket.
    pub(crate) fn socket(&self) -> Socket {
        self.0
    }
}

/// Connects to the handlers. Loopback answers at once.
///
/// # Errors
/// Nobody listens, or the system's.
pub(crate) fn connect(socket: &Socket) -> io::Result<Stream> {
    let stream = std::net::TcpStream::connect(socket)?;
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    Ok(Stream::from_std(stream))
}
