//! JoinGroup: a member joins the next generation.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::messages::{JoinGroupRequest, JoinGroupResponse};

use super::{brief, text};
use crate::groups::GroupCoordinator;
use crate::groups::group::{JoinAnswer, JoinedMember};
use crate::groups::join::JoinRequest;
use crate::groups::limits::MAX_CLIENT_ID;
use crate::groups::member::Protocol;
use crate::request_context::RequestContext;
use net::own_connections;
use protocol::error_code::ErrorCode;

/// The first version in which a dynamic member has to come again with the id it gets (KIP-394).
const ID_FIRST: i16 = 4;
/// The first version whose answer names the protocol type and may have no protocol.
const PROTOCOL_TYPE: i16 = 7;
/// The first version that may tell a leader to compute no assignment (KIP-814).
const SKIP_ASSIGNMENT: i16 = 9;

/// Joins; waits until the group's members have joined.
pub fn handle(
    groups: &GroupCoordinator,
    context: &RequestContext<'_>,
    request: JoinGroupRequest,
) -> JoinGroupResponse {
    let Some(unique) = unique() else {
        let refused = JoinAnswer::refused(ErrorCode::COORDINATOR_NOT_AVAILABLE, &request.member_id);
        return response(context, refused);
    };
    let client_id: String = context.client_id.chars().take(MAX_CLIENT_ID).collect();
    let instance = request.group_instance_id.as_deref().filter(|instance| !instance.is_empty());
    // As in Kafka: a member id begins with the instance id or the client id.
    let new_member_id = format!("{}-{unique}", instance.unwrap_or(&client_id));
    if let Some(reason) = request.reason.as_deref().filter(|reason| !reason.is_empty()) {
        let member_id = if request.member_id.is_empty() { &new_member_id } else { &*request.member_id };
        log::debug!("group {}: {} joins: {}", brief(&request.group_id), brief(member_id), brief(reason));
    }
    let session_timeout = millis(request.session_timeout_ms);
    let join = JoinRequest {
        member_id: shared(&request.member_id),
        new_member_id: new_member_id.into(),
        instance: instance.map(shared),
        client_id: client_id.into(),
        host: format!("/{}", context.peer.ip()).into(),
        host_process: own_connections::is_ours(&context.peer).then(own_connections::process),
        session_timeout,
        rebalance_timeout: match context.version {
            0 => session_timeout,
            _ => millis(request.rebalance_timeout_ms),
        },
        protocol_type: shared(&request.protocol_type),
        protocols: request.protocols.iter().map(protocol).collect(),
        requires_member_id: context.version >= ID_FIRST,
        can_skip_assignment: context.version >= SKIP_ASSIGNMENT,
        connection: context.connection,
    };
    response(context, groups.join(&request.group_id, context, join))
}

/// Copies a protocol, as a slice would keep the whole frame of the request in memory.
fn protocol(protocol: &JoinGroupRequestProtocol) -> Protocol {
    (shared(&protocol.name), Bytes::copy_from_slice(&protocol.metadata))
}

fn shared(text: &str) -> Arc<str> {
    text.into()
}

fn millis(millis: i32) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or_default())
}

/// A random UUID in its usual form; `None` if the system has no random numbers.
fn unique() -> Option<String> {
    let random = net::random::bytes().inspect_err(|e| log::error!("no member id: {e}")).ok()?;
    let bits = u128::from_be_bytes(random) & !(0xf << 76 | 0x3 << 62) | 0x4 << 76 | 0x2 << 62;
    let hex = format!("{bits:032x}");
    let parts = [hex.get(..8)?, hex.get(8..12)?, hex.get(12..16)?, hex.get(16..20)?, hex.get(20..)?];
    Some(parts.join("-"))
}

fn response(context: &RequestContext<'_>, answer: JoinAnswer) -> JoinGroupResponse {
    let named = context.version >= PROTOCOL_TYPE;
    let member = |member: &JoinedMember| {
        JoinGroupResponseMember::default()
            .with_member_id(text(&member.id))
            .with_group_instance_id(member.instance.as_deref().map(text))
            .with_metadata(member.metadata.clone())
    };
    let protocol = answer.protocol.as_deref().or((!named).then_some(""));
    JoinGroupResponse::default()
        .with_error_code(answer.code.0)
        .with_generation_id(answer.generation)
        .with_protocol_type(answer.protocol_type.as_deref().filter(|_| named).map(text))
        .with_protocol_name(protocol.map(text))
        .with_leader(text(&answer.leader))
        .with_skip_assignment(answer.skip_assignment)
        .with_member_id(text(&answer.member_id))
        .with_members(answer.members.iter().map(member).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn member_ids_are_random_uuids() {
        let (one, other) = (unique().unwrap(), unique().unwrap());
        assert_ne!(one, other);
        assert_eq!(one.len(), 36);
        assert_eq!(one.as_bytes()[14], b'4', "{one}");
        assert!(b"89ab".contains(&one.as_bytes()[19]), "{one}");
    }
}
