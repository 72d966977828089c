//! Workers behind two endpoints: each request goes to either by chance. Workers die with what they have,
//! connections are cut before the answer, endpoints and brokers are killed. What the workers have noted shows
//! that nothing is lost, no message is acknowledged by two, none comes again after that, none has two leases
//! at a time, leases that run out come back in time, and each key keeps its order.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

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
const SLOW: usize = 12;
/// How long one endpoint may be silent before a worker gives a request up.
const SILENCE: Duration = Duration::from_secs(5);

/// What a worker does to a message in the end, of 1,000.
const DIES: usize = 15;
const CUTS: usize = 30;
const GIVES_BACK: usize = 50;
/// The connection of so many of 100 requests to receive is cut before the answer is read.
const UNREAD: usize = 3;
/// What runs out goes to another worker within a second, and on a busy machine, or where leases that nobody has
/// read come between, within this.
const LATEST: Duration = Duration::from_secs(30);
/// The clocks of this process and of an endpoint tell milliseconds.
const TICK: Duration = Duration::from_millis(2);

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
    leases: Vec<Lease>,
}

/// What one worker knows of a lease that it got.
#[derive(Debug, Clone)]
struct Lease {
    receipt: String,
    /// When the request began; the lease begins then at the earliest.
    asked: Instant,
    /// When the answer was there; the lease had begun by then.
    received: Instant,
    duration: Duration,
    /// When the worker first said what became of the message.
    said: Option<Instant>,
}

/// What all workers have seen.
struct Book {
    clock: AtomicUsize,
    messages: Mutex<BTreeMap<Place, Told>>,
    wrong: Mutex<Vec<String>>,
    endpoints: Mutex<[SocketAddr; 2]>,
    /// From when to when an endpoint or a broker was away, or the members shared partitions anew.
    disturbed: Mutex<Vec<(Instant, Option<Instant>)>>,
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
    fn receive(&self, message: &Message, asked: usize, lease: &Lease) {
        let now = self.now();
        let before = self.told(message, |told| {
            told.received.push(now);
            told.leases.push(Lease { receipt: message.receipt().to_owned(), ..lease.clone() });
            told.acknowledged.values().min().copied()
        });
        if before.is_some_and(|at| at < asked) {
            self.wrong.lock().unwrap().push(format!("{message:?} came after it was acknowledged"));
        }
    }

    /// A worker begins to say what became of a message.
    fn say(&self, message: &Message) {
        self.told(message, |told| {
            let lease = told.leases.iter_mut().find(|lease| lease.receipt == message.receipt());
            lease.expect("a lease").said.get_or_insert_with(Instant::now);
        });
    }

    /// Whether something was away between two points in time.
    fn is_disturbed(&self, from: Instant, to: Instant) -> bool {
        let disturbed = self.disturbed.lock().unwrap();
        disturbed.iter().any(|(begun, ended)| *begun <= to && ended.is_none_or(|ended| ended >= from))
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
        if self.random.below(100) < UNREAD {
            return self.ask_and_leave(&path, "{}");
        }
        let began = Instant::now();
        let Some((200, answer)) = self.post(&path, &json!({})) else {
            return thread::sleep(Duration::from_millis(20));
        };
        let (receipt, received, duration) = (String::new(), Instant::now(), Duration::from_millis(lease));
        let lease = Lease { receipt, asked: began, received, duration, said: None };
        let received: Vec<Message> =
            answer["messages"].as_array().expect("messages").iter().cloned().map(Message).collect();
        for message in &received {
            self.book.receive(message, asked, &lease);
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
            }
            self.book.say(&message);
            if chance < DIES + CUTS {
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
        self.ask_and_leave("/confirmar", &receipts.to_string());
    }

    /// Sends a request, and cuts the connection, perhaps when the answer is on its way.
    fn ask_and_leave(&mut self, path: &str, body: &str) {
        let endpoints = *self.book.endpoints.lock().unwrap();
        let Ok(mut connection) = Connection::open(endpoints[self.random.below(2)]) else { return };
        let length = body.len();
        let head = format!("POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {length}\r\n\r\n");
        connection.send(format!("{head}{body}").as_bytes());
        thread::sleep(Duration::from_millis(self.random.below(20) as u64));
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

/// Checks that a message has one lease at a time, and that leases that run out come back in time. The lease of
/// a slow worker has run out, whatever it says later.
fn check_leases(book: &Book, at_least: usize) {
    let messages = book.messages.lock().unwrap();
    let (mut compared, mut run_out, mut latest) = (0, 0, Duration::ZERO);
    for (place, told) in messages.iter() {
        let mut leases = told.leases.clone();
        leases.sort_by_key(|lease| lease.received);
        for (one, next) in leases.iter().zip(leases.iter().skip(1)) {
            if book.is_disturbed(one.asked.min(next.asked), next.received) {
                continue;
            }
            compared += 1;
            // A worker may have read its answer later than the next one did.
            let may_follow = follows(one, next) || (next.asked <= one.received && follows(next, one));
            assert!(may_follow, "{place:?} had two leases at a time: {one:?} {next:?}");
            let end = one.received + one.duration;
            if one.said.is_none_or(|at| at > end) {
                run_out += 1;
                latest = latest.max(next.received.saturating_duration_since(end));
            }
        }
    }
    assert!(latest <= LATEST, "a lease came back {latest:?} after its end");
    println!("of {compared} leases {run_out} ran out; the latest came back after {latest:?}");
    assert!(compared >= at_least && run_out > 0, "too little was seen while nothing was away");
}

/// Whether a lease may have begun when the one before was over.
fn follows(before: &Lease, next: &Lease) -> bool {
    let was_said = before.said.is_some_and(|at| at <= next.received);
    was_said || next.received + TICK >= before.asked + before.duration
}

/// The ids of the members.
fn members(scene: &Scene<'_>) -> BTreeSet<String> {
    scene.kafka.assistant().group(&scene.group).members.into_iter().map(|member| member.id).collect()
}

/// Waits until both endpoints share the partitions, and are not these members alone: what was disturbed is
/// over.
fn settle(book: &Book, scene: &Scene<'_>, before: &BTreeSet<String>) {
    eventually("both endpoints share the partitions", PATIENCE, || {
        let group = scene.kafka.assistant().group(&scene.group);
        let is_new = group.members.iter().any(|member| !before.contains(&member.id));
        (is_new && group.is_shared_by(&["producer_api"; 2], 1)).then_some(())
    });
    let now = Instant::now();
    for (_, end) in book.disturbed.lock().unwrap().iter_mut() {
        end.get_or_insert(now);
    }
}

fn kill_a_broker(book: &Book, scene: &Scene<'_>, victim: usize, until: usize) {
    scene.kafka.kill_node(victim);
    eventually("some are handled without it", PATIENCE, || (book.acknowledged() >= until).then_some(()));
    scene.kafka.start_node(victim);
}

/// Kills an endpoint, and puts another one in its place.
fn kill_an_endpoint(book: &Book, scene: &Scene<'_>, victim: usize, endpoints: &mut [Program; 2]) {
    endpoints[victim].signal("KILL");
    endpoints[victim] = endpoint(scene);
    book.endpoints.lock().unwrap()[victim] = endpoints[victim].address();
}

fn endpoint(scene: &Scene<'_>) -> Program {
    let start = scene.start().set("consumer.session_timeout_ms", "6000");
    Program::producer_with(start.set("retry.max_attempts", "0").set("log.level", "warn"))
}

fn run(scene: &Scene<'_>, seed: u64, count: usize, kills: usize) {
    let assistant = scene.kafka.assistant();
    let mut endpoints = [endpoint(scene), endpoint(scene)];
    let book = Book {
        clock: AtomicUsize::new(0),
        messages: Mutex::default(),
        wrong: Mutex::default(),
        endpoints: Mutex::new([endpoints[0].address(), endpoints[1].address()]),
        // Until both have joined.
        disturbed: Mutex::new(vec![(Instant::now(), None)]),
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
        settle(&book, scene, &BTreeSet::new());
        for number in 0..count {
            let key = number % KEYS;
            let (name, value) = (format!("key-{key}"), number.to_string());
            let partition = (key % PARTITIONS) as i32;
            assistant.put(&scene.topic, partition, Some(name.as_bytes()), Some(value.as_bytes()));
        }
        for kill in 1..=kills {
            let (many, step) = (count * kill / (kills + 1), count / (kills + 1));
            eventually("many are handled", 2 * PATIENCE, || (book.acknowledged() >= many).then_some(()));
            let mut before = members(scene);
            book.disturbed.lock().unwrap().push((Instant::now(), None));
            if scene.kafka.nodes() > 1 && kill % 2 == 0 {
                kill_a_broker(&book, scene, random.below(scene.kafka.nodes()), many + step / 4);
                before.clear();
            } else {
                kill_an_endpoint(&book, scene, random.below(2), &mut endpoints);
            }
            settle(&book, scene, &before);
        }
        // What was said without waiting for the answer may be the last word of a message.
        eventually("all are committed", 2 * PATIENCE, || {
            let committed: i64 = assistant.committed(&scene.group, &scene.topic).values().sum();
            (committed == count as i64).then_some(())
        });
        drop(ends);
    });
    check(&book, count);
    check_leases(&book, count / 100);
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
fn workers_die_and_endpoints_and_brokers_of_three_are_killed() {
    let kafka = Kafka::start(NEWEST, 3);
    for seed in seeds() {
        run(&Scene::on(&kafka, PARTITIONS as u32, 3), seed, sized(200, 20_000), sized(2, 10));
    }
}

fn workers_die_and_endpoints_of_one_broker_are_killed(version: &'static str) {
    for seed in seeds() {
        run(&Scene::new(version, PARTITIONS as u32), seed, sized(300, 20_000), sized(1, 10));
    }
}
