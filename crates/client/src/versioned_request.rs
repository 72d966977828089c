//! The requests that this client speaks, each in one fixed version, or a newer one where a broker offers it.

use kafka_protocol::messages::ApiKey;
use kafka_protocol::protocol::Request;

use super::request_context::RequestContext;

/// A request in the version that this client speaks. The version stands beside the code that encodes the
/// request.
pub trait VersionedRequest: Request {
    /// The request's key, as [`Request::KEY`] has it.
    const API: ApiKey;
    /// The version that is sent, and that a broker has to offer.
    const VERSION: i16;
    /// The version that is sent instead where a broker offers it, as it tells more.
    const NEWER: Option<i16> = None;
    /// The largest answer accepted, in bytes: by default a fetch of our largest size plus one largest record
    /// batch.
    const MAX_RESPONSE: usize = 128 * 1024 * 1024;
}

impl RequestContext {
    /// A request of this kind, in the version that this client speaks.
    pub fn of<R: VersionedRequest>() -> RequestContext {
        RequestContext {
            api: R::API,
            version: R::VERSION,
            broker: None,
            topic: None,
            partition: None,
            group: None,
            looks_on: false,
            said: None,
        }
    }
}
