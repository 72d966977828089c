//! A work queue whose workers are elsewhere: they get messages with leases, and say what became of them.
//!
//! A lease that runs out is an attempt, and its message is handed out again at once. An acknowledgement is
//! answered when the commit that has it is confirmed: after that nobody gets the message. What was not handed
//! back when the queue's owner ended is handed out again without an attempt: it was no message that ended it.
//!
//! Threads beside those of a membership: `leases` ends leases and serves those that wait, `letters` stores
//! dead letters.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use client::Cluster;
use net::pulse::Pulse;
use net::stop::Stop;
use net::sync::{Mutex, lock, wait_timeout};

use super::clock::millis;
use super::leases::{
    Item, LeaseKey, LeaseLimit, OnSettled, Receiver as Waiting, Settled, Unconfirmed, Waiter,
};
use super::shared::{Queue, Shared};
use super::{consume, no_thread};
use crate::consumer::handler::{Failure, FailureCause};
use crate::consumer::{ConsumerHandle, ConsumerSettings};
use crate::dead_letters::{DeadLetterStore, Verdict};
use crate::error::Result;
use crate::metrics::{ConsumerMetrics, LeaseCounts, LeaseEnd, Outcome, QueueLook};
use adapter::Endpoint;

/// A lease that runs out is ended after this at the latest.
const LONGEST_NAP: Duration = Duration::from_millis(500);

/// How a worker gives a message back.
#[derive(Debug, Clone, Default)]
pub struct GivenBack {
    /// The wait before the next attempt; unset: as `[retry]` says.
    pub delay: Option<Duration>,
    /// Why it was not handled.
    pub error: Option<String>,
    /// No attempt can succeed: it becomes a dead letter.
    pub dead: bool,
}

/// The reason of a worker that gives none.
#[derive(Debug)]
struct NotHandled(String);

impl std::fmt::Display for NotHandled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// A dead letter to be stored.
enum Letter {
    /// Its attempts are out.
    Due(Item),
    /// It is not JSON.
    NotJson(Item, FailureCause),
    /// For this reason.
    Decided(Item, Verdict),
}

/// A queue with leases at a time.
#[derive(Debug)]
pub struct LeaseLook {
    pub queue: QueueLook,
    /// When the oldest open message was made, ms since 1970; `None` if none is open.
    pub oldest: Option<u64>,
    /// How many wait for messages.
    pub receiving: usize,
    pub counts: LeaseCounts,
    /// How many leases workers have.
    pub given: usize,
    /// Why it has no messages to give, as a sentence.
    pub obstacle: Option<String>,
    /// Those that run out first, each with its end in ms since 1970.
    pub leases: Vec<(u64, Item)>,
}

/// A member of a group whose messages are leased. It leaves the group when this is dropped; leases end then.
pub struct LeaseQueue {
    shared: Arc<Shared>,
    letters: Sender<Letter>,
    handle: Mutex<Option<ConsumerHandle>>,
}

impl LeaseQueue {
    /// A member called `name` of the group and topic in `settings`, which reaches the brokers by `cluster`;
    /// dead letters go through the adapter at `endpoint`.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(
        settings: &ConsumerSettings,
        cluster: Cluster,
        endpoint: Endpoint,
        name: &str,
        limit: LeaseLimit,
    ) -> Result<LeaseQueue> {
        let stop = Stop::new();
        let cluster = Arc::new(cluster);
        let store = DeadLetterStore::new(&settings.dead_letters, endpoint, name, stop.clone());
        let store = store.creating(cluster.clone());
        let told = (ConsumerMetrics::default(), super::Standing::default());
        let in_hand = limit.most.min(AHEAD);
        let shared = Arc::new(Shared::new(name, settings, (0, in_hand), store, stop.clone(), told, None));
        {
            let mut queue = shared.queue();
            queue.announced = true;
            queue.leases.limit = limit;
        }
        let (letters, stored) = channel();
        let (leasing, storing, consuming) = (shared.clone(), shared.clone(), shared.clone());
        let ended = letters.clone();
        let thread = thread::Builder::new().name(format!("leases-{name}"));
        let started = thread.spawn(move || serve(&leasing, &ended));
        started.map_err(|error| no_thread("leases", error))?;
        let thread = thread::Builder::new().name(format!("letters-{name}"));
        let started = thread.spawn(move || store_letters(&storing, &stored));
        let handle = started.map_err(|error| no_thread("dead letters", error)).and_then(|_| {
            ConsumerHandle::start_busy(name, stop, move || {
                let told = (Box::new(|_: &str| {}) as super::OnMember, Pulse::default());
                consume(&consuming, &cluster, &told)
            })
        });
        let handle = handle.inspect_err(|_| drop(shared.close()))?;
        Ok(LeaseQueue { shared, letters, handle: Mutex::new(Some(handle)) })
    }

    /// Hands up to `max` messages to `receiver`, as soon as there is one: at once, or until `wait` is over.
    pub fn receive(&self, max: usize, lease: Duration, wait: Duration, receiver: Box<dyn Waiting>) {
        let until = Instant::now() + wait;
        loop {
            let mut queue = self.shared.queue();
            let is_first = queue.leases.waiters.is_empty();
            let taken = if is_first { take(&self.shared, &mut queue, max, lease) } else { Vec::new() };
            if taken.is_empty() {
                if wait.is_zero() || queue.closed {
                    drop(queue);
                    return give_nothing(&self.shared, receiver);
                }
                queue.leases.waiters.push_back(Waiter { max, lease, until, receiver });
                return self.shared.wake(&queue, 1);
            }
            drop(queue);
            let leased = admit(&self.shared, &self.letters, taken);
            if !leased.is_empty() {
                return give(&self.shared, receiver, leased);
            }
        }
    }

    /// The messages of these leases are handled. `reply` hears so when that is committed.
    pub fn acknowledge(&self, keys: &[LeaseKey], reply: OnSettled) {
        let mut queue = self.shared.queue();
        let mut open = Vec::new();
        let outcomes = (0..).zip(keys).map(|(index, key)| match self.settle(&mut queue, *key) {
            Some(commit) => {
                open.push((index, key.from, commit));
                Settled::Done
            }
            None => Settled::Late,
        });
        let outcomes = outcomes.collect();
        queue.leases.unconfirmed.push(Unconfirmed { outcomes, open, reply });
        // The next messages of their keys are free.
        self.shared.wake(&queue, 1);
        let rests = queue.commit_rests;
        drop(queue);
        if !rests {
            self.shared.commit.notify_one();
        }
        self.shared.answer_acknowledged();
    }

    /// Ends a lease whose message is handled; gives the number of the commit that says so.
    fn settle(&self, queue: &mut Queue, key: LeaseKey) -> Option<u64> {
        if !queue.leases.given.contains_key(&key) {
            return queue.leases.acknowledged.commits.get(&key).copied();
        }
        let engine = queue.partitions.engine_of(key.from);
        let commit = engine.and_then(|engine| engine.done(key.id).then(|| engine.next_commit()));
        let end = if commit.is_some() { LeaseEnd::Acknowledged } else { LeaseEnd::Lost };
        let item = queue.leases.take(key, end)?;
        queue.histories.forget(key.from, item.handed.lease.offset);
        let commit = commit?;
        queue.leases.acknowledged.remember(key, commit);
        self.shared.metrics.handled();
        self.shared.metrics.queue().came_back(Outcome::Handled);
        Some(commit)
    }

    /// Takes a message back that was not handled.
    pub fn give_back(&self, key: LeaseKey, how: &GivenBack) -> Settled {
        let mut queue = self.shared.queue();
        let stands =
            queue.partitions.engine_of(key.from).is_some_and(|engine| engine.payload(key.id).is_some());
        let given = queue.leases.take(key, if stands { LeaseEnd::GivenBack } else { LeaseEnd::Lost });
        drop(queue);
        let Some(item) = given.filter(|_| stands) else { return Settled::Late };
        let why = how.error.clone().unwrap_or_else(|| "its worker gave it back".to_owned());
        let cause = FailureCause::of(&NotHandled(why));
        let failure = match how.delay {
            _ if how.dead => Failure::Dead(cause),
            Some(wait) => Failure::FailedFor { cause, wait },
            None => Failure::Failed(cause),
        };
        fail(&self.shared, &self.letters, item, failure);
        Settled::Done
    }

    /// Lets a lease last for `lease` from now on.
    pub fn extend(&self, key: LeaseKey, lease: Duration) -> Settled {
        let mut queue = self.shared.queue();
        if !queue.leases.given.contains_key(&key) {
            return Settled::Late;
        }
        let until = self.shared.clock.now().saturating_add(millis(lease));
        if !queue.partitions.engine_of(key.from).is_some_and(|engine| engine.extend(key.id, until)) {
            return Settled::Late;
        }
        queue.leases.counts.extended += 1;
        Settled::Done
    }

    /// The partitions of its topic that this member has, as they look now, with up to `most` of their leases.
    pub fn look(&self, most: usize) -> LeaseLook {
        let obstacle = self.shared.standing.obstacle();
        let mut queue = self.shared.queue();
        LeaseLook {
            queue: queue.look(&self.shared.clock).into_values().next().unwrap_or_default(),
            oldest: queue.oldest.values().map(|(_, made)| *made).min(),
            receiving: queue.leases.waiters.len(),
            counts: queue.leases.counts,
            given: queue.leases.given.len(),
            obstacle,
            leases: queue.leases_to_show(most),
        }
    }

    /// Whether nobody has a lease or waits for one.
    pub fn is_idle(&self) -> bool {
        let queue = self.shared.queue();
        queue.leases.given.is_empty()
            && queue.leases.waiters.is_empty()
            && queue.leases.unconfirmed.is_empty()
    }

    /// Whether it gives no more messages: it was asked to end, or cannot go on.
    pub fn has_ended(&self) -> bool {
        self.shared.stop.is_asked()
    }

    /// Answers those that wait, gives all leases back without an attempt, and begins to leave the group.
    pub fn begin_to_end(&self) {
        let mut queue = self.shared.queue();
        let now = self.shared.clock.now();
        queue.announced = false;
        let waiters = std::mem::take(&mut queue.leases.waiters);
        let given: Vec<LeaseKey> = queue.leases.given.keys().copied().collect();
        for key in given {
            drop(queue.leases.take(key, LeaseEnd::Lost));
            if let Some(engine) = queue.partitions.engine_of(key.from) {
                engine.release(key.id, 0, now);
            }
        }
        drop(queue);
        waiters.into_iter().for_each(|waiter| _ = waiter.receiver.give(Vec::new()));
        self.shared.stop.ask();
        self.shared.commit.notify_one();
    }
}

impl Drop for LeaseQueue {
    fn drop(&mut self) {
        self.begin_to_end();
        if let Some(Err(error)) = lock(&self.handle).take().map(ConsumerHandle::wait) {
            log::error!("{}: {error}", self.shared.name);
        }
        self.shared.answer_acknowledged();
    }
}

/// What may be handed out is committed so far ahead.
const AHEAD: usize = 256;

/// Takes messages out of the queue, and notes their leases.
fn take(shared: &Shared, queue: &mut Queue, max: usize, lease: Duration) -> Vec<Item> {
    let now = shared.clock.now();
    let until = now.saturating_add(millis(lease));
    let mut items = Vec::new();
    let reserved = queue.leases.limit.reserve(max);
    queue.receive(reserved, now, &mut items);
    let mut given = 0;
    for item in items.iter().filter(|item| !item.is_letter()) {
        let key = item.key();
        if let Some(engine) = queue.partitions.engine_of(key.from) {
            let _ = engine.extend(key.id, until);
        }
        queue.leases.give(item.clone());
        given += 1;
    }
    queue.leases.limit.give_back(reserved.saturating_sub(given));
    items
}

/// The messages that workers may get; the others become dead letters.
fn admit(shared: &Shared, letters: &Sender<Letter>, taken: Vec<Item>) -> Vec<Item> {
    let is_admitted = |item: &Item| {
        if item.is_letter() {
            let _ = letters.send(Letter::Due(item.clone()));
            return false;
        }
        let Err(cause) = shared.check(item) else { return true };
        drop(shared.queue().leases.take(item.key(), LeaseEnd::NotJson));
        let _ = letters.send(Letter::NotJson(item.clone(), cause));
        false
    };
    taken.into_iter().filter(is_admitted).collect()
}

/// Gives messages to one that waits. If it has left they are handed out again, and have lost no attempt.
fn give(shared: &Shared, receiver: Box<dyn Waiting>, leased: Vec<Item>) {
    let keys: Vec<LeaseKey> = leased.iter().map(Item::key).collect();
    if receiver.give(leased) {
        return;
    }
    let mut queue = shared.queue();
    for key in keys {
        let stands = queue.leases.take(key, LeaseEnd::NotReceived).is_some();
        let now = shared.clock.now();
        if let Some(engine) = queue.partitions.engine_of(key.from).filter(|_| stands) {
            let _ = engine.release(key.id, 0, now);
        }
    }
    shared.wake(&queue, 1);
}

/// Answers one that has waited for long enough. Where no message can come it hears why.
fn give_nothing(shared: &Shared, receiver: Box<dyn Waiting>) {
    match shared.standing.lasting_obstacle() {
        Some(obstacle) => receiver.refuse(obstacle),
        None => _ = receiver.give(Vec::new()),
    }
}

fn fail(shared: &Shared, letters: &Sender<Letter>, item: Item, failure: Failure) {
    if let Some((item, verdict)) = shared.not_handled(item, failure) {
        let _ = letters.send(Letter::Decided(item, verdict));
    }
}

/// Ends leases that run out, and serves those that wait, until the queue is closed.
fn serve(shared: &Shared, letters: &Sender<Letter>) {
    loop {
        end_overdue(shared, letters);
        let mut queue = shared.queue();
        if queue.closed {
            let waiters = std::mem::take(&mut queue.leases.waiters);
            drop(queue);
            waiters.into_iter().for_each(|waiter| give_nothing(shared, waiter.receiver));
            return;
        }
        let now = Instant::now();
        let is_over = |waiter: &Waiter| waiter.until <= now || waiter.receiver.has_left();
        if let Some(at) = queue.leases.waiters.iter().position(is_over) {
            let waiter = queue.leases.waiters.remove(at);
            drop(queue);
            waiter.into_iter().for_each(|waiter| give_nothing(shared, waiter.receiver));
            continue;
        }
        if let Some(waiter) = queue.leases.waiters.pop_front() {
            let taken = take(shared, &mut queue, waiter.max, waiter.lease);
            if !taken.is_empty() {
                drop(queue);
                let leased = admit(shared, letters, taken);
                if leased.is_empty() {
                    shared.queue().leases.waiters.push_front(waiter);
                } else {
                    give(shared, waiter.receiver, leased);
                }
                continue;
            }
            queue.leases.waiters.push_front(waiter);
        }
        rest(shared, queue);
    }
}

/// Waits until there may be something to hand out, a lease runs out, or one has waited for long enough.
fn rest(shared: &Shared, mut queue: net::sync::MutexGuard<'_, Queue>) {
    // What is ready may wait for a commit, or for bytes.
    shared.commit.notify_one();
    shared.refetch.notify_one();
    let now = shared.clock.now();
    let due = queue.partitions.next_due().unwrap_or(u64::MAX);
    let until = queue.leases.waiters.iter().map(|waiter| waiter.until).min();
    let patience = until.map_or(LONGEST_NAP, |until| until.saturating_duration_since(Instant::now()));
    let nap = super::shared::nap(due, now).min(LONGEST_NAP).min(patience.max(Duration::from_millis(1)));
    queue.timekeeper = Some(due);
    queue = wait_timeout(&shared.time, queue, nap);
    queue.timekeeper = None;
}

fn end_overdue(shared: &Shared, letters: &Sender<Letter>) {
    loop {
        let mut queue = shared.queue();
        let now = shared.clock.now();
        let Some((from, id)) = queue.partitions.overdue(now) else { return };
        let Some(item) = queue.leases.take(LeaseKey { from, id }, LeaseEnd::RunOut) else {
            // It is being stored as a dead letter.
            let until = now.saturating_add(millis(shared.settings.max_processing));
            if let Some(engine) = queue.partitions.engine_of(from) {
                let _ = engine.extend(id, until);
            }
            continue;
        };
        drop(queue);
        let cause = FailureCause::of(&NotHandled("its lease ran out".to_owned()));
        fail(shared, letters, item, Failure::FailedFor { cause, wait: Duration::ZERO });
    }
}

/// Stores dead letters until the queue has ended.
fn store_letters(shared: &Shared, letters: &Receiver<Letter>) {
    for letter in letters {
        let decided = match letter {
            Letter::Due(item) => {
                let verdict = shared.verdict_of(&item);
                Some((item, verdict))
            }
            Letter::NotJson(item, cause) => shared.set_aside(item, cause),
            Letter::Decided(item, verdict) => Some((item, verdict)),
        };
        if let Some((item, verdict)) = decided
            && shared.store(&item, &verdict)
        {
            shared.done(&mut vec![item]);
        }
    }
}
