//! ListGroups: all groups, or those in certain states.

use kafka_protocol::messages::list_groups_response::ListedGroup;
use kafka_protocol::messages::{GroupId, ListGroupsRequest, ListGroupsResponse};

use super::text;
use crate::broker::caller::Caller;
use crate::broker::groups::Groups;
use crate::broker::groups::overview::Listed;

/// The first version that knows of states.
const STATES: i16 = 4;

/// Lists groups.
pub fn answer(groups: &Groups, caller: &Caller<'_>, request: ListGroupsRequest) -> ListGroupsResponse {
    let wanted = |group: &Listed| {
        let is = |state: &str| group.state.name().eq_ignore_ascii_case(state);
        request.states_filter.is_empty() || request.states_filter.iter().any(|state| is(state))
    };
    let listed = |group: &Listed| {
        let listed = ListedGroup::default()
            .with_group_id(GroupId(text(&group.group)))
            .with_protocol_type(text(&group.protocol_type));
        if caller.version >= STATES { listed.with_group_state(text(group.state.name())) } else { listed }
    };
    match groups.list() {
        Ok(groups) => {
            let groups = groups.iter().filter(|group| wanted(group)).map(listed).collect();
            ListGroupsResponse::default().with_groups(groups)
        }
        Err(code) => ListGroupsResponse::default().with_error_code(code.0),
    }
}
