//! ApiVersions (KIP-35, KIP-511): the served requests and their versions.

use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::{ApiKey, ApiVersionsRequest, ApiVersionsResponse};

use super::APIS;
use super::call::Api;
use crate::node::Node;
use crate::request_context::RequestContext;
use protocol::error_code::ErrorCode;

/// Versions 0–4. The name of the client's software came with v3 (KIP-511).
pub const API: Api = Api::new(ApiKey::ApiVersions, 0..=4, |call| call.with_node(handle));

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
