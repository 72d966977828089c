//! The answer of a kept program to one message: one line with a JSON object.

use std::borrow::Cow;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::failed::HandlerFailed;
use crate::consumer::handler::{Failure, FailureCause};
use crate::text::escape_beginning;

/// The longest line with an answer, in bytes, without its end.
pub const LONGEST_ANSWER: usize = 64 * 1024;
/// The longest wait that an answer can ask for: that of `retry.max_backoff_ms`.
const LONGEST_WAIT: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// The bytes of a wrong answer that its error shows.
const SHOWN_BYTES: usize = 200;

/// An answer as it is written. Fields that are not known are skipped, and null is as good as no field.
#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    ok: bool,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    retry_after_ms: Option<f64>,
    retry: Option<bool>,
    dead: Option<bool>,
}

/// Reads an answer: the text that names its message, and the outcome of that.
///
/// # Errors
/// What is wrong with the line.
pub fn read(line: &[u8]) -> Result<(Cow<'_, str>, Result<(), Failure>), String> {
    let answer: Answer<'_> = serde_json::from_slice(line)
        .map_err(|error| format!("it wrote what is no answer ({error}): {}", shown(line)))?;
    if answer.ok {
        return Ok((answer.id, Ok(())));
    }
    let cause = FailureCause::of(&HandlerFailed::Answered(answer.error.and_then(words)));
    let wait = answer.retry_after_ms.map(|ms| {
        let longest = LONGEST_WAIT.as_secs_f64();
        Duration::from_secs_f64((ms / 1_000.0).clamp(0.0, longest))
    });
    let failure = match (answer.retry.unwrap_or(false), answer.dead.unwrap_or(false), wait) {
        (true, true, _) => {
            return Err(format!("it answered both \"retry\" and \"dead\": {}", shown(line)));
        }
        (true, false, wait) => Failure::TryLater { cause, wait },
        (false, true, _) => Failure::Dead(cause),
        (false, false, Some(wait)) => Failure::FailedFor { cause, wait },
        (false, false, None) => Failure::Failed(cause),
    };
    Ok((answer.id, Err(failure)))
}

/// A line in an error.
pub fn shown(line: &[u8]) -> String {
    escape_beginning(line, SHOWN_BYTES).to_string()
}

/// The text of an error, or what else was given as one, as it stands; `None` for null and an empty text.
fn words(error: &RawValue) -> Option<String> {
    let text = serde_json::from_str::<Option<String>>(error.get());
    text.unwrap_or_else(|_| Some(error.get().to_owned())).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(line: &str) -> Failure {
        let (id, outcome) = read(line.as_bytes()).unwrap();
        assert_eq!(id, "7");
        outcome.unwrap_err()
    }

    #[test]
    fn an_answer_is_read_whatever_the_order_of_its_fields() {
        for line in
            [r#"{"id":"7","ok":true}"#, r#" { "more":[{}], "ok" : true, "error":null, "id" : "\u0037" } "#]
        {
            assert!(matches!(read(line.as_bytes()), Ok((id, Ok(()))) if id == "7"), "{line}");
        }
    }

    #[test]
    fn an_answer_says_how_a_message_failed() {
        let failed = failure(r#"{"id":"7","ok":false,"error":"no \"stock\""}"#);
        let Failure::Failed(cause) = failed else { panic!("{failed:?}") };
        assert_eq!(cause.message, "no \"stock\"");
        assert_eq!(cause.kind, "point_to_point::consumer::lines_handler::failed::HandlerFailed");

        let waits = failure(r#"{"id":"7","ok":false,"error":{"code":5},"retry_after_ms":1500}"#);
        let Failure::FailedFor { cause, wait } = waits else { panic!("{waits:?}") };
        assert_eq!((cause.message.as_str(), wait.as_millis()), ("{\"code\":5}", 1_500));

        let later = failure(r#"{"id":"7","ok":false,"retry":true}"#);
        let Failure::TryLater { cause, wait: None } = later else { panic!("{later:?}") };
        assert_eq!(cause.message, "the handler gave no reason");
        let later = failure(r#"{"id":"7","ok":false,"retry":true,"retry_after_ms":0.5,"dead":false}"#);
        assert!(matches!(later, Failure::TryLater { wait: Some(wait), .. } if wait.as_micros() == 500));

        assert!(matches!(failure(r#"{"id":"7","ok":false,"dead":true,"error":""}"#), Failure::Dead(_)));
    }

    #[test]
    fn a_wait_has_its_limits() {
        for (ms, wait) in [("-1", 0), ("1e300", 30 * 24 * 60 * 60)] {
            let found = failure(&format!(r#"{{"id":"7","ok":false,"retry_after_ms":{ms}}}"#));
            assert!(matches!(found, Failure::FailedFor { wait: found, .. } if found.as_secs() == wait));
        }
    }

    #[test]
    fn what_is_no_answer_is_said_to_be_none() {
        let wrong = [
            "",
            "done",
            "{}",
            r#"{"id":"7"}"#,
            r#"{"ok":true}"#,
            r#"{"id":7,"ok":true}"#,
            r#"{"id":"7","ok":"true"}"#,
            r#"{"id":"7","ok":true} {}"#,
            r#"[{"id":"7","ok":true}]"#,
            r#"{"id":"7","ok":false,"retry":true,"dead":true}"#,
            "{\"id\":\"7\",\"ok\":true,\"error\":\"\u{1}\"}",
        ];
        for line in wrong {
            assert!(read(line.as_bytes()).is_err(), "{line}");
        }
        assert!(read(b"{\"id\":\"\xff\",\"ok\":true}").is_err());
        let Err(error) = read(b"hola\x1b[2J") else { panic!("it is no answer") };
        assert!(error.ends_with(r"hola\u{1b}[2J"), "{error}");
    }
}
