//! Produce: one record batch for each partition, checked and stored as it came; answered when all are
//! durable.

use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::messages::produce_request::PartitionProduceData;
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{ProduceRequest, ProduceResponse, TopicName};

use super::{brief, message};
use crate::broker::MAX_BATCH_BYTES;
use crate::broker::budget::Room;
use crate::broker::caller::Caller;
use crate::broker::node::Node;
use crate::broker::storage::{Append, Appended, Pending};
use crate::protocol::error_code::ErrorCode;
use crate::protocol::records::{self, Refused};

/// The codec zstd in a batch's attributes, ...
const ZSTD: u8 = 4;
/// ... and the first version in which it may come (KIP-110).
const ZSTD_SINCE: i16 = 7;

fn refuse<T>(code: ErrorCode, message: impl Into<String>) -> Result<T, Refused> {
    Err(Refused { code, message: message.into() })
}

/// A partition's number, and whether its records may be stored.
type Checked = (i32, Result<(), Refused>);

/// A request whose records are checked and on their way to the disk.
pub struct Begun {
    /// What was checked: topics, and of each the partitions in the order of the request.
    checked: Vec<(TopicName, Vec<Checked>)>,
    /// One for each partition without a refusal.
    appended: Vec<Pending<Appended>>,
}

/// Checks the records and hands them to the store, in the order of these calls.
pub fn begin(node: &Node, caller: &Caller<'_>, request: ProduceRequest) -> Begun {
    let acceptable = check_request(&request);
    if let Err(refused) = &acceptable {
        log::warn!("{}: a Produce request is refused: {}", caller.peer, brief(&refused.message));
    }
    let mut appends = Vec::new();
    let mut checked = Vec::with_capacity(request.topic_data.len());
    for topic in request.topic_data {
        let name: Arc<str> = topic.name.as_str().into();
        let mut begin = |data: PartitionProduceData| {
            let partition = data.index;
            let batch = acceptable.clone().and_then(|()| check(node, caller, &name, data));
            let begun = batch.map(|batch| appends.push(Append { topic: name.clone(), partition, batch }));
            (partition, begun)
        };
        let partitions: Vec<_> = topic.partition_data.into_iter().map(&mut begin).collect();
        checked.push((topic.name, partitions));
    }
    let appended = if appends.is_empty() { Vec::new() } else { node.store.append(appends) };
    Begun { checked, appended }
}

impl Begun {
    /// Waits for the disk; each partition's records are durable if its response has no error.
    pub fn finish(self, caller: &Caller<'_>) -> ProduceResponse {
        let mut appended = self.appended.into_iter();
        let responses = self.checked.into_iter().map(|(name, partitions)| {
            let partitions = partitions.into_iter().map(|(index, begun)| {
                let stored = begun.and_then(|()| match appended.next().map(Pending::wait) {
                    Some(stored) => stored.or_else(|code| refuse(code, refused_by_store(code))),
                    None => refuse(ErrorCode::UNKNOWN_SERVER_ERROR, "the store gave no answer"),
                });
                described(caller, index, stored)
            });
            TopicProduceResponse::default().with_name(name).with_partition_responses(partitions.collect())
        });
        ProduceResponse::default().with_responses(responses.collect())
    }
}

/// The first error of an answer; one to `acks=0` is not sent, its client learns of errors by a closed
/// connection.
pub fn failure(response: &ProduceResponse) -> Option<ErrorCode> {
    let partitions = response.responses.iter().flat_map(|topic| &topic.partition_responses);
    partitions.map(|partition| ErrorCode(partition.error_code)).find(|code| !code.is_ok())
}

/// What concerns all partitions.
fn check_request(request: &ProduceRequest) -> Result<(), Refused> {
    if let Some(id) = &request.transactional_id {
        let message = format!("transactional id {:?}: the embedded broker has no transactions", id.as_str());
        return refuse(ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED, message);
    }
    match request.acks {
        -1..=1 => Ok(()),
        acks => {
            refuse(ErrorCode::INVALID_REQUIRED_ACKS, format!("acks={acks}: only 0, 1 and -1 are defined"))
        }
    }
}

/// The batch to be stored.
fn check(
    node: &Node,
    caller: &Caller<'_>,
    topic: &str,
    data: PartitionProduceData,
) -> Result<Bytes, Refused> {
    if node.store.bounds(topic, data.index).is_none() {
        return refuse(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, format!("there is no {topic}-{}", data.index));
    }
    let batch = data.records.unwrap_or_default();
    if batch.is_empty() {
        return refuse(ErrorCode::INVALID_RECORD, "a Produce request without a record batch");
    }
    if batch.len() > MAX_BATCH_BYTES {
        let message = format!("a record batch of {} bytes, {MAX_BATCH_BYTES} at most", batch.len());
        return refuse(ErrorCode::MESSAGE_TOO_LARGE, message);
    }
    let codec = codec(&batch);
    if codec == ZSTD && caller.version < ZSTD_SINCE {
        let message = format!("zstd needs Produce {ZSTD_SINCE} or later, this is {}", caller.version);
        return refuse(ErrorCode::UNSUPPORTED_COMPRESSION_TYPE, message);
    }
    let _room = match codec {
        0 => None,
        _ => Some(room_to_unpack(node, caller)?),
    };
    records::validate(&batch).map(|valid| valid.bytes)
}

/// The codec in the attributes of a batch; 0 where it has none, or no attributes.
fn codec(batch: &Bytes) -> u8 {
    batch.get(22).map_or(0, |attributes| attributes & 0x07)
}

fn room_to_unpack<'n>(node: &'n Node, caller: &Caller<'_>) -> Result<Room<'n>, Refused> {
    node.room_to_unpack(caller).ok_or_else(|| Refused {
        code: ErrorCode::LEADER_NOT_AVAILABLE,
        message: "no room to unpack the record batch in time".to_owned(),
    })
}

fn refused_by_store(code: ErrorCode) -> String {
    match code {
        ErrorCode::KAFKA_STORAGE_ERROR => "the embedded broker cannot store anything; see its log".to_owned(),
        ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER => {
            "the batch does not follow the producer's last one; an earlier batch is missing".to_owned()
        }
        other => other.name().to_owned(),
    }
}

fn described(caller: &Caller<'_>, index: i32, stored: Result<Appended, Refused>) -> PartitionProduceResponse {
    let response = PartitionProduceResponse::default().with_index(index).with_log_append_time_ms(-1);
    match stored {
        Ok(appended) => response
            .with_base_offset(appended.base_offset)
            .with_log_start_offset(appended.log_start)
            .with_error_message(None),
        Err(refused) => {
            log::debug!(
                "{}: records of a Produce request are refused: {}",
                caller.peer,
                brief(&refused.message)
            );
            let message = (caller.version >= 8).then(|| message(&refused.message));
            response.with_error_code(refused.code.0).with_base_offset(-1).with_error_message(message)
        }
    }
}
