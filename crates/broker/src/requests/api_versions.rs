//! ApiVersions (KIP-35, KIP-511): the served requests and their versions.

use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::{ApiKey, ApiVersionsRequest, ApiVersionsResponse};

use super::call::Api;
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
    ApiVersionsResponse::default().with_api_keys(APIS.iter().map(row).collect())
}

/// The answer to an ApiVersions request of a version that is not served: UNSUPPORTED_VERSION with the
/// versions of ApiVersions itself (KIP-511), to be encoded in version 0, which every client can read.
pub fn unsupported_version() -> ApiVersionsResponse {
    let own = APIS.iter().filter(|api| api.key == ApiKey::ApiVersions);
    ApiVersionsResponse::default()
        .with_error_code(ErrorCode::UNSUPPORTED_VERSION.0)
        .with_api_keys(own.map(row).collect())
}

fn row(api: &Api) -> ApiVersion {
    ApiVersion::default()
        .with_api_key(api.key as i16)
        .with_min_version(api.advertised_from)
        .with_max_version(*api.versions.end())
}
