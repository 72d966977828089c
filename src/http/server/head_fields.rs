//! The headers of a request, checked: missing or doubled `Host`, doubled or odd `Content-Length`, and
//! `Content-Length` beside `Transfer-Encoding` are refused, because two servers could read them differently.

use httparse::Header;

use super::origin::RequestOrigin;
use crate::http::handed_on::{CONTENT_ENCODING, is_handed_on};
use crate::http::response::ErrorResponse;
use crate::ids::RequestId;

const BAD_CONTENT_TYPE: ErrorResponse =
    ErrorResponse::new(400, "bad_content_type", "Content-Type must be given once, in visible ASCII.");
const BAD_AUTHORIZATION: ErrorResponse =
    ErrorResponse::new(400, "bad_authorization", "Authorization may be given once.");
const BAD_HOST: ErrorResponse =
    ErrorResponse::new(400, "bad_host", "An HTTP/1.1 request needs exactly one well-formed Host header.");
const BAD_LENGTH: ErrorResponse = ErrorResponse::new(
    400,
    "bad_content_length",
    "Content-Length must be given once and be a decimal number.",
);
const LENGTH_AND_CODING: ErrorResponse = ErrorResponse::new(
    400,
    "length_and_encoding",
    "A request may not have both Content-Length and Transfer-Encoding.",
);
const CODING_IN_1_0: ErrorResponse =
    ErrorResponse::new(400, "encoding_in_http_1_0", "HTTP/1.0 does not have Transfer-Encoding.");
const NO_LENGTH: ErrorResponse = ErrorResponse::new(
    411,
    "length_required",
    "The request needs Content-Length or `Transfer-Encoding: chunked`.",
);
const CODED_CONTENT: ErrorResponse = ErrorResponse::new(
    415,
    "content_encoding",
    "The Content-Encoding of a body may be gzip, deflate or zstd, and one of them.",
);
const BAD_FIELD: ErrorResponse = ErrorResponse::new(
    400,
    "bad_header_value",
    "X-Key and the headers that go to the record must be visible ASCII; a key of other characters goes into the query.",
);
/// The codings of bodies that the handlers unpack.
const CODINGS: [&[u8]; 4] = [b"gzip", b"x-gzip", b"deflate", b"zstd"];
const EXPECTATION: ErrorResponse =
    ErrorResponse::new(417, "expectation_failed", "The only expectation that can be met is `100-continue`.");
const UNKNOWN_CODING: ErrorResponse =
    ErrorResponse::new(501, "unknown_transfer_encoding", "The only Transfer-Encoding taken is `chunked`.");

/// 413: a body over the limit, whether declared or streamed.
pub(super) const LARGE_BODY: ErrorResponse =
    ErrorResponse::new(413, "body_too_large", "The body is larger than `producer_api.max_body_bytes`.");

/// The framing of a body: the way in which its end is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyFraming {
    /// This many bytes follow; 0 if there is no body.
    Length(usize),
    /// `Transfer-Encoding: chunked`.
    Chunked,
}

/// The headers of a request that the server needs.
#[derive(Default)]
pub(super) struct HeadFields<'a> {
    hosts: usize,
    bad_host: bool,
    /// The origin of the request.
    pub(super) origin: RequestOrigin<'a>,
    /// `Content-Type`.
    pub(super) content_type: Option<&'a [u8]>,
    /// `Authorization`.
    pub(super) authorization: Option<&'a [u8]>,
    /// `If-None-Match`, if it can be handed on.
    pub(super) if_none_match: Option<&'a [u8]>,
    /// The names and values of what else the handler needs.
    pub(super) handed_on: Vec<(&'a str, &'a [u8])>,
    is_coded: bool,
    length: Option<usize>,
    chunked: bool,
    /// `Expect: 100-continue`.
    pub(super) expects_continue: bool,
    /// `Connection: close`.
    pub(super) close: bool,
}

impl<'a> HeadFields<'a> {
    /// Reads the headers.
    ///
    /// # Errors
    /// A header is given twice, or has a value that this server does not accept.
    pub(super) fn read(headers: &[Header<'a>]) -> Result<HeadFields<'a>, ErrorResponse> {
        let mut fields = HeadFields::default();
        for header in headers {
            let is = |name: &str| header.name.eq_ignore_ascii_case(name);
            let value = header.value.trim_ascii();
            match header.name.len() {
                4 if is("host") => {
                    fields.hosts += 1;
                    fields.bad_host |= !value.iter().all(|&b| is_host_byte(b));
                    fields.origin.host = value;
                }
                6 if is("origin") => fields.origin.origins.push(value),
                6 if is("expect") => {
                    if !value.eq_ignore_ascii_case(b"100-continue") {
                        return Err(EXPECTATION);
                    }
                    fields.expects_continue = true;
                }
                10 if is("connection") => {
                    fields.close |= words(value).any(|word| word.eq_ignore_ascii_case(b"close"));
                }
                12 if is("content-type") => {
                    let readable = is_visible(value);
                    if !readable || fields.content_type.replace(value).is_some() {
                        return Err(BAD_CONTENT_TYPE);
                    }
                }
                13 if is("authorization") => fields.take_authorization(value)?,
                13 if is("if-none-match") => {
                    fields.if_none_match = Some(value).filter(|value| is_visible(value));
                }
                14 if is("content-length") => fields.take_length(value)?,
                14 if is("sec-fetch-site") => fields.origin.fetch_site = value,
                16 if is(CONTENT_ENCODING) && !value.eq_ignore_ascii_case(b"identity") => {
                    let known = CODINGS.iter().any(|coding| value.eq_ignore_ascii_case(coding));
                    if !known || std::mem::replace(&mut fields.is_coded, true) {
                        return Err(CODED_CONTENT);
                    }
                }
                17 if is("transfer-encoding") => {
                    if fields.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                        return Err(UNKNOWN_CODING);
                    }
                    fields.chunked = true;
                }
                29 if is("access-control-request-method") => fields.origin.asks_for_method = true,
                _ => {}
            }
            if is_handed_on(header.name) && !(is(CONTENT_ENCODING) && value.eq_ignore_ascii_case(b"identity"))
            {
                if !is_visible(value) {
                    return Err(BAD_FIELD);
                }
                fields.handed_on.push((header.name, value));
            }
        }
        Ok(fields)
    }

    fn take_authorization(&mut self, value: &'a [u8]) -> Result<(), ErrorResponse> {
        if self.authorization.replace(value).is_some() { Err(BAD_AUTHORIZATION) } else { Ok(()) }
    }

    fn take_length(&mut self, value: &[u8]) -> Result<(), ErrorResponse> {
        if self.length.is_some() || value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
            return Err(BAD_LENGTH);
        }
        let number = std::str::from_utf8(value).ok().and_then(|digits| digits.parse().ok());
        self.length = Some(number.unwrap_or(usize::MAX)); // more digits than a number holds: too large
        Ok(())
    }

    /// Checks the number and form of `Host` for HTTP/1.`minor`.
    ///
    /// # Errors
    /// There must be one well-formed `Host`; HTTP/1.0 may have none.
    pub(super) fn check_host(&self, minor: u8) -> Result<(), ErrorResponse> {
        let right_number = self.hosts == 1 || (self.hosts == 0 && minor == 0);
        if right_number && !self.bad_host { Ok(()) } else { Err(BAD_HOST) }
    }

    /// The framing of the body.
    ///
    /// # Errors
    /// The body has no framing or two, or is larger than `max_body`.
    pub(super) fn framing(
        &self,
        method: &str,
        minor: u8,
        max_body: usize,
    ) -> Result<BodyFraming, ErrorResponse> {
        match (self.length, self.chunked) {
            (Some(_), true) => Err(LENGTH_AND_CODING),
            (None, true) if minor == 0 => Err(CODING_IN_1_0),
            (None, true) => Ok(BodyFraming::Chunked),
            (Some(length), false) if length > max_body => Err(LARGE_BODY),
            (Some(length), false) => Ok(BodyFraming::Length(length)),
            (None, false) if matches!(method, "POST" | "PUT" | "PATCH") => Err(NO_LENGTH),
            (None, false) => Ok(BodyFraming::Length(0)),
        }
    }
}

/// The id that the client gives its request, if it gives one of sane shape.
pub(super) fn request_id(headers: &[Header<'_>]) -> Option<RequestId> {
    let mut ids = headers.iter().filter(|header| header.name.eq_ignore_ascii_case("x-request-id"));
    match (ids.next(), ids.next()) {
        (Some(id), None) => RequestId::given(id.value.trim_ascii()),
        _ => None,
    }
}

/// Whether the value of a header can be handed on as it is.
pub(super) fn is_visible(value: &[u8]) -> bool {
    value.iter().all(|b| matches!(b, b' '..=b'~'))
}

/// The words of a comma-separated value.
fn words(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&b| b == b',').map(<[u8]>::trim_ascii)
}

/// Whether a byte may stand in a host and port (RFC 3986 §3.2.2).
fn is_host_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"-._~%!$&'()*+;=:[]".contains(&b)
}
