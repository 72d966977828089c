//! TLS for the clients' connections: the room's settings and results over the crate `tls`.

use std::io::{self, IoSlice};
use std::time::Instant;

use mio::net::TcpStream;
use tls::{Acceptor, AcceptorSettings, ReceiveError, Session, SettingNames};

use super::read_result::ReadResult;
use crate::error::{Error, Result};
use crate::http::settings::EndpointSettings;

/// The type of a TLS record that can begin a connection: a handshake message (RFC 8446 §5.1).
const HANDSHAKE: u8 = 22;

/// Makes the TLS of all connections.
pub(crate) struct TlsAcceptor(Acceptor);

impl TlsAcceptor {
    /// The acceptor, if the settings ask for TLS.
    ///
    /// # Errors
    /// One of certificate and key is missing; a file cannot be used: [`Acceptor::new`].
    pub(crate) fn of(settings: &EndpointSettings) -> Result<Option<TlsAcceptor>> {
        let (certificate, key) = match (&settings.tls_certificate, &settings.tls_key) {
            (None, None) if settings.tls_client_ca.is_none() => return Ok(None),
            (Some(certificate), Some(key)) => (certificate.clone(), key.clone()),
            (None, None) => {
                let error = "producer_api.tls_client_ca needs producer_api.tls_certificate and \
                             producer_api.tls_key";
                return Err(Error::new(error).about_settings());
            }
            _ => {
                let error = "producer_api.tls_certificate and producer_api.tls_key must be set together";
                return Err(Error::new(error).about_settings());
            }
        };
        let acceptor = Acceptor::new(AcceptorSettings {
            certificate,
            key,
            client_ca: settings.tls_client_ca.clone(),
            protocol: b"http/1.1",
            renewal: settings.tls_renewal,
            names: SettingNames::PRODUCER_API,
        });
        let acceptor = acceptor.map_err(|error| Error::new(error.to_string()).about_settings())?;
        Ok(Some(TlsAcceptor(acceptor)))
    }

    /// The TLS session of a connection that is accepted `now`.
    ///
    /// # Errors
    /// The settings do not allow it.
    pub(super) fn session(&mut self, now: Instant) -> io::Result<TlsSession> {
        Ok(TlsSession { session: self.0.session(now)?, begun: false })
    }
}

/// The TLS of a connection.
pub(super) struct TlsSession {
    session: Session,
    /// The first byte has come.
    begun: bool,
}

impl TlsSession {
    /// Whether the handshake is under way.
    pub(super) fn is_handshaking(&self) -> bool {
        self.session.is_handshaking()
    }

    /// The name in the certificate that the client has proved to be its own.
    pub(super) fn client_name(&self) -> Option<String> {
        self.session.client_name()
    }

    /// Takes bytes that are decrypted already; `None`: there are none, so the socket has to be read.
    pub(super) fn read_decrypted(&mut self, into: &mut [u8]) -> Option<ReadResult> {
        self.session.read_decrypted(into).map(|count| match count {
            0 => ReadResult::Eof,
            count => ReadResult::Bytes(count),
        })
    }

    /// Reads from the socket once, and processes the bytes.
    pub(super) fn read_socket(&mut self, socket: &mut TcpStream) -> ReadResult {
        if !self.begun {
            let mut first = [0];
            match socket.peek(&mut first) {
                Ok(0) => return ReadResult::Eof,
                Ok(_) if first != [HANDSHAKE] => return ReadResult::NotTls,
                Ok(_) => self.begun = true,
                Err(error) => return read_error(&error),
            }
        }
        match self.session.receive(socket) {
            Ok(()) => ReadResult::Progress,
            Err(ReceiveError::Io(error)) => read_error(&error),
            Err(ReceiveError::Invalid(why)) => {
                log::debug!("a client's TLS is invalid: {why}");
                // Sends the alert with the reason.
                let _ = self.session.send(socket);
                ReadResult::BadTls
            }
        }
    }

    /// Encrypts as much as there is room for, and writes what the socket takes.
    pub(super) fn write(&mut self, socket: &mut TcpStream, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        self.session.write(socket, parts)
    }

    /// Writes the encrypted bytes. `Ok(true)`: nothing is left; `Ok(false)`: the socket is full.
    ///
    /// # Errors
    /// The connection is broken.
    pub(super) fn write_socket(&mut self, socket: &mut TcpStream) -> io::Result<bool> {
        self.session.send(socket)
    }

    /// Queues `close_notify`.
    pub(super) fn queue_close_notify(&mut self) {
        self.session.queue_close_notify();
    }
}

/// The result of a read that failed with this error.
fn read_error(error: &io::Error) -> ReadResult {
    match error.kind() {
        io::ErrorKind::WouldBlock => ReadResult::WouldBlock,
        io::ErrorKind::Interrupted => ReadResult::Progress,
        _ => ReadResult::Broken,
    }
}
