//! DeleteGroups: groups without members, with what they have committed.

use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::{DeleteGroupsRequest, DeleteGroupsResponse, GroupId};

use crate::broker::caller::Caller;
use crate::broker::groups::Groups;
use crate::protocol::error_code::ErrorCode;

/// Deletes groups.
pub fn answer(groups: &Groups, _caller: &Caller<'_>, request: DeleteGroupsRequest) -> DeleteGroupsResponse {
    let delete = |id: GroupId| {
        let code = groups.delete(&id).err().unwrap_or(ErrorCode::NONE);
        DeletableGroupResult::default().with_group_id(id).with_error_code(code.0)
    };
    DeleteGroupsResponse::default().with_results(request.groups_names.into_iter().map(delete).collect())
}
