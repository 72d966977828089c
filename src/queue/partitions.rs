//! The owned partitions of a member, of one topic or several: one engine for each, which share the workers.
//!
//! Messages are taken from one topic after the other, and of each from one partition after the other, in
//! equal shares, so that none starves. One suspect is tried at a time in all of them. A partition that is
//! lost and comes back has a new engine; an answer that belongs to the old one is told apart by its epoch.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::engine::{Commit, Engine, Lease, LeaseId};

/// The owned partitions of a member.
#[derive(Debug)]
pub struct Partitions<T> {
    owned: BTreeMap<Place, Owned<T>>,
    topics: BTreeMap<u32, Topic>,
    epoch: u64,
    /// The topic that the next message is taken from, or the one after it.
    turn: u32,
    leases: Vec<Lease>,
}

/// The number of a topic, and a partition of it.
type Place = (u32, i32);

#[derive(Debug)]
struct Owned<T> {
    engine: Engine<T>,
    epoch: u64,
}

/// A topic of which partitions are owned.
#[derive(Debug)]
struct Topic {
    name: Arc<str>,
    /// How many are owned.
    partitions: usize,
    /// The partition that the topic's next message is taken from, or the one after it.
    turn: i32,
}

/// An ownership of a partition, from its engine's first commit to its last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ownership {
    /// The number of the topic, which another topic has when this one is not owned any more.
    topic: u32,
    /// The partition.
    pub partition: i32,
    epoch: u64,
}

impl Ownership {
    /// The bytes of an ownership.
    pub const BYTES: usize = 16;

    /// It as bytes: for whoever names it outside of this process.
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        let (topic, rest) = bytes.split_at_mut(4);
        let (partition, epoch) = rest.split_at_mut(4);
        topic.copy_from_slice(&self.topic.to_be_bytes());
        partition.copy_from_slice(&self.partition.to_be_bytes());
        epoch.copy_from_slice(&self.epoch.to_be_bytes());
        bytes
    }

    /// The ownership of these bytes.
    pub fn from_bytes([a, b, c, d, e, f, g, h, epoch @ ..]: [u8; Self::BYTES]) -> Ownership {
        Ownership {
            topic: u32::from_be_bytes([a, b, c, d]),
            partition: i32::from_be_bytes([e, f, g, h]),
            epoch: u64::from_be_bytes(epoch),
        }
    }

    fn of(place: Place, epoch: u64) -> Ownership {
        Ownership { topic: place.0, partition: place.1, epoch }
    }

    fn place(self) -> Place {
        (self.topic, self.partition)
    }
}

/// A message that is handed out, and the ownership it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handed {
    /// Where it comes from.
    pub from: Ownership,
    /// What is handed out.
    pub lease: Lease,
}

impl<T> Default for Partitions<T> {
    fn default() -> Partitions<T> {
        Partitions { owned: BTreeMap::new(), topics: BTreeMap::new(), epoch: 0, turn: 0, leases: Vec::new() }
    }
}

impl<T> Partitions<T> {
    /// Takes over a partition that is not owned.
    pub fn own(&mut self, topic: &str, partition: i32, engine: Engine<T>) -> Ownership {
        let known = self.topics.iter().find(|(_, known)| *known.name == *topic).map(|(number, _)| *number);
        let free = || (0..u32::MAX).find(|number| !self.topics.contains_key(number)).unwrap_or(u32::MAX);
        let place = (known.unwrap_or_else(free), partition);
        let topic = self.topics.entry(place.0).or_insert_with(|| Topic {
            name: topic.into(),
            partitions: 0,
            turn: 0,
        });
        topic.partitions += 1;
        self.epoch += 1;
        self.owned.insert(place, Owned { engine, epoch: self.epoch });
        Ownership::of(place, self.epoch)
    }

    /// Forgets a partition that is handed over or lost. What it has handed out is void.
    pub fn forget(&mut self, from: Ownership) {
        if self.engine_of(from).is_none() {
            return;
        }
        self.owned.remove(&from.place());
        if let Some(topic) = self.topics.get_mut(&from.topic) {
            topic.partitions -= 1;
            if topic.partitions == 0 {
                self.topics.remove(&from.topic);
            }
        }
    }

    /// The engine that handed something out; `None` if its partition was lost since.
    pub fn engine_of(&mut self, from: Ownership) -> Option<&mut Engine<T>> {
        let owned = self.owned.get_mut(&from.place());
        owned.filter(|owned| owned.epoch == from.epoch).map(|owned| &mut owned.engine)
    }

    /// The topic of a partition; `None` if that was lost since.
    pub fn topic_of(&self, from: Ownership) -> Option<&Arc<str>> {
        self.owned.get(&from.place()).filter(|owned| owned.epoch == from.epoch)?;
        self.topics.get(&from.topic).map(|topic| &topic.name)
    }

    /// The partitions with their engines.
    pub fn iter(&self) -> impl Iterator<Item = (Ownership, &Engine<T>)> {
        self.owned.iter().map(|(place, owned)| (Ownership::of(*place, owned.epoch), &owned.engine))
    }

    /// The topics of which partitions are owned.
    pub fn topics(&self) -> impl Iterator<Item = &Arc<str>> {
        self.topics.values().map(|topic| &topic.name)
    }

    /// Hands out up to `max` messages, and lets the next suspect be tried.
    pub fn receive(&mut self, max: usize, now: u64, out: &mut Vec<Handed>) {
        self.try_suspect(now);
        let mut left = max;
        let order = self.in_turn();
        let of_topic = max.div_ceil(self.topics.len().max(1));
        // In equal shares first; what some do not use is for the others.
        for is_share in [true, false] {
            for place in &order {
                let Some(owned) = self.owned.get_mut(place).filter(|_| left > 0) else { continue };
                let Some(topic) = self.topics.get_mut(&place.0) else { continue };
                let most = if is_share { of_topic.div_ceil(topic.partitions.max(1)) } else { max };
                owned.engine.receive(most.min(left), now, &mut self.leases);
                left -= self.leases.len().min(left);
                let from = Ownership::of(*place, owned.epoch);
                out.extend(self.leases.drain(..).map(|lease| Handed { from, lease }));
                (self.turn, topic.turn) = after(*place);
            }
        }
    }

    /// Hands out one message as [`Engine::receive_try`] does, from one topic and partition after the other,
    /// and lets the next suspect be tried.
    pub fn receive_try(&mut self, now: u64) -> Option<Handed> {
        self.try_suspect(now);
        let order = self.in_turn();
        order.into_iter().find_map(|place| {
            let topic = self.topics.get_mut(&place.0)?;
            (self.turn, topic.turn) = after(place);
            let owned = self.owned.get_mut(&place)?;
            let lease = owned.engine.receive_try(now)?;
            Some(Handed { from: Ownership::of(place, owned.epoch), lease })
        })
    }

    /// What to commit now in one request of the partitions that `may` be, each with its ownership; each
    /// answer is told to
    /// [`Engine::committed`] or [`Engine::not_committed`]. The caller has one such request on its way at a
    /// time.
    pub fn commits(&mut self, now: u64, may: impl Fn(Ownership) -> bool) -> Vec<(Ownership, Commit)> {
        let commit = |(place, owned): (&Place, &mut Owned<T>)| {
            let from = Ownership::of(*place, owned.epoch);
            may(from).then(|| owned.engine.commit(now)).flatten().map(|commit| (from, commit))
        };
        self.owned.iter_mut().filter_map(commit).collect()
    }

    /// What is handed out of each partition, each with the time at which its lease runs out, from the first
    /// of them on.
    pub fn leases(&self) -> impl Iterator<Item = impl Iterator<Item = (u64, Ownership, LeaseId)>> {
        self.owned.iter().map(|(place, owned)| {
            let from = Ownership::of(*place, owned.epoch);
            owned.engine.leases().map(move |(until, lease)| (until, from, lease))
        })
    }

    /// A lease that has run out, to be ended with [`Engine::fail`].
    pub fn overdue(&self, now: u64) -> Option<(Ownership, LeaseId)> {
        self.owned.iter().find_map(|(place, owned)| {
            let lease = owned.engine.overdue(now)?;
            Some((Ownership::of(*place, owned.epoch), lease))
        })
    }

    /// The earliest time at which a wait or a lease ends.
    pub fn next_due(&mut self) -> Option<u64> {
        self.owned.values_mut().filter_map(|owned| owned.engine.next_due()).min()
    }

    /// Whether a message waits for a commit.
    pub fn waits_for_commit(&self) -> bool {
        self.owned.values().any(|owned| owned.engine.waits_for_commit())
    }

    /// The number of messages that are handed out.
    pub fn leased_count(&self) -> usize {
        self.owned.values().map(|owned| owned.engine.leased_count()).sum()
    }

    /// The bytes that open messages hold.
    pub fn bytes(&self) -> usize {
        self.owned.values().map(|owned| owned.engine.bytes()).sum()
    }

    /// Lets the next suspect be tried; where there is none, those go that only wait for the trials.
    fn try_suspect(&mut self, now: u64) {
        let trying = self.owned.values().any(|owned| owned.engine.is_trying_suspect());
        let has_any = || self.owned.values().any(|owned| owned.engine.suspect_count() > 0);
        if trying || !has_any() {
            return;
        }
        for place in self.in_turn() {
            if self.owned.get_mut(&place).is_some_and(|owned| owned.engine.try_suspect(now)) {
                return;
            }
        }
        self.owned.values_mut().for_each(|owned| owned.engine.release_followers());
    }

    /// The partitions in the order in which they are served: one of each topic after the other, beginning
    /// with the topic whose turn it is, and of each topic with the partition whose turn it is.
    fn in_turn(&self) -> Vec<Place> {
        let topics = self.topics.range(self.turn..).chain(self.topics.range(..self.turn));
        let line = |(&number, topic): (&u32, &Topic)| {
            let turn = (number, topic.turn);
            let from_turn = self.owned.range(turn..=(number, i32::MAX));
            from_turn.chain(self.owned.range((number, i32::MIN)..turn)).map(|(place, _)| *place)
        };
        let mut lines: Vec<_> = topics.map(line).collect();
        let mut order = Vec::with_capacity(self.owned.len());
        while !lines.is_empty() {
            lines.retain_mut(|line| {
                let next = line.next();
                order.extend(next);
                next.is_some()
            });
        }
        order
    }
}

/// Whose turn it is after this partition: the next topic's, and in this topic the next partition's.
fn after((topic, partition): Place) -> (u32, i32) {
    (topic.saturating_add(1), partition.saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::note::Note;
    use crate::queue::{EngineSettings, Order};

    fn engine(note: &str, messages: i64) -> Engine<()> {
        let settings = EngineSettings {
            owner: "consumer1".to_owned(),
            order: Order::Key,
            max_attempts: 3,
            lease_time: 1_000,
            keep_waiting: 5_000,
            concurrency: 64,
            note_limit: 4_096,
            suspects: true,
            burst: 256,
        };
        let mut engine = Engine::new(settings, 0, Note::read(0, note).unwrap());
        for offset in 0..messages {
            let _ = engine.push(offset, None, 1, ());
        }
        engine
    }

    fn commit(partitions: &mut Partitions<()>) -> usize {
        let commits = partitions.commits(0, |_| true);
        for (from, _) in &commits {
            partitions.engine_of(*from).unwrap().committed();
        }
        commits.len()
    }

    fn receive(partitions: &mut Partitions<()>, max: usize) -> Vec<Handed> {
        let mut out = Vec::new();
        partitions.receive(max, 0, &mut out);
        out
    }

    #[test]
    fn messages_come_from_all_partitions_in_equal_shares() {
        let mut partitions = Partitions::default();
        for (partition, messages) in [(0, 100), (1, 2), (2, 100)] {
            partitions.own("t", partition, engine("", messages));
        }
        assert_eq!(commit(&mut partitions), 3);
        let count = |handed: &[Handed], partition| {
            handed.iter().filter(|handed| handed.from.partition == partition).count()
        };
        let handed = receive(&mut partitions, 12);
        assert_eq!([0, 1, 2].map(|partition| count(&handed, partition)), [6, 2, 4]);
        let single: Vec<i32> = (0..4).map(|_| receive(&mut partitions, 1)[0].from.partition).collect();
        assert!(single.contains(&0) && single.contains(&2), "{single:?}");
        assert_eq!(partitions.leased_count(), 16);
    }

    #[test]
    fn messages_come_from_all_topics_in_equal_shares_however_many_partitions_they_have() {
        let mut partitions = Partitions::default();
        for partition in 0..9 {
            partitions.own("large", partition, engine("", 100));
        }
        partitions.own("small", 3, engine("", 10));
        commit(&mut partitions);
        let topics = |partitions: &Partitions<()>, handed: &[Handed]| -> Vec<String> {
            handed.iter().map(|handed| partitions.topic_of(handed.from).unwrap().to_string()).collect()
        };
        let one_by_one: Vec<Handed> = (0..6).map(|_| receive(&mut partitions, 1)[0]).collect();
        assert_eq!(topics(&partitions, &one_by_one), ["large", "small", "large", "small", "large", "small"]);
        let of_large: Vec<i32> = one_by_one.iter().step_by(2).map(|handed| handed.from.partition).collect();
        assert_eq!(of_large, [0, 1, 2]);
        let batch = receive(&mut partitions, 14);
        let small = topics(&partitions, &batch).iter().filter(|topic| *topic == "small").count();
        assert_eq!((batch.len(), small), (14, 7));
    }

    #[test]
    fn a_topic_that_is_not_owned_any_more_leaves_nothing() {
        let mut partitions = Partitions::default();
        let [first, second] = ["a", "b"].map(|topic| partitions.own(topic, 0, engine("", 1)));
        partitions.forget(first);
        assert_eq!((partitions.topic_of(first), partitions.topics().count()), (None, 1));
        let third = partitions.own("c", 0, engine("", 1));
        partitions.forget(first);
        let names = [second, third].map(|from| partitions.topic_of(from).unwrap().to_string());
        assert_eq!(names, ["b", "c"]);
        assert_eq!(Ownership::from_bytes(third.to_bytes()), third);
        assert!(partitions.engine_of(first).is_none() && partitions.engine_of(third).is_some());
    }

    #[test]
    fn tries_go_from_one_partition_to_the_next() {
        let mut partitions = Partitions::default();
        for (partition, messages) in [(0, 2), (1, 1), (2, 0)] {
            partitions.own("t", partition, engine("", messages));
        }
        commit(&mut partitions);
        let mut tried = || {
            let handed = partitions.receive_try(0).unwrap();
            assert!(partitions.engine_of(handed.from).unwrap().excuse(handed.lease.id, 0, 0));
            (handed.from.partition, handed.lease.offset)
        };
        let places: Vec<_> = (0..4).map(|_| tried()).collect();
        assert_eq!(places, [(0, 0), (1, 0), (0, 1), (1, 0)]);
    }

    #[test]
    fn one_suspect_is_tried_at_a_time_in_all_partitions() {
        let mut partitions = Partitions::default();
        for partition in 0..3 {
            partitions.own("t", partition, engine("q1 held=consumer2 reach=2", 2));
        }
        for tried in 0..6 {
            assert!(receive(&mut partitions, 9).is_empty(), "the attempt is not committed");
            commit(&mut partitions);
            let handed = receive(&mut partitions, 9);
            assert_eq!(handed.len(), 1, "{tried}");
            let engine = partitions.engine_of(handed[0].from).unwrap();
            assert!(engine.done(handed[0].lease.id));
        }
        assert!(partitions.iter().all(|(_, engine)| engine.open_count() == 0));
    }

    #[test]
    fn an_answer_to_an_engine_that_is_gone_reaches_no_other() {
        let mut partitions = Partitions::default();
        partitions.own("t", 0, engine("", 1));
        commit(&mut partitions);
        let old = receive(&mut partitions, 1)[0];
        assert_eq!(partitions.overdue(1_000), Some((old.from, old.lease.id)));
        partitions.forget(old.from);
        assert!(partitions.engine_of(old.from).is_none());
        partitions.own("t", 0, engine("", 1));
        commit(&mut partitions);
        let new = receive(&mut partitions, 1)[0];
        assert_eq!(new.lease.id, old.lease.id, "its numbers begin anew");
        assert!(partitions.engine_of(old.from).is_none() && partitions.engine_of(new.from).is_some());
        assert_eq!((partitions.next_due(), partitions.bytes() > 0), (Some(1_000), true));
    }
}
