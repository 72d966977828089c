//! ElectLeaders (KIP-183, KIP-460): the one node leads every partition, so no election is ever needed.

use kafka_protocol::messages::elect_leaders_request::TopicPartitions;
use kafka_protocol::messages::elect_leaders_response::{PartitionResult, ReplicaElectionResult};
use kafka_protocol::messages::{ElectLeadersRequest, ElectLeadersResponse, TopicName};

use super::{message, once, text};
use crate::node::Node;
use crate::request_context::RequestContext;
use protocol::error_code::ErrorCode;

/// The election types: the preferred replica, and any replica (unclean).
const ELECTION_TYPES: std::ops::RangeInclusive<i8> = 0..=1;

/// Answers each partition with ELECTION_NOT_NEEDED. A null list means all topics; those are listed without
/// partitions, as no partition had an election.
pub fn handle(
    node: &Node,
    context: &RequestContext<'_>,
    request: ElectLeadersRequest,
) -> ElectLeadersResponse {
    let election_type = request.election_type;
    let known_type = ELECTION_TYPES.contains(&election_type);
    let results = match request.topic_partitions {
        Some(topics) => topics.into_iter().map(|topic| elected(node, topic, election_type)).collect(),
        None if known_type => node.store.topics().iter().map(|topic| not_elected(&topic.name)).collect(),
        None => Vec::new(),
    };
    let response = ElectLeadersResponse::default().with_replica_election_results(results);
    // Version 0 has neither an election type nor an error of the whole request.
    let code = if known_type { ErrorCode::NONE } else { ErrorCode::INVALID_REQUEST };
    if context.version >= 1 { response.with_error_code(code.0) } else { response }
}

fn elected(node: &Node, topic: TopicPartitions, election_type: i8) -> ReplicaElectionResult {
    let partitions = node.store.topic(&topic.topic).map(|known| known.partitions);
    let results = once(topic.partitions, |partition| *partition).into_iter().map(|index| {
        let (code, why) = match partitions {
            _ if !ELECTION_TYPES.contains(&election_type) => {
                (ErrorCode::INVALID_REQUEST, format!("Unknown election type {election_type}"))
            }
            None => (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, format!("there is no topic {}", &*topic.topic)),
            Some(partitions) if !(0..partitions).contains(&index) => (
                ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
                format!("there is no partition {index} of topic {}", &*topic.topic),
            ),
            Some(_) => (ErrorCode::ELECTION_NOT_NEEDED, "the one node leads every partition".to_owned()),
        };
        PartitionResult::default()
            .with_partition_id(index)
            .with_error_code(code.0)
            .with_error_message(Some(message(&why)))
    });
    let results = results.collect();
    ReplicaElectionResult::default().with_topic(topic.topic).with_partition_result(results)
}

fn not_elected(name: &str) -> ReplicaElectionResult {
    ReplicaElectionResult::default().with_topic(TopicName(text(name)))
}
