//! Compaction: of the records with one key, a compacted topic keeps the last (Kafka's
//! `cleanup.policy=compact`).
//!
//! Complete segments are rewritten without the others; offsets stay. What is compacted, and when, is said by
//! the topic's configurations: `min.cleanable.dirty.ratio`, `min.compaction.lag.ms`, `max.compaction.lag.ms`,
//! `delete.retention.ms`. A record without a key is removed, as in Kafka. The last segment is never
//! compacted; it ends, for this, with the topic's `segment.ms` or `segment.bytes`.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::error::StorageError;
use super::log_reader::{LOOKED_UP, LogReader};
use super::partition_log::{Extent, PartitionLog};
use super::reclaim;
use super::segment::Segment;
use super::store_state::StoreState;
use crate::topic_config::{Defaults, TopicConfig};
use protocol::records::{Batches, Record, RecordsError, Retained, retain};

/// The largest decompressed size of one batch's records.
const UNPACKED_BYTES: usize = 128 << 20;
/// Keys that are told apart at once, in all logs: some 40 MiB.
const MAX_KEYS: usize = 500_000;

/// How a topic is compacted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Policy {
    dirty_ratio: f64,
    min_lag_ms: i64,
    max_lag_ms: i64,
    delete_retention_ms: i64,
    segment_ms: i64,
    segment_bytes: u64,
}

impl Policy {
    /// That of a topic with these configurations; `None` if it is not compacted.
    pub(super) fn of(configs: &BTreeMap<String, String>) -> Option<Policy> {
        let config = TopicConfig::new(configs, &Defaults::default());
        config.cleanup.compact.then_some(Policy {
            dirty_ratio: config.min_cleanable_dirty_ratio,
            min_lag_ms: config.min_compaction_lag_ms,
            max_lag_ms: config.max_compaction_lag_ms,
            delete_retention_ms: config.delete_retention_ms,
            segment_ms: config.segment_ms,
            segment_bytes: config.segment_bytes,
        })
    }

    /// Whether the last segment is to end, so that this part of it can be compacted; its first batch came at
    /// the time `began`.
    pub(super) fn ends_segment(&self, extent: &Extent, began: i64, now: i64) -> bool {
        extent.bytes >= self.segment_bytes || began < now.saturating_sub(self.segment_ms)
    }
}

/// How far each log is compacted, by topic number and partition; forgotten with the process.
pub(super) type Cleaned = HashMap<(u32, i32), i64>;

/// A log that is compacted now.
struct Cleaning {
    policy: Policy,
    /// The offset after the last one that is looked at.
    end: i64,
    /// The offset after the log's last, which stays, so that readers come to the end of the log.
    log_end: i64,
    /// The last offset of each key among those that were not looked at before.
    last: HashMap<u128, i64>,
}

/// Hashes of keys that nobody outside can foresee.
struct KeyHash(RandomState, RandomState);

impl KeyHash {
    fn of(&self, key: &[u8]) -> u128 {
        u128::from(self.0.hash_one(key)) << 64 | u128::from(self.1.hash_one(key))
    }
}

/// Compacts the logs that are dirty enough.
pub(super) fn run(shared: &StoreState, cleaned: &mut Cleaned, now: i64) -> Result<(), StorageError> {
    let hash = KeyHash(RandomState::new(), RandomState::new());
    let mut cleanings: HashMap<(u32, i32), Cleaning> = HashMap::new();
    let mut keys = 0;
    for (name, number, partition, policy) in compacted(shared) {
        if keys >= MAX_KEYS || shared.is_ending() {
            break;
        }
        let from = cleaned.get(&(number, partition)).copied().unwrap_or_default();
        let Some((from, end)) = dirty(shared, &name, partition, &policy, from, now) else { continue };
        let Some(log) = LogReader::open(shared, &name, partition) else { continue };
        let cleaning = match look_at(shared, &log, policy, (from, end), MAX_KEYS - keys, &hash) {
            Err(StorageError::Damaged(what)) => {
                shared.report_damage(number, &name, partition, from, &what);
                continue;
            }
            looked_at => looked_at?,
        };
        keys += cleaning.last.len();
        cleanings.insert((number, partition), cleaning);
    }
    if cleanings.is_empty() {
        return Ok(());
    }
    for segment in segments(shared, &cleanings) {
        if shared.is_ending() {
            return Ok(());
        }
        let clean = |number, partition, batch: &Bytes| match cleanings.get(&(number, partition)) {
            Some(cleaning) => cleaning.clean(&hash, batch, now),
            None => Ok(Retained::All),
        };
        if reclaim::is_filtered(shared, &segment, &|log| cleanings.contains_key(&log), &clean)? {
            reclaim::rewrite_or_report(shared, &segment, now, &clean)?;
        }
    }
    cleaned.extend(cleanings.into_iter().map(|(log, cleaning)| (log, cleaning.end)));
    Ok(())
}

/// The compacted logs: topic, its number, partition, policy.
fn compacted(shared: &StoreState) -> Vec<(Arc<str>, u32, i32, Policy)> {
    let state = shared.state();
    let mut logs = Vec::new();
    for (name, topic) in &state.topics {
        let Some(policy) = Policy::of(&topic.topic.configs) else { continue };
        logs.extend(
            (0..topic.topic.partitions).map(|partition| (name.clone(), topic.number, partition, policy)),
        );
    }
    logs
}

/// The offsets that were not looked at before, from `from` on and as far as they may be, if they are enough.
fn dirty(
    shared: &StoreState,
    topic: &str,
    partition: i32,
    policy: &Policy,
    from: i64,
    now: i64,
) -> Option<(i64, i64)> {
    let snapshot = shared.snapshot.load(Ordering::Acquire);
    let state = shared.state();
    let (_, log) = state.partition(topic, partition)?;
    let from = from.max(log.bounds.log_start_offset);
    let ready: Vec<&Extent> = cleanable(log, snapshot, policy, now).collect();
    let end = ready.last()?.end;
    let bytes = |from| ready.iter().map(|extent| extent.bytes_from(from)).sum::<u64>();
    let (dirty, all) = (bytes(from), bytes(log.bounds.log_start_offset));
    let mut waiting = ready.iter().filter(|extent| extent.end > from);
    let is_due = waiting.any(|extent| extent.max_timestamp < now.saturating_sub(policy.max_lag_ms));
    let is_enough = dirty as f64 >= policy.dirty_ratio * all as f64 || is_due;
    (dirty > 0 && is_enough).then_some((from, end))
}

/// The parts of a log that may be compacted.
fn cleanable<'l>(
    log: &'l PartitionLog,
    snapshot: u64,
    policy: &'l Policy,
    now: i64,
) -> impl Iterator<Item = &'l Extent> {
    let youngest = now.saturating_sub(policy.min_lag_ms);
    log.extents.iter().take_while(move |extent| {
        let is_old = policy.min_lag_ms == 0 || extent.max_timestamp <= youngest;
        extent.segment.id.number < snapshot && is_old
    })
}

/// Reads the keys of a log's dirty offsets, of so many keys at most.
fn look_at(
    shared: &StoreState,
    log: &LogReader<'_>,
    policy: Policy,
    (from, end): (i64, i64),
    keys: usize,
    hash: &KeyHash,
) -> Result<Cleaning, StorageError> {
    let log_end = log.bounds().log_end_offset;
    let mut cleaning = Cleaning { policy, end: from, log_end, last: HashMap::new() };
    while cleaning.end < end && !shared.is_ending() {
        let Some(located) = log.locate(cleaning.end, LOOKED_UP)? else { break };
        for entry in located.entries.iter().take_while(|entry| entry.base < end) {
            if cleaning.last.len() >= keys {
                return Ok(cleaning);
            }
            let bytes = log.one_batch(&located.segment, entry)?;
            for_each_record(&bytes, |record| {
                if let Some(key) = record.key {
                    cleaning.last.insert(hash.of(key), record.offset);
                }
            })?;
            cleaning.end = entry.next();
        }
        cleaning.end = cleaning.end.max(located.next.min(end));
    }
    Ok(cleaning)
}

fn for_each_record(bytes: &Bytes, mut take: impl FnMut(&Record<'_>)) -> Result<(), StorageError> {
    let damaged = |error: RecordsError| StorageError::Damaged(error.to_string());
    let Some(batch) = Batches::new(bytes).next() else { return Ok(()) };
    let records = batch.and_then(|batch| batch.unpack(UNPACKED_BYTES)).map_err(damaged)?;
    for record in &records {
        take(&record.map_err(damaged)?);
    }
    Ok(())
}

/// The segments that the cleanings look at.
fn segments(shared: &StoreState, cleanings: &HashMap<(u32, i32), Cleaning>) -> Vec<Arc<Segment>> {
    let state = shared.state();
    let mut segments = BTreeMap::new();
    for (number, partition, log) in state.logs() {
        let Some(cleaning) = cleanings.get(&(number, partition)) else { continue };
        for extent in log.extents.iter().filter(|extent| extent.start < cleaning.end && extent.count > 0) {
            segments.insert(extent.segment.id.number, extent.segment.clone());
        }
    }
    let snapshot = shared.snapshot.load(Ordering::Acquire);
    segments.into_iter().filter(|(number, _)| *number < snapshot).map(|(_, segment)| segment).collect()
}

impl Cleaning {
    /// What stays of a batch.
    fn clean(&self, hash: &KeyHash, batch: &Bytes, now: i64) -> Result<Retained, StorageError> {
        let oldest_tombstone = now.saturating_sub(self.policy.delete_retention_ms);
        let keep = |record: &Record<'_>| {
            if record.offset >= self.end || record.offset + 1 >= self.log_end {
                return true;
            }
            let Some(key) = record.key else { return false };
            let is_last = self.last.get(&hash.of(key)).is_none_or(|last| *last <= record.offset);
            is_last && (record.value.is_some() || record.timestamp > oldest_tombstone)
        };
        retain(batch, UNPACKED_BYTES, keep).map_err(|error| StorageError::Damaged(error.to_string()))
    }
}
