//! DescribeTopicPartitions (KIP-966): topics and their partitions, by name, in answers of limited size that a
//! cursor goes on from.

use std::collections::BTreeSet;

use kafka_protocol::messages::describe_topic_partitions_request::Cursor;
use kafka_protocol::messages::describe_topic_partitions_response::{
    Cursor as NextCursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use kafka_protocol::messages::{
    BrokerId, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, TopicName,
};
use kafka_protocol::protocol::StrBytes;

use super::{NO_OPERATIONS, text};
use crate::node::{LEADER_EPOCH, NODE_ID, Node};
use crate::request_context::RequestContext;
use crate::storage::Topic;
use protocol::error_code::ErrorCode;
use protocol::topic_name;

/// The most partitions of one answer, Kafka's default of `max.request.partition.size.limit`.
const MOST_PARTITIONS: i32 = 2_000;

/// Describes the topics that are asked for, or all, from the cursor on.
pub fn handle(
    node: &Node,
    _context: &RequestContext<'_>,
    request: DescribeTopicPartitionsRequest,
) -> DescribeTopicPartitionsResponse {
    let everything = request.topics.is_empty();
    let asked: Vec<StrBytes> = match everything {
        true => node.store.topics().iter().map(|topic| text(&topic.name)).collect(),
        false => request.topics.into_iter().map(|topic| topic.name.0).collect(),
    };
    let cursor = request.cursor.as_ref();
    let first = cursor.map(|cursor| cursor.topic_name.as_str()).unwrap_or_default();
    let from_cursor: BTreeSet<&str> =
        asked.iter().map(StrBytes::as_str).filter(|name| *name >= first).collect();
    let goes_on = |cursor: &Cursor| {
        cursor.partition_index >= 0 && (everything || from_cursor.contains(cursor.topic_name.as_str()))
    };
    if !cursor.is_none_or(goes_on) {
        let refused = asked.iter().map(|name| failed(name, ErrorCode::INVALID_REQUEST));
        return DescribeTopicPartitionsResponse::default().with_topics(refused.collect());
    }
    described(node, &from_cursor, cursor, request.response_partition_limit.clamp(1, MOST_PARTITIONS))
}

/// Fills an answer with `limit` partitions; a cursor points to what is left.
fn described(
    node: &Node,
    names: &BTreeSet<&str>,
    cursor: Option<&Cursor>,
    limit: i32,
) -> DescribeTopicPartitionsResponse {
    let mut left = limit;
    let mut topics = Vec::new();
    let cursor_at = |name: &str, index| {
        let cursor = NextCursor::default().with_topic_name(TopicName(text(name))).with_partition_index(index);
        Some(cursor)
    };
    for name in names {
        if left == 0 {
            return DescribeTopicPartitionsResponse::default()
                .with_topics(topics)
                .with_next_cursor(cursor_at(name, 0));
        }
        let Some(topic) = node.store.topic(name) else {
            let legal = topic_name::check(name).is_ok();
            let unknown = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
            topics.push(failed(name, if legal { unknown } else { ErrorCode::INVALID_TOPIC_EXCEPTION }));
            continue;
        };
        let begin = cursor.filter(|cursor| cursor.topic_name.as_str() == *name);
        let begin = begin.map_or(0, |cursor| cursor.partition_index).min(topic.partitions);
        let end = begin.saturating_add(left).min(topic.partitions);
        topics.push(partitions(&topic, begin..end));
        left = left.saturating_sub(end.saturating_sub(begin));
        if end < topic.partitions {
            return DescribeTopicPartitionsResponse::default()
                .with_topics(topics)
                .with_next_cursor(cursor_at(name, end));
        }
    }
    DescribeTopicPartitionsResponse::default().with_topics(topics).with_next_cursor(None)
}

fn partitions(topic: &Topic, range: std::ops::Range<i32>) -> DescribeTopicPartitionsResponseTopic {
    let partition = |index| {
        DescribeTopicPartitionsResponsePartition::default()
            .with_partition_index(index)
            .with_leader_id(BrokerId(NODE_ID))
            .with_leader_epoch(LEADER_EPOCH)
            .with_replica_nodes(vec![BrokerId(NODE_ID)])
            .with_isr_nodes(vec![BrokerId(NODE_ID)])
            .with_eligible_leader_replicas(Some(Vec::new()))
            .with_last_known_elr(Some(Vec::new()))
    };
    DescribeTopicPartitionsResponseTopic::default()
        .with_name(Some(TopicName(text(&topic.name))))
        .with_topic_id(topic.id.to_be_bytes().to_vec().try_into().unwrap_or_default())
        .with_topic_authorized_operations(NO_OPERATIONS)
        .with_partitions(range.map(partition).collect())
}

fn failed(name: &str, code: ErrorCode) -> DescribeTopicPartitionsResponseTopic {
    DescribeTopicPartitionsResponseTopic::default()
        .with_error_code(code.0)
        .with_name(Some(TopicName(text(name))))
        .with_topic_authorized_operations(NO_OPERATIONS)
}
