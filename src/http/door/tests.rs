//! The door before handlers that fail, answer strangely, or are not there.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use super::{Door, Entrance, Gate, Ledger, Limits, WAKER};
use crate::http::answer::Answer;
use crate::http::guard::Guard;
use crate::http::tickets::{Mailbox, Stream, Ticket, mailbox};
use crate::metrics::HttpMetrics;
use crate::request_id::RequestIds;

const NOT_FOUND: &[u8] = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
const HELD: &[u8] = b"HTTP/1.1 299 Held\r\nContent-Length: 0\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody";
const GET: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

/// A door whose handlers are played by the test.
struct Stage {
    path: PathBuf,
    door: Door,
    mailbox: Arc<Mailbox>,
}

impl Stage {
    fn new(name: &str) -> Stage {
        let path = std::env::temp_dir().join(format!("door-{name}-{}", std::process::id()));
        let _absent = std::fs::remove_file(&path);
        let limits = Limits {
            max_connections: 100,
            max_body_bytes: 1000,
            head_timeout: Duration::from_secs(5),
            body_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(5),
            answer_timeout: Duration::from_secs(5),
        };
        let (mailbox, poll) = mailbox(WAKER).unwrap();
        let entrance = Entrance { path: path.clone(), secret: "secret".into() };
        let ledger = Ledger::new(RequestIds::new().unwrap(), false, HttpMetrics::default());
        let gate = Gate { guard: Guard::default(), tls: None };
        let address = "127.0.0.1:0".parse().unwrap();
        let door = Door::open(address, (limits, ledger), gate, entrance, Arc::clone(&mailbox), poll).unwrap();
        Stage { path, door, mailbox }
    }

    /// Plays the handlers: one script for each connection, which gets it after its proof has been answered.
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
        let client = TcpStream::connect(self.door.address()).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        client
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.door.close(Instant::now());
        let _absent = std::fs::remove_file(&self.path);
    }
}

type Script = Box<dyn FnOnce(UnixStream) + Send>;

fn script(play: impl FnOnce(UnixStream) + Send + 'static) -> Script {
    Box::new(play)
}

/// Answers everything.
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

/// Sends a request and returns the status of the answer, whose head it reads to the end.
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
fn a_lost_connection_is_honest_about_what_was_under_way_and_made_anew() {
    let stage = Stage::new("lost");
    let lose = || script(|mut link| drop(read_request(&mut link)));
    stage.play(vec![lose(), lose(), script(answer_all)]);
    let mut client = stage.client();
    assert_eq!(ask(&mut client, POST), 504, "its message may have been handed over");
    assert_eq!(ask(&mut client, GET), 503, "that had no effect in any case");
    assert_eq!(ask(&mut client, POST), 404);
}

#[test]
fn handlers_out_of_step_are_given_up() {
    let stage = Stage::new("strange");
    let strange = |answer: &'static [u8]| {
        script(move |mut link: UnixStream| {
            read_request(&mut link);
            link.write_all(answer).unwrap();
            assert_eq!(read_request(&mut link), None, "the door hangs up");
        })
    };
    let twice = [NOT_FOUND, NOT_FOUND].concat().leak();
    stage.play(vec![strange(b"nonsense\r\n\r\n"), strange(twice), script(answer_all)]);
    let mut client = stage.client();
    assert_eq!(ask(&mut client, POST), 504);
    assert_eq!(ask(&mut client, GET), 404, "the answer before the surplus one is good");
    assert_eq!(ask(&mut client, GET), 404);
}

#[test]
fn a_ticket_filled_in_early_waits_for_its_turn_and_survives_a_lost_connection() {
    let stage = Stage::new("early");
    let fill_in = |mailbox: &Arc<Mailbox>, request: &str| {
        let visit = request.split(' ').nth(4).unwrap().parse().unwrap();
        Ticket::new(mailbox, visit).answer(Answer::json(200, b"{}".to_vec()));
    };
    let mailbox = Arc::clone(&stage.mailbox);
    let early = script(move |mut link| {
        let request = read_request(&mut link).unwrap();
        fill_in(&mailbox, &request);
        link.write_all(HELD).unwrap();
        let request = read_request(&mut link).unwrap();
        fill_in(&mailbox, &request);
    });
    stage.play(vec![early, script(answer_all)]);
    let mut client = stage.client();
    assert_eq!(ask(&mut client, POST), 200);
    assert_eq!(ask(&mut client, POST), 200, "its outcome is known, though the handlers are gone");
    assert_eq!(ask(&mut client, POST), 404);
}

/// Plays handlers who give each request a stream, which is sent to the test before or after they have said so.
fn streams(mailbox: &Arc<Mailbox>, early: bool) -> (Script, Receiver<Stream>) {
    let (sender, opened) = channel();
    let mailbox = Arc::clone(mailbox);
    let play = script(move |mut link| {
        while let Some(request) = read_request(&mut link) {
            let visit = request.split(' ').nth(4).unwrap().parse().unwrap();
            let open = || sender.send(Ticket::new(&mailbox, visit).open("")).unwrap();
            if early {
                open();
            }
            link.write_all(HELD).unwrap();
            if !early {
                open();
            }
        }
    });
    (play, opened)
}

#[test]
fn a_stream_whose_client_does_not_read_is_dropped_when_too_much_of_it_lies_there() {
    let stage = Stage::new("unread");
    let (play, opened) = streams(&stage.mailbox, false);
    stage.play(vec![play]);
    let mut client = stage.client();
    client.write_all(GET.as_bytes()).unwrap();
    let stream = opened.recv().unwrap();
    let (piece, mut pushed) = (Arc::from(vec![b'x'; 64 * 1024]), 0);
    while !stream.is_over() {
        stream.push(Arc::clone(&piece));
        pushed += 1;
        assert!(pushed < 1024, "64 MiB are held for a client that reads nothing");
        thread::sleep(Duration::from_millis(1)); // so that the door is never behind
    }
}

#[test]
fn a_stream_ends_for_its_client_and_its_place_is_free() {
    for early in [true, false] {
        let stage = Stage::new(&format!("ends-{early}"));
        let (play, opened) = streams(&stage.mailbox, early);
        stage.play(vec![play]);
        // More than there are places.
        for _ in 0..150 {
            let mut client = stage.client();
            client.write_all(GET.as_bytes()).unwrap();
            let stream = opened.recv().unwrap();
            stream.push(Arc::from(*b"abc"));
            drop(stream);
            let mut answer = String::new();
            client.read_to_string(&mut answer).unwrap();
            assert!(answer.ends_with("\r\n\r\n3\r\nabc\r\n0\r\n\r\n"), "{answer}");
        }
        for _ in 0..150 {
            let mut client = stage.client();
            client.write_all(GET.as_bytes()).unwrap();
            let stream = opened.recv().unwrap();
            drop(client);
            let deadline = Instant::now() + Duration::from_secs(30);
            while !stream.is_over() {
                assert!(Instant::now() < deadline, "its client has left");
                thread::yield_now();
            }
        }
    }
}

#[test]
fn clients_wait_for_handlers_that_come_late_or_are_dumb_at_first() {
    let stage = Stage::new("late");
    let mut client = stage.client();
    let listener = UnixListener::bind(&stage.path).unwrap();
    thread::spawn(move || {
        let (_dumb, _) = listener.accept().unwrap();
        answer_all(listener.accept().unwrap().0);
    });
    assert_eq!(ask(&mut client, POST), 404);
}
