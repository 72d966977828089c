//! A client that speaks HTTP over TLS, and others that do not get that far.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion};

use crate::door::{Answer, PATIENCE};

/// What the tests' servers show.
const CERTIFICATE: &[u8] = include_bytes!("cert.pem");

/// A client that trusts the tests' certificate.
pub struct Client {
    stream: StreamOwned<ClientConnection, TcpStream>,
    input: Vec<u8>,
}

impl Client {
    /// A connection whose handshake has not begun.
    pub fn begin(address: SocketAddr, version: &'static SupportedProtocolVersion) -> Client {
        Client { stream: StreamOwned::new(connection(version), plain(address)), input: Vec::new() }
    }

    /// A connection whose handshake is done, as far as the client is concerned.
    pub fn connect(address: SocketAddr, version: &'static SupportedProtocolVersion) -> Client {
        let mut client = Client::begin(address, version);
        client.stream.flush().expect("a handshake");
        assert_eq!(client.stream.conn.protocol_version(), Some(version.version));
        client
    }

    /// Sends the first message of the handshake.
    pub fn say_hello(&mut self) {
        self.stream.conn.write_tls(&mut self.stream.sock).expect("room for a hello");
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the server reads");
    }

    /// Sends bytes past TLS.
    pub fn write_raw(&mut self, bytes: &[u8]) {
        self.stream.sock.write_all(bytes).expect("the server reads");
    }

    /// Says that nothing more comes.
    pub fn end(&mut self) {
        self.stream.conn.send_close_notify();
        self.stream.flush().expect("the server reads");
        self.stream.sock.shutdown(Shutdown::Write).expect("a connection");
    }

    /// Leaves without a word to TLS.
    pub fn cut(self) {
        self.stream.sock.shutdown(Shutdown::Both).expect("a connection");
    }

    /// Sends a request and returns its answer.
    pub fn ask(&mut self, request: &str) -> Answer {
        self.send(request.as_bytes());
        self.answer()
    }

    /// The next answer.
    pub fn answer(&mut self) -> Answer {
        let end = loop {
            if let Some(end) = self.input.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break end + 4;
            }
            self.read();
        };
        let head = String::from_utf8(self.input.drain(..end).collect()).expect("ASCII");
        let status = head.split(' ').nth(1).and_then(|word| word.parse().ok()).expect("a status");
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
        let length = length.map_or(0, |length| length.parse().expect("a length"));
        while self.input.len() < length {
            self.read();
        }
        let body = String::from_utf8(self.input.drain(..length).collect()).expect("UTF-8");
        Answer { status, head, body }
    }

    /// Reads until the input holds `text`, and takes it out up to there.
    pub fn read_until(&mut self, text: &str) {
        loop {
            let place = self.input.windows(text.len()).position(|bytes| bytes == text.as_bytes());
            if let Some(place) = place {
                self.input.drain(..place + text.len());
                return;
            }
            self.read();
        }
    }

    fn read(&mut self) {
        let mut buffer = [0; 16 * 1024];
        let count = self.stream.read(&mut buffer).expect("an answer");
        assert!(count > 0, "closed before the end of an answer: {:?}", String::from_utf8_lossy(&self.input));
        self.input.extend_from_slice(&buffer[..count]);
    }

    /// Waits for the end, and tells whether TLS was told of it (`close_notify`) and nothing came before.
    pub fn ends_cleanly(&mut self) -> bool {
        self.input.is_empty() && matches!(self.stream.read(&mut [0]), Ok(0))
    }
}

fn connection(version: &'static SupportedProtocolVersion) -> ClientConnection {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(CERTIFICATE).expect("a certificate")).expect("a root");
    let config = ClientConfig::builder_with_provider(Arc::new(rustls_graviola::default_provider()))
        .with_protocol_versions(&[version])
        .expect("a version")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").expect("a name");
    ClientConnection::new(Arc::new(config), name).expect("a client")
}

/// The first message of a handshake.
pub fn client_hello() -> Vec<u8> {
    let mut hello = Vec::new();
    connection(&rustls::version::TLS13).write_tls(&mut hello).expect("a hello");
    hello
}

/// A connection without TLS.
pub fn plain(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
    stream.set_nodelay(true).expect("no delay");
    stream
}

/// Reads whatever comes until the server closes the connection; `false`: it does not.
pub fn is_closed(mut stream: TcpStream) -> bool {
    match io::copy(&mut stream, &mut io::sink()) {
        Ok(_) => true,
        Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
    }
}
