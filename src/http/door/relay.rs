//! Answers of the handlers, taken from the private connection.

use httparse::{EMPTY_HEADER, Header, Status};

use super::limits::{MAX_ANSWER_BYTES, MAX_HEAD_BYTES};

/// The most headers that an answer of a handler has.
const MAX_ANSWER_HEADERS: usize = 32;

/// One answer of a handler.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Relayed<'a> {
    /// Its status code.
    pub(super) status: u16,
    /// Whole header lines for the client.
    pub(super) headers: Vec<u8>,
    /// The body's length as declared; with `HEAD` there is none, whatever this says.
    pub(super) length: usize,
    /// Its body.
    pub(super) body: &'a [u8],
    /// Bytes that it took, head and body.
    pub(super) used: usize,
}

/// What came on the private connection is not an answer that a handler of ours gives.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotAnAnswer;

/// Takes one answer from the beginning of `input`; `head_only`: it answers a `HEAD`. `Ok(None)`: more is
/// needed.
///
/// # Errors
/// The connection is out of step and has to be given up.
pub(super) fn take(input: &[u8], head_only: bool) -> Result<Option<Relayed<'_>>, NotAnAnswer> {
    let mut headers = [EMPTY_HEADER; MAX_ANSWER_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let head = match response.parse(input) {
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) if input.len() <= MAX_HEAD_BYTES => return Ok(None),
        _ => return Err(NotAnAnswer),
    };
    let status = response.code.ok_or(NotAnAnswer)?;
    let mut length = None;
    let mut lines = Vec::new();
    for header in response.headers.iter() {
        if header.name.eq_ignore_ascii_case("content-length") {
            length = std::str::from_utf8(header.value).ok().and_then(|value| value.parse::<usize>().ok());
        } else if !is_ours_to_write(header) {
            for part in [header.name.as_bytes(), b": ", header.value, b"\r\n"] {
                lines.extend_from_slice(part);
            }
        }
    }
    let no_body = head_only || status == 204 || status == 304;
    let length =
        length.or(no_body.then_some(0)).filter(|&length| length <= MAX_ANSWER_BYTES).ok_or(NotAnAnswer)?;
    let used = head + if no_body { 0 } else { length };
    let body = input.get(head..used);
    Ok(body.map(|body| Relayed { status, headers: lines, length, body, used }))
}

/// Headers that belong to one connection, or that the door writes itself.
fn is_ours_to_write(header: &Header<'_>) -> bool {
    ["date", "server", "connection", "keep-alive", "transfer-encoding", "trailer", "upgrade"]
        .iter()
        .any(|name| header.name.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &[u8] = b"HTTP/1.1 404 Not Found\r\nServer: s\r\nDate: d\r\nContent-Type: t\r\n\
                            Content-Length: 2\r\n\r\nhiHTTP/1.1";

    #[test]
    fn an_answer_is_taken_when_it_is_whole() {
        let whole = ANSWER.len() - "HTTP/1.1".len();
        for end in 0..whole {
            assert_eq!(take(&ANSWER[..end], false), Ok(None));
        }
        let answer = take(ANSWER, false).unwrap().unwrap();
        assert_eq!((answer.status, answer.body, answer.used), (404, b"hi".as_slice(), whole));
        assert_eq!(answer.headers, b"Content-Type: t\r\n");
    }

    #[test]
    fn an_answer_to_head_ends_with_its_head() {
        let answer = take(ANSWER, true).unwrap().unwrap();
        assert_eq!((answer.length, answer.body), (2, b"".as_slice()));
    }

    #[test]
    fn anything_else_is_out_of_step() {
        for input in ["x", "HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"] {
            assert_eq!(take(input.as_bytes(), false), Err(NotAnAnswer), "{input:?}");
        }
        let huge = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", MAX_ANSWER_BYTES + 1);
        assert_eq!(take(huge.as_bytes(), false), Err(NotAnAnswer));
    }
}
