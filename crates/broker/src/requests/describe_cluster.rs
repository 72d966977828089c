//! DescribeCluster (KIP-700): the cluster id and the one node.

use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::messages::{BrokerId, DescribeClusterRequest, DescribeClusterResponse};

use super::{NO_OPERATIONS, text};
use crate::node::{NODE_ID, Node};
use crate::request_context::RequestContext;
use protocol::error_code::ErrorCode;

/// The endpoint type of brokers (KIP-919); the other one is that of controllers.
const BROKERS: i8 = 1;

/// Describes the cluster as a client sees it.
pub fn handle(
    node: &Node,
    context: &RequestContext<'_>,
    request: DescribeClusterRequest,
) -> DescribeClusterResponse {
    let response = DescribeClusterResponse::default()
        .with_error_message(None)
        .with_cluster_authorized_operations(NO_OPERATIONS);
    if context.version >= 1 && request.endpoint_type != BROKERS {
        let message = "the embedded broker answers as a broker only (endpoint type 1)";
        return response
            .with_error_code(ErrorCode::MISMATCHED_ENDPOINT_TYPE.0)
            .with_error_message(Some(text(message)));
    }
    let broker = DescribeClusterBroker::default()
        .with_broker_id(BrokerId(NODE_ID))
        .with_host(text(context.advertised.0))
        .with_port(i32::from(context.advertised.1));
    response
        .with_cluster_id(text(&node.store.cluster_id()))
        .with_controller_id(BrokerId(NODE_ID))
        .with_brokers(vec![broker])
}
