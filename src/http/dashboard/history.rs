//! What happened in the last hour, in samples that are taken whether somebody watches or not.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use serde::Serialize;

use super::source::{GroupState, PartitionState};

/// The pause between two samples.
pub(super) const SAMPLE_INTERVAL: Duration = Duration::from_secs(10);

/// The samples that are kept: the steps of an hour, and the sample at which the first of them begins.
const KEPT: usize = 361;

/// What is shown, in ms, and some steps that were late.
const HOUR: i64 = 3_660_000;

/// The longest step whose counts are told, in ms. In a longer one nobody looked: the machine slept, or its
/// clock was set.
const LONGEST_STEP: i64 = 25_000;

/// What happened from the sample before until this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Sample {
    /// When it was taken, ms since 1970.
    at: i64,
    /// The time since the sample before, in ms; 0 for the first.
    ms: i64,
    /// The messages that this endpoint has stored, in whatever topic; `None` if that is not known.
    sent: Option<u64>,
    /// By how much the ends of the partitions have grown; `None` if one of the two samples saw no cluster.
    stored: Option<u64>,
    /// By how much the group got on in them; `None` as for `stored`.
    handled: Option<u64>,
    /// What the group had still to handle then; `None` if that was not known.
    lag: Option<u64>,
}

/// The samples of the last hour, the oldest first.
#[derive(Debug, Serialize)]
pub(super) struct History {
    /// When the first sample of all was taken, ms since 1970.
    since: Option<i64>,
    /// The pause between two samples, in ms.
    interval: u64,
    samples: VecDeque<Sample>,
    /// The topic whose new partitions are known to begin empty.
    #[serde(skip)]
    topic: String,
    #[serde(skip)]
    last: Option<Last>,
}

/// What the last sample saw.
#[derive(Debug)]
struct Last {
    at: i64,
    sent: u64,
    /// `None` if it saw no cluster.
    partitions: Option<Partitions>,
}

type Partitions = BTreeMap<(String, i32), Seen>;

/// What is known of a partition. An offset that a leader does not tell now is the one that it told last.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    start: Option<i64>,
    end: Option<i64>,
    done: Option<i64>,
}

impl History {
    /// Nothing yet; `topic` is the channel's.
    pub(super) fn new(topic: &str) -> History {
        let interval = u64::try_from(SAMPLE_INTERVAL.as_millis()).unwrap_or(u64::MAX);
        History { since: None, interval, samples: VecDeque::new(), topic: topic.to_owned(), last: None }
    }

    /// Adds a sample of the time `at`, ms since 1970: the number of messages that this endpoint has `sent`
    /// so far, and the group, if the cluster was seen. Where the clock was set back, what was before is
    /// forgotten.
    pub(super) fn add(&mut self, at: i64, sent: u64, group: Option<&GroupState>) -> Sample {
        if self.last.as_ref().is_some_and(|last| at < last.at) {
            self.samples.clear();
            (self.last, self.since) = (None, None);
        }
        let before = self.last.take();
        let step = before.as_ref().map_or(0, |last| at - last.at);
        let before = before.filter(|_| (1..=LONGEST_STEP).contains(&step));
        let known = before.as_ref().and_then(|last| last.partitions.as_ref());
        let partitions = group.map(|group| seen(group, known));
        let both = known.zip(partitions.as_ref());
        let sample = Sample {
            at,
            ms: step,
            sent: before.as_ref().map(|last| sent.saturating_sub(last.sent)),
            stored: both.map(|(before, now)| self.stored(before, now)),
            handled: both.map(|(before, now)| self.handled(before, now)),
            lag: partitions.as_ref().and_then(lag),
        };
        // After a long pause what is left is not of this hour.
        self.samples.retain(|sample| at - sample.at <= HOUR);
        self.last = Some(Last { at, sent, partitions });
        self.since.get_or_insert(at);
        if self.samples.len() == KEPT {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
        sample
    }

    /// Whether all that is known is the last sample.
    pub(super) fn begins(&self) -> bool {
        self.samples.len() == 1
    }

    /// The sum of what was added to each log. One that is shorter than before, as its topic was made anew,
    /// has added nothing that is known.
    fn stored(&self, before: &Partitions, now: &Partitions) -> u64 {
        let new = self.new_partitions(before, now);
        let added = now.iter().filter_map(|(place, seen)| {
            let from = match before.get(place) {
                Some(before) => before.end?,
                None if new.contains(place) => 0,
                None => return None,
            };
            Some(seen.end?.saturating_sub(from))
        });
        sum(added)
    }

    /// The sum of what was handled in each partition: what retention has removed was not, and a group whose
    /// offsets were set back has handled nothing that is known.
    fn handled(&self, before: &Partitions, now: &Partitions) -> u64 {
        let new = self.new_partitions(before, now);
        let handled = now.iter().filter_map(|(place, seen)| {
            let from = match before.get(place) {
                // Whatever is done of a log that was empty was done since.
                Some(Seen { done: None, end: Some(0), .. }) => 0,
                Some(before) => before.done?,
                None if new.contains(place) => 0,
                None => return None,
            };
            Some(seen.done?.saturating_sub(from.max(seen.start.unwrap_or(from))))
        });
        sum(handled)
    }

    /// The partitions of the channel's topic that were not there before. Those of other topics are listed
    /// from the group's first commit on, and may have held much by then.
    fn new_partitions<'a>(&self, before: &Partitions, now: &'a Partitions) -> BTreeSet<&'a (String, i32)> {
        let is_new = |place: &&(String, i32)| place.0 == self.topic && !before.contains_key(*place);
        now.keys().filter(is_new).collect()
    }
}

fn seen(group: &GroupState, before: Option<&Partitions>) -> Partitions {
    let seen = |state: &PartitionState| {
        let place = (state.topic.clone(), state.partition);
        let before = before.and_then(|before| before.get(&place)).copied().unwrap_or_default();
        let [start, end, done] =
            [state.start.or(before.start), state.end.or(before.end), state.done.or(before.done)];
        (place, Seen { start, end, done })
    };
    group.partitions.iter().map(seen).collect()
}

/// What there is to handle, as far as that is known; `None` where there is something, and nothing is known.
fn lag(partitions: &Partitions) -> Option<u64> {
    let lag = |seen: &Seen| {
        let (done, end) = (seen.done?, seen.end?);
        Some(end.saturating_sub(done.max(seen.start.unwrap_or(done))))
    };
    let known: Vec<i64> = partitions.values().filter_map(lag).collect();
    let is_empty = partitions.values().all(|seen| seen.end == Some(0));
    (is_empty || !known.is_empty()).then(|| sum(known))
}

/// The sum of what is no less than nothing.
fn sum(counts: impl IntoIterator<Item = i64>) -> u64 {
    counts.into_iter().filter_map(|count| u64::try_from(count).ok()).fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A partition of the topic `t`, or of another one, as (number, start, end, done).
    fn group(topic: &str, partitions: &[(i32, i64, Option<i64>, Option<i64>)]) -> GroupState {
        let partition =
            |&(partition, start, end, done): &(i32, i64, Option<i64>, Option<i64>)| PartitionState {
                topic: topic.to_owned(),
                partition,
                committed: done,
                start: Some(start),
                end,
                done,
                lag: None,
                owner: None,
                queue: None,
            };
        GroupState {
            group: "g".to_owned(),
            state: "Stable".to_owned(),
            members: None,
            partitions: partitions.iter().map(partition).collect(),
        }
    }

    /// The samples of looks ten seconds apart: stored, handled, lag.
    fn told(looks: &[Option<GroupState>]) -> Vec<(Option<u64>, Option<u64>, Option<u64>)> {
        let mut history = History::new("t");
        let sample = |(at, look): (i64, &Option<GroupState>)| {
            let Sample { stored, handled, lag, .. } = history.add(at * 10_000, 0, look.as_ref());
            (stored, handled, lag)
        };
        (0..).zip(looks).map(sample).collect()
    }

    #[test]
    fn a_sample_tells_what_was_stored_and_handled_since_the_one_before() {
        let look = |end, done| Some(group("t", &[(0, 0, Some(end), Some(done)), (1, 0, Some(5), Some(5))]));
        let told = told(&[look(10, 4), look(17, 16), look(17, 17)]);
        let expected = [(None, None, Some(6)), (Some(7), Some(12), Some(1)), (Some(0), Some(1), Some(0))];
        assert_eq!(told, expected);
    }

    #[test]
    fn after_a_long_pause_only_what_is_of_this_hour_is_left() {
        let mut history = History::new("t");
        let taken = [0, 10_000, 30_000_000].map(|at| history.add(at, 0, None));
        assert_eq!((taken[2].ms, taken[2].sent), (29_990_000, None));
        assert_eq!(history.samples, [taken[2]]);
    }

    #[test]
    fn where_no_cluster_was_seen_is_a_gap_and_no_zero() {
        let look = |end| Some(group("t", &[(0, 0, Some(end), Some(end))]));
        let gap = (None, None, None);
        let told = told(&[look(1), None, look(9), look(11)]);
        assert_eq!(told, [(None, None, Some(0)), gap, (None, None, Some(0)), (Some(2), Some(2), Some(0))]);
    }

    #[test]
    fn nothing_goes_backwards() {
        let look = |start, end, done| Some(group("t", &[(0, start, Some(end), Some(done))]));
        // The topic was made anew; then the group was set back; then retention took what it had not handled.
        let told = told(&[look(0, 50, 50), look(0, 3, 1), look(0, 3, 0), look(2, 4, 3)]);
        let told: Vec<_> = told.into_iter().map(|(stored, handled, _)| (stored, handled)).collect();
        assert_eq!(told[1..], [(Some(0), Some(0)), (Some(0), Some(0)), (Some(1), Some(1))]);
    }

    #[test]
    fn a_new_topic_begins_empty_and_one_that_was_there_does_not() {
        let new = group("t", &[(0, 0, Some(8), Some(3))]);
        assert_eq!(told(&[Some(group("t", &[])), Some(new)])[1], (Some(8), Some(3), Some(5)));
        let other = group("other", &[(0, 0, Some(8), Some(3))]);
        assert_eq!(told(&[Some(group("t", &[])), Some(other)])[1], (Some(0), Some(0), Some(5)));
    }

    #[test]
    fn a_leader_that_does_not_answer_costs_no_count() {
        let look = |end| Some(group("t", &[(0, 0, end, Some(1)), (1, 0, Some(4), Some(4))]));
        let told = told(&[look(Some(3)), look(None), look(Some(6))]);
        let expected = [(None, None, Some(2)), (Some(0), Some(0), Some(2)), (Some(3), Some(0), Some(5))];
        assert_eq!(told, expected);
    }

    #[test]
    fn before_the_first_commit_the_lag_is_known_only_where_a_consumer_would_begin() {
        let look = |done| group("t", &[(0, 2, Some(9), done)]);
        assert_eq!(told(&[Some(look(None))])[0].2, None);
        assert_eq!(told(&[Some(look(Some(2)))])[0].2, Some(7));
        assert_eq!(told(&[Some(group("t", &[(0, 0, Some(0), None)]))])[0].2, Some(0));
    }

    #[test]
    fn an_hour_is_kept_and_a_clock_that_is_set_begins_anew() {
        let mut history = History::new("t");
        for sample in 0..1_000 {
            let at = 1_700_000_000_000 + sample * 10_000;
            history.add(at, u64::MAX, Some(&group("t", &[(0, 0, Some(i64::MAX), Some(0))])));
        }
        assert_eq!(history.samples.len(), KEPT);
        assert_eq!(history.since, Some(1_700_000_000_000));
        let bytes = serde_json::to_string(&history).unwrap().len();
        assert!(bytes < 64 * 1024, "{bytes}");
        let slept = history.add(1_700_020_000_000, 0, None);
        assert_eq!((slept.sent, slept.stored), (None, None));
        let at = 1_600_000_000_000;
        assert_eq!(history.add(at, 0, None).ms, 0);
        assert!(history.begins() && history.since == Some(at));
    }
}
