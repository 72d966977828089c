//! DescribeTransactions (KIP-664): there are no transactions.

use kafka_protocol::messages::describe_transactions_response::TransactionState;
use kafka_protocol::messages::{DescribeTransactionsRequest, DescribeTransactionsResponse};

use super::once;
use crate::node::Node;
use crate::request_context::RequestContext;
use protocol::error_code::ErrorCode;

/// Answers each transactional id, once, with TRANSACTIONAL_ID_NOT_FOUND.
pub fn handle(
    _node: &Node,
    _context: &RequestContext<'_>,
    request: DescribeTransactionsRequest,
) -> DescribeTransactionsResponse {
    let states = once(request.transactional_ids, |id| id.clone()).into_iter().map(|id| {
        let code = match id.is_empty() {
            true => ErrorCode::INVALID_REQUEST,
            false => ErrorCode::TRANSACTIONAL_ID_NOT_FOUND,
        };
        TransactionState::default().with_transactional_id(id).with_error_code(code.0)
    });
    DescribeTransactionsResponse::default().with_transaction_states(states.collect())
}
