//! The metrics of the process, and the text that shows them.
//!
//! Each family of metrics ([`HttpMetrics`], [`ProducerMetrics`], [`ConsumerMetrics`], ...) is handed to the
//! part that counts in it; a clone counts in the same place. There is no global: a family that nobody shows
//! is counted all the same. An [`Exposition`] shows those that are registered with it.

mod channel;
mod consumer;
mod http;
mod leases;
mod process;
mod producer;
mod work_queue;

use std::fmt;

use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::registry::Registry;

pub use channel::{ChannelLook, ChannelMetrics, LogOffsets, StoreLook};
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
pub struct Exposition {
    own: Registry,
    /// Those whose names are the same in all programs.
    standard: Registry,
}

impl Exposition {
    /// Shows these families, the build and the process.
    pub fn of(families: &[&dyn Family]) -> Exposition {
        let mut own = Registry::with_prefix(PREFIX);
        process::register_build(&mut own);
        families.iter().for_each(|family| family.register(&mut own));
        let mut standard = Registry::default();
        process::ProcessMetrics::register(&mut standard);
        Exposition { own, standard }
    }

    /// All metrics as they are now, in the format of [`MEDIA_TYPE`].
    ///
    /// # Errors
    /// A metric cannot be written.
    pub fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode_registry(&mut text, &self.own)?;
        encode_registry(&mut text, &self.standard)?;
        encode_eof(&mut text)?;
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
            concat!("point_to_point_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
            "# EOF",
        ] {
            assert_eq!(text.lines().filter(|shown| *shown == line).count(), 1, "{line} in {text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }
}
