//! Where the dead letters of each partition begin and end, and which of them are settled.

use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::progress::ReplayProgress;
use super::reader::PartitionRange;
use crate::dead_letters::dead_letter::DeadLetterId;
use crate::error::{Error, Result};
use client::assignor::Partitions;
use client::coordinator::{Committed, Coordinator};
use client::offsets::{self, EARLIEST, LATEST};
use client::{Cluster, Error as ClientError, in_time};
use protocol::TopicPartition;

/// The name that Kafka's tools show.
pub(super) const CLIENT_ID: &str = "dead-letters";
/// The longest wait for a broker to be found.
const FIRST_ANSWER: Duration = Duration::from_secs(5);
/// The longest wait for the answers about progress and offsets.
const ALL_ANSWERS: Duration = Duration::from_secs(30);
/// The partitions that are named where letters are left out.
const MOST_NAMED: usize = 10;

/// The partitions of a topic of dead letters.
#[derive(Debug, Default)]
pub(super) struct Parts {
    /// Those that can be read now.
    pub ranges: Vec<PartitionRange>,
    topic: String,
    /// Those whose leaders do not answer, ...
    away: Vec<i32>,
    /// ... and why not.
    why: Option<ClientError>,
}

impl Parts {
    /// The partitions of `topic`, of which `group` keeps what is settled; `None` if there is no topic. Those
    /// whose leaders do not answer in half of the time that is left are away.
    ///
    /// # Errors
    /// No broker answers in time, or the committed progress cannot be read.
    pub fn look(
        cluster: &Arc<Cluster>,
        topic: &str,
        group: &str,
        deadline: Option<Instant>,
    ) -> Result<Option<Parts>> {
        let within = |patience| {
            let limit = Instant::now() + patience;
            deadline.map_or(limit, |deadline| deadline.min(limit))
        };
        let unanswered = |error: ClientError| Error::new("no answer about dead letters").caused_by(error);
        let limit = within(FIRST_ANSWER);
        let known = || in_time(cluster, limit, || cluster.topic(topic, cluster.deadline(limit)));
        let Some(mut found) = known().map_err(unanswered)? else { return Ok(None) };
        if found.leaders.contains(&None) {
            // Where there was no leader at the last look, there may be one by now.
            let asked = in_time(cluster, limit, || cluster.refresh(&[topic], cluster.deadline(limit)));
            asked.map_err(unanswered)?;
            let Some(again) = known().map_err(unanswered)? else { return Ok(None) };
            found = again;
        }
        let numbers: Vec<i32> = (0..).take(found.leaders.len()).collect();
        let limit = within(ALL_ANSWERS);
        let mut coordinator = Coordinator::looking_on(cluster.clone(), group, CLIENT_ID);
        let partitions = Partitions::from([(topic.to_owned(), numbers.clone())]);
        let committed =
            in_time(cluster, limit, || coordinator.committed(&partitions, cluster.deadline(limit)));
        let mut committed = committed.map_err(unanswered)?;
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let limit = within(left.map_or(ALL_ANSWERS, |left| left / 2));
        // The ends after what is committed, which is never beyond them.
        let [(starts, first), (ends, second)] = [EARLIEST, LATEST].map(|time| {
            let wanted: Vec<_> =
                numbers.iter().map(|&number| (TopicPartition::new(topic, number), time)).collect();
            offsets::find_led(cluster, CLIENT_ID, &wanted, limit)
        });
        let mut parts = Parts { topic: topic.to_owned(), why: first.or(second), ..Parts::default() };
        for partition in numbers {
            let place = TopicPartition::new(topic, partition);
            let [start, end] = [&starts, &ends].map(|found| found.get(&place).copied());
            let Some((start, end)) = start.zip(end) else {
                parts.away.push(partition);
                continue;
            };
            let progress = progress(&place, end, committed.remove(&place).flatten(), group)?;
            parts.ranges.push(PartitionRange { partition, start, end, progress });
        }
        match parts.why {
            Some(error) if parts.ranges.is_empty() => Err(unanswered(error)),
            _ => Ok(Some(parts)),
        }
    }

    /// The number of offsets that are not settled.
    pub fn open(&self) -> u64 {
        self.ranges.iter().map(PartitionRange::open).sum()
    }

    /// Whether a partition is there, and cannot be read now.
    pub fn is_away(&self, partition: i32) -> bool {
        self.away.contains(&partition)
    }

    /// Which partitions are left out, and why.
    pub fn left_out(&self) -> Option<Error> {
        let why = self.why.clone()?;
        let mut what = "no letters are read of ".to_owned();
        for (index, partition) in self.away.iter().take(MOST_NAMED).enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            // Writing to a string cannot fail.
            let _ = write!(what, "{comma}{}-{partition}", self.topic);
        }
        match self.away.len().saturating_sub(MOST_NAMED) {
            0 => {}
            more => what += &format!(" and {more} more"),
        }
        Some(Error::new(what).retriable().caused_by(why))
    }

    /// As [`Parts::left_out`], where letters in these partitions may be meant: `ids`, or any without them.
    pub fn left_out_of<'a>(&self, mut ids: impl ExactSizeIterator<Item = &'a DeadLetterId>) -> Option<Error> {
        let concerns = ids.len() == 0 || ids.any(|id| self.is_away(id.partition));
        self.left_out().filter(|_| concerns)
    }
}

/// What `group` has noted as settled of a partition that ends at `end`.
fn progress(
    place: &TopicPartition,
    end: i64,
    committed: Option<Committed>,
    group: &str,
) -> Result<ReplayProgress> {
    // Beyond its end: the topic was made anew since.
    let Some(noted) = committed.filter(|noted| noted.offset <= end) else {
        return Ok(ReplayProgress::default());
    };
    ReplayProgress::read(noted.offset, &noted.metadata).map_err(|error| {
        let what = format!(
            "which dead letters are settled cannot be told: reset the offset of group {group} (then all \
             of the partition count as not settled)"
        );
        Error::new(what).at(&place.topic, Some(place.partition), Some(noted.offset)).caused_by(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use client::RequestContext;
    use protocol::error_code::ErrorCode;

    fn parts(away: Vec<i32>) -> Parts {
        let request = RequestContext::fetch(&TopicPartition::new("t-dlt", 1));
        let why = (!away.is_empty()).then(|| ClientError::refused(request, ErrorCode::LEADER_NOT_AVAILABLE));
        Parts { topic: "t-dlt".to_owned(), away, why, ranges: Vec::new() }
    }

    #[test]
    fn partitions_that_are_left_out_are_named_up_to_a_limit() {
        let told = |away| parts(away).left_out().map(|error| error.to_string()).unwrap_or_default();
        assert_eq!(told(Vec::new()), "");
        assert!(told(vec![1, 3]).starts_with("no letters are read of t-dlt-1, t-dlt-3: "));
        assert!(told((0..12).collect()).contains(", t-dlt-9 and 2 more: "));
    }

    #[test]
    fn they_concern_letters_that_are_in_them_or_any() {
        let parts = parts(vec![1]);
        let concern = |ids: &[(i32, i64)]| {
            let ids: Vec<DeadLetterId> =
                ids.iter().map(|&(partition, offset)| DeadLetterId { partition, offset }).collect();
            parts.left_out_of(ids.iter()).is_some()
        };
        assert!(concern(&[]) && concern(&[(0, 1), (1, 7)]) && !concern(&[(0, 1)]));
    }
}
