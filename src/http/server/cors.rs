//! Cross-origin resource sharing (Fetch Standard, §3.2): which pages of other origins may use this endpoint,
//! and the header lines that tell their browsers so.

use std::sync::Arc;

use httparse::{EMPTY_HEADER, Request};

use super::limits::MAX_HEADERS;
use super::origin::RequestOrigin;
use crate::http::response::Response;

/// The answer differs by the origin, which caches must know, also where it allows nothing.
const VARY: &str = "Vary: Origin\r\n";

/// The headers that scripts may read, besides those that they always may.
const EXPOSED: &str =
    "Access-Control-Expose-Headers: Allow, ETag, Retry-After, WWW-Authenticate, X-Request-Id\r\n";

/// What a preflight request learns: the same for every path, as it carries no token. 7200 s is the longest
/// time for which Chromium remembers it.
const PREFLIGHT: &str = "Access-Control-Allow-Methods: GET, HEAD, POST\r\n\
    Access-Control-Allow-Headers: Authorization, Content-Type, If-None-Match, X-Request-Id\r\n\
    Access-Control-Max-Age: 7200\r\n";

/// The origins of other sites whose pages may use this endpoint. The default allows none, and adds no header.
#[derive(Debug, Default)]
pub(super) struct AllowedOrigins {
    /// Each origin with the header lines of a response to it.
    origins: Vec<(Box<[u8]>, Arc<str>)>,
    /// The header lines of a response to any other request.
    others: Option<Arc<str>>,
}

impl AllowedOrigins {
    /// The origins of the settings, as browsers write them.
    pub(super) fn new(origins: &[String]) -> AllowedOrigins {
        let lines = |origin: &String| {
            let lines = format!("Access-Control-Allow-Origin: {origin}\r\n{EXPOSED}{VARY}");
            (origin.as_bytes().into(), lines.into())
        };
        let others = (!origins.is_empty()).then(|| VARY.into());
        AllowedOrigins { origins: origins.iter().map(lines).collect(), others }
    }

    /// Whether a page of one of the origins sends the request.
    pub(super) fn allow(&self, origin: &RequestOrigin<'_>) -> bool {
        self.found(&origin.origins).is_some()
    }

    /// Whether a browser asks if a page of one of the origins may send a request.
    pub(super) fn is_preflight(&self, method: &str, origin: &RequestOrigin<'_>) -> bool {
        method == "OPTIONS" && origin.asks_for_method && self.allow(origin)
    }

    /// The header lines that go into the response to a request.
    pub(super) fn lines(&self, origin: &RequestOrigin<'_>) -> Option<Arc<str>> {
        self.found(&origin.origins).or_else(|| self.others.clone())
    }

    /// As [`AllowedOrigins::lines`], for a head that was refused: a script is to learn why.
    pub(super) fn lines_of_refused(&self, input: &[u8]) -> Option<Arc<str>> {
        self.others.as_ref()?;
        let mut headers = [EMPTY_HEADER; MAX_HEADERS];
        let mut request = Request::new(&mut headers);
        let start = input.iter().position(|byte| !matches!(byte, b'\r' | b'\n')).unwrap_or(0);
        let mut origin = RequestOrigin::default();
        if request.parse(input.get(start..).unwrap_or_default()).is_ok_and(|status| status.is_complete()) {
            let headers = request.headers.iter();
            let origins = headers.filter(|header| header.name.eq_ignore_ascii_case("origin"));
            origin.origins.extend(origins.map(|header| header.value.trim_ascii()));
        }
        self.lines(&origin)
    }

    /// The header lines for the one origin, if it is allowed. Its case matters: browsers send lower case.
    fn found(&self, origins: &[&[u8]]) -> Option<Arc<str>> {
        let [origin] = origins else { return None };
        let found = self.origins.iter().find(|(allowed, _)| **allowed == **origin);
        found.map(|(_, lines)| lines.clone())
    }
}

/// The response to a preflight request.
pub(super) fn preflight() -> Response {
    Response { status: 204, headers: PREFLIGHT.into(), body: Vec::new(), held: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent_by<'a>(origins: &[&'a str]) -> RequestOrigin<'a> {
        let origins = origins.iter().map(|origin| origin.as_bytes()).collect();
        RequestOrigin { origins, ..RequestOrigin::default() }
    }

    #[test]
    fn an_origin_is_allowed_to_the_letter() {
        let allowed =
            AllowedOrigins::new(&["http://localhost:4200".to_owned(), "https://a.example".to_owned()]);
        for origin in ["http://localhost:4200", "https://a.example"] {
            let lines = allowed.lines(&sent_by(&[origin])).unwrap();
            assert!(lines.starts_with(&format!("Access-Control-Allow-Origin: {origin}\r\n")), "{lines}");
            assert!(lines.ends_with(VARY), "{lines}");
        }
        for origins in [
            &[][..],
            &["null"],
            &["*"],
            &["http://localhost"],
            &["http://localhost:42000"],
            &["https://localhost:4200"],
            &["HTTPS://A.EXAMPLE"],
            &["https://a.example/"],
            &["https://b.a.example"],
            &["https://a.example", "https://a.example"],
            &["https://a.example https://b.example"],
        ] {
            let origin = sent_by(origins);
            assert!(!allowed.allow(&origin), "{origins:?}");
            assert_eq!(allowed.lines(&origin).as_deref(), Some(VARY));
        }
        assert_eq!(AllowedOrigins::default().lines(&sent_by(&["https://a.example"])), None);
    }

    #[test]
    fn only_options_with_the_method_that_is_asked_for_is_a_preflight() {
        let allowed = AllowedOrigins::new(&["https://a.example".to_owned()]);
        let asked = RequestOrigin { asks_for_method: true, ..sent_by(&["https://a.example"]) };
        assert!(allowed.is_preflight("OPTIONS", &asked));
        assert!(!allowed.is_preflight("POST", &asked) && !allowed.is_preflight("options", &asked));
        assert!(!allowed.is_preflight("OPTIONS", &sent_by(&["https://a.example"])));
        let other = RequestOrigin { asks_for_method: true, ..sent_by(&["https://b.example"]) };
        assert!(!allowed.is_preflight("OPTIONS", &other));
    }

    #[test]
    fn the_origin_of_a_refused_head_is_found_where_the_head_can_be_read() {
        let allowed = AllowedOrigins::new(&["https://a.example".to_owned()]);
        let found = |input: &str| {
            allowed.lines_of_refused(input.as_bytes()).unwrap().starts_with("Access-Control-Allow-Origin")
        };
        assert!(found("\r\nPOST / HTTP/1.1\r\norigin:  https://a.example \r\nContent-Length: x\r\n\r\n"));
        assert!(!found("POST / HTTP/1.1\r\nOrigin: https://b.example\r\n\r\n"));
        assert!(!found("POST / HTTP/1.1\r\nOrigin: https://a.example\r\n"));
        assert!(!found("POST / HTTP/1.1\r\nOrigin: https://a.example\r\nA b\r\n\r\n") && !found(""));
        assert_eq!(AllowedOrigins::default().lines_of_refused(b""), None);
    }
}
