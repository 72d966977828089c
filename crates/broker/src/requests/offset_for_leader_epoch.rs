//! OffsetForLeaderEpoch (KIP-101, KIP-320): the end of a leader epoch, by which a client finds out whether
//! the log was truncated. There is one epoch, and nothing is ever truncated.

use kafka_protocol::messages::offset_for_leader_epoch_request::OffsetForLeaderPartition;
use kafka_protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderTopicResult,
};
use kafka_protocol::messages::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};

use super::check_leader_epoch;
use crate::node::{LEADER_EPOCH, Node};
use crate::request_context::RequestContext;
use protocol::error_code::ErrorCode;

/// Answers each partition with the log end offset for the one epoch that there is, and with -1 for any other.
pub fn handle(
    node: &Node,
    _context: &RequestContext<'_>,
    request: OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|asked| {
            let answered = EpochEndOffset::default().with_partition(asked.partition);
            match end_of_epoch(node, &topic.topic, asked) {
                Ok(Some(end)) => answered.with_leader_epoch(LEADER_EPOCH).with_end_offset(end),
                Ok(None) => answered,
                Err(code) => answered.with_error_code(code.0),
            }
        });
        let partitions = partitions.collect();
        OffsetForLeaderTopicResult::default().with_topic(topic.topic).with_partitions(partitions)
    });
    OffsetForLeaderEpochResponse::default().with_topics(topics.collect())
}

/// The offset after the last record of the epoch; `None` for an epoch that has never been.
fn end_of_epoch(
    node: &Node,
    topic: &str,
    asked: &OffsetForLeaderPartition,
) -> Result<Option<i64>, ErrorCode> {
    let bounds = node.store.bounds(topic, asked.partition).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
    check_leader_epoch(asked.current_leader_epoch)?;
    Ok((asked.leader_epoch == LEADER_EPOCH).then_some(bounds.log_end_offset))
}
