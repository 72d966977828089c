//! The batching producer: records of many threads go to the `kafka` crate's `Producer::send_all` in few
//! requests, and each record's delivery report comes as soon as the cluster has acknowledged it.
//!
//! - `accumulator`: the records that wait, by partition; `batch`: those of one request for one partition
//! - `in_flight`: the sender threads, the only place that sends through the `kafka` crate; `clock`: the clock
//!   thread
//! - `outage`: whether the topic can be reached, and since when not
//! - `limits`: the limits of waiting records; `delivery_report`: the result of a record
//! - `producers`: a producer for each topic; [`retrying_producer`]: sends at least once

mod accumulator;
mod batch;
mod clock;
mod delivery_report;
mod in_flight;
mod limits;
mod outage;
mod producers;
mod record;
pub mod retrying_producer;
mod settings;
mod store_failure_check;

use net::sync::{Condvar, Mutex, MutexGuard};
use std::sync::{Arc, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::metrics::{ProducerMetrics, RecordOutcome};
use accumulator::Accumulator;
use adapter::Endpoint;
use batch::{Batch, BatchOutcome, Finished};
pub use delivery_report::{DeliveryCallback, DeliveryReport, NotStoredKind, SubmitError};
pub(crate) use in_flight::kafka_code;
use limits::Limits;
use net::stop::Stop;
use outage::KnownOutage;
pub use producers::Producers;
pub use record::{PartitionChoice, ProducerRecord};
pub use settings::{MAX_MESSAGE_BYTES, ProducerSettings};
pub use store_failure_check::StoreFailureCheck;

/// The time between two checks of deadlines and of requests in flight, while records are open.
const TICK: Duration = Duration::from_millis(25);

/// The longest that a call waits for a partition's leader.
const LONGEST_ACK_TIMEOUT: Duration = Duration::from_secs(1);

/// The same with the embedded broker, which leads every partition or is not there: what it refuses is known
/// sooner.
const EMBEDDED_ACK_TIMEOUT: Duration = Duration::from_millis(500);

/// The time that a request without a leader may take beyond its timeout: the adapter gives a broker that it
/// has to connect to a second, whatever the timeout.
const REACH: Duration = Duration::from_millis(1_100);

/// The producer; a clone is another handle on the same one.
///
/// Threads: sender thread 0 sends requests one after another, each with all records that wait. The clock
/// watches deadlines; where a request stays out for long it wakes or starts a further sender thread, which
/// sends the records of other partitions.
#[derive(Clone)]
pub struct Producer {
    shared: Arc<Shared>,
    _end: Arc<EndOnDrop>,
}

/// Ends the threads with the last handle, and gives open messages their reports.
struct EndOnDrop(Arc<Shared>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.abandon();
        self.0.end_threads();
    }
}

/// The state that the threads share. `state` is the only lock; no [`DeliveryCallback`] is called under it.
struct Shared {
    /// The client id's name, which the log shows too.
    name: String,
    topic: Arc<str>,
    endpoint: Endpoint,
    /// The most that a message may weigh.
    largest: usize,
    ack_timeout: Duration,
    /// An outage that has lasted for so long is known: what comes does not wait for its end.
    outage_is_known: Duration,
    metrics: ProducerMetrics,
    store_check: StoreFailureCheck,
    state: Mutex<ProducerState>,
    /// Sender threads wait here for messages.
    work: Condvar,
    /// The clock waits here for the first open message.
    clock: Condvar,
    /// `close` waits here for open messages and threads to end.
    progress: Condvar,
    /// Asked when the threads shall end.
    end: Stop,
}

/// The sender threads of a producer.
#[derive(Default)]
struct SenderThreads {
    started: usize,
    /// Threads that wait for records.
    idle: usize,
    /// Idle threads that have been woken already.
    waking: usize,
    /// A further thread could not be started at the last try.
    start_failed: bool,
}

struct ProducerState {
    accumulator: Accumulator,
    closing: bool,
    sender_threads: SenderThreads,
    clock_sleeps: bool,
    threads: Vec<JoinHandle<()>>,
    /// The reasons why the topic cannot be reached since it could, so that the log tells each once.
    unreachable: Vec<String>,
    /// Nothing could be stored at the last check: sender threads take no records.
    blocked: bool,
    /// What is known of an outage, as of the last check.
    outage: Option<KnownOutage>,
    /// How often a broker could be reached again: then sender threads need not wait for their next try.
    recoveries: u64,
}

impl Producer {
    /// Starts the producer's threads for `topic` behind the adapter at `endpoint`. `name` is what Kafka's
    /// tools show. No broker needs to be there yet. No more waits than `settings` allow.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start(
        settings: &ProducerSettings,
        topic: &str,
        endpoint: Endpoint,
        name: &str,
    ) -> Result<Producer> {
        let metrics = ProducerMetrics::default();
        Producer::start_counted(settings, topic, endpoint, name, metrics, StoreFailureCheck::default())
    }

    /// Starts a producer as [`Producer::start`] does, with metrics. While `store_check` finds a failure,
    /// records are refused at once instead of waiting.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start_counted(
        settings: &ProducerSettings,
        topic: &str,
        endpoint: Endpoint,
        name: &str,
        metrics: ProducerMetrics,
        store_check: StoreFailureCheck,
    ) -> Result<Producer> {
        Producer::sharing(settings, topic, endpoint, name, &Limits::of(settings, metrics, store_check))
    }

    /// Starts a producer as [`Producer::start`] does. What is refused for now, or got no answer, keeps its
    /// place and is sent again until its deadline: it may then be stored twice.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn at_least_once(
        settings: &ProducerSettings,
        topic: &str,
        endpoint: Endpoint,
        name: &str,
    ) -> Result<Producer> {
        let producer = Producer::start(settings, topic, endpoint, name)?;
        producer.shared.lock().accumulator.send_at_least_once();
        Ok(producer)
    }

    /// Starts a producer as [`Producer::start`] does, but with limits and metrics that it shares with others.
    ///
    /// # Errors
    /// When a thread cannot be started.
    fn sharing(
        settings: &ProducerSettings,
        topic: &str,
        endpoint: Endpoint,
        name: &str,
        limits: &Arc<Limits>,
    ) -> Result<Producer> {
        let largest = settings.queue_bytes.min(MAX_MESSAGE_BYTES);
        Producer::start_with(settings, topic, endpoint, name, limits.clone(), largest)
    }

    /// Starts a producer as [`Producer::start`] does, but without limits: for callers with few messages open
    /// at a time, which may be as large as Kafka takes them.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn unlimited(
        settings: &ProducerSettings,
        topic: &str,
        endpoint: Endpoint,
        name: &str,
    ) -> Result<Producer> {
        let limits = Limits::new(usize::MAX, usize::MAX, ProducerMetrics::default());
        Producer::start_with(settings, topic, endpoint, name, limits, usize::MAX)
    }

    fn start_with(
        settings: &ProducerSettings,
        topic: &str,
        endpoint: Endpoint,
        name: &str,
        limits: Arc<Limits>,
        largest: usize,
    ) -> Result<Producer> {
        let topic: Arc<str> = topic.into();
        let longest = if settings.embedded_broker { EMBEDDED_ACK_TIMEOUT } else { LONGEST_ACK_TIMEOUT };
        let ack_timeout = (settings.answer_timeout / 4).min(longest);
        let definite_after = ack_timeout + REACH;
        let mut accumulator = Accumulator::new(topic.clone(), limits.clone(), definite_after);
        // As in Java: many programs with few messages each would load the first partition alone.
        accumulator.begin_with(net::random::bytes().map_or(0, usize::from_ne_bytes));
        let state = ProducerState {
            accumulator,
            closing: false,
            sender_threads: SenderThreads::default(),
            clock_sleeps: false,
            threads: Vec::new(),
            unreachable: Vec::new(),
            blocked: false,
            outage: None,
            recoveries: 0,
        };
        let shared = Arc::new(Shared {
            name: name.to_owned(),
            topic,
            endpoint,
            largest,
            ack_timeout,
            outage_is_known: settings.answer_timeout / 2,
            metrics: limits.metrics().clone(),
            store_check: limits.store_check().clone(),
            state: Mutex::new(state),
            work: Condvar::new(),
            clock: Condvar::new(),
            progress: Condvar::new(),
            end: Stop::new(),
        });
        let producer = Producer { _end: Arc::new(EndOnDrop(shared.clone())), shared };
        let mut state = producer.shared.lock();
        let started = producer
            .shared
            .start_sender_thread(&mut state)
            .and_then(|()| producer.shared.start_clock(&mut state));
        drop(state);
        if let Err(error) = started {
            producer.close(Instant::now());
            return Err(Error::new("a thread of the producer cannot be started").caused_by(error));
        }
        Ok(producer)
    }

    /// Takes a message. `done` is called exactly once if and only if this returns `Ok`.
    ///
    /// # Errors
    /// See [`SubmitError`]; the message is then certainly not stored.
    pub fn submit(&self, message: ProducerRecord, done: DeliveryCallback) -> Result<(), SubmitError> {
        self.take(message, done).inspect_err(|_| self.shared.metrics.finished(RecordOutcome::NotTaken))
    }

    /// Whether the queue is full: a record was refused for that, and no record has left since.
    pub fn is_full(&self) -> bool {
        self.shared.lock().accumulator.is_full()
    }

    fn take(&self, message: ProducerRecord, done: DeliveryCallback) -> Result<(), SubmitError> {
        let shared = &self.shared;
        if message.bytes() > shared.largest {
            return Err(SubmitError::TooLarge { limit: shared.largest });
        }
        let mut state = shared.lock();
        if state.closing {
            return Err(SubmitError::Closed);
        }
        if !state.accumulator.push(Instant::now(), message, done) {
            return Err(SubmitError::QueueFull);
        }
        // With a recent request out, its sender thread takes the record when it comes back.
        let wake = state.sender_threads.waking == 0
            && state.sender_threads.idle > 0
            && !state.accumulator.has_recent_request();
        state.sender_threads.waking += usize::from(wake);
        let wake_clock = std::mem::take(&mut state.clock_sleeps);
        drop(state);
        if wake_clock {
            // The clock has not looked for a while; a record that goes into an outage is under way for long.
            let seen = shared.store_check.outage();
            let mut state = shared.lock();
            shared.note_outage(&mut state, seen, Instant::now());
        }
        if wake {
            shared.work.notify_one();
        }
        if wake_clock {
            shared.clock.notify_one();
        }
        Ok(())
    }

    /// The topic.
    pub(crate) fn topic(&self) -> &str {
        &self.shared.topic
    }

    /// Cause no message could be stored when that was last tried, if that was a moment ago.
    pub fn last_refusal(&self) -> Option<String> {
        self.shared.lock().accumulator.last_refusal(Instant::now())
    }

    /// The check that makes it refuse records.
    pub(super) fn store_check(&self) -> &StoreFailureCheck {
        &self.shared.store_check
    }

    /// The metrics in which it counts.
    fn metrics(&self) -> &ProducerMetrics {
        &self.shared.metrics
    }

    /// Ends the threads, without waiting for that, if nothing is open; false if something is.
    pub(crate) fn retire(&self) -> bool {
        let mut state = self.shared.lock();
        if state.accumulator.open() > 0 {
            return false;
        }
        state.closing = true;
        drop(state);
        self.shared.end_threads();
        true
    }

    /// Takes no new message, finishes the open ones and ends the threads. A message that is still open at
    /// `deadline` gets its report then: not stored if it still waited, unknown if it was under way. A thread
    /// whose call is still out is left to end with it.
    pub fn close(&self, deadline: Instant) {
        let shared = &self.shared;
        let mut state = shared.lock();
        state.closing = true;
        drop(shared.wait_until(deadline, state, |state| state.accumulator.open() == 0));
        shared.abandon();
        shared.end_threads();
        let all_done = |state: &mut ProducerState| state.threads.iter().all(JoinHandle::is_finished);
        let mut state = shared.wait_until(deadline.max(Instant::now() + TICK), shared.lock(), all_done);
        for thread in state.threads.drain(..).filter(JoinHandle::is_finished) {
            // A panic was logged where it happened.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, ProducerState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ended(&self) -> bool {
        self.end.is_asked()
    }

    /// Takes no new message and gives up those that are open.
    fn abandon(&self) {
        let mut finished = Vec::new();
        let mut state = self.lock();
        state.closing = true;
        state.accumulator.abandon(&mut finished);
        drop(state);
        self.hand_out(finished);
    }

    fn end_threads(&self) {
        self.end.ask();
        // Under the lock, so that no thread is between its look at `end` and its wait.
        drop(self.lock());
        self.work.notify_all();
        self.clock.notify_all();
    }

    fn start_sender_thread(self: &Arc<Self>, state: &mut ProducerState) -> std::io::Result<()> {
        let (shared, sender) = (self.clone(), state.sender_threads.started);
        let body = move || in_flight::run(&shared, sender);
        state.threads.push(thread::Builder::new().name(format!("producer-{sender}")).spawn(body)?);
        state.sender_threads.started += 1;
        Ok(())
    }

    fn start_clock(self: &Arc<Self>, state: &mut ProducerState) -> std::io::Result<()> {
        let shared = self.clone();
        let body = move || shared.run_clock();
        state.threads.push(thread::Builder::new().name("producer-clock".to_owned()).spawn(body)?);
        Ok(())
    }

    /// Waits, with a check each tick as ending threads do not notify, until `over` or `deadline`.
    fn wait_until<'a>(
        &'a self,
        deadline: Instant,
        mut state: MutexGuard<'a, ProducerState>,
        over: impl Fn(&mut ProducerState) -> bool,
    ) -> MutexGuard<'a, ProducerState> {
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

    /// Waits until sender thread `sender` has batches to send. `None` if its metadata should be loaded again
    /// first, or at the end.
    fn wait_for_batches(&self, sender: usize, ready: &in_flight::Ready) -> Option<Vec<Batch>> {
        let mut finished = Vec::new();
        let mut state = self.lock();
        let batches = loop {
            let now = Instant::now();
            if self.ended() {
                break None;
            }
            if state.accumulator.open() > 0
                && ready.is_old(now, state.accumulator.partitions(), state.outage.is_some())
            {
                break None;
            }
            let batches =
                if state.blocked { Vec::new() } else { state.accumulator.take(now, sender, &mut finished) };
            if !batches.is_empty() {
                // After a request that delays no other, another sender thread may send at once.
                let another = state.sender_threads.waking < state.sender_threads.idle
                    && state.accumulator.has_work(now);
                state.sender_threads.waking += usize::from(another);
                if another {
                    self.work.notify_one();
                }
                break Some(batches);
            }
            if !finished.is_empty() {
                drop(state);
                self.hand_out(std::mem::take(&mut finished));
                state = self.lock();
                continue;
            }
            state.sender_threads.idle += 1;
            state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.sender_threads.idle -= 1;
            state.sender_threads.waking = state.sender_threads.waking.saturating_sub(1);
        };
        drop(state);
        self.hand_out(finished);
        batches
    }

    /// Ends the request of sender thread `sender`, and calls the callbacks of its records.
    fn complete(&self, sender: usize, batches: &mut [Batch], outcomes: &[BatchOutcome]) {
        let mut finished = Vec::new();
        let refused = |outcome: &BatchOutcome| matches!(outcome, BatchOutcome::NeverWritten { .. });
        let failure = if outcomes.iter().any(refused) { self.store_check.failure() } else { None };
        let mut state = self.lock();
        let now = Instant::now();
        state.accumulator.complete(now, sender, batches, outcomes, &mut finished);
        if let Some(reason) = failure {
            state.blocked = true;
            state.accumulator.refuse(now, &reason, &mut finished);
        }
        if state.closing {
            self.progress.notify_all();
        }
        drop(state);
        self.hand_out(finished);
    }

    /// Calls the callbacks with their delivery reports.
    fn hand_out(&self, finished: Vec<Finished>) {
        let mut bad_news = false;
        for (done, delivery) in finished {
            let outcome = delivery.outcome();
            bad_news |= outcome != RecordOutcome::Stored;
            self.metrics.finished(outcome);
            done(delivery);
        }
        if bad_news {
            log::logger().flush(); // the log lines of these records
        }
    }
}
