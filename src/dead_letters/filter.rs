//! A filter of dead letters.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::dead_letter::{DeadLetter, DeadLetterId};

/// The conditions for a dead letter, all of which must hold. The default is every dead letter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeadLetterFilter {
    /// The dead letter has one of these ids. An empty set admits every id.
    pub ids: BTreeSet<DeadLetterId>,
    /// The message came from this partition of its original topic. `None` admits every partition.
    pub partition: Option<i32>,
    /// The message could not be handled by this group. `None` admits every group.
    pub group: Option<String>,
    /// The value, the key, the type or the text of the error, what the handler wrote on standard error, or
    /// the original topic contains this text, in capitals or not. `None` admits every letter.
    pub text: Option<String>,
    /// The type of the error, or its text, contains this text. `None` admits every error.
    pub error: Option<String>,
    /// The message became a dead letter at this time or later, in ms since 1970. `None` admits every time.
    pub since: Option<i64>,
    /// The message has this key. `None` admits every key, and messages without a key.
    pub key: Option<Vec<u8>>,
}

impl DeadLetterFilter {
    /// A filter that admits the dead letters with these ids; without ids, every dead letter.
    pub fn with_ids(ids: impl IntoIterator<Item = DeadLetterId>) -> DeadLetterFilter {
        DeadLetterFilter { ids: ids.into_iter().collect(), ..DeadLetterFilter::default() }
    }

    /// Whether the filter admits every dead letter.
    pub fn is_everything(&self) -> bool {
        *self == DeadLetterFilter::default()
    }

    /// Whether the filter admits `letter`.
    pub fn fits(&self, letter: &DeadLetter) -> bool {
        let says = |text: &str| {
            [letter.exception(), letter.message()].into_iter().flatten().any(|said| said.contains(text))
        };
        (self.ids.is_empty() || self.ids.contains(&letter.id))
            && self.partition.is_none_or(|partition| letter.partition() == Some(partition))
            && self.group.as_deref().is_none_or(|group| letter.group().as_deref() == Some(group))
            && self.error.as_deref().is_none_or(says)
            && self.since.is_none_or(|since| letter.timestamp.is_some_and(|time| time >= since))
            && self.key.as_deref().is_none_or(|key| letter.key.as_deref() == Some(key))
            && self.text.as_deref().is_none_or(|text| holds(letter, text))
    }
}

/// Whether some part of `letter` contains `text`, in capitals or not.
fn holds(letter: &DeadLetter, text: &str) -> bool {
    let text = text.to_lowercase();
    let bytes = [letter.value.as_deref(), letter.key.as_deref(), letter.stderr()];
    let bytes = bytes.into_iter().flatten().map(String::from_utf8_lossy);
    let texts = [letter.exception(), letter.message(), letter.topic()].into_iter().flatten();
    bytes.chain(texts).any(|part| part.to_lowercase().contains(&text))
}

/// A point in time, in ms since 1970: `2026-05-01T10:00:00Z`, `2026-05-01` (UTC), or an age such as `90s`,
/// `30m`, `12h` or `7d`.
///
/// # Errors
/// It is none of these.
pub fn since(text: &str) -> Result<i64, String> {
    let ago = |number: &str, unit: u64| {
        let age = Duration::from_secs(number.parse::<u64>().ok()?.checked_mul(unit)?);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
        i64::try_from(now.saturating_sub(age).as_millis()).ok()
    };
    let date = |text: &str| {
        let time = OffsetDateTime::parse(text, &Rfc3339).ok()?;
        i64::try_from(time.unix_timestamp_nanos() / 1_000_000).ok()
    };
    let units = [('s', 1), ('m', 60), ('h', 3_600), ('d', 86_400)];
    let before_now = units.iter().find_map(|(letter, unit)| ago(text.strip_suffix(*letter)?, *unit));
    let time = before_now.or_else(|| date(text)).or_else(|| date(&format!("{text}T00:00:00Z")));
    // No message is older, and times below 0 mean something else to brokers.
    time.map(|ms| ms.max(0)).ok_or_else(|| {
        "a time is 2026-05-01T10:00:00Z, 2026-05-01, or so long ago: 90s, 30m, 12h, 7d".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::super::dead_letter::tests::letter;
    use super::super::headers::{
        CONSUMER_GROUP, EXCEPTION_FQCN, EXCEPTION_MESSAGE, ORIGINAL_PARTITION, ORIGINAL_TOPIC, STDERR,
    };
    use super::*;

    #[test]
    fn a_letter_has_to_fit_in_every_respect() {
        let bytes = 2_i32.to_be_bytes();
        let mut found = letter(&[
            (ORIGINAL_PARTITION, Some(&bytes)),
            (CONSUMER_GROUP, Some(b"g")),
            (EXCEPTION_FQCN, Some(b"a::NotJson")),
            (EXCEPTION_MESSAGE, Some(b"exit status: 1")),
        ]);
        found.key = Some(vec![0xff]);
        let whole = DeadLetterFilter {
            ids: [found.id].into(),
            partition: Some(2),
            group: Some("g".to_owned()),
            text: None,
            error: Some("status: 1".to_owned()),
            since: Some(1_000),
            key: Some(vec![0xff]),
        };
        assert!(
            whole.fits(&found)
                && DeadLetterFilter::default().fits(&found)
                && DeadLetterFilter::default().is_everything()
        );
        assert!(DeadLetterFilter { error: Some("NotJson".to_owned()), ..whole.clone() }.fits(&found));
        let other = DeadLetterId { partition: 1, offset: 7 };
        for wrong in [
            DeadLetterFilter { ids: [other].into(), ..whole.clone() },
            DeadLetterFilter { partition: Some(1), ..whole.clone() },
            DeadLetterFilter { group: Some("h".to_owned()), ..whole.clone() },
            DeadLetterFilter { error: Some("status: 2".to_owned()), ..whole.clone() },
            DeadLetterFilter { since: Some(1_001), ..whole.clone() },
            DeadLetterFilter { key: Some(Vec::new()), ..whole.clone() },
        ] {
            assert!(!wrong.fits(&found) && !wrong.is_everything(), "{wrong:?}");
        }
        assert!(!whole.fits(&letter(&[])), "what does not say it does not fit");
    }

    #[test]
    fn a_text_may_stand_in_any_part_in_capitals_or_not() {
        let mut found = letter(&[
            (EXCEPTION_MESSAGE, Some(b"No Stock")),
            (EXCEPTION_FQCN, Some(b"a::Refused")),
            (ORIGINAL_TOPIC, Some(b"pedidos")),
            (STDERR, Some("Ánimo\n".as_bytes())),
        ]);
        (found.key, found.value) = (Some(b"cliente-7".to_vec()), Some(b"{\"Id\":1}\xff".to_vec()));
        let fits = |text: &str| {
            DeadLetterFilter { text: Some(text.to_owned()), ..DeadLetterFilter::default() }.fits(&found)
        };
        for text in ["no stock", "STOCK", "refused", "Pedido", "ÁNIMO", "CLIENTE-7", "\"id\":1"] {
            assert!(fits(text), "{text}");
        }
        for text in ["no  stock", "cliente-8", "0:7"] {
            assert!(!fits(text), "{text}");
        }
        assert!(
            !DeadLetterFilter { text: Some("x".to_owned()), ..DeadLetterFilter::default() }.is_everything()
        );
    }

    #[test]
    fn a_time_is_a_date_or_so_long_ago() {
        assert_eq!(since("1970-01-02"), Ok(86_400_000));
        assert_eq!(since("1969-12-31T23:59:59.998Z"), Ok(0), "-2 means the oldest message, -1 the end");
        assert_eq!(since("1970-01-01T01:00:00.5+01:00"), Ok(500));
        let now = since("0s").unwrap();
        assert!((now - 7_200_000 - since("2h").unwrap()).abs() < 60_000);
        for wrong in ["", "h", "-1h", "2w", "yesterday", "2026-13-01", "99999999999999999999d", "ñ"] {
            assert!(since(wrong).is_err(), "{wrong}");
        }
    }
}
