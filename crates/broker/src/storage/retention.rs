//! Retention: removes expired batches and expired producers, in slices between changes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::error::StorageError;
use super::frame::FrameBuffer;
use super::log_reader::{LOOKED_UP, LogReader};
use super::rows::PartitionRow;
use super::segment_index::BatchEntry;
use super::store_state::StoreState;
use super::transaction::{Applied, Changes};
use super::write_state::WriteState;
use crate::topic_config::{Defaults, TopicConfig};

/// Logs that one slice looks at the batches of.
const SLICE_LOGS: usize = 100;
/// Batches that one slice looks at.
const SLICE_BATCHES: usize = 100_000;
/// Producers that one slice forgets.
const SLICE_PRODUCERS: usize = 10_000;
/// How long an idle producer is remembered (Kafka's `producer.id.expiration.ms`).
const PRODUCER_ID_EXPIRATION: Duration = Duration::from_secs(24 * 3600);

/// Retention settings, as in Kafka's `retention.ms` and `retention.bytes`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Retention {
    /// Batches whose youngest record is older are removed.
    pub age: Option<Duration>,
    /// A partition with more bytes loses its oldest batches.
    pub bytes: Option<u64>,
}

impl Retention {
    /// That of a topic with these configurations; `None` if its batches are kept for ever.
    fn of_topic(&self, configs: &BTreeMap<String, String>) -> Option<Retention> {
        let defaults = Defaults { retention: self.age, retention_bytes: self.bytes };
        let config = TopicConfig::new(configs, &defaults);
        let age = config.retention_ms.and_then(|ms| u64::try_from(ms).ok()).map(Duration::from_millis);
        let retention = Retention { age, bytes: config.retention_bytes };
        (config.cleanup.delete && (age.is_some() || retention.bytes.is_some())).then_some(retention)
    }

    /// The timestamp (ms) of the oldest batch that is kept; `None` if age does not matter.
    fn oldest_kept(&self, now: i64) -> Option<i64> {
        let age = i64::try_from(self.age?.as_millis()).unwrap_or(i64::MAX);
        Some(now.saturating_sub(age))
    }
}

/// The result of one slice.
pub(super) struct Slice {
    pub applied: Applied,
    /// Whether there is more to remove now.
    pub more: bool,
}

/// A log that loses its start.
struct Expired {
    topic: Arc<str>,
    number: u32,
    partition: i32,
    after: PartitionRow,
    /// Bytes that it has left.
    bytes: u64,
}

/// Finds what has expired, and puts its removal into `frame`.
pub(super) fn run_slice(
    shared: &StoreState,
    write_state: &mut WriteState,
    frame: &mut FrameBuffer,
    retention: &Retention,
    now: i64,
) -> Result<Slice, StorageError> {
    let more_producers = expire_producers(write_state, now);
    let (expired, more) = find_expired(shared, write_state, retention, now)?;
    let mut changes = Changes::new(shared, write_state, frame, now);
    for log in expired {
        changes.put_log(&log.topic, log.number, log.partition, log.after, Some(log.bytes));
    }
    Ok(Slice { applied: changes.finish(), more: more || more_producers })
}

/// The logs whose first batches have expired, and whether there is more to look at.
fn find_expired(
    shared: &StoreState,
    write_state: &WriteState,
    defaults: &Retention,
    now: i64,
) -> Result<(Vec<Expired>, bool), StorageError> {
    let (mut expired, mut looked_at) = (Vec::new(), 0);
    for (name, topic) in &write_state.topics {
        let Some(retention) = defaults.of_topic(&topic.topic.configs) else { continue };
        for (partition, log) in (0..).zip(&topic.logs) {
            if log.log_start_offset == log.log_end_offset {
                continue;
            }
            if expired.len() >= SLICE_LOGS || looked_at >= SLICE_BATCHES {
                return Ok((expired, true));
            }
            let Some(reader) = LogReader::open(shared, name, partition) else { continue };
            let bytes = shared.state().partition(name, partition).map_or(0, |(_, log)| log.bytes);
            let mut expiring =
                Expired { topic: name.clone(), number: topic.number, partition, after: *log, bytes };
            match expiring.find(&reader, &retention, now, &mut looked_at) {
                // The other logs lose what has expired.
                Err(StorageError::Damaged(what)) => {
                    shared.report_damage(topic.number, name, partition, log.log_start_offset, &what);
                }
                found => found?,
            }
            if expiring.after != *log {
                expired.push(expiring);
            }
        }
    }
    Ok((expired, looked_at >= SLICE_BATCHES))
}

impl Expired {
    /// Passes over the batches at the start that have expired.
    fn find(
        &mut self,
        reader: &LogReader<'_>,
        retention: &Retention,
        now: i64,
        looked_at: &mut usize,
    ) -> Result<(), StorageError> {
        // Mostly the first batch is young enough.
        let mut count = 1;
        while *looked_at < SLICE_BATCHES {
            let Some(located) = reader.locate(self.after.log_start_offset, count)? else { break };
            for entry in &located.entries {
                *looked_at += 1;
                if !self.is_expired(entry, retention, now) {
                    return Ok(());
                }
                self.after.log_start_offset = entry.next();
                self.after.removed_timestamp = self.after.removed_timestamp.max(entry.max_timestamp);
                self.bytes = self.bytes.saturating_sub(u64::from(entry.size));
            }
            count = LOOKED_UP;
        }
        Ok(())
    }

    /// Whether the first batch has expired. By size, the last batch always stays. A batch without timestamps
    /// is as old as those before it.
    fn is_expired(&self, entry: &BatchEntry, retention: &Retention, now: i64) -> bool {
        let is_last = entry.next() >= self.after.log_end_offset;
        let too_large = retention.bytes.is_some_and(|limit| self.bytes > limit) && !is_last;
        let youngest =
            if entry.max_timestamp >= 0 { entry.max_timestamp } else { self.after.removed_timestamp };
        let too_old = retention.oldest_kept(now).is_some_and(|oldest| youngest >= 0 && youngest < oldest);
        too_large || too_old
    }
}

/// Forgets producers that have been idle for too long; true if there are more. They are forgotten in memory
/// alone: one that a crash brings back is as idle as it was.
fn expire_producers(write_state: &mut WriteState, now: i64) -> bool {
    let since = now.saturating_sub(i64::try_from(PRODUCER_ID_EXPIRATION.as_millis()).unwrap_or(i64::MAX));
    let silent = write_state.producers.expired_before(since, SLICE_PRODUCERS);
    silent.iter().for_each(|key| write_state.producers.remove(key));
    silent.len() >= SLICE_PRODUCERS
}
