//! Looks up what a process tells in its metrics of the topic, its dead letters and the embedded broker's
//! store.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::config::Settings;
use crate::dead_letters::dead_letter_topic;
use crate::error::{Error, Result};
use crate::metrics::{ChannelLook, ChannelMetrics, LogOffsets, StoreLook};
use crate::runtime::StoreFailure;
use client::offsets::{self, EARLIEST, LATEST, Offsets};
use client::{Cluster, ClusterSettings, LOOK_UPS};
use net::stop::Stop;
use net::sync::Worker;
use protocol::TopicPartition;

/// The pause between two looks.
const INTERVAL: Duration = Duration::from_secs(3);
/// The time limit for one look.
const PATIENCE: Duration = Duration::from_secs(3);
/// The partitions whose offsets are told at most: each is two time series.
const MAX_PARTITIONS: usize = 500;

/// The thread that looks. It ends on drop.
pub(super) struct ChannelMonitor {
    cluster: Arc<Cluster>,
    _worker: Worker,
}

impl ChannelMonitor {
    /// Starts to look for `metrics`.
    ///
    /// # Errors
    /// The system has no thread left.
    pub(super) fn start(
        cluster: &Cluster,
        settings: &Settings,
        metrics: ChannelMetrics,
    ) -> Result<ChannelMonitor> {
        let looker = Looker::new(cluster, settings);
        let cluster = looker.cluster.clone();
        let worker = Worker::start("channel-metrics", move |stop| looker.run(&metrics, stop))
            .map_err(|error| Error::new("the thread channel-metrics cannot be started").caused_by(error))?;
        Ok(ChannelMonitor { cluster, _worker: worker })
    }
}

impl Drop for ChannelMonitor {
    fn drop(&mut self) {
        self.cluster.stop();
    }
}

struct Looker {
    cluster: Arc<Cluster>,
    topic: String,
    /// The folder of the embedded broker, if it is the one that is used.
    data_dir: Option<PathBuf>,
    store: StoreFailure,
}

impl Looker {
    fn new(cluster: &Cluster, settings: &Settings) -> Looker {
        let cluster = cluster.share(ClusterSettings {
            request_timeout: settings.kafka.request_timeout().min(PATIENCE),
            ..settings.cluster()
        });
        Looker {
            cluster: Arc::new(cluster.quiet()),
            topic: settings.kafka.topic.clone(),
            data_dir: settings.embedded_broker().map(|embedded| embedded.data_dir.clone()),
            store: settings.store_failure(),
        }
    }

    fn run(&self, metrics: &ChannelMetrics, end: &Stop) {
        loop {
            // The disk first: it answers also where no broker does.
            let store = self.store();
            let dead_letter_topic = dead_letter_topic(&self.topic);
            let deadline = Instant::now() + PATIENCE;
            let logs = self.logs(&self.topic, MAX_PARTITIONS, deadline);
            let (logs, _) = logs.unwrap_or_default();
            let letters = self.logs(&dead_letter_topic, usize::MAX, deadline);
            let look = ChannelLook {
                topic: self.topic.clone(),
                logs,
                dead_letter_topic,
                dead_letters: letters.and_then(|(logs, partitions)| count(&logs, partitions)),
                store,
            };
            metrics.show(look);
            if end.wait_for(INTERVAL) {
                return;
            }
        }
    }

    fn store(&self) -> Option<StoreLook> {
        let folder = self.data_dir.as_ref()?;
        let bytes = broker::store_bytes(folder);
        let bytes = bytes.inspect_err(|error| log::debug!("the size of the store is not known: {error}"));
        Some(StoreLook {
            bytes: bytes.ok(),
            free_bytes: broker::free_bytes(folder),
            failed: self.store.obstacle().is_some(),
        })
    }

    /// The offsets of the first `most` partitions of a topic, as far as they are known, beside the number of
    /// its partitions: none if it does not exist. `None` if no broker says so.
    fn logs(&self, topic: &str, most: usize, deadline: Instant) -> Option<(Vec<LogOffsets>, usize)> {
        let found = self.cluster.topic(topic, deadline);
        let found = found.inspect_err(|error| log::debug!("the offsets of {topic} are not known: {error}"));
        let partitions = found.ok()?.map_or(0, |found| found.leaders.len());
        let shown = (0..).take(partitions.min(most));
        let places: Vec<TopicPartition> =
            shown.map(|partition| TopicPartition::new(topic, partition)).collect();
        let (starts, ends) = (self.find(&places, EARLIEST, deadline), self.find(&places, LATEST, deadline));
        if ends.len() < places.len() {
            // A leader may have changed: the next look asks the new one.
            if let Err(error) = self.cluster.refresh(&[topic], self.cluster.deadline(deadline)) {
                log::debug!("the offsets of {topic} are not known: {error}");
            }
        }
        let log = |place: &TopicPartition| {
            let (start, end) = (*starts.get(place)?, *ends.get(place)?);
            Some(LogOffsets { partition: place.partition, start, end })
        };
        Some((places.iter().filter_map(log).collect(), partitions))
    }

    fn find(&self, places: &[TopicPartition], time: i64, deadline: Instant) -> Offsets {
        let wanted: Vec<_> = places.iter().map(|place| (place.clone(), time)).collect();
        if wanted.is_empty() {
            Offsets::new()
        } else {
            offsets::find(&self.cluster, LOOK_UPS, &wanted, deadline)
        }
    }
}

/// The records in these logs; `None` unless all of them are known.
fn count(logs: &[LogOffsets], partitions: usize) -> Option<i64> {
    let all = logs.iter().map(|log| log.end.saturating_sub(log.start).max(0));
    (logs.len() == partitions).then(|| all.fold(0, i64::saturating_add))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dead_letters_are_counted_where_all_partitions_are_known() {
        let log = |partition, start, end| LogOffsets { partition, start, end };
        assert_eq!(count(&[log(0, 3, 9), log(1, 0, 2)], 2), Some(8));
        assert_eq!(count(&[log(0, 3, 9)], 2), None);
        assert_eq!(count(&[], 0), Some(0), "there is no such topic");
    }
}
