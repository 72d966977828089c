//! FindCoordinator: the coordinator of every group is the one node there is.

use kafka_protocol::messages::{BrokerId, FindCoordinatorRequest, FindCoordinatorResponse};

use super::text;
use crate::broker::caller::Caller;
use crate::broker::groups::Groups;
use crate::protocol::error_code::ErrorCode;

/// The kind of key that is a group's id.
const GROUP: i8 = 0;
/// The kind of key that is a transactional id.
const TRANSACTION: i8 = 1;
/// The id of the one node.
const NODE_ID: i32 = 1;

/// Names the address that the client has connected to.
pub fn answer(
    groups: &Groups,
    caller: &Caller<'_>,
    request: FindCoordinatorRequest,
) -> FindCoordinatorResponse {
    // Before version 1 every key is a group's id.
    if caller.version >= 1 && request.key_type != GROUP {
        // Of the codes that a producer takes as final, one whose message Java's shows.
        return refusal(caller, ErrorCode::INVALID_REQUEST, reason(request.key_type));
    }
    if groups.check_serving().is_err() {
        return refusal(caller, ErrorCode::COORDINATOR_NOT_AVAILABLE, "the broker stops");
    }
    FindCoordinatorResponse::default()
        .with_error_message(None)
        .with_node_id(BrokerId(NODE_ID))
        .with_host(text(&caller.local.ip().to_string()))
        .with_port(i32::from(caller.local.port()))
}

fn reason(key_type: i8) -> &'static str {
    match key_type {
        TRANSACTION => "the embedded broker has no transactions: use a Kafka cluster for them",
        _ => "the embedded broker coordinates consumer groups only (key type 0)",
    }
}

fn refusal(caller: &Caller<'_>, code: ErrorCode, message: &str) -> FindCoordinatorResponse {
    FindCoordinatorResponse::default()
        .with_error_code(code.0)
        .with_error_message((caller.version >= 1).then(|| text(message)))
        .with_node_id(BrokerId(-1))
        .with_port(-1)
}
