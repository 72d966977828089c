//! The TLS of a server's connection, over a socket that never blocks.

use std::fmt;
use std::io::{self, IoSlice, Read, Write};

use rustls::ServerConnection;
use rustls::pki_types::CertificateDer;

use crate::certificate_name;
use crate::receive_error::ReceiveError;

/// The TLS of a connection. Its buffers are bounded by rustls: 64 KiB of a handshake message, 16 KiB of
/// decrypted bytes and a record more, 64 KiB to be written.
pub struct Session(ServerConnection);

impl Session {
    pub(crate) fn new(connection: ServerConnection) -> Session {
        Session(connection)
    }

    /// Whether the handshake is under way.
    pub fn is_handshaking(&self) -> bool {
        self.0.is_handshaking()
    }

    /// The certificate that the client has shown and proved to be its own, in DER: one of the authorities
    /// that the settings name has issued it.
    pub fn client_certificate(&self) -> Option<&[u8]> {
        let chain = self.0.peer_certificates().filter(|_| !self.0.is_handshaking())?;
        chain.first().map(AsRef::as_ref)
    }

    /// The one name that the client's certificate gives it: the common name of its subject, or its DNS name
    /// where the subject has none. A certificate with several gives no name.
    pub fn client_name(&self) -> Option<String> {
        certificate_name::name(&CertificateDer::from(self.client_certificate()?))
    }

    /// Takes bytes that are decrypted already; 0 is the end. `None`: there are none, so bytes have to be
    /// received.
    pub fn read_decrypted(&mut self, into: &mut [u8]) -> Option<usize> {
        match self.0.reader().read(into) {
            Ok(count) => Some(count),
            // An end without close_notify. A request that it cuts off is incomplete for HTTP, too.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Some(0),
            Err(_) => None,
        }
    }

    /// Reads from the socket once, and processes the bytes: at most one flight of the handshake, or some 4
    /// KiB to be decrypted.
    ///
    /// # Errors
    /// The socket's, or the client's TLS is invalid.
    pub fn receive(&mut self, socket: &mut impl Read) -> Result<(), ReceiveError> {
        // After 0 bytes the reader tells whether it was a clean end.
        self.0.read_tls(socket).map_err(ReceiveError::Io)?;
        self.0.process_new_packets().map(drop).map_err(|error| ReceiveError::Invalid(error.to_string()))
    }

    /// Encrypts as much as there is room for, and writes what the socket takes.
    ///
    /// # Errors
    /// The socket's; [`io::ErrorKind::WouldBlock`]: there is no room.
    pub fn write(&mut self, socket: &mut impl Write, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        self.send(socket)?;
        let count = self.0.writer().write_vectored(parts)?;
        if count == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.send(socket)?;
        Ok(count)
    }

    /// Writes the encrypted bytes. `Ok(true)`: nothing is left; `Ok(false)`: the socket is full.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn send(&mut self, socket: &mut impl Write) -> io::Result<bool> {
        while self.0.wants_write() {
            match self.0.write_tls(socket) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Queues `close_notify`.
    pub fn queue_close_notify(&mut self) {
        self.0.send_close_notify();
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("is_handshaking", &self.is_handshaking()).finish()
    }
}
