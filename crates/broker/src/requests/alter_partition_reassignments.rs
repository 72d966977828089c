//! AlterPartitionReassignments (KIP-455): the one node has the only replica of every partition, so the only
//! assignment that is possible is the one that is.

use std::collections::HashSet;

use kafka_protocol::messages::alter_partition_reassignments_request::ReassignablePartition;
use kafka_protocol::messages::alter_partition_reassignments_response::{
    ReassignablePartitionResponse, ReassignableTopicResponse,
};
use kafka_protocol::messages::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse, BrokerId,
};

use super::message;
use crate::node::{NODE_ID, Node};
use crate::request_context::RequestContext;
use protocol::error_code::ErrorCode;

type Refused = (ErrorCode, Option<String>);

/// Answers each partition: success for the assignment that it has, else the reason.
pub fn handle(
    node: &Node,
    context: &RequestContext<'_>,
    request: AlterPartitionReassignmentsRequest,
) -> AlterPartitionReassignmentsResponse {
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|asked| {
            let answered = ReassignablePartitionResponse::default()
                .with_partition_index(asked.partition_index)
                .with_error_message(None);
            match check(node, &topic.name, asked) {
                Ok(()) => answered,
                Err((code, why)) => {
                    answered.with_error_code(code.0).with_error_message(why.map(|why| message(&why)))
                }
            }
        });
        let partitions = partitions.collect();
        ReassignableTopicResponse::default().with_name(topic.name).with_partitions(partitions)
    });
    let response = AlterPartitionReassignmentsResponse::default()
        .with_error_message(None)
        .with_responses(topics.collect());
    // Version 0 has no choice about the replication factor.
    if context.version >= 1 {
        response.with_allow_replication_factor_change(request.allow_replication_factor_change)
    } else {
        response
    }
}

/// Null replicas cancel a reassignment.
fn check(node: &Node, topic: &str, asked: &ReassignablePartition) -> Result<(), Refused> {
    let unknown = |why| (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, Some(why));
    let index = asked.partition_index;
    let known = node.store.topic(topic).ok_or_else(|| unknown(format!("there is no topic {topic}")))?;
    if !(0..known.partitions).contains(&index) {
        return Err(unknown(format!("there is no partition {index} of topic {topic}")));
    }
    match &asked.replicas {
        None => Err((ErrorCode::NO_REASSIGNMENT_IN_PROGRESS, None)),
        Some(replicas) => {
            check_replicas(replicas).map_err(|why| (ErrorCode::INVALID_REPLICA_ASSIGNMENT, Some(why)))
        }
    }
}

fn check_replicas(replicas: &[BrokerId]) -> Result<(), String> {
    if replicas.is_empty() {
        return Err("a partition needs a replica".to_owned());
    }
    if let Some(other) = replicas.iter().find(|replica| replica.0 != NODE_ID) {
        return Err(format!("there is no node {}, only node {NODE_ID}", other.0));
    }
    let mut seen = HashSet::new();
    match replicas.iter().find(|replica| !seen.insert(replica.0)) {
        Some(twice) => Err(format!("node {} is named more than once", twice.0)),
        None => Ok(()),
    }
}
