//! ListPartitionReassignments (KIP-455): no replica ever moves, so no reassignment is ever in progress.

use kafka_protocol::messages::{ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse};

use crate::node::Node;
use crate::request_context::RequestContext;

/// Lists nothing, whatever topics are asked for, as Kafka does for partitions that do not move.
pub fn handle(
    _node: &Node,
    _context: &RequestContext<'_>,
    _request: ListPartitionReassignmentsRequest,
) -> ListPartitionReassignmentsResponse {
    ListPartitionReassignmentsResponse::default().with_error_message(None)
}
