//! DescribeUserScramCredentials (KIP-554): no user has credentials.

use std::collections::HashMap;

use kafka_protocol::messages::describe_user_scram_credentials_response::DescribeUserScramCredentialsResult;
use kafka_protocol::messages::{DescribeUserScramCredentialsRequest, DescribeUserScramCredentialsResponse};

use super::{message, once};
use crate::node::Node;
use crate::request_context::RequestContext;
use protocol::error_code::ErrorCode;

/// Answers each user with RESOURCE_NOT_FOUND, or with DUPLICATE_RESOURCE if it is asked for twice. A null or
/// empty list means all users, of which there are none.
pub fn handle(
    _node: &Node,
    _context: &RequestContext<'_>,
    request: DescribeUserScramCredentialsRequest,
) -> DescribeUserScramCredentialsResponse {
    let users = request.users.unwrap_or_default();
    let mut times: HashMap<_, usize> = HashMap::new();
    for user in &users {
        *times.entry(user.name.clone()).or_default() += 1;
    }
    let results = once(users, |user| user.name.clone()).into_iter().map(|user| {
        let (code, why) = match times.get(&user.name) {
            Some(2..) => (ErrorCode::DUPLICATE_RESOURCE, "is asked for twice"),
            _ => (ErrorCode::RESOURCE_NOT_FOUND, "has no SCRAM credentials"),
        };
        DescribeUserScramCredentialsResult::default()
            .with_error_code(code.0)
            .with_error_message(Some(message(&format!("user {} {why}", user.name.as_str()))))
            .with_user(user.name)
    });
    DescribeUserScramCredentialsResponse::default().with_error_message(None).with_results(results.collect())
}
