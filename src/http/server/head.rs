//! The head of a request: its end is found, and it is parsed more strictly than by `httparse` or `tiny_http`.
//!
//! Two servers that read one head differently can be played off against each other (request smuggling), so
//! everything for which RFC 9112 allows leniency is refused: bare line feeds here, and odd headers in
//! [`head_fields`](super::head_fields).

use std::ops::Range;
use std::sync::Arc;

use httparse::{EMPTY_HEADER, Error, Status};

use super::access_policy::{Access, AccessPolicy};
use super::head_fields::{BodyFraming, HeadFields, is_visible, request_id};
use super::limits::{MAX_HEAD_BYTES, MAX_HEADERS, MAX_METHOD_BYTES, MAX_TARGET_BYTES};
use super::origin::CROSS_SITE;
use crate::http::response::ErrorResponse;
use crate::ids::RequestId;

const BAD_REQUEST_LINE: ErrorResponse =
    ErrorResponse::new(400, "bad_request_line", "The request line is not `METHOD TARGET HTTP/1.1`.");
const BARE_LINE_FEED: ErrorResponse = ErrorResponse::new(
    400,
    "bare_line_feed",
    "A line of the head ends in a line feed without a carriage return.",
);
const BAD_HEADER: ErrorResponse = ErrorResponse::new(400, "bad_header", "A header line is malformed.");
const BAD_TARGET: ErrorResponse =
    ErrorResponse::new(400, "bad_target", "The request target must be a path and may hold ASCII alone.");
const LONG_TARGET: ErrorResponse =
    ErrorResponse::new(414, "target_too_long", "The request target is over 8 KiB.");
const LARGE_HEAD: ErrorResponse =
    ErrorResponse::new(431, "head_too_large", "The head of the request is over 16 KiB or 64 headers.");
const VERSION: ErrorResponse =
    ErrorResponse::new(505, "http_version", "The server speaks HTTP/1.1 and HTTP/1.0.");

/// A whole, checked head. Ranges are positions in the bytes that were parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    /// The length of the head, with the empty line at its end.
    pub(super) length: usize,
    /// The method.
    pub(super) method: Range<usize>,
    /// Path and query; may be empty, or begin with `?`, if the target was an absolute URI without a path.
    pub(super) target: Range<usize>,
    /// The value of `Content-Type`, if there is one: visible ASCII and spaces.
    pub(super) content_type: Option<Range<usize>>,
    /// The value of `If-None-Match`, if there is one.
    pub(super) if_none_match: Option<Range<usize>>,
    /// The value of `Authorization`, if there is one that can be handed on.
    pub(super) authorization: Option<Range<usize>>,
    /// The names and values of what else its handler needs.
    pub(super) handed_on: Vec<(Range<usize>, Range<usize>)>,
    /// The framing of the body.
    pub(super) framing: BodyFraming,
    /// The client waits for `100 Continue` before it sends the body.
    pub(super) expects_continue: bool,
    /// The connection ends with this request's response.
    pub(super) close: bool,
    /// It is HTTP/1.0, which has no chunks.
    pub(super) is_1_0: bool,
    /// Its sender.
    pub(super) access: Access,
    /// A browser asks whether a page of another site may send a request, and it may.
    pub(super) is_preflight: bool,
    /// Header lines for the response, which say what pages of other sites may read.
    pub(super) cross_origin: Option<Arc<str>>,
    /// The id that its client gives it, if there is one that can be taken.
    pub(super) request_id: Option<RequestId>,
}

/// The position up to which a head has been searched for its end, so that a head that comes byte by byte is
/// not searched again and again.
#[derive(Debug, Default)]
pub(super) struct HeadScan {
    at: usize,
    line: usize,
    start: Option<usize>,
    first_line_done: bool,
}

impl HeadScan {
    /// Finds the end of the head: the position after its empty line. `Ok(None)`: more bytes are needed.
    fn end_of_head(&mut self, input: &[u8]) -> Result<Option<usize>, ErrorResponse> {
        while let Some(step) = input.get(self.at..).and_then(|rest| rest.iter().position(|&b| b == b'\n')) {
            let feed = self.at + step;
            if feed == self.line || input.get(feed - 1) != Some(&b'\r') {
                return Err(BARE_LINE_FEED);
            }
            let empty = feed == self.line + 1;
            match self.start {
                None if !empty => {
                    self.start = Some(self.line);
                    self.first_line_done = true;
                }
                None => {} // empty lines before the request line are skipped (RFC 9112 §2.2)
                Some(_) if empty => return Ok(Some(feed + 1)),
                Some(_) => {}
            }
            self.at = feed + 1;
            self.line = feed + 1;
        }
        self.at = input.len();
        self.within_limits(input).map(|()| None)
    }

    /// Refuses a head that is too large before it is whole.
    fn within_limits(&self, input: &[u8]) -> Result<(), ErrorResponse> {
        if !self.first_line_done {
            let line = input.get(self.line..).unwrap_or_default();
            let method = line.iter().position(|&b| b == b' ');
            match method {
                None if line.len() > MAX_METHOD_BYTES => return Err(BAD_REQUEST_LINE),
                Some(end) if line.len() - end > MAX_TARGET_BYTES + " HTTP/1.1\r\n".len() => {
                    return Err(LONG_TARGET);
                }
                _ => {}
            }
        }
        if input.len() > MAX_HEAD_BYTES { Err(LARGE_HEAD) } else { Ok(()) }
    }
}

/// Parses the head at the beginning of `input`. `Ok(None)`: more bytes are needed; `scan` is to be kept until
/// then, and begun anew for the next request.
///
/// # Errors
/// The head breaks a rule or a limit, or `policy` does not know its sender; the connection cannot be used for
/// another request then.
pub(super) fn parse(
    input: &[u8],
    scan: &mut HeadScan,
    max_body: usize,
    policy: &mut AccessPolicy,
    certificate_name: Option<&str>,
) -> Result<Option<Head>, ErrorResponse> {
    let Some(length) = scan.end_of_head(input)? else { return Ok(None) };
    let start = scan.start.unwrap_or(0);
    let head = input.get(start..length).unwrap_or_default();
    if let Some(refusal) = long_target(head) {
        return Err(refusal);
    }
    if length > MAX_HEAD_BYTES {
        return Err(LARGE_HEAD);
    }
    let mut headers = [EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(head) {
        Ok(Status::Complete(_)) => {}
        Ok(Status::Partial) => return Err(BAD_REQUEST_LINE),
        Err(error) => return Err(refusal_of(error, head)),
    }
    let (Some(method), Some(target), Some(minor)) = (request.method, request.path, request.version) else {
        return Err(BAD_REQUEST_LINE);
    };
    let fields = HeadFields::read(request.headers)?;
    let content_type = fields.content_type.map(|value| range_of(value, head, start));
    let if_none_match = fields.if_none_match.map(|value| range_of(value, head, start));
    let authorization = fields.authorization.filter(|value| is_visible(value));
    let authorization = authorization.map(|value| range_of(value, head, start));
    let ranges = |(name, value): &(&str, &[u8])| {
        (range_of(name.as_bytes(), head, start), range_of(value, head, start))
    };
    let handed_on = fields.handed_on.iter().map(ranges).collect();
    fields.check_host(minor)?;
    policy.check_host(fields.origin.host)?;
    let origin = &fields.origin;
    if has_effect(method.as_bytes()) && origin.is_cross_site() && !policy.origins.allow(origin) {
        return Err(CROSS_SITE);
    }
    let is_preflight = policy.origins.is_preflight(method, origin);
    let method_at = start..start + method.len();
    let target_at = path_and_query(method, target, method_at.end + 1)?;
    // A preflight request never carries a token, and learns nothing.
    let access = if is_preflight {
        Access::Known(None)
    } else {
        let target = input.get(target_at.clone()).unwrap_or_default();
        policy.identify(method, target, fields.authorization, certificate_name)?
    };
    let framing = fields.framing(method, minor, max_body)?;
    Ok(Some(Head {
        length,
        method: method_at,
        target: target_at,
        content_type,
        if_none_match,
        authorization,
        handed_on,
        framing,
        expects_continue: fields.expects_continue && minor == 1,
        close: fields.close || minor == 0,
        is_1_0: minor == 0,
        access,
        is_preflight,
        cross_origin: policy.origins.lines(origin),
        request_id: request_id(request.headers),
    }))
}

/// As [`Head::request_id`], for a head that was refused: its client is to find it in the log, too.
pub(super) fn id_of_refused(input: &[u8]) -> Option<RequestId> {
    let start = input.iter().position(|byte| !matches!(byte, b'\r' | b'\n')).unwrap_or(0);
    let mut headers = [EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let parsed = request.parse(input.get(start..).unwrap_or_default());
    parsed.is_ok_and(|status| status.is_complete()).then(|| request_id(request.headers))?
}

/// Whether a request with this method may have an effect (RFC 9110 §9.2.1).
pub(super) fn has_effect(method: &[u8]) -> bool {
    !matches!(method, b"GET" | b"HEAD" | b"OPTIONS")
}

/// The range of a part of `head` in the input, in which the head begins at `start`.
fn range_of(part: &[u8], head: &[u8], start: usize) -> Range<usize> {
    let at = start + (part.as_ptr() as usize).saturating_sub(head.as_ptr() as usize);
    at..at + part.len()
}

/// The refusal of a whole head whose target is too long.
fn long_target(head: &[u8]) -> Option<ErrorResponse> {
    let line = head.split(|&b| b == b'\r').next().unwrap_or_default();
    if line.len() <= MAX_TARGET_BYTES {
        return None;
    }
    let target = line.split(|&b| b == b' ').nth(1)?;
    (target.len() > MAX_TARGET_BYTES).then_some(LONG_TARGET)
}

/// The refusal of a head that `httparse` does not parse.
fn refusal_of(error: Error, head: &[u8]) -> ErrorResponse {
    let line = head.split(|&b| b == b'\r').next().unwrap_or_default();
    let version = line.rsplit(|&b| b == b' ').next().unwrap_or_default();
    match error {
        Error::TooManyHeaders => LARGE_HEAD,
        Error::HeaderName | Error::HeaderValue => BAD_HEADER,
        Error::Version if is_version(version) => VERSION,
        _ => BAD_REQUEST_LINE,
    }
}

/// Whether a word is `HTTP/` digit `.` digit.
fn is_version(word: &[u8]) -> bool {
    matches!(word, [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
        if major.is_ascii_digit() && minor.is_ascii_digit())
}

/// The range of path and query in a target that begins at `at`: `/path`, `http://host/path`, or `*` for
/// `OPTIONS`.
fn path_and_query(method: &str, target: &str, at: usize) -> Result<Range<usize>, ErrorResponse> {
    if !target.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(BAD_TARGET);
    }
    let whole = at..at + target.len();
    if target.starts_with('/') || (target == "*" && method == "OPTIONS") {
        return Ok(whole);
    }
    let (scheme, rest) = target.split_once("://").ok_or(BAD_TARGET)?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return Err(BAD_TARGET);
    }
    let authority = rest.find(['/', '?']).unwrap_or(rest.len());
    if authority == 0 {
        return Err(BAD_TARGET);
    }
    Ok(whole.end - (rest.len() - authority)..whole.end)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 1000;

    fn parse(input: &[u8]) -> Result<Option<Head>, ErrorResponse> {
        super::parse(input, &mut HeadScan::default(), LIMIT, &mut AccessPolicy::default(), None)
    }

    fn status(input: &str) -> u16 {
        parse(input.as_bytes()).expect_err(input).status
    }

    #[test]
    fn a_head_is_parsed_whole_or_byte_by_byte() {
        let input = b"\r\nPOST /enviar?key=a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello";
        let whole = parse(input).unwrap().unwrap();
        assert_eq!(&input[whole.method.clone()], b"POST");
        assert_eq!(&input[whole.target.clone()], b"/enviar?key=a");
        assert_eq!(
            (whole.framing, whole.length, whole.close),
            (BodyFraming::Length(5), input.len() - 5, false)
        );
        let (mut scan, mut open_policy) = (HeadScan::default(), AccessPolicy::default());
        for end in 0..whole.length {
            assert_eq!(
                super::parse(&input[..end], &mut scan, LIMIT, &mut open_policy, None),
                Ok(None),
                "at {end}"
            );
        }
        assert_eq!(
            super::parse(&input[..whole.length], &mut scan, LIMIT, &mut open_policy, None),
            Ok(Some(whole))
        );
    }

    #[test]
    fn the_content_type_is_found() {
        let input =
            b"\r\nPOST / HTTP/1.1\r\nContent-Type:  text/x;\ty=z \r\nHost: x\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(parse(input).unwrap_err().code, "bad_content_type", "a tab is not visible");
        let input =
            b"\r\nPOST / HTTP/1.1\r\nContent-Type:  text/x; y=z \r\nHost: x\r\nContent-Length: 0\r\n\r\n";
        let head = parse(input).unwrap().unwrap();
        assert_eq!(&input[head.content_type.unwrap()], b"text/x; y=z");
        let twice = "GET / HTTP/1.1\r\nHost: x\r\nContent-Type: a/b\r\nContent-Type: a/b\r\n\r\n";
        assert_eq!(status(twice), 400);
    }

    #[test]
    fn an_effect_is_refused_to_the_page_of_another_site() {
        for (headers, refused) in [
            ("", false),
            ("Origin: http://x:1\r\n", false),
            ("Origin: http://y:1\r\n", true),
            ("Sec-Fetch-Site: cross-site\r\n", true),
        ] {
            let head = format!("/ HTTP/1.1\r\n{headers}Host: x:1\r\nContent-Length: 0\r\n\r\n");
            for method in ["POST", "DELETE", "PUT"] {
                let result = parse(format!("{method} {head}").as_bytes());
                assert_eq!(result.is_err_and(|refusal| refusal.status == 403), refused, "{method} {headers}");
            }
            assert!(parse(format!("GET {head}").as_bytes()).is_ok(), "{headers}");
        }
    }

    #[test]
    fn an_absolute_target_loses_its_host() {
        for (target, rest) in [("http://h/a?b", "/a?b"), ("HTTP://h:1", ""), ("https://h?x", "?x")] {
            let input = format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n");
            let head = parse(input.as_bytes()).unwrap().unwrap();
            assert_eq!(&input[head.target], rest);
        }
    }

    #[test]
    fn malformed_request_lines_are_refused() {
        for line in
            ["GET", "GET /", "GET  / HTTP/1.1", " GET / HTTP/1.1", "GET / HTTP/1.1 x", "G\tT / HTTP/1.1"]
        {
            assert_eq!(status(&format!("{line}\r\nHost: x\r\n\r\n")), 400, "{line:?}");
        }
        for target in ["x", "ftp://h/", "*", "http:///", "/é"] {
            assert_eq!(status(&format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n")), 400, "{target:?}");
        }
        for version in ["HTTP/2.0", "HTTP/1.2", "HTTP/0.9"] {
            assert_eq!(status(&format!("GET / {version}\r\nHost: x\r\n\r\n")), 505);
        }
        for version in ["HTTP/1", "http/1.1", "HTTP/11.1"] {
            assert_eq!(status(&format!("GET / {version}\r\nHost: x\r\n\r\n")), 400);
        }
    }

    #[test]
    fn a_bare_line_feed_is_refused_before_the_head_is_whole() {
        for input in ["\n", "GET / HTTP/1.1\n", "GET / HTTP/1.1\r\nHost: x\n", "GET / HTTP/1.1\r\nA: b\r\n\n"]
        {
            assert_eq!(status(input), 400, "{input:?}");
        }
        assert_eq!(status("GET / HTTP/1.1\r\nHost: x\r\nA: b\rc\r\n\r\n"), 400);
    }

    #[test]
    fn odd_headers_are_refused() {
        let host = "Host: x\r\n";
        for headers in ["", "Host: a\r\nHost: a\r\n", "Host: a b\r\n", "Host: a/b\r\n"] {
            assert_eq!(status(&format!("GET / HTTP/1.1\r\n{headers}\r\n")), 400, "{headers:?}");
        }
        for headers in ["A : b\r\n", "A\r\n", ": b\r\n", "A: b\r\n c\r\n", "A: \0\r\n"] {
            assert_eq!(status(&format!("GET / HTTP/1.1\r\n{host}{headers}\r\n")), 400, "{headers:?}");
        }
        for length in ["abc", "-1", "+1", "1, 1", "", "1 1", "0x1"] {
            assert_eq!(status(&format!("POST / HTTP/1.1\r\n{host}Content-Length: {length}\r\n\r\n")), 400);
        }
        let twice = "Content-Length: 1\r\nContent-Length: 1\r\n";
        assert_eq!(status(&format!("POST / HTTP/1.1\r\n{host}{twice}\r\n")), 400);
        let twice = "Authorization: Bearer a\r\nauthorization: Bearer a\r\n";
        assert_eq!(status(&format!("GET / HTTP/1.1\r\n{host}{twice}\r\n")), 400);
        let both = "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n";
        assert_eq!(status(&format!("POST / HTTP/1.1\r\n{host}{both}\r\n")), 400);
        assert_eq!(status("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), 400);
    }

    #[test]
    fn each_limit_has_its_status() {
        let host = "Host: x\r\n";
        assert_eq!(status(&format!("POST / HTTP/1.1\r\n{host}\r\n")), 411);
        for length in ["1001", "99999999999999", "99999999999999999999999999999999"] {
            assert_eq!(status(&format!("POST / HTTP/1.1\r\n{host}Content-Length: {length}\r\n\r\n")), 413);
        }
        let long = "a".repeat(MAX_TARGET_BYTES);
        assert_eq!(status(&format!("GET /{long} HTTP/1.1\r\n{host}\r\n")), 414);
        assert_eq!(status(&format!("GET /{long}aaaaaaaaaaaaaaaaaaaa")), 414);
        assert_eq!(status(&"A".repeat(100)), 400);
        assert_eq!(status(&format!("GET / HTTP/1.1\r\n{host}Content-Encoding: br\r\n\r\n")), 415);
        assert_eq!(status(&format!("GET / HTTP/1.1\r\n{host}Expect: more\r\n\r\n")), 417);
        let many = "A: b\r\n".repeat(MAX_HEADERS);
        assert_eq!(status(&format!("GET / HTTP/1.1\r\n{host}{many}\r\n")), 431);
        let large = format!("A: {}\r\n", "b".repeat(MAX_HEAD_BYTES));
        assert_eq!(status(&format!("GET / HTTP/1.1\r\n{host}{large}\r\n")), 431);
        assert_eq!(status(&format!("GET / HTTP/1.1\r\n{host}{large}")), 431);
        for coding in ["gzip", "gzip, chunked", "identity", "xchunked", ""] {
            assert_eq!(status(&format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding: {coding}\r\n\r\n")), 501);
        }
    }

    #[test]
    fn the_connection_header_decides_whether_it_stays_open() {
        for (version, header, close) in [
            ("1.1", "", false),
            ("1.1", "Connection: keep-alive, Close\r\n", true),
            ("1.1", "Connection: closed\r\n", false),
            ("1.0", "Connection: keep-alive\r\n", true),
        ] {
            let input = format!("GET / HTTP/{version}\r\nHost: x\r\n{header}\r\n");
            assert_eq!(parse(input.as_bytes()).unwrap().unwrap().close, close, "{input:?}");
        }
    }
}
