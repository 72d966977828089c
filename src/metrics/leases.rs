//! The metrics of the queues that workers elsewhere receive from.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::TypedMetric;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::{Family, QueueLook};

/// How a lease ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseEnd {
    /// Its worker has handled the message.
    Acknowledged,
    /// Its worker has not.
    GivenBack,
    /// Its worker was silent for too long.
    RunOut,
    /// The partition has another owner, or the queue ends.
    Lost,
    /// No worker got it: the message is no JSON, and becomes a dead letter.
    NotJson,
    /// No worker got it: the one that waited had left. It is no attempt.
    NotReceived,
}

impl LeaseEnd {
    /// Their names, in their order.
    const ALL: [&str; 6] = ["acknowledged", "given_back", "run_out", "lost", "not_json", "not_received"];
}

/// What became of the leases of a queue since it was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LeaseCounts {
    /// Messages handed out.
    pub given: u64,
    /// How often a worker got more time.
    pub extended: u64,
    ended: [u64; LeaseEnd::ALL.len()],
}

impl LeaseCounts {
    /// One has ended so.
    pub fn ended(&mut self, end: LeaseEnd) {
        self.ended.get_mut(end as usize).into_iter().for_each(|count| *count += 1);
    }
}

/// An open queue at a time.
#[derive(Debug, Clone, PartialEq)]
pub struct LeasedQueue {
    /// Its topic.
    pub topic: String,
    /// Its group.
    pub group: String,
    /// The messages that it holds.
    pub look: QueueLook,
    /// How many workers wait for messages.
    pub receiving: usize,
    /// Its leases.
    pub counts: LeaseCounts,
}

/// All queues of an endpoint at a time.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LeasedQueues {
    /// Those that are open.
    pub queues: Vec<LeasedQueue>,
    /// How many may be.
    pub queues_limit: usize,
    /// The leases that workers have, of all queues.
    pub leases: usize,
    /// How many they may have.
    pub leases_limit: usize,
}

/// The metrics of the open queues. They are looked at when they are shown, and a closed queue has none: so
/// there are no more of them than queues may be open.
#[derive(Clone)]
pub struct LeaseMetrics(Arc<dyn Fn() -> LeasedQueues + Send + Sync>);

impl LeaseMetrics {
    /// The metrics of the queues that `look` tells.
    pub fn new(look: impl Fn() -> LeasedQueues + Send + Sync + 'static) -> LeaseMetrics {
        LeaseMetrics(Arc::new(look))
    }
}

impl fmt::Debug for LeaseMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LeaseMetrics")
    }
}

impl Family for LeaseMetrics {
    fn register(&self, registry: &mut Registry) {
        registry.sub_registry_with_prefix("consumer").register_collector(Box::new(self.clone()));
    }
}

impl Collector for LeaseMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let all = (self.0)();
        all.write_gauges(&mut encoder)?;
        all.write_counters(&mut encoder)?;
        for (name, help, count) in [
            ("queues", "Queues that are open for workers elsewhere", all.queues.len()),
            ("queues_limit", "Queues that may be open", all.queues_limit),
            ("leases", "Messages that workers elsewhere have, of all queues", all.leases),
            ("leases_limit", "Messages that they may have", all.leases_limit),
        ] {
            let gauge = gauge(count);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        Ok(())
    }
}

impl LeasedQueues {
    fn write_gauges(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        type Count = fn(&LeasedQueue) -> usize;
        let counts: [(&str, &str, Count); 4] = [
            ("messages_open", "Messages read ahead that are not done", |queue| queue.look.open),
            ("messages_leased", "Messages in hand", |queue| queue.look.leased),
            ("messages_waiting", "Messages that wait for their next attempt", |queue| queue.look.waiting),
            ("receives_waiting", "Workers that wait for messages", |queue| queue.receiving),
        ];
        for (name, help, count) in counts {
            self.write(encoder, (name, help), |queue| [([], gauge(count(queue)))])?;
        }
        let oldest = ("oldest_open_message_age_seconds", "Age of the oldest open message, 0 if none is open");
        self.write(encoder, oldest, |queue| [([], ConstGauge::new(queue.look.oldest_seconds))])
    }

    fn write_counters(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let given = ("leases_given", "Messages handed out");
        self.write(encoder, given, |queue| [([], ConstCounter::new(queue.counts.given))])?;
        let extended = ("leases_extended", "How often a worker got more time");
        self.write(encoder, extended, |queue| [([], ConstCounter::new(queue.counts.extended))])?;
        let ended = ("leases_ended", "Leases that have ended, by how");
        self.write(encoder, ended, |queue| {
            let ends = LeaseEnd::ALL.into_iter().zip(queue.counts.ended);
            ends.map(|(outcome, count)| ([("outcome", outcome)], ConstCounter::new(count)))
        })
    }

    /// Writes metrics of each queue, which may have a label beside those of the queue.
    fn write<const N: usize, M: EncodeMetric + TypedMetric, I: IntoIterator<Item = ([Label; N], M)>>(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        (name, help): (&str, &str),
        metrics: impl Fn(&LeasedQueue) -> I,
    ) -> fmt::Result {
        let mut encoder = encoder.encode_descriptor(name, help, None, M::TYPE)?;
        for queue in &self.queues {
            for (beside, metric) in metrics(queue) {
                let labels = [("topic", queue.topic.as_str()), ("group", &queue.group)];
                let labels: Vec<(&str, &str)> = labels.into_iter().chain(beside).collect();
                metric.encode(encoder.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

/// A label's name and value.
type Label = (&'static str, &'static str);

fn gauge(count: usize) -> ConstGauge<i64> {
    ConstGauge::new(i64::try_from(count).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Exposition;
    use net::sync::{Mutex, lock};

    #[test]
    fn the_queues_that_are_open_when_they_are_shown_are_told_and_no_others() {
        let queues = Arc::new(Mutex::new(LeasedQueues::default()));
        let told = queues.clone();
        let exposition = Exposition::of(&[&LeaseMetrics::new(move || lock(&told).clone())]);
        let shows = |line: &str| {
            let line = format!("point_to_point_consumer_{line}");
            exposition.text().unwrap().lines().any(|shown| shown == line)
        };
        assert!(shows("queues 0") && !exposition.text().unwrap().contains("messages_open{"));
        let mut counts = LeaseCounts { given: 3, extended: 2, ..LeaseCounts::default() };
        counts.ended(LeaseEnd::RunOut);
        let look = QueueLook { open: 5, leased: 2, waiting: 1, oldest_seconds: 1.5, ..QueueLook::default() };
        let (topic, group) = ("t".to_owned(), "a \"g\"".to_owned());
        let queue = LeasedQueue { topic, group, look, receiving: 4, counts };
        let all = LeasedQueues { queues: vec![queue], queues_limit: 32, leases: 2, leases_limit: 100 };
        *lock(&queues) = all;
        let labels = r#"topic="t",group="a \"g\"""#;
        for line in [
            format!("messages_open{{{labels}}} 5"),
            format!("messages_leased{{{labels}}} 2"),
            format!("messages_waiting{{{labels}}} 1"),
            format!("oldest_open_message_age_seconds{{{labels}}} 1.5"),
            format!("receives_waiting{{{labels}}} 4"),
            format!("leases_given_total{{{labels}}} 3"),
            format!("leases_extended_total{{{labels}}} 2"),
            format!("leases_ended_total{{{labels},outcome=\"run_out\"}} 1"),
            format!("leases_ended_total{{{labels},outcome=\"acknowledged\"}} 0"),
            "queues 1".to_owned(),
            "queues_limit 32".to_owned(),
            "leases 2".to_owned(),
            "leases_limit 100".to_owned(),
        ] {
            assert!(shows(&line), "no {line} in {}", exposition.text().unwrap());
        }
        *lock(&queues) = LeasedQueues::default();
        assert!(!exposition.text().unwrap().contains("topic="));
    }
}
