//! Whose page a request comes from: a page of another site that is open in a browser must not send or replay
//! anything through an endpoint on this machine, which trusts who reaches it (cross-site request forgery).
//!
//! A browser says it by itself and lets no page change it: `Origin` (Fetch Standard, §3.2) on everything that has an
//! effect, `Sec-Fetch-Site` (Fetch Metadata Request Headers, §2.2). Programs send neither.

use crate::http::answer::Refusal;

/// The refusal of a request with an effect that another site's page sends.
pub(super) const FOREIGN: Refusal =
    Refusal::new(403, "cross_site", "A page of another site may not do this; nothing is stored.");

/// What a request says about where it comes from.
#[derive(Debug, Default)]
pub(super) struct Site<'a> {
    /// The value of `Host`; empty if there is none.
    pub(super) host: &'a [u8],
    /// The values of `Origin`.
    pub(super) origins: Vec<&'a [u8]>,
    /// The value of `Sec-Fetch-Site`; empty if there is none.
    pub(super) fetch_site: &'a [u8],
}

impl Site<'_> {
    /// Whether it comes from a page that this endpoint has not served.
    pub(super) fn is_foreign(&self) -> bool {
        let own = |origin: &&[u8]| {
            let host = authority(origin);
            host.is_some_and(|host| !host.is_empty() && host.eq_ignore_ascii_case(self.host))
        };
        self.fetch_site.eq_ignore_ascii_case(b"cross-site") || !self.origins.iter().all(own)
    }
}

/// What is behind the scheme: `host:port`, the port left out where it is the scheme's own, as in `Host`.
fn authority(origin: &[u8]) -> Option<&[u8]> {
    origin.strip_prefix(b"http://").or_else(|| origin.strip_prefix(b"https://"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pages_of_this_host_and_port_and_programs_are_not_foreign() {
        let foreign = |host: &str, origins: &[&str], fetch_site: &str| {
            let origins = origins.iter().map(|origin| origin.as_bytes()).collect();
            let site = Site { host: host.as_bytes(), origins, fetch_site: fetch_site.as_bytes() };
            site.is_foreign()
        };
        let host = "127.0.0.1:5000";
        assert!(!foreign(host, &[], ""));
        assert!(!foreign(host, &["http://127.0.0.1:5000"], "same-origin"));
        assert!(!foreign("Queue.example", &["https://queue.example"], "same-origin"));
        assert!(!foreign(host, &[], "none"), "typed by the user");
        for origin in ["http://evil.example", "http://127.0.0.1:5001", "null", "", "http://", "file://x"] {
            assert!(foreign(host, &[origin], ""), "{origin}");
        }
        assert!(foreign(host, &["http://127.0.0.1:5000", "http://evil.example"], ""));
        assert!(foreign(host, &[], "cross-site"));
        assert!(foreign("", &["http://"], ""));
    }
}
