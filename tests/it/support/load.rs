//! Load over HTTP with a book of what became of every message, and the check of that book against what was
//! consumed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::eventually;
use super::http::{Answer, Connection};
use super::kafka::Kafka;
use super::program::{Program, received_by};

/// A broker that comes back after a kill needs up to half a minute until it takes messages again.
pub const RECOVERY: Duration = Duration::from_secs(150);

/// What the answers said about each message, by its number.
#[derive(Debug, Default, Clone)]
pub struct Book {
    /// 200: partition and offset.
    pub stored: BTreeMap<u64, (i32, i64)>,
    /// 503: certainly not stored.
    pub refused: BTreeSet<u64>,
    /// 504, or a connection that broke before the answer: may be stored or not.
    pub unknown: BTreeSet<u64>,
    /// Anything else, which no test expects: the status and the body.
    pub odd: Vec<(u16, String)>,
}

impl Book {
    /// How many messages were sent.
    pub fn total(&self) -> usize {
        self.stored.len() + self.refused.len() + self.unknown.len() + self.odd.len()
    }

    /// Notes what the answer says of a message.
    pub fn note(&mut self, number: u64, answer: &Answer) {
        match answer.status {
            200 => {
                let json = answer.json();
                let place = (json["partition"].as_i64(), json["offset"].as_i64());
                let (Some(partition), Some(offset)) = place else { panic!("no place in the answer {json}") };
                self.stored.insert(number, (partition as i32, offset));
            }
            503 => drop(self.refused.insert(number)),
            504 => drop(self.unknown.insert(number)),
            status => self.odd.push((status, String::from_utf8_lossy(&answer.body).into_owned())),
        }
    }

    /// Checks the promises about answers against the numbers that were consumed, in any order: every stored
    /// message is there, no refused one is, nothing that was never sent, and at most `repeats` messages are
    /// there once more.
    pub fn check(&self, consumed: &[u64], repeats: usize) {
        assert!(self.odd.is_empty(), "unexpected answers: {:?}", &self.odd[..self.odd.len().min(5)]);
        let set: BTreeSet<u64> = consumed.iter().copied().collect();
        let stored: BTreeSet<u64> = self.stored.keys().copied().collect();
        let lost: Vec<_> = stored.difference(&set).take(10).collect();
        assert!(lost.is_empty(), "answered with 200 but not consumed: {lost:?} ...");
        let false_refusals: Vec<_> = self.refused.intersection(&set).take(10).collect();
        assert!(false_refusals.is_empty(), "answered with 503 but consumed: {false_refusals:?} ...");
        let strangers: Vec<_> =
            set.iter().filter(|n| !stored.contains(n) && !self.unknown.contains(n)).take(10).collect();
        assert!(strangers.is_empty(), "consumed but never sent: {strangers:?} ...");
        let mut seen = BTreeSet::new();
        let again: Vec<_> = consumed.iter().filter(|n| !seen.insert(**n)).collect();
        assert!(again.len() <= repeats, "{} consumed again, {repeats} allowed: {again:?}", again.len());
    }

    /// Reads the topic with Java's client and checks the answers against what is really stored, duplicates
    /// included.
    pub fn check_topic(&self, kafka: &Kafka, topic: &str) {
        let records = kafka.assistant().read(topic, false);
        let values: Vec<String> = records
            .iter()
            .map(|r| String::from_utf8_lossy(r.value.as_deref().unwrap_or_default()).into_owned())
            .collect();
        let mut places: BTreeMap<u64, Vec<(i32, i64)>> = BTreeMap::new();
        for (record, number) in records.iter().zip(numbers_of(&values)) {
            places.entry(number).or_default().push((record.partition, record.offset));
        }
        let doubled: Vec<_> = places.iter().filter(|(_, places)| places.len() > 1).take(20).collect();
        assert!(doubled.is_empty(), "stored more than once (number, places): {doubled:?}");
        self.check(&numbers_of(&values), 0);
        for (record, number) in records.iter().zip(numbers_of(&values)) {
            if let Some(place) = self.stored.get(&number) {
                let found = (record.partition, record.offset);
                assert_eq!(*place, found, "message {number} is not where the answer says");
            }
        }
    }

    /// Waits until the consumers have printed every stored message, and checks that each of them printed so
    /// many again at most: an outage of a cluster may cost it one, that in hand, whose commit the outage
    /// swallowed.
    pub fn check_consumers(&self, consumers: &[&Program], repeats: usize) {
        eventually("all that is stored is printed", RECOVERY, || {
            let printed: BTreeSet<u64> = numbers_of(received_by(consumers)).into_iter().collect();
            self.stored.keys().all(|number| printed.contains(number)).then_some(())
        });
        self.check(&numbers_of(received_by(consumers)), repeats * consumers.len());
    }
}

/// The number of a message of [`Load`], from the line of the consumer or from the record's value.
pub fn number_of(message: &str) -> u64 {
    let value: serde_json::Value = serde_json::from_str(message).unwrap_or_default();
    value["id"].as_u64().unwrap_or_else(|| panic!("no message of this load: {message:?}"))
}

/// The numbers of many messages.
pub fn numbers_of<T: AsRef<str>>(messages: impl IntoIterator<Item = T>) -> Vec<u64> {
    messages.into_iter().map(|message| number_of(message.as_ref())).collect()
}

/// Threads that post numbered messages, each on a kept connection.
pub struct Load {
    threads: Vec<JoinHandle<()>>,
    book: Arc<Mutex<Book>>,
    stop: Arc<AtomicBool>,
}

impl Load {
    /// Starts `connections` threads that post `{"id":N,"contenido":...}` until `limit` messages were sent or
    /// [`Load::finish`] is called.
    pub fn start(address: SocketAddr, connections: usize, limit: u64) -> Load {
        let book = Arc::new(Mutex::new(Book::default()));
        let stop = Arc::new(AtomicBool::new(false));
        let next = Arc::new(AtomicU64::new(0));
        let threads = (0..connections)
            .map(|_| {
                let (book, stop, next) = (Arc::clone(&book), Arc::clone(&stop), Arc::clone(&next));
                thread::spawn(move || post_until(address, limit, &next, &stop, &book))
            })
            .collect();
        Load { threads, book, stop }
    }

    /// The book so far.
    pub fn so_far(&self) -> Book {
        self.book.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many messages were stored so far.
    pub fn stored(&self) -> usize {
        self.book.lock().unwrap_or_else(PoisonError::into_inner).stored.len()
    }

    /// Waits until `count` more messages are stored: the channel works (again).
    pub fn wait_for_progress(&self, count: usize) {
        let goal = self.stored() + count;
        let enough = || (self.stored() >= goal).then_some(());
        eventually(&format!("{count} more messages are stored"), RECOVERY, enough);
    }

    /// Has the only node stopped, and then killed, and started again each time, with messages stored in
    /// between.
    pub fn outlast_a_stop_and_a_kill(self, kafka: &Kafka) -> Book {
        self.wait_for_progress(300);
        kafka.stop_node(0);
        kafka.start_node(0);
        self.wait_for_progress(300);
        kafka.kill_node(0);
        kafka.start_node(0);
        self.wait_for_progress(300);
        self.finish()
    }

    /// Waits until all messages have their answers.
    pub fn wait(mut self) -> Book {
        for thread in self.threads.drain(..) {
            thread.join().expect("a load thread panicked");
        }
        self.so_far()
    }

    /// Sends no further message and waits for the answers that are still out.
    pub fn finish(self) -> Book {
        self.stop.store(true, Ordering::Relaxed);
        self.wait()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// One connection's work. A broken connection costs the message on it its certainty, and is replaced.
fn post_until(address: SocketAddr, limit: u64, next: &AtomicU64, stop: &AtomicBool, book: &Mutex<Book>) {
    let mut connection = None;
    while !stop.load(Ordering::Relaxed) {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= limit {
            return;
        }
        let body = format!(r#"{{"id":{number},"contenido":"Hola desde Kafka"}}"#);
        let answer = match connection.take().map_or_else(|| Connection::open(address), Ok) {
            Ok(mut open) => open.post("/enviar", body.as_bytes()).map(|answer| (answer, open)),
            Err(error) => panic!("the server does not accept connections: {error}"),
        };
        let mut book = book.lock().unwrap_or_else(PoisonError::into_inner);
        let Ok((answer, open)) = answer else {
            book.unknown.insert(number);
            continue;
        };
        book.note(number, &answer);
        let refused = answer.status == 503;
        drop(book);
        if answer.header("connection") != Some("close") {
            connection = Some(open);
        }
        if refused {
            // A client that is told to come back later does so, instead of filling the book with refusals.
            thread::sleep(Duration::from_millis(20));
        } else if limit == u64::MAX {
            // Load without an end leaves the cores to those under load, and to other tests.
            thread::sleep(Duration::from_millis(5));
        }
    }
}
