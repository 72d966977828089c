//! Heartbeat: a member lives, and hears whether it has to join again.

use kafka_protocol::messages::{HeartbeatRequest, HeartbeatResponse};

use crate::broker::caller::Caller;
use crate::broker::groups::Groups;
use crate::broker::groups::presence::Identity;
use crate::protocol::error_code::ErrorCode;

/// Notes that the member lives.
pub fn answer(groups: &Groups, caller: &Caller<'_>, request: HeartbeatRequest) -> HeartbeatResponse {
    let who = Identity {
        member_id: request.member_id.as_str().into(),
        instance: request.group_instance_id.as_deref().map(Into::into),
    };
    let result = groups.heartbeat(&request.group_id, caller, &who, request.generation_id);
    HeartbeatResponse::default().with_error_code(result.err().unwrap_or(ErrorCode::NONE).0)
}
