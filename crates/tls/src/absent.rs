//! The same interface in a build for a processor without the cryptography: the constructors refuse, and the
//! types have no values.

use std::convert::Infallible;
use std::io::{self, IoSlice, Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use crate::connect_error::ConnectError;
use crate::receive_error::ReceiveError;
use crate::settings::{AcceptorSettings, ConnectorSettings, SettingsError};

const ABSENT: &str = "this build has no TLS: its cryptography is there for x86-64 and aarch64 alone";

/// Has no values.
#[derive(Debug, Clone)]
pub struct Connector(Infallible);

impl Connector {
    /// Refuses the settings.
    ///
    /// # Errors
    /// Always.
    pub fn new(settings: ConnectorSettings) -> Result<Connector, SettingsError> {
        Err(SettingsError::new(settings.names.ca, ABSENT))
    }

    /// Is never called.
    ///
    /// # Errors
    /// None.
    pub fn connect(&self, _: TcpStream, _: &str, _: Instant) -> Result<Stream, ConnectError> {
        match self.0 {}
    }
}

/// Has no values.
#[derive(Debug)]
pub struct Stream(Infallible);

impl Stream {
    /// Is never called.
    pub fn socket(&self) -> &TcpStream {
        match self.0 {}
    }

    /// Is never called.
    pub fn version(&self) -> &'static str {
        match self.0 {}
    }

    /// Is never called.
    pub fn is_resumed(&self) -> bool {
        match self.0 {}
    }

    /// Is never called.
    pub fn is_closed(&mut self) -> bool {
        match self.0 {}
    }
}

impl Read for Stream {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        match self.0 {}
    }
}

impl Write for Stream {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        match self.0 {}
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.0 {}
    }
}

/// Has no values.
#[derive(Debug)]
pub struct Acceptor(Infallible);

impl Acceptor {
    /// Refuses the settings.
    ///
    /// # Errors
    /// Always.
    pub fn new(settings: AcceptorSettings) -> Result<Acceptor, SettingsError> {
        Err(SettingsError::new(settings.names.certificate, ABSENT))
    }

    /// Is never called.
    ///
    /// # Errors
    /// None.
    pub fn session(&mut self, _: Instant) -> io::Result<Session> {
        match self.0 {}
    }
}

/// Has no values.
#[derive(Debug)]
pub struct Session(Infallible);

impl Session {
    /// Is never called.
    pub fn is_handshaking(&self) -> bool {
        match self.0 {}
    }

    /// Is never called.
    pub fn client_certificate(&self) -> Option<&[u8]> {
        match self.0 {}
    }

    /// Is never called.
    pub fn client_name(&self) -> Option<String> {
        match self.0 {}
    }

    /// Is never called.
    pub fn read_decrypted(&mut self, _: &mut [u8]) -> Option<usize> {
        match self.0 {}
    }

    /// Is never called.
    ///
    /// # Errors
    /// None.
    pub fn receive(&mut self, _: &mut impl Read) -> Result<(), ReceiveError> {
        match self.0 {}
    }

    /// Is never called.
    ///
    /// # Errors
    /// None.
    pub fn write(&mut self, _: &mut impl Write, _: &[IoSlice<'_>]) -> io::Result<usize> {
        match self.0 {}
    }

    /// Is never called.
    ///
    /// # Errors
    /// None.
    pub fn send(&mut self, _: &mut impl Write) -> io::Result<bool> {
        match self.0 {}
    }

    /// Is never called.
    pub fn queue_close_notify(&mut self) {
        match self.0 {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_without_the_cryptography_refuses_the_settings() {
        let error = Connector::new(ConnectorSettings::default()).unwrap_err();
        assert!(error.to_string().starts_with("kafka.tls_ca: this build has no TLS: "), "{error}");
    }
}
