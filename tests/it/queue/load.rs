//! Many messages with keys, consumers with kept handlers that write down what they do, and the checks of
//! what they wrote.

use std::collections::BTreeSet;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use point_to_point::{Channel, ProducerRecord};
use testing::Random;

use super::history::{Commits, History, Place};
use super::scene::Scene;
use crate::support::assistant::note_in;
use crate::support::kafka::Kafka;
use crate::support::program::{Program, Start, WAITING};
use crate::support::{PATIENCE, eventually};

/// Messages that one consumer has under way.
pub const CONCURRENCY: usize = 8;

/// What may finish while one commit is on its way, and while the next one is made, beside what is in hand.
pub const DURING_A_COMMIT: usize = 4 * CONCURRENCY;

/// What one killed consumer may leave to be done again.
pub const OF_A_KILL: usize = CONCURRENCY + DURING_A_COMMIT;

const PARTITIONS: u32 = 4;

/// The longest session that brokers refuse no member.
const SESSION_MS: &str = "6000";

/// How keys are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keys {
    /// Each as often as another.
    Even,
    /// The second half as often as the first one, the third a third as often, and so on.
    Zipf,
}

/// What a test begins with.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// How many messages there are.
    pub messages: usize,
    /// How many keys, and how they are drawn; one message of ten has none.
    pub keys: (usize, Keys),
    /// The longest that a handler works on a message.
    pub work_ms: u32,
    /// What befalls how many of a thousand attempts, as `chaos_handler.py` has it.
    pub fates: &'static str,
    /// How often a message is tried.
    pub max_attempts: u32,
    /// The wait after the first attempt.
    pub backoff_ms: u32,
    /// How long a handler may take; by default longer than any start of one, however busy the machine is.
    pub timeout_ms: u32,
}

impl Plan {
    /// Messages whose handlers succeed.
    pub fn of(messages: usize, keys: Keys) -> Plan {
        Plan {
            messages,
            keys: (200, keys),
            work_ms: 20,
            fates: "",
            max_attempts: 0,
            backoff_ms: 50,
            timeout_ms: 60_000,
        }
    }
}

/// A topic full of messages, and what became of them so far.
pub struct Load<'a> {
    pub scene: Scene<'a>,
    pub history: History,
    pub commits: Commits,
    pub random: Random,
    pub stored: usize,
    /// Why nothing was known of the commits when they were asked for last.
    unanswered: Option<String>,
    seed: u64,
    plan: Plan,
}

impl<'a> Load<'a> {
    /// Stores all messages.
    pub fn new(kafka: &'a Kafka, seed: u64, plan: Plan) -> Load<'a> {
        println!("seed {seed}, {plan:?}");
        let scene = Scene::on(kafka, PARTITIONS, &[]);
        let history = History::of(&scene.file("history"));
        let (random, commits) = (Random::new(seed), Commits::default());
        let mut load = Load { scene, history, commits, random, seed, plan, stored: 0, unanswered: None };
        load.store(plan.messages);
        load
    }

    /// Stores so many messages more, and waits until they are acknowledged.
    pub fn store(&mut self, count: usize) {
        let scene = &self.scene;
        let channel = Channel::builder().topic(&scene.topic).bootstrap_servers(&scene.kafka.bootstrap());
        let producer = channel.open().expect("a channel").producer().expect("a producer");
        let (keys, kind) = self.plan.keys;
        let weights = weights(keys, kind);
        let mut sent = Vec::new();
        for number in self.stored..self.stored + count {
            let record = ProducerRecord::of(number.to_string());
            let record = match self.random.below(10) {
                0 => record,
                _ => record.with_key(format!("k{}", drawn(&weights, &mut self.random))),
            };
            sent.push(producer.send(record).expect("there is room"));
            if sent.len() == 5_000 {
                sent.drain(..).for_each(|sent| _ = sent.wait().expect("it is stored"));
            }
        }
        sent.into_iter().for_each(|sent| _ = sent.wait().expect("it is stored"));
        producer.close();
        self.stored += count;
    }

    /// A program that handles the messages.
    pub fn handled_by(&self, start: Start) -> Start {
        let handler = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/queue/chaos_handler.py");
        let (history, away) = (self.scene.file("history"), self.scene.file("away"));
        let (seed, work) = (self.seed.to_string(), self.plan.work_ms.to_string());
        let mut command: Vec<&str> = vec!["python3", "-IS"];
        command.extend([&handler, &history].iter().map(|path| path.to_str().expect("text")));
        command.extend([&*seed, &*work, away.to_str().expect("text")]);
        command.extend(self.plan.fates.split_whitespace());
        start
            .set("consumer.handler", &serde_json::to_string(&command).expect("a list"))
            .set("consumer.handler_mode", "lines")
            .set("consumer.handler_timeout_ms", &self.plan.timeout_ms.to_string())
            .set("consumer.concurrency", &CONCURRENCY.to_string())
            .set("consumer.session_timeout_ms", SESSION_MS)
            .set("retry.max_attempts", &self.plan.max_attempts.to_string())
            .set("retry.initial_backoff_ms", &self.plan.backoff_ms.to_string())
            .set("retry.max_backoff_ms", "500")
            .set("log.level", "info")
    }

    /// A consumer of its own, once it is a member.
    pub fn consumer(&self, name: &str) -> Program {
        let consumer = self.handled_by(self.scene.printing(name)).start();
        consumer.wait_for_line(WAITING, PATIENCE);
        consumer
    }

    /// The default program with both of its consumers.
    pub fn supervisor(&self) -> Program {
        let start = Start::program("point-to-point").on(self.scene.kafka);
        let start = start.set("kafka.topic", &self.scene.topic).set("consumer.group", &self.scene.group);
        let program = Program::producer_with(self.handled_by(start));
        for name in crate::supervisor::channel::CONSUMERS {
            program.wait_for_line(&format!("{name} | {WAITING}"), PATIENCE);
        }
        program
    }

    /// Compares what is committed with what was handled. Asks nobody who does not answer.
    pub fn look(&mut self) {
        let committed = self.scene.kafka.assistant().try_ask(&["notes", &self.scene.group]);
        self.history.read();
        let mut unhandled = Vec::new();
        self.unanswered = committed.as_ref().err().cloned();
        for words in committed.unwrap_or_default().iter().filter(|words| words[0] == self.scene.topic) {
            let partition = words[1].parse().expect("a partition");
            let new = self.commits.add(partition, words[2].parse().expect("an offset"), note_in(&words[3]));
            let places = new.into_iter().map(|offset| (partition, offset));
            unhandled.extend(places.filter(|place| !self.history.is_handled(*place)));
        }
        if !unhandled.is_empty() {
            let dead = self.scene.dead_places();
            unhandled.retain(|place| !dead.contains(place));
            assert!(unhandled.is_empty(), "committed, and not handled: {unhandled:?}");
        }
    }

    /// Looks again and again until it is so.
    pub fn until(&mut self, what: &str, mut is_so: impl FnMut(&Load<'_>) -> bool) {
        let (begin, mut last, mut seen) = (Instant::now(), Instant::now(), 0);
        loop {
            self.look();
            if is_so(self) {
                println!("{what}: after {:?}, {}", begin.elapsed(), self.summary());
                return;
            }
            if self.history.successes != seen {
                (last, seen) = (Instant::now(), self.history.successes);
            }
            let stuck = last.elapsed() > PATIENCE;
            assert!(
                !stuck,
                "not within {:?}: {what}; {}; {:#?} {:?}",
                begin.elapsed(),
                self.summary(),
                self.commits,
                self.unanswered
            );
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until so many messages more are handled, or all are.
    pub fn until_further(&mut self, count: usize) {
        let goal = (self.history.distinct + count).min(self.stored);
        self.until(&format!("{goal} are handled"), |load| load.history.distinct >= goal);
    }

    /// Waits until all is committed, and checks all: every message was handled or is a dead letter, each key
    /// in order, and no more was done twice than `repeats`. Gives the dead letters.
    pub fn finish(&mut self, repeats: usize) -> BTreeSet<Place> {
        let all = self.stored;
        self.until("all is committed", |load| load.commits.total() == all as i64);
        let dead = eventually("the dead letters can be read", PATIENCE, || {
            self.scene.kafka.assistant().try_ask(&["topics"]).ok().map(|_| self.scene.dead_places())
        });
        println!("{}, {repeats} repeats allowed, {} dead letters", self.summary(), dead.len());
        self.history.check_order(&dead);
        self.history.check_attempts();
        let neither = dead.iter().filter(|place| !self.history.is_handled(**place)).count();
        assert_eq!(self.history.distinct + neither, all, "each was handled or is a dead letter");
        for place in &dead {
            let message = &self.history.messages[place];
            let out_of_attempts = self.plan.max_attempts > 0 && message.attempt == self.plan.max_attempts;
            assert!(message.is_hopeless || out_of_attempts, "why is {place:?} dead? {message:?}");
        }
        assert!(self.history.repeated() <= repeats, "{} were done again", self.history.repeated());
        dead
    }

    fn summary(&self) -> String {
        let history = &self.history;
        let (distinct, again, fates) = (history.distinct, history.repeated(), &history.fates);
        format!("{distinct} of {} handled, {again} again, {fates:?}", self.stored)
    }
}

/// The sums of what each key weighs and those before it.
fn weights(keys: usize, kind: Keys) -> Vec<f64> {
    let weight = |rank: usize| if kind == Keys::Zipf { 1.0 / rank as f64 } else { 1.0 };
    let add = |sum: &mut f64, rank| {
        *sum += weight(rank);
        Some(*sum)
    };
    (1..=keys).scan(0.0, add).collect()
}

/// The number of a key.
fn drawn(weights: &[f64], random: &mut Random) -> usize {
    let share = random.below(1 << 50) as f64 / (1_u64 << 50) as f64;
    let whole = weights.last().copied().unwrap_or_default();
    weights.partition_point(|sum| *sum <= share * whole).min(weights.len() - 1)
}
