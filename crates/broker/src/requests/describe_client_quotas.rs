//! DescribeClientQuotas (KIP-546): there are no quotas.

use std::collections::HashSet;

use kafka_protocol::messages::describe_client_quotas_request::ComponentData;
use kafka_protocol::messages::{DescribeClientQuotasRequest, DescribeClientQuotasResponse};

use super::message;
use crate::node::Node;
use crate::request_context::RequestContext;
use protocol::error_code::ErrorCode;

/// Matches an entity with this name, the default entity, or any.
const EXACT: i8 = 0;
const DEFAULT: i8 = 1;
const ANY: i8 = 2;

/// Answers with no quotas, once the filter is one that Kafka takes.
pub fn handle(
    _node: &Node,
    _context: &RequestContext<'_>,
    request: DescribeClientQuotasRequest,
) -> DescribeClientQuotasResponse {
    let response = DescribeClientQuotasResponse::default();
    match check(&request.components) {
        Ok(()) => response.with_error_message(None).with_entries(Some(Vec::new())),
        Err((code, why)) => {
            response.with_error_code(code.0).with_error_message(Some(message(&why))).with_entries(None)
        }
    }
}

fn check(components: &[ComponentData]) -> Result<(), (ErrorCode, String)> {
    let mut seen = HashSet::new();
    for component in components {
        let entity = component.entity_type.as_str();
        if !seen.insert(entity) {
            return Err(invalid(format!("entity type {entity} is in the filter more than once")));
        }
        check_component(component)?;
    }
    if seen.contains("ip") && seen.len() > 1 {
        return Err(invalid("an ip goes with neither user nor client-id".to_owned()));
    }
    Ok(())
}

fn check_component(component: &ComponentData) -> Result<(), (ErrorCode, String)> {
    match component.entity_type.as_str() {
        "user" | "client-id" | "ip" => {}
        "" => return Err(invalid("an empty entity type".to_owned())),
        other => return Err((ErrorCode::UNSUPPORTED_VERSION, format!("Unsupported entity type {other}"))),
    }
    match (component.match_type, &component._match) {
        (EXACT, Some(_)) | (DEFAULT | ANY, None) => Ok(()),
        (EXACT, None) => Err(invalid("an exact match of no name".to_owned())),
        (DEFAULT | ANY, Some(_)) => Err(invalid("a name beside a match that takes none".to_owned())),
        (other, _) => Err(invalid(format!("Unknown match type {other}"))),
    }
}

fn invalid(why: String) -> (ErrorCode, String) {
    (ErrorCode::INVALID_REQUEST, why)
}
