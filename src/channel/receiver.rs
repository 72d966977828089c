//! The receiver: one of the group's Competing Consumers. It builds the crate's `Consumer` on the adapter,
//! hands each message to a handler and commits it before the next; when the group's partitions change, it
//! builds the next one.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use kafka::client::{FetchOffset, GroupOffsetStorage, KafkaClient, fetch};
use kafka::consumer::{Consumer, MessageSets};
use kafka::error::{Error as KafkaError, KafkaCode};

use super::code_of;
use crate::adapter::Endpoint;
use crate::config::{ConsumerSettings, Settings};
use crate::error::{Error, Result, Stored};
use crate::logging::{Key, Value};
use crate::protocol::envelope;
use crate::protocol::records::Content;
pub use crate::protocol::records::Headers;
use crate::protocol::wire::Malformed;
use crate::stop::Stop;

/// Pause before a consumer is built anew; doubles with each failure in a row.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Asked to stop, the receiver gets so long to come back from Kafka, besides a fetch's wait where that is not
/// longer, ...
const IDLE_GRACE: Duration = Duration::from_millis(500);
/// ... and so long to finish the message in hand and commit it.
pub const BUSY_GRACE: Duration = Duration::from_secs(10);
/// While it has, this often it is looked whether it is still busy.
const LOOK: Duration = Duration::from_millis(50);

/// A message as it came, and its place.
#[derive(Debug, Clone, Copy)]
pub struct Received<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
    /// The key, if there is one; it may be empty.
    pub key: Option<&'a [u8]>,
    /// The bytes stored, or null.
    pub value: Option<&'a [u8]>,
    /// When it was made or appended, as the topic is configured, in ms since 1970.
    pub timestamp: Option<i64>,
    /// Its headers, in their order.
    pub headers: Headers<'a>,
}

impl<'a> Received<'a> {
    /// The message in an envelope.
    fn unwrap(
        topic: &'a str,
        partition: i32,
        message: &fetch::Message<'a>,
    ) -> Result<Received<'a>, Malformed> {
        let Content { timestamp, key, value, headers } = envelope::read(message.value)?;
        Ok(Received { topic, partition, offset: message.offset, key, value, timestamp, headers })
    }
}

/// What is done with messages.
pub trait Handler {
    /// Called once, when the receiver is a member of the group for the first time.
    ///
    /// # Errors
    /// An error ends the receiver.
    fn joined(&mut self) -> Result<()>;

    /// Handles one message, which is committed afterwards.
    ///
    /// # Errors
    /// An error ends the receiver; the message is not committed.
    fn handle(&mut self, message: &Received<'_>) -> Result<()>;
}

/// A consumer of the group.
pub struct Receiver {
    endpoint: Endpoint,
    name: String,
    /// The same for all `Consumer`s that this receiver builds, so that they are one member.
    session: String,
    topic: String,
    settings: ConsumerSettings,
    stop: Stop,
    /// A message is in hand.
    busy: Arc<AtomicBool>,
}

/// How a `Consumer` ended.
enum End {
    /// Stop was asked.
    Stopped,
    /// The group's partitions change: build the next at once.
    Rebalance,
    /// Build the next after a pause.
    Failed(String),
}

impl Receiver {
    /// A receiver called `name` of the group and topic in `settings`, behind the adapter at `endpoint`.
    ///
    /// # Errors
    /// When the system has no random numbers to name the session with.
    pub fn new(settings: &Settings, endpoint: Endpoint, name: &str, stop: Stop) -> Result<Receiver> {
        let mut unique = [0; 8];
        getrandom::fill(&mut unique).map_err(|e| Error::new("no random numbers").caused_by(e.to_string()))?;
        Ok(Receiver {
            endpoint,
            name: name.to_owned(),
            session: format!("{:016x}", u64::from_be_bytes(unique)),
            topic: settings.kafka.topic.clone(),
            settings: settings.consumer.clone(),
            stop,
            busy: Arc::default(),
        })
    }

    /// Receives until stop is asked: waits for brokers that are not there, follows the group's changes.
    ///
    /// # Errors
    /// Those of `handler`.
    pub fn run(&mut self, handler: &mut impl Handler) -> Result<()> {
        let mut joined = false;
        let mut pause = FIRST_PAUSE;
        let mut last_failure = None;
        while !self.stop.is_asked() {
            let began = Instant::now();
            let ended = match self.join() {
                Ok(consumer) => self.work(consumer, !std::mem::replace(&mut joined, true), handler)?,
                Err(reason) => End::Failed(reason),
            };
            if began.elapsed() > 2 * LONGEST_PAUSE {
                (pause, last_failure) = (FIRST_PAUSE, None);
            }
            match ended {
                End::Stopped => break,
                End::Rebalance => {
                    log::debug!("the partitions of group {} change, joining again", self.settings.group);
                    // However the answers come, this is no busy loop.
                    self.stop.wait_for(FIRST_PAUSE.saturating_sub(began.elapsed()));
                }
                End::Failed(reason) => {
                    if last_failure.as_ref() != Some(&reason) {
                        log::warn!("{} has to join anew, trying until it works: {reason}", self.name);
                    }
                    last_failure = Some(reason);
                    self.stop.wait_for(pause);
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
        log::info!("{} stopped", self.name);
        Ok(())
    }

    /// The life of one `Consumer`.
    fn work(&self, mut consumer: Consumer, first: bool, handler: &mut impl Handler) -> Result<End> {
        if first {
            handler.joined()?;
        }
        self.receive(&mut consumer, handler)
    }

    /// Builds a consumer, which is a member of the group when it is there.
    fn join(&self) -> Result<Consumer, String> {
        let settings = &self.settings;
        let mut client = KafkaClient::new(vec![self.endpoint.address()]);
        client.set_client_id(self.endpoint.consumer_client_id(&self.name, &self.session));
        // The adapter checked the batches; the builder's own switch for this does nothing.
        client.set_fetch_crc_validation(false);
        client.load_metadata(&[&self.topic]).map_err(|error| shown(&error))?;
        if client.topics().partitions(&self.topic).is_none_or(|partitions| partitions.is_empty()) {
            return Err(format!("no broker answers, or there is no topic {} yet", self.topic));
        }
        Consumer::from_client(client)
            .with_topic(self.topic.clone())
            .with_group(settings.group.clone())
            // Where a partition starts is the adapter's decision; this is never asked.
            .with_fallback_offset(FetchOffset::Earliest)
            .with_offset_storage(Some(GroupOffsetStorage::Kafka))
            .with_fetch_min_bytes(settings.fetch_min_bytes)
            .with_fetch_max_wait_time(settings.fetch_max_wait())
            .with_fetch_max_bytes_per_partition(settings.fetch_max_bytes_per_partition)
            .create()
            .map_err(|error| shown(&error))
    }

    /// Polls until the consumer is no longer of use, or the handler fails.
    fn receive(&self, consumer: &mut Consumer, handler: &mut impl Handler) -> Result<End> {
        while !self.stop.is_asked() {
            let polled = match consumer.poll() {
                Ok(polled) => polled,
                Err(error) => return Ok(fetch_failed(&error)),
            };
            self.busy.store(true, Ordering::Release);
            let ended = self.hand_over(consumer, &polled, handler);
            self.busy.store(false, Ordering::Release);
            if let Some(end) = ended? {
                return Ok(end);
            }
        }
        Ok(End::Stopped)
    }

    /// Handles and commits what was polled, message by message.
    fn hand_over(
        &self,
        consumer: &mut Consumer,
        polled: &MessageSets,
        handler: &mut impl Handler,
    ) -> Result<Option<End>> {
        for set in polled.iter() {
            for message in set.messages() {
                if self.stop.is_asked() {
                    return Ok(Some(End::Stopped));
                }
                let received = match Received::unwrap(set.topic(), set.partition(), message) {
                    Ok(received) => received,
                    Err(malformed) => return Ok(Some(no_envelope(message.offset, malformed))),
                };
                self.log(&received);
                handler.handle(&received)?;
                let committed = consumer
                    .consume_message(received.topic, received.partition, received.offset)
                    .and_then(|()| consumer.commit_consumed());
                if let Err(error) = committed {
                    return Ok(Some(commit_failed(&received, &error)));
                }
            }
        }
        Ok(None)
    }

    fn log(&self, received: &Received<'_>) {
        let Received { topic, partition, offset, key, value, .. } = *received;
        let (key, value, name) = (Key(key), Value(value), &self.name);
        log::info!(
            "received topic={topic} partition={partition} offset={offset} key={key} name={name} value={value}"
        );
    }

    /// Runs the receiver on a thread of its own, so that a stop need not wait for what the crate waits for.
    /// When the receiver ends, for whatever reason, it asks to stop.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(mut self, mut handler: impl Handler + Send + 'static) -> Result<Running> {
        let (stop, busy) = (self.stop.clone(), self.busy.clone());
        let idle_grace = idle_grace(self.settings.fetch_max_wait());
        let (tell, ended) = mpsc::channel();
        let body = move || {
            let stop = self.stop.clone();
            let outcome = catch_unwind(AssertUnwindSafe(|| self.run(&mut handler)));
            let panicked = |_| Err(Error::new("the receiver panicked; standard error says where"));
            // Nobody listens any more once the grace is over.
            let _ = tell.send(outcome.unwrap_or_else(panicked));
            stop.ask();
        };
        let thread = thread::Builder::new().name("receiver".to_owned()).spawn(body);
        let thread =
            thread.map_err(|e| Error::new("the receiver's thread cannot be started").caused_by(e))?;
        Ok(Running { stop, busy, idle_grace, ended, thread })
    }
}

/// A receiver on its thread.
pub struct Running {
    stop: Stop,
    busy: Arc<AtomicBool>,
    idle_grace: Duration,
    ended: mpsc::Receiver<Result<()>>,
    thread: JoinHandle<()>,
}

impl Running {
    /// Waits until the receiver ends. Asked to stop, it has a limited time to finish and commit the message
    /// in hand; one that only waits for Kafka is not waited for: it ends when its adapter does.
    ///
    /// # Errors
    /// Those of [`Receiver::run`], and when it panicked.
    pub fn wait(self) -> Result<()> {
        self.stop.wait();
        let asked = Instant::now();
        loop {
            match self.ended.recv_timeout(LOOK) {
                Ok(outcome) => {
                    // It has nothing left to do but return.
                    let _ = self.thread.join();
                    return outcome;
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Error::new("the receiver's thread is gone"));
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            let busy = self.busy.load(Ordering::Acquire);
            if asked.elapsed() < if busy { BUSY_GRACE } else { self.idle_grace } {
                continue;
            }
            if busy {
                log::warn!("stopping without the commit of the message in hand, which may come again");
            }
            return Ok(());
        }
    }
}

/// Nothing is lost with a fetch that is not waited for, so a long one is not.
fn idle_grace(fetch_max_wait: Duration) -> Duration {
    fetch_max_wait.min(IDLE_GRACE) + IDLE_GRACE
}

/// How a failed fetch ends its consumer.
fn fetch_failed(error: &KafkaError) -> End {
    match code_of(error) {
        Some(KafkaCode::RebalanceInProgress) => End::Rebalance,
        Some(KafkaCode::IllegalGeneration | KafkaCode::UnknownMemberId) => {
            log::warn!("the group took this consumer for dead; what it had may come again elsewhere");
            End::Rebalance
        }
        _ => End::Failed(format!("fetch: {}", shown(error))),
    }
}

/// An adapter of another version may serve what is not understood here; the message waits for one that does not.
fn no_envelope(offset: i64, malformed: Malformed) -> End {
    End::Failed(format!("the adapter's message at offset {offset} is not understood: {malformed}"))
}

/// How a failed commit ends its consumer. What follows in the polled set is left alone: it comes again, here
/// or elsewhere.
fn commit_failed(received: &Received<'_>, error: &KafkaError) -> End {
    let failed = |what: &str| {
        let error = Error::new(what).stored(Stored::Yes).retriable();
        error.at(received.topic, Some(received.partition), Some(received.offset))
    };
    match code_of(error) {
        // The adapter answers so when Kafka has this very commit.
        Some(KafkaCode::RebalanceInProgress) => End::Rebalance,
        Some(KafkaCode::IllegalGeneration | KafkaCode::UnknownMemberId) => {
            log::warn!("{}", failed("the commit was refused, as the partition now belongs to another"));
            End::Rebalance
        }
        _ => {
            let error = failed("whether the commit arrived is unknown").caused_by(shown(error));
            log::warn!("{error}; it may come again");
            End::Failed("commit without an answer".to_owned())
        }
    }
}

fn shown(error: &KafkaError) -> String {
    code_of(error).map_or_else(|| error.to_string(), |code| format!("{code:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_does_not_wait_for_a_long_fetch() {
        assert_eq!(idle_grace(Duration::from_secs(30)), 2 * IDLE_GRACE);
        assert_eq!(idle_grace(Duration::from_millis(10)), Duration::from_millis(10) + IDLE_GRACE);
    }
}
