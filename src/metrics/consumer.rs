//! What a consumer counts.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family as ByLabel;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::{Family, SECONDS};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Place {
    topic: String,
    partition: i32,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Topic {
    topic: String,
}

/// The metrics of one consumer.
#[derive(Debug, Clone)]
pub struct ConsumerMetrics {
    handled: Counter,
    failed_attempts: Counter,
    retries: Counter,
    dead_lettered: Counter,
    commit_seconds: Histogram,
    failed_commits: Counter,
    rebalances: Counter,
    partitions: ByLabel<Topic, Gauge>,
    lag: ByLabel<Place, Gauge>,
}

impl Default for ConsumerMetrics {
    fn default() -> ConsumerMetrics {
        ConsumerMetrics {
            handled: Counter::default(),
            failed_attempts: Counter::default(),
            retries: Counter::default(),
            dead_lettered: Counter::default(),
            commit_seconds: Histogram::new(SECONDS),
            failed_commits: Counter::default(),
            rebalances: Counter::default(),
            partitions: ByLabel::default(),
            lag: ByLabel::default(),
        }
    }
}

impl ConsumerMetrics {
    /// A message was handled.
    pub fn handled(&self) {
        self.handled.inc();
    }

    /// An attempt at a message has failed.
    pub fn attempt_failed(&self) {
        self.failed_attempts.inc();
    }

    /// A message is tried again.
    pub fn retried(&self) {
        self.retries.inc();
    }

    /// A message was stored as a dead letter.
    pub fn dead_lettered(&self) {
        self.dead_lettered.inc();
    }

    /// A commit took so long, and Kafka has it, or not for sure.
    pub fn committed(&self, took: Duration, arrived: bool) {
        self.commit_seconds.observe(took.as_secs_f64());
        if !arrived {
            self.failed_commits.inc();
        }
    }

    /// The group's partitions change.
    pub fn rebalanced(&self) {
        self.rebalances.inc();
    }

    /// The consumer owns these partitions of `topic`, and has so many messages to handle in each.
    pub fn owns(&self, topic: &str, lags: &[(i32, Option<i64>)]) {
        self.lag.clear();
        for (partition, lag) in lags {
            if let Some(lag) = lag {
                self.lag.get_or_create(&Place { topic: topic.to_owned(), partition: *partition }).set(*lag);
            }
        }
        let owned = i64::try_from(lags.len()).unwrap_or(i64::MAX);
        self.partitions.get_or_create(&Topic { topic: topic.to_owned() }).set(owned);
    }

    /// Which partitions it owns is not known now: nothing is said of them rather than what was once true.
    pub fn owns_nobody_knows_what(&self) {
        self.lag.clear();
        self.partitions.clear();
    }
}

impl Family for ConsumerMetrics {
    fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("consumer");
        for (name, help, counter) in [
            ("messages_handled", "Messages that were handled", &self.handled),
            ("attempts_failed", "Attempts at a message that failed", &self.failed_attempts),
            ("retries", "Attempts at a message after the first", &self.retries),
            ("messages_dead_lettered", "Messages stored as dead letters", &self.dead_lettered),
            ("commits_failed", "Commits refused, or without an answer", &self.failed_commits),
            ("rebalances", "Changes of the group's partitions since it joined", &self.rebalances),
        ] {
            registry.register(name, help, counter.clone());
        }
        let commits = "Seconds from a commit to its answer";
        registry.register("commit_duration_seconds", commits, self.commit_seconds.clone());
        registry.register("partitions", "Partitions that it owns", self.partitions.clone());
        let lag = "Messages still to be handled in each partition that it owns";
        registry.register("lag", lag, self.lag.clone());
    }
}
