//! What the threads of a consumer with a work queue share: the partitions' engines under one lock, and the
//! condition variables by which they wake each other.
//!
//! Nobody does I/O with that lock held, nor calls the group member, which calls this with its own held.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use client::group_member::RecordSink;
use client::group_member::reader::OwnedRecord;
use net::stop::Stop;
use net::sync::{Condvar, Mutex, MutexGuard, lock, wait_timeout};
use protocol::TopicPartition;

use super::breaker::{Breaker, Change};
use super::clock::{Clock, millis};
use super::histories::Histories;
use super::item::{Item, LeaseKey, Payload};
use super::leases::{Leases, OnSettled, Settled, Unconfirmed};
use super::retention::Retention;
use super::standing::Standing;
use crate::consumer::ConsumerSettings;
use crate::consumer::push_handler::window::Window;
use crate::dead_letters::DeadLetterStore;
use crate::error::Error;
use crate::metrics::{ConsumerMetrics, Outcome};
use crate::queue::partitions::{Handed, Ownership};
use crate::queue::{Engine, Partitions};

/// The oldest open message of each partition: its offset, and its time in ms since 1970.
pub type Oldest = HashMap<Ownership, (i64, u64)>;

/// A worker without work looks at least so often whether there is some.
const LONGEST_NAP: Duration = Duration::from_secs(1);

/// What is due and cannot be handed out now, as in a pause, is looked for so often.
const OVERDUE_NAP: Duration = Duration::from_millis(100);

/// All that the threads share.
pub struct Shared {
    /// The consumer's name, which the notes say.
    pub name: String,
    pub settings: ConsumerSettings,
    /// How many messages the workers have in hand at a time.
    pub in_hand: u32,
    /// Its workers are threads of this process; else they are elsewhere, and have leases.
    pub has_workers: bool,
    pub clock: Clock,
    pub stop: Stop,
    pub metrics: ConsumerMetrics,
    pub standing: Standing,
    pub dead_letters: DeadLetterStore,
    /// How long the topic keeps its records.
    pub retention: Retention,
    /// How many messages may be in hand, where whoever handles them decides on it.
    pub window: Option<Window>,
    queue: Mutex<Queue>,
    /// Workers without work wait here, ...
    work: Condvar,
    /// ... but for one, which wakes when a wait ends.
    pub time: Condvar,
    /// Something may have to be committed.
    pub commit: Condvar,
    /// Records are to be fetched again.
    pub refetch: Condvar,
    /// The end of the thread that looks for wishes.
    pub wishes: Condvar,
}

/// The state under the lock.
pub struct Queue {
    pub partitions: Partitions<Payload>,
    /// The span of the group member that each owned partition belongs to, and the engine's ownership.
    pub spans: BTreeMap<TopicPartition, (u64, Ownership)>,
    pub breaker: Breaker<LeaseKey>,
    pub histories: Histories,
    /// The oldest open message of each partition at the last look: its offset, and its time in ms since 1970,
    /// which is among the bytes that are dropped while it waits.
    pub oldest: Oldest,
    /// The handler may be called: the consumer has joined its group, and said so.
    pub announced: bool,
    /// The consumer is a member of its group.
    pub joined: bool,
    /// Others may own the partitions by now.
    pub in_doubt: bool,
    /// The same from then on, unless the coordinator is heard of before.
    pub sure_until: Option<Instant>,
    /// Nothing more is handed out for good.
    pub closed: bool,
    /// Why the handler is of no more use.
    pub failure: Option<Error>,
    /// Something is being handed over, which the owner waits for.
    pub hands_over: bool,
    /// The next commit comes after a pause, in which what is done need not be told.
    pub commit_rests: bool,
    /// Leases that ran out, whose workers have not come back.
    pub stuck: HashSet<LeaseKey>,
    /// What each worker has taken last.
    taken: Vec<Vec<LeaseKey>>,
    /// Leases whose messages are being stored as dead letters; they last until that is known.
    pub storing: HashSet<LeaseKey>,
    /// Counts the memberships that are over: the threads of each end with it.
    pub memberships: u64,
    /// The leases of workers that are elsewhere.
    pub leases: Leases,
    /// The limit on the notes' length, where a broker takes less than is usual.
    pub note_limit: usize,
    /// The brokers take no note of any use: nobody waits for a commit any more.
    pub is_without_notes: bool,
    /// Workers that have not ended.
    running: usize,
    /// Workers that wait in `work`.
    idle: usize,
    /// When the worker in `time` wakes.
    pub timekeeper: Option<u64>,
}

impl Shared {
    pub fn new(
        name: &str,
        settings: &ConsumerSettings,
        (workers, in_hand): (usize, usize),
        dead_letters: DeadLetterStore,
        stop: Stop,
        (metrics, standing): (ConsumerMetrics, Standing),
        window: Option<Window>,
    ) -> Shared {
        let queue = Queue {
            partitions: Partitions::default(),
            spans: BTreeMap::new(),
            breaker: Breaker::new(settings.queue.circuit_failures),
            histories: Histories::default(),
            oldest: Oldest::new(),
            announced: false,
            joined: false,
            in_doubt: false,
            sure_until: None,
            closed: false,
            failure: None,
            hands_over: false,
            commit_rests: false,
            stuck: HashSet::new(),
            taken: vec![Vec::new(); workers],
            storing: HashSet::new(),
            memberships: 0,
            leases: Leases::default(),
            note_limit: super::NOTE_LIMIT,
            is_without_notes: false,
            running: workers,
            idle: 0,
            timekeeper: None,
        };
        Shared {
            name: name.to_owned(),
            settings: settings.clone(),
            has_workers: workers > 0,
            in_hand: u32::try_from(in_hand).unwrap_or(u32::MAX),
            clock: Clock::new(),
            stop,
            metrics,
            standing,
            dead_letters,
            retention: Retention::default(),
            window,
            queue: Mutex::new(queue),
            work: Condvar::new(),
            time: Condvar::new(),
            commit: Condvar::new(),
            refetch: Condvar::new(),
            wishes: Condvar::new(),
        }
    }

    pub fn queue(&self) -> MutexGuard<'_, Queue> {
        lock(&self.queue)
    }

    /// Tells that the messages of `done` are handled.
    pub fn done(&self, done: &mut Vec<Item>) {
        if !done.is_empty() {
            self.settle(&mut self.queue(), done);
            self.commit.notify_one();
        }
    }

    /// Tells that the messages of `done` are handled, and waits for up to `max` others for `worker`; false when
    /// there will be none. A message that is to be stored as a dead letter counts as one.
    pub fn next(&self, worker: usize, done: &mut Vec<Item>, max: usize, items: &mut Vec<Item>) -> bool {
        let mut queue = self.queue();
        if !done.is_empty() {
            self.settle(&mut queue, done);
            if !queue.commit_rests {
                self.commit.notify_one();
            }
        }
        loop {
            if queue.closed {
                return false;
            }
            let now = self.clock.now();
            let admitted = match &self.window {
                Some(window) => window.admits(max, queue.partitions.leased_count()),
                None => max,
            };
            queue.receive(admitted, now, items);
            if !items.is_empty() {
                queue.is_taken_by(worker, items);
                // There may be more, and somebody has to keep the time.
                if items.len() >= max || queue.timekeeper.is_none() {
                    self.wake(&queue, 1);
                }
                return true;
            }
            // What is ready may wait for a commit, or for bytes.
            self.commit.notify_one();
            self.refetch.notify_one();
            if queue.timekeeper.is_none() {
                let pause = self.window.as_ref().and_then(Window::pause);
                let resumes = pause.map(|left| now.saturating_add(millis(left)));
                let due = resumes.or_else(|| queue.next_due(now)).unwrap_or(u64::MAX);
                queue.timekeeper = Some(due);
                queue = wait_timeout(&self.time, queue, nap(due, now));
                queue.timekeeper = None;
            } else {
                queue.idle += 1;
                queue = wait_timeout(&self.work, queue, LONGEST_NAP * 60);
                queue.idle -= 1;
            }
        }
    }

    /// Waits until the consumer is a member of its group; false when it ends before.
    pub fn wait_until_joined(&self) -> bool {
        let mut queue = self.queue();
        while !queue.joined && !queue.closed {
            queue.idle += 1;
            queue = wait_timeout(&self.work, queue, LONGEST_NAP);
            queue.idle -= 1;
        }
        !queue.closed
    }

    /// A worker has ended, with its handler.
    pub fn worker_ended(&self) {
        self.queue().running -= 1;
        self.commit.notify_all();
    }

    /// Waits until all workers have ended, for `time` at most.
    pub fn wait_for_workers(&self, time: Duration) {
        let deadline = Instant::now() + time;
        let mut queue = self.queue();
        while queue.running > 0 && Instant::now() < deadline {
            let left = deadline.saturating_duration_since(Instant::now());
            queue = wait_timeout(&self.commit, queue, left);
        }
    }

    /// There may be so many messages more to hand out. Who finds one wakes the next worker, and who finds none
    /// keeps the time, if nobody does.
    pub fn wake(&self, queue: &Queue, messages: usize) {
        let timekeepers = usize::from(queue.timekeeper.is_some()).min(messages);
        if timekeepers > 0 {
            self.time.notify_one();
        }
        (0..queue.idle.min(messages - timekeepers)).for_each(|_| self.work.notify_one());
    }

    /// Wakes all threads.
    pub fn wake_all(&self) {
        for condvar in [&self.work, &self.time, &self.commit, &self.refetch, &self.wishes] {
            condvar.notify_all();
        }
    }

    /// A message waits until `due`: whoever keeps the time has to know.
    pub fn due_at(&self, queue: &Queue, due: u64) {
        match queue.timekeeper {
            Some(wakes) if wakes > due => self.time.notify_one(),
            Some(_) => {}
            None => self.work.notify_one(),
        }
    }

    fn settle(&self, queue: &mut Queue, done: &mut Vec<Item>) {
        for item in done.drain(..) {
            let Handed { from, lease } = item.handed;
            let was_stuck = queue.stuck.remove(&item.key());
            let is_letter = queue.storing.remove(&item.key());
            queue.histories.forget(from, lease.offset);
            let in_time = queue.partitions.engine_of(from).is_some_and(|engine| engine.done(lease.id));
            if !is_letter {
                self.metrics.handled();
                // What became of one whose lease ran out was counted then.
                if !was_stuck {
                    self.metrics.queue().came_back(Outcome::Handled);
                }
                let change = queue.breaker.succeeded();
                self.tell(change);
            }
            if !in_time {
                log::warn!(
                    "a message was handled too late, others may have it by now: topic={} partition={} offset={}",
                    item.topic,
                    from.partition,
                    lease.offset
                );
            }
        }
    }

    /// Answers the acknowledgements that are decided.
    pub fn answer_acknowledged(&self) {
        let decided = self.queue().decided();
        decided.into_iter().for_each(|(outcomes, reply)| reply(outcomes));
    }

    /// Says that the consumer pauses or goes on.
    pub fn tell(&self, change: Change) {
        match change {
            Change::None => {}
            Change::Paused(reason) => log::error!("{} pauses: {reason}", self.name),
            Change::GoesOn => {
                log::warn!("{} goes on", self.name);
                self.work.notify_all();
            }
        }
    }
}

impl Queue {
    /// The messages that may be handed out now.
    pub fn receive(&mut self, max: usize, now: u64, items: &mut Vec<Item>) {
        if !self.announced || self.is_in_doubt() || self.failure.is_some() {
            return;
        }
        let admitted = self.breaker.admits(max, now);
        if admitted == 0 {
            return;
        }
        let mut handed = Vec::with_capacity(admitted);
        if self.breaker.excuses() {
            handed.extend(self.partitions.receive_try(now));
        } else {
            self.partitions.receive(admitted, now, &mut handed);
        }
        items.extend(handed.into_iter().filter_map(|handed| self.item(handed)));
        if self.breaker.why().is_some() {
            // What is to be stored does not come to the handler.
            items.iter().filter(|item| !item.is_letter()).for_each(|item| self.breaker.tries(item.key()));
        }
    }

    /// The message that is in hand for longest: since when, and its place.
    pub fn oldest_in_hand(
        &mut self,
        now: u64,
        lease_time: Duration,
    ) -> Option<(Duration, Arc<str>, i32, i64)> {
        let (until, from, lease) = self
            .partitions
            .leases()
            .filter_map(|mut leases| leases.next())
            .min_by_key(|(until, ..)| *until)?;
        let left = until.saturating_sub(now);
        let offset = self.partitions.engine_of(from)?.lease_of(lease)?.offset;
        let topic = self.partitions.topic_of(from)?.clone();
        Some((lease_time.saturating_sub(Duration::from_millis(left)), topic, from.partition, offset))
    }

    fn is_taken_by(&mut self, worker: usize, items: &[Item]) {
        if let Some(taken) = self.taken.get_mut(worker) {
            taken.clear();
            taken.extend(items.iter().map(Item::key));
        }
    }

    /// Whether every worker is at messages for too long.
    pub fn is_stuck(&self) -> bool {
        let is_held_up = |taken: &Vec<_>| taken.iter().any(|lease| self.stuck.contains(lease));
        !self.stuck.is_empty() && self.taken.iter().all(is_held_up)
    }

    /// Whether others may own the partitions by now.
    fn is_in_doubt(&self) -> bool {
        self.in_doubt || self.sure_until.is_some_and(|until| Instant::now() >= until)
    }

    /// A message that was handed out, with its bytes.
    pub fn item(&mut self, handed: Handed) -> Option<Item> {
        let engine = self.partitions.engine_of(handed.from)?;
        let record = engine.payload(handed.lease.id)?.clone();
        let topic = self.partitions.topic_of(handed.from)?.clone();
        Some(Item { handed, topic, record })
    }

    fn next_due(&mut self, now: u64) -> Option<u64> {
        let pause = self.breaker.due();
        match pause {
            Some(due) if due > now => Some(due),
            _ => self.partitions.next_due(),
        }
    }

    /// Takes the acknowledgements that are decided: their commit is confirmed, or their partition is lost.
    fn decided(&mut self) -> Vec<(Vec<Settled>, OnSettled)> {
        if self.leases.unconfirmed.is_empty() {
            return Vec::new();
        }
        let mut waiting = std::mem::take(&mut self.leases.unconfirmed);
        for acknowledged in &mut waiting {
            acknowledged.open.retain(|(index, from, commit)| {
                let Some(engine) = self.partitions.engine_of(*from) else {
                    // Whether the commit arrived is not known: the message may come again.
                    acknowledged.outcomes.get_mut(*index).into_iter().for_each(|one| *one = Settled::Late);
                    return false;
                };
                !engine.has_committed(*commit)
            });
        }
        let (decided, waiting) = waiting.into_iter().partition(|one: &Unconfirmed| one.open.is_empty());
        self.leases.unconfirmed = waiting;
        Vec::into_iter(decided).map(|one| (one.outcomes, one.reply)).collect()
    }

    /// The engine of a partition, if it belongs to this span.
    fn engine_in(&mut self, partition: &TopicPartition, span: u64) -> Option<&mut Engine<Payload>> {
        let (number, from) = *self.spans.get(partition)?;
        self.partitions.engine_of(from).filter(|_| number == span)
    }

    /// How many bytes a partition may hold, of `all`.
    pub fn share(&self, all: usize) -> usize {
        all / self.spans.len().max(1)
    }
}

/// How long to sleep at `now` where something is due at `due`, and nothing could be handed out.
pub fn nap(due: u64, now: u64) -> Duration {
    match due.checked_sub(now) {
        None | Some(0) => OVERDUE_NAP,
        Some(left) => Duration::from_millis(left).min(LONGEST_NAP),
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("name", &self.name).finish_non_exhaustive()
    }
}

impl RecordSink for Shared {
    fn room(&self, partition: &TopicPartition, span: u64) -> usize {
        let mut queue = self.queue();
        let share = queue.share(self.settings.queue.buffer_bytes);
        let Some(engine) = queue.engine_in(partition, span) else { return 0 };
        engine.room(share.saturating_sub(engine.bytes()))
    }

    fn take(&self, partition: &TopicPartition, span: u64, records: Vec<OwnedRecord>, next: i64) -> i64 {
        let count = records.len();
        let mut queue = self.queue();
        let Some(engine) = queue.engine_in(partition, span) else { return next };
        for record in records {
            let (offset, bytes) = (record.offset, record.bytes());
            let record = Arc::new(record);
            let _ = engine.push(offset, record.content().key, bytes, record.clone());
        }
        engine.skip_to(next);
        let position = engine.position();
        self.wake(&queue, count);
        position
    }

    fn skip_to(&self, partition: &TopicPartition, span: u64, offset: i64) -> i64 {
        let mut queue = self.queue();
        let Some(engine) = queue.engine_in(partition, span) else { return 0 };
        let gone = engine.not_done_below(offset);
        engine.skip_to(offset);
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_and_cannot_be_handed_out_keeps_nobody_busy() {
        assert_eq!(nap(1_020, 1_000), Duration::from_millis(20));
        assert_eq!(nap(u64::MAX, 1_000), LONGEST_NAP);
        assert_eq!([nap(1_000, 1_000), nap(0, 1_000)], [OVERDUE_NAP; 2]);
    }
}
