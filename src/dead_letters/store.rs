//! Storing dead letters, one at a time: each is acknowledged before the next one comes.

use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::headers::{
    ATTEMPTS, CONSUMER_GROUP, ERRORS, EXCEPTION_FQCN, EXCEPTION_MESSAGE, KILLS, ORIGINAL_OFFSET,
    ORIGINAL_PARTITION, ORIGINAL_TIMESTAMP, ORIGINAL_TOPIC, STDERR, STDERR_MESSAGES,
};
use super::{StoreSettings, Verdict, dead_letter_topic};
use crate::error::{Error, Result};
use crate::producer::{DeliveryReport, NotStoredKind, PartitionChoice, Producer, ProducerRecord};
use crate::record::ConsumerRecord;
use crate::text::beginning;
use adapter::Endpoint;
use client::Cluster;
use net::backoff::Backoff;
use net::stop::Stop;
use net::sync::{Mutex, lock};

/// The bytes of an error's message that are kept.
const LONGEST_MESSAGE: usize = 1_000;

/// The waits after failures to store a dead letter.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(10));
/// A try has so long at least: the producer gives up at once what has less than three seconds.
const SHORTEST_TRY: Duration = Duration::from_secs(5);
/// A try has so much longer than the cluster's delivery timeout, which settles whether it is stored.
const MARGIN: Duration = Duration::from_secs(5);
/// The time that a try has left when stop is asked.
const STOP_PATIENCE: Duration = Duration::from_secs(3);
/// The longest time for the creation of a topic.
const CREATION: Duration = Duration::from_secs(5);
/// The most topics that have a producer at a time: the one that was not used for longest ends for another.
const MOST_PRODUCERS: usize = 32;
/// A try that takes longer than this is logged.
const QUIET: Duration = Duration::from_secs(2);

/// What a waiting attempt hears.
enum Event {
    Report(DeliveryReport),
    StopAsked,
}

/// Stores dead letters and waits for each until it is acknowledged. Several threads may do so at a time.
pub struct DeadLetterStore {
    settings: StoreSettings,
    endpoint: Endpoint,
    name: String,
    stop: Stop,
    /// By which topics are created; unset: the adapter creates them.
    cluster: Option<Arc<Cluster>>,
    /// One for each topic, made for its first dead letter, in the order of their last use.
    producers: Mutex<Vec<Producer>>,
}

impl DeadLetterStore {
    /// A store for the dead letters of any topic, each in a topic of its own ([`dead_letter_topic`]). `name`
    /// is what Kafka's tools show.
    pub fn new(settings: &StoreSettings, endpoint: Endpoint, name: &str, stop: Stop) -> DeadLetterStore {
        let (settings, name, producers) = (settings.clone(), name.to_owned(), Mutex::default());
        DeadLetterStore { settings, endpoint, name, stop, cluster: None, producers }
    }

    /// Creates a topic with its first dead letter, if topics are to be created at all (`kafka.create_topic`).
    #[must_use]
    pub fn creating(mut self, cluster: Arc<Cluster>) -> DeadLetterStore {
        self.cluster = Some(cluster);
        self
    }

    /// Stores a message as a dead letter: tries until it is acknowledged by all in-sync replicas, `deadline`
    /// has come or stop is asked; a last try may take a few seconds more. True only if it is stored. After a
    /// try without an answer it may be stored twice.
    pub fn store(&self, message: &ConsumerRecord<'_>, verdict: &Verdict, deadline: Instant) -> bool {
        let mut backoff = BACKOFF;
        loop {
            let Err(failed) = self.try_to_store(message, verdict, deadline) else { return true };
            let pause = backoff.next_wait();
            if self.stop.is_asked() || Instant::now() + pause >= deadline {
                log::error!("{failed}; it is not committed and comes again");
                return false;
            }
            log::error!("{failed}; trying again in {} ms", pause.as_millis());
            self.stop.wait_for(pause);
        }
    }

    /// Tries once to store a message as a dead letter, until it is acknowledged by all in-sync replicas, or
    /// until `deadline`; at least five seconds, and little longer than `kafka.delivery_timeout_ms`.
    ///
    /// # Errors
    /// A sentence without its full stop: it is not stored, or that is unknown.
    pub fn try_to_store(
        &self,
        message: &ConsumerRecord<'_>,
        verdict: &Verdict,
        deadline: Instant,
    ) -> Result<(), String> {
        let mut outcome = self.attempt(message, verdict, deadline);
        let is_too_large =
            matches!(outcome, Ok(DeliveryReport::NotStored { kind: NotStoredKind::TooLarge, .. }));
        if is_too_large && verdict.cause.stderr.is_some() {
            // What a handler wrote must not hold up a message that its topic takes without it.
            outcome = self.attempt(message, &verdict.without_stderr(), deadline);
        }
        let reason = match outcome {
            Ok(DeliveryReport::Stored { topic, partition, offset }) => {
                let cause = &verdict.cause;
                log::error!(
                    "dead letter: {message} is now at offset {offset} of {topic}-{partition}: {cause}"
                );
                return Ok(());
            }
            Ok(DeliveryReport::NotStored { kind: NotStoredKind::TooLarge, reason, .. }) => {
                format!("{reason}: raise its max.message.bytes")
            }
            Ok(DeliveryReport::NotStored { reason, .. }) => reason,
            Ok(DeliveryReport::Unknown { reason }) => format!("whether it is stored is unknown: {reason}"),
            Err(error) => error.to_string(),
        };
        let topic = dead_letter_topic(message.topic);
        Err(format!("no dead letter yet: {message} cannot be stored in {topic}: {reason}"))
    }

    /// Tries once, until the outcome is known or the time is up.
    fn attempt(
        &self,
        message: &ConsumerRecord<'_>,
        verdict: &Verdict,
        deadline: Instant,
    ) -> Result<DeliveryReport> {
        let topic = dead_letter_topic(message.topic);
        self.create(message.topic, &topic);
        let (sender, events) = mpsc::channel();
        let (stop_sender, delivered) = (sender.clone(), sender);
        let _hook = self.stop.on_ask(move || drop(stop_sender.send(Event::StopAsked)));
        let now = Instant::now();
        let longest = self.settings.delivery_timeout + MARGIN;
        let deadline = deadline.clamp(now + SHORTEST_TRY, now + longest);
        let letter = self.letter(message, verdict, deadline);
        let not_stored =
            |reason| DeliveryReport::NotStored { kind: NotStoredKind::Refused, reason, retry: true };
        {
            // Under the lock until it is taken, so that no other thread ends the producer meanwhile.
            let mut producers = lock(&self.producers);
            let producer = self.producer(&mut producers, &topic)?;
            let done = Box::new(move |report| drop(delivered.send(Event::Report(report))));
            if let Err(refused) = producer.submit(letter, done) {
                return Ok(not_stored(refused.to_string()));
            }
        }
        Ok(self.outcome(message, &events))
    }

    /// Waits for the delivery report, which the producer gives by the message's deadline. After a stop it has
    /// [`STOP_PATIENCE`].
    fn outcome(&self, message: &ConsumerRecord<'_>, events: &mpsc::Receiver<Event>) -> DeliveryReport {
        let mut quiet_at = Some(Instant::now() + QUIET);
        let mut give_up_at = None;
        loop {
            let next = [quiet_at, give_up_at].into_iter().flatten().min();
            let event = match next {
                Some(next) => events.recv_timeout(next.saturating_duration_since(Instant::now())),
                None => events.recv().map_err(RecvTimeoutError::from),
            };
            match event {
                Ok(Event::Report(report)) => return report,
                Ok(Event::StopAsked) => give_up_at = Some(Instant::now() + STOP_PATIENCE),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return unknown("the producer is gone"),
            }
            let now = Instant::now();
            if give_up_at.is_some_and(|at| now >= at) {
                return unknown("the program is stopping");
            }
            if quiet_at.take_if(|at| now >= *at).is_some() {
                log::warn!("no dead letter yet: {message} waits for {}", dead_letter_topic(message.topic));
            }
        }
    }

    /// Creates a topic for dead letters, if it is missing and may be created; that is tried again with the
    /// next letter.
    fn create(&self, source: &str, topic: &str) {
        let creation = self.settings.letter_topic_creation(source);
        let Some((cluster, creation)) = self.cluster.as_ref().zip(creation) else { return };
        if let Err(error) = cluster.create_missing(&creation, Instant::now() + CREATION) {
            log::warn!("the topic {topic} for dead letters is not there yet: {error}");
        }
    }

    fn producer<'a>(&self, producers: &'a mut Vec<Producer>, topic: &str) -> Result<&'a Producer> {
        let producer = match producers.iter().position(|producer| producer.topic() == topic) {
            Some(at) => producers.remove(at),
            None => {
                let full = || Error::new("dead letters of too many topics are being stored");
                if producers.len() >= MOST_PRODUCERS {
                    let idle = producers.iter().position(Producer::retire).ok_or_else(full)?;
                    drop(producers.remove(idle));
                }
                Producer::unlimited(&self.settings.producer, topic, self.endpoint.clone(), &self.name)?
            }
        };
        producers.push(producer);
        producers.last().ok_or_else(|| Error::new("no producer"))
    }

    /// The message with its own key, value and headers, and those that say what happened. It goes to the
    /// partition with the same number; where there is none, its key decides.
    fn letter(&self, message: &ConsumerRecord<'_>, verdict: &Verdict, deadline: Instant) -> ProducerRecord {
        let own = message.headers.iter();
        let mut headers: Vec<_> =
            own.map(|(name, value)| (name.into_owned(), value.map(<[u8]>::to_vec))).collect();
        let mut add = |name: &str, value: &[u8]| headers.push((name.to_owned(), Some(value.to_vec())));
        add(ORIGINAL_TOPIC, message.topic.as_bytes());
        add(ORIGINAL_PARTITION, &message.partition.to_be_bytes());
        add(ORIGINAL_OFFSET, &message.offset.to_be_bytes());
        if let Some(timestamp) = message.timestamp {
            add(ORIGINAL_TIMESTAMP, &timestamp.to_be_bytes());
        }
        add(CONSUMER_GROUP, self.settings.group.as_bytes());
        let Verdict { cause, attempts, kills, errors } = verdict;
        add(EXCEPTION_FQCN, cause.kind.as_bytes());
        add(EXCEPTION_MESSAGE, beginning(&cause.message, LONGEST_MESSAGE).as_bytes());
        add(ATTEMPTS, attempts.to_string().as_bytes());
        if *kills > 0 {
            add(KILLS, kills.to_string().as_bytes());
        }
        if !errors.is_empty() {
            add(ERRORS, errors.join("\n").as_bytes());
        }
        if let Some(stderr) = &cause.stderr {
            add(STDERR, &stderr.bytes);
            if stderr.messages > 1 {
                add(STDERR_MESSAGES, stderr.messages.to_string().as_bytes());
            }
        }
        ProducerRecord {
            key: message.key.map(<[u8]>::to_vec),
            value: message.value.map(<[u8]>::to_vec),
            headers,
            timestamp: None,
            partition: PartitionChoice::Preferred(message.partition),
            deadline,
            request: None,
        }
    }
}

impl Drop for DeadLetterStore {
    fn drop(&mut self) {
        for producer in lock(&self.producers).drain(..) {
            producer.close(Instant::now());
        }
    }
}

fn unknown(reason: &str) -> DeliveryReport {
    DeliveryReport::Unknown { reason: reason.to_owned() }
}
