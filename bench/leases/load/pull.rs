//! Workers that receive and acknowledge, each on a connection of its own.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::Outcome;
use super::connection::Connection;
use super::kind::Kind;

/// A worker that gets nothing for so long gives up: messages are missing.
const PATIENCE: Duration = Duration::from_secs(60);

/// What all workers share.
struct Work {
    /// How often each message was received.
    received: Vec<AtomicU32>,
    /// Messages that are received and acknowledged, each once.
    done: AtomicU64,
    begun: OnceLock<Instant>,
    ended: Mutex<Option<Instant>>,
}

/// Receives and acknowledges so many messages; prints what that took, from the first one received to the last
/// one acknowledged.
pub fn run(kind: &Kind, messages: usize, batch: usize, connections: usize) -> Outcome<()> {
    let work = Work {
        received: (0..messages).map(|_| AtomicU32::new(0)).collect(),
        done: AtomicU64::new(0),
        begun: OnceLock::new(),
        ended: Mutex::new(None),
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..connections).map(|_| scope.spawn(|| work.work(kind, batch))).collect();
        workers.into_iter().try_for_each(|worker| worker.join().map_err(|_| "a worker panicked")?)
    })?;
    let ended = work.ended.lock().unwrap_or_else(PoisonError::into_inner).ok_or("no message came")?;
    let seconds = ended.duration_since(*work.begun.get().ok_or("no message came")?).as_secs_f64();
    let times: Vec<u32> = work.received.iter().map(|times| times.load(Ordering::Relaxed)).collect();
    let (missing, twice) =
        (times.iter().filter(|times| **times == 0).count(), times.iter().filter(|times| **times > 1).count());
    println!("{}", json!({ "seconds": seconds, "missing": missing, "twice": twice }));
    Ok(())
}

impl Work {
    fn is_done(&self) -> bool {
        self.done.load(Ordering::Relaxed) >= self.received.len() as u64
    }

    fn work(&self, kind: &Kind, batch: usize) -> Outcome<()> {
        let mut connection = Connection::open(kind.address())?;
        let mut last = Instant::now();
        while !self.is_done() && last.elapsed() < PATIENCE {
            kind.ask(&mut connection, batch, 1)?;
            let messages = kind.received(&mut connection)?;
            if messages.is_empty() {
                continue;
            }
            last = Instant::now();
            self.begun.get_or_init(|| last);
            kind.acknowledge(&mut connection, &messages)?;
            let is_new = |number: u64| -> Outcome<bool> {
                let times = self.received.get(usize::try_from(number)?).ok_or("a message of another run")?;
                Ok(times.fetch_add(1, Ordering::Relaxed) == 0)
            };
            for message in &messages {
                if is_new(message.number)?
                    && self.done.fetch_add(1, Ordering::Relaxed) + 1 == self.received.len() as u64
                {
                    *self.ended.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
                }
            }
        }
        Ok(())
    }
}
