//! Which member gets which partition: by `range`, the assignor that Java's clients have in common with all
//! other clients, by [`cooperative_sticky()`], or everything to the leader.
//!
//! With `range`, for each topic, the members subscribed to it in order of their ids get consecutive ranges of
//! its partitions; the first members get one more where the division leaves a rest. The result equals that of
//! Java's `RangeAssignor` without racks.

mod cooperative_sticky;
mod offer;

use std::collections::{BTreeMap, BTreeSet};

use protocol::TopicPartition;

pub use cooperative_sticky::{Claim, cooperative_sticky};
pub use offer::{GroupProtocol, Offer};

/// Partitions by topic.
pub type Partitions = BTreeMap<String, Vec<i32>>;

/// These partitions, by topic.
pub fn by_topic<'a>(partitions: impl IntoIterator<Item = &'a TopicPartition>) -> Partitions {
    let mut by_topic = Partitions::new();
    for TopicPartition { topic, partition } in partitions {
        by_topic.entry(topic.clone()).or_default().push(*partition);
    }
    by_topic
}

/// How the leader of a group shares the partitions out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Assignor {
    /// As [`range`] does.
    Range,
    /// The leader takes everything, and a member that does not lead gives up.
    OnlyLeader,
}

/// Assigns every partition to `leader`. Every member is in the result.
pub fn only_leader(
    leader: &str,
    subscriptions: &BTreeMap<String, BTreeSet<String>>,
    counts: &BTreeMap<String, usize>,
) -> BTreeMap<String, Partitions> {
    let mut assigned: BTreeMap<String, Partitions> =
        subscriptions.keys().map(|member| (member.clone(), Partitions::new())).collect();
    let numbers = |count: usize| (0..count).filter_map(|number| i32::try_from(number).ok()).collect();
    let everything = counts.iter().map(|(topic, count)| (topic.clone(), numbers(*count))).collect();
    assigned.insert(leader.to_owned(), everything);
    assigned
}

/// Assigns every partition of every subscribed topic to one member.
///
/// `subscriptions` are the topics of each member id; `counts` the number of partitions of each topic that
/// exists. Every member is in the result, also without partitions.
pub fn range(
    subscriptions: &BTreeMap<String, BTreeSet<String>>,
    counts: &BTreeMap<String, usize>,
) -> BTreeMap<String, Partitions> {
    let mut assigned: BTreeMap<String, Partitions> =
        subscriptions.keys().map(|member| (member.clone(), Partitions::new())).collect();
    for (topic, &count) in counts {
        let members: Vec<&String> =
            subscriptions.iter().filter(|(_, topics)| topics.contains(topic)).map(|(id, _)| id).collect();
        if members.is_empty() {
            continue;
        }
        let (share, rest) = (count / members.len(), count % members.len());
        let mut next = 0;
        for (rank, member) in members.into_iter().enumerate() {
            let size = share + usize::from(rank < rest);
            let range: Vec<i32> = (next..next + size).filter_map(|p| i32::try_from(p).ok()).collect();
            next += size;
            if let (false, Some(partitions)) = (range.is_empty(), assigned.get_mut(member)) {
                partitions.insert(topic.clone(), range);
            }
        }
    }
    assigned
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(names: &[(&str, &[&str])]) -> BTreeMap<String, BTreeSet<String>> {
        let topics = |topics: &[&str]| topics.iter().map(|t| t.to_string()).collect();
        names.iter().map(|(name, subscribed)| (name.to_string(), topics(subscribed))).collect()
    }

    fn counts(topics: &[(&str, usize)]) -> BTreeMap<String, usize> {
        topics.iter().map(|(topic, count)| (topic.to_string(), *count)).collect()
    }

    #[test]
    fn the_first_members_take_the_rest_of_the_division() {
        let assigned = range(&members(&[("a", &["t"]), ("b", &["t"]), ("c", &["t"])]), &counts(&[("t", 7)]));
        assert_eq!(assigned["a"]["t"], [0, 1, 2]);
        assert_eq!(assigned["b"]["t"], [3, 4]);
        assert_eq!(assigned["c"]["t"], [5, 6]);
    }

    #[test]
    fn a_member_beyond_the_partitions_gets_none_and_is_still_named() {
        let assigned = range(&members(&[("a", &["t"]), ("b", &["t"])]), &counts(&[("t", 1)]));
        assert_eq!(assigned["a"]["t"], [0]);
        assert!(assigned["b"].is_empty());
    }

    #[test]
    fn everything_goes_to_the_only_leader() {
        let all = members(&[("a", &["t"]), ("b", &["t"])]);
        let assigned = only_leader("b", &all, &counts(&[("t", 2)]));
        assert!(assigned["a"].is_empty());
        assert_eq!(assigned["b"], BTreeMap::from([("t".to_owned(), vec![0, 1])]));
    }

    #[test]
    fn each_topic_goes_to_its_own_subscribers_only() {
        let all = members(&[("a", &["t", "u"]), ("b", &["u"])]);
        let assigned = range(&all, &counts(&[("t", 2), ("u", 2), ("nobody's", 3)]));
        assert_eq!(assigned["a"], BTreeMap::from([("t".to_owned(), vec![0, 1]), ("u".to_owned(), vec![0])]));
        assert_eq!(assigned["b"], BTreeMap::from([("u".to_owned(), vec![1])]));
    }
}
