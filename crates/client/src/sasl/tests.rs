//! A broker of the tests' own that authenticates, and lies where it is told to.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::{
    ApiVersionsResponse, HeartbeatRequest, HeartbeatResponse, ResponseHeader, SaslAuthenticateRequest,
    SaslAuthenticateResponse, SaslHandshakeRequest, SaslHandshakeResponse,
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, StrBytes};

use super::session::Session;
use super::*;
use crate::connection::Connection;
use crate::error::{Cause, Error};
use crate::security::Security;
use protocol::precheck::RequestHeader;

/// A file or folder of the test's own, removed in the end.
pub(super) struct Temporary(PathBuf);

impl Temporary {
    pub fn file(name: &str, bytes: &[u8], mode: u32) -> Temporary {
        let path = std::env::temp_dir().join(format!("sasl-{name}-{}", std::process::id()));
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        Temporary(path)
    }

    pub fn path(&self) -> PathBuf {
        self.0.clone()
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _removed = fs::remove_file(&self.0);
    }
}

/// What the broker says to a message of a mechanism; none closes the connection.
type Reply = Option<SaslAuthenticateResponse>;

/// The requests that have come, but ApiVersions: `Authenticate` with its message.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Handshake(String),
    Authenticate(Vec<u8>),
    Heartbeat,
    /// The connection ended.
    End,
}

/// A broker for any number of connections, one after the other.
struct Broker {
    address: String,
    seen: Receiver<Seen>,
    thread: Option<JoinHandle<()>>,
}

impl Broker {
    /// Answers the handshake with `code` and the mechanism PLAIN, and each message by `reply`.
    fn start(code: i16, reply: impl FnMut(&[u8]) -> Reply + Send + 'static) -> Broker {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (sender, seen) = channel();
        let mut reply = reply;
        let thread = thread::spawn(move || {
            loop {
                let (mut socket, _) = listener.accept().unwrap();
                serve(&mut socket, code, &mut reply, &sender);
                if sender.send(Seen::End).is_err() {
                    return;
                }
            }
        });
        Broker { address, seen, thread: Some(thread) }
    }

    fn open(&self, credentials: Credentials) -> Result<Connection, Error> {
        let security = Security::new(None, Some(Arc::new(credentials)));
        Connection::open(&self.address, "test", &security, Duration::from_secs(30))
    }

    /// What has come since the last look, up to the end of a connection.
    fn seen(&self) -> Vec<Seen> {
        let mut all = Vec::new();
        while let Ok(seen) = self.seen.recv_timeout(Duration::from_secs(30)) {
            if seen == Seen::End {
                return all;
            }
            all.push(seen);
        }
        panic!("the connection did not end: {all:?}");
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        drop(std::mem::replace(&mut self.seen, channel().1));
        drop(TcpStream::connect(&self.address));
        let _ended = self.thread.take().map(JoinHandle::join);
    }
}

fn serve(
    socket: &mut TcpStream,
    code: i16,
    reply: &mut impl FnMut(&[u8]) -> Reply,
    seen: &Sender<Seen>,
) -> Option<()> {
    loop {
        let mut size = [0; 4];
        socket.read_exact(&mut size).ok()?;
        let mut frame = vec![0; usize::try_from(i32::from_be_bytes(size)).unwrap()];
        socket.read_exact(&mut frame).ok()?;
        let key = i16::from_be_bytes([frame[0], frame[1]]);
        let header = RequestHeader::read(&frame).unwrap();
        let id = header.correlation_id;
        // The precheck of requests knows none of SASL: its tagged fields, of which there are none, are here.
        let body = header.body + usize::from(key == 36);
        let mut body = Bytes::from(frame[body..].to_vec());
        match key {
            18 => {
                let served = (0..60).map(|key| ApiVersion::default().with_api_key(key).with_max_version(20));
                answer(socket, id, 3, &ApiVersionsResponse::default().with_api_keys(served.collect()));
            }
            17 => {
                let request = SaslHandshakeRequest::decode(&mut body, 1).unwrap();
                let _ = seen.send(Seen::Handshake(request.mechanism.to_string()));
                let mechanisms = vec![StrBytes::from_static_str("PLAIN")];
                let response = SaslHandshakeResponse::default().with_error_code(code);
                answer(socket, id, 1, &response.with_mechanisms(mechanisms));
            }
            36 => {
                let request = SaslAuthenticateRequest::decode(&mut body, 2).unwrap();
                let _ = seen.send(Seen::Authenticate(request.auth_bytes.to_vec()));
                answer(socket, id, 2, &reply(&request.auth_bytes)?);
            }
            _ => {
                let _ = seen.send(Seen::Heartbeat);
                answer(socket, id, 4, &HeartbeatResponse::default());
            }
        }
    }
}

fn answer<R: Encodable + HeaderVersion>(socket: &mut TcpStream, id: i32, version: i16, response: &R) {
    let mut frame = BytesMut::new();
    let header = ResponseHeader::default().with_correlation_id(id);
    header.encode(&mut frame, R::header_version(version)).unwrap();
    response.encode(&mut frame, version).unwrap();
    let size = i32::try_from(frame.len()).unwrap().to_be_bytes();
    let _ = socket.write_all(&[&size[..], &frame].concat());
}

fn says(message: &[u8]) -> Reply {
    Some(SaslAuthenticateResponse::default().with_auth_bytes(Bytes::copy_from_slice(message)))
}

fn refuses(message: &'static str) -> Reply {
    let message = Some(StrBytes::from_static_str(message));
    Some(SaslAuthenticateResponse::default().with_error_code(58).with_error_message(message))
}

fn for_ms(lifetime: i64) -> Reply {
    says(b"").map(|answer| answer.with_session_lifetime_ms(lifetime))
}

fn password() -> Password {
    Password { username: "user".to_owned(), password: SecretSource::Given(Secret::new("pencil")) }
}

fn plain() -> Credentials {
    Credentials::plain(password())
}

fn heartbeat(connection: &mut Connection) -> Result<HeartbeatResponse, Error> {
    connection.call(&HeartbeatRequest::default(), Instant::now() + Duration::from_secs(30))
}

fn failure(error: Error) -> Failure {
    assert!(!error.maybe_sent(), "{error}");
    match error {
        Error::Authentication { failure, .. } => failure,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_connection_is_authenticated_before_its_first_request() {
    let broker = Broker::start(0, |_| says(b""));
    let mut connection = broker.open(plain()).unwrap();
    heartbeat(&mut connection).unwrap();
    drop(connection);
    let message = b"\0user\0pencil".to_vec();
    assert_eq!(
        broker.seen(),
        [Seen::Handshake("PLAIN".to_owned()), Seen::Authenticate(message), Seen::Heartbeat]
    );
}

#[test]
fn a_password_file_that_changed_counts_at_the_next_connection() {
    let file = Temporary::file("rotated", b"first\n", 0o600);
    let broker = Broker::start(0, |_| says(b""));
    let password = Password { username: "user".to_owned(), password: SecretSource::File(file.path()) };
    let security = Security::new(None, Some(Arc::new(Credentials::plain(password))));
    for secret in ["first", "second"] {
        fs::write(file.path(), format!("{secret}\n")).unwrap();
        drop(Connection::open(&broker.address, "test", &security, Duration::from_secs(30)).unwrap());
        assert_eq!(broker.seen()[1], Seen::Authenticate(format!("\0user\0{secret}").into_bytes()));
    }
}

#[test]
fn a_mechanism_that_is_not_offered_is_named_beside_those_that_are() {
    let broker = Broker::start(33, |_| None);
    let error = broker.open(Credentials::scram(Hash::Sha512, password())).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "authentication at broker {} failed: the broker does not offer SCRAM-SHA-512; it offers PLAIN",
            broker.address
        )
    );
    assert!(matches!(failure(error), Failure::NotOffered { .. }));
}

#[test]
fn a_listener_without_sasl_is_told_from_a_wrong_password() {
    let broker = Broker::start(34, |_| None);
    assert!(matches!(failure(broker.open(plain()).unwrap_err()), Failure::NoSasl));
}

#[test]
fn a_broker_that_closes_at_the_first_request_without_sasl_may_want_it() {
    let broker = Broker::start(0, |_| None);
    let mut connection =
        Connection::open(&broker.address, "test", &Security::default(), Duration::from_secs(30)).unwrap();
    // An answer to a message of a mechanism that never comes is the end of the connection here.
    let request = SaslAuthenticateRequest::default();
    let error = connection.call(&request, Instant::now() + Duration::from_secs(30)).unwrap_err();
    assert!(matches!(error, Error::Lost { cause: Cause::ClosedWithoutSasl, .. }), "{error:?}");
}

#[test]
fn a_refusal_has_the_brokers_sentence_and_no_secret() {
    let broker = Broker::start(0, |_| refuses("Authentication failed:\nInvalid username or password"));
    let error = broker.open(plain()).unwrap_err();
    let line = format!("{error} {error:?}");
    assert!(line.contains("for PLAIN: Authentication failed: Invalid username or password"), "{line}");
    assert!(!line.contains("pencil"), "{line}");
    assert!(matches!(failure(error), Failure::Refused(_)));
}

/// The server's first message of SCRAM to the client's, with this salt and count.
fn scram_first(message: &[u8], salt: &str, count: &str) -> Reply {
    let text = std::str::from_utf8(message).unwrap();
    let nonce = text.split("r=").nth(1).unwrap();
    says(format!("r={nonce}server,s={salt},i={count}").as_bytes())
}

#[test]
fn a_server_of_scram_that_lies_is_refused() {
    type Lie = fn(&[u8]) -> Reply;
    type IsExpected = fn(&Failure) -> bool;
    let lies: [(Lie, IsExpected); 6] = [
        (
            |message| match message.starts_with(b"n,,") {
                true => scram_first(message, "c2FsdA==", "4096"),
                false => says(format!("v={}", STANDARD.encode([7; 32])).as_bytes()),
            },
            |failure| matches!(failure, Failure::WrongProof),
        ),
        (
            |message| match message.starts_with(b"n,,") {
                true => scram_first(message, "c2FsdA==", "4096"),
                // The authentication ends without a proof.
                false => says(b""),
            },
            |failure| matches!(failure, Failure::Malformed(_)),
        ),
        (
            |message| scram_first(message, "c2FsdA==", "1"),
            |failure| matches!(failure, Failure::IterationCount(1)),
        ),
        (
            |message| scram_first(message, "c2FsdA==", "4000000000"),
            |failure| matches!(failure, Failure::IterationCount(4_000_000_000)),
        ),
        (
            |message| scram_first(message, "not base64", "4096"),
            |failure| matches!(failure, Failure::Malformed(_)),
        ),
        (|_| says(b"r=of-another,s=c2FsdA==,i=4096"), |failure| matches!(failure, Failure::Malformed(_))),
    ];
    for (lie, is_expected) in lies {
        let broker = Broker::start(0, lie);
        let failure = failure(broker.open(Credentials::scram(Hash::Sha256, password())).unwrap_err());
        assert!(is_expected(&failure), "{failure:?}");
    }
}

#[test]
fn an_answer_without_end_or_a_closed_connection_ends_the_authentication() {
    let broker = Broker::start(0, |_| says(&vec![b'r'; 128 * 1024]));
    let error = broker.open(Credentials::scram(Hash::Sha256, password())).unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
    let broker = Broker::start(0, |_| None);
    let error = broker.open(plain()).unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
}

/// What one authentication with PLAIN makes the broker see.
fn authentication() -> [Seen; 2] {
    [Seen::Handshake("PLAIN".to_owned()), Seen::Authenticate(b"\0user\0pencil".to_vec())]
}

#[test]
fn a_session_is_renewed_before_the_next_request_once_it_is_due() {
    let broker = Broker::start(0, |_| for_ms(1_000_000));
    let mut connection = broker.open(plain()).unwrap();
    heartbeat(&mut connection).unwrap();
    connection.change_session(Session::due_now);
    heartbeat(&mut connection).unwrap();
    heartbeat(&mut connection).unwrap();
    drop(connection);
    let mut expected = Vec::from(authentication());
    expected.push(Seen::Heartbeat);
    expected.extend(authentication());
    expected.extend([Seen::Heartbeat, Seen::Heartbeat]);
    assert_eq!(broker.seen(), expected);
}

#[test]
fn a_renewal_that_fails_ends_the_connection_before_the_request_is_written() {
    let mut replies = [for_ms(1_000_000), refuses("no longer")].into_iter();
    let broker = Broker::start(0, move |_| replies.next().unwrap());
    let mut connection = broker.open(plain()).unwrap();
    connection.change_session(Session::due_now);
    let error = heartbeat(&mut connection).unwrap_err();
    assert!(matches!(failure(error), Failure::Refused(_)));
    drop(connection);
    let expected: Vec<Seen> = authentication().into_iter().chain(authentication()).collect();
    assert_eq!(broker.seen(), expected);
}

#[test]
fn a_broker_that_goes_away_within_a_renewal_has_not_seen_the_request() {
    let mut replies = [for_ms(1_000_000), None].into_iter();
    let broker = Broker::start(0, move |_| replies.next().unwrap());
    let mut connection = broker.open(plain()).unwrap();
    connection.change_session(Session::due_now);
    let error = heartbeat(&mut connection).unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }) && !error.maybe_sent(), "{error:?}");
}

#[test]
fn a_connection_whose_session_is_over_counts_as_closed_and_takes_no_request() {
    let broker = Broker::start(0, |_| for_ms(1_000_000));
    let mut connection = broker.open(plain()).unwrap();
    assert!(!connection.is_closed());
    connection.change_session(Session::over_now);
    assert!(connection.is_closed());
    let error = heartbeat(&mut connection).unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }) && !error.maybe_sent(), "{error:?}");
    drop(connection);
    assert_eq!(broker.seen(), authentication());
}

#[test]
fn a_session_lasts_to_its_end_where_no_secret_can_be_had_for_its_renewal() {
    let file = Temporary::file("lost", b"pencil", 0o600);
    let broker = Broker::start(0, |_| for_ms(1_000_000));
    let password = Password { username: "user".to_owned(), password: SecretSource::File(file.path()) };
    let mut connection = broker.open(Credentials::plain(password)).unwrap();
    drop(file);
    connection.change_session(Session::due_now);
    heartbeat(&mut connection).unwrap();
    drop(connection);
    let mut expected = Vec::from(authentication());
    expected.push(Seen::Heartbeat);
    assert_eq!(broker.seen(), expected);
}

#[test]
fn a_server_that_does_not_take_the_token_gets_its_error_acknowledged() {
    let broker = Broker::start(0, |message| match message {
        b"\x01" => refuses("{\"status\":\"invalid_token\"}"),
        _ => says(br#"{"status":"invalid_token"}"#),
    });
    let file = Temporary::file("token", b"a.b.c\n", 0o600);
    let extensions = Extensions::new([("logicalCluster".to_owned(), "lkc-1".to_owned())]).unwrap();
    let tokens = Tokens::new(tokens::TokenSource::File(file.path()));
    let error = broker.open(Credentials::oauth_bearer(tokens, extensions)).unwrap_err();
    assert!(matches!(failure(error), Failure::Refused(error) if error.contains("invalid_token")));
    let first = b"n,,\x01auth=Bearer a.b.c\x01logicalCluster=lkc-1\x01\x01".to_vec();
    let expected =
        [Seen::Handshake("OAUTHBEARER".to_owned()), Seen::Authenticate(first), Seen::Authenticate(vec![1])];
    assert_eq!(broker.seen(), expected);
}
