//! A client that speaks HTTP over TLS, and others that do not get that far.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion};

use crate::front_door::support::{Answer, PATIENCE};
use crate::support::http::RawClient;

/// What the tests' servers show.
const CERTIFICATE: &[u8] = include_bytes!("cert.pem");

/// A client that trusts the tests' certificate.
pub struct Client(RawClient<StreamOwned<ClientConnection, TcpStream>>);

impl Client {
    /// A connection whose handshake has not begun.
    pub fn begin(address: SocketAddr, version: &'static SupportedProtocolVersion) -> Client {
        Client(RawClient::new(StreamOwned::new(connection(version), plain(address))))
    }

    /// A connection whose handshake is done, as far as the client is concerned.
    pub fn connect(address: SocketAddr, version: &'static SupportedProtocolVersion) -> Client {
        let mut client = Client::begin(address, version);
        client.0.stream.flush().expect("a handshake");
        assert_eq!(client.0.stream.conn.protocol_version(), Some(version.version));
        client
    }

    /// Sends the first message of the handshake.
    pub fn say_hello(&mut self) {
        self.0.stream.conn.write_tls(&mut self.0.stream.sock).expect("room for a hello");
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.0.stream.write_all(bytes).expect("the server reads");
    }

    /// Sends bytes past TLS.
    pub fn write_raw(&mut self, bytes: &[u8]) {
        self.0.stream.sock.write_all(bytes).expect("the server reads");
    }

    /// Says that nothing more comes.
    pub fn end(&mut self) {
        self.0.stream.conn.send_close_notify();
        self.0.stream.flush().expect("the server reads");
        self.0.stream.sock.shutdown(Shutdown::Write).expect("a connection");
    }

    /// Leaves without a word to TLS.
    pub fn cut(self) {
        self.0.stream.sock.shutdown(Shutdown::Both).expect("a connection");
    }

    /// Sends a request and returns its answer.
    pub fn ask(&mut self, request: &str) -> Answer {
        self.send(request.as_bytes());
        self.answer()
    }

    /// The next answer.
    pub fn answer(&mut self) -> Answer {
        self.0.read_answer().expect("an answer").into()
    }

    /// Reads until the input holds `text`, and takes it out up to there.
    pub fn read_until(&mut self, text: &str) {
        self.0.read_until(text).expect("the text");
    }

    /// Waits for the end, and tells whether TLS was told of it (`close_notify`) and nothing came before.
    pub fn ends_cleanly(&mut self) -> bool {
        self.0.unread().is_empty() && matches!(self.0.stream.read(&mut [0]), Ok(0))
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
