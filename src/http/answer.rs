//! An answer of ours: a status, the few headers that it needs, and a body.
//!
//! Header values are words of this program. What a client sent can only come back inside a body.

use std::borrow::Cow;

/// The header lines of a JSON answer.
const JSON: &str = "Content-Type: application/json\r\n";
/// The header line of a JSON answer of the REST API (v2).
const KAFKA: &str = "Content-Type: application/vnd.kafka.v2+json\r\n";
/// The line that asks the client to come back in a second.
const RETRY: &str = "Retry-After: 1\r\n";
/// The line that says what a client has to show (RFC 6750 §3).
const BEARER: &str = "WWW-Authenticate: Bearer\r\n";

/// A whole answer, before it has been put into HTTP's form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The HTTP status code.
    pub(crate) status: u16,
    /// Whole header lines, each with its CRLF; without `Date`, `Connection` and `Content-Length`, which the
    /// door adds.
    pub(crate) headers: Cow<'static, str>,
    /// The body.
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// A JSON answer with a body that is JSON already.
    pub(crate) fn json(status: u16, body: Vec<u8>) -> Answer {
        Answer { status, headers: JSON.into(), body }
    }

    /// An answer of another media type.
    pub(crate) fn of_type(status: u16, media_type: &'static str, body: Vec<u8>) -> Answer {
        Answer { status, headers: format!("Content-Type: {media_type}\r\n").into(), body }
    }

    /// An error in the one form that all have: `{"error":{"code":…,"message":…},"error_code":…,"message":…}`.
    /// A 503 carries `Retry-After`, a 401 `WWW-Authenticate`.
    ///
    /// `code` is a word that programs compare, `message` one sentence for a person; beside them stand the
    /// same sentence and the status, where clients of a Kafka REST proxy (v2) look for them.
    pub(crate) fn error(status: u16, code: &str, message: &str) -> Answer {
        Answer::error_numbered(status, u32::from(status), code, message)
    }

    /// As [`Answer::error`], with a number of its own where the REST proxies' is not the status.
    pub(crate) fn error_numbered(status: u16, number: u32, code: &str, message: &str) -> Answer {
        let error = serde_json::json!({
            "error": {"code": code, "message": message}, "error_code": number, "message": message,
        });
        let answer = Answer::json(status, error.to_string().into_bytes());
        match status {
            401 => answer.with(BEARER),
            503 => answer.with(RETRY),
            _ => answer,
        }
    }

    /// The same answer with the media type of the REST API (v2).
    pub(crate) fn for_kafka(mut self) -> Answer {
        if let Some(rest) = self.headers.strip_prefix(JSON) {
            self.headers = format!("{KAFKA}{rest}").into();
        }
        self
    }

    /// The answer to a method that a path does not have; `allowed` are those that it has.
    pub(crate) fn method_not_allowed(allowed: &str) -> Answer {
        let message = format!("This path takes {allowed} alone.");
        Answer::error(405, "method_not_allowed", &message).with(&format!("Allow: {allowed}\r\n"))
    }

    /// The answer with a further header line, which ends in CRLF and holds nothing that a client sent.
    pub(crate) fn with(mut self, line: &str) -> Answer {
        self.headers.to_mut().push_str(line);
        self
    }
}

/// A request that is refused for its form, before any handler sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The HTTP status code.
    pub(crate) status: u16,
    /// The error's code.
    pub(crate) code: &'static str,
    /// One sentence.
    pub(crate) message: &'static str,
}

impl Refusal {
    /// A refusal with its status, code and sentence.
    pub(crate) const fn new(status: u16, code: &'static str, message: &'static str) -> Refusal {
        Refusal { status, code, message }
    }

    /// The refusal as an answer.
    pub(crate) fn answer(&self) -> Answer {
        Answer::error(self.status, self.code, self.message)
    }
}

/// The reason phrase of a status code (RFC 9110 §15); empty for those that nothing here sends.
pub(crate) fn reason(status: u16) -> &'static str {
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
        422 => "Unprocessable Content",
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
    fn an_error_quotes_what_its_sentence_holds() {
        let answer = Answer::error(400, "bad_json", "line \"1\"\r\nX: y");
        let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(body["error"]["message"], "line \"1\"\r\nX: y");
        assert!(!answer.body.contains(&b'\n'));
    }

    #[test]
    fn only_a_503_asks_to_come_back() {
        assert!(Answer::error(503, "queue_full", "x").headers.contains("Retry-After: 1\r\n"));
        assert!(!Answer::error(504, "unknown", "x").headers.contains("Retry-After"));
    }
}
