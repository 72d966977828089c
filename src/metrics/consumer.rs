//! The metrics of a consumer.

use net::sync::{Mutex, lock};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family as ByLabel;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::{Family, QueueMetrics, SECONDS};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PartitionLabel {
    topic: String,
    partition: i32,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Topic {
    topic: String,
}

/// The partitions that a consumer owns of each topic, each with the messages it has to handle there, where
/// that is known.
pub type Lags = BTreeMap<String, Vec<(i32, Option<i64>)>>;

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
    queue: QueueMetrics,
    partitions: ByLabel<Topic, Gauge>,
    lag: ByLabel<PartitionLabel, Gauge>,
    /// Whose lag is shown.
    shown: Arc<Mutex<Vec<PartitionLabel>>>,
    /// Of which topics it is shown how many partitions it owns.
    topics: Arc<Mutex<Vec<String>>>,
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
            queue: QueueMetrics::default(),
            partitions: ByLabel::default(),
            lag: ByLabel::default(),
            shown: Arc::default(),
            topics: Arc::default(),
        }
    }
}

impl ConsumerMetrics {
    /// Those of its work queue.
    pub fn queue(&self) -> &QueueMetrics {
        &self.queue
    }

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

    /// The consumer owns these partitions.
    pub fn owns(&self, lags: &Lags) {
        let of_topic = |(topic, lags): (&String, &Vec<(i32, Option<i64>)>)| -> Vec<_> {
            let label = |partition| PartitionLabel { topic: topic.clone(), partition };
            lags.iter().filter_map(|(partition, lag)| Some((label(*partition), (*lag)?))).collect()
        };
        self.show_lags(lags.iter().flat_map(of_topic));
        let mut topics = lock(&self.topics);
        for topic in topics.iter().filter(|topic| !lags.contains_key(*topic)) {
            self.partitions.remove(&Topic { topic: topic.clone() });
        }
        for (topic, lags) in lags {
            let owned = i64::try_from(lags.len()).unwrap_or(i64::MAX);
            self.partitions.get_or_create(&Topic { topic: topic.clone() }).set(owned);
        }
        *topics = lags.keys().cloned().collect();
    }

    /// Which partitions it owns is not known now: nothing is said of them rather than what was once true.
    pub fn owns_nobody_knows_what(&self) {
        self.show_lags(std::iter::empty());
        self.partitions.clear();
    }

    /// Shows these lags, and then no others any more: a scrape meanwhile misses none.
    fn show_lags(&self, lags: impl Iterator<Item = (PartitionLabel, i64)>) {
        let mut shown = lock(&self.shown);
        let before = std::mem::take(&mut *shown);
        for (place, lag) in lags {
            self.lag.get_or_create(&place).set(lag);
            shown.push(place);
        }
        for place in before.iter().filter(|place| !shown.contains(place)) {
            self.lag.remove(place);
        }
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
        self.queue.register(registry);
        let lag = "Messages still to be handled in each partition that it owns";
        registry.register("lag", lag, self.lag.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Exposition;

    #[test]
    fn only_what_it_owns_and_knows_of_is_shown() {
        let metrics = ConsumerMetrics::default();
        let exposition = Exposition::of(&[&metrics]);
        let lags = || {
            let text = exposition.text().unwrap();
            let lags = text.lines().filter_map(|line| line.strip_prefix("point_to_point_consumer_lag{"));
            let mut lags: Vec<String> = lags.map(str::to_owned).collect();
            lags.sort();
            lags
        };
        metrics.owns(&[("t".to_owned(), vec![(0, Some(5)), (1, Some(0)), (2, None)])].into());
        assert_eq!(lags(), [r#"topic="t",partition="0"} 5"#, r#"topic="t",partition="1"} 0"#]);
        metrics.owns(&[("t".to_owned(), vec![(1, Some(7))]), ("u".to_owned(), vec![])].into());
        assert_eq!(lags(), [r#"topic="t",partition="1"} 7"#]);
        metrics.owns(&[("t".to_owned(), vec![(1, Some(7))])].into());
        assert!(!exposition.text().unwrap().contains("topic=\"u\""));
        metrics.owns_nobody_knows_what();
        assert_eq!(lags().len(), 0);
        assert!(!exposition.text().unwrap().contains("consumer_partitions{"));
    }
}
