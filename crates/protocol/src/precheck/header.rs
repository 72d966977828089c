//! The header of a request.

use super::walk::Walker;
use crate::wire::{Malformed, Reader};

/// The header of a request.
///
/// Source: the Kafka protocol guide, "Request Header": version 1 is api key, api version, correlation id and
/// client id; version 2, which flexible versions of a request have, goes on with tagged fields. Its client id
/// keeps the length of two bytes, so that both can be read up to there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestHeader<'a> {
    /// Which request.
    pub api_key: i16,
    /// In which version, served or not.
    pub version: i16,
    /// The correlation id, which the response repeats.
    pub correlation_id: i32,
    /// The client id; empty where it is null.
    pub client_id: &'a str,
    /// Where the body starts in the frame. Of a request that is not served (no
    /// [`request_versions`](super::request_versions)) the tagged fields, if any, count as body.
    pub body: usize,
}

/// Tagged fields in one header may take so much memory; no client sends any.
const BUDGET_BYTES: usize = 64 * 1024;

impl<'a> RequestHeader<'a> {
    /// Reads the header at the start of `frame`, which is what follows the frame's size.
    ///
    /// # Errors
    /// [`Malformed`] for a frame that ends within its header, a client id that is not UTF-8, and tagged
    /// fields beyond measure.
    pub fn read(frame: &'a [u8]) -> Result<RequestHeader<'a>, Malformed> {
        let mut reader = Reader::new(frame);
        let api_key = reader.i16()?;
        let version = reader.i16()?;
        let correlation_id = reader.i32()?;
        let client_id = reader.nullable_string()?.unwrap_or_default();
        if super::request(api_key).is_some_and(|schema| version >= schema.flexible) {
            Walker { version, flexible: true, budget: BUDGET_BYTES }.tags(&mut reader, &[])?;
        }
        Ok(RequestHeader { api_key, version, correlation_id, client_id, body: reader.position() })
    }
}
