//! What the answer to a message that was pushed means for it.

use std::fmt;
use std::time::{Duration, SystemTime};

use crate::consumer::handler::{Failure, FailureCause};
use crate::http_client::Failed;
use crate::text::escape_beginning;

/// The longest wait that `Retry-After` can ask for.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 60 * 60);
/// So much of an answer's body is told.
const TOLD: usize = 200;

/// Why a message was not handled.
#[derive(Debug)]
pub struct PushFailed(String);

impl fmt::Display for PushFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl PushFailed {
    /// For this reason.
    pub fn new(why: String) -> PushFailed {
        PushFailed(why)
    }
}

fn cause(why: String) -> FailureCause {
    FailureCause::of(&PushFailed(why))
}

/// An answer, as far as it counts.
#[derive(Debug, Default)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The field `Retry-After`.
    pub retry_after: Option<String>,
    /// The field `Location`.
    pub location: Option<String>,
    /// The beginning of its body.
    pub body: Vec<u8>,
}

impl Answer {
    /// What the answer means. `dead` lists the statuses with which a message is a dead letter at once.
    ///
    /// # Errors
    /// The message is not handled.
    pub fn outcome(&self, dead: &[u16], now: SystemTime) -> Result<(), Failure> {
        let wait = self.retry_after.as_deref().and_then(|text| wait(text, now));
        match self.status {
            200..300 => Ok(()),
            status if status == 410 || dead.contains(&status) => Err(Failure::Dead(cause(self.told()))),
            429 | 503 => Err(Failure::TryLater { cause: cause(self.told()), wait }),
            408 | 500.. => Err(match wait {
                Some(wait) => Failure::FailedFor { cause: cause(self.told()), wait },
                None => Failure::Failed(cause(self.told())),
            }),
            300..400 => {
                let to = self.location.as_deref().unwrap_or("nowhere");
                let why = format!("{}; a redirect (to {to}) is not followed", self.told());
                Err(Failure::Failed(cause(why)))
            }
            _ => Err(Failure::Failed(cause(self.told()))),
        }
    }

    /// Why the target did not take what it got, and the wait that it asks for; `None` if it did, whatever it
    /// made of it.
    pub fn refusal(&self, now: SystemTime) -> Option<(String, Option<Duration>)> {
        let is_refused = matches!(self.status, 408 | 429 | 502 | 503 | 504);
        is_refused.then(|| (self.told(), self.retry_after.as_deref().and_then(|text| wait(text, now))))
    }

    fn told(&self) -> String {
        let status = ureq::http::StatusCode::from_u16(self.status).ok();
        let reason = status.and_then(|status| status.canonical_reason()).unwrap_or_default();
        let said = escape_beginning(self.body.trim_ascii(), TOLD).to_string();
        let said = if said.is_empty() { said } else { format!(": {said}") };
        format!("the target answered {} {reason}", self.status).trim_end().to_owned() + &said
    }
}

/// What the failure of an exchange means. Without a connection the target has got nothing: that is no
/// message's fault.
pub fn failure(error: &ureq::Error) -> Failure {
    match Failed::within(error) {
        Some(failed) if failed.phase.is_before_the_request() => {
            Failure::NotStarted(cause(format!("no connection to the target: {failed}")))
        }
        Some(failed) => Failure::Failed(cause(format!("no answer of the target: {failed}"))),
        None => Failure::Failed(cause(format!("no answer of the target: {error}"))),
    }
}

/// The wait that `Retry-After` asks for (RFC 9110, 10.2.3): seconds, or the time when it ends.
fn wait(text: &str, now: SystemTime) -> Option<Duration> {
    let text = text.trim();
    let wait = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => httpdate::parse_http_date(text).ok()?.duration_since(now).unwrap_or_default(),
    };
    Some(wait.min(LONGEST_WAIT))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(status: u16, retry_after: Option<&str>) -> Result<(), Failure> {
        let retry_after = retry_after.map(str::to_owned);
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        Answer { status, retry_after, ..Answer::default() }.outcome(&[422], now)
    }

    #[test]
    fn each_status_has_its_outcome() {
        for status in [200, 201, 204, 299] {
            assert!(outcome(status, None).is_ok());
        }
        for status in [410, 422] {
            assert!(matches!(outcome(status, Some("5")), Err(Failure::Dead(_))), "{status}");
        }
        for status in [429, 503] {
            assert!(matches!(outcome(status, None), Err(Failure::TryLater { wait: None, .. })), "{status}");
        }
        for status in [100, 302, 400, 401, 404, 408, 409, 500, 502, 504, 599, 999] {
            assert!(matches!(outcome(status, None), Err(Failure::Failed(_))), "{status}");
        }
    }

    #[test]
    fn retry_after_is_a_number_of_seconds_or_a_date_and_has_a_limit() {
        let waits = |text| match outcome(503, Some(text)) {
            Err(Failure::TryLater { wait, .. }) => wait.map(|wait| wait.as_secs()),
            other => panic!("{other:?}"),
        };
        assert_eq!([waits("7"), waits(" 0 "), waits("999999999")], [Some(7), Some(0), Some(86_400)]);
        assert_eq!(waits("Thu, 01 Jan 1970 00:16:45 GMT"), Some(5));
        assert_eq!(waits("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0), "it is over");
        assert_eq!([waits("soon"), waits("-1")], [None, None]);
        let Err(Failure::FailedFor { wait, .. }) = outcome(500, Some("9")) else { panic!("500") };
        assert_eq!(wait.as_secs(), 9);
    }

    #[test]
    fn the_cause_tells_the_status_and_what_the_target_said() {
        let answer = Answer { status: 400, body: b"no such\norder\n".to_vec(), ..Answer::default() };
        let Err(Failure::Failed(cause)) = answer.outcome(&[], SystemTime::now()) else { panic!("400") };
        assert_eq!(cause.message, r"the target answered 400 Bad Request: no such\norder");
        let location = Some("http://elsewhere/".to_owned());
        let answer = Answer { status: 307, location, ..Answer::default() };
        let Err(Failure::Failed(cause)) = answer.outcome(&[], SystemTime::now()) else { panic!("307") };
        let told =
            "the target answered 307 Temporary Redirect; a redirect (to http://elsewhere/) is not followed";
        assert_eq!(cause.message, told);
    }
}
