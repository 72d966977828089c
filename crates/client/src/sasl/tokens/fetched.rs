//! A token, and until when it is used.

use std::time::{Duration, Instant};

use super::jwt;
use crate::sasl::secret::Secret;

/// A newer token is fetched once this part of a token's life has passed: connections are authenticated anew
/// before their session ends, which is when their token expires.
const FRESH_PART: f64 = 0.75;
/// A token is not used in the last moments of its life: it has to reach the broker. A tenth of a life that is
/// short.
const MARGIN: Duration = Duration::from_secs(5);
/// How long a token is used that does not say when it expires.
const UNKNOWN_LIFE: Duration = Duration::from_secs(60);
/// A token is used for at least so long, to the wait of those who asked for it. Clocks differ; the broker
/// judges.
const LEAST_LIFE: Duration = Duration::from_secs(2);
/// No token is kept for longer.
const LONGEST_LIFE: Duration = Duration::from_secs(24 * 3600);

/// A token, and until when it is used.
#[derive(Debug)]
pub(super) struct Fetched {
    pub token: Secret,
    since: Instant,
    fresh: Duration,
    valid: Duration,
}

impl Fetched {
    /// A token that came now. Its life is what it says itself if it is a JWT, else `expires_in`.
    pub fn new(token: Secret, expires_in: Option<Duration>) -> Fetched {
        let life = jwt::time_left(token.expose()).or(expires_in).map(|life| life.min(LONGEST_LIFE));
        let (fresh, valid) = match life {
            Some(life) => (life.mul_f64(FRESH_PART), life.saturating_sub(MARGIN.min(life / 10))),
            None => (UNKNOWN_LIFE, UNKNOWN_LIFE),
        };
        let valid = valid.max(LEAST_LIFE);
        Fetched { token, since: Instant::now(), fresh: fresh.clamp(LEAST_LIFE, valid), valid }
    }

    /// Whether it is used without looking for a newer one.
    pub fn is_fresh(&self, now: Instant) -> bool {
        self.age(now) < self.fresh
    }

    /// Whether it is used if no newer one can be had.
    pub fn is_valid(&self, now: Instant) -> bool {
        self.age(now) < self.valid
    }

    /// How long ago it came.
    pub fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since)
    }
}

#[cfg(test)]
impl Fetched {
    pub fn aged(self, age: Duration) -> Fetched {
        Fetched { since: self.since - age, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_renewed_before_it_expires_and_used_until_shortly_before() {
        let fetched = Fetched::new(Secret::new("opaque"), Some(Duration::from_secs(100)));
        let after = |secs| fetched.since + Duration::from_secs(secs);
        assert!(fetched.is_fresh(after(74)) && !fetched.is_fresh(after(76)));
        assert!(fetched.is_valid(after(94)) && !fetched.is_valid(after(96)));
    }

    #[test]
    fn a_token_of_unknown_life_is_kept_for_a_minute_and_an_expired_one_for_a_moment() {
        for (expires_in, kept) in [(None, 60), (Some(Duration::ZERO), 2)] {
            let fetched = Fetched::new(Secret::new("opaque"), expires_in);
            let after = |secs| fetched.since + Duration::from_secs(secs);
            assert!(fetched.is_fresh(after(kept - 1)) && !fetched.is_valid(after(kept)));
        }
    }
}
