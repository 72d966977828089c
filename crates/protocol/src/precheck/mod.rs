//! The guard in front of `kafka-protocol`: its decoders allocate for whatever count stands on the wire, so
//! every request and every response is walked here first, and only one whose every length is true is handed
//! to them.
//!
//! The schemas are those of the versions that the broker serves and that the cluster layer asks for. Source:
//! the Kafka protocol guide, "The Messages"; compact lengths and tagged fields are KIP-482, the versions of
//! ApiVersions KIP-35 and KIP-511.

mod header;
mod requests;
mod responses;
#[cfg(test)]
mod tests;
mod walk;

pub use header::RequestHeader;

use std::ops::RangeInclusive;

use self::requests::REQUESTS;
use self::walk::Schema;
use super::wire::{Malformed, Reader};

/// The memory limit of all elements of a request. The record batches of a Produce request are not counted:
/// they stay in the frame that they came in.
const REQUEST_BUDGET: usize = 16 * 1024 * 1024;

/// The memory limit of all elements of a response.
const RESPONSE_BUDGET: usize = 64 * 1024 * 1024;

/// The versions of request `api_key` that [`check_request`] knows, and so the ones that can be served; none
/// for a request that is not served.
pub fn request_versions(api_key: i16) -> Option<RangeInclusive<i16>> {
    request(api_key).map(|schema| schema.versions.clone())
}

/// Every request that can be served: its api key and the versions of it, as [`request_versions`] gives them,
/// in the order of the keys.
pub fn served_requests() -> impl Iterator<Item = (i16, RangeInclusive<i16>)> {
    REQUESTS.iter().map(|schema| (schema.api_key, schema.versions.clone()))
}

fn request(api_key: i16) -> Option<&'static Schema> {
    REQUESTS.iter().find(|schema| schema.api_key == api_key)
}

/// Checks the body of a request, which is what follows its header ([`RequestHeader::body`]).
///
/// Decoded in this version, and in no other, `body` makes nobody allocate more than a small multiple of its
/// size and 16 MiB. The decoder may still refuse a text that is not UTF-8, or a null where none may be.
/// Bytes after the end are nobody's concern, as with Kafka: librdkafka 2.16 sends three after its Metadata 9
/// for all topics.
///
/// # Errors
/// [`Malformed`], counted from the start of `body`, for a length beyond its end, more elements than a request
/// has use for, and for a request or a version outside [`request_versions`].
pub fn check_request(api_key: i16, version: i16, body: &[u8]) -> Result<(), Malformed> {
    match request(api_key) {
        Some(schema) if schema.versions.contains(&version) => {
            schema.check(version, body, REQUEST_BUDGET).map(drop)
        }
        Some(_) => Err(Malformed { at: 0, what: "a version of this request that is not served" }),
        None => Err(Malformed { at: 0, what: "a request that is not served" }),
    }
}

/// Checks the body of a response, the bytes after its header, to a request of this kind and version.
///
/// Returns the version that it has, which is another one for ApiVersions with error 35 alone: decoded in it,
/// and in no other, `body` makes nobody allocate more than a small multiple of its size and 64 MiB.
///
/// # Errors
/// [`Malformed`] for a length beyond the end, bytes after the end, more elements than any answer to our
/// requests has, and for a kind or version that the client never asks for.
pub fn check_response(api_key: i16, version: i16, body: &[u8]) -> Result<i16, Malformed> {
    let Some((schema, version)) = responses::schema(api_key, version, body) else {
        return Err(Reader::new(body).malformed("a response of a kind that is never asked for"));
    };
    let rest = schema.check(version, body, RESPONSE_BUDGET)?;
    if !rest.is_empty() {
        return Err(rest.malformed("bytes after the end of the message"));
    }
    Ok(version)
}
