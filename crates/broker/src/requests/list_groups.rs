//! ListGroups: all groups, or the groups in certain states.

use kafka_protocol::messages::list_groups_response::ListedGroup;
use kafka_protocol::messages::{GroupId, ListGroupsRequest, ListGroupsResponse};

use super::text;
use crate::groups::GroupCoordinator;
use crate::groups::describe::GroupListing;
use crate::request_context::RequestContext;

/// The first version with the states of groups.
const STATES: i16 = 4;

/// Lists groups.
pub fn handle(
    groups: &GroupCoordinator,
    context: &RequestContext<'_>,
    request: ListGroupsRequest,
) -> ListGroupsResponse {
    let wanted = |group: &GroupListing| {
        let is = |state: &str| group.state.name().eq_ignore_ascii_case(state);
        request.states_filter.is_empty() || request.states_filter.iter().any(|state| is(state))
    };
    let listed = |group: &GroupListing| {
        let listed = ListedGroup::default()
            .with_group_id(GroupId(text(&group.group)))
            .with_protocol_type(text(&group.protocol_type));
        if context.version >= STATES { listed.with_group_state(text(group.state.name())) } else { listed }
    };
    match groups.list() {
        Ok(groups) => {
            let groups = groups.iter().filter(|group| wanted(group)).map(listed).collect();
            ListGroupsResponse::default().with_groups(groups)
        }
        Err(code) => ListGroupsResponse::default().with_error_code(code.0),
    }
}
