//! The access log and the metrics of requests: each request gets an id when its head is read, and is counted
//! and logged when it is answered.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::response_writer::ResponseFraming;
use crate::http::backend::route::{self, NO_ROUTE};
use crate::ids::{RequestId, RequestIds};
use crate::logging::BURST;
use crate::metrics::{Answered, HttpMetrics};
use crate::text::escape;
use crate::users::User;

/// The longest method and target that the access log shows, in bytes.
const SHOWN_TARGET: usize = 200;

/// The methods that metrics have as labels; any other is `other`.
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// The request of a connection before it is answered.
#[derive(Debug)]
pub(super) struct LogEntry {
    method: &'static str,
    route: &'static str,
    /// The beginning of its method and target, or of its first line, for the access log.
    shown: Option<Box<[u8]>>,
    /// The time of its first byte.
    since: Instant,
    /// The number of its bytes that have come.
    pub(super) bytes: usize,
    /// The user that sends it, once it is known.
    pub(super) user: Option<Arc<User>>,
    /// Its id, once its head has been read.
    pub(super) request: RequestId,
}

impl LogEntry {
    /// A request of which no byte has come.
    pub(super) fn new(now: Instant) -> LogEntry {
        let request = RequestId::default();
        LogEntry { method: "other", route: NO_ROUTE, shown: None, since: now, bytes: 0, user: None, request }
    }

    /// How long ago its first byte came.
    pub(super) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since)
    }
}

/// Logs and counts requests.
pub(crate) struct AccessLog {
    ids: RequestIds,
    enabled: bool,
    metrics: HttpMetrics,
    /// There are lines that are not written yet.
    unflushed: bool,
}

impl AccessLog {
    /// Counts requests in `metrics`; `enabled`: answered requests are also logged.
    pub(crate) fn new(ids: RequestIds, enabled: bool, metrics: HttpMetrics) -> AccessLog {
        AccessLog { ids, enabled, metrics, unflushed: false }
    }

    /// The metrics.
    pub(super) fn metrics(&self) -> &HttpMetrics {
        &self.metrics
    }

    /// The id of the next request.
    pub(super) fn next_id(&mut self) -> RequestId {
        self.ids.make()
    }

    /// Sets method and target of a request whose head has been read.
    pub(super) fn head_read(&self, entry: &mut LogEntry, method: &[u8], target: &[u8]) {
        entry.method = METHODS.iter().find(|known| known.as_bytes() == method).copied().unwrap_or("other");
        entry.route = route::template(target);
        entry.shown = self.enabled.then(|| beginning(&[method, b" ", target]));
    }

    /// Sets the first line of a request whose head could not be read.
    pub(super) fn head_unreadable(&self, entry: &mut LogEntry, input: &[u8]) {
        let line = input.split(|&byte| byte == b'\n').find(|line| line.len() > 1).unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        *entry = LogEntry::new(entry.since);
        entry.shown = self.enabled.then(|| beginning(&[line]));
    }

    /// Counts and logs the response to a request; `length` is that of its body.
    pub(super) fn responded(
        &mut self,
        client: &str,
        entry: &LogEntry,
        status: u16,
        length: usize,
        framing: ResponseFraming,
        now: Instant,
    ) {
        let took = now.saturating_duration_since(entry.since);
        self.metrics.answered(&Answered { route: entry.route, method: entry.method, status }, took);
        if self.enabled {
            self.unflushed = true;
            let (shown, bytes) = (escape(entry.shown.as_deref().unwrap_or_default()), entry.bytes);
            let answer_bytes = if framing.head_only { 0 } else { length };
            let user = entry.user.as_ref().map(|user| format!(" user={}", user.name)).unwrap_or_default();
            log::info!(
                target: BURST,
                "answered status={status} ms={} client={client}{user} request={} request_bytes={bytes} \
                 answer_bytes={answer_bytes}: {shown}",
                Milliseconds(took),
                entry.request,
            );
        }
    }

    /// Writes the lines of one round of the event loop together.
    pub(super) fn flush(&mut self) {
        if std::mem::take(&mut self.unflushed) {
            log::logger().flush();
        }
    }
}

/// The beginning of the concatenated parts.
fn beginning(parts: &[&[u8]]) -> Box<[u8]> {
    parts.iter().flat_map(|part| part.iter()).take(SHOWN_TARGET).copied().collect()
}

/// Shows a duration in milliseconds, with microseconds behind the point.
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
    fn no_label_is_chosen_by_clients() {
        let metrics = HttpMetrics::default();
        let mut log = AccessLog::new(RequestIds::new().unwrap(), false, metrics.clone());
        let now = Instant::now();
        for (method, target) in [("POST", "/enviar?key=a"), ("BREW", "/tea"), ("GET", "/enviar/../x")] {
            let mut entry = LogEntry::new(now);
            log.head_read(&mut entry, method.as_bytes(), target.as_bytes());
            let framing = ResponseFraming { head_only: false, close: false, chunked: true };
            log.responded("client", &entry, 404, 10, framing, now);
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
    fn the_shown_part_of_a_request_is_bounded() {
        let log = AccessLog::new(RequestIds::new().unwrap(), true, HttpMetrics::default());
        let mut entry = LogEntry::new(Instant::now());
        log.head_read(&mut entry, b"GET", &[b'/'; 8000]);
        assert_eq!(entry.shown.as_ref().map(|shown| shown.len()), Some(SHOWN_TARGET));
        log.head_unreadable(&mut entry, b"\r\n\r\nGET /\x1b[2J HTTP/1.1\r\nAuthorization: secret\r\n");
        assert_eq!(entry.shown.as_deref(), Some(&b"GET /\x1b[2J HTTP/1.1"[..]));
    }
}
