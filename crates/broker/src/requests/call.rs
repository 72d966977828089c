//! A request on its way through its handler, and the registration that ties an API key to versions and
//! handler.

use std::ops::RangeInclusive;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, ResponseHeader};
use kafka_protocol::protocol::{Encodable, HeaderVersion, Request};

use crate::groups::GroupCoordinator;
use crate::node::Node;
use crate::request_context::RequestContext;
use net::sync::Reserved;

/// A response frame with its size in front, and the memory that is reserved until it is written.
pub type ResponseFrame<'n> = (Bytes, Option<Reserved<'n>>);

/// Why a connection is closed without a response, for the log.
pub type CloseReason = String;

/// The result of a handler.
pub enum Handled<'n> {
    /// The response; `None` for a request that wants none.
    Answered(Option<ResponseFrame<'n>>),
    /// The request's records are on their way to the disk.
    Pending(PendingResponse),
}

/// A handler: decodes the request, answers it, and encodes the response.
pub type Handler = for<'n, 'c> fn(Call<'n, 'c>) -> Result<Handled<'n>, CloseReason>;

type Completion = dyn for<'n, 'c> FnOnce(Call<'n, 'c>) -> Result<Option<ResponseFrame<'n>>, CloseReason>;

/// A response that is complete once the disk has answered.
pub struct PendingResponse {
    version: i16,
    correlation_id: i32,
    complete: Box<Completion>,
}

impl PendingResponse {
    /// Waits for the disk, and gives the response; `None` if the client wants none.
    ///
    /// # Errors
    /// The connection is to be closed.
    pub fn wait<'n>(
        self,
        node: &'n Node,
        context: &RequestContext<'_>,
    ) -> Result<Option<ResponseFrame<'n>>, CloseReason> {
        let context = RequestContext { version: self.version, ..*context };
        let correlation_id = self.correlation_id;
        (self.complete)(Call { node, context: &context, correlation_id, body: Bytes::new() })
    }
}

/// The registration of a request.
pub struct Api {
    /// The API key.
    pub key: ApiKey,
    /// The versions that are served.
    pub versions: RangeInclusive<i16>,
    /// The lowest version in the ApiVersions response.
    pub advertised_from: i16,
    /// The handler.
    pub handler: Handler,
    /// What a user of the request should know, for docs/conformance.md; empty where it is Kafka's.
    pub note: &'static str,
}

impl Api {
    /// Serves `versions` of `key` with `handler`, and advertises the same versions.
    pub const fn new(key: ApiKey, versions: RangeInclusive<i16>, handler: Handler) -> Api {
        Api { key, advertised_from: *versions.start(), versions, handler, note: "" }
    }

    /// Has a note in docs/conformance.md.
    pub const fn note(mut self, note: &'static str) -> Api {
        self.note = note;
        self
    }

    /// Advertises versions from `version` on, although lower ones than [`Api::versions`] are refused.
    pub const fn advertised_from(mut self, version: i16) -> Api {
        self.advertised_from = version;
        self
    }
}

/// A request whose header is read, with everything that its handler needs.
pub struct Call<'n, 'c> {
    /// The node that answers.
    pub node: &'n Node,
    /// The client, and the version of the request.
    pub context: &'c RequestContext<'c>,
    /// The number by which the client finds the request of a response.
    pub correlation_id: i32,
    /// The request without its header.
    pub body: Bytes,
}

impl<'n> Call<'n, '_> {
    /// Answers by a handler that reads or changes the node.
    pub fn with_node<R: Request>(
        self,
        handler: impl FnOnce(&Node, &RequestContext<'_>, R) -> R::Response,
    ) -> Result<Handled<'n>, CloseReason> {
        let response = handler(self.node, self.context, self.decode::<R>()?);
        self.respond(&response).map(Handled::Answered)
    }

    /// Answers by a handler that asks the group coordinator.
    pub fn with_groups<R: Request>(
        self,
        handler: impl FnOnce(&GroupCoordinator, &RequestContext<'_>, R) -> R::Response,
    ) -> Result<Handled<'n>, CloseReason> {
        let response = handler(&self.node.groups, self.context, self.decode::<R>()?);
        self.respond(&response).map(Handled::Answered)
    }

    /// Answers later: `complete` waits for the disk.
    pub fn pending(
        self,
        complete: impl for<'m, 'c> FnOnce(Call<'m, 'c>) -> Result<Option<ResponseFrame<'m>>, CloseReason>
        + 'static,
    ) -> Handled<'n> {
        Handled::Pending(PendingResponse {
            version: self.context.version,
            correlation_id: self.correlation_id,
            complete: Box::new(complete),
        })
    }

    /// Decodes the request.
    pub fn decode<R: Request>(&self) -> Result<R, CloseReason> {
        let mut body = self.body.clone();
        R::decode(&mut body, self.context.version).map_err(|error| format!("a malformed request: {error}"))
    }

    /// Encodes a response without records, once there is memory for it.
    pub fn respond<R: Encodable + HeaderVersion>(
        &self,
        response: &R,
    ) -> Result<Option<ResponseFrame<'n>>, CloseReason> {
        // A response that cannot be encoded is reported by `encode`.
        let size = response.compute_size(self.context.version).unwrap_or_default();
        let reserved = self.node.reserve_response(size, self.context);
        let reserved = reserved.ok_or_else(|| format!("no memory for a response of {size} bytes in time"))?;
        Ok(Some((self.encode(response)?, reserved)))
    }

    /// Encodes a response whose memory is already reserved.
    pub fn encode<R: Encodable + HeaderVersion>(&self, response: &R) -> Result<Bytes, CloseReason> {
        encode_response(response, self.correlation_id, self.context.version)
    }
}

/// The frame of a response: its size, its header and itself.
///
/// # Errors
/// The response has no form in this version.
pub fn encode_response<R: Encodable + HeaderVersion>(
    response: &R,
    correlation_id: i32,
    version: i16,
) -> Result<Bytes, CloseReason> {
    let impossible = |error: &dyn std::fmt::Display| {
        log::error!("broker: a response cannot be encoded in version {version}: {error}");
        format!("the response cannot be encoded: {error}")
    };
    let size = response.compute_size(version).map_err(|error| impossible(&error))?;
    let mut payload = BytesMut::with_capacity(size + 16);
    payload.extend_from_slice(&[0; 4]);
    let header = ResponseHeader::default().with_correlation_id(correlation_id);
    let encoded = header
        .encode(&mut payload, R::header_version(version))
        .and_then(|()| response.encode(&mut payload, version));
    encoded.map_err(|error| impossible(&error))?;
    let size = i32::try_from(payload.len().saturating_sub(4)).map_err(|error| impossible(&error))?;
    if let Some(prefix) = payload.first_chunk_mut::<4>() {
        *prefix = size.to_be_bytes();
    }
    Ok(payload.freeze())
}
