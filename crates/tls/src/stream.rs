//! A client's TLS connection over a blocking socket.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use rustls::{ClientConnection, ContentType, HandshakeKind, ProtocolVersion};

use crate::connect_error::ConnectError;
use crate::failure::Handshake;
use crate::verifiers::ClientIdentity;

/// The most encrypted bytes that are read from the socket at once: two records of the largest size.
const INBOX: usize = 32 * 1024;

/// The most encrypted bytes that wait for the socket, but for one record.
const OUTBOX: usize = 128 * 1024;

/// The bytes of an answer that is not TLS which an error shows.
const SHOWN: usize = 24;

/// The most reads of the socket by [`Stream::is_closed`]: what a server sends unasked, as tickets for a later
/// handshake, is not more.
const MAX_UNASKED: usize = 8;

/// A TLS connection to a server. Dropped, it tells the server that it ends, if the socket takes that at once.
///
/// Reads and writes wait for the socket as long as its timeouts say. An error of [`ErrorKind::WouldBlock`] or
/// [`ErrorKind::TimedOut`] leaves the connection as it is: the call can be repeated. An error may carry a
/// [`ConnectError`]: see [`ConnectError::within`].
pub struct Stream {
    socket: TcpStream,
    session: ClientConnection,
    handshake: Handshake,
    /// Encrypted bytes that were read, ...
    inbox: Vec<u8>,
    /// ... of which so many are with the session already.
    taken: usize,
    /// The server has closed its side of the socket.
    ended: bool,
}

impl Stream {
    /// Makes the handshake of `session` over `socket`.
    pub(crate) fn connect(
        socket: TcpStream,
        mut session: ClientConnection,
        handshake: Handshake,
        deadline: Instant,
    ) -> Result<Stream, ConnectError> {
        session.set_buffer_limit(Some(OUTBOX));
        // The messages of a handshake are short, and each waits for the one before.
        socket.set_nodelay(true)?;
        let timeouts = (socket.read_timeout()?, socket.write_timeout()?);
        let mut stream = Stream { socket, session, handshake, inbox: Vec::new(), taken: 0, ended: false };
        ClientIdentity::take_asked();
        let done = stream.shake_hands(deadline);
        stream.handshake.asked = ClientIdentity::take_asked();
        match done {
            Ok(()) => {}
            Err(Failure::Tls(error)) => {
                stream.push_at_once(); // the alert
                return Err(stream.handshake.failure(error));
            }
            Err(Failure::Connect(error)) => return Err(error),
        }
        stream.socket.set_read_timeout(timeouts.0)?;
        stream.socket.set_write_timeout(timeouts.1)?;
        Ok(stream)
    }

    fn shake_hands(&mut self, deadline: Instant) -> Result<(), Failure> {
        let mut received = Vec::new();
        while self.session.is_handshaking() || self.session.wants_write() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(ConnectError::TimedOut.into());
            }
            if self.session.wants_write() {
                self.socket.set_write_timeout(Some(left))?;
                match self.push() {
                    Err(error) if is_wait(&error) => {}
                    Err(error) => return Err(self.broken(&received, error)),
                    Ok(()) => {}
                }
                continue;
            }
            self.socket.set_read_timeout(Some(left))?;
            match self.fill() {
                Err(error) if is_wait(&error) => {}
                Err(error) => return Err(self.broken(&received, error)),
                Ok(0) if received.is_empty() => return Err(ConnectError::Unanswered.into()),
                Ok(0) => return Err(ConnectError::Cut.into()),
                Ok(_) => {
                    let room = SHOWN - received.len();
                    received.extend(self.inbox.iter().take(room));
                    if !begins_as_tls(&received) {
                        return Err(ConnectError::NotTls { received }.into());
                    }
                    self.take_all()?;
                }
            }
        }
        Ok(())
    }

    /// The failure of a handshake whose socket gave `error` after these bytes of the server.
    fn broken(&mut self, received: &[u8], error: io::Error) -> Failure {
        match error.kind() {
            // A listener without TLS takes the handshake for a bad request, and leaves part of it unread.
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe if received.is_empty() => {
                ConnectError::Unanswered.into()
            }
            _ => error.into(),
        }
    }

    /// The socket below.
    pub fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// The version that was agreed on, as `TLS 1.3`.
    pub fn version(&self) -> &'static str {
        match self.session.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => "TLS 1.3",
            _ => "TLS 1.2",
        }
    }

    /// Whether the handshake was shortened with what is known from an earlier connection.
    pub fn is_resumed(&self) -> bool {
        self.session.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// Whether the server has closed the connection, or it cannot be used for another reason; asked where no
    /// bytes are expected, so bytes that came count as well. Does not wait. Bytes stay to be read.
    pub fn is_closed(&mut self) -> bool {
        if self.socket.set_nonblocking(true).is_err() {
            return true;
        }
        let closed = self.looks_closed();
        self.socket.set_nonblocking(false).is_err() || closed
    }

    fn looks_closed(&mut self) -> bool {
        for _ in 0..MAX_UNASKED {
            match self.take_all() {
                Err(_) => return true,
                Ok(()) if self.ended || self.has_bytes_or_end() => return true,
                Ok(()) => {}
            }
            match self.fill() {
                Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                Err(_) => return true,
                Ok(_) => {}
            }
        }
        true
    }

    /// Whether there are decrypted bytes, or the server's close_notify.
    fn has_bytes_or_end(&mut self) -> bool {
        match self.session.process_new_packets() {
            Ok(state) => state.plaintext_bytes_to_read() > 0 || state.peer_has_closed(),
            Err(_) => true,
        }
    }

    /// Reads from the socket once. The number of bytes; 0 is the end.
    fn fill(&mut self) -> io::Result<usize> {
        self.inbox.resize(INBOX, 0);
        self.taken = 0;
        let read = loop {
            match self.socket.read(&mut self.inbox) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        self.inbox.truncate(*read.as_ref().unwrap_or(&0));
        self.ended |= matches!(read, Ok(0));
        read
    }

    /// Gives the session a part of the bytes that were read: some 4 KiB. `Ok(false)`: there are none, or it
    /// has to be read from first.
    fn take_part(&mut self) -> Result<bool, rustls::Error> {
        let mut rest = self.inbox.get(self.taken..).unwrap_or_default();
        if rest.is_empty() {
            return Ok(false);
        }
        let before = rest.len();
        // Reading from a slice does not fail; the session takes nothing while its own buffers are full.
        let _full = self.session.read_tls(&mut rest);
        self.taken += before - rest.len();
        self.session.process_new_packets()?;
        Ok(before > rest.len())
    }

    /// Gives the session the bytes that were read, until it has to be read from.
    fn take_all(&mut self) -> Result<(), rustls::Error> {
        while self.take_part()? {}
        Ok(())
    }

    /// Writes encrypted bytes until none is left.
    fn push(&mut self) -> io::Result<()> {
        while self.session.wants_write() {
            match self.session.write_tls(&mut self.socket) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Writes encrypted bytes as far as the socket takes them without waiting, before it is given up.
    fn push_at_once(&mut self) {
        if self.socket.set_nonblocking(true).is_ok() {
            let _lost = self.push();
            let _lost = self.socket.set_nonblocking(false);
        }
    }

    /// The error for the reader of this connection.
    fn read_error(&mut self, error: rustls::Error) -> io::Error {
        self.push_at_once(); // the alert
        io::Error::new(ErrorKind::InvalidData, self.handshake.failure(error))
    }

    /// The error of a write that failed: the server's alert, if one came before it closed the connection.
    fn write_error(&mut self, error: io::Error) -> io::Error {
        if self.socket.set_nonblocking(true).is_err() {
            return error;
        }
        let mut reads = 0;
        let alert = loop {
            reads += 1;
            match self.take_all() {
                Err(error) => break Some(error),
                Ok(()) if reads > MAX_UNASKED => break None,
                Ok(()) => {}
            }
            if !matches!(self.fill(), Ok(1..)) {
                break None;
            }
        };
        let _lost = self.socket.set_nonblocking(false);
        match alert {
            Some(alert) => io::Error::new(error.kind(), self.handshake.failure(alert)),
            None => error,
        }
    }
}

impl Read for Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.session.reader().read(into) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                done => return done,
            }
            match self.take_part() {
                Ok(true) => {}
                // An end without close_notify is one as well: what is read has an end of its own.
                Ok(false) if self.ended => return Ok(0),
                Ok(false) => {
                    self.fill()?;
                }
                Err(error) => return Err(self.read_error(error)),
            }
            if self.session.wants_write() {
                // An answer of the session's own, as to a new key; the next write takes along what is left.
                match self.push() {
                    Err(error) if !is_wait(&error) => return Err(self.write_error(error)),
                    _ => {}
                }
            }
        }
    }
}

/// A byte counts as written when it is encrypted; [`Stream::flush`] then writes all to the socket.
impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.session.writer().write(bytes)?;
        match self.push() {
            Ok(()) if count > 0 || bytes.is_empty() => Ok(count),
            // There was no room before the push, and is now.
            Ok(()) => self.session.writer().write(bytes),
            Err(error) if is_wait(&error) && count > 0 => Ok(count),
            Err(error) if is_wait(&error) => match self.session.writer().write(bytes)? {
                0 => Err(error),
                count => Ok(count),
            },
            Err(error) => Err(self.write_error(error)),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.push() {
            Err(error) if !is_wait(&error) => Err(self.write_error(error)),
            done => done,
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if !self.session.is_handshaking() {
            self.session.send_close_notify();
            self.push_at_once();
        }
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("socket", &self.socket).field("version", &self.version()).finish()
    }
}

/// Why a handshake failed.
enum Failure {
    Tls(rustls::Error),
    Connect(ConnectError),
}

impl From<rustls::Error> for Failure {
    fn from(error: rustls::Error) -> Failure {
        Failure::Tls(error)
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Failure {
        Failure::Connect(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Connect(error.into())
    }
}

/// Whether these first bytes may be a server's answer to a handshake: a handshake message or an alert, in a
/// record of version 3.
fn begins_as_tls(bytes: &[u8]) -> bool {
    let handshake = ContentType::Handshake.into();
    let alert: u8 = ContentType::Alert.into();
    let is_type = |kind: u8| kind == handshake || kind == alert;
    bytes.first().is_none_or(|&kind| is_type(kind)) && bytes.get(1).is_none_or(|&version| version == 3)
}

/// Whether a call can be repeated: the socket's timeout passed.
fn is_wait(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}
