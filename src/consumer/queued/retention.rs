//! How long topics keep its records: what waits for longer would be lost.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use client::{Cluster, Error, configs};
use net::backoff::Backoff;
use net::sync::{Mutex, lock};

/// How often the configuration is read.
const INTERVAL: Duration = Duration::from_secs(300);
/// The waits after it could not be read.
const WAITS: Backoff = Backoff::new(Duration::from_secs(1), INTERVAL);
/// How long reading it may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is read: how long records are kept, and whether old ones are removed at all.
const NAMES: [&str; 2] = ["retention.ms", "cleanup.policy"];

/// How long topics keep their records, as far as it is known.
#[derive(Debug, Default)]
pub struct Retention(Mutex<HashMap<Arc<str>, Topic>>);

/// What is known of a topic.
#[derive(Debug)]
struct Topic {
    /// How long its records are kept, in ms; -1: for ever, or not known.
    kept: i64,
    /// When that is read again; unset: at once.
    due: Option<Instant>,
    waits: Backoff,
    /// It was said that it may not be read.
    is_told: bool,
}

impl Default for Topic {
    fn default() -> Topic {
        Topic { kept: -1, due: None, waits: WAITS, is_told: false }
    }
}

impl Retention {
    /// One of these topics whose configuration is to be read now.
    pub fn due<'a>(&self, topics: impl Iterator<Item = &'a Arc<str>>, now: Instant) -> Option<Arc<str>> {
        let known = lock(&self.0);
        let is_due = |topic: &&Arc<str>| known.get(*topic).is_none_or(|known| known.is_due(now));
        topics.into_iter().find(is_due).cloned()
    }

    /// Reads the configuration of a topic.
    pub fn read(&self, cluster: &Cluster, client_id: &str, topic: &Arc<str>) {
        let read = configs::of_topic(cluster, client_id, topic, NAMES, Instant::now() + PATIENCE);
        match lock(&self.0).entry(topic.clone()).or_default().take(read, Instant::now()) {
            Read::Kept(-1) => log::debug!("{client_id}: {topic} keeps its messages for ever"),
            Read::Kept(kept) => log::debug!("{client_id}: {topic} keeps its messages for {kept} ms"),
            Read::Unknown { error, is_to_be_told: true } => log::warn!(
                "{client_id}: how long {topic} keeps its messages cannot be read, so one that waits for longer is \
                 lost, and no dead letter: {error}"
            ),
            Read::Unknown { error, .. } => {
                log::debug!("{client_id}: how long {topic} keeps its messages cannot be read: {error}");
            }
        }
    }

    /// Whether a record of a topic with this timestamp may be removed by `at`, both in ms since 1970.
    pub fn is_over(&self, topic: &str, timestamp: Option<i64>, at: u64) -> bool {
        lock(&self.0).get(topic).is_some_and(|topic| topic.is_over(timestamp, at))
    }

    /// Forgets all topics but these.
    pub fn keep<'a>(&self, topics: impl Iterator<Item = &'a Arc<str>>) {
        let owned: HashSet<&Arc<str>> = topics.collect();
        lock(&self.0).retain(|topic, _| owned.contains(topic));
    }
}

impl Topic {
    /// Whether it is time to read the configuration.
    fn is_due(&self, now: Instant) -> bool {
        self.due.is_none_or(|due| due <= now)
    }

    /// Takes note of what was read at `now`. What was known before stands while it cannot be read.
    fn take(&mut self, read: Result<[Option<String>; 2], Error>, now: Instant) -> Read {
        match read {
            Ok([kept, policy]) => {
                let removes =
                    policy.is_none_or(|policy| policy.split(',').any(|name| name.trim() == "delete"));
                let kept = kept.filter(|_| removes).and_then(|text| text.parse().ok()).unwrap_or(-1);
                *self = Topic { kept, due: Some(now + INTERVAL), ..Topic::default() };
                Read::Kept(kept)
            }
            Err(error) => {
                self.due = Some(now + self.waits.next_wait());
                let is_to_be_told = error.needs_mending() && !std::mem::replace(&mut self.is_told, true);
                Read::Unknown { error, is_to_be_told }
            }
        }
    }

    fn is_over(&self, timestamp: Option<i64>, at: u64) -> bool {
        let kept = u64::try_from(self.kept).ok();
        let since = timestamp.and_then(|timestamp| u64::try_from(timestamp).ok());
        since.zip(kept).is_some_and(|(since, kept)| since.saturating_add(kept) <= at)
    }
}

/// What came of reading.
#[derive(Debug)]
enum Read {
    /// Records are kept for so many ms; -1: for ever.
    Kept(i64),
    /// It could not be read.
    Unknown { error: Error, is_to_be_told: bool },
}

#[cfg(test)]
mod tests {
    use super::*;
    use client::RequestContext;
    use protocol::TopicPartition;
    use protocol::error_code::ErrorCode;

    fn read(retention: &mut Topic, kept: &str, policy: Option<&str>) {
        let _ = retention.take(Ok([Some(kept.to_owned()), policy.map(str::to_owned)]), Instant::now());
    }

    #[test]
    fn only_what_is_kept_for_a_known_time_can_be_over() {
        let mut retention = Topic::default();
        assert!(!retention.is_over(Some(0), u64::MAX), "not known");
        read(&mut retention, "1000", Some("delete"));
        assert_eq!([999, 1_000].map(|at| retention.is_over(Some(0), at)), [false, true]);
        assert!(!retention.is_over(None, u64::MAX), "its time is not known");
        read(&mut retention, "-1", Some("delete"));
        assert!(!retention.is_over(Some(0), u64::MAX), "for ever");
    }

    #[test]
    fn each_topic_that_is_owned_has_its_own() {
        let (retention, now) = (Retention::default(), Instant::now());
        let [a, b]: [Arc<str>; 2] = ["a", "b"].map(Arc::from);
        let read = |topic: &Arc<str>, kept: &str| {
            let read = Ok([Some(kept.to_owned()), None]);
            drop(lock(&retention.0).entry(topic.clone()).or_default().take(read, now));
        };
        let due = || retention.due([&a, &b].into_iter(), now);
        assert_eq!(due().as_deref(), Some("a"));
        read(&a, "1000");
        assert_eq!(due().as_deref(), Some("b"));
        read(&b, "-1");
        assert_eq!(due(), None);
        assert_eq!(["a", "b"].map(|topic| retention.is_over(topic, Some(0), 1_000)), [true, false]);
        retention.keep([&b].into_iter());
        assert_eq!(due().as_deref(), Some("a"));
    }

    #[test]
    fn what_is_only_compacted_is_not_removed_for_its_age() {
        let mut retention = Topic::default();
        for (policy, removes) in [
            (None, true),
            (Some("delete"), true),
            (Some("compact,delete"), true),
            (Some("delete, compact"), true),
            (Some("compact"), false),
            (Some(""), false),
        ] {
            read(&mut retention, "1000", policy);
            assert_eq!(retention.is_over(Some(0), 1_000), removes, "{policy:?}");
        }
    }

    #[test]
    fn it_is_read_each_five_minutes_and_after_a_failure_with_growing_waits() {
        let (mut retention, mut now) = (Topic::default(), Instant::now());
        assert!(retention.is_due(now), "at once");
        for longest in [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300].map(Duration::from_secs) {
            let _ = retention.take(Err(Error::Cancelled), now);
            assert!(!retention.is_due(now + longest / 2 - Duration::from_millis(1)));
            now += longest;
            assert!(retention.is_due(now));
        }
        let read = retention.take(Ok([Some("1000".to_owned()), None]), now);
        assert!(matches!(read, Read::Kept(1_000)));
        assert!(!retention.is_due(now + Duration::from_secs(299)) && retention.is_due(now + INTERVAL));
        let _ = retention.take(Err(Error::Cancelled), now);
        assert!(retention.is_over(Some(0), 1_000), "what was known stands");
        assert!(retention.is_due(now + Duration::from_secs(1)), "the waits begin anew");
    }

    #[test]
    fn a_right_that_is_missing_is_told_once_until_it_is_there() {
        let (mut retention, now) = (Topic::default(), Instant::now());
        let refused = |retention: &mut Topic| {
            let request = RequestContext::fetch(&TopicPartition::new("t", 0));
            match retention.take(Err(Error::refused(request, ErrorCode::TOPIC_AUTHORIZATION_FAILED)), now) {
                Read::Unknown { error, is_to_be_told } => (error.to_string(), is_to_be_told),
                Read::Kept(_) => panic!("it was refused"),
            }
        };
        let (why, is_to_be_told) = refused(&mut retention);
        assert!(is_to_be_told && why.contains("an ACL for "), "{why}");
        assert!(!refused(&mut retention).1);
        read(&mut retention, "1000", None);
        assert!(refused(&mut retention).1);
    }
}
