//! In the place of TLS where it is not built in: nobody can have any of this.

use std::convert::Infallible;
use std::io::{self, IoSlice};
use std::path::Path;

use mio::net::TcpStream;

use super::transport::Got;
use crate::error::{Error, Result};

/// There is none.
pub(crate) struct Acceptor(Infallible);

impl Acceptor {
    /// Says so.
    ///
    /// # Errors
    /// Always.
    pub(crate) fn load(_: &Path, _: &Path) -> Result<Acceptor> {
        let what = "producer_api.tls_certificate: this program was built without the feature tls: cargo build \
                    --features tls";
        Err(Error::new(what).about_settings())
    }

    pub(super) fn session(&self) -> io::Result<Session> {
        match self.0 {}
    }
}

/// There is none.
pub(super) struct Session(Infallible);

impl Session {
    pub(super) fn is_handshaking(&self) -> bool {
        match self.0 {}
    }

    pub(super) fn read_decrypted(&mut self, _: &mut [u8]) -> Option<Got> {
        match self.0 {}
    }

    pub(super) fn read_socket(&mut self, _: &mut TcpStream) -> Got {
        match self.0 {}
    }

    pub(super) fn write(&mut self, _: &mut TcpStream, _: &[IoSlice<'_>]) -> io::Result<usize> {
        match self.0 {}
    }

    pub(super) fn write_socket(&mut self, _: &mut TcpStream) -> io::Result<bool> {
        match self.0 {}
    }

    pub(super) fn end(&mut self) {
        match self.0 {}
    }
}
