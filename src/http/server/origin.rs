//! The origin of a request: a page of another site that is open in a browser must not send or replay anything
//! through an endpoint on this machine, which trusts local clients (cross-site request forgery).
//!
//! A browser sends two headers that pages cannot change: `Origin` (Fetch Standard, §3.2) on every request
//! with an effect, and `Sec-Fetch-Site` (Fetch Metadata Request Headers, §2.2). Programs send neither.

use crate::http::response::ErrorResponse;

/// The refusal of a request with an effect that a page of another site sends.
pub(super) const CROSS_SITE: ErrorResponse =
    ErrorResponse::new(403, "cross_site", "A page of another site may not do this; nothing is stored.");

/// The headers that tell the origin of a request.
#[derive(Debug, Default)]
pub(super) struct RequestOrigin<'a> {
    /// The value of `Host`; empty if there is none.
    pub(super) host: &'a [u8],
    /// The values of `Origin`.
    pub(super) origins: Vec<&'a [u8]>,
    /// The value of `Sec-Fetch-Site`; empty if there is none.
    pub(super) fetch_site: &'a [u8],
    /// There is an `Access-Control-Request-Method`, as browsers send it in a preflight request.
    pub(super) asks_for_method: bool,
}

impl RequestOrigin<'_> {
    /// Whether a page that this endpoint has not served sends the request. The settings may allow it all the
    /// same ([`cors`](super::cors)).
    pub(super) fn is_cross_site(&self) -> bool {
        let own = |origin: &&[u8]| {
            let host = authority(origin);
            host.is_some_and(|host| !host.is_empty() && host.eq_ignore_ascii_case(self.host))
        };
        self.fetch_site.eq_ignore_ascii_case(b"cross-site") || !self.origins.iter().all(own)
    }
}

/// The part behind the scheme: `host:port`, without the port where it is the scheme's default, as in `Host`.
fn authority(origin: &[u8]) -> Option<&[u8]> {
    origin.strip_prefix(b"http://").or_else(|| origin.strip_prefix(b"https://"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_programs_and_pages_of_this_host_and_port_are_allowed() {
        let cross_site = |host: &str, origins: &[&str], fetch_site: &str| {
            let origins = origins.iter().map(|origin| origin.as_bytes()).collect();
            let (host, fetch_site) = (host.as_bytes(), fetch_site.as_bytes());
            RequestOrigin { host, origins, fetch_site, asks_for_method: false }.is_cross_site()
        };
        let host = "127.0.0.1:5000";
        assert!(!cross_site(host, &[], ""));
        assert!(!cross_site(host, &["http://127.0.0.1:5000"], "same-origin"));
        assert!(!cross_site("Queue.example", &["https://queue.example"], "same-origin"));
        assert!(!cross_site(host, &[], "none"), "typed by the user");
        for origin in ["http://evil.example", "http://127.0.0.1:5001", "null", "", "http://", "file://x"] {
            assert!(cross_site(host, &[origin], ""), "{origin}");
        }
        assert!(cross_site(host, &["http://127.0.0.1:5000", "http://evil.example"], ""));
        assert!(cross_site(host, &[], "cross-site"));
        assert!(cross_site("", &["http://"], ""));
    }
}
