//! Servers for the tests, their certificates and folders.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, SupportedProtocolVersion};
use testing::certificates::{Authority, Identity, put};

use crate::{ConnectError, Connector, ConnectorSettings, Stream};

/// The longest wait for something that should come.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// Versions that a server may speak.
pub(super) type Versions = &'static [&'static SupportedProtocolVersion];
pub(super) static TLS12: Versions = &[&rustls::version::TLS12];
pub(super) static TLS13: Versions = &[&rustls::version::TLS13];
pub(super) static ALL_VERSIONS: Versions = rustls::ALL_VERSIONS;

/// A folder of the test's own, removed in the end.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new() -> Folder {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("tls-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn put(&self, name: &str, text: &str) -> PathBuf {
        put(&self.0, name, text)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _removed = fs::remove_dir_all(&self.0);
    }
}

/// What a server of a test does in its handshakes.
pub(super) struct ServerSide {
    pub(super) identity: Identity,
    pub(super) versions: Versions,
    /// Clients must have a certificate of this authority.
    pub(super) client_ca: Option<String>,
}

impl ServerSide {
    pub(super) fn new(identity: Identity) -> ServerSide {
        ServerSide { identity, versions: ALL_VERSIONS, client_ca: None }
    }

    pub(super) fn config(&self) -> Arc<ServerConfig> {
        let provider = Arc::new(rustls_graviola::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_protocol_versions(self.versions).unwrap();
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(pem) => {
                let mut roots = RootCertStore::empty();
                roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap();
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                builder.with_client_cert_verifier(verifier.build().unwrap())
            }
        };
        let chain = CertificateDer::pem_slice_iter(self.identity.certificate.as_bytes());
        let chain = chain.collect::<Result<_, _>>().unwrap();
        let key = PrivateKeyDer::from_pem_slice(self.identity.key.as_bytes()).unwrap();
        Arc::new(builder.with_single_cert(chain, key).unwrap())
    }
}

/// A server that answers each connection in turn with `serve`, until the test ends.
pub(super) fn server(mut serve: impl FnMut(TcpStream) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for socket in listener.incoming() {
            serve(socket.unwrap());
        }
    });
    address
}

/// A server of TLS that echoes.
pub(super) fn echo(side: &ServerSide) -> SocketAddr {
    let config = side.config();
    server(move |mut socket| {
        let mut session = ServerConnection::new(Arc::clone(&config)).unwrap();
        let mut stream = rustls::Stream::new(&mut session, &mut socket);
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            if stream.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
        session.send_close_notify();
        let _sent = session.complete_io(&mut socket);
    })
}

/// One connection to a server of TLS, which `serve` has once the handshake is complete.
pub(super) fn one(
    side: &ServerSide,
    serve: impl FnOnce(ServerConnection, TcpStream) + Send + 'static,
) -> (SocketAddr, JoinHandle<()>) {
    let config = side.config();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let thread = thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let mut session = ServerConnection::new(config).unwrap();
        while session.is_handshaking() {
            session.complete_io(&mut socket).unwrap();
        }
        serve(session, socket);
    });
    (address, thread)
}

/// A connector that trusts this authority.
pub(super) fn trusting(authority: &Authority, folder: &Folder) -> Connector {
    let ca = Some(folder.put("ca.pem", &authority.pem));
    Connector::new(ConnectorSettings { ca, ..ConnectorSettings::default() }).unwrap()
}

/// Connects to a server with its own name.
pub(super) fn connect(connector: &Connector, address: SocketAddr) -> Result<Stream, ConnectError> {
    connect_as(connector, address, "localhost")
}

pub(super) fn connect_as(
    connector: &Connector,
    address: SocketAddr,
    host: &str,
) -> Result<Stream, ConnectError> {
    connector.connect(TcpStream::connect(address).unwrap(), host, Instant::now() + PATIENCE)
}

/// Whether bytes come back from a server that echoes.
pub(super) fn echoes(stream: &mut Stream, text: &str) -> bool {
    stream.write_all(text.as_bytes()).unwrap();
    stream.flush().unwrap();
    let mut back = vec![0; text.len()];
    stream.read_exact(&mut back).unwrap();
    back == text.as_bytes()
}

/// Waits until a condition holds.
pub(super) fn eventually(mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "it does not come");
        thread::sleep(Duration::from_millis(5));
    }
}
