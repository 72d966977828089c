//! Metadata: the node, topics and partitions; creates missing topics if the request allows it.

use std::collections::BTreeMap;

use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{BrokerId, MetadataRequest, MetadataResponse, TopicName};

use super::{check_new_name, once, text, topic_id};
use crate::node::{LEADER_EPOCH, NODE_ID, Node};
use crate::request_context::RequestContext;
use crate::storage::{Pending, Topic};
use protocol::error_code::ErrorCode;
use protocol::topic_name;

/// The first version that may ask by topic id (KIP-516).
const BY_ID: i16 = 12;

/// Describes the topics that are asked for, each once, or all of them. A topic that is created here is
/// durable, with a leader for every partition, when this returns.
pub fn handle(node: &Node, context: &RequestContext<'_>, request: MetadataRequest) -> MetadataResponse {
    let create =
        node.settings.auto_create_topics && (context.version < 4 || request.allow_auto_topic_creation);
    let topics = match request.topics {
        None => all(node, context),
        Some(topics) if topics.is_empty() && context.version == 0 => all(node, context),
        Some(topics) if !is_valid(context, &topics) => return refused(topics, ErrorCode::INVALID_REQUEST),
        Some(topics) => some(node, context, topics, create),
    };
    let broker = MetadataResponseBroker::default()
        .with_node_id(BrokerId(NODE_ID))
        .with_host(text(context.advertised.0))
        .with_port(i32::from(context.advertised.1));
    MetadataResponse::default()
        .with_brokers(vec![broker])
        .with_cluster_id(Some(text(&node.store.cluster_id())))
        .with_controller_id(BrokerId(NODE_ID))
        .with_topics(topics)
}

/// Whether one of the topics is asked for by its id.
fn is_by_id(topics: &[MetadataRequestTopic]) -> bool {
    topics.iter().any(|topic| !topic.topic_id.is_nil())
}

/// Whether the topics may be asked for so: by ids in the versions that have them, or else by names.
fn is_valid(context: &RequestContext<'_>, topics: &[MetadataRequestTopic]) -> bool {
    let by_id = is_by_id(topics);
    (context.version >= BY_ID && by_id) || (!by_id && topics.iter().all(|topic| topic.name.is_some()))
}

/// The refusal of a whole request. As in Kafka it has no brokers, and the error at each topic, too.
fn refused(topics: Vec<MetadataRequestTopic>, code: ErrorCode) -> MetadataResponse {
    let refused = |topic: MetadataRequestTopic| {
        MetadataResponseTopic::default()
            .with_error_code(code.0)
            // Before version 12 a name must not be null.
            .with_name(Some(topic.name.unwrap_or_default()))
            .with_topic_id(topic.topic_id)
    };
    MetadataResponse::default()
        .with_cluster_id(None)
        .with_topics(topics.into_iter().map(refused).collect())
        .with_error_code(code.0)
}

fn all(node: &Node, context: &RequestContext<'_>) -> Vec<MetadataResponseTopic> {
    node.store.topics().iter().map(|topic| described(context, topic)).collect()
}

/// The lookup of a topic.
enum Found {
    Topic(Topic),
    Creating(Pending<Topic>),
    No(ErrorCode),
}

fn some(
    node: &Node,
    context: &RequestContext<'_>,
    topics: Vec<MetadataRequestTopic>,
    create: bool,
) -> Vec<MetadataResponseTopic> {
    if is_by_id(&topics) {
        // As in Kafka: where one topic is asked for by its id, those without one are left out.
        let asked = once(topics, |topic| topic.topic_id);
        let asked = asked.into_iter().filter(|topic| !topic.topic_id.is_nil());
        return asked.map(|topic| of_id(node, context, &topic)).collect();
    }
    let names = topics.into_iter().filter_map(|topic| topic.name).collect();
    named(node, context, once(names, TopicName::clone), create)
}

fn of_id(node: &Node, context: &RequestContext<'_>, topic: &MetadataRequestTopic) -> MetadataResponseTopic {
    match node.store.topic_by_id(topic.topic_id.as_u128()) {
        Some(topic) => described(context, &topic),
        None => MetadataResponseTopic::default()
            .with_error_code(ErrorCode::UNKNOWN_TOPIC_ID.0)
            .with_name(None)
            .with_topic_id(topic.topic_id),
    }
}

fn named(
    node: &Node,
    context: &RequestContext<'_>,
    names: Vec<TopicName>,
    create: bool,
) -> Vec<MetadataResponseTopic> {
    // All topics are handed to the store before the first is waited for, so that they share a transaction.
    let found: Vec<Found> = names.iter().map(|name| find(node, name, create)).collect();
    let topics = names.into_iter().zip(found).map(|(name, found)| match resolve_topic(node, &name, found) {
        Ok(topic) => described(context, &topic),
        Err(code) => MetadataResponseTopic::default().with_name(Some(name)).with_error_code(code.0),
    });
    topics.collect()
}

fn find(node: &Node, name: &str, create: bool) -> Found {
    if topic_name::check(name).is_err() {
        return Found::No(ErrorCode::INVALID_TOPIC_EXCEPTION);
    }
    match node.store.topic(name) {
        Some(topic) => Found::Topic(topic),
        None if create => {
            if let Err((code, why)) = check_new_name(node, name) {
                log::debug!("a client asks for a topic that is not created: {why}");
                return Found::No(code);
            }
            log::info!(
                "creating topic {name} with {} partitions, as a client asks for it",
                node.settings.partitions
            );
            Found::Creating(node.store.create_topic(name, node.settings.partitions, BTreeMap::new()))
        }
        None => Found::No(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
    }
}

/// The topic that was found, or, once it is stored, created.
fn resolve_topic(node: &Node, name: &str, found: Found) -> Result<Topic, ErrorCode> {
    match found {
        Found::Topic(topic) => Ok(topic),
        Found::No(code) => Err(code),
        Found::Creating(pending) => match pending.wait() {
            // Another client has created it meanwhile.
            Err(ErrorCode::TOPIC_ALREADY_EXISTS) => {
                node.store.topic(name).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)
            }
            created => created,
        },
    }
}

fn described(context: &RequestContext<'_>, topic: &Topic) -> MetadataResponseTopic {
    // The encoder refuses an epoch in versions that have none.
    let leader_epoch = if context.version >= 7 { LEADER_EPOCH } else { -1 };
    let partition = |index| {
        MetadataResponsePartition::default()
            .with_partition_index(index)
            .with_leader_id(BrokerId(NODE_ID))
            .with_leader_epoch(leader_epoch)
            .with_replica_nodes(vec![BrokerId(NODE_ID)])
            .with_isr_nodes(vec![BrokerId(NODE_ID)])
    };
    MetadataResponseTopic::default()
        .with_name(Some(TopicName(text(&topic.name))))
        .with_topic_id(topic_id(topic.id))
        .with_partitions((0..topic.partitions).map(partition).collect())
}
