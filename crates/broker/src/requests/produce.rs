//! Produce: checks and stores one record batch for each partition, and answers when all are durable.

use std::sync::Arc;

use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, PartitionProduceResponse, TopicProduceResponse,
};
use kafka_protocol::messages::{ProduceRequest, ProduceResponse};

use super::call::{Call, CloseReason, Handled};
use super::produce_batch::{Refused, check, refuse, refuse_without_doubt};
use super::{brief, check_not_internal, message};
use crate::node::Node;
use crate::request_context::RequestContext;
use crate::storage::{Appended, Pending};
use protocol::error_code::ErrorCode;

/// The first version whose topics have ids instead of names (KIP-516).
const BY_ID: i16 = 13;
/// The largest number of refused records that a response names.
const NAMED_RECORDS: usize = 1000;

/// A partition's number, and the append time of its records (or -1), if they may be stored.
type Begun = (i32, Result<i64, Refused>);

/// A request whose records are checked and on their way to the disk.
struct PendingProduce {
    /// The responses of the topics, yet empty, and the checked partitions of each, in the order of the
    /// request.
    checked: Vec<(TopicProduceResponse, Vec<Begun>)>,
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
    let (mut appends, mut named_records) = (Vec::new(), NAMED_RECORDS);
    let mut checked = Vec::with_capacity(request.topic_data.len());
    for topic in request.topic_data {
        let name = request_check.clone().and_then(|()| topic_name(node, context, &topic));
        let mut begin = |data: PartitionProduceData| {
            let partition = data.index;
            let checked = name.clone().and_then(|topic| check(node, context, &topic, data));
            let begun = match checked {
                Ok(checked) => {
                    appends.push(checked.append);
                    Ok(checked.log_append_time)
                }
                Err(mut refused) => {
                    refused.records.truncate(named_records);
                    named_records -= refused.records.len();
                    Err(refused)
                }
            };
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
                let stored = begun.and_then(|time| match appended.next().map(Pending::wait) {
                    Some(Ok(stored)) => Ok((stored, time)),
                    Some(Err(code)) => refused_by_store(node, code),
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

/// The name of a topic, which may be asked for by its id, if clients may write to it.
fn topic_name(
    node: &Node,
    context: &RequestContext<'_>,
    topic: &TopicProduceData,
) -> Result<Arc<str>, Refused> {
    let name: Arc<str> = if context.version < BY_ID {
        topic.name.as_str().into()
    } else {
        match node.store.topic_by_id(topic.topic_id.as_u128()) {
            Some(topic) => topic.name,
            None => return refuse(ErrorCode::UNKNOWN_TOPIC_ID, "there is no topic with this id"),
        }
    };
    match check_not_internal(&name) {
        Ok(()) => Ok(name),
        Err((code, why)) => refuse(code, why),
    }
}

fn refused_by_store<T>(node: &Node, code: ErrorCode) -> Result<T, Refused> {
    let message = match code {
        ErrorCode::KAFKA_STORAGE_ERROR => return refused_by_failure(node),
        ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER => {
            "the batch does not follow the producer's last one; an earlier batch is missing".to_owned()
        }
        other => other.name().to_owned(),
    };
    refuse(code, message)
}

fn refused_by_failure<T>(node: &Node) -> Result<T, Refused> {
    match node.store.failure() {
        Some(failure) if !failure.in_doubt => refuse_without_doubt(format!(
            "nothing was stored, the store of the embedded broker has failed: {}",
            failure.reason
        )),
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
    stored: Result<(Appended, i64), Refused>,
) -> PartitionProduceResponse {
    let response = PartitionProduceResponse::default().with_index(index).with_log_append_time_ms(-1);
    match stored {
        Ok((appended, log_append_time)) => response
            .with_log_append_time_ms(log_append_time)
            .with_base_offset(appended.base_offset)
            .with_log_start_offset(appended.log_start_offset)
            .with_error_message(None),
        Err(refused) => {
            log::debug!(
                "{}: records of a Produce request are refused: {}",
                context.peer,
                brief(&refused.message)
            );
            let response = response.with_error_code(refused.code.0).with_base_offset(-1);
            if context.version < 8 {
                return response.with_error_message(None);
            }
            let records = refused.records.into_iter().map(|(index, why)| {
                BatchIndexAndErrorMessage::default()
                    .with_batch_index(index)
                    .with_batch_index_error_message(Some(message(&why)))
            });
            response.with_error_message(Some(message(&refused.message))).with_record_errors(records.collect())
        }
    }
}
