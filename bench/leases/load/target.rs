//! A server that messages are pushed to. It works on each for a time, and takes it or not, as the last line
//! of its standard input said: `200` or `503`. After `tell` it says how many it has taken and refused, and
//! the most that it had at a time since the last `tell`.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::json;

use super::Outcome;

struct Target {
    work: Duration,
    status: AtomicU16,
    taken: AtomicU64,
    refused: AtomicU64,
    in_flight: AtomicU64,
    most: AtomicU64,
}

/// Serves until its standard input ends; prints its port first.
pub fn run(milliseconds: u64) -> Outcome<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?.port());
    let target = Arc::new(Target {
        work: Duration::from_millis(milliseconds),
        status: AtomicU16::new(200),
        taken: AtomicU64::new(0),
        refused: AtomicU64::new(0),
        in_flight: AtomicU64::new(0),
        most: AtomicU64::new(0),
    });
    let serving = Arc::clone(&target);
    thread::Builder::new().name("accepts".to_owned()).spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let target = Arc::clone(&serving);
            let served = thread::Builder::new().stack_size(128 * 1024).spawn(move || target.serve(stream));
            if let Err(error) = served {
                eprintln!("no thread for a connection: {error}");
            }
        }
    })?;
    for line in io::stdin().lines() {
        match line?.as_str() {
            "tell" => println!("{}", target.tell()),
            status => target.status.store(status.parse()?, Ordering::Relaxed),
        }
    }
    Ok(())
}

impl Target {
    fn tell(&self) -> serde_json::Value {
        let count = |number: &AtomicU64| number.load(Ordering::Relaxed);
        let now = count(&self.in_flight);
        let most = self.most.swap(now, Ordering::Relaxed).max(now);
        json!({ "taken": count(&self.taken), "refused": count(&self.refused), "most_in_flight": most })
    }

    /// A connection ends with whoever has opened it.
    fn serve(&self, mut stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let (mut read, mut bytes) = (Vec::new(), [0; 8 * 1024]);
        loop {
            while let Some(length) = request_of(&read)? {
                read.drain(..length);
                let now = self.in_flight.fetch_add(1, Ordering::Relaxed) + 1;
                self.most.fetch_max(now, Ordering::Relaxed);
                let status = self.status.load(Ordering::Relaxed);
                thread::sleep(self.work);
                let count = if status == 200 { &self.taken } else { &self.refused };
                count.fetch_add(1, Ordering::Relaxed);
                self.in_flight.fetch_sub(1, Ordering::Relaxed);
                write!(stream, "HTTP/1.1 {status} .\r\nContent-Length: 0\r\n\r\n")?;
            }
            match stream.read(&mut bytes)? {
                0 => return Ok(()),
                count => read.extend_from_slice(bytes.get(..count).unwrap_or_default()),
            }
        }
    }
}

/// The length of a whole request, once it is there.
fn request_of(bytes: &[u8]) -> io::Result<Option<usize>> {
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut fields);
    let httparse::Status::Complete(head) = request.parse(bytes).map_err(io::Error::other)? else {
        return Ok(None);
    };
    let length = request.headers.iter().find(|field| field.name.eq_ignore_ascii_case("content-length"));
    let length: usize =
        length.and_then(|field| std::str::from_utf8(field.value).ok()?.parse().ok()).unwrap_or(0);
    Ok((bytes.len() >= head + length).then_some(head + length))
}
