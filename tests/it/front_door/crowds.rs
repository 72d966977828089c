//! Many connections at once, large bodies at once, and descriptors that run out. Where a limit of the process
//! matters, the test runs in a child of its own.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Instant;

use point_to_point::config::ProducerApiSettings;

use super::support::{Client, PATIENCE, post, settings, start, until};

/// This test program again, with another limit of open files, running one of the tests that are ignored
/// otherwise.
fn again(test: &str, descriptors: u32) -> Command {
    let mut command = Command::new("sh");
    let script = format!("ulimit -n {descriptors} && exec \"$0\" --exact {test} --ignored --nocapture");
    command.arg("-c").arg(script).arg(std::env::current_exe().unwrap());
    command
}

/// The variable that says how many descriptors are in use for something else.
const USED: &str = "FRONT_DOOR_TEST_USED_DESCRIPTORS";

/// A server in a process of its own; it ends with this value.
struct Server {
    child: Child,
    address: SocketAddr,
    /// Kept, so that it can go on writing there.
    _output: BufReader<ChildStdout>,
}

impl Server {
    /// With so many descriptors, of which so many are in use for something else.
    fn start(descriptors: u32, used: u32, temporary: &Path) -> Server {
        let mut command = again("front_door::crowds::serve_until_the_input_ends", descriptors);
        command.env(USED, used.to_string());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).env("TMPDIR", temporary);
        let mut child = command.spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut lines = output.by_ref().lines().map_while(Result::ok);
        let address = lines.find_map(|line| line.split_once("listening on ")?.1.parse().ok());
        Server { child, address: address.expect("the server says where it listens"), _output: output }
    }

    fn stop(&mut self) {
        drop(self.child.stdin.take());
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ended = self.child.wait();
    }
}

/// A directory that is removed in the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("front-door-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn entries(&self) -> Vec<PathBuf> {
        std::fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().path()).collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _removed = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
#[ignore = "a part of other tests, in a process of its own"]
fn serve_until_the_input_ends() {
    let used = std::env::var(USED).unwrap().parse().unwrap();
    let _used: Vec<File> = (0..used).map(|_| File::open("/dev/null").unwrap()).collect();
    let (server, _channel) = start(&settings());
    println!("listening on {}", server.address());
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    server.stop(Instant::now() + PATIENCE);
}

#[test]
fn when_descriptors_run_out_everybody_is_served_as_soon_as_there_is_room() {
    let folder = Folder::new("descriptors");
    // More connections are allowed than there is room for.
    let server = Server::start(200, 150, &folder.0);
    let mut crowd: Vec<Client> = (0..200).map(|_| Client::connect(server.address)).collect();
    for client in &mut crowd {
        client.send(post("", "1"));
    }
    for mut client in crowd {
        assert_eq!(client.answer().status, 200); // and it leaves, so that the next has room
    }
    assert_eq!(Client::connect(server.address).ask(post("", "2")).status, 200);
}

#[test]
fn connections_leave_descriptors_for_the_way_to_kafka() {
    let folder = Folder::new("spare");
    let server = Server::start(100, 20, &folder.0);
    let mut served: Vec<Client> = (0..36).map(|_| Client::connect(server.address)).collect();
    for client in &mut served {
        assert_eq!(client.ask(post("", "1")).status, 200);
    }
    let mut next = Client::connect(server.address);
    next.send(post("", "2"));
    assert_eq!(served[0].ask(post("", "3")).status, 200);
    assert!(!next.has_input(), "there are descriptors left, but not for clients");
    drop(served);
    assert_eq!(next.answer().status, 200);
}

#[test]
fn the_handlers_socket_is_private_and_gone_in_the_end() {
    let folder = Folder::new("private");
    let mut server = Server::start(256, 0, &folder.0);
    let [directory] = folder.entries().try_into().unwrap();
    assert_eq!(std::fs::metadata(&directory).unwrap().permissions().mode() & 0o777, 0o700);
    for header in ["", "X-Door: 0123456789abcdef0123456789abcdef 1.1 x\r\n", "X-Door: \r\n"] {
        let mut stream = UnixStream::connect(directory.join("http")).unwrap();
        let request =
            format!("POST /enviar HTTP/1.1\r\n{header}Content-Length: 1\r\nConnection: close\r\n\r\n1");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    }
    assert_eq!(
        Client::connect(server.address).ask(post("", "1")).status,
        200,
        "the door still has its way in"
    );
    server.stop();
    assert_eq!(folder.entries().len(), 0);
}

#[test]
fn a_thousand_idle_and_slow_connections_do_not_keep_others_from_service() {
    let output = again("front_door::crowds::a_thousand_connections", 4096).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
#[ignore = "a part of another test, in a process of its own"]
fn a_thousand_connections() {
    let (server, channel) = start(&settings());
    let request = post("", "[1]");
    let mut crowd: Vec<Client> = (0..1000).map(|_| Client::connect(server.address())).collect();
    for (number, client) in crowd.iter_mut().enumerate() {
        client.send(&request[..number % request.len()]);
    }
    for _ in 0..10 {
        assert_eq!(Client::connect(server.address()).ask(post("", "2")).status, 200);
    }
    for (number, client) in crowd.iter_mut().enumerate() {
        assert_eq!(client.ask(&request[number % request.len()..]).status, 200);
    }
    assert_eq!(channel.taken().len(), 1010);
}

#[test]
fn more_connections_than_allowed_wait_for_their_turn() {
    let (server, _channel) = start(&ProducerApiSettings { max_connections: 5, ..settings() });
    let mut crowd: Vec<Client> = (0..50).map(|_| Client::connect(server.address())).collect();
    for client in &mut crowd {
        client.send(post("", "1"));
    }
    for mut client in crowd {
        assert_eq!(client.answer().status, 200);
    }
}

#[test]
fn large_bodies_at_once_have_a_common_limit() {
    let (server, channel) = start(&settings());
    let body = format!("\"{}\"", "x".repeat(999_998));
    let request = post("", &body);
    let mut crowd: Vec<Client> = (0..80).map(|_| Client::connect(server.address())).collect();
    for client in &mut crowd {
        client.send(&request[..request.len() - 1]);
    }
    let mut refused = 0;
    until("those beyond the limit are refused", || {
        crowd.retain_mut(|client| {
            let answered = client.has_input();
            if answered {
                assert_eq!(client.answer().code(), "overloaded");
                refused += 1;
            }
            !answered
        });
        refused >= 10
    });
    assert_eq!(
        Client::connect(server.address()).ask(post("", "1")).status,
        200,
        "small ones always have room"
    );
    let mut stored = 0;
    for client in &mut crowd {
        client.send("\"");
        let answer = client.answer();
        match answer.status {
            200 => stored += 1,
            _ => assert_eq!(answer.code(), "overloaded"),
        }
    }
    assert!(stored >= 32, "{stored} of 80 were stored, though half the limit is room for more");
    assert_eq!(channel.taken().len(), stored + 1);
    let mut later = Client::connect(server.address());
    assert_eq!(later.ask(&request).status, 200, "there is room again");
}
