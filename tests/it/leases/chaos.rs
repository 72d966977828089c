//! Workers behind two endpoints: each request goes to either by chance. Workers die with what they have,
//! connections are cut before the answer, endpoints are killed. What the workers have noted shows that
//! nothing is lost, no message is acknowledged by two, none comes again after that, and each key keeps its
//! order.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use testing::Random;

use super::scene::{Message, Scene};
use crate::support::http::Connection;
use crate::support::kafka::Kafka;
use crate::support::program::Program;
use crate::support::size::{seeds, sized};
use crate::support::{EMBEDDED, NEWEST, PATIENCE, eventually, run_on};

run_on! {
    mod embedded on EMBEDDED {
        workers_die_and_endpoints_of_one_broker_are_killed as HEAVY,
    }
}

const PARTITIONS: usize = 4;
const KEYS: usize = 30;
const WORKERS: usize = 6;
/// How long a worker has for a message; it needs far less, unless it is slow, and too late with all it has.
const LEASE_MS: u64 = 5_000;
const SLOW_LEASE_MS: u64 = 1_000;
/// Workers are slow in so many of 100 requests.
const SLOW: usize = 5;
/// How long one endpoint may be silent before a worker gives a request up.
const SILENCE: Duration = Duration::from_secs(5);

/// What a worker does to a message in the end, of 1,000.
const DIES: usize = 15;
const CUTS: usize = 30;
const GIVES_BACK: usize = 50;

type Place = (i64, i64);

/// What is known of a message. Times are numbers of one row of events.
#[derive(Debug, Default, Clone)]
struct Told {
    key: String,
    number: i64,
    /// When it was received.
    received: Vec<usize>,
    /// When a worker began to say that it is handled, where that may be so.
    acknowledging: Vec<usize>,
    /// When the answer to that was 200, by receipt.
    acknowledged: BTreeMap<String, usize>,
}

/// What all workers have seen.
struct Book {
    clock: AtomicUsize,
    messages: Mutex<BTreeMap<Place, Told>>,
    wrong: Mutex<Vec<String>>,
    endpoints: Mutex<[SocketAddr; 2]>,
}

impl Book {
    fn now(&self) -> usize {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }

    fn told<T>(&self, message: &Message, change: impl FnOnce(&mut Told) -> T) -> T {
        let mut messages = self.messages.lock().unwrap();
        let told = messages.entry(message.place()).or_default();
        told.key = message.0["key"].as_str().expect("a key").to_owned();
        told.number = message.value().as_i64().expect("a number");
        change(told)
    }

    fn acknowledged(&self) -> usize {
        self.messages.lock().unwrap().values().filter(|told| !told.acknowledged.is_empty()).count()
    }

    /// Notes a message that came to a request which began at `asked`.
    fn receive(&self, message: &Message, asked: usize) {
        let now = self.now();
        let before = self.told(message, |told| {
            told.received.push(now);
            told.acknowledged.values().min().copied()
        });
        if before.is_some_and(|at| at < asked) {
            self.wrong.lock().unwrap().push(format!("{message:?} came after it was acknowledged"));
        }
    }
}

/// A worker; it has a connection for each request, as a balancer would.
struct Worker<'a> {
    book: &'a Book,
    random: Random,
}

impl Worker<'_> {
    /// The answer to a request to either endpoint; none where it is gone, or silent.
    fn post(&mut self, path: &str, body: &Value) -> Option<(u16, Value)> {
        let endpoints = *self.book.endpoints.lock().unwrap();
        let mut connection = Connection::open(endpoints[self.random.below(2)]).ok()?;
        connection.limit(SILENCE);
        let answer = connection.post(path, body.to_string().as_bytes()).ok()?;
        Some((answer.status, serde_json::from_slice(&answer.body).ok()?))
    }

    /// Receives and handles once; the connection of the last word may be cut.
    fn work(&mut self) {
        let asked = self.book.now();
        let is_slow = self.random.below(100) < SLOW;
        let lease = if is_slow { SLOW_LEASE_MS } else { LEASE_MS };
        let path = format!("/recibir?max={}&wait_ms=300&lease_ms={lease}", 1 + self.random.below(5));
        let Some((200, answer)) = self.post(&path, &json!({})) else {
            return thread::sleep(Duration::from_millis(20));
        };
        let received: Vec<Message> =
            answer["messages"].as_array().expect("messages").iter().cloned().map(Message).collect();
        for message in &received {
            self.book.receive(message, asked);
        }
        if is_slow && !received.is_empty() {
            thread::sleep(Duration::from_millis(2 * SLOW_LEASE_MS));
        }
        for message in received {
            let chance = self.random.below(1_000);
            let receipts = json!({"receipts": [message.receipt()]});
            if chance < DIES {
                // With all that it has.
                return;
            } else if chance < DIES + CUTS {
                self.say_and_leave(&message, &receipts);
            } else if chance < DIES + CUTS + GIVES_BACK {
                let body = json!({"receipts": [message.receipt()], "delay_ms": 10});
                let _ = self.post("/devolver", &body);
            } else {
                self.acknowledge(&message, &receipts);
            }
        }
    }

    /// Says that a message is handled, again where there was no answer, up to three times.
    fn acknowledge(&mut self, message: &Message, receipts: &Value) {
        for _ in 0..3 {
            let begun = self.book.now();
            let answer = self.post("/confirmar", receipts);
            let now = self.book.now();
            let result = answer.map(|(_, answer)| answer["results"][0]["status"].as_u64());
            match result {
                Some(Some(200)) => {
                    return self.book.told(message, |told| {
                        told.acknowledging.push(begun);
                        told.acknowledged.entry(message.receipt().to_owned()).or_insert(now);
                    });
                }
                // The lease has ended, and nothing has changed.
                Some(Some(409)) => return,
                Some(Some(503)) => {}
                Some(Some(504)) | None | Some(None) => {
                    self.book.told(message, |told| told.acknowledging.push(begun));
                }
                other => {
                    let words = format!("{other:?} to the acknowledgement of {message:?}");
                    return self.book.wrong.lock().unwrap().push(words);
                }
            }
        }
    }

    /// Says that a message is handled, and does not wait for the answer.
    fn say_and_leave(&mut self, message: &Message, receipts: &Value) {
        let begun = self.book.now();
        self.book.told(message, |told| told.acknowledging.push(begun));
        let endpoints = *self.book.endpoints.lock().unwrap();
        if let Ok(mut connection) = Connection::open(endpoints[self.random.below(2)]) {
            let body = receipts.to_string();
            let head = format!(
                "POST /confirmar HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            connection.send(format!("{head}{body}").as_bytes());
        }
    }
}

/// Checks what the book tells of each key, and of each message.
fn check(book: &Book, count: usize) {
    let wrong = book.wrong.lock().unwrap();
    assert!(wrong.is_empty(), "{wrong:#?}");
    let messages = book.messages.lock().unwrap();
    assert_eq!(messages.len(), count, "each message came to somebody");
    let mut by_key: BTreeMap<&str, BTreeMap<i64, &Told>> = BTreeMap::new();
    for (place, told) in messages.iter() {
        assert!(told.acknowledged.len() <= 1, "{place:?} was acknowledged by two: {told:?}");
        by_key.entry(&told.key).or_default().insert(told.number, told);
    }
    for (key, told) in by_key {
        for (one, next) in told.values().zip(told.values().skip(1)) {
            let begun = one.acknowledging.iter().min();
            let came = next.received.iter().min();
            assert!(
                begun < came,
                "{key}: {} came before {} was done: {one:?} {next:?}",
                next.number,
                one.number
            );
        }
    }
}

fn endpoint(scene: &Scene<'_>) -> Program {
    let start = scene.start().set("consumer.session_timeout_ms", "6000");
    Program::producer_with(start.set("retry.max_attempts", "0").set("log.level", "warn"))
}

fn run(scene: &Scene<'_>, seed: u64, count: usize, kills: usize) {
    let assistant = scene.kafka.assistant();
    for number in 0..count {
        let key = number % KEYS;
        let (name, value) = (format!("key-{key}"), number.to_string());
        let partition = (key % PARTITIONS) as i32;
        assistant.put(&scene.topic, partition, Some(name.as_bytes()), Some(value.as_bytes()));
    }
    let mut endpoints = [endpoint(scene), endpoint(scene)];
    let book = Book {
        clock: AtomicUsize::new(0),
        messages: Mutex::default(),
        wrong: Mutex::default(),
        endpoints: Mutex::new([endpoints[0].address(), endpoints[1].address()]),
    };
    let mut random = Random::new(seed);
    let end = AtomicUsize::new(0);
    thread::scope(|threads| {
        let ends = End(&end);
        for index in 0..WORKERS {
            let (book, end) = (&book, &end);
            let random = Random::new(seed * 1_000 + index as u64);
            threads.spawn(move || {
                let mut worker = Worker { book, random };
                while end.load(Ordering::SeqCst) == 0 {
                    worker.work();
                }
            });
        }
        for kill in 1..=kills {
            let many = count * kill / (kills + 1);
            eventually("many are handled", PATIENCE, || (book.acknowledged() >= many).then_some(()));
            let victim = random.below(2);
            endpoints[victim].signal("KILL");
            endpoints[victim] = endpoint(scene);
            book.endpoints.lock().unwrap()[victim] = endpoints[victim].address();
        }
        // What was said without waiting for the answer may be the last word of a message.
        eventually("all are committed", 2 * PATIENCE, || {
            let committed: i64 = assistant.committed(&scene.group, &scene.topic).values().sum();
            (committed == count as i64).then_some(())
        });
        drop(ends);
    });
    check(&book, count);
    scene.wait_for_commits();
    assert!(scene.has_no_dead_letters());
}

/// Lets the workers end, also where the test fails.
struct End<'a>(&'a AtomicUsize);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(1, Ordering::SeqCst);
    }
}

#[test]
#[ignore = "takes minutes: ./test.sh long"]
fn workers_die_and_endpoints_of_three_brokers_are_killed() {
    let kafka = Kafka::start(NEWEST, 3);
    for seed in seeds() {
        run(&Scene::on(&kafka, PARTITIONS as u32, 3), seed, sized(200, 20_000), sized(1, 10));
    }
}

fn workers_die_and_endpoints_of_one_broker_are_killed(version: &'static str) {
    for seed in seeds() {
        run(&Scene::new(version, PARTITIONS as u32), seed, sized(300, 20_000), sized(1, 10));
    }
}
