//! SyncGroup: the leader sends the assignment, each member gets its part.

use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::messages::{ApiKey, SyncGroupRequest, SyncGroupResponse};

use super::call::Api;
use super::text;
use crate::groups::GroupCoordinator;
use crate::groups::sync::SyncRequest;
use crate::request_context::RequestContext;

/// Versions 0–5. Static members came with v3 (KIP-345), the flexible encoding with v4 (KIP-482), protocol and
/// protocol type with v5 (KIP-559).
pub const API: Api = Api::new(ApiKey::SyncGroup, 0..=5, |call| call.with_groups(handle));

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
