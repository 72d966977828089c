//! The server before handlers that fail, send malformed responses, or are not there.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use net::pulse::Pulse;

use super::access_log::AccessLog;
use super::access_policy::AccessPolicy;
use super::setup::WAKER;
use super::user_access::UserAccess;
use super::{BackendAddress, Limits, Server, ServerParts};
use crate::http::responder::{Responder, ResponseQueue, ResponseStream, response_queue};
use crate::http::response::Response;
use crate::ids::{RequestId, RequestIds};
use crate::metrics::HttpMetrics;
use crate::users::{self, Entry, Right, Token};

const NOT_FOUND: &[u8] = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
const DEFERRED: &[u8] = b"HTTP/1.1 299 Held\r\nContent-Length: 0\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody";
const GET: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

/// A server whose handlers are played by the test.
struct Bench {
    path: PathBuf,
    server: Server,
    responses: Arc<ResponseQueue>,
    pulse: Pulse,
}

impl Bench {
    fn new(name: &str) -> Bench {
        Bench::with_policy(name, |_| AccessPolicy::default())
    }

    fn with_policy(name: &str, policy: impl FnOnce(&Arc<ResponseQueue>) -> AccessPolicy) -> Bench {
        let path = std::env::temp_dir().join(format!("server-{name}-{}", std::process::id()));
        let _absent = std::fs::remove_file(&path);
        let limits = Limits {
            max_connections: 100,
            max_body_bytes: 1000,
            head_timeout: Duration::from_secs(5),
            body_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(5),
            answer_timeout: Duration::from_secs(5),
        };
        let (responses, poll) = response_queue(WAKER).unwrap();
        let pulse = Pulse::default();
        let backend = BackendAddress { socket: path.clone(), secret: "secret".into() };
        let parts = ServerParts {
            address: "127.0.0.1:0".parse().unwrap(),
            limits,
            access_log: AccessLog::new(RequestIds::new().unwrap(), false, HttpMetrics::default()),
            policy: policy(&responses),
            tls: None,
            responses: Arc::clone(&responses),
            poll,
            pulse: Pulse::default(),
        };
        let parts = parts.beating(pulse.clone());
        let server = Server::open(parts, backend).unwrap();
        Bench { path, server, responses, pulse }
    }

    /// Plays the handlers: one script for each connection, run after its first request has been answered.
    fn play(&self, scripts: Vec<Script>) {
        let listener = UnixListener::bind(&self.path).unwrap();
        thread::spawn(move || {
            for script in scripts {
                let mut link = listener.accept().unwrap().0;
                assert!(read_request(&mut link).unwrap().starts_with("HEAD / "));
                link.write_all(NOT_FOUND).unwrap();
                script(link);
            }
        });
    }

    fn client(&self) -> TcpStream {
        let client = TcpStream::connect(self.server.address()).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        client
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.server.close(Instant::now());
        let _absent = std::fs::remove_file(&self.path);
    }
}

type Script = Box<dyn FnOnce(UnixStream) + Send>;

fn script(play: impl FnOnce(UnixStream) + Send + 'static) -> Script {
    Box::new(play)
}

/// Answers every request.
fn answer_all(mut link: UnixStream) {
    while read_request(&mut link).is_some() {
        link.write_all(NOT_FOUND).unwrap();
    }
}

/// The next request, head and body; `None` at the end.
fn read_request(link: &mut UnixStream) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        let mut byte = [0];
        if link.read(&mut byte).unwrap() == 0 {
            return None;
        }
        bytes.push(byte[0]);
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.split_once("Content-Length: ").unwrap().1;
            if body.len() >= length.parse().unwrap() {
                return Some(text.into_owned());
            }
        }
    }
}

/// Sends a request, reads the whole response, and returns its status.
fn ask(client: &mut TcpStream, request: &str) -> u16 {
    client.write_all(request.as_bytes()).unwrap();
    let (mut answer, mut byte) = (Vec::new(), [0]);
    while !answer.ends_with(b"\r\n\r\n") {
        assert_eq!(client.read(&mut byte).unwrap(), 1);
        answer.push(byte[0]);
    }
    let head = String::from_utf8(answer).unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap();
    client.read_exact(&mut vec![0; length.parse().unwrap()]).unwrap();
    head.split(' ').nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_server_without_clients_has_a_pulse_until_it_ends() {
    let mut bench = Bench::new("pulse");
    bench.play(vec![script(answer_all)]);
    // The loop sleeps without an end: asked, it goes round.
    for _ in 0..5 {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !bench.pulse.ask() {
            assert!(Instant::now() < deadline, "the loop stands still");
            thread::sleep(Duration::from_millis(5));
        }
    }
    bench.server.close(Instant::now());
    bench.pulse.ask();
    assert!(!bench.pulse.ask());
}

#[test]
fn requests_in_flight_on_a_lost_connection_are_answered_and_it_is_reopened() {
    let bench = Bench::new("lost");
    let lose = || script(|mut link| drop(read_request(&mut link)));
    bench.play(vec![lose(), lose(), script(answer_all)]);
    let mut client = bench.client();
    assert_eq!(ask(&mut client, POST), 504, "its message may have been handed over");
    assert_eq!(ask(&mut client, GET), 503, "it had no effect in any case");
    assert_eq!(ask(&mut client, POST), 404);
}

#[test]
fn a_connection_out_of_step_is_closed() {
    let bench = Bench::new("strange");
    let strange = |answer: &'static [u8]| {
        script(move |mut link: UnixStream| {
            read_request(&mut link);
            link.write_all(answer).unwrap();
            assert_eq!(read_request(&mut link), None, "the server hangs up");
        })
    };
    let twice = [NOT_FOUND, NOT_FOUND].concat().leak();
    bench.play(vec![strange(b"nonsense\r\n\r\n"), strange(twice), script(answer_all)]);
    let mut client = bench.client();
    assert_eq!(ask(&mut client, POST), 504);
    assert_eq!(ask(&mut client, GET), 404, "the answer before the surplus one is good");
    assert_eq!(ask(&mut client, GET), 404);
}

#[test]
fn an_early_response_waits_for_its_turn_and_survives_a_lost_connection() {
    let bench = Bench::new("early");
    let answer_early = |responses: &Arc<ResponseQueue>, request: &str| {
        let token = request.split(' ').nth(4).unwrap().parse().unwrap();
        Responder::new(responses, token, RequestId::default()).respond(Response::json(200, b"{}".to_vec()));
    };
    let responses = Arc::clone(&bench.responses);
    let early = script(move |mut link| {
        let request = read_request(&mut link).unwrap();
        answer_early(&responses, &request);
        link.write_all(DEFERRED).unwrap();
        let request = read_request(&mut link).unwrap();
        answer_early(&responses, &request);
    });
    bench.play(vec![early, script(answer_all)]);
    let mut client = bench.client();
    assert_eq!(ask(&mut client, POST), 200);
    assert_eq!(ask(&mut client, POST), 200, "its response is known, though the handlers are gone");
    assert_eq!(ask(&mut client, POST), 404);
}

/// Handlers that open a stream for each request, before or after their deferred reply.
fn streams(responses: &Arc<ResponseQueue>, early: bool) -> (Script, Receiver<ResponseStream>) {
    let (sender, opened) = channel();
    let responses = Arc::clone(responses);
    let play = script(move |mut link| {
        while let Some(request) = read_request(&mut link) {
            let token = request.split(' ').nth(4).unwrap().parse().unwrap();
            let open = || {
                sender.send(Responder::new(&responses, token, RequestId::default()).open_stream("")).unwrap()
            };
            if early {
                open();
            }
            link.write_all(DEFERRED).unwrap();
            if !early {
                open();
            }
        }
    });
    (play, opened)
}

#[test]
fn a_client_that_does_not_read_its_stream_is_dropped() {
    let bench = Bench::new("unread");
    let (play, opened) = streams(&bench.responses, false);
    bench.play(vec![play]);
    let mut client = bench.client();
    client.write_all(GET.as_bytes()).unwrap();
    let stream = opened.recv().unwrap();
    let (piece, mut pushed) = (Arc::from(vec![b'x'; 64 * 1024]), 0);
    while !stream.is_closed() {
        stream.push(Arc::clone(&piece));
        pushed += 1;
        assert!(pushed < 1024, "64 MiB are held for a client that reads nothing");
        thread::sleep(Duration::from_millis(1)); // so that the server is never behind
    }
}

#[test]
fn a_stream_ends_for_its_client_and_its_slot_is_freed() {
    for early in [true, false] {
        let bench = Bench::new(&format!("ends-{early}"));
        let (play, opened) = streams(&bench.responses, early);
        bench.play(vec![play]);
        // More than there are slots.
        for _ in 0..150 {
            let mut client = bench.client();
            client.write_all(GET.as_bytes()).unwrap();
            let stream = opened.recv().unwrap();
            stream.push(Arc::from(*b"abc"));
            drop(stream);
            let mut answer = String::new();
            client.read_to_string(&mut answer).unwrap();
            assert!(answer.ends_with("\r\n\r\n3\r\nabc\r\n0\r\n\r\n"), "{answer}");
        }
        for _ in 0..150 {
            let mut client = bench.client();
            client.write_all(GET.as_bytes()).unwrap();
            let stream = opened.recv().unwrap();
            drop(client);
            let deadline = Instant::now() + Duration::from_secs(30);
            while !stream.is_closed() {
                assert!(Instant::now() < deadline, "its client has left");
                thread::yield_now();
            }
        }
    }
}

#[test]
fn a_stream_is_not_opened_for_a_user_that_was_removed_meanwhile() {
    let file = std::env::temp_dir().join(format!("server-users-{}.toml", std::process::id()));
    let (token, hash) = Token::generate().unwrap();
    let entry = Entry {
        rights: Right::ALL.into(),
        topics: Vec::new(),
        token: Some(hash),
        password: None,
        certificate: false,
    };
    users::change(&file, |entries| Ok(entries.insert("ana".to_owned(), entry))).unwrap();
    let bench = Bench::with_policy("removed", |responses| {
        let users = UserAccess::start(&file, "topic", Arc::clone(responses)).unwrap();
        AccessPolicy::default().with_users(Some(users))
    });
    let (came, request_came) = channel();
    let (release, released) = channel::<()>();
    let responses = Arc::clone(&bench.responses);
    bench.play(vec![script(move |mut link| {
        let request = read_request(&mut link).unwrap();
        came.send(()).unwrap();
        released.recv().unwrap();
        let token = request.split(' ').nth(4).unwrap().parse().unwrap();
        let stream = Responder::new(&responses, token, RequestId::default()).open_stream("");
        link.write_all(DEFERRED).unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        while !stream.is_closed() {
            assert!(Instant::now() < deadline, "nobody may read it");
            thread::yield_now();
        }
        came.send(()).unwrap();
    })]);
    let get = format!("GET /events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\r\n", token.expose());
    let mut client = bench.client();
    client.write_all(get.as_bytes()).unwrap();
    request_came.recv().unwrap();
    users::change(&file, |entries| Ok(entries.remove("ana"))).unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    // It has no length, so no handler sees it: 411 while ana is a user.
    while ask(&mut bench.client(), &get.replacen("GET /events", "POST /enviar", 1)) != 401 {
        assert!(Instant::now() < deadline, "the removal is seen");
    }
    release.send(()).unwrap();
    assert_eq!(ask(&mut client, ""), 401);
    request_came.recv().unwrap();
    let _removed = std::fs::remove_file(&file);
}

#[test]
fn clients_wait_for_handlers_that_start_late_or_are_silent_at_first() {
    let bench = Bench::new("late");
    let mut client = bench.client();
    let listener = UnixListener::bind(&bench.path).unwrap();
    thread::spawn(move || {
        let (_silent, _) = listener.accept().unwrap();
        answer_all(listener.accept().unwrap().0);
    });
    assert_eq!(ask(&mut client, POST), 404);
}
