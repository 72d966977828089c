//! DeleteGroups: deletes groups without members, with their committed offsets.

use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::{DeleteGroupsRequest, DeleteGroupsResponse, GroupId};

use crate::groups::GroupCoordinator;
use crate::request_context::RequestContext;
use protocol::error_code::ErrorCode;

/// Deletes groups.
pub fn handle(
    groups: &GroupCoordinator,
    _context: &RequestContext<'_>,
    request: DeleteGroupsRequest,
) -> DeleteGroupsResponse {
    let delete = |id: GroupId| {
        let code = groups.delete(&id).err().unwrap_or(ErrorCode::NONE);
        DeletableGroupResult::default().with_group_id(id).with_error_code(code.0)
    };
    DeleteGroupsResponse::default().with_results(request.groups_names.into_iter().map(delete).collect())
}
