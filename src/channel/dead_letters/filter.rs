//! Which dead letters are meant.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::letter::{Letter, Name};

/// What letters have to be: all of it. The default is every letter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only these; empty: any.
    pub names: BTreeSet<Name>,
    /// From this partition of the original topic.
    pub partition: Option<i32>,
    /// Not handled by this group.
    pub group: Option<String>,
    /// With this in the type of the error or in what it said.
    pub error: Option<String>,
    /// Dead since then, ms since 1970.
    pub since: Option<i64>,
    /// With this key.
    pub key: Option<Vec<u8>>,
}

impl Filter {
    /// Those with these names.
    pub fn named(names: impl IntoIterator<Item = Name>) -> Filter {
        Filter { names: names.into_iter().collect(), ..Filter::default() }
    }

    /// Whether it is every letter.
    pub fn is_everything(&self) -> bool {
        *self == Filter::default()
    }

    /// Whether a letter is meant.
    pub fn fits(&self, letter: &Letter) -> bool {
        let says = |text: &str| {
            [letter.exception(), letter.message()].into_iter().flatten().any(|said| said.contains(text))
        };
        (self.names.is_empty() || self.names.contains(&letter.name))
            && self.partition.is_none_or(|partition| letter.partition() == Some(partition))
            && self.group.as_deref().is_none_or(|group| letter.group().as_deref() == Some(group))
            && self.error.as_deref().is_none_or(says)
            && self.since.is_none_or(|since| letter.timestamp.is_some_and(|time| time >= since))
            && self.key.as_deref().is_none_or(|key| letter.key.as_deref() == Some(key))
    }
}

/// A point in time, in ms since 1970: `2026-05-01T10:00:00Z`, `2026-05-01` (UTC), or so long before now as `90s`,
/// `30m`, `12h` or `7d` say.
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
    time.ok_or_else(|| {
        "a time is 2026-05-01T10:00:00Z, 2026-05-01, or so long ago: 90s, 30m, 12h, 7d".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::super::letter::tests::letter;
    use super::super::{CONSUMER_GROUP, EXCEPTION_FQCN, EXCEPTION_MESSAGE, ORIGINAL_PARTITION};
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
        let whole = Filter {
            names: [found.name].into(),
            partition: Some(2),
            group: Some("g".to_owned()),
            error: Some("status: 1".to_owned()),
            since: Some(1_000),
            key: Some(vec![0xff]),
        };
        assert!(whole.fits(&found) && Filter::default().fits(&found) && Filter::default().is_everything());
        assert!(Filter { error: Some("NotJson".to_owned()), ..whole.clone() }.fits(&found));
        let other = Name { partition: 1, offset: 7 };
        for wrong in [
            Filter { names: [other].into(), ..whole.clone() },
            Filter { partition: Some(1), ..whole.clone() },
            Filter { group: Some("h".to_owned()), ..whole.clone() },
            Filter { error: Some("status: 2".to_owned()), ..whole.clone() },
            Filter { since: Some(1_001), ..whole.clone() },
            Filter { key: Some(Vec::new()), ..whole.clone() },
        ] {
            assert!(!wrong.fits(&found) && !wrong.is_everything(), "{wrong:?}");
        }
        assert!(!whole.fits(&letter(&[])), "what does not say it does not fit");
    }

    #[test]
    fn a_time_is_a_date_or_so_long_ago() {
        assert_eq!(since("1970-01-02"), Ok(86_400_000));
        assert_eq!(since("1970-01-01T01:00:00.5+01:00"), Ok(500));
        let now = since("0s").unwrap();
        assert!((now - 7_200_000 - since("2h").unwrap()).abs() < 60_000);
        for wrong in ["", "h", "-1h", "2w", "yesterday", "2026-13-01", "99999999999999999999d", "ñ"] {
            assert!(since(wrong).is_err(), "{wrong}");
        }
    }
}
