//! Random lives of a partition: records with gaps between them, outcomes of all kinds, leases that run out,
//! commits that fail or whose answer is lost, crashes and hand-overs at every step. What the engine does is
//! compared with what a list of the records says.

use std::collections::{HashMap, HashSet, VecDeque};

use super::*;
use crate::queue::note::MAX_HEADER;
use testing::Random;

const KEYS: usize = 12;

struct Record {
    offset: i64,
    key: Option<u8>,
    /// A worker has said that it is done, or that it is stored as a dead letter.
    done: bool,
    /// The number of the life in which it was done last.
    done_in: usize,
    /// Its record was removed from the topic.
    gone: bool,
}

struct World {
    random: Random,
    settings: EngineSettings,
    engine: Engine<i64>,
    now: u64,
    log: Vec<Record>,
    /// The records of each key that are not done, in order.
    undone: [VecDeque<usize>; KEYS],
    /// Where the next record of this life stands in the log.
    fetched: usize,
    hand: Vec<Lease>,
    in_flight: Option<Commit>,
    kafka: (i64, String),
    /// The attempts that are committed, of open messages.
    noted: HashMap<i64, u32>,
    /// The highest attempt that a worker was given of each message.
    begun: HashMap<i64, u32>,
    /// The reach and the suspect that is being tried, of the last commit.
    reach: i64,
    tried: Option<i64>,
    /// What was in hand when a life ended without a word, and has not been answered since.
    suspects: HashSet<i64>,
    life: usize,
    calm: bool,
    seen: Seen,
}

/// What a run has come by, to be sure that it says something.
#[derive(Debug, Default)]
struct Seen {
    done: usize,
    crashes: usize,
    hand_overs: usize,
    dead_letters: usize,
    trials: usize,
    followers: usize,
    full: usize,
    refetched: usize,
    vanished: usize,
    longest: usize,
}

impl World {
    fn new(seed: u64) -> World {
        let mut random = Random::new(seed);
        let settings = EngineSettings {
            order: [Order::Key, Order::Key, Order::None, Order::Partition][random.below(4)],
            max_attempts: [0, 0, 1, 3, 9][random.below(5)],
            lease_time: 1_000,
            keep_waiting: [100, 10_000][random.below(2)],
            concurrency: [1, 8, 64][random.below(3)],
            note_limit: [MIN_LIMIT, 300, 600, 4_096][random.below(4)],
            burst: [1, 2, 4, 256][random.below(4)],
            ..settings()
        };
        World {
            random,
            engine: Engine::new(settings.clone(), 0, Note::default()),
            settings,
            now: NOW,
            log: Vec::new(),
            undone: Default::default(),
            fetched: 0,
            hand: Vec::new(),
            in_flight: None,
            kafka: (0, String::new()),
            noted: HashMap::new(),
            begun: HashMap::new(),
            reach: 0,
            tried: None,
            suspects: HashSet::new(),
            life: 0,
            calm: false,
            seen: Seen::default(),
        }
    }

    fn chance(&mut self, one_in: usize) -> bool {
        self.random.below(one_in) == 0
    }

    fn find(&self, offset: i64) -> usize {
        self.log.binary_search_by_key(&offset, |record| record.offset).expect("a record")
    }

    fn line(&self, record: usize) -> Option<usize> {
        match self.settings.order {
            Order::Key => self.log[record].key.map(usize::from),
            Order::None => None,
            Order::Partition => Some(0),
        }
    }

    fn produce(&mut self) {
        let last = self.log.last().map_or(-1, |record| record.offset);
        let gap = if self.chance(4) { self.random.below(4) as i64 } else { 0 };
        let key = (!self.chance(3)).then(|| {
            let width = [2, KEYS][self.random.below(2)];
            self.random.below(width) as u8
        });
        self.log.push(Record { offset: last + 1 + gap, key, done: false, done_in: 0, gone: false });
        let index = self.log.len() - 1;
        if let Some(line) = self.line(index) {
            self.undone[line].push_back(index);
        }
    }

    fn fetch(&mut self) {
        for _ in 0..1 + self.random.below(8) {
            if self.engine.room(100_000 - self.engine.bytes().min(100_000)) == 0 {
                self.seen.full += 1;
                return;
            }
            if self.fetched == self.log.len() {
                if self.calm {
                    return;
                }
                self.produce();
            }
            let record = &self.log[self.fetched];
            self.fetched += 1;
            if record.gone {
                continue;
            }
            let key = record.key.map(|key| [key]);
            let offset = record.offset;
            let pushed = self.engine.push(offset, key.as_ref().map(|key| key.as_slice()), 50, offset);
            let record = &self.log[self.fetched - 1];
            assert!(pushed == Pushed::Open || record.done, "{offset} is not done");
        }
        if self.chance(3) && self.fetched < self.log.len() {
            // What lies before the next record has none.
            self.engine.skip_to(self.log[self.fetched].offset);
        }
    }

    fn fetch_again(&mut self) {
        let Some(offset) = self.engine.next_wanted() else { return };
        let index = self.find(offset);
        match self.random.below(if self.calm { 1 } else { 6 }) {
            5 => self.engine.not_fetched(offset),
            _ if self.log[index].gone || (!self.calm && self.chance(20)) => {
                self.log[index].gone = true;
                if self.engine.vanished(offset) {
                    self.seen.vanished += 1;
                    self.finish(index);
                }
            }
            _ => {
                self.seen.refetched += 1;
                self.engine.fetched_again(offset, 50, offset);
            }
        }
    }

    fn receive(&mut self) {
        if self.chance(2) {
            if self.engine.try_suspect(self.now) {
                self.seen.trials += 1;
            } else if !self.engine.is_trying_suspect() {
                self.engine.release_followers();
            }
        }
        let before = self.hand.len();
        let max = self.random.below(40);
        if self.chance(5) {
            self.hand.extend(self.engine.receive_try(self.now));
        } else {
            self.engine.receive(max, self.now, &mut self.hand);
            assert!(self.hand.len() - before <= max);
        }
        for index in before..self.hand.len() {
            let lease = self.hand[index];
            assert_eq!(self.engine.payload(lease.id), Some(&lease.offset));
            let record = self.find(lease.offset);
            assert!(self.log[record].done_in < self.life + 1 || !self.log[record].done, "{lease:?} is done");
            if let Some(line) = self.line(record) {
                let first = self.first_undone(line);
                assert!(first.is_none_or(|first| first >= record), "{lease:?} is out of order");
            }
            assert!(lease.offset < self.reach, "{lease:?} is above the reach {}", self.reach);
            let handled = lease.task == Task::Handle;
            if handled && self.suspects.contains(&lease.offset) && self.tried != Some(lease.offset) {
                assert!(self.follows(record), "{lease:?} is a suspect, and {:?} is being tried", self.tried);
                self.seen.followers += 1;
            }
            let noted = self.noted.get(&lease.offset).copied().unwrap_or(0);
            assert!(lease.attempt >= noted, "{lease:?} had {noted} attempts");
            let begun = self.begun.entry(lease.offset).or_default();
            assert!(!handled || lease.attempt >= *begun, "attempt {begun} had begun before {lease:?}");
            *begun = lease.attempt.max(*begun);
        }
    }

    /// Whether a record would be the first of its line for the next owner, and was not for this one: one
    /// before it was done in this life, and Kafka has the end of all of them.
    fn follows(&self, record: usize) -> bool {
        let Some(line) = self.line(record) else { return false };
        let (next, note) = &self.kafka;
        let done = Note::read(*next, note).unwrap().done;
        let in_line = (0..record).filter(|before| self.line(*before) == Some(line));
        let mut before = in_line.map(|before| &self.log[before]);
        before.clone().any(|before| before.done_in == self.life + 1)
            && before.all(|Record { offset, gone, .. }| {
                *gone || offset < next || done.iter().any(|(start, after)| (*start..*after).contains(offset))
            })
    }

    /// The first record of a line that is there and not done.
    fn first_undone(&mut self, line: usize) -> Option<usize> {
        let (line, log) = (&mut self.undone[line], &self.log);
        while line.front().is_some_and(|first| log[*first].gone) {
            line.pop_front();
        }
        line.front().copied()
    }

    /// A record is done, for the first time or again.
    fn finish(&mut self, index: usize) {
        if !self.log[index].done {
            if let Some(line) = self.line(index) {
                let first = self.first_undone(line).filter(|first| *first <= index);
                assert!(first.is_none_or(|first| first == index), "out of order");
                if first == Some(index) {
                    self.undone[line].pop_front();
                }
            }
            self.seen.done += 1;
        }
        self.log[index].done = true;
        self.log[index].done_in = self.life + 1;
    }

    fn answer(&mut self) {
        if self.hand.is_empty() {
            return;
        }
        let at = self.random.below(self.hand.len());
        let lease = self.hand.swap_remove(at);
        let engine = &mut self.engine;
        let delay = [0, 50, 3_000, 40_000_000][self.random.below(4)];
        let mut stored = lease.task == Task::StoreDeadLetter;
        let kind = if self.calm { 0 } else { self.random.below(20) };
        if kind != 17 && kind != 19 && engine.payload(lease.id).is_some() {
            self.suspects.remove(&lease.offset);
        }
        let live = match kind {
            14..=16 => {
                let how = [Failed::Error, Failed::Error, Failed::WorkerDied][kind - 14];
                match engine.fail(lease.id, how, delay, self.now) {
                    Fate::Retried => return,
                    Fate::Late => false,
                    Fate::DeadLetter { attempts, .. } => {
                        assert!(attempts == self.settings.max_attempts || self.settings.max_attempts == 0);
                        stored = true;
                        engine.done(lease.id)
                    }
                }
            }
            17 => {
                let _ = engine.release(lease.id, delay, self.now);
                return;
            }
            13 if lease.task == Task::Handle => {
                let _ = engine.excuse(lease.id, delay, self.now);
                return;
            }
            18 => {
                stored = true;
                engine.dead(lease.id) && engine.done(lease.id)
            }
            19 => {
                if engine.extend(lease.id, self.now + delay) {
                    self.hand.push(lease);
                }
                return;
            }
            _ => engine.done(lease.id),
        };
        if live {
            self.seen.dead_letters += usize::from(stored);
            let index = self.find(lease.offset);
            self.finish(index);
            assert!(!self.engine.done(lease.id), "an answer counts once");
        }
    }

    fn expire(&mut self) {
        while let Some(lease) = self.engine.overdue(self.now) {
            let known = *self.hand.iter().find(|known| known.id == lease).expect("a known lease");
            self.suspects.remove(&known.offset);
            if let Fate::DeadLetter { .. } = self.engine.fail(lease, Failed::Error, 10, self.now) {
                assert!(self.engine.done(lease));
                self.seen.dead_letters += 1;
                let index = self.find(known.offset);
                self.finish(index);
            }
        }
    }

    fn commit(&mut self) {
        if self.in_flight.is_some() {
            return self.answer_commit();
        }
        let Some(commit) = self.engine.commit(self.now) else { return };
        assert!(commit.whole, "{}", commit.note);
        let waiting = self.engine.open().filter(|open| matches!(open.state, OpenState::Waiting(_))).count();
        assert_eq!(self.engine.waiting_count(), waiting);
        // All of it fits, with the longest names and numbers.
        let body: usize =
            commit.note.split(':').skip(1).map(|field| field.split(' ').next().unwrap().len()).sum();
        assert!(body + MAX_HEADER <= self.settings.note_limit, "{}", commit.note);
        assert!(commit.offset >= self.kafka.0, "a commit moves back");
        self.seen.longest = self.seen.longest.max(commit.note.len());
        self.in_flight = Some(commit);
        assert_eq!(self.engine.commit(self.now), None, "one in flight");
    }

    fn answer_commit(&mut self) {
        let Some(commit) = self.in_flight.take() else { return };
        let (arrived, told) = match self.random.below(if self.calm { 1 } else { 12 }) {
            10 => (true, false),
            11 => (false, false),
            _ => (true, true),
        };
        if arrived {
            self.check_commit(&commit);
            self.kafka = (commit.offset, commit.note);
        }
        if told { self.engine.committed() } else { self.engine.not_committed() }
    }

    /// Nothing is committed before its time.
    fn check_commit(&mut self, commit: &Commit) {
        let Commit { offset: next, note, .. } = commit;
        let before = self.kafka.0;
        let note = Note::read(*next, note).unwrap();
        let covered = [(before, *next)].into_iter().chain(note.done.iter().copied());
        for (start, after) in covered {
            let from = self.log.partition_point(|record| record.offset < start);
            for record in self.log[from..].iter().take_while(|record| record.offset < after) {
                assert!(record.done || record.gone, "{} is not done", record.offset);
            }
        }
        let (life, log) = (self.life, &self.log);
        self.reach = note.reach;
        self.tried = note.attempted.iter().find(|message| message.in_test).map(|message| message.offset);
        let mut noted = HashMap::new();
        for message in note.attempted {
            noted.insert(message.offset, message.attempts - u32::from(message.in_test));
        }
        // What is open keeps the attempts that were committed.
        for (offset, attempts) in &self.noted {
            let index = log.binary_search_by_key(offset, |record| record.offset).unwrap();
            let open = !log[index].done && !log[index].gone;
            assert!(
                !open || noted.get(offset).copied().unwrap_or(0) >= *attempts,
                "life {life}: {offset} had {attempts} attempts"
            );
        }
        self.noted = noted;
    }

    /// The process is gone; a new one goes on from what Kafka has.
    fn crash(&mut self) {
        if self.chance(2)
            && let Some(commit) = self.in_flight.take()
        {
            self.check_commit(&commit);
            self.kafka = (commit.offset, commit.note);
        }
        self.seen.crashes += 1;
        let engine = &self.engine;
        self.suspects.extend(
            self.hand.iter().filter(|lease| engine.payload(lease.id).is_some()).map(|lease| lease.offset),
        );
        self.begin_life();
    }

    fn hand_over(&mut self) {
        self.engine.hand_over();
        for lease in std::mem::take(&mut self.hand) {
            if self.chance(2) {
                let _ = self.engine.release(lease.id, 0, self.now);
            } else if self.engine.done(lease.id) {
                let index = self.find(lease.offset);
                self.finish(index);
            }
        }
        while !self.engine.is_handed_over() {
            self.commit();
        }
        assert!(self.kafka.1.starts_with("q1 clean"), "{}", self.kafka.1);
        self.seen.hand_overs += 1;
        if self.chance(3) {
            self.engine.resume();
        } else {
            self.begin_life();
        }
    }

    fn begin_life(&mut self) {
        let (next, note) = &self.kafka;
        self.life += 1;
        self.engine = Engine::new(self.settings.clone(), *next, Note::read(*next, note).unwrap());
        self.fetched = self.log.partition_point(|record| record.offset < *next);
        (self.in_flight, self.hand) = (None, Vec::new());
    }

    fn step(&mut self) {
        match self.random.below(40) {
            0..6 => self.fetch(),
            6..13 => self.receive(),
            13..31 => self.answer(),
            31..35 => self.commit(),
            35..37 => self.fetch_again(),
            37 => {
                self.now += [1, 20, 700, 90_000][self.random.below(4)];
                self.expire();
            }
            38 if self.chance(30) => self.now += 50_000_000,
            39 if self.chance(60) => self.crash(),
            39 if self.chance(60) => self.hand_over(),
            39 if self.chance(20) => {
                if let Some(record) = self.log.len().checked_sub(1 + self.random.below(50)) {
                    let offset = self.log[record].offset;
                    let _ = if self.chance(2) {
                        self.engine.retry_now(offset)
                    } else {
                        self.engine.put_aside(offset)
                    };
                }
            }
            _ => {}
        }
    }

    /// Everything goes well from now on, and all gets done.
    fn drain(&mut self) {
        self.calm = true;
        let end = self.log.last().map_or(0, |record| record.offset + 1);
        for _ in 0..200_000 {
            if self.kafka.0 == end {
                break;
            }
            self.fetch();
            self.receive();
            while !self.hand.is_empty() {
                self.answer();
            }
            while self.engine.wants_fetch() {
                self.fetch_again();
            }
            self.commit();
            self.commit();
            self.now += 200_000;
            self.expire();
            if self.fetched == self.log.len() {
                self.engine.skip_to(end);
            }
        }
        let open: Vec<OpenMessage> = self.engine.open().take(3).collect();
        assert_eq!(self.kafka.0, end, "{open:?} {:?}", self.engine.pause());
        for record in &self.log {
            assert!(record.done || record.gone, "{} was lost", record.offset);
        }
        assert_eq!(
            (self.engine.open_count(), self.engine.payload_bytes, self.engine.waiting_count()),
            (0, 0, 0)
        );
        let budget = self.engine.budget;
        assert_eq!((budget.ranges, budget.attempted, budget.at_risk, budget.attempts_bytes), (0, 0, 0, 0));
        assert_eq!((self.engine.attempted, self.engine.touched_open, self.engine.suspects.open), (0, 0, 0));
    }
}

#[test]
fn in_random_lives_nothing_is_lost_out_of_order_or_committed_too_early() {
    let mut seen = Seen::default();
    for seed in 0..100 {
        let mut world = World::new(seed);
        for _ in 0..10_000 {
            world.step();
        }
        world.drain();
        let run = world.seen;
        seen.done += run.done;
        seen.crashes += run.crashes;
        seen.hand_overs += run.hand_overs;
        seen.dead_letters += run.dead_letters;
        seen.trials += run.trials;
        seen.followers += run.followers;
        seen.full += run.full;
        seen.refetched += run.refetched;
        seen.vanished += run.vanished;
        seen.longest = seen.longest.max(run.longest);
    }
    let some = seen.done > 50_000 && seen.crashes > 100 && seen.hand_overs > 50 && seen.dead_letters > 1_000;
    let rare = seen.trials > 100
        && seen.followers > 0
        && seen.full > 100
        && seen.refetched > 100
        && seen.vanished > 10;
    assert!(some && rare, "{seen:?}");
}
