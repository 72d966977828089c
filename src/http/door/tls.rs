//! TLS 1.2 and 1.3 for the clients' connections, by `rustls` with the cryptography of `graviola`.

use std::fs::File;
use std::io::{self, IoSlice, Read, Write};
use std::path::Path;
use std::sync::Arc;

use mio::net::TcpStream;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection};

use super::transport::Got;
use crate::error::{Error, Result};
use crate::http::private_file;

/// The largest file of certificates, in bytes.
const MAX_CERTIFICATES: u64 = 1024 * 1024;

/// The type of a TLS record that can begin a connection: a handshake message (RFC 8446 §5.1).
const HANDSHAKE: u8 = 22;

/// What every connection's TLS begins with: certificate, key and what is offered.
#[derive(Clone)]
pub(crate) struct Acceptor(Arc<ServerConfig>);

impl Acceptor {
    /// Reads certificates and key.
    ///
    /// # Errors
    /// A file cannot be read or used, others than its owner may read the key, the two do not belong together, or this
    /// processor lacks instructions that the cryptography needs.
    pub(crate) fn load(certificates: &Path, key: &Path) -> Result<Acceptor> {
        const CERTIFICATES: &str = "producer_api.tls_certificate";
        const KEY: &str = "producer_api.tls_key";
        let refused = |what: String| Error::new(what).about_settings();
        if !processor_is_able() {
            return Err(refused(format!(
                "{CERTIFICATES}: TLS needs a processor with AES, AVX2, BMI1, ADX and PCLMULQDQ, or one of ARM with AES, \
                 PMULL and SHA2"
            )));
        }
        let (chain_file, key_file) = (certificates.display(), key.display());
        let unusable =
            |error: &dyn std::fmt::Display| refused(format!("{CERTIFICATES}: {chain_file}: {error}"));
        let chain = read_certificates(certificates).map_err(|error| unusable(&error))?;
        if chain.is_empty() {
            return Err(unusable(&"there is no certificate in it (PEM, BEGIN CERTIFICATE)"));
        }
        // The error of a key that cannot be read might quote it.
        let key = PrivateKeyDer::from_pem_slice(&private_file::read(key, KEY)?).map_err(|_| {
            refused(format!("{KEY}: {key_file}: there is no private key in it (PEM, without a password)"))
        })?;
        let provider = Arc::new(rustls_graviola::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::new("TLS cannot be set up").caused_by(error))?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(|error| {
                refused(format!("{CERTIFICATES}: {chain_file} with {KEY} {key_file}: {error}"))
            })?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Acceptor(Arc::new(config)))
    }

    /// TLS for a connection just accepted.
    ///
    /// # Errors
    /// The settings do not allow it.
    pub(super) fn session(&self) -> io::Result<Session> {
        let connection = ServerConnection::new(Arc::clone(&self.0)).map_err(io::Error::other)?;
        Ok(Session { connection, begun: false })
    }
}

/// The certificates in a file.
fn read_certificates(path: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_CERTIFICATES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_CERTIFICATES {
        return Err(io::Error::other(format!("it has more than {MAX_CERTIFICATES} bytes")));
    }
    CertificateDer::pem_slice_iter(&bytes).collect::<Result<_, _>>().map_err(io::Error::other)
}

/// Whether the processor has what graviola needs, which would panic without.
#[cfg(target_arch = "x86_64")]
fn processor_is_able() -> bool {
    use std::arch::is_x86_feature_detected as has;
    has!("aes") && has!("pclmulqdq") && has!("bmi1") && has!("adx") && has!("avx") && has!("avx2")
}

/// As on x86-64.
#[cfg(target_arch = "aarch64")]
fn processor_is_able() -> bool {
    use std::arch::is_aarch64_feature_detected as has;
    has!("neon") && has!("aes") && has!("pmull") && has!("sha2")
}

/// One connection's TLS. Its buffers are bounded by rustls: 64 KiB of a handshake message, 16 KiB of decrypted bytes and
/// a record more, 64 KiB to be written.
pub(super) struct Session {
    connection: ServerConnection,
    /// A first byte has come.
    begun: bool,
}

impl Session {
    /// Whether the handshake is not done.
    pub(super) fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// Takes bytes that are decrypted already; `None`: there are none, and what is next has to come from the socket.
    pub(super) fn read_decrypted(&mut self, into: &mut [u8]) -> Option<Got> {
        match self.connection.reader().read(into) {
            Ok(0) => Some(Got::Ended),
            Ok(count) => Some(Got::Bytes(count)),
            // Without close_notify. What is cut off by it is not whole for HTTP, either.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Some(Got::Ended),
            Err(_) => None,
        }
    }

    /// Reads from the socket once, and does what the bytes ask for: at most one flight of the handshake, or some 4 KiB
    /// to be decrypted.
    pub(super) fn read_socket(&mut self, socket: &mut TcpStream) -> Got {
        if !self.begun {
            let mut first = [0];
            match socket.peek(&mut first) {
                Ok(0) => return Got::Ended,
                Ok(_) if first != [HANDSHAKE] => return Got::NotTls,
                Ok(_) => self.begun = true,
                Err(error) => return of(&error),
            }
        }
        match self.connection.read_tls(socket) {
            // With 0 the reader tells whether it was a clean end.
            Ok(_) => match self.connection.process_new_packets() {
                Ok(_) => Got::Progress,
                Err(error) => {
                    log::debug!("a client's TLS breaks the rules: {error}");
                    // The alert that says why.
                    let _ = self.write_socket(socket);
                    Got::BadTls
                }
            },
            Err(error) => of(&error),
        }
    }

    /// Encrypts as much as there is room for, and writes what the socket takes.
    pub(super) fn write(&mut self, socket: &mut TcpStream, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        self.write_socket(socket)?;
        let count = self.connection.writer().write_vectored(parts)?;
        if count == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.write_socket(socket)?;
        Ok(count)
    }

    /// Writes what is encrypted. `Ok(true)`: nothing is left; `Ok(false)`: the socket is full.
    ///
    /// # Errors
    /// The connection is broken.
    pub(super) fn write_socket(&mut self, socket: &mut TcpStream) -> io::Result<bool> {
        while self.connection.wants_write() {
            match self.connection.write_tls(socket) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Puts in the word that nothing more comes.
    pub(super) fn end(&mut self) {
        self.connection.send_close_notify();
    }
}

/// What an error of the socket means.
fn of(error: &io::Error) -> Got {
    match error.kind() {
        io::ErrorKind::WouldBlock => Got::Nothing,
        io::ErrorKind::Interrupted => Got::Progress,
        _ => Got::Broken,
    }
}
