//! The owned partitions of a member: one engine for each, which share the workers.
//!
//! Messages are taken from one partition after the other in equal shares, so that none starves. One suspect
//! is tried at a time in all of them. A partition that is lost and comes back has a new engine; an answer
//! that belongs to the old one is told apart by its epoch.

use std::collections::BTreeMap;

use super::engine::{Commit, Engine, Lease, LeaseId};

/// The owned partitions of a topic.
#[derive(Debug)]
pub struct Partitions<T> {
    owned: BTreeMap<i32, Owned<T>>,
    epoch: u64,
    /// The partition that the next message is taken from, or the one after it.
    turn: i32,
    leases: Vec<Lease>,
}

#[derive(Debug)]
struct Owned<T> {
    engine: Engine<T>,
    epoch: u64,
}

/// An ownership of a partition, from its engine's first commit to its last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ownership {
    /// The partition.
    pub partition: i32,
    epoch: u64,
}

impl Ownership {
    /// The bytes of an ownership.
    pub const BYTES: usize = 12;

    /// It as bytes: for whoever names it outside of this process.
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        let (partition, epoch) = bytes.split_at_mut(4);
        partition.copy_from_slice(&self.partition.to_be_bytes());
        epoch.copy_from_slice(&self.epoch.to_be_bytes());
        bytes
    }

    /// The ownership of these bytes.
    pub fn from_bytes([a, b, c, d, epoch @ ..]: [u8; Self::BYTES]) -> Ownership {
        Ownership { partition: i32::from_be_bytes([a, b, c, d]), epoch: u64::from_be_bytes(epoch) }
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
        Partitions { owned: BTreeMap::new(), epoch: 0, turn: 0, leases: Vec::new() }
    }
}

impl<T> Partitions<T> {
    /// Takes over a partition. Leases of an engine that it had before are void.
    pub fn own(&mut self, partition: i32, engine: Engine<T>) -> Ownership {
        self.epoch += 1;
        self.owned.insert(partition, Owned { engine, epoch: self.epoch });
        Ownership { partition, epoch: self.epoch }
    }

    /// Forgets a partition that is handed over or lost.
    pub fn forget(&mut self, partition: i32) {
        self.owned.remove(&partition);
    }

    /// The engine of a partition.
    pub fn engine(&mut self, partition: i32) -> Option<&mut Engine<T>> {
        self.owned.get_mut(&partition).map(|owned| &mut owned.engine)
    }

    /// The engine that handed something out; `None` if its partition was lost since.
    pub fn engine_of(&mut self, from: Ownership) -> Option<&mut Engine<T>> {
        let owned = self.owned.get_mut(&from.partition);
        owned.filter(|owned| owned.epoch == from.epoch).map(|owned| &mut owned.engine)
    }

    /// The partitions with their engines.
    pub fn iter(&self) -> impl Iterator<Item = (i32, &Engine<T>)> {
        self.owned.iter().map(|(partition, owned)| (*partition, &owned.engine))
    }

    /// Hands out up to `max` messages, and lets the next suspect be tried.
    pub fn receive(&mut self, max: usize, now: u64, out: &mut Vec<Handed>) {
        self.try_suspect(now);
        let mut left = max;
        let order: Vec<i32> = self.in_turn().collect();
        // In equal shares first; what some do not use is for the others.
        let share = max.div_ceil(order.len().max(1));
        for most in [share, max] {
            for partition in &order {
                let Some(owned) = self.owned.get_mut(partition).filter(|_| left > 0) else { continue };
                owned.engine.receive(most.min(left), now, &mut self.leases);
                left -= self.leases.len().min(left);
                let from = Ownership { partition: *partition, epoch: owned.epoch };
                out.extend(self.leases.drain(..).map(|lease| Handed { from, lease }));
                self.turn = partition.saturating_add(1);
            }
        }
    }

    /// Hands out one message as [`Engine::receive_try`] does, from one partition after the other, and lets the next
    /// suspect be tried.
    pub fn receive_try(&mut self, now: u64) -> Option<Handed> {
        self.try_suspect(now);
        let order: Vec<i32> = self.in_turn().collect();
        order.into_iter().find_map(|partition| {
            self.turn = partition.saturating_add(1);
            let owned = self.owned.get_mut(&partition)?;
            let lease = owned.engine.receive_try(now)?;
            Some(Handed { from: Ownership { partition, epoch: owned.epoch }, lease })
        })
    }

    /// What to commit now in one request, each with its ownership; each answer is told to
    /// [`Engine::committed`] or [`Engine::not_committed`]. The caller has one such request on its way at a
    /// time.
    pub fn commits(&mut self, now: u64) -> Vec<(Ownership, Commit)> {
        let commit = |(partition, owned): (&i32, &mut Owned<T>)| {
            let from = Ownership { partition: *partition, epoch: owned.epoch };
            owned.engine.commit(now).map(|commit| (from, commit))
        };
        self.owned.iter_mut().filter_map(commit).collect()
    }

    /// What is handed out of each partition, each with the time at which its lease runs out, from the first of
    /// them on.
    pub fn leases(&self) -> impl Iterator<Item = impl Iterator<Item = (u64, Ownership, LeaseId)>> {
        self.owned.iter().map(|(partition, owned)| {
            let from = Ownership { partition: *partition, epoch: owned.epoch };
            owned.engine.leases().map(move |(until, lease)| (until, from, lease))
        })
    }

    /// A lease that has run out, to be ended with [`Engine::fail`].
    pub fn overdue(&self, now: u64) -> Option<(Ownership, LeaseId)> {
        self.owned.iter().find_map(|(partition, owned)| {
            let lease = owned.engine.overdue(now)?;
            Some((Ownership { partition: *partition, epoch: owned.epoch }, lease))
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
        let order: Vec<i32> = self.in_turn().collect();
        for partition in order {
            if self.engine(partition).is_some_and(|engine| engine.try_suspect(now)) {
                return;
            }
        }
        self.owned.values_mut().for_each(|owned| owned.engine.release_followers());
    }

    /// The partitions, beginning with the one whose turn it is.
    fn in_turn(&self) -> impl Iterator<Item = i32> {
        self.owned.range(self.turn..).chain(self.owned.range(..self.turn)).map(|(partition, _)| *partition)
    }
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
        let commits = partitions.commits(0);
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
            partitions.own(partition, engine("", messages));
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
    fn tries_go_from_one_partition_to_the_next() {
        let mut partitions = Partitions::default();
        for (partition, messages) in [(0, 2), (1, 1), (2, 0)] {
            partitions.own(partition, engine("", messages));
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
            partitions.own(partition, engine("q1 held=consumer2 reach=2", 2));
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
        partitions.own(0, engine("", 1));
        commit(&mut partitions);
        let old = receive(&mut partitions, 1)[0];
        assert_eq!(partitions.overdue(1_000), Some((old.from, old.lease.id)));
        partitions.forget(0);
        assert!(partitions.engine_of(old.from).is_none());
        partitions.own(0, engine("", 1));
        commit(&mut partitions);
        let new = receive(&mut partitions, 1)[0];
        assert_eq!(new.lease.id, old.lease.id, "its numbers begin anew");
        assert!(partitions.engine_of(old.from).is_none() && partitions.engine_of(new.from).is_some());
        assert_eq!((partitions.next_due(), partitions.bytes() > 0), (Some(1_000), true));
    }
}
