//! FindCoordinator: the coordinator of every group is the one node there is.

use kafka_protocol::messages::{BrokerId, FindCoordinatorRequest, FindCoordinatorResponse};

use super::text;
use crate::broker::caller::Caller;
use crate::broker::groups::Groups;
use crate::broker::node::NODE_ID;
use crate::protocol::error_code::ErrorCode;

/// The kind of key that is a group's id.
const GROUP: i8 = 0;
/// The kind of key that is a transactional id.
const TRANSACTION: i8 = 1;

/// Names the address that the client has connected to.
pub fn answer(
    groups: &Groups,
    caller: &Caller<'_>,
    request: FindCoordinatorRequest,
) -> FindCoordinatorResponse {
    // Before version 1 every key is a group's id.
    if caller.version >= 1 && request.key_type != GROUP {
        return refuse_kind(caller, request.key_type);
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

fn refuse_kind(caller: &Caller<'_>, key_type: i8) -> FindCoordinatorResponse {
    match key_type {
        // The one code after which both Java's producer and librdkafka's give up at once.
        TRANSACTION => {
            log::warn!(
                "{}: a transactional producer: refused, the embedded broker has no transactions",
                caller.peer
            );
            let message = "the embedded broker has no transactions: use a Kafka cluster for them";
            refusal(caller, ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED, message)
        }
        _ => {
            let message = "the embedded broker coordinates consumer groups only (key type 0)";
            refusal(caller, ErrorCode::INVALID_REQUEST, message)
        }
    }
}

fn refusal(caller: &Caller<'_>, code: ErrorCode, message: &str) -> FindCoordinatorResponse {
    FindCoordinatorResponse::default()
        .with_error_code(code.0)
        .with_error_message((caller.version >= 1).then(|| text(message)))
        .with_node_id(BrokerId(-1))
        .with_port(-1)
}
