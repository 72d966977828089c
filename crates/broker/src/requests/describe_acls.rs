//! DescribeAcls (KIP-140): refused, as by a Kafka without an authorizer.

use kafka_protocol::messages::{DescribeAclsRequest, DescribeAclsResponse};

use super::{NO_AUTHORIZER, text};
use crate::node::Node;
use crate::request_context::RequestContext;
use protocol::error_code::ErrorCode;

/// Answers SECURITY_DISABLED.
pub fn handle(
    _node: &Node,
    _context: &RequestContext<'_>,
    _request: DescribeAclsRequest,
) -> DescribeAclsResponse {
    DescribeAclsResponse::default()
        .with_error_code(ErrorCode::SECURITY_DISABLED.0)
        .with_error_message(Some(text(NO_AUTHORIZER)))
}
