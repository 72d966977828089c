//! The metrics of the channel's topic, of its dead letters and of the embedded broker's store.

use std::fmt;
use std::sync::Arc;

use net::sync::{Mutex, lock};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::Family;

/// The first and the next offset of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogOffsets {
    /// The partition.
    pub partition: i32,
    /// The offset of the first record that is kept.
    pub start: i64,
    /// The offset after the last record.
    pub end: i64,
}

/// What is known of the store of the embedded broker.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StoreLook {
    /// The bytes of its files.
    pub bytes: Option<u64>,
    /// The bytes that are free on its file system.
    pub free_bytes: Option<u64>,
    /// Whether it takes no messages.
    pub failed: bool,
}

/// What is known of the channel at a time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChannelLook {
    /// The topic.
    pub topic: String,
    /// Its partitions whose offsets are known. Who looks bounds them, as each is two time series.
    pub logs: Vec<LogOffsets>,
    /// The topic of its dead letters.
    pub dead_letter_topic: String,
    /// The records in it.
    pub dead_letters: Option<i64>,
    /// The store, where the embedded broker is the one that is used.
    pub store: Option<StoreLook>,
}

/// The metrics of the channel. What is not known now is not shown.
#[derive(Debug, Clone, Default)]
pub struct ChannelMetrics(Arc<Mutex<ChannelLook>>);

impl ChannelMetrics {
    /// Shows this from now on.
    pub fn show(&self, look: ChannelLook) {
        *lock(&self.0) = look;
    }
}

impl Family for ChannelMetrics {
    fn register(&self, registry: &mut Registry) {
        registry.register_collector(Box::new(self.clone()));
    }
}

impl Collector for ChannelMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let look = lock(&self.0).clone();
        look.write_logs(&mut encoder)?;
        look.write_dead_letters(&mut encoder)?;
        look.store.map_or(Ok(()), |store| store.write(&mut encoder))
    }
}

impl ChannelLook {
    fn write_logs(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        type Offset = fn(&LogOffsets) -> i64;
        let offsets: [(&str, &str, Offset); 2] = [
            ("log_start_offset", "Offset of the first record that a partition keeps", |log| log.start),
            ("log_end_offset", "Offset after the last record of a partition", |log| log.end),
        ];
        for (name, help, offset) in offsets {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for log in &self.logs {
                let labels = [("topic", self.topic.clone()), ("partition", log.partition.to_string())];
                ConstGauge::new(offset(log)).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }

    fn write_dead_letters(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Records in the topic of the dead letters";
        let mut family = encoder.encode_descriptor("dead_letters", help, None, MetricType::Gauge)?;
        let Some(count) = self.dead_letters else { return Ok(()) };
        let labels = [("topic", self.dead_letter_topic.clone())];
        ConstGauge::new(count).encode(family.encode_family(&labels)?)
    }
}

impl StoreLook {
    fn write(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let number = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        for (name, help, value) in [
            ("store_bytes", "Bytes of the files of the embedded broker's store", self.bytes.map(number)),
            ("store_free_bytes", "Bytes that are free on their file system", self.free_bytes.map(number)),
            ("store_failed", "1 while the store takes no messages", Some(i64::from(self.failed))),
        ] {
            let family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            value.map_or(Ok(()), |value| ConstGauge::new(value).encode(family))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Exposition;

    fn samples(metrics: &ChannelMetrics) -> Vec<String> {
        let text = Exposition::of(&[metrics]).text().unwrap();
        let of_channel = ["point_to_point_log_", "point_to_point_store_", "point_to_point_dead_letters"];
        let is_one = |line: &&str| of_channel.iter().any(|name| line.starts_with(name));
        text.lines().filter(is_one).map(str::to_owned).collect()
    }

    #[test]
    fn what_is_not_known_any_more_is_not_shown() {
        let metrics = ChannelMetrics::default();
        assert_eq!(samples(&metrics).len(), 0);
        let look = ChannelLook {
            topic: "t".to_owned(),
            logs: vec![LogOffsets { partition: 0, start: 3, end: 9 }],
            dead_letter_topic: "t-dlt".to_owned(),
            dead_letters: Some(2),
            store: Some(StoreLook { bytes: Some(5), free_bytes: Some(7), failed: false }),
        };
        metrics.clone().show(look.clone());
        let all = [
            "point_to_point_log_start_offset{topic=\"t\",partition=\"0\"} 3",
            "point_to_point_log_end_offset{topic=\"t\",partition=\"0\"} 9",
            "point_to_point_dead_letters{topic=\"t-dlt\"} 2",
            "point_to_point_store_bytes 5",
            "point_to_point_store_free_bytes 7",
            "point_to_point_store_failed 0",
        ];
        assert_eq!(samples(&metrics), all);
        let store = Some(StoreLook { failed: true, ..StoreLook::default() });
        metrics.show(ChannelLook { logs: Vec::new(), dead_letters: None, store, ..look });
        assert_eq!(samples(&metrics), ["point_to_point_store_failed 1"]);
        metrics.show(ChannelLook::default());
        assert_eq!(samples(&metrics).len(), 0);
    }
}
