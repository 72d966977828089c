//! A response before it is written: status, header lines and body.
//!
//! Header values are words of this program. Bytes that a client sent can only come back inside a body.

use std::borrow::Cow;
use std::sync::Arc;

use super::held::HeldBytes;

/// The header line of a JSON response.
const JSON: &str = "Content-Type: application/json\r\n";
/// The header line of a JSON response of the REST API (v2).
const KAFKA: &str = "Content-Type: application/vnd.kafka.v2+json\r\n";
/// The header line that asks the client to retry after a second.
const RETRY: &str = "Retry-After: 1\r\n";
/// The header line that asks a client with wrong passwords to retry later.
const RETRY_LATER: &str = "Retry-After: 5\r\n";
/// The header line that names the authentication scheme (RFC 6750 §3).
const BEARER: &str = "WWW-Authenticate: Bearer\r\n";

/// A whole response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Response {
    /// The HTTP status code.
    pub(crate) status: u16,
    /// Whole header lines, each with its CRLF; without `Date`, `Connection` and `Content-Length`,
    /// which the server adds.
    pub(crate) headers: Cow<'static, str>,
    /// The body.
    pub(crate) body: Vec<u8>,
    /// The memory that it takes until it is written, where that is counted.
    pub(crate) held: Option<Arc<HeldBytes>>,
}

impl Response {
    /// A response whose body is JSON already.
    pub(crate) fn json(status: u16, body: Vec<u8>) -> Response {
        Response { status, headers: JSON.into(), body, held: None }
    }

    /// A response without a body.
    pub(crate) fn empty(status: u16) -> Response {
        Response { status, headers: Cow::Borrowed(""), body: Vec::new(), held: None }
    }

    /// A response of another media type.
    pub(crate) fn of_type(status: u16, media_type: &'static str, body: Vec<u8>) -> Response {
        Response { status, headers: format!("Content-Type: {media_type}\r\n").into(), body, held: None }
    }

    /// An error in the form that all errors have:
    /// `{"error":{"code":…,"message":…},"error_code":…,"message":…}`. A 429 and a 503 carry `Retry-After`, a
    /// 401 `WWW-Authenticate`.
    ///
    /// `code` is a word for programs, `message` one sentence for people. `error_code` and the second
    /// `message` stand where clients of a Kafka REST proxy (v2) look for them.
    pub(crate) fn error(status: u16, code: &str, message: &str) -> Response {
        Response::error_numbered(status, u32::from(status), code, message)
    }

    /// A response as [`Response::error`], with the `error_code` of REST proxies where it is not the status.
    pub(crate) fn error_numbered(status: u16, number: u32, code: &str, message: &str) -> Response {
        let error = serde_json::json!({
            "error": {"code": code, "message": message}, "error_code": number, "message": message,
        });
        Response::json(status, error.to_string().into_bytes()).advised()
    }

    /// The response with the header line of its status, if it has one: 429 and 503 carry `Retry-After`, 401
    /// `WWW-Authenticate`.
    pub(crate) fn advised(self) -> Response {
        match self.status {
            401 => self.with(BEARER),
            429 => self.with(RETRY_LATER),
            503 => self.with(RETRY),
            _ => self,
        }
    }

    /// The same response with the media type of the REST API (v2).
    pub(crate) fn with_kafka_type(mut self) -> Response {
        if let Some(rest) = self.headers.strip_prefix(JSON) {
            self.headers = format!("{KAFKA}{rest}").into();
        }
        self
    }

    /// The response to a method that a path does not have; `allowed` lists the methods that it has.
    pub(crate) fn method_not_allowed(allowed: &str) -> Response {
        let message = format!("This path takes {allowed} alone.");
        Response::error(405, "method_not_allowed", &message).with(&format!("Allow: {allowed}\r\n"))
    }

    /// The response with a further header line, which ends in CRLF and holds nothing that a client sent.
    pub(crate) fn with(mut self, line: &str) -> Response {
        self.headers.to_mut().push_str(line);
        self
    }
}

/// A fixed error response: status, code and sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ErrorResponse {
    /// The HTTP status code.
    pub(crate) status: u16,
    /// The error's code.
    pub(crate) code: &'static str,
    /// A sentence for people.
    pub(crate) message: &'static str,
}

impl ErrorResponse {
    /// An error with its status, code and sentence.
    pub(crate) const fn new(status: u16, code: &'static str, message: &'static str) -> ErrorResponse {
        ErrorResponse { status, code, message }
    }

    /// The error as a response.
    pub(crate) fn response(&self) -> Response {
        Response::error(self.status, self.code, self.message)
    }
}

/// The reason phrase of a status code (RFC 9110 §15); empty for codes that this server never sends.
pub(crate) fn reason_phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        202 => "Accepted",
        204 => "No Content",
        207 => "Multi-Status",
        304 => "Not Modified",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        411 => "Length Required",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_escapes_its_sentence() {
        let response = Response::error(400, "bad_json", "line \"1\"\r\nX: y");
        let body: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
        assert_eq!(body["error"]["message"], "line \"1\"\r\nX: y");
        assert!(!response.body.contains(&b'\n'));
    }

    #[test]
    fn only_a_503_asks_for_a_retry() {
        assert!(Response::error(503, "queue_full", "x").headers.contains("Retry-After: 1\r\n"));
        assert!(!Response::error(504, "unknown", "x").headers.contains("Retry-After"));
    }
}
