//! FindCoordinator: this node, which coordinates every group.

use kafka_protocol::messages::{BrokerId, FindCoordinatorRequest, FindCoordinatorResponse};

use super::text;
use crate::groups::GroupCoordinator;
use crate::node::NODE_ID;
use crate::request_context::RequestContext;
use protocol::error_code::ErrorCode;

/// The kind of key that is a group's id.
const GROUP: i8 = 0;
/// The kind of key that is a transactional id.
const TRANSACTION: i8 = 1;

/// Answers with the address at which the client can connect again.
pub fn handle(
    groups: &GroupCoordinator,
    context: &RequestContext<'_>,
    request: FindCoordinatorRequest,
) -> FindCoordinatorResponse {
    // Before version 1 every key is a group's id.
    if context.version >= 1 && request.key_type != GROUP {
        return refuse_kind(context, request.key_type);
    }
    if groups.check_is_coordinator().is_err() {
        return refusal(context, ErrorCode::COORDINATOR_NOT_AVAILABLE, "the broker stops");
    }
    FindCoordinatorResponse::default()
        .with_error_message(None)
        .with_node_id(BrokerId(NODE_ID))
        .with_host(text(context.advertised.0))
        .with_port(i32::from(context.advertised.1))
}

fn refuse_kind(context: &RequestContext<'_>, key_type: i8) -> FindCoordinatorResponse {
    match key_type {
        // After this code both Java's producer and librdkafka's give up at once.
        TRANSACTION => {
            log::warn!(
                "{}: a transactional producer: refused, the embedded broker has no transactions",
                context.peer
            );
            let message = "the embedded broker has no transactions: use a Kafka cluster for them";
            refusal(context, ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED, message)
        }
        _ => {
            let message = "the embedded broker coordinates consumer groups only (key type 0)";
            refusal(context, ErrorCode::INVALID_REQUEST, message)
        }
    }
}

fn refusal(context: &RequestContext<'_>, code: ErrorCode, message: &str) -> FindCoordinatorResponse {
    FindCoordinatorResponse::default()
        .with_error_code(code.0)
        .with_error_message((context.version >= 1).then(|| text(message)))
        .with_node_id(BrokerId(-1))
        .with_port(-1)
}
