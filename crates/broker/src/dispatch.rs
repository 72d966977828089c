//! Dispatch: checks the bytes of a request and calls the handler that is registered for its API key.

use bytes::Bytes;
use kafka_protocol::messages::ApiKey;

use super::node::Node;
use super::request_context::RequestContext;
use super::requests::call::{Call, CloseReason, Handled, encode_response};
use super::requests::{api_versions, table};
use protocol::precheck::{self, RequestHeader};

/// Handles the request in `frame`, whose header is `header`. May block for as long as the request says, but
/// does not wait for the disk in a Produce request.
///
/// # Errors
/// The request is malformed or not served, or failed where the protocol has no error field: the connection
/// is to be closed.
pub fn dispatch<'n>(
    node: &'n Node,
    context: &RequestContext<'_>,
    header: &RequestHeader<'_>,
    frame: &Bytes,
) -> Result<Handled<'n>, CloseReason> {
    let (version, correlation_id) = (header.version, header.correlation_id);
    let Ok(key) = ApiKey::try_from(header.api_key) else {
        return Err(format!("API key {} is not known", header.api_key));
    };
    let Some(api) = table::api(key).filter(|api| api.versions.contains(&version)) else {
        if key == ApiKey::ApiVersions {
            let response = encode_response(&api_versions::unsupported_version(), correlation_id, 0)?;
            return Ok(Handled::Answered(Some((response, None))));
        }
        return Err(format!("{key:?} v{version} is not served"));
    };
    let body = frame.slice(header.body.min(frame.len())..);
    precheck::check_request(header.api_key, version, &body)
        .map_err(|error| format!("{key:?} v{version}: {error}"))?;
    let _reserved = match key {
        // Produce records are not copied out of the frame.
        ApiKey::Produce => None,
        _ => {
            let reserved = node.reserve_request(body.len(), context);
            reserved.ok_or_else(|| format!("no memory for {key:?} of {} bytes in time", body.len()))?
        }
    };
    (api.handler)(Call { node, context, correlation_id, body })
}
