//! ListTransactions (KIP-664): there are no transactions.

use kafka_protocol::messages::{ListTransactionsRequest, ListTransactionsResponse};

use super::once;
use crate::node::Node;
use crate::request_context::RequestContext;

/// The states that a transaction has in Kafka.
const STATES: [&str; 8] = [
    "Empty",
    "Ongoing",
    "PrepareCommit",
    "PrepareAbort",
    "CompleteCommit",
    "CompleteAbort",
    "Dead",
    "PrepareEpochFence",
];

/// Lists nothing but the states of the filter that are none. A pattern of transactional ids (KIP-1152) is not
/// looked at, as there are no ids.
pub fn handle(
    _node: &Node,
    _context: &RequestContext<'_>,
    request: ListTransactionsRequest,
) -> ListTransactionsResponse {
    let mut unknown = once(request.state_filters, |state| state.clone());
    unknown.retain(|state| !STATES.contains(&state.as_str()));
    ListTransactionsResponse::default().with_unknown_state_filters(unknown)
}
