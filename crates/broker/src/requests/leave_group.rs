//! LeaveGroup: members leave, so that their partitions are assigned to others at once.

use kafka_protocol::messages::leave_group_response::MemberResponse;
use kafka_protocol::messages::{LeaveGroupRequest, LeaveGroupResponse};

use super::brief;
use crate::groups::GroupCoordinator;
use crate::groups::liveness::MemberIdentity;
use crate::request_context::RequestContext;
use protocol::error_code::ErrorCode;

/// The first version with several members, and a result for each.
const SEVERAL: i16 = 3;

/// Removes members from their group.
pub fn handle(
    groups: &GroupCoordinator,
    context: &RequestContext<'_>,
    request: LeaveGroupRequest,
) -> LeaveGroupResponse {
    let response = LeaveGroupResponse::default();
    if context.version < SEVERAL {
        let identity = MemberIdentity { member_id: request.member_id.as_str().into(), instance: None };
        let code = match groups.leave(&request.group_id, &[identity]) {
            Ok(codes) => codes.first().copied().unwrap_or(ErrorCode::NONE),
            Err(code) => code,
        };
        return response.with_error_code(code.0);
    }
    for member in &request.members {
        if let Some(reason) = &member.reason {
            let (group, member) = (brief(&request.group_id), brief(&member.member_id));
            log::debug!("group {group}: {member} leaves: {}", brief(reason));
        }
    }
    let named = request.members.iter();
    let members: Vec<MemberIdentity> = named
        .map(|member| MemberIdentity {
            member_id: member.member_id.as_str().into(),
            instance: member.group_instance_id.as_deref().map(Into::into),
        })
        .collect();
    match groups.leave(&request.group_id, &members) {
        Ok(codes) => {
            let left = request.members.into_iter().zip(codes).map(|(member, code)| {
                MemberResponse::default()
                    .with_member_id(member.member_id)
                    .with_group_instance_id(member.group_instance_id)
                    .with_error_code(code.0)
            });
            response.with_members(left.collect())
        }
        Err(code) => response.with_error_code(code.0),
    }
}
