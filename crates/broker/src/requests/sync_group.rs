//! SyncGroup: the leader sends the assignment, each member gets its part.

use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::messages::{SyncGroupRequest, SyncGroupResponse};

use super::text;
use crate::groups::GroupCoordinator;
use crate::groups::sync::SyncRequest;
use crate::request_context::RequestContext;

/// The first version that names the protocol and its type.
const PROTOCOL: i16 = 5;

/// Answers when the leader's assignment is stored.
pub fn handle(
    groups: &GroupCoordinator,
    context: &RequestContext<'_>,
    request: SyncGroupRequest,
) -> SyncGroupResponse {
    let shared = |text: &str| -> Arc<str> { text.into() };
    let assignments = request.assignments.iter();
    let sync = SyncRequest {
        generation: request.generation_id,
        member_id: shared(&request.member_id),
        instance: request.group_instance_id.as_deref().map(shared),
        protocol_type: request.protocol_type.as_deref().map(shared),
        protocol: request.protocol_name.as_deref().map(shared),
        // Copies: a part of the request's frame would keep all of it in memory.
        assignments: assignments
            .map(|part| (shared(&part.member_id), Bytes::copy_from_slice(&part.assignment)))
            .collect(),
        connection: context.connection,
    };
    let answer = groups.sync(&request.group_id, context, sync);
    let named = context.version >= PROTOCOL;
    SyncGroupResponse::default()
        .with_error_code(answer.code.0)
        .with_protocol_type(answer.protocol_type.as_deref().filter(|_| named).map(text))
        .with_protocol_name(answer.protocol.as_deref().filter(|_| named).map(text))
        .with_assignment(answer.assignment)
}
