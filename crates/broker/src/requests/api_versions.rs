//! ApiVersions (KIP-35, KIP-511): the served requests and their versions.

use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};

use super::table::APIS;
use crate::node::Node;
use crate::request_context::RequestContext;
use protocol::error_code::ErrorCode;

/// The table of versions.
pub fn handle(
    _node: &Node,
    _context: &RequestContext<'_>,
    _request: ApiVersionsRequest,
) -> ApiVersionsResponse {
    table()
}

/// The answer to an ApiVersions request of a version that is not served: the table with UNSUPPORTED_VERSION,
/// to be encoded in version 0, which every client can read.
pub fn unsupported_version() -> ApiVersionsResponse {
    table().with_error_code(ErrorCode::UNSUPPORTED_VERSION.0)
}

fn table() -> ApiVersionsResponse {
    let rows = APIS.iter().map(|api| {
        ApiVersion::default()
            .with_api_key(api.key as i16)
            .with_min_version(api.advertised_from)
            .with_max_version(*api.versions.end())
    });
    ApiVersionsResponse::default().with_api_keys(rows.collect())
}
