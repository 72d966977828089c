//! Storing dead letters, one at a time: each is acknowledged before the next one comes.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::headers::{
    ATTEMPTS, CONSUMER_GROUP, ERRORS, EXCEPTION_FQCN, EXCEPTION_MESSAGE, KILLS, ORIGINAL_OFFSET,
    ORIGINAL_PARTITION, ORIGINAL_TIMESTAMP, ORIGINAL_TOPIC,
};
use super::{StoreSettings, Verdict};
use crate::error::Result;
use crate::producer::{DeliveryReport, NotStoredKind, PartitionChoice, Producer, ProducerRecord};
use crate::record::ConsumerRecord;
use crate::text::beginning;
use adapter::Endpoint;
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
    /// Made for the first dead letter.
    producer: Mutex<Option<Producer>>,
}

impl DeadLetterStore {
    /// A store for the topic in `settings`. The topic is created with the first of them, if it is to be made
    /// at all (`kafka.create_topic`). `name` is what Kafka's tools show.
    pub fn new(settings: &StoreSettings, endpoint: Endpoint, name: &str, stop: Stop) -> DeadLetterStore {
        let producer = Mutex::default();
        DeadLetterStore { settings: settings.clone(), endpoint, name: name.to_owned(), stop, producer }
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
        let reason = match self.attempt(message, verdict, deadline) {
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
        Err(format!("no dead letter yet: {message} cannot be stored in {}: {reason}", self.settings.topic))
    }

    /// Tries once, until the outcome is known or the time is up.
    fn attempt(
        &self,
        message: &ConsumerRecord<'_>,
        verdict: &Verdict,
        deadline: Instant,
    ) -> Result<DeliveryReport> {
        let producer = self.producer()?;
        let (sender, events) = mpsc::channel();
        let (stop_sender, delivered) = (sender.clone(), sender);
        let _hook = self.stop.on_ask(move || drop(stop_sender.send(Event::StopAsked)));
        let now = Instant::now();
        let longest = self.settings.delivery_timeout + MARGIN;
        let deadline = deadline.clamp(now + SHORTEST_TRY, now + longest);
        let letter = self.letter(message, verdict, deadline);
        let not_stored =
            |reason| DeliveryReport::NotStored { kind: NotStoredKind::Refused, reason, retry: true };
        if let Err(refused) =
            producer.submit(letter, Box::new(move |report| drop(delivered.send(Event::Report(report)))))
        {
            return Ok(not_stored(refused.to_string()));
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
                log::warn!("no dead letter yet: {message} waits for {}", self.settings.topic);
            }
        }
    }

    fn producer(&self) -> Result<Producer> {
        let mut made = lock(&self.producer);
        if let Some(producer) = &*made {
            return Ok(producer.clone());
        }
        let producer = Producer::unlimited(
            &self.settings.producer,
            &self.settings.topic,
            self.endpoint.clone(),
            &self.name,
        )?;
        Ok(made.insert(producer).clone())
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
        if let Some(producer) = &*lock(&self.producer) {
            producer.close(Instant::now());
        }
    }
}

fn unknown(reason: &str) -> DeliveryReport {
    DeliveryReport::Unknown { reason: reason.to_owned() }
}
