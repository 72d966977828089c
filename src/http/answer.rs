//! An answer of ours: a status, a JSON body, and the few headers that a status asks for.
//!
//! Header values are constants of this program. What a client sent can only come back inside a body.

/// The header lines of a JSON answer.
const JSON: &str = "Content-Type: application/json\r\n";
/// The same for an answer that asks the client to come back in a second.
const JSON_RETRY: &str = "Content-Type: application/json\r\nRetry-After: 1\r\n";
/// The same for a method that a path does not have, where it has `POST` alone.
const JSON_ALLOW_POST: &str = "Content-Type: application/json\r\nAllow: POST\r\n";

/// A whole answer, before it has been put into HTTP's form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The HTTP status code.
    pub(crate) status: u16,
    /// Whole header lines, each with its CRLF; without `Date`, `Connection` and `Content-Length`, which the
    /// door adds.
    pub(crate) headers: &'static str,
    /// The body.
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// A JSON answer with a body that is JSON already.
    pub(crate) fn json(status: u16, body: Vec<u8>) -> Answer {
        Answer { status, headers: JSON, body }
    }

    /// An error: `{"error":{"code":…,"message":…}}`. A 503 carries `Retry-After`.
    ///
    /// `code` is a word that programs compare, `message` one sentence for a person.
    pub(crate) fn error(status: u16, code: &str, message: &str) -> Answer {
        let body = serde_json::json!({"error": {"code": code, "message": message}}).to_string().into_bytes();
        Answer { status, headers: if status == 503 { JSON_RETRY } else { JSON }, body }
    }

    /// The answer to a method that a path does not have; the path has `POST`.
    pub(crate) fn only_post() -> Answer {
        let message = "This path takes POST alone.";
        Answer { headers: JSON_ALLOW_POST, ..Answer::error(405, "method_not_allowed", message) }
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
