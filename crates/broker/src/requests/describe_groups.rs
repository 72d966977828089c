//! DescribeGroups: the state and the members of groups.

use kafka_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use kafka_protocol::messages::{DescribeGroupsRequest, DescribeGroupsResponse, GroupId};

use super::{NO_OPERATIONS, message, once, text};
use crate::groups::GroupCoordinator;
use crate::groups::describe::{GroupDescription, MemberDescription};
use crate::groups::group::GroupState;
use crate::request_context::RequestContext;
use protocol::error_code::ErrorCode;

/// The first version that may ask for authorized operations.
const OPERATIONS: i16 = 3;
/// All operations on a group: READ, DELETE and DESCRIBE, a bit for each of the codes in Kafka's
/// `AclOperation`.
const ALL_OPERATIONS: i32 = 1 << 3 | 1 << 6 | 1 << 8;

/// The first version with an error for a group that does not exist (KIP-1043).
const NOT_FOUND: i16 = 6;

/// Describes groups, each once; a group that does not exist is Dead.
pub fn handle(
    groups: &GroupCoordinator,
    context: &RequestContext<'_>,
    request: DescribeGroupsRequest,
) -> DescribeGroupsResponse {
    let asked = context.version >= OPERATIONS && request.include_authorized_operations;
    let operations = if asked { ALL_OPERATIONS } else { NO_OPERATIONS };
    let describe = |id: GroupId| {
        let group = DescribedGroup::default().with_authorized_operations(operations);
        let group = match groups.describe(&id) {
            Ok(described) if described.state == GroupState::Dead && context.version >= NOT_FOUND => group
                .with_group_state(text(described.state.name()))
                .with_authorized_operations(NO_OPERATIONS)
                .with_error_code(ErrorCode::GROUP_ID_NOT_FOUND.0)
                .with_error_message(Some(message(&format!("Group {} not found.", &*id)))),
            Ok(described) => filled(group, described),
            Err(code) => group.with_error_code(code.0),
        };
        group.with_group_id(id)
    };
    let groups = once(request.groups, GroupId::clone);
    DescribeGroupsResponse::default().with_groups(groups.into_iter().map(describe).collect())
}

fn filled(group: DescribedGroup, described: GroupDescription) -> DescribedGroup {
    let member = |member: MemberDescription| {
        DescribedGroupMember::default()
            .with_member_id(text(&member.id))
            .with_group_instance_id(member.instance.as_deref().map(text))
            .with_client_id(text(&member.client_id))
            .with_client_host(text(&member.host))
            .with_member_metadata(member.metadata)
            .with_member_assignment(member.assignment)
    };
    group
        .with_group_state(text(described.state.name()))
        .with_protocol_type(text(&described.protocol_type))
        .with_protocol_data(text(&described.protocol))
        .with_members(described.members.into_iter().map(member).collect())
}
