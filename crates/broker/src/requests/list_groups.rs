//! ListGroups: all groups, or the groups in certain states or of certain types.

use kafka_protocol::messages::list_groups_response::ListedGroup;
use kafka_protocol::messages::{GroupId, ListGroupsRequest, ListGroupsResponse};
use kafka_protocol::protocol::StrBytes;

use super::text;
use crate::groups::GroupCoordinator;
use crate::groups::describe::GroupListing;
use crate::request_context::RequestContext;

/// The first version with the states of groups.
const STATES: i16 = 4;

/// The first version with the types of groups (KIP-848).
const TYPES: i16 = 5;
/// The type of every group: that of the protocol of JoinGroup and SyncGroup.
const CLASSIC: &str = "classic";

/// Lists groups. A state or a type that there is not matches no group, as in Kafka.
pub fn handle(
    groups: &GroupCoordinator,
    context: &RequestContext<'_>,
    request: ListGroupsRequest,
) -> ListGroupsResponse {
    let passes = |filter: &[StrBytes], is: &str| {
        filter.is_empty() || filter.iter().any(|wanted| wanted.eq_ignore_ascii_case(is))
    };
    let wanted = |group: &GroupListing| {
        passes(&request.states_filter, group.state.name()) && passes(&request.types_filter, CLASSIC)
    };
    let listed = |group: &GroupListing| {
        let listed = ListedGroup::default()
            .with_group_id(GroupId(text(&group.group)))
            .with_protocol_type(text(&group.protocol_type));
        let listed = match context.version {
            STATES.. => listed.with_group_state(text(group.state.name())),
            _ => listed,
        };
        if context.version >= TYPES { listed.with_group_type(text(CLASSIC)) } else { listed }
    };
    match groups.list() {
        Ok(groups) => {
            let groups = groups.iter().filter(|group| wanted(group)).map(listed).collect();
            ListGroupsResponse::default().with_groups(groups)
        }
        Err(code) => ListGroupsResponse::default().with_error_code(code.0),
    }
}
