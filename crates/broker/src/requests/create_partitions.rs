//! CreatePartitions (KIP-195): adds partitions to topics.

use std::collections::HashMap;

use kafka_protocol::messages::create_partitions_request::{
    CreatePartitionsAssignment, CreatePartitionsTopic,
};
use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::{BrokerId, CreatePartitionsRequest, CreatePartitionsResponse, TopicName};

use super::{Refusal, message, once, refused_by_store};
use crate::node::{NODE_ID, Node};
use crate::request_context::RequestContext;
use crate::storage::{Pending, Topic};
use protocol::error_code::ErrorCode;

/// Adds partitions, or only validates the request. New partitions of a topic without an error are durable.
pub fn handle(
    node: &Node,
    context: &RequestContext<'_>,
    request: CreatePartitionsRequest,
) -> CreatePartitionsResponse {
    let mut named: HashMap<TopicName, usize> = HashMap::new();
    for topic in &request.topics {
        *named.entry(topic.name.clone()).or_default() += 1;
    }
    let topics = once(request.topics, |topic| topic.name.clone());
    let begun: Vec<Result<Option<Pending<Topic>>, Refusal>> = topics
        .iter()
        .map(|topic| match named.get(&topic.name) {
            Some(1) => begin(node, topic, request.validate_only),
            _ => Err((ErrorCode::INVALID_REQUEST, "the request names this topic more than once".to_owned())),
        })
        .collect();
    let results = topics.iter().zip(begun).map(|(topic, begun)| {
        let created = begun.and_then(|pending| {
            let Some(pending) = pending else { return Ok(()) };
            let grown = pending.wait().map_err(|code| refused_by_store(&topic.name, code))?;
            log::info!("topic {} has {} partitions, as {} asks", grown.name, grown.partitions, context.peer);
            Ok(())
        });
        let (code, why) = created.err().map_or((0, None), |(code, why)| (code.0, Some(message(&why))));
        CreatePartitionsTopicResult::default()
            .with_name(topic.name.clone())
            .with_error_code(code)
            .with_error_message(why)
    });
    CreatePartitionsResponse::default().with_results(results.collect())
}

/// Checks in Kafka's order; `None` where nothing is to be created.
fn begin(
    node: &Node,
    asked: &CreatePartitionsTopic,
    validate_only: bool,
) -> Result<Option<Pending<Topic>>, Refusal> {
    let name = asked.name.as_str();
    let topic = node.store.topic(name);
    let topic =
        topic.ok_or_else(|| (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, format!("there is no topic {name}")))?;
    let has = topic.partitions;
    if asked.count <= has {
        let why = format!("topic {name} has {has} partitions, {} is no increase", asked.count);
        return Err((ErrorCode::INVALID_PARTITIONS, why));
    }
    check_assignments(asked.assignments.as_deref(), asked.count.saturating_sub(has))?;
    if validate_only {
        return Ok(None);
    }
    Ok(Some(node.store.create_partitions(name, asked.count)))
}

/// Assignments are those of the new partitions alone, and there is one node.
fn check_assignments(assignments: Option<&[CreatePartitionsAssignment]>, new: i32) -> Result<(), Refusal> {
    let Some(assignments) = assignments else { return Ok(()) };
    let why = if i32::try_from(assignments.len()) != Ok(new) {
        format!("{} assignments for {new} new partitions", assignments.len())
    } else if assignments.iter().any(|assigned| assigned.broker_ids != [BrokerId(NODE_ID)]) {
        format!("assignments must give each new partition to node {NODE_ID} alone")
    } else {
        return Ok(());
    };
    Err((ErrorCode::INVALID_REPLICA_ASSIGNMENT, why))
}
