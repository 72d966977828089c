//! The load of the figures of messages out over HTTP: the same for our endpoint and for ElasticMQ's SQS
//! interface, so that both are measured by one program.
//!
//! - `fill KIND ADDRESS NAME MESSAGES` puts messages in, numbered from 0 on
//! - `pull KIND ADDRESS NAME MESSAGES BATCH CONNECTIONS` receives and acknowledges all of them
//! - `latency KIND ADDRESS NAME MESSAGES` posts one message after the other while a receiver waits
//! - `target MILLISECONDS` is a server to push to, which does what its standard input says
//!
//! KIND is `ours` or `sqs`, NAME the topic (and group) or the queue. What was measured is one line of JSON on
//! standard output.

mod connection;
mod kind;
mod latency;
mod pull;
mod target;

use std::error::Error;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use connection::Connection;
use kind::Kind;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Connections that put messages in.
const FILLERS: usize = 8;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["fill", kind, address, name, messages] => fill(&Kind::of(kind, address, name)?, messages.parse()?),
        ["pull", kind, address, name, messages, batch, connections] => {
            let kind = Kind::of(kind, address, name)?;
            pull::run(&kind, messages.parse()?, batch.parse()?, connections.parse()?)
        }
        ["latency", kind, address, name, messages] => {
            latency::run(&Kind::of(kind, address, name)?, messages.parse()?)
        }
        ["target", milliseconds] => target::run(milliseconds.parse()?),
        _ => Err("fill, pull, latency or target, with the arguments that the file's head names".into()),
    }
}

fn fill(kind: &Kind, messages: u64) -> Outcome<()> {
    let next = AtomicU64::new(0);
    thread::scope(|scope| {
        let fillers: Vec<_> = (0..FILLERS)
            .map(|_| {
                scope.spawn(|| -> Outcome<()> {
                    let mut connection = Connection::open(kind.address())?;
                    loop {
                        let most = kind.most_sent();
                        let first = next.fetch_add(most, Ordering::Relaxed);
                        if first >= messages {
                            return Ok(());
                        }
                        kind.send(&mut connection, first..messages.min(first + most))?;
                    }
                })
            })
            .collect();
        fillers.into_iter().try_for_each(|filler| filler.join().map_err(|_| "a filler panicked")?)
    })
}
