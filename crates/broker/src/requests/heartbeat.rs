//! Heartbeat: renews the session of a member, and tells it of a rebalance.

use kafka_protocol::messages::{HeartbeatRequest, HeartbeatResponse};

use crate::groups::GroupCoordinator;
use crate::groups::liveness::MemberIdentity;
use crate::request_context::RequestContext;
use protocol::error_code::ErrorCode;

/// Renews the session of the member.
pub fn handle(
    groups: &GroupCoordinator,
    context: &RequestContext<'_>,
    request: HeartbeatRequest,
) -> HeartbeatResponse {
    let identity = MemberIdentity {
        member_id: request.member_id.as_str().into(),
        instance: request.group_instance_id.as_deref().map(Into::into),
    };
    let result = groups.heartbeat(&request.group_id, context, &identity, request.generation_id);
    HeartbeatResponse::default().with_error_code(result.err().unwrap_or(ErrorCode::NONE).0)
}
