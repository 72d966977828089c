//! The metrics of the process, and the text that shows them.
//!
//! Each family of metrics ([`HttpMetrics`], [`ProducerMetrics`], [`ConsumerMetrics`], ...) is handed to the
//! part that counts in it; a clone counts in the same place. There is no global: a family that nobody shows
//! is counted all the same. An [`Exposition`] shows those that are registered with it.

mod consumer;
mod http;
mod leases;
mod producer;
mod work_queue;

use std::fmt;

use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

pub use consumer::{ConsumerMetrics, Lags};
pub use http::{Answered, HttpMetrics};
pub use leases::{LeaseCounts, LeaseEnd, LeaseMetrics, LeasedQueue, LeasedQueues};
pub use producer::{ProducerMetrics, RecordOutcome};
pub use work_queue::{Outcome, PauseReason, QueueLook, QueueMetrics};

/// The media type of [`Exposition::text`]: OpenMetrics 1.0, which Prometheus and its kin read.
pub const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The prefix of every metric's name.
const PREFIX: &str = "point_to_point";

/// Upper bounds of the buckets for times, in seconds.
const SECONDS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// A family of metrics.
pub trait Family {
    /// Shows the family in `registry`.
    fn register(&self, registry: &mut Registry);
}

/// The metrics of a process, as text.
pub struct Exposition(Registry);

impl Exposition {
    /// Shows these families.
    pub fn of(families: &[&dyn Family]) -> Exposition {
        let mut registry = Registry::with_prefix(PREFIX);
        families.iter().for_each(|family| family.register(&mut registry));
        Exposition(registry)
    }

    /// All metrics as they are now, in the format of [`MEDIA_TYPE`].
    ///
    /// # Errors
    /// A metric cannot be written.
    pub fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.0)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_stands_in_the_text_whoever_counted_it() {
        let http = HttpMetrics::default();
        let producer = ProducerMetrics::default();
        let exposition = Exposition::of(&[&http, &producer]);
        let counted = producer.clone();
        counted.finished(RecordOutcome::Stored);
        counted.finished(RecordOutcome::Stored);
        http.refused("slow_head");
        let text = exposition.text().unwrap();
        for line in [
            "point_to_point_messages_total{outcome=\"stored\"} 2",
            "point_to_point_messages_total{outcome=\"unknown\"} 0",
            "point_to_point_http_refused_total{reason=\"slow_head\"} 1",
            "# EOF",
        ] {
            assert!(text.lines().any(|shown| shown == line), "no {line} in {text}");
        }
    }
}
