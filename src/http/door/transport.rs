//! A client's socket, with or without TLS on it, without ever waiting.
//!
//! Sockets are registered once, edge-triggered: what an event said holds until a read or a write finds out
//! otherwise. With TLS a socket may be dry and yet bytes be there, decrypted before; so those come first.

use std::io::{self, IoSlice, Read, Write};
use std::net::Shutdown;

use mio::net::TcpStream;

use super::tls::Session;

/// What a read has brought.
#[cfg_attr(not(feature = "tls"), allow(dead_code, reason = "some of it comes of TLS alone"))]
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Got {
    /// So many bytes.
    Bytes(usize),
    /// Nothing for the client yet, but something for TLS: reading on may bring more.
    Progress,
    /// Nothing, until an event comes.
    Nothing,
    /// The next step of a TLS handshake, which needs a permit.
    Handshake,
    /// The client has ended its side.
    Ended,
    /// The connection is broken.
    Broken,
    /// It speaks something else than TLS.
    NotTls,
    /// Its TLS breaks the rules; it has been told.
    BadTls,
}

/// A client's socket.
pub(super) struct Transport {
    /// For (de)registering.
    pub(super) socket: TcpStream,
    session: Option<Box<Session>>,
    readable: bool,
    hung_up: bool,
    /// The sending side is to be closed as soon as everything has been written.
    ending: bool,
}

impl Transport {
    /// A socket just accepted; it speaks TLS if there is a `session` for it.
    pub(super) fn new(socket: TcpStream, session: Option<Session>) -> Transport {
        Transport { socket, session: session.map(Box::new), readable: false, hung_up: false, ending: false }
    }

    /// Notes what the socket is ready for.
    pub(super) fn note(&mut self, event: &mio::event::Event) {
        self.readable |= event.is_readable() || event.is_read_closed();
        self.hung_up |= event.is_read_closed();
    }

    /// Whether a TLS handshake has still to be done.
    pub(super) fn is_handshaking(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.is_handshaking())
    }

    /// Reads once. A step of a handshake is only taken with a `permit`.
    pub(super) fn read(&mut self, into: &mut [u8], permit: bool) -> Got {
        let Some(session) = &mut self.session else { return self.read_plain(into) };
        if let Some(got) = session.read_decrypted(into) {
            return got;
        }
        if !self.readable {
            return Got::Nothing;
        }
        if session.is_handshaking() && !permit {
            return Got::Handshake;
        }
        let got = session.read_socket(&mut self.socket);
        match got {
            Got::Nothing => self.readable = false,
            // What still comes is none of TLS's: it is thrown away, or was never meant for it.
            Got::NotTls | Got::BadTls => self.session = None,
            _ => {}
        }
        got
    }

    fn read_plain(&mut self, into: &mut [u8]) -> Got {
        if !self.readable {
            return Got::Nothing;
        }
        match self.socket.read(into) {
            Ok(0) => Got::Ended,
            Ok(count) => {
                // A read that was not filled has emptied the socket, but for an end that came along with it.
                self.readable = count == into.len() || self.hung_up;
                Got::Bytes(count)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.readable = false;
                Got::Nothing
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Got::Progress,
            Err(_) => Got::Broken,
        }
    }

    /// Writes what TLS still holds. `Ok(true)`: nothing is left; `Ok(false)`: the socket is full.
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

    /// Says goodbye, before the socket is closed, to a client that can still hear it.
    pub(super) fn leave(&mut self) {
        if let Some(session) = self.session.as_mut().filter(|session| !session.is_handshaking()) {
            session.end();
            let _ = session.write_socket(&mut self.socket);
        }
    }

    /// Ends the sending side once everything is written: with `close_notify` (RFC 8446 §6.1) and the socket's own end.
    ///
    /// # Errors
    /// The connection is broken.
    pub(super) fn end(&mut self) -> io::Result<()> {
        self.ending = true;
        if let Some(session) = &mut self.session {
            session.end();
        }
        self.finish().map(drop)
    }
}

/// What TLS takes is encrypted and written as far as the socket takes it; [`Transport::finish`] writes the rest.
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
