//! What a machine runs out of besides room for messages: disks that fail, descriptors, room for the log.
//! Everybody says it, what can go on goes on, and nothing has to be started again.

mod descriptors;
mod disks;
mod free_space;
mod log_file;

use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::Value;

use crate::support::http::{Answer, Connection, RawClient};
use crate::support::program::{Program, binary};
use crate::support::{PATIENCE, eventually};

/// What a GET on a connection of its own is answered; `None` if the connection is lost.
fn try_get(address: SocketAddr, path: &str) -> Option<Answer> {
    Connection::open(address).and_then(|mut connection| connection.get(path)).ok()
}

/// Waits until `/readyz` has this status and says this, on a connection of its own, and prints how long that
/// took.
fn wait_for_readyz(api: &Program, status: u16, what: &str) {
    let begin = Instant::now();
    let mut last = None;
    eventually(&format!("/readyz says {status}, {what:?}"), PATIENCE, || {
        last = try_get(api.address(), "/readyz");
        let answer = last.as_ref()?;
        let said: Value = answer.json();
        (answer.status == status && said.to_string().contains(what)).then_some(())
    });
    println!("/readyz says {status}, {what:?} after {:?}", begin.elapsed());
}

/// Waits until `/readyz` says that messages can be stored, without any warning.
fn wait_until_all_is_well(api: &Program) {
    eventually("all is well", PATIENCE, || {
        let answer = try_get(api.address(), "/readyz")?;
        (answer.status == 200 && answer.json().get("warnings").is_none()).then_some(())
    });
}

/// What `status` with these settings prints on both outputs.
fn status(settings: &[(&str, &str)]) -> String {
    let mut command = Command::new(binary("point-to-point"));
    command.arg("status").stdin(Stdio::null());
    settings.iter().for_each(|(key, value)| _ = command.args(["--set", &format!("{key}={value}")]));
    let output = command.output().expect("status runs");
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

/// A viewer of the page's events.
fn watch(api: &Program) -> RawClient<TcpStream> {
    use std::io::Write;
    let mut stream = TcpStream::connect(api.address()).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.write_all(b"GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").expect("it reads");
    let mut viewer = RawClient::new(stream);
    viewer.read_until("event: warnings\ndata: []").expect("nothing is wrong yet");
    viewer
}
