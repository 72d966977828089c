//! Problems with clients, counted, so that a flood of bad requests is one log line every few seconds.

use std::fmt;
use std::time::Instant;

use super::limits::REPORT_EVERY;

/// The problems since the last report.
#[derive(Debug, Default)]
pub(super) struct LogThrottle {
    /// Requests refused for their form.
    pub(super) malformed: u64,
    /// Requests without the right token or password.
    pub(super) unauthorized: u64,
    /// Requests that came too slowly.
    pub(super) slow: u64,
    /// Connections whose TLS failed.
    pub(super) bad_tls: u64,
    /// Clients dropped because they read a stream too slowly.
    pub(super) slow_readers: u64,
    /// Failures to accept a connection.
    pub(super) not_accepted: u64,
    /// Losses of the connection to the handlers.
    pub(super) upstream_lost: u64,
    /// Requests without a response in time, answered with 503 or 504.
    pub(super) unanswered: u64,
    reported: Option<Instant>,
}

impl LogThrottle {
    /// The time of the next report; `None` if there is nothing to report.
    pub(super) fn due_at(&self, now: Instant) -> Option<Instant> {
        let any = [
            self.malformed,
            self.unauthorized,
            self.slow,
            self.bad_tls,
            self.slow_readers,
            self.not_accepted,
            self.upstream_lost,
            self.unanswered,
        ];
        let next = self.reported.map_or(now, |at| at + REPORT_EVERY);
        any.iter().any(|&count| count > 0).then_some(next)
    }

    /// Logs a report if one is due, and resets the counts.
    pub(super) fn report_if_due(&mut self, now: Instant) {
        if self.due_at(now).is_some_and(|at| at <= now) {
            log::warn!("HTTP server: {self}");
            *self = LogThrottle { reported: Some(now), ..LogThrottle::default() };
        }
    }
}

impl fmt::Display for LogThrottle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut before = "";
        for (count, noun) in [
            (self.malformed, "requests refused"),
            (self.unauthorized, "requests without the right token or password"),
            (self.slow, "requests too slow"),
            (self.bad_tls, "connections whose TLS failed or took too long"),
            (self.slow_readers, "clients dropped that did not read what was streamed to them"),
            (self.not_accepted, "connections could not be accepted (out of descriptors?)"),
            (self.upstream_lost, "losses of the connection to the handlers"),
            (self.unanswered, "requests given up after their time"),
        ] {
            if count > 0 {
                write!(f, "{before}{count} {noun}")?;
                before = ", ";
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_one_report_until_the_next_is_due() {
        let (mut problems, start) = (LogThrottle::default(), Instant::now());
        assert_eq!(problems.due_at(start), None);
        problems.malformed = 1000;
        problems.slow = 1;
        assert_eq!(problems.to_string(), "1000 requests refused, 1 requests too slow");
        problems.report_if_due(start);
        assert_eq!(problems.malformed, 0);
        problems.malformed = 5;
        problems.report_if_due(start);
        assert_eq!((problems.malformed, problems.due_at(start)), (5, Some(start + REPORT_EVERY)));
    }
}
