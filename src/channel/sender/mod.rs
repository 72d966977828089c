//! The batching sender: what many threads submit goes to the crate's `Producer::send_all` in few calls, and
//! each message's outcome comes back as soon as the cluster has acknowledged it.

mod delivery;
mod lane;
mod outgoing;
mod queue;
mod room;
mod set;

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::adapter::Endpoint;
use crate::config::{MAX_MESSAGE_BYTES, Settings};
use crate::error::{Error, Result};
use crate::metrics::{Outcome, SenderMetrics};
use crate::stop::Stop;
pub use delivery::{Delivery, Done, SubmitError};
pub use outgoing::{Outgoing, Place};
use queue::{MAX_LANES, Queue};
pub(super) use room::Room;
use set::{Finished, Set, SetOutcome};

/// While messages are open, flights and deadlines are looked at this often.
const TICK: Duration = Duration::from_millis(25);

/// Deadlines are told together if they are no further apart, as a look at them goes through all that waits.
const DEADLINE_STEP: Duration = Duration::from_millis(10);

/// The longest that a call waits for a partition's leader.
const LONGEST_ACK_TIMEOUT: Duration = Duration::from_secs(1);

/// How much longer a call may last that finds no leader: the adapter gives a broker that it has to connect to
/// a second, whatever the timeout.
const REACH: Duration = Duration::from_millis(1_100);

/// The sender; a clone is another handle on the same one.
///
/// Threads: lane 0 carries calls one after another, each with all that waits. The clock watches deadlines;
/// where a call stays out for long it wakes or starts a further lane, which carries what does not wait for
/// the same partitions.
#[derive(Clone)]
pub struct Sender {
    shared: Arc<Shared>,
}

/// What the threads share. `state` is the only lock; no [`Done`] is called under it.
struct Shared {
    /// The client id's name, which the log shows too.
    name: String,
    topic: Arc<str>,
    endpoint: Endpoint,
    /// The most that a message may weigh.
    largest: usize,
    ack_timeout: Duration,
    metrics: SenderMetrics,
    state: Mutex<State>,
    /// Lanes wait here for messages.
    work: Condvar,
    /// The clock waits here for the first open message.
    clock: Condvar,
    /// `close` waits here for open messages and threads to end.
    progress: Condvar,
    /// Asked when the threads shall end.
    end: Stop,
}

struct State {
    queue: Queue,
    closing: bool,
    /// Lanes that wait for messages, and how many of them have been woken already.
    idle: usize,
    waking: usize,
    clock_sleeps: bool,
    lanes: usize,
    threads: Vec<JoinHandle<()>>,
    /// The last reason why the topic cannot be reached, so that the log tells it once.
    trouble: Option<String>,
    /// No thread could be started for a further lane when that was last tried.
    no_thread: bool,
}

impl Sender {
    /// Starts the sender's threads for `topic` behind the adapter at `endpoint`. `name` is what Kafka's tools
    /// show. No broker needs to be there yet. The queue's limits are `producer_api.queue_messages` and
    /// `.queue_bytes`.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start(settings: &Settings, topic: &str, endpoint: Endpoint, name: &str) -> Result<Sender> {
        Sender::start_counted(settings, topic, endpoint, name, SenderMetrics::default())
    }

    /// As [`Sender::start`], and counts what it does.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start_counted(
        settings: &Settings,
        topic: &str,
        endpoint: Endpoint,
        name: &str,
        metrics: SenderMetrics,
    ) -> Result<Sender> {
        Sender::sharing(settings, topic, endpoint, name, &Room::of(&settings.producer_api, metrics))
    }

    /// As [`Sender::start`], but with limits, and metrics, that it shares with others.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub(super) fn sharing(
        settings: &Settings,
        topic: &str,
        endpoint: Endpoint,
        name: &str,
        room: &Arc<Room>,
    ) -> Result<Sender> {
        Sender::start_with(settings, topic, endpoint, name, room.clone(), MAX_MESSAGE_BYTES)
    }

    /// As [`Sender::start`], but without limits of its own: for one who has few messages open at a time,
    /// which may be as large as Kafka takes them.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn unlimited(settings: &Settings, topic: &str, endpoint: Endpoint, name: &str) -> Result<Sender> {
        let room = Room::new(usize::MAX, usize::MAX, SenderMetrics::default());
        Sender::start_with(settings, topic, endpoint, name, room, usize::MAX)
    }

    fn start_with(
        settings: &Settings,
        topic: &str,
        endpoint: Endpoint,
        name: &str,
        room: Arc<Room>,
        largest: usize,
    ) -> Result<Sender> {
        let topic: Arc<str> = topic.into();
        let api = &settings.producer_api;
        let ack_timeout = (api.answer_timeout() / 4).min(LONGEST_ACK_TIMEOUT);
        let definite_after = ack_timeout + REACH;
        let state = State {
            queue: Queue::new(topic.clone(), room.clone(), definite_after),
            closing: false,
            idle: 0,
            waking: 0,
            clock_sleeps: false,
            lanes: 0,
            threads: Vec::new(),
            trouble: None,
            no_thread: false,
        };
        let shared = Arc::new(Shared {
            name: name.to_owned(),
            topic,
            endpoint,
            largest,
            ack_timeout,
            metrics: room.metrics().clone(),
            state: Mutex::new(state),
            work: Condvar::new(),
            clock: Condvar::new(),
            progress: Condvar::new(),
            end: Stop::new(),
        });
        let sender = Sender { shared };
        let mut state = sender.shared.lock();
        let started =
            sender.shared.start_lane(&mut state).and_then(|()| sender.shared.start_clock(&mut state));
        drop(state);
        if let Err(error) = started {
            sender.close(Instant::now());
            return Err(Error::new("a thread of the sender cannot be started").caused_by(error));
        }
        Ok(sender)
    }

    /// Takes a message. `done` is called exactly once if and only if this returns `Ok`.
    ///
    /// # Errors
    /// See [`SubmitError`]; the message is then certainly not stored.
    pub fn submit(&self, message: Outgoing, done: Done) -> Result<(), SubmitError> {
        self.take(message, done).inspect_err(|_| self.shared.metrics.finished(Outcome::NotTaken))
    }

    /// Whether the queue has no room: a message was not taken for that, and none has left since.
    pub fn is_full(&self) -> bool {
        self.shared.lock().queue.is_full()
    }

    fn take(&self, message: Outgoing, done: Done) -> Result<(), SubmitError> {
        let shared = &self.shared;
        if message.bytes() > shared.largest {
            return Err(SubmitError::TooLarge { limit: shared.largest });
        }
        let mut state = shared.lock();
        if state.closing {
            return Err(SubmitError::Closed);
        }
        if !state.queue.push(message, done) {
            return Err(SubmitError::QueueFull);
        }
        // With a young flight out, its lane takes the message when it comes back.
        let wake_lane = state.waking == 0 && state.idle > 0 && !state.queue.has_young_flight();
        state.waking += usize::from(wake_lane);
        let wake_clock = std::mem::take(&mut state.clock_sleeps);
        drop(state);
        if wake_lane {
            shared.work.notify_one();
        }
        if wake_clock {
            shared.clock.notify_one();
        }
        Ok(())
    }

    /// The topic.
    pub(super) fn topic(&self) -> &str {
        &self.shared.topic
    }

    /// Where it counts.
    pub(super) fn metrics(&self) -> &SenderMetrics {
        &self.shared.metrics
    }

    /// Ends the threads, without waiting for that, if nothing is open; false if something is.
    pub(super) fn retire(&self) -> bool {
        let mut state = self.shared.lock();
        if state.queue.open() > 0 {
            return false;
        }
        state.closing = true;
        drop(state);
        self.shared.end_threads();
        true
    }

    /// Takes no new message, finishes the open ones and ends the threads. What is still open at `deadline`
    /// gets its honest answer then: not stored if it still waited, unknown if it was under way. A thread
    /// whose call is still out is left to end with it.
    pub fn close(&self, deadline: Instant) {
        let shared = &self.shared;
        let mut state = shared.lock();
        state.closing = true;
        state = shared.wait_until(deadline, state, |state| state.queue.open() == 0);
        let mut finished = Vec::new();
        state.queue.abandon(&mut finished);
        drop(state);
        shared.hand_out(finished);
        shared.end_threads();
        let all_done = |state: &mut State| state.threads.iter().all(JoinHandle::is_finished);
        let mut state = shared.wait_until(deadline.max(Instant::now() + TICK), shared.lock(), all_done);
        for thread in state.threads.drain(..).filter(JoinHandle::is_finished) {
            // A panic was told where it happened.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ended(&self) -> bool {
        self.end.is_asked()
    }

    fn end_threads(&self) {
        self.end.ask();
        // Under the lock, so that no thread is between its look at `end` and its wait.
        drop(self.lock());
        self.work.notify_all();
        self.clock.notify_all();
    }

    fn start_lane(self: &Arc<Self>, state: &mut State) -> std::io::Result<()> {
        let (shared, lane) = (self.clone(), state.lanes);
        let body = move || lane::run(&shared, lane);
        state.threads.push(thread::Builder::new().name(format!("sender-{lane}")).spawn(body)?);
        state.lanes += 1;
        Ok(())
    }

    fn start_clock(self: &Arc<Self>, state: &mut State) -> std::io::Result<()> {
        let shared = self.clone();
        let body = move || shared.run_clock();
        state.threads.push(thread::Builder::new().name("sender-clock".to_owned()).spawn(body)?);
        Ok(())
    }

    /// Waits, with a look each tick as threads tell nobody that they end, until `over` or `deadline`.
    fn wait_until<'a>(
        &'a self,
        deadline: Instant,
        mut state: MutexGuard<'a, State>,
        over: impl Fn(&mut State) -> bool,
    ) -> MutexGuard<'a, State> {
        while !over(&mut state) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let waited = self.progress.wait_timeout(state, left.min(TICK));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state
    }

    /// Waits until `lane` shall send something. `None` if its metadata should be loaded again first, or at
    /// the end.
    fn wait_for_sets(&self, lane: usize, ready: &lane::Ready) -> Option<Vec<Set>> {
        let mut finished = Vec::new();
        let mut state = self.lock();
        let sets = loop {
            let now = Instant::now();
            if self.ended() {
                break None;
            }
            if state.queue.open() > 0 && ready.is_old(now, state.queue.partitions()) {
                break None;
            }
            let sets = state.queue.take(now, lane, &mut finished);
            if !sets.is_empty() {
                // After a call that keeps nobody, another lane may leave at once.
                let another = state.waking < state.idle && state.queue.has_work(now);
                state.waking += usize::from(another);
                if another {
                    self.work.notify_one();
                }
                break Some(sets);
            }
            if !finished.is_empty() {
                drop(state);
                self.hand_out(std::mem::take(&mut finished));
                state = self.lock();
                continue;
            }
            state.idle += 1;
            state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
            state.waking = state.waking.saturating_sub(1);
        };
        drop(state);
        self.hand_out(finished);
        sets
    }

    /// Ends the call of `lane` and tells the senders.
    fn settle(&self, lane: usize, sets: &mut [Set], outcomes: &[SetOutcome]) {
        let mut finished = Vec::new();
        let mut state = self.lock();
        state.queue.settle(Instant::now(), lane, sets, outcomes, &mut finished);
        if state.closing {
            self.progress.notify_all();
        }
        drop(state);
        self.hand_out(finished);
    }

    /// Tells the senders.
    fn hand_out(&self, finished: Vec<Finished>) {
        let mut bad_news = false;
        for (done, delivery) in finished {
            let outcome = delivery.outcome();
            bad_news |= outcome != Outcome::Stored;
            self.metrics.finished(outcome);
            done(delivery);
        }
        if bad_news {
            log::logger().flush(); // their lines in the log
        }
    }

    /// The topic is reached.
    fn reached(&self, partitions: usize) {
        let mut state = self.lock();
        let changed = state.queue.partitions() != partitions;
        let recovered = state.trouble.take().is_some();
        state.queue.set_partitions(partitions);
        drop(state);
        if changed || recovered {
            log::info!("topic {} can be reached, it has {partitions} partitions", self.topic);
        }
    }

    /// The topic cannot be reached, for this reason.
    fn trouble(&self, reason: &str) {
        let sentence = format!("topic {} cannot be reached: {reason}", self.topic);
        let mut state = self.lock();
        state.queue.set_trouble(&sentence);
        let known = state.trouble.as_ref() == Some(&sentence);
        state.trouble = Some(sentence.clone());
        drop(state);
        if !known && !self.ended() {
            log::warn!("{sentence}; trying until it works");
        }
    }

    /// Watches deadlines, and calls that stay out for long.
    fn run_clock(self: &Arc<Self>) {
        let mut finished = Vec::new();
        let mut state = self.lock();
        while !self.ended() {
            if state.queue.open() == 0 {
                state.clock_sleeps = true;
                state = self.clock.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let now = Instant::now();
            state.queue.age(now);
            state.queue.expire(now, &mut finished);
            let failure = if state.queue.has_work(now) { self.open_lane(&mut state) } else { None };
            if !finished.is_empty() || failure.is_some() {
                drop(state);
                self.hand_out(std::mem::take(&mut finished));
                if let Some(error) = failure {
                    log::warn!("no thread for a further connection can be started: {error}");
                }
                state = self.lock();
            }
            let due = state.queue.next_deadline().map_or(TICK, |next| next.saturating_duration_since(now));
            let waited = self.clock.wait_timeout(state, due.clamp(DEADLINE_STEP, TICK));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Wakes a lane for what may leave now, or starts one; none while all are out or on their way to the
    /// topic. The error is for the log: it is given once until a lane can be started again.
    fn open_lane(self: &Arc<Self>, state: &mut State) -> Option<std::io::Error> {
        if state.idle > 0 {
            state.waking = state.waking.max(1);
            self.work.notify_one();
            return None;
        }
        if state.queue.flights() != state.lanes || state.lanes >= MAX_LANES {
            return None;
        }
        let failure = self.start_lane(state).err();
        let known = std::mem::replace(&mut state.no_thread, failure.is_some());
        failure.filter(|_| !known)
    }
}
