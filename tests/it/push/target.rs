//! A server that messages are pushed to. It writes down what it gets, and answers as the test says.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use testing::certificates::Identity;

use crate::support::{PATIENCE, eventually};

/// A request.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// Method and path.
    pub line: String,
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    /// The value of a field, if there is one of this name.
    pub fn field(&self, name: &str) -> Option<&str> {
        let found = self.fields.iter().find(|(field, _)| field.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The offset of the message.
    pub fn offset(&self) -> i64 {
        self.field("x-kafka-offset").expect("an offset").parse().expect("a number")
    }

    /// Which attempt it is.
    pub fn attempt(&self) -> u32 {
        self.field("x-kafka-attempt").expect("an attempt").parse().expect("a number")
    }
}

/// What is answered, and after how long.
pub struct Reply {
    pub status: u16,
    /// Whole field lines.
    pub fields: String,
    pub after: Duration,
    pub body: Body,
}

/// How much of the body comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    Whole,
    /// The connection ends within it.
    Cut,
    /// Its end does not come.
    Stuck,
}

impl Reply {
    pub fn status(status: u16) -> Reply {
        Reply { status, fields: String::new(), after: Duration::ZERO, body: Body::Whole }
    }
}

type Answers = dyn Fn(&Request) -> Reply + Send + Sync;

/// The server, which ends when it is dropped.
pub struct Target {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    answers: Box<Answers>,
    tls: Option<Arc<ServerConfig>>,
    requests: Mutex<Vec<Request>>,
    in_flight: AtomicUsize,
    connections: AtomicUsize,
    ended: AtomicBool,
}

impl Target {
    /// A server on a port of its own.
    pub fn start(answers: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Target {
        Target::start_at("127.0.0.1:0", answers)
    }

    /// A server at an address.
    pub fn start_at(address: &str, answers: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Target {
        Target::serve(address, Box::new(answers), None)
    }

    /// A server that speaks TLS with this certificate.
    pub fn with_tls(
        identity: &Identity,
        answers: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> Target {
        let chain =
            vec![CertificateDer::from_pem_slice(identity.certificate.as_bytes()).expect("a certificate")];
        let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).expect("a key");
        let config = ServerConfig::builder_with_provider(Arc::new(rustls_graviola::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect("a certificate with its key");
        Target::serve("127.0.0.1:0", Box::new(answers), Some(Arc::new(config)))
    }

    fn serve(address: &str, answers: Box<Answers>, tls: Option<Arc<ServerConfig>>) -> Target {
        let listener = TcpListener::bind(address).expect("a port");
        let shared = Arc::new(Shared {
            answers,
            tls,
            requests: Mutex::default(),
            in_flight: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            ended: AtomicBool::new(false),
        });
        let address = listener.local_addr().expect("an address");
        let serving = shared.clone();
        thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                if serving.ended.load(Ordering::SeqCst) {
                    return;
                }
                serving.connections.fetch_add(1, Ordering::SeqCst);
                let shared = serving.clone();
                thread::spawn(move || {
                    let _ = shared.connection(socket);
                });
            }
        });
        Target { address, shared }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of a path of it.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// All requests until now, in the order in which they came.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until there were so many requests.
    pub fn wait_for(&self, count: usize) -> Vec<Request> {
        eventually(&format!("{count} requests"), PATIENCE, || {
            Some(self.requests()).filter(|requests| requests.len() >= count)
        })
    }

    /// The offset and the attempt of each request.
    pub fn attempts(&self) -> Vec<(i64, u32)> {
        self.requests().iter().map(|request| (request.offset(), request.attempt())).collect()
    }

    /// How many requests are not answered.
    pub fn in_flight(&self) -> usize {
        self.shared.in_flight.load(Ordering::SeqCst)
    }

    /// How many connections were made.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        // So that the listening thread sees it.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn connection(&self, socket: TcpStream) -> io::Result<()> {
        socket.set_nodelay(true)?;
        match &self.tls {
            Some(config) => {
                let session = ServerConnection::new(config.clone()).map_err(io::Error::other)?;
                self.requests_of(BufReader::new(StreamOwned::new(session, socket)))
            }
            None => self.requests_of(BufReader::new(socket)),
        }
    }

    fn requests_of<S: Read + Write>(&self, mut stream: BufReader<S>) -> io::Result<()> {
        while let Some(request) = read(&mut stream)? {
            if self.ended.load(Ordering::SeqCst) {
                break;
            }
            self.in_flight.fetch_add(1, Ordering::SeqCst);
            let reply = (self.answers)(&request);
            self.requests.lock().unwrap_or_else(PoisonError::into_inner).push(request);
            thread::sleep(reply.after);
            self.in_flight.fetch_sub(1, Ordering::SeqCst);
            let Reply { status, fields, body, .. } = reply;
            let length = if body == Body::Whole { 3 } else { 4 };
            let text = format!("HTTP/1.1 {status} As Said\r\n{fields}Content-Length: {length}\r\n\r\nso\n");
            stream.get_mut().write_all(text.as_bytes())?;
            stream.get_mut().flush()?;
            if body == Body::Cut {
                break;
            }
        }
        Ok(())
    }
}

/// The next request; `None` at the end of the connection.
fn read(stream: &mut impl BufRead) -> io::Result<Option<Request>> {
    let mut request = Request { line: line(stream)?, ..Request::default() };
    if request.line.is_empty() {
        return Ok(None);
    }
    loop {
        let line = line(stream)?;
        let Some((name, value)) = line.split_once(':') else { break };
        request.fields.push((name.to_owned(), value.trim().to_owned()));
    }
    let length = request.field("content-length").map_or(0, |length| length.parse().expect("a length"));
    request.body.resize(length, 0);
    stream.read_exact(&mut request.body)?;
    Ok(Some(request))
}

fn line(stream: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    stream.read_line(&mut line)?;
    Ok(line.trim_end().to_owned())
}
