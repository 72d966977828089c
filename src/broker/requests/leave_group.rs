//! LeaveGroup: members go, and their partitions to others at once.

use kafka_protocol::messages::leave_group_response::MemberResponse;
use kafka_protocol::messages::{LeaveGroupRequest, LeaveGroupResponse};

use crate::broker::caller::Caller;
use crate::broker::groups::Groups;
use crate::broker::groups::presence::Identity;
use crate::protocol::error_code::ErrorCode;

/// The first version that names several members, each with a result of its own.
const SEVERAL: i16 = 3;

/// Takes members out of their group.
pub fn answer(groups: &Groups, caller: &Caller<'_>, request: LeaveGroupRequest) -> LeaveGroupResponse {
    let response = LeaveGroupResponse::default();
    if caller.version < SEVERAL {
        let who = Identity { member_id: request.member_id.as_str().into(), instance: None };
        let code = match groups.leave(&request.group_id, &[who]) {
            Ok(codes) => codes.first().copied().unwrap_or(ErrorCode::NONE),
            Err(code) => code,
        };
        return response.with_error_code(code.0);
    }
    let named = request.members.iter();
    let members: Vec<Identity> = named
        .map(|member| Identity {
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
