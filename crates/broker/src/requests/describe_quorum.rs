//! DescribeQuorum (KIP-595, KIP-836, KIP-853): the one node as the only voter. It keeps its metadata in its
//! store and has no log of it, so the offsets are 0.

use std::time::{SystemTime, UNIX_EPOCH};

use kafka_protocol::messages::describe_quorum_request::TopicData as AskedTopic;
use kafka_protocol::messages::describe_quorum_response::{
    Listener, Node as QuorumNode, PartitionData, ReplicaState, TopicData,
};
use kafka_protocol::messages::{BrokerId, DescribeQuorumRequest, DescribeQuorumResponse};

use super::text;
use crate::node::{LEADER_EPOCH, NODE_ID, Node};
use crate::request_context::RequestContext;
use protocol::error_code::ErrorCode;

/// The one partition that has a quorum in Kafka.
const METADATA_TOPIC: &str = "__cluster_metadata";

/// The first version with the times of replicas (KIP-836).
const TIMES: i16 = 1;
/// The first version with nodes and error messages (KIP-853).
const NODES: i16 = 2;

/// Describes the quorum; any other partition, also beside it, gets UNKNOWN_TOPIC_OR_PARTITION, as in Kafka.
pub fn handle(
    _node: &Node,
    context: &RequestContext<'_>,
    request: DescribeQuorumRequest,
) -> DescribeQuorumResponse {
    let response = DescribeQuorumResponse::default();
    if !is_quorum(&request.topics) {
        return response.with_topics(request.topics.into_iter().map(unknown).collect());
    }
    let topic = |asked: AskedTopic| {
        TopicData::default().with_topic_name(asked.topic_name).with_partitions(vec![quorum(context)])
    };
    let response = response.with_topics(request.topics.into_iter().map(topic).collect());
    if context.version < NODES {
        return response;
    }
    let listener = Listener::default()
        .with_name(text("PLAINTEXT"))
        .with_host(text(context.advertised.0))
        .with_port(context.advertised.1);
    let node = QuorumNode::default().with_node_id(BrokerId(NODE_ID)).with_listeners(vec![listener]);
    response.with_nodes(vec![node])
}

fn is_quorum(topics: &[AskedTopic]) -> bool {
    let [topic] = topics else { return false };
    let [partition] = topic.partitions.as_slice() else { return false };
    topic.topic_name.as_str() == METADATA_TOPIC && partition.partition_index == 0
}

fn quorum(context: &RequestContext<'_>) -> PartitionData {
    let voter = ReplicaState::default().with_replica_id(BrokerId(NODE_ID));
    let voter = if context.version >= TIMES {
        let now = now();
        voter.with_last_fetch_timestamp(now).with_last_caught_up_timestamp(now)
    } else {
        voter
    };
    PartitionData::default()
        .with_leader_id(BrokerId(NODE_ID))
        .with_leader_epoch(LEADER_EPOCH)
        .with_current_voters(vec![voter])
}

fn unknown(asked: AskedTopic) -> TopicData {
    let partitions = asked.partitions.iter().map(|partition| {
        PartitionData::default()
            .with_partition_index(partition.partition_index)
            .with_error_code(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.0)
    });
    let partitions = partitions.collect();
    TopicData::default().with_topic_name(asked.topic_name).with_partitions(partitions)
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
