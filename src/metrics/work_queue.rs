//! The metrics of a consumer's work queue.

use std::collections::BTreeMap;
use std::sync::Arc;

use net::sync::{Mutex, lock};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family as ByLabel;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// What became of a message that was handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was handled.
    Handled,
    /// The attempt failed.
    Failed,
    /// It was put off, or failed while the consumer pauses because of failures: no attempt is counted.
    Later,
    /// The handler said that no attempt can succeed.
    Dead,
    /// The attempt ended with the worker's death.
    WorkerDied,
    /// The handler could not be started.
    NotStarted,
    /// The consumer stops.
    Interrupted,
}

impl Outcome {
    const ALL: [Outcome; 7] = [
        Outcome::Handled,
        Outcome::Failed,
        Outcome::Later,
        Outcome::Dead,
        Outcome::WorkerDied,
        Outcome::NotStarted,
        Outcome::Interrupted,
    ];

    fn label(self) -> OutcomeLabel {
        let outcome = match self {
            Outcome::Handled => "handled",
            Outcome::Failed => "failed",
            Outcome::Later => "later",
            Outcome::Dead => "dead",
            Outcome::WorkerDied => "worker_died",
            Outcome::NotStarted => "not_started",
            Outcome::Interrupted => "interrupted",
        };
        OutcomeLabel { outcome }
    }
}

/// Why a consumer pauses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PauseReason {
    /// Its handler cannot be started.
    Handler,
    /// Too many attempts in a row have failed.
    Failures,
}

/// A work queue at a time, over all partitions of a topic that are owned.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct QueueLook {
    /// Messages that are not done, of those that are read ahead.
    pub open: usize,
    /// Messages in hand.
    pub leased: usize,
    /// Messages that wait for their next attempt.
    pub waiting: usize,
    /// The seconds since the oldest open message was made; 0 if none is open.
    pub oldest_seconds: f64,
    /// The characters of the longest note.
    pub note_length: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TopicLabel {
    topic: String,
}

type ByTopic = ByLabel<TopicLabel, Gauge>;
type SecondsByTopic = ByLabel<TopicLabel, Gauge<f64, std::sync::atomic::AtomicU64>>;

/// The metrics of one work queue. A consumer without one shows none of them but restarts, which are 0.
#[derive(Debug, Clone, Default)]
pub struct QueueMetrics {
    open: ByTopic,
    leased: ByTopic,
    waiting: ByTopic,
    oldest: SecondsByTopic,
    note_length: ByTopic,
    paused: ByLabel<ReasonLabel, Gauge>,
    outcomes: ByLabel<OutcomeLabel, Counter>,
    worker_restarts: Counter,
    /// The topics that are shown.
    shown: Arc<Mutex<Vec<String>>>,
}

impl QueueMetrics {
    /// There is a queue: its counters are shown from now on, those at 0 too.
    pub fn begin(&self) {
        for outcome in Outcome::ALL {
            drop(self.outcomes.get_or_create(&outcome.label()));
        }
    }

    /// A message came back with this outcome.
    pub fn came_back(&self, outcome: Outcome) {
        self.outcomes.get_or_create(&outcome.label()).inc();
    }

    /// A handler that is kept has ended and is started anew.
    pub fn worker_restarted(&self) {
        self.worker_restarts.inc();
    }

    /// The queues of these topics look so now, and no others are there; why it pauses, if it does.
    pub fn looks(&self, looks: &BTreeMap<&str, QueueLook>, paused: Option<PauseReason>) {
        let label = |topic: &str| TopicLabel { topic: topic.to_owned() };
        let mut shown = lock(&self.shown);
        for topic in shown.iter().filter(|topic| !looks.contains_key(topic.as_str())) {
            for gauge in [&self.open, &self.leased, &self.waiting, &self.note_length] {
                gauge.remove(&label(topic));
            }
            self.oldest.remove(&label(topic));
        }
        looks.iter().for_each(|(topic, look)| self.show(&label(topic), look));
        *shown = looks.keys().map(|topic| (*topic).to_owned()).collect();
        for (reason, name) in [(PauseReason::Handler, "handler"), (PauseReason::Failures, "failures")] {
            let pauses = paused == Some(reason);
            self.paused.get_or_create(&ReasonLabel { reason: name }).set(i64::from(pauses));
        }
    }

    fn show(&self, label: &TopicLabel, look: &QueueLook) {
        for (gauge, count) in [
            (&self.open, look.open),
            (&self.leased, look.leased),
            (&self.waiting, look.waiting),
            (&self.note_length, look.note_length),
        ] {
            gauge.get_or_create(label).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        self.oldest.get_or_create(label).set(look.oldest_seconds);
    }

    /// Shows them in `registry`, which is a consumer's.
    pub(super) fn register(&self, registry: &mut Registry) {
        for (name, help, gauge) in [
            ("messages_open", "Messages read ahead that are not done", &self.open),
            ("messages_leased", "Messages in hand", &self.leased),
            ("messages_waiting", "Messages that wait for their next attempt", &self.waiting),
            ("note_characters", "Length of the longest note beside a commit", &self.note_length),
        ] {
            registry.register(name, help, gauge.clone());
        }
        let oldest = "Age of the oldest open message, 0 if none is open";
        registry.register("oldest_open_message_age_seconds", oldest, self.oldest.clone());
        registry.register("paused", "Whether it hands out nothing, and why", self.paused.clone());
        registry.register("outcomes", "Messages handed out, by what became of them", self.outcomes.clone());
        let restarts = "Handlers that were kept, ended and were started anew";
        registry.register("worker_restarts", restarts, self.worker_restarts.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{ConsumerMetrics, Exposition};

    #[test]
    fn a_queue_is_shown_once_there_is_one() {
        let metrics = ConsumerMetrics::default();
        let exposition = Exposition::of(&[&metrics]);
        let before = exposition.text().unwrap();
        assert!(!before.contains("messages_open{") && !before.contains("outcomes_total{"), "{before}");
        let queue = metrics.queue();
        queue.begin();
        queue.came_back(Outcome::WorkerDied);
        queue.worker_restarted();
        let look = QueueLook { open: 5, leased: 2, waiting: 1, oldest_seconds: 1.5, note_length: 60 };
        queue.looks(&[("gone", look)].into(), None);
        queue.looks(&[("t", look)].into(), Some(PauseReason::Failures));
        let text = exposition.text().unwrap();
        for line in [
            "messages_open{topic=\"t\"} 5",
            "messages_leased{topic=\"t\"} 2",
            "messages_waiting{topic=\"t\"} 1",
            "note_characters{topic=\"t\"} 60",
            "oldest_open_message_age_seconds{topic=\"t\"} 1.5",
            "paused{reason=\"failures\"} 1",
            "paused{reason=\"handler\"} 0",
            "outcomes_total{outcome=\"worker_died\"} 1",
            "outcomes_total{outcome=\"handled\"} 0",
            "worker_restarts_total 1",
        ] {
            let line = format!("point_to_point_consumer_{line}");
            assert!(text.lines().any(|shown| shown == line), "no {line} in {text}");
        }
        assert!(!text.contains("gone"), "{text}");
    }
}
