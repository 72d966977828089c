//! What is noted of each request, from its first byte to its answer: its id, its place in the metrics, and its
//! line in the access log.

use std::time::{Duration, Instant};

use super::output::Frame;
use crate::http::routes;
use crate::logging::{BURST, escaped};
use crate::metrics::{Answered, HttpMetrics};
use crate::request_id::{RequestId, RequestIds};

/// The most bytes of a target that the access log shows.
const SHOWN_TARGET: usize = 200;

/// The methods that a request can be counted by.
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// What is known of a request before it is answered.
#[derive(Debug)]
pub(super) struct Entry {
    method: &'static str,
    route: &'static str,
    /// Its method and target, or what stands there instead: the beginning of it, for the access log.
    shown: Option<Box<[u8]>>,
    /// When its first byte came.
    since: Instant,
    /// Bytes of it that came.
    pub(super) bytes: usize,
}

impl Entry {
    /// Of a connection on which nothing has come since `now`.
    pub(super) fn new(now: Instant) -> Entry {
        Entry { method: "other", route: routes::NO_ROUTE, shown: None, since: now, bytes: 0 }
    }
}

/// The book of the door.
pub(crate) struct Ledger {
    ids: RequestIds,
    access_log: bool,
    metrics: HttpMetrics,
    /// Lines were logged that are not written yet.
    unwritten: bool,
}

impl Ledger {
    /// An empty book; with `access_log`, answered requests have their line in the log.
    pub(crate) fn new(ids: RequestIds, access_log: bool, metrics: HttpMetrics) -> Ledger {
        Ledger { ids, access_log, metrics, unwritten: false }
    }

    /// The metrics.
    pub(super) fn metrics(&self) -> &HttpMetrics {
        &self.metrics
    }

    /// The id of one more request.
    pub(super) fn id(&mut self) -> RequestId {
        self.ids.make()
    }

    /// Notes what a request's head asks for.
    pub(super) fn asked(&self, entry: &mut Entry, method: &[u8], target: &[u8]) {
        entry.method = METHODS.iter().find(|known| known.as_bytes() == method).copied().unwrap_or("other");
        entry.route = routes::template(target);
        entry.shown = self.access_log.then(|| beginning(&[method, b" ", target]));
    }

    /// Notes a request whose head could not be read, of which `input` came.
    pub(super) fn unreadable(&self, entry: &mut Entry, input: &[u8]) {
        let line = input.split(|&byte| byte == b'\n').find(|line| line.len() > 1).unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        *entry = Entry::new(entry.since);
        entry.shown = self.access_log.then(|| beginning(&[line]));
    }

    /// A request is answered with this status and so many bytes of body.
    pub(super) fn answered(
        &mut self,
        (client, entry): (&str, &Entry),
        (status, length): (u16, usize),
        frame: Frame,
        now: Instant,
    ) {
        let took = now.saturating_duration_since(entry.since);
        self.metrics.answered(&Answered { route: entry.route, method: entry.method, status }, took);
        if self.access_log {
            self.unwritten = true;
            let (shown, bytes) = (escaped(entry.shown.as_deref().unwrap_or_default()), entry.bytes);
            let answer_bytes = if frame.head_only { 0 } else { length };
            log::info!(
                target: BURST,
                "answered status={status} ms={} client={client} request={} request_bytes={bytes} \
                 answer_bytes={answer_bytes}: {shown}",
                Milliseconds(took),
                frame.request,
            );
        }
    }

    /// Writes the lines that are not written yet: those of one round of the door together.
    pub(super) fn write(&mut self) {
        if std::mem::take(&mut self.unwritten) {
            log::logger().flush();
        }
    }
}

/// The beginning of what the parts say together.
fn beginning(parts: &[&[u8]]) -> Box<[u8]> {
    parts.iter().flat_map(|part| part.iter()).take(SHOWN_TARGET).copied().collect()
}

/// A duration in milliseconds, with microseconds behind the point.
struct Milliseconds(Duration);

impl std::fmt::Display for Milliseconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let micros = self.0.as_micros();
        write!(f, "{}.{:03}", micros / 1000, micros % 1000)
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::registry::Registry;

    use super::*;
    use crate::metrics::{Exposition, Family};

    #[test]
    fn what_clients_choose_makes_no_label() {
        let metrics = HttpMetrics::default();
        let mut ledger = Ledger::new(RequestIds::new().unwrap(), false, metrics.clone());
        let now = Instant::now();
        for (method, target) in [("POST", "/enviar?key=a"), ("BREW", "/tea"), ("GET", "/enviar/../x")] {
            let mut entry = Entry::new(now);
            ledger.asked(&mut entry, method.as_bytes(), target.as_bytes());
            let frame = Frame { head_only: false, close: false, chunks: true, request: ledger.id() };
            ledger.answered(("client", &entry), (404, 10), frame, now);
        }
        metrics.register(&mut Registry::default());
        let text = Exposition::of(&[&metrics]).text().unwrap();
        let labels: Vec<&str> =
            text.lines().filter(|line| line.starts_with("point_to_point_http_requests_total{")).collect();
        assert_eq!(labels.len(), 3);
        for labels in [
            r#"{route="/enviar",method="POST",status="404"} 1"#,
            r#"{route="none",method="other",status="404"} 1"#,
            r#"{route="none",method="GET",status="404"} 1"#,
        ] {
            assert!(text.contains(labels), "no {labels} in {text}");
        }
    }

    #[test]
    fn what_is_shown_of_a_request_is_bounded() {
        let ledger = Ledger::new(RequestIds::new().unwrap(), true, HttpMetrics::default());
        let mut entry = Entry::new(Instant::now());
        ledger.asked(&mut entry, b"GET", &[b'/'; 8000]);
        assert_eq!(entry.shown.as_ref().map(|shown| shown.len()), Some(SHOWN_TARGET));
        ledger.unreadable(&mut entry, b"\r\n\r\nGET /\x1b[2J HTTP/1.1\r\nAuthorization: secret\r\n");
        assert_eq!(entry.shown.as_deref(), Some(&b"GET /\x1b[2J HTTP/1.1"[..]));
    }
}
