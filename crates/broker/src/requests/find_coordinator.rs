//! FindCoordinator: this node, which coordinates every group.

use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::{BrokerId, FindCoordinatorRequest, FindCoordinatorResponse};
use kafka_protocol::protocol::StrBytes;

use super::{once, text};
use crate::groups::GroupCoordinator;
use crate::node::NODE_ID;
use crate::request_context::RequestContext;
use protocol::error_code::ErrorCode;

/// The first version that asks for several keys (KIP-699).
const SEVERAL: i16 = 4;
/// The kind of key that is a group's id.
const GROUP: i8 = 0;
/// The kind of key that is a transactional id.
const TRANSACTION: i8 = 1;

/// Answers with the address at which the client can connect again. All keys of a request are of one kind, and
/// so have one answer.
pub fn handle(
    groups: &GroupCoordinator,
    context: &RequestContext<'_>,
    request: FindCoordinatorRequest,
) -> FindCoordinatorResponse {
    // Before version 1 every key is a group's id.
    let kind = if context.version >= 1 { request.key_type } else { GROUP };
    let refused = check(groups, context, kind).err();
    let (node, host, port) = match refused {
        None => (BrokerId(NODE_ID), text(context.advertised.0), i32::from(context.advertised.1)),
        Some(_) => (BrokerId(-1), StrBytes::default(), -1),
    };
    let code = refused.map_or(0, |(code, _)| code.0);
    let why = refused.map(|(_, why)| text(why));
    if context.version < SEVERAL {
        return FindCoordinatorResponse::default()
            .with_error_code(code)
            .with_error_message(why.filter(|_| context.version >= 1))
            .with_node_id(node)
            .with_host(host)
            .with_port(port);
    }
    let coordinator = |key: StrBytes| {
        Coordinator::default()
            .with_key(key)
            .with_error_code(code)
            .with_error_message(Some(why.clone().unwrap_or_default()))
            .with_node_id(node)
            .with_host(host.clone())
            .with_port(port)
    };
    let keys = once(request.coordinator_keys, StrBytes::clone);
    FindCoordinatorResponse::default().with_coordinators(keys.into_iter().map(coordinator).collect())
}

/// Checks that this node coordinates keys of this kind.
fn check(
    groups: &GroupCoordinator,
    context: &RequestContext<'_>,
    kind: i8,
) -> Result<(), (ErrorCode, &'static str)> {
    match kind {
        GROUP => groups
            .check_is_coordinator()
            .map_err(|_| (ErrorCode::COORDINATOR_NOT_AVAILABLE, "the broker stops")),
        // After this code both Java's producer and librdkafka's give up at once.
        TRANSACTION => {
            log::warn!(
                "{}: a transactional producer: refused, the embedded broker has no transactions",
                context.peer
            );
            let why = "the embedded broker has no transactions: use a Kafka cluster for them";
            Err((ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED, why))
        }
        // Kafka without share groups refuses their kind with this code, too.
        _ => {
            let why = "the embedded broker coordinates consumer groups only (key type 0)";
            Err((ErrorCode::INVALID_REQUEST, why))
        }
    }
}
