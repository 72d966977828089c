//! Troubles at the door, counted, so that a flood of bad clients is one line in the log now and then.

use std::fmt;
use std::time::Instant;

use super::limits::REPORT_EVERY;

/// What went wrong since the last report.
#[derive(Debug, Default)]
pub(super) struct Troubles {
    /// Requests refused for their form.
    pub(super) malformed: u64,
    /// Requests that did not show the token.
    pub(super) unauthorized: u64,
    /// Requests that came too slowly.
    pub(super) slow: u64,
    /// Connections whose TLS failed.
    pub(super) bad_tls: u64,
    /// Failures to accept a connection.
    pub(super) not_accepted: u64,
    /// Losses of the connection to the handlers.
    pub(super) upstream_lost: u64,
    /// Requests that the door itself had to answer with 503 or 504.
    pub(super) unanswered: u64,
    reported: Option<Instant>,
}

impl Troubles {
    /// When the next report is due; `None` if there is nothing to report.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        let any = [
            self.malformed,
            self.unauthorized,
            self.slow,
            self.bad_tls,
            self.not_accepted,
            self.upstream_lost,
            self.unanswered,
        ];
        let next = self.reported.map_or(now, |at| at + REPORT_EVERY);
        any.iter().any(|&count| count > 0).then_some(next)
    }

    /// Reports, if that is due, and counts anew.
    pub(super) fn report(&mut self, now: Instant) {
        if self.due(now).is_some_and(|at| at <= now) {
            log::warn!("front door: {self}");
            *self = Troubles { reported: Some(now), ..Troubles::default() };
        }
    }
}

impl fmt::Display for Troubles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut before = "";
        for (count, what) in [
            (self.malformed, "requests refused"),
            (self.unauthorized, "requests without the right token"),
            (self.slow, "requests too slow"),
            (self.bad_tls, "connections whose TLS failed or took too long"),
            (self.not_accepted, "connections could not be accepted (out of descriptors?)"),
            (self.upstream_lost, "losses of the connection to the handlers"),
            (self.unanswered, "requests given up after their time"),
        ] {
            if count > 0 {
                write!(f, "{before}{count} {what}")?;
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
        let (mut troubles, start) = (Troubles::default(), Instant::now());
        assert_eq!(troubles.due(start), None);
        troubles.malformed = 1000;
        troubles.slow = 1;
        assert_eq!(troubles.to_string(), "1000 requests refused, 1 requests too slow");
        troubles.report(start);
        assert_eq!(troubles.malformed, 0);
        troubles.malformed = 5;
        troubles.report(start);
        assert_eq!((troubles.malformed, troubles.due(start)), (5, Some(start + REPORT_EVERY)));
    }
}
