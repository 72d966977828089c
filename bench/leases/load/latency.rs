//! From a message's POST to the answer of a receive that waited for it.

use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::Outcome;
use super::connection::Connection;
use super::kind::Kind;

/// From the receiver's request to the POST: it has to wait by then.
const SETTLES: Duration = Duration::from_millis(5);

/// Posts so many messages, one after the other; prints the milliseconds that each took, in order of size.
pub fn run(kind: &Kind, messages: u64) -> Outcome<()> {
    let (waits, receiver_waits) = channel::<()>();
    let (posted, was_posted) = channel::<Instant>();
    let mut took = thread::scope(|scope| {
        let poster = scope.spawn(move || -> Outcome<()> {
            let mut connection = Connection::open(kind.address())?;
            for (number, ()) in (0..).zip(receiver_waits) {
                thread::sleep(SETTLES);
                let _ = posted.send(Instant::now());
                kind.send_one(&mut connection, number)?;
            }
            Ok(())
        });
        let took = (|| -> Outcome<Vec<f64>> {
            let waits = waits;
            let mut connection = Connection::open(kind.address())?;
            // The first receive joins the group.
            kind.ask(&mut connection, 1, 5)?;
            if !kind.received(&mut connection)?.is_empty() {
                return Err("there was a message before the first one was posted".into());
            }
            let mut took = Vec::new();
            for _ in 0..messages {
                kind.ask(&mut connection, 1, 20)?;
                waits.send(())?;
                let received = kind.received(&mut connection)?;
                let came = Instant::now();
                if received.len() != 1 {
                    return Err("a message did not come".into());
                }
                took.push(came.duration_since(was_posted.recv()?).as_secs_f64() * 1_000.0);
                kind.acknowledge(&mut connection, &received)?;
            }
            Ok(took)
        })()?;
        poster.join().map_err(|_| "the poster panicked")??;
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(took)
    })?;
    took.sort_by(f64::total_cmp);
    println!("{}", json!({ "milliseconds": took }));
    Ok(())
}
