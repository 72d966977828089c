//! The record batch of one partition in a Produce request: the checks before it is stored, and what the
//! configurations of its topic make of it.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use kafka_protocol::messages::produce_request::PartitionProduceData;

use crate::node::Node;
use crate::request_context::RequestContext;
use crate::storage::{Append, Topic};
use crate::topic_config::{Defaults, TopicConfig};
use protocol::error_code::ErrorCode;
use protocol::records::{self, Record};

/// The codec zstd in the attributes of a batch.
const ZSTD: u8 = 4;
/// The first version that allows zstd (KIP-110).
const ZSTD_SINCE: i16 = 7;
/// The largest number of refused records that are named of one batch.
const NAMED_RECORDS: usize = 100;

/// Why a batch is not stored.
#[derive(Debug, Clone)]
pub struct Refused {
    /// The code for the client.
    pub code: ErrorCode,
    /// The reason in words.
    pub message: String,
    /// The records because of which it is refused: their numbers in the batch, and the reasons (KIP-467).
    pub records: Vec<(i32, String)>,
}

impl From<records::Refused> for Refused {
    fn from(refused: records::Refused) -> Refused {
        Refused { code: refused.code, message: refused.message, records: Vec::new() }
    }
}

/// A refusal of the whole batch.
pub fn refuse<T>(code: ErrorCode, message: impl Into<String>) -> Result<T, Refused> {
    Err(Refused { code, message: message.into(), records: Vec::new() })
}

/// A refusal of the whole batch, of which certainly nothing is stored, and which may be stored later: clients
/// are told a code that says so and makes them try again. KAFKA_STORAGE_ERROR would leave them in doubt.
pub fn refuse_without_doubt<T>(message: impl Into<String>) -> Result<T, Refused> {
    refuse(ErrorCode::NOT_ENOUGH_REPLICAS, message)
}

/// A batch that may be stored.
pub struct Checked {
    /// The batch as it is to be stored.
    pub append: Append,
    /// The time that all its records have; -1 if they keep their own.
    pub log_append_time: i64,
}

/// Checks a batch, and packs and stamps it as its topic wants.
pub fn check(
    node: &Node,
    context: &RequestContext<'_>,
    name: &Arc<str>,
    data: PartitionProduceData,
) -> Result<Checked, Refused> {
    let partition = data.index;
    let topic = node.store.topic(name).filter(|topic| (0..topic.partitions).contains(&partition));
    let Some(topic) = topic else {
        return refuse(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, format!("there is no {name}-{partition}"));
    };
    let batch = data.records.unwrap_or_default();
    if batch.is_empty() {
        return refuse(ErrorCode::INVALID_RECORD, "a Produce request without a record batch");
    }
    let config = TopicConfig::new(&topic.configs, &Defaults::from(&node.settings));
    check_size(&batch, &config)?;
    let codec = codec(&batch);
    if codec == ZSTD && context.version < ZSTD_SINCE {
        let message = format!("zstd needs Produce {ZSTD_SINCE} or later, this is {}", context.version);
        return refuse(ErrorCode::UNSUPPORTED_COMPRESSION_TYPE, message);
    }
    let is_packed_anew = config.compression.is_some_and(|wanted| wanted as u8 != codec);
    let _room = match codec {
        _ if is_packed_anew => Some(node.reserve_packing(context).ok_or_else(no_room)?),
        0 => None,
        _ => Some(node.reserve_decompression(context).ok_or_else(no_room)?),
    };
    let now = now();
    let mut valid = check_records(&batch, &topic, partition, &config, now)?;
    if let Some(codec) = config.compression.filter(|_| is_packed_anew) {
        valid.pack(codec)?;
    }
    if config.log_append_time {
        valid.set_append_time(now)?;
    }
    check_size(&valid.bytes, &config)?;
    if let Some(reason) = node.free_space.take(valid.bytes.len()) {
        return refuse_without_doubt(reason);
    }
    let append = Append { topic: name.clone(), partition, batch: valid.bytes };
    Ok(Checked { append, log_append_time: if config.log_append_time { now } else { -1 } })
}

fn check_size(batch: &Bytes, config: &TopicConfig) -> Result<(), Refused> {
    // What unpacks to more is refused in any case.
    let most = config.max_message_bytes.min(records::MAX_UNPACKED_BYTES);
    if batch.len() > most {
        let message = format!("a record batch of {} bytes, {most} at most", batch.len());
        return refuse(ErrorCode::MESSAGE_TOO_LARGE, message);
    }
    Ok(())
}

/// The codec in the attributes of a batch; 0 where it has none, or no attributes.
fn codec(batch: &Bytes) -> u8 {
    batch.get(22).map_or(0, |attributes| attributes & 0x07)
}

fn no_room() -> Refused {
    let message = "no room to unpack the record batch in time".to_owned();
    Refused { code: ErrorCode::LEADER_NOT_AVAILABLE, message, records: Vec::new() }
}

/// Checks the batch and each of its records; a compacted topic takes records with keys alone, and each
/// topic records of times that are near enough (KIP-32, KIP-937).
fn check_records(
    batch: &Bytes,
    topic: &Topic,
    partition: i32,
    config: &TopicConfig,
    now: i64,
) -> Result<records::Valid, Refused> {
    let mut refused = RefusedRecords { first: Vec::new(), count: 0, code: ErrorCode::INVALID_RECORD };
    let earliest = now.saturating_sub(config.timestamp_before_max_ms);
    let latest = now.saturating_add(config.timestamp_after_max_ms);
    let valid = records::validate_each(batch, |record: &Record<'_>| {
        let Record { timestamp, .. } = *record;
        if config.cleanup.compact && record.key.is_none() {
            refused.add(record, ErrorCode::INVALID_RECORD, || {
                format!("{}-{partition} is compacted, and takes no record without a key", topic.name)
            });
        } else if !config.log_append_time && timestamp != -1 && !(earliest..=latest).contains(&timestamp) {
            refused.add(record, ErrorCode::INVALID_TIMESTAMP, || {
                format!("the timestamp {timestamp} is not from {earliest} to {latest}")
            });
        }
    })?;
    refused.check().map(|()| valid)
}

/// The records that are refused.
struct RefusedRecords {
    first: Vec<(i32, String)>,
    count: usize,
    code: ErrorCode,
}

impl RefusedRecords {
    /// One of a wrong time decides the code, as in Kafka.
    fn add(&mut self, record: &Record<'_>, code: ErrorCode, why: impl FnOnce() -> String) {
        if self.first.len() < NAMED_RECORDS {
            self.first.push((i32::try_from(record.offset).unwrap_or(i32::MAX), why()));
        }
        if self.code != ErrorCode::INVALID_TIMESTAMP {
            self.code = code;
        }
        self.count += 1;
    }

    fn check(self) -> Result<(), Refused> {
        let Some((number, why)) = self.first.first() else { return Ok(()) };
        let others = self.count.saturating_sub(1);
        let others = if others > 0 { format!("; so are {others} more") } else { String::new() };
        let message = format!("record {number} of the batch is refused: {why}{others}");
        Err(Refused { code: self.code, message, records: self.first })
    }
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
