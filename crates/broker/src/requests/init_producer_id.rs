//! InitProducerId: the producer id of an idempotent producer (KIP-98). Transactions are not served.

use kafka_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse, ProducerId};

use super::brief;
use crate::node::Node;
use crate::request_context::RequestContext;
use protocol::error_code::ErrorCode;

/// A new producer id, also for a producer that gives up an old one (KIP-360).
pub fn handle(
    node: &Node,
    context: &RequestContext<'_>,
    request: InitProducerIdRequest,
) -> InitProducerIdResponse {
    let new_id = match &request.transactional_id {
        None => node.store.new_producer_id().wait(),
        Some(id) => {
            log::warn!(
                "{}: a transactional producer ({:?}): refused, the embedded broker has no transactions",
                context.peer,
                brief(id)
            );
            Err(ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED)
        }
    };
    let none = InitProducerIdResponse::default().with_producer_id(ProducerId(-1)).with_producer_epoch(-1);
    match new_id {
        Ok(id) => none.with_producer_id(ProducerId(id)).with_producer_epoch(0),
        Err(code) => none.with_error_code(code.0),
    }
}
