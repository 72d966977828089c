//! A client's socket, with or without TLS, which never blocks.
//!
//! Sockets are registered once, edge-triggered: the readiness that an event reports holds until a read or a
//! write finds the socket empty or full. With TLS there may be decrypted bytes though the socket is empty, so
//! those are read first.

use std::io::{self, IoSlice, Read, Write};
use std::net::Shutdown;

use mio::net::TcpStream;
use platform::sockets::A_SHORT_READ_TAKES_ALL;

use super::read_result::ReadResult;
use super::tls::TlsSession;

/// A client's socket.
pub(super) struct Transport {
    /// The socket, for (de)registering.
    pub(super) socket: TcpStream,
    session: Option<Box<TlsSession>>,
    readable: bool,
    hung_up: bool,
    /// The sending side is to be closed once all bytes are written.
    ending: bool,
}

impl Transport {
    /// An accepted socket, with TLS if there is a `session`.
    pub(super) fn new(socket: TcpStream, session: Option<TlsSession>) -> Transport {
        Transport { socket, session: session.map(Box::new), readable: false, hung_up: false, ending: false }
    }

    /// Stores the readiness that an event reports.
    pub(super) fn note(&mut self, event: &mio::event::Event) {
        self.readable |= event.is_readable() || event.is_read_closed();
        self.hung_up |= event.is_read_closed();
    }

    /// Whether the client has closed its sending side, even if there are unread bytes.
    pub(super) fn is_hung_up(&self) -> bool {
        self.hung_up
    }

    /// Whether a TLS handshake is under way.
    pub(super) fn is_handshaking(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.is_handshaking())
    }

    /// The name in the certificate that the client has proved to be its own.
    pub(super) fn client_name(&self) -> Option<String> {
        self.session.as_ref().and_then(|session| session.client_name())
    }

    /// Reads once. A step of a handshake is only taken with a `permit`.
    pub(super) fn read(&mut self, into: &mut [u8], permit: bool) -> ReadResult {
        let Some(session) = &mut self.session else { return self.read_plain(into) };
        if let Some(result) = session.read_decrypted(into) {
            return result;
        }
        if !self.readable {
            return ReadResult::WouldBlock;
        }
        if session.is_handshaking() && !permit {
            return ReadResult::NeedsPermit;
        }
        let result = session.read_socket(&mut self.socket);
        match result {
            ReadResult::WouldBlock => self.readable = false,
            // Further bytes are not for TLS: they are thrown away, or are plain HTTP.
            ReadResult::NotTls | ReadResult::BadTls => self.session = None,
            _ => {}
        }
        result
    }

    fn read_plain(&mut self, into: &mut [u8]) -> ReadResult {
        if !self.readable {
            return ReadResult::WouldBlock;
        }
        match self.socket.read(into) {
            Ok(0) => ReadResult::Eof,
            Ok(count) => {
                // A short read has emptied the socket; an end that came with it is read next.
                self.readable = count == into.len() || self.hung_up || !A_SHORT_READ_TAKES_ALL;
                ReadResult::Bytes(count)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.readable = false;
                ReadResult::WouldBlock
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => ReadResult::Progress,
            Err(_) => ReadResult::Broken,
        }
    }

    /// Writes the bytes that TLS still holds. `Ok(true)`: nothing is left; `Ok(false)`: the socket is full.
    ///
    /// # Errors
    /// The connection is broken.
    pub(super) fn finish(&mut self) -> io::Result<bool> {
        if let Some(session) = &mut self.session
            && !session.write_socket(&mut self.socket)?
        {
            return Ok(false);
        }
        if std::mem::take(&mut self.ending) {
            self.socket.shutdown(Shutdown::Write)?;
        }
        Ok(true)
    }

    /// Sends `close_notify` before the socket is closed, if a handshake is complete.
    pub(super) fn notify_close(&mut self) {
        if let Some(session) = self.session.as_mut().filter(|session| !session.is_handshaking()) {
            session.queue_close_notify();
            let _ = session.write_socket(&mut self.socket);
        }
    }

    /// Closes the sending side once all bytes are written: with `close_notify` (RFC 8446 §6.1) and a
    /// shutdown.
    ///
    /// # Errors
    /// The connection is broken.
    pub(super) fn end(&mut self) -> io::Result<()> {
        self.ending = true;
        if let Some(session) = &mut self.session {
            session.queue_close_notify();
        }
        self.finish().map(drop)
    }
}

/// With TLS, bytes are encrypted and written as far as the socket takes them; [`Transport::finish`] writes
/// the rest.
impl Write for Transport {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        match &mut self.session {
            Some(session) => session.write(&mut self.socket, parts),
            None => self.socket.write_vectored(parts),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.finish().map(drop)
    }
}
