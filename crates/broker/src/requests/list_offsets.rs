//! ListOffsets: the log start offset, the log end offset, and offsets by timestamp.

use std::collections::HashMap;

use kafka_protocol::messages::list_offsets_request::ListOffsetsPartition;
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::{ListOffsetsRequest, ListOffsetsResponse, TopicName};

use super::check_leader_epoch;
use crate::node::{LEADER_EPOCH, Node};
use crate::request_context::RequestContext;
use protocol::error_code::ErrorCode;

/// Asks for the end of the log.
const LATEST: i64 = -1;
/// Asks for its start.
const EARLIEST: i64 = -2;
/// Asks for the record with the largest timestamp (KIP-734).
const MAX_TIMESTAMP: i64 = -3;
/// Asks for the start of what is on the broker's disk (KIP-405): all of the log.
const EARLIEST_LOCAL: i64 = -4;
/// Asks for the end of what is in tiered storage (KIP-1005): there is none.
const LATEST_TIERED: i64 = -5;

/// Looks up one offset for each partition. A partition that is asked for twice gets INVALID_REQUEST, once, as
/// in Kafka.
pub fn handle(node: &Node, context: &RequestContext<'_>, request: ListOffsetsRequest) -> ListOffsetsResponse {
    let mut times: HashMap<(TopicName, i32), usize> = HashMap::new();
    for topic in &request.topics {
        for partition in &topic.partitions {
            *times.entry((topic.name.clone(), partition.partition_index)).or_default() += 1;
        }
    }
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().filter_map(|partition| {
            let answered =
                ListOffsetsPartitionResponse::default().with_partition_index(partition.partition_index);
            // Removed, so that the second one has no answer.
            let found = match times.remove(&(topic.name.clone(), partition.partition_index))? {
                1 => look_up(node, context, &topic.name, partition),
                _ => Err(ErrorCode::INVALID_REQUEST),
            };
            Some(match found {
                Ok((offset, timestamp)) => {
                    // The encoder refuses an epoch in versions that have none.
                    let known = offset >= 0 && context.version >= 4;
                    answered.with_offset(offset).with_timestamp(timestamp).with_leader_epoch(if known {
                        LEADER_EPOCH
                    } else {
                        -1
                    })
                }
                Err(code) => answered.with_error_code(code.0),
            })
        });
        let partitions = partitions.collect();
        ListOffsetsTopicResponse::default().with_name(topic.name).with_partitions(partitions)
    });
    ListOffsetsResponse::default().with_topics(topics.collect())
}

/// Checks that a timestamp is one, or a special value of this version.
fn check_timestamp(timestamp: i64, version: i16) -> Result<(), ErrorCode> {
    let first_version = match timestamp {
        LATEST | EARLIEST | 0.. => 0,
        MAX_TIMESTAMP => 7,
        EARLIEST_LOCAL => 8,
        LATEST_TIERED => 9,
        _ => return Err(ErrorCode::UNSUPPORTED_VERSION),
    };
    if version >= first_version { Ok(()) } else { Err(ErrorCode::UNSUPPORTED_VERSION) }
}

/// The offset and the timestamp of its record; -1 for none.
fn look_up(
    node: &Node,
    context: &RequestContext<'_>,
    topic: &str,
    asked: &ListOffsetsPartition,
) -> Result<(i64, i64), ErrorCode> {
    let partition = asked.partition_index;
    check_timestamp(asked.timestamp, context.version)?;
    // So whoever asks hears of a failure, also where no notice of it can be written. A damaged store goes on
    // serving what can be read.
    if node.store.has_failed() && node.store.failure().is_some_and(|failure| !failure.damaged) {
        return Err(ErrorCode::KAFKA_STORAGE_ERROR);
    }
    let bounds = node.store.bounds(topic, partition).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
    check_leader_epoch(asked.current_leader_epoch)?;
    match asked.timestamp {
        LATEST => return Ok((bounds.log_end_offset, -1)),
        EARLIEST | EARLIEST_LOCAL => return Ok((bounds.log_start_offset, -1)),
        LATEST_TIERED => return Ok((-1, -1)),
        _ => {}
    }
    let _room = node.reserve_decompression(context).ok_or(ErrorCode::LEADER_NOT_AVAILABLE)?;
    let found = match asked.timestamp {
        MAX_TIMESTAMP => node.store.offset_of_max_timestamp(topic, partition),
        timestamp => node.store.offset_for_timestamp(topic, partition, timestamp),
    };
    Ok(found?.unwrap_or((-1, -1)))
}
