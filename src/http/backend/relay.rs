//! The parser for the handlers' responses on the private connection.

use httparse::{EMPTY_HEADER, Header, Status};

/// The largest head of a response, in bytes.
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// The largest body of a response, in bytes.
const MAX_BODY_BYTES: usize = 64 * 1024 * 1024;

/// The most headers of a response.
const MAX_HEADERS: usize = 32;

/// A response of a handler.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BackendResponse<'a> {
    /// Its status code.
    pub(crate) status: u16,
    /// Whole header lines for the client.
    pub(crate) headers: Vec<u8>,
    /// The declared length of the body; a response to `HEAD` has no body all the same.
    pub(crate) length: usize,
    /// Its body.
    pub(crate) body: &'a [u8],
    /// The length of head and body in the input.
    pub(crate) used: usize,
}

/// The bytes on the private connection are not the response of a handler.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct OutOfStep;

/// Parses one response at the beginning of `input`; `head_only`: it answers a `HEAD`. `Ok(None)`: more bytes
/// are needed.
///
/// # Errors
/// The connection is out of step and has to be closed.
pub(crate) fn parse(input: &[u8], head_only: bool) -> Result<Option<BackendResponse<'_>>, OutOfStep> {
    let mut headers = [EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let head = match response.parse(input) {
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) if input.len() <= MAX_HEAD_BYTES => return Ok(None),
        _ => return Err(OutOfStep),
    };
    let status = response.code.ok_or(OutOfStep)?;
    let mut length = None;
    let mut lines = Vec::new();
    for header in response.headers.iter() {
        if header.name.eq_ignore_ascii_case("content-length") {
            length = std::str::from_utf8(header.value).ok().and_then(|value| value.parse::<usize>().ok());
        } else if !is_written_by_server(header) {
            for part in [header.name.as_bytes(), b": ", header.value, b"\r\n"] {
                lines.extend_from_slice(part);
            }
        }
    }
    let no_body = head_only || status == 204 || status == 304;
    let length =
        length.or(no_body.then_some(0)).filter(|&length| length <= MAX_BODY_BYTES).ok_or(OutOfStep)?;
    let used = head + if no_body { 0 } else { length };
    let body = input.get(head..used);
    Ok(body.map(|body| BackendResponse { status, headers: lines, length, body, used }))
}

/// Headers that belong to one connection, or that the server writes itself.
fn is_written_by_server(header: &Header<'_>) -> bool {
    ["date", "server", "connection", "keep-alive", "transfer-encoding", "trailer", "upgrade"]
        .iter()
        .any(|name| header.name.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESPONSE: &[u8] = b"HTTP/1.1 404 Not Found\r\nServer: s\r\nDate: d\r\nContent-Type: t\r\n\
                            Content-Length: 2\r\n\r\nhiHTTP/1.1";

    #[test]
    fn a_response_is_parsed_when_it_is_whole() {
        let whole = RESPONSE.len() - "HTTP/1.1".len();
        for end in 0..whole {
            assert_eq!(parse(&RESPONSE[..end], false), Ok(None));
        }
        let response = parse(RESPONSE, false).unwrap().unwrap();
        assert_eq!((response.status, response.body, response.used), (404, b"hi".as_slice(), whole));
        assert_eq!(response.headers, b"Content-Type: t\r\n");
    }

    #[test]
    fn a_response_to_head_ends_with_its_head() {
        let response = parse(RESPONSE, true).unwrap().unwrap();
        assert_eq!((response.length, response.body), (2, b"".as_slice()));
    }

    #[test]
    fn anything_else_is_out_of_step() {
        for input in ["x", "HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"] {
            assert_eq!(parse(input.as_bytes(), false), Err(OutOfStep), "{input:?}");
        }
        let huge = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", MAX_BODY_BYTES + 1);
        assert_eq!(parse(huge.as_bytes(), false), Err(OutOfStep));
    }
}
