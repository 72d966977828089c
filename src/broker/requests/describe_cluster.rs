//! DescribeCluster (KIP-700): the one node.

use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::messages::{BrokerId, DescribeClusterRequest, DescribeClusterResponse};

use super::{NO_OPERATIONS, text};
use crate::broker::caller::Caller;
use crate::broker::node::{NODE_ID, Node};
use crate::protocol::error_code::ErrorCode;

/// The endpoint type of brokers (KIP-919); the other one is that of controllers.
const BROKERS: i8 = 1;

/// Describes the cluster as a client sees it.
pub fn answer(node: &Node, caller: &Caller<'_>, request: DescribeClusterRequest) -> DescribeClusterResponse {
    let response = DescribeClusterResponse::default()
        .with_error_message(None)
        .with_cluster_authorized_operations(NO_OPERATIONS);
    if caller.version >= 1 && request.endpoint_type != BROKERS {
        let message = "the embedded broker answers as a broker only (endpoint type 1)";
        return response
            .with_error_code(ErrorCode::MISMATCHED_ENDPOINT_TYPE.0)
            .with_error_message(Some(text(message)));
    }
    let broker = DescribeClusterBroker::default()
        .with_broker_id(BrokerId(NODE_ID))
        .with_host(text(&caller.local.ip().to_string()))
        .with_port(i32::from(caller.local.port()));
    response
        .with_cluster_id(text(&node.store.cluster_id()))
        .with_controller_id(BrokerId(NODE_ID))
        .with_brokers(vec![broker])
}
