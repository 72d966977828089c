//! Metadata: the node, the topics and their partitions; creates topics where the request allows it.

use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{BrokerId, MetadataRequest, MetadataResponse, TopicName};

use super::{once, text};
use crate::broker::caller::Caller;
use crate::broker::node::{LEADER_EPOCH, NODE_ID, Node};
use crate::broker::storage::{Pending, Topic};
use crate::protocol::error_code::ErrorCode;
use crate::protocol::topic_name;

/// Describes the topics that are asked for, each once, or all of them. A topic that is created here is durable, with a
/// leader for every partition, when this returns.
pub fn answer(node: &Node, caller: &Caller<'_>, request: MetadataRequest) -> MetadataResponse {
    let create =
        node.settings.auto_create_topics && (caller.version < 4 || request.allow_auto_topic_creation);
    let names = request.topics.map(|topics| topics.into_iter().filter_map(|topic| topic.name).collect());
    let topics = match names {
        None => all(node, caller),
        Some(names) if Vec::is_empty(&names) && caller.version == 0 => all(node, caller),
        Some(names) => some(node, caller, once(names, TopicName::clone), create),
    };
    let broker = MetadataResponseBroker::default()
        .with_node_id(BrokerId(NODE_ID))
        .with_host(text(&caller.local.ip().to_string()))
        .with_port(i32::from(caller.local.port()));
    MetadataResponse::default()
        .with_brokers(vec![broker])
        .with_cluster_id(Some(text(&node.store.cluster_id())))
        .with_controller_id(BrokerId(NODE_ID))
        .with_topics(topics)
}

fn all(node: &Node, caller: &Caller<'_>) -> Vec<MetadataResponseTopic> {
    node.store.topics().iter().map(|topic| described(caller, topic)).collect()
}

/// What is known of a topic, or on its way.
enum Found {
    Topic(Topic),
    Creating(Pending<Topic>),
    No(ErrorCode),
}

fn some(node: &Node, caller: &Caller<'_>, names: Vec<TopicName>, create: bool) -> Vec<MetadataResponseTopic> {
    // All topics to be created are on their way before the first is waited for: they share a transaction.
    let found: Vec<Found> = names.iter().map(|name| find(node, name, create)).collect();
    let settled = names.into_iter().zip(found).map(|(name, found)| match settle(node, &name, found) {
        Ok(topic) => described(caller, &topic),
        Err(code) => MetadataResponseTopic::default().with_name(Some(name)).with_error_code(code.0),
    });
    settled.collect()
}

fn find(node: &Node, name: &str, create: bool) -> Found {
    if topic_name::check(name).is_err() {
        return Found::No(ErrorCode::INVALID_TOPIC_EXCEPTION);
    }
    match node.store.topic(name) {
        Some(topic) => Found::Topic(topic),
        None if create => {
            log::info!(
                "creating topic {name} with {} partitions, as a client asks for it",
                node.settings.partitions
            );
            Found::Creating(node.store.create_topic(name, node.settings.partitions))
        }
        None => Found::No(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
    }
}

fn settle(node: &Node, name: &str, found: Found) -> Result<Topic, ErrorCode> {
    match found {
        Found::Topic(topic) => Ok(topic),
        Found::No(code) => Err(code),
        Found::Creating(pending) => match pending.wait() {
            // Somebody else was quicker.
            Err(ErrorCode::TOPIC_ALREADY_EXISTS) => {
                node.store.topic(name).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)
            }
            created => created,
        },
    }
}

fn described(caller: &Caller<'_>, topic: &Topic) -> MetadataResponseTopic {
    // The encoder refuses an epoch in versions that have none.
    let leader_epoch = if caller.version >= 7 { LEADER_EPOCH } else { -1 };
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
        .with_partitions((0..topic.partitions).map(partition).collect())
}
