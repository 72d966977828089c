//! The metrics of the batching producer. Several producers may count in the same metrics, which are sums
//! then.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family as ByLabel;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::{Family, SECONDS};

/// Upper bounds of the buckets for the messages of one batch.
const MESSAGES: [f64; 11] = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 5000.0];

/// The outcome of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordOutcome {
    /// Acknowledged by all in-sync replicas.
    Stored,
    /// Certainly not stored.
    NotStored,
    /// Whether it is stored is unknown.
    Unknown,
    /// It was not even taken: the queue was full, the message too large, or the producer closing.
    NotTaken,
}

impl RecordOutcome {
    const ALL: [RecordOutcome; 4] =
        [RecordOutcome::Stored, RecordOutcome::NotStored, RecordOutcome::Unknown, RecordOutcome::NotTaken];

    fn label(self) -> OutcomeLabel {
        let outcome = match self {
            RecordOutcome::Stored => "stored",
            RecordOutcome::NotStored => "not_stored",
            RecordOutcome::Unknown => "unknown",
            RecordOutcome::NotTaken => "not_taken",
        };
        OutcomeLabel { outcome }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Code {
    code: String,
}

/// The metrics of one producer, or of several together.
#[derive(Debug, Clone)]
pub struct ProducerMetrics {
    /// A counter for each of [`RecordOutcome::ALL`], all in the family that is shown.
    outcomes: [Counter; 4],
    shown_outcomes: ByLabel<OutcomeLabel, Counter>,
    batch_messages: Histogram,
    produce_seconds: Histogram,
    errors: ByLabel<Code, Counter>,
    retries: Counter,
    queue_messages: Gauge,
    queue_bytes: Gauge,
    most_messages: Gauge,
    most_bytes: Gauge,
}

impl Default for ProducerMetrics {
    fn default() -> ProducerMetrics {
        let shown_outcomes: ByLabel<OutcomeLabel, Counter> = ByLabel::default();
        ProducerMetrics {
            outcomes: RecordOutcome::ALL.map(|outcome| shown_outcomes.get_or_create_owned(&outcome.label())),
            shown_outcomes,
            batch_messages: Histogram::new(MESSAGES),
            produce_seconds: Histogram::new(SECONDS),
            errors: ByLabel::default(),
            retries: Counter::default(),
            queue_messages: Gauge::default(),
            queue_bytes: Gauge::default(),
            most_messages: Gauge::default(),
            most_bytes: Gauge::default(),
        }
    }
}

impl ProducerMetrics {
    /// A delivery report was given with this outcome.
    pub fn finished(&self, outcome: RecordOutcome) {
        if let Some(counter) = self.outcomes.get(outcome as usize) {
            counter.inc();
        }
    }

    /// A batch of so many messages was stored.
    pub fn batch(&self, messages: usize) {
        self.batch_messages.observe(messages as f64);
    }

    /// A call to Kafka, with one batch for each of several partitions, took so long.
    pub fn produced(&self, took: Duration) {
        self.produce_seconds.observe(took.as_secs_f64());
    }

    /// A batch was not stored, or not for sure: Kafka's code, or a word of ours.
    pub fn error(&self, code: String) {
        self.errors.get_or_create(&Code { code }).inc();
    }

    /// A message waits anew after a call that did not store it.
    pub fn retry(&self) {
        self.retries.inc();
    }

    /// The messages that wait or are under way have become more, or with negative numbers fewer.
    pub fn queued(&self, messages: i64, bytes: i64) {
        self.queue_messages.inc_by(messages);
        self.queue_bytes.inc_by(bytes);
    }

    /// The limits of waiting and in-flight messages grow by these numbers.
    pub fn limits(&self, messages: usize, bytes: usize) {
        self.most_messages.inc_by(i64::try_from(messages).unwrap_or(i64::MAX));
        self.most_bytes.inc_by(i64::try_from(bytes).unwrap_or(i64::MAX));
    }
}

impl Family for ProducerMetrics {
    fn register(&self, registry: &mut Registry) {
        let messages = "Messages by what became of them";
        registry.register("messages", messages, self.shown_outcomes.clone());
        let batches = "Messages of each Kafka batch that was stored";
        registry.register("batch_messages", batches, self.batch_messages.clone());
        let calls = "Seconds from a call with batches to its answer";
        registry.register("produce_duration_seconds", calls, self.produce_seconds.clone());
        let errors = "Batches that were not stored, or not for sure, by code";
        registry.register("produce_errors", errors, self.errors.clone());
        let retries = "Messages that waited anew after a call that had not stored them";
        registry.register("retries", retries, self.retries.clone());
        for (name, help, gauge) in [
            ("queue_messages", "Messages that wait or are under way", &self.queue_messages),
            ("queue_bytes", "Bytes of the messages that wait or are under way", &self.queue_bytes),
            ("queue_messages_limit", "Messages that may wait or be under way", &self.most_messages),
            ("queue_bytes_limit", "Bytes of messages that may wait or be under way", &self.most_bytes),
        ] {
            registry.register(name, help, gauge.clone());
        }
    }
}
