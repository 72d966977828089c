//! Consumers of a group.
//!
//! - [`Consumer`]: a member of the group whose messages are asked for one by one. It is the one place that
//!   receives through the `kafka` crate: it builds the crate's `Consumer` on the adapter, and the next one
//!   when the group's partitions change.
//! - [`consumer_loop`]: prints each message and commits it; [`push`] commits at intervals; [`printing`] has
//!   the dead letters beside it
//! - [`queued`]: the consumer with a work queue, for handlers and for many messages at a time
//! - [`consumer_handle`]: a consumer's thread
//! - [`handler_stderr`]: what handler programs write on standard error
//! - [`print_handler`], [`process_handler`], [`lines_handler`], [`push_handler`]: the handlers of the programs
//! - [`Translator`]: a program that makes another value of a message

mod consumer_handle;
mod consumer_loop;
pub mod handler;
mod handler_output;
mod handler_stderr;
mod in_hand;
pub mod lines_handler;
pub mod print_handler;
pub mod printing;
pub mod process_handler;
mod program;
mod program_input;
pub mod push_handler;
pub mod queued;
mod received;
mod settings;
mod subscription;
mod translator;

use std::sync::Arc;
use std::time::{Duration, Instant};

use kafka::client::{FetchOffset, GroupOffsetStorage, KafkaClient, fetch};
use kafka::consumer::{Consumer as KafkaConsumer, MessageSets};
use kafka::error::{Error as KafkaError, KafkaCode};

use crate::error::{Error, Result, Stored};
use crate::metrics::ConsumerMetrics;
use crate::producer::kafka_code;
pub use crate::queue::Order;
pub use crate::record::{ConsumerRecord, Headers};
use adapter::Endpoint;
pub use consumer_handle::{BUSY_GRACE, ConsumerHandle};
pub use consumer_loop::{push, receive};
pub use handler::{Failure, FailureCause, Handler};
use in_hand::InHand;
use net::backoff::Backoff;
use net::pulse::Pulse;
use net::stop::Stop;
use protocol::envelope;
use protocol::records::Content;
use protocol::v0::remark::Remark;
use protocol::wire::Malformed;
pub use queued::{QueueConsumer, Standing, leases, leasing};
pub use settings::{
    CommitMode, ConsumerSettings, HandlerMode, Payload, ProcessSettings, QueueSettings, RetrySettings,
};
pub use subscription::{Subscription, TopicPattern};
pub use translator::{Translation, Translator};

/// Pause before a consumer is built anew; doubles with each failure in a row.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// While something is marked and not committed no fetch waits for longer, so that a stop, which has to commit
/// it, does not wait either.
const MARKED_WAIT: Duration = Duration::from_secs(1);

/// A consumer of the group whose messages are asked for one by one.
pub struct Consumer {
    endpoint: Endpoint,
    name: String,
    /// The same for all `Consumer`s that this consumer builds, so that they are one member.
    session: String,
    topic: String,
    settings: ConsumerSettings,
    stop: Stop,
    /// Commits are not waited for.
    pipelined: bool,
    /// A message was given, or marked, that is not committed.
    in_hand: Arc<InHand>,
    live: Option<Session>,
    join_at: Instant,
    backoff: Backoff,
    last_failure: Option<String>,
    metrics: ConsumerMetrics,
    pulse: Pulse,
}

/// The `Consumer` of the day.
struct Session {
    consumer: KafkaConsumer,
    began: Instant,
    /// The last poll, and which message of which of its sets was given last.
    polled: Option<MessageSets>,
    at: Option<(usize, usize)>,
    /// The position of that message, until it is marked.
    given: Option<Position>,
    /// The position of the message that was marked last, if it is not committed.
    marked: Option<Position>,
}

type Position = (i32, i64);

/// The end of a `Consumer`.
enum SessionEnd {
    /// The group's partitions change: build the next at once.
    Rebalance,
    /// Build the next after a pause.
    Failed(String),
}

impl Consumer {
    /// A consumer called `name` of the group and topic in `settings`, behind the adapter at `endpoint`. It
    /// joins the group with the first message asked for.
    ///
    /// # Errors
    /// The settings name more than one topic, or the system has no random numbers to name the session with.
    pub fn new(settings: &ConsumerSettings, endpoint: Endpoint, name: &str, stop: Stop) -> Result<Consumer> {
        let several = || Error::new("several topics take a work queue").about_settings();
        let topic = settings.topics.single().ok_or_else(several)?;
        let no_random = |error| Error::new("no random name for the consumer's session").caused_by(error);
        Ok(Consumer {
            endpoint,
            name: name.to_owned(),
            session: net::random::hex::<8>().map_err(no_random)?,
            topic: topic.to_owned(),
            settings: settings.clone(),
            stop,
            pipelined: false,
            in_hand: Arc::default(),
            live: None,
            join_at: Instant::now(),
            backoff: Backoff::new(FIRST_PAUSE, LONGEST_PAUSE),
            last_failure: None,
            metrics: ConsumerMetrics::default(),
            pulse: Pulse::default(),
        })
    }

    /// Counts its commits and the group's rebalances in `metrics`.
    pub fn counted(self, metrics: ConsumerMetrics) -> Consumer {
        Consumer { metrics, ..self }
    }

    /// Shows by `pulse` that it goes on.
    pub fn beating(self, pulse: Pulse) -> Consumer {
        Consumer { pulse, ..self }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its settings; `fetch_max_wait` is a good timeout for [`Consumer::next`].
    pub fn settings(&self) -> &ConsumerSettings {
        &self.settings
    }

    /// The wish that ends every wait here.
    pub fn stop(&self) -> &Stop {
        &self.stop
    }

    /// Whether a message was given, or marked, that is not committed.
    pub(super) fn in_hand(&self) -> &Arc<InHand> {
        &self.in_hand
    }

    /// From the next `Consumer` on, commits are answered by the adapter before Kafka has them. A later
    /// commit or fetch then fails if one did not arrive.
    pub(super) fn pipeline_commits(&mut self) {
        self.pipelined = true;
    }

    /// Waits until this is a member of the group, also for a broker that is not there yet; false when stop is
    /// asked.
    pub fn join(&mut self) -> bool {
        while !self.stop.is_asked() {
            if self.join_until(Instant::now() + LONGEST_PAUSE) {
                return true;
            }
        }
        false
    }

    /// The next message; `None` when there is none within `timeout`, or stop is asked. A timeout below
    /// `fetch_max_wait` shortens the wait for `fetch_min_bytes`. Joining the group, at first and when its
    /// partitions change, may take longer, up to 20 s a try.
    ///
    /// A message that was given and is not committed comes again only after a restart or a rebalance, and not
    /// if a later message of its partition is committed.
    pub fn next(&mut self, timeout: Duration) -> Option<ConsumerRecord<'_>> {
        let deadline = Instant::now() + timeout;
        loop {
            self.pulse.beat();
            if self.stop.is_asked() {
                return None;
            }
            if self.live.as_mut().is_some_and(Session::advance) {
                match self.live.as_ref().map(|live| live.received(&self.topic)) {
                    Some(Err((offset, malformed))) => self.end(no_envelope(offset, malformed)),
                    _ => break,
                }
            }
            let came = self.join_until(deadline) && self.poll(deadline);
            if !came && Instant::now() >= deadline {
                return None;
            }
        }
        self.in_hand.take();
        let received = self.live.as_ref().and_then(|live| live.received(&self.topic).ok().flatten())?;
        received::log(&self.name, &received);
        Some(received)
    }

    /// Says that the message given last is handled: [`Consumer::commit_marked`] commits it, and with it all
    /// that came before it in its partition.
    pub fn mark(&mut self) {
        let Some(live) = &mut self.live else { return };
        if let Some((partition, offset)) = live.given.take() {
            // Fails for a topic alone that it does not consume.
            let _ = live.consumer.consume_message(&self.topic, partition, offset);
            live.marked = Some((partition, offset));
        }
    }

    /// Whether anything is marked and not committed.
    pub fn has_marked(&self) -> bool {
        self.live.as_ref().is_some_and(|live| live.marked.is_some())
    }

    /// Whether more was polled than was given: the next message needs no fetch.
    pub fn has_polled(&self) -> bool {
        self.live.as_ref().is_some_and(|live| live.following().is_some())
    }

    /// Commits what is marked, and waits until Kafka has it, unless commits are pipelined.
    ///
    /// # Errors
    /// When the partition belongs to another by now, or when it is unknown whether the commit arrived. Either
    /// way it may come again, here or elsewhere, and [`Consumer::next`] goes on with what is next.
    pub fn commit_marked(&mut self) -> Result<()> {
        let Some(live) = &mut self.live else { return Ok(()) };
        let Some(place) = live.marked else { return Ok(()) };
        let began = Instant::now();
        let committed = live.consumer.commit_consumed();
        live.marked = None;
        let arrived = committed.as_ref().err().is_none_or(is_in_a_rebalance);
        self.metrics.committed(began.elapsed(), arrived);
        self.in_hand.keep(live.given.is_some());
        let Err(error) = committed else { return Ok(()) };
        let failed = |what: &str| {
            Error::new(what).stored(Stored::Yes).retriable().at(&self.topic, Some(place.0), Some(place.1))
        };
        let (end, outcome) = match kafka_code(&error) {
            _ if arrived => (SessionEnd::Rebalance, Ok(())),
            Some(KafkaCode::IllegalGeneration | KafkaCode::UnknownMemberId) => {
                let error = failed("the commit was refused, as the partition now belongs to another");
                (SessionEnd::Rebalance, Err(error))
            }
            _ => {
                let error = failed("whether the commit arrived is unknown").caused_by(shown(&error));
                (SessionEnd::Failed("commit without an answer".to_owned()), Err(error))
            }
        };
        // What follows in the polled set is left alone: it comes again, here or elsewhere.
        self.end(end);
        outcome
    }

    /// [`Consumer::mark`] and [`Consumer::commit_marked`].
    ///
    /// # Errors
    /// The errors of [`Consumer::commit_marked`].
    pub fn commit(&mut self) -> Result<()> {
        self.mark();
        self.commit_marked()
    }

    /// Gives back the message given last, and what was polled with it: it comes again after a pause, here or
    /// elsewhere. Marked messages are committed before.
    pub fn give_back(&mut self) {
        if self.stop.is_asked() {
            return;
        }
        if let Err(error) = self.commit_marked() {
            log::warn!("{error}; it may come again");
        }
        self.end(SessionEnd::Failed("a message could not be handled".to_owned()));
    }

    /// Makes this a member of the group, unless it is one; false if it is none at `deadline`, or when stop is
    /// asked.
    fn join_until(&mut self, deadline: Instant) -> bool {
        while self.live.is_none() {
            self.pulse.beat();
            let wait = self.join_at.min(deadline).saturating_duration_since(Instant::now());
            if self.stop.wait_for(wait) || Instant::now() < self.join_at {
                return false;
            }
            let began = Instant::now();
            match self.build() {
                Ok(consumer) => self.live = Some(Session::new(consumer, began)),
                Err(reason) => self.ended(began, SessionEnd::Failed(reason)),
            }
            if Instant::now() >= deadline {
                break;
            }
        }
        self.live.is_some()
    }

    /// Builds a consumer, which is a member of the group when it is there.
    fn build(&self) -> Result<KafkaConsumer, String> {
        let settings = &self.settings;
        let mut client = KafkaClient::new(vec![self.endpoint.address()]);
        client.set_client_id(self.endpoint.consumer_client_id(&self.name, &self.session, self.pipelined));
        // The adapter checked the batches; the builder's own switch for this does nothing.
        client.set_fetch_crc_validation(false);
        client.load_metadata(&[&self.topic]).map_err(|error| shown(&error))?;
        if client.topics().partitions(&self.topic).is_none_or(|partitions| partitions.is_empty()) {
            // The adapter says why beside the topic.
            let remark = client.topics().names().find_map(Remark::read).map(|remark| remark.text);
            return Err(
                remark.unwrap_or_else(|| format!("the adapter does not tell of topic {}", self.topic))
            );
        }
        KafkaConsumer::from_client(client)
            .with_topic(self.topic.clone())
            .with_group(settings.group.clone())
            // Where a partition starts is the adapter's decision; this is never asked.
            .with_fallback_offset(FetchOffset::Earliest)
            .with_offset_storage(Some(GroupOffsetStorage::Kafka))
            .with_fetch_min_bytes(settings.fetch_min_bytes)
            .with_fetch_max_bytes_per_partition(settings.fetch_max_bytes_per_partition)
            .create()
            .map_err(|error| shown(&error))
    }

    /// Polls once; tells whether something came.
    fn poll(&mut self, deadline: Instant) -> bool {
        let Some(live) = &mut self.live else { return false };
        let mut wait = self.settings.fetch_max_wait;
        if live.marked.is_some() {
            wait = wait.min(MARKED_WAIT);
        }
        let wait = wait.min(deadline.saturating_duration_since(Instant::now()));
        live.given = None;
        self.in_hand.keep(live.marked.is_some());
        let client = live.consumer.client_mut();
        match client.set_fetch_max_wait_time(wait).and_then(|()| live.consumer.poll()) {
            Ok(polled) => {
                live.polled = Some(polled).filter(|polled| !polled.is_empty());
                live.polled.is_some()
            }
            Err(error) => {
                self.fetch_failed(&error);
                false
            }
        }
    }

    /// Ends a consumer whose fetch failed. Marked messages are committed before the partitions go: the
    /// adapter waits for that where it can.
    fn fetch_failed(&mut self, error: &KafkaError) {
        let code = kafka_code(error);
        let end = match code {
            Some(KafkaCode::RebalanceInProgress) => SessionEnd::Rebalance,
            Some(KafkaCode::IllegalGeneration | KafkaCode::UnknownMemberId) => {
                log::warn!("the group took this consumer for dead; what it had may come again elsewhere");
                return self.end(SessionEnd::Rebalance);
            }
            _ => SessionEnd::Failed(format!("fetch: {}", shown(error))),
        };
        if code.is_some()
            && let Err(error) = self.commit_marked()
        {
            log::warn!("{error}; it may come again");
        }
        self.end(end);
    }

    /// Lets go of the consumer, if it is still there.
    fn end(&mut self, end: SessionEnd) {
        if let Some(live) = self.live.take() {
            self.in_hand.keep(false);
            self.ended(live.began, end);
        }
    }

    /// Settles when the next consumer is built.
    fn ended(&mut self, began: Instant, end: SessionEnd) {
        if began.elapsed() > 2 * LONGEST_PAUSE {
            self.backoff.reset();
            self.last_failure = None;
        }
        match end {
            SessionEnd::Rebalance => {
                self.metrics.rebalanced();
                log::debug!("the partitions of group {} change, joining again", self.settings.group);
                // However the answers come, this is no busy loop.
                self.join_at = began + FIRST_PAUSE;
            }
            SessionEnd::Failed(reason) => {
                if self.last_failure.as_ref() != Some(&reason) {
                    log::warn!("{} has to join anew, trying until it works: {reason}", self.name);
                }
                self.last_failure = Some(reason);
                self.join_at = Instant::now() + self.backoff.next_wait();
            }
        }
    }
}

impl Session {
    fn new(consumer: KafkaConsumer, began: Instant) -> Session {
        Session { consumer, began, polled: None, at: None, given: None, marked: None }
    }

    /// Moves on to the next message of what was polled; false when that is used up.
    fn advance(&mut self) -> bool {
        let Some((at, place)) = self.following() else {
            (self.polled, self.at) = (None, None);
            return false;
        };
        (self.at, self.given) = (Some(at), Some(place));
        true
    }

    /// The next message of what was polled: which message of which set it is, and its place.
    fn following(&self) -> Option<((usize, usize), Position)> {
        let polled = self.polled.as_ref()?;
        let (mut set, mut message) = self.at.map_or((0, 0), |(set, message)| (set, message + 1));
        for found in polled.iter().skip(set) {
            if let Some(next) = found.messages().get(message) {
                return Some(((set, message), (found.partition(), next.offset)));
            }
            (set, message) = (set + 1, 0);
        }
        None
    }

    /// The message that [`Session::advance`] moved to.
    fn received<'a>(&'a self, topic: &'a str) -> Result<Option<ConsumerRecord<'a>>, (i64, Malformed)> {
        let Some((set, message)) = self.at else { return Ok(None) };
        let Some(found) = self.polled.as_ref().and_then(|polled| polled.iter().nth(set)) else {
            return Ok(None);
        };
        let Some(message) = found.messages().get(message) else { return Ok(None) };
        match unwrap(topic, found.partition(), message) {
            Ok(received) => Ok(Some(received)),
            Err(malformed) => Err((message.offset, malformed)),
        }
    }
}

/// The message in an envelope.
fn unwrap<'a>(
    topic: &'a str,
    partition: i32,
    message: &fetch::Message<'a>,
) -> Result<ConsumerRecord<'a>, Malformed> {
    let Content { timestamp, key, value, headers } = envelope::read(message.value)?;
    let offset = message.offset;
    Ok(ConsumerRecord { topic, partition, offset, key, value, timestamp, headers, attempt: 1 })
}

/// Whether the group's partitions change. To a commit the adapter answers so when Kafka has that very commit.
fn is_in_a_rebalance(error: &KafkaError) -> bool {
    kafka_code(error) == Some(KafkaCode::RebalanceInProgress)
}

/// An adapter of another version may serve what is not understood here; the message waits for one that does
/// not.
fn no_envelope(offset: i64, malformed: Malformed) -> SessionEnd {
    SessionEnd::Failed(format!("the adapter's message at offset {offset} is not understood: {malformed}"))
}

fn shown(error: &KafkaError) -> String {
    kafka_code(error).map_or_else(|| error.to_string(), |code| format!("{code:?}"))
}
