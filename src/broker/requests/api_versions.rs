//! ApiVersions (KIP-35, KIP-511): what is served, and in which versions.

use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};

use crate::broker::caller::Caller;
use crate::broker::node::Node;
use crate::broker::versions;
use crate::protocol::error_code::ErrorCode;

/// The table of versions.
pub fn answer(_node: &Node, _caller: &Caller<'_>, _request: ApiVersionsRequest) -> ApiVersionsResponse {
    table()
}

/// The answer to an ApiVersions request of a version that is not served: the table with UNSUPPORTED_VERSION,
/// to be encoded in version 0, which every client can read.
pub fn unsupported_version() -> ApiVersionsResponse {
    table().with_error_code(ErrorCode::UNSUPPORTED_VERSION.0)
}

fn table() -> ApiVersionsResponse {
    let rows = versions::offered().map(|(api_key, versions)| {
        ApiVersion::default()
            .with_api_key(api_key)
            .with_min_version(*versions.start())
            .with_max_version(*versions.end())
    });
    ApiVersionsResponse::default().with_api_keys(rows.collect())
}
