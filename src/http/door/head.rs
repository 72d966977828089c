//! The head of a request: found, parsed, and checked more strictly than `httparse` or `tiny_http` do.
//!
//! Two servers that read one head differently can be played off against each other (request smuggling), so
//! whatever RFC 9112 leaves to leniency is refused: bare line feeds, missing or doubled `Host`, doubled or
//! odd `Content-Length`, `Content-Length` beside `Transfer-Encoding`.

use std::ops::Range;

use httparse::{EMPTY_HEADER, Error, Header, Status};

use super::limits::{MAX_HEAD_BYTES, MAX_HEADERS, MAX_METHOD_BYTES, MAX_TARGET_BYTES};
use super::site::{FOREIGN, Site};
use crate::http::answer::Refusal;
use crate::http::guard::Guard;

const BAD_REQUEST_LINE: Refusal =
    Refusal::new(400, "bad_request_line", "The request line is not `METHOD TARGET HTTP/1.1`.");
const BARE_LINE_FEED: Refusal =
    Refusal::new(400, "bare_line_feed", "A line of the head ends in a line feed without a carriage return.");
const BAD_HEADER: Refusal = Refusal::new(400, "bad_header", "A header line is malformed.");
const BAD_CONTENT_TYPE: Refusal =
    Refusal::new(400, "bad_content_type", "Content-Type must be given once, in visible ASCII.");
const BAD_AUTHORIZATION: Refusal = Refusal::new(400, "bad_authorization", "Authorization may be given once.");
const BAD_TARGET: Refusal =
    Refusal::new(400, "bad_target", "The request target must be a path and may hold ASCII alone.");
const BAD_HOST: Refusal =
    Refusal::new(400, "bad_host", "An HTTP/1.1 request needs exactly one well-formed Host header.");
const BAD_LENGTH: Refusal =
    Refusal::new(400, "bad_content_length", "Content-Length must be given once and be a decimal number.");
const LENGTH_AND_CODING: Refusal = Refusal::new(
    400,
    "length_and_encoding",
    "A request may not have both Content-Length and Transfer-Encoding.",
);
const CODING_IN_1_0: Refusal =
    Refusal::new(400, "encoding_in_http_1_0", "HTTP/1.0 does not have Transfer-Encoding.");
const NO_LENGTH: Refusal =
    Refusal::new(411, "length_required", "The request needs Content-Length or `Transfer-Encoding: chunked`.");
const LONG_TARGET: Refusal = Refusal::new(414, "target_too_long", "The request target is over 8 KiB.");
const CODED_CONTENT: Refusal =
    Refusal::new(415, "content_encoding", "Bodies with a Content-Encoding are not taken; send it plain.");
const EXPECTATION: Refusal =
    Refusal::new(417, "expectation_failed", "The only expectation that can be met is `100-continue`.");
const LARGE_HEAD: Refusal =
    Refusal::new(431, "head_too_large", "The head of the request is over 16 KiB or 64 headers.");
const UNKNOWN_CODING: Refusal =
    Refusal::new(501, "unknown_transfer_encoding", "The only Transfer-Encoding taken is `chunked`.");
const VERSION: Refusal = Refusal::new(505, "http_version", "The server speaks HTTP/1.1 and HTTP/1.0.");

/// A body over the limit, whether declared or streamed.
pub(super) const LARGE_BODY: Refusal =
    Refusal::new(413, "body_too_large", "The body is larger than `producer_api.max_body_bytes`.");

/// How the body's end is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// This many bytes follow; 0 if there is no body.
    Length(usize),
    /// `Transfer-Encoding: chunked`.
    Chunked,
}

/// A whole, checked head. Ranges are places in the bytes that were parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    /// Bytes of the head, the empty line at its end included.
    pub(super) length: usize,
    /// The method.
    pub(super) method: Range<usize>,
    /// Path and query; may be empty, or begin with `?`, if the target was an absolute URI without a path.
    pub(super) target: Range<usize>,
    /// What the body is said to be, if anything: visible ASCII and spaces.
    pub(super) content_type: Option<Range<usize>>,
    /// The versions of the answer that the client has already (`If-None-Match`), if any.
    pub(super) if_none_match: Option<Range<usize>>,
    /// What follows the head.
    pub(super) framing: Framing,
    /// The client waits for `100 Continue` before it sends the body.
    pub(super) expects_continue: bool,
    /// The connection ends with this request's answer.
    pub(super) close: bool,
    /// It is HTTP/1.0, which knows no chunks.
    pub(super) is_1_0: bool,
}

/// How far a head has been looked through, so that a head which comes byte by byte is not read again and
/// again.
#[derive(Debug, Default)]
pub(super) struct Scan {
    at: usize,
    line: usize,
    start: Option<usize>,
    first_line_done: bool,
}

impl Scan {
    /// Looks for the end of the head, the place after its empty line. `Ok(None)`: it is not there yet.
    fn end_of_head(&mut self, input: &[u8]) -> Result<Option<usize>, Refusal> {
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
    fn within_limits(&self, input: &[u8]) -> Result<(), Refusal> {
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

/// Takes the head from the beginning of `input`. `Ok(None)`: more bytes are needed; `scan` is to be kept
/// until then, and begun anew for the next request.
///
/// # Errors
/// The refusal, if the head breaks a rule or a limit, or `guard` does not let it in; the connection cannot be used for another request then.
pub(super) fn take(
    input: &[u8],
    scan: &mut Scan,
    max_body: usize,
    guard: &Guard,
) -> Result<Option<Head>, Refusal> {
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
    let fields = Fields::read(request.headers)?;
    let content_type = fields.content_type.map(|value| place_of(value, head, start));
    let if_none_match = fields.if_none_match.map(|value| place_of(value, head, start));
    fields.check_host(minor)?;
    guard.check_host(fields.site.host)?;
    if has_effect(method.as_bytes()) && fields.site.is_foreign() {
        return Err(FOREIGN);
    }
    let method_at = start..start + method.len();
    let target_at = path_and_query(method, target, method_at.end + 1)?;
    guard.check(method, input.get(target_at.clone()).unwrap_or_default(), fields.authorization)?;
    let framing = fields.framing(method, minor, max_body)?;
    Ok(Some(Head {
        length,
        method: method_at,
        target: target_at,
        content_type,
        if_none_match,
        framing,
        expects_continue: fields.expects_continue && minor == 1,
        close: fields.close || minor == 0,
        is_1_0: minor == 0,
    }))
}

/// Whether a request with this method may have an effect (RFC 9110 §9.2.1).
pub(super) fn has_effect(method: &[u8]) -> bool {
    !matches!(method, b"GET" | b"HEAD" | b"OPTIONS")
}

/// Where a part of `head` is in the input, in which the head begins at `start`.
fn place_of(part: &[u8], head: &[u8], start: usize) -> Range<usize> {
    let at = start + (part.as_ptr() as usize).saturating_sub(head.as_ptr() as usize);
    at..at + part.len()
}

/// Whether the target of a whole head is too long.
fn long_target(head: &[u8]) -> Option<Refusal> {
    let line = head.split(|&b| b == b'\r').next().unwrap_or_default();
    if line.len() <= MAX_TARGET_BYTES {
        return None;
    }
    let target = line.split(|&b| b == b' ').nth(1)?;
    (target.len() > MAX_TARGET_BYTES).then_some(LONG_TARGET)
}

/// What httparse's error means to the client.
fn refusal_of(error: Error, head: &[u8]) -> Refusal {
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

/// Path and query of a target that begins at `at`: of `/path`, of `http://host/path`, or `*` for `OPTIONS`.
fn path_and_query(method: &str, target: &str, at: usize) -> Result<Range<usize>, Refusal> {
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

/// What the headers say, as far as the door cares.
#[derive(Default)]
struct Fields<'a> {
    hosts: usize,
    bad_host: bool,
    site: Site<'a>,
    content_type: Option<&'a [u8]>,
    authorization: Option<&'a [u8]>,
    if_none_match: Option<&'a [u8]>,
    length: Option<usize>,
    chunked: bool,
    expects_continue: bool,
    close: bool,
}

impl<'a> Fields<'a> {
    fn read(headers: &[Header<'a>]) -> Result<Fields<'a>, Refusal> {
        let mut fields = Fields::default();
        for header in headers {
            let is = |name: &str| header.name.eq_ignore_ascii_case(name);
            let value = header.value.trim_ascii();
            match header.name.len() {
                4 if is("host") => {
                    fields.hosts += 1;
                    fields.bad_host |= !value.iter().all(|&b| is_host_byte(b));
                    fields.site.host = value;
                }
                6 if is("origin") => fields.site.origins.push(value),
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
                14 if is("sec-fetch-site") => fields.site.fetch_site = value,
                16 if is("content-encoding") && !value.eq_ignore_ascii_case(b"identity") => {
                    return Err(CODED_CONTENT);
                }
                17 if is("transfer-encoding") => {
                    if fields.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                        return Err(UNKNOWN_CODING);
                    }
                    fields.chunked = true;
                }
                _ => {}
            }
        }
        Ok(fields)
    }

    fn take_authorization(&mut self, value: &'a [u8]) -> Result<(), Refusal> {
        if self.authorization.replace(value).is_some() { Err(BAD_AUTHORIZATION) } else { Ok(()) }
    }

    fn take_length(&mut self, value: &[u8]) -> Result<(), Refusal> {
        if self.length.is_some() || value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
            return Err(BAD_LENGTH);
        }
        let number = std::str::from_utf8(value).ok().and_then(|digits| digits.parse().ok());
        self.length = Some(number.unwrap_or(usize::MAX)); // more digits than a number holds: too large
        Ok(())
    }

    fn check_host(&self, minor: u8) -> Result<(), Refusal> {
        let right_number = self.hosts == 1 || (self.hosts == 0 && minor == 0);
        if right_number && !self.bad_host { Ok(()) } else { Err(BAD_HOST) }
    }

    fn framing(&self, method: &str, minor: u8, max_body: usize) -> Result<Framing, Refusal> {
        match (self.length, self.chunked) {
            (Some(_), true) => Err(LENGTH_AND_CODING),
            (None, true) if minor == 0 => Err(CODING_IN_1_0),
            (None, true) => Ok(Framing::Chunked),
            (Some(length), false) if length > max_body => Err(LARGE_BODY),
            (Some(length), false) => Ok(Framing::Length(length)),
            (None, false) if matches!(method, "POST" | "PUT" | "PATCH") => Err(NO_LENGTH),
            (None, false) => Ok(Framing::Length(0)),
        }
    }
}

/// Whether a header's value can be handed on as it is.
fn is_visible(value: &[u8]) -> bool {
    value.iter().all(|b| matches!(b, b' '..=b'~'))
}

/// The words of a comma-separated header value.
fn words(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&b| b == b',').map(<[u8]>::trim_ascii)
}

/// Whether a byte may stand in a host and port (RFC 3986 §3.2.2).
fn is_host_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"-._~%!$&'()*+;=:[]".contains(&b)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 1000;

    fn parse(input: &[u8]) -> Result<Option<Head>, Refusal> {
        take(input, &mut Scan::default(), LIMIT, &Guard::default())
    }

    fn status(input: &str) -> u16 {
        parse(input.as_bytes()).expect_err(input).status
    }

    #[test]
    fn a_head_is_taken_whole_or_byte_by_byte() {
        let input = b"\r\nPOST /enviar?key=a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello";
        let whole = parse(input).unwrap().unwrap();
        assert_eq!(&input[whole.method.clone()], b"POST");
        assert_eq!(&input[whole.target.clone()], b"/enviar?key=a");
        assert_eq!((whole.framing, whole.length, whole.close), (Framing::Length(5), input.len() - 5, false));
        let (mut scan, everybody) = (Scan::default(), Guard::default());
        for end in 0..whole.length {
            assert_eq!(take(&input[..end], &mut scan, LIMIT, &everybody), Ok(None), "at {end}");
        }
        assert_eq!(take(&input[..whole.length], &mut scan, LIMIT, &everybody), Ok(Some(whole)));
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
    fn what_has_an_effect_is_refused_from_another_sites_page() {
        for (headers, refused) in [
            ("", false),
            ("Origin: http://x:1\r\n", false),
            ("Origin: http://y:1\r\n", true),
            ("Sec-Fetch-Site: cross-site\r\n", true),
        ] {
            let head = format!("/ HTTP/1.1\r\n{headers}Host: x:1\r\nContent-Length: 0\r\n\r\n");
            for method in ["POST", "DELETE", "PUT"] {
                let outcome = parse(format!("{method} {head}").as_bytes());
                assert_eq!(
                    outcome.is_err_and(|refusal| refusal.status == 403),
                    refused,
                    "{method} {headers}"
                );
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
    fn request_lines_that_are_none_are_refused() {
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
        assert_eq!(status(&format!("GET / HTTP/1.1\r\n{host}Content-Encoding: gzip\r\n\r\n")), 415);
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
    fn connection_words_decide_whether_it_stays_open() {
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
