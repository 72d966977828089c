//! Produce: checks and stores one record batch for each partition, and answers when all are durable.

use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{ProduceRequest, ProduceResponse};

use super::call::{Call, CloseReason, Handled};
use super::{brief, message};
use crate::node::Node;
use crate::request_context::RequestContext;
use crate::settings::MAX_BATCH_BYTES;
use crate::storage::{Append, Appended, Pending};
use net::sync::Reserved;
use protocol::error_code::ErrorCode;
use protocol::records::{self, Refused};

/// The codec zstd in the attributes of a batch.
const ZSTD: u8 = 4;
/// The first version that allows zstd (KIP-110).
const ZSTD_SINCE: i16 = 7;
/// The first version whose topics have ids instead of names (KIP-516).
const BY_ID: i16 = 13;

fn refuse<T>(code: ErrorCode, message: impl Into<String>) -> Result<T, Refused> {
    Err(Refused { code, message: message.into() })
}

/// A partition's number, and whether its records may be stored.
type Checked = (i32, Result<(), Refused>);

/// A request whose records are checked and on their way to the disk.
struct PendingProduce {
    /// The responses of the topics, yet empty, and the checked partitions of each, in the order of the
    /// request.
    checked: Vec<(TopicProduceResponse, Vec<Checked>)>,
    /// The pending write of each partition without a refusal.
    appended: Vec<Pending<Appended>>,
}

/// Checks the records, hands them to the store, and answers once they are durable.
pub fn handle<'n>(call: Call<'n, '_>) -> Result<Handled<'n>, CloseReason> {
    let request: ProduceRequest = call.decode()?;
    let wants_response = request.acks != 0;
    let pending = begin(call.node, call.context, request);
    Ok(call.pending(move |call| {
        let response = pending.wait(call.node, call.context);
        if wants_response {
            return call.respond(&response);
        }
        match first_error(&response) {
            Some(code) => Err(format!("Produce with acks=0 failed: {code}")),
            None => Ok(None),
        }
    }))
}

/// Checks the records and hands them to the store, in the order of these calls.
fn begin(node: &Node, context: &RequestContext<'_>, request: ProduceRequest) -> PendingProduce {
    let request_check = check_request(&request);
    if let Err(refused) = &request_check {
        log::warn!("{}: a Produce request is refused: {}", context.peer, brief(&refused.message));
    }
    let mut appends = Vec::new();
    let mut checked = Vec::with_capacity(request.topic_data.len());
    for topic in request.topic_data {
        let name = request_check.clone().and_then(|()| topic_name(node, context, &topic));
        let mut begin = |data: PartitionProduceData| {
            let partition = data.index;
            let begun = name.clone().and_then(|topic| {
                let batch = check(node, context, &topic, data)?;
                appends.push(Append { topic, partition, batch });
                Ok(())
            });
            (partition, begun)
        };
        let partitions: Vec<_> = topic.partition_data.into_iter().map(&mut begin).collect();
        let response = TopicProduceResponse::default().with_name(topic.name).with_topic_id(topic.topic_id);
        checked.push((response, partitions));
    }
    let appended = if appends.is_empty() { Vec::new() } else { node.store.append(appends) };
    PendingProduce { checked, appended }
}

impl PendingProduce {
    /// Waits for the disk; each partition's records are durable if its response has no error.
    fn wait(self, node: &Node, context: &RequestContext<'_>) -> ProduceResponse {
        let mut appended = self.appended.into_iter();
        let responses = self.checked.into_iter().map(|(response, partitions)| {
            let partitions = partitions.into_iter().map(|(index, begun)| {
                let stored = begun.and_then(|()| match appended.next().map(Pending::wait) {
                    Some(stored) => stored.or_else(|code| refused_by_store(node, code)),
                    None => refuse(ErrorCode::UNKNOWN_SERVER_ERROR, "the store gave no answer"),
                });
                partition_response(context, index, stored)
            });
            response.with_partition_responses(partitions.collect())
        });
        ProduceResponse::default().with_responses(responses.collect())
    }
}

/// The first error of a response. The response to `acks=0` is not sent: its client learns of an error by the
/// closed connection.
fn first_error(response: &ProduceResponse) -> Option<ErrorCode> {
    let partitions = response.responses.iter().flat_map(|topic| &topic.partition_responses);
    partitions.map(|partition| ErrorCode(partition.error_code)).find(|code| !code.is_ok())
}

/// Checks the fields of the whole request.
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

/// The name of a topic, which may be asked for by its id.
fn topic_name(
    node: &Node,
    context: &RequestContext<'_>,
    topic: &TopicProduceData,
) -> Result<Arc<str>, Refused> {
    if context.version < BY_ID {
        return Ok(topic.name.as_str().into());
    }
    match node.store.topic_by_id(topic.topic_id.as_u128()) {
        Some(topic) => Ok(topic.name),
        None => refuse(ErrorCode::UNKNOWN_TOPIC_ID, "there is no topic with this id"),
    }
}

/// The batch to be stored.
fn check(
    node: &Node,
    context: &RequestContext<'_>,
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
    if codec == ZSTD && context.version < ZSTD_SINCE {
        let message = format!("zstd needs Produce {ZSTD_SINCE} or later, this is {}", context.version);
        return refuse(ErrorCode::UNSUPPORTED_COMPRESSION_TYPE, message);
    }
    let _room = match codec {
        0 => None,
        _ => Some(reserve_decompression(node, context)?),
    };
    records::validate(&batch).map(|valid| valid.bytes)
}

/// The codec in the attributes of a batch; 0 where it has none, or no attributes.
fn codec(batch: &Bytes) -> u8 {
    batch.get(22).map_or(0, |attributes| attributes & 0x07)
}

fn reserve_decompression<'n>(node: &'n Node, context: &RequestContext<'_>) -> Result<Reserved<'n>, Refused> {
    node.reserve_decompression(context).ok_or_else(|| Refused {
        code: ErrorCode::LEADER_NOT_AVAILABLE,
        message: "no room to unpack the record batch in time".to_owned(),
    })
}

fn refused_by_store(node: &Node, code: ErrorCode) -> Result<Appended, Refused> {
    let message = match code {
        ErrorCode::KAFKA_STORAGE_ERROR => return refused_by_failure(node),
        ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER => {
            "the batch does not follow the producer's last one; an earlier batch is missing".to_owned()
        }
        other => other.name().to_owned(),
    };
    refuse(code, message)
}

/// After a failure that certainly left nothing of the batch, clients are told a code that says so and makes
/// them try again; KAFKA_STORAGE_ERROR would leave them in doubt.
fn refused_by_failure(node: &Node) -> Result<Appended, Refused> {
    match node.store.failure() {
        Some(failure) if !failure.in_doubt => refuse(
            ErrorCode::NOT_ENOUGH_REPLICAS,
            format!("nothing was stored, the store of the embedded broker has failed: {}", failure.reason),
        ),
        Some(failure) => {
            let message = format!("the store of the embedded broker has failed: {}", failure.reason);
            refuse(ErrorCode::KAFKA_STORAGE_ERROR, message)
        }
        None => refuse(ErrorCode::KAFKA_STORAGE_ERROR, "the store of the embedded broker is closed"),
    }
}

fn partition_response(
    context: &RequestContext<'_>,
    index: i32,
    stored: Result<Appended, Refused>,
) -> PartitionProduceResponse {
    let response = PartitionProduceResponse::default().with_index(index).with_log_append_time_ms(-1);
    match stored {
        Ok(appended) => response
            .with_base_offset(appended.base_offset)
            .with_log_start_offset(appended.log_start_offset)
            .with_error_message(None),
        Err(refused) => {
            log::debug!(
                "{}: records of a Produce request are refused: {}",
                context.peer,
                brief(&refused.message)
            );
            let message = (context.version >= 8).then(|| message(&refused.message));
            response.with_error_code(refused.code.0).with_base_offset(-1).with_error_message(message)
        }
    }
}
