//! How long a broker takes an authentication for valid (KIP-368).

use std::time::{Duration, Instant};

use kafka_protocol::messages::SaslAuthenticateResponse;
use net::random::fraction;

/// The part of the lifetime after which the authentication is repeated, at the latest, ...
const LATEST: f64 = 0.85;
/// ... and by how much chance brings that forward, so that connections of one age do not come all at once.
const JITTER: f64 = 0.10;

/// Kafka takes no other authentication on a connection within a second of the last one.
const LEAST_INTERVAL: Duration = Duration::from_millis(1100);

/// The longest that a request waits for a token while the session lasts.
const TOKEN_WAIT: Duration = Duration::from_secs(2);

/// The shortest wait before a postponed authentication is tried again.
const LEAST_PAUSE: Duration = Duration::from_millis(100);

/// An authenticated session that ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Session {
    due: Instant,
    end: Instant,
}

impl Session {
    /// The session that begins with `answer`, to a request that was sent at `sent`: the broker's clock began
    /// later than that. None where it lasts as long as the connection.
    pub fn of(answer: &SaslAuthenticateResponse, sent: Instant) -> Option<Session> {
        let lifetime = u64::try_from(answer.session_lifetime_ms).ok().filter(|lifetime| *lifetime > 0)?;
        let lifetime = Duration::from_millis(lifetime);
        let part = LATEST - JITTER * fraction().unwrap_or_default();
        let wait = lifetime.min(LONGEST).mul_f64(part).max(LEAST_INTERVAL);
        Some(Session { due: sent + wait, end: sent.checked_add(lifetime)? })
    }

    /// Whether the authentication should be repeated before the next request.
    pub fn is_due(&self, now: Instant) -> bool {
        now >= self.due
    }

    /// Whether the broker will close the connection at the next request.
    pub fn is_over(&self, now: Instant) -> bool {
        now >= self.end
    }

    /// Until when a token is awaited to renew it. A request waits meanwhile, and the broker has to see the
    /// token in time, too; one that comes later serves the next try.
    pub fn latest_token(&self, now: Instant) -> Instant {
        now + (self.end.saturating_duration_since(now) / 2).min(TOKEN_WAIT)
    }

    /// The same session, to be renewed later, while it lasts.
    #[must_use]
    pub fn postponed(self, now: Instant) -> Session {
        let left = self.end.saturating_duration_since(now);
        Session { due: now + (left / 4).max(LEAST_PAUSE), ..self }
    }
}

#[cfg(test)]
impl Session {
    pub fn due_now(self) -> Session {
        Session { due: Instant::now(), ..self }
    }

    pub fn over_now(self) -> Session {
        Session { end: Instant::now(), ..self }
    }
}

/// No session is taken for longer; this keeps sums of times within their type.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

#[cfg(test)]
mod tests {
    use super::*;

    fn session(lifetime_ms: i64, sent: Instant) -> Option<Session> {
        Session::of(&SaslAuthenticateResponse::default().with_session_lifetime_ms(lifetime_ms), sent)
    }

    #[test]
    fn a_session_is_renewed_before_it_ends_and_not_in_step_with_others() {
        let sent = Instant::now();
        let after = |ms| sent + Duration::from_millis(ms);
        let sessions: Vec<_> = (0..32).map(|_| session(10_000, sent).unwrap()).collect();
        for session in &sessions {
            assert!(!session.is_due(after(7_499)) && session.is_due(after(8_501)), "{session:?}");
            assert!(!session.is_over(after(9_999)) && session.is_over(after(10_000)), "{session:?}");
        }
        assert!(sessions.iter().any(|session| *session != sessions[0]));
    }

    #[test]
    fn a_session_without_a_lifetime_lasts_as_long_as_its_connection() {
        for lifetime in [0, -1, i64::MIN] {
            assert_eq!(session(lifetime, Instant::now()), None);
        }
    }

    #[test]
    fn a_session_shorter_than_a_second_is_not_renewed_but_ends() {
        let sent = Instant::now();
        let after = |ms| sent + Duration::from_millis(ms);
        let session = session(500, sent).unwrap();
        assert!(!session.is_due(after(1_000)) && session.is_over(after(500)));
    }

    #[test]
    fn an_endless_lifetime_breaks_nothing() {
        let now = Instant::now();
        assert!(session(i64::MAX, now).is_none_or(|session| !session.is_due(now) && !session.is_over(now)));
    }

    #[test]
    fn a_postponed_renewal_comes_again_before_the_end() {
        let sent = Instant::now();
        let after = |ms| sent + Duration::from_millis(ms);
        let session = session(10_000, sent).unwrap().postponed(after(8_600));
        assert!(!session.is_due(after(8_900)) && session.is_due(after(8_950)));
        assert!(!session.is_over(after(9_999)) && session.is_over(after(10_000)));
    }
}
