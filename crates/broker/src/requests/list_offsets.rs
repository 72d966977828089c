//! ListOffsets: the log start offset, the log end offset, and offsets by timestamp.

use kafka_protocol::messages::list_offsets_request::ListOffsetsPartition;
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::{ListOffsetsRequest, ListOffsetsResponse};

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

/// Looks up one offset for each partition.
pub fn handle(node: &Node, context: &RequestContext<'_>, request: ListOffsetsRequest) -> ListOffsetsResponse {
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| {
            let answered =
                ListOffsetsPartitionResponse::default().with_partition_index(partition.partition_index);
            match look_up(node, context, &topic.name, partition) {
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
            }
        });
        let partitions = partitions.collect();
        ListOffsetsTopicResponse::default().with_name(topic.name).with_partitions(partitions)
    });
    ListOffsetsResponse::default().with_topics(topics.collect())
}

/// The offset and the timestamp of its record; -1 for none.
fn look_up(
    node: &Node,
    context: &RequestContext<'_>,
    topic: &str,
    asked: &ListOffsetsPartition,
) -> Result<(i64, i64), ErrorCode> {
    let partition = asked.partition_index;
    // So whoever asks hears of a failure, also where no notice of it can be written. A damaged store goes on
    // serving what can be read.
    if node.store.has_failed() && node.store.failure().is_some_and(|failure| !failure.damaged) {
        return Err(ErrorCode::KAFKA_STORAGE_ERROR);
    }
    let bounds = node.store.bounds(topic, partition).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
    check_leader_epoch(asked.current_leader_epoch)?;
    match asked.timestamp {
        LATEST => return Ok((bounds.log_end_offset, -1)),
        EARLIEST => return Ok((bounds.log_start_offset, -1)),
        MAX_TIMESTAMP | 0.. => {}
        _ => return Err(ErrorCode::UNSUPPORTED_VERSION),
    }
    let _room = node.reserve_decompression(context).ok_or(ErrorCode::LEADER_NOT_AVAILABLE)?;
    let found = match asked.timestamp {
        MAX_TIMESTAMP => node.store.offset_of_max_timestamp(topic, partition),
        timestamp => node.store.offset_for_timestamp(topic, partition, timestamp),
    };
    Ok(found?.unwrap_or((-1, -1)))
}
