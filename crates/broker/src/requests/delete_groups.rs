//! DeleteGroups: deletes groups without members, with their committed offsets.

use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::{ApiKey, DeleteGroupsRequest, DeleteGroupsResponse, GroupId};

use super::call::Api;
use crate::groups::GroupCoordinator;
use crate::request_context::RequestContext;
use protocol::error_code::ErrorCode;

/// Versions 0–2 (KIP-229). The flexible encoding came with v2 (KIP-482).
pub const API: Api = Api::new(ApiKey::DeleteGroups, 0..=2, |call| call.with_groups(handle));

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
