//! The largest record batch that a topic takes (`max.message.bytes`), as far as the brokers tell.

use std::time::{Duration, Instant};

use super::LOOK_UPS;
use super::configs;
use super::metadata::Cluster;
use net::sync::lock;

/// The topic's configuration.
const MAX_MESSAGE_BYTES: &str = "max.message.bytes";
/// How long its value is believed, and the longest wait for it.
pub(crate) const AGE: Duration = Duration::from_secs(5);
/// A value that keeps a message from being sent must not be older than this: it may have been raised.
pub(crate) const RECENT: Duration = Duration::from_millis(100);
/// How long it is believed that nobody tells it.
const SILENCE_AGE: Duration = Duration::from_secs(1);
const TIMEOUT: Duration = Duration::from_secs(1);
/// So many topics are remembered.
const MOST: usize = 1_024;

/// The most bytes of a batch that every topic takes by default (`message.max.bytes`): smaller ones are sent
/// without a look.
pub(crate) const DEFAULT: usize = 1_048_588;

impl Cluster {
    /// The most bytes that a record batch of a topic may have; `None` where that may not be read, or nobody
    /// answers in time. It is looked up where it was not told within `age`.
    pub(crate) fn batch_limit(&self, topic: &str, age: Duration, deadline: Instant) -> Option<usize> {
        if let Some((at, limit)) = lock(&self.shared.batch_limits).get(topic)
            && at.elapsed() < limit.map_or(age.min(SILENCE_AGE), |_| age)
        {
            return *limit;
        }
        let deadline = deadline.min(Instant::now() + TIMEOUT);
        let told = configs::of_topic(self, LOOK_UPS, topic, [MAX_MESSAGE_BYTES], deadline);
        let told = told.inspect_err(|error| log::debug!("{MAX_MESSAGE_BYTES} of {topic}: {error}"));
        let limit = told.ok().and_then(|[value]| value?.parse().ok());
        let mut limits = lock(&self.shared.batch_limits);
        if limit.is_none() && limits.get(topic).is_some_and(|(_, known)| known.is_some()) {
            // What was told once is better than nothing, for naming it.
            return None;
        }
        if limits.len() >= MOST {
            limits.clear();
        }
        limits.insert(topic.to_owned(), (Instant::now(), limit));
        limit
    }
}

/// Why a topic takes no message whose batch has so many bytes; `None` where that is not known.
pub(crate) fn sentence(topic: &str, limit: Option<usize>, bytes: Option<usize>) -> String {
    let Some(limit) = limit else {
        return format!("the message is larger than topic {topic} takes (max.message.bytes)");
    };
    let takes = format!("topic {topic} takes {limit} bytes at most (max.message.bytes)");
    match bytes {
        Some(bytes) => format!("{takes}, and with what is stored beside it the message has {bytes}"),
        None => format!("{takes}, and the message has more"),
    }
}
