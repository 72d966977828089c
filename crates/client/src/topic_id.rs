//! Topics by their ids (KIP-516): a topic that is deleted and made anew has another one.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How long brokers are expected to tell a former id at most, as they hear of a new topic one after the other.
const LAG: Duration = Duration::from_secs(60);
/// The most former ids that are kept of a topic.
const MOST_FORMER: usize = 16;

/// The id of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicId(u128);

impl TopicId {
    /// The id with these 16 bytes, big-endian; `None` for zero, which is none.
    pub(crate) fn of(id: u128) -> Option<TopicId> {
        Some(TopicId(id)).filter(|id| id.0 != 0)
    }

    /// The id in the type that messages have it in.
    pub(crate) fn to_message<I: TryFrom<Vec<u8>> + Default>(self) -> I {
        I::try_from(self.0.to_be_bytes().to_vec()).unwrap_or_default()
    }
}

/// The ids that a topic has had, as far as brokers have told them.
#[derive(Debug, Default)]
pub(crate) struct TopicIds {
    current: Option<TopicId>,
    former: VecDeque<(TopicId, Instant)>,
}

impl TopicIds {
    /// Takes note of what a broker has told; false where that is the former topic of the name.
    pub(crate) fn learn(&mut self, told: Option<TopicId>, now: Instant) -> bool {
        let is_former = |(id, since): &(TopicId, Instant)| Some(*id) == told && now < *since + LAG;
        if told.is_none() || told == self.current {
            return true;
        }
        if self.former.iter().any(is_former) {
            return false;
        }
        if let Some(before) = std::mem::replace(&mut self.current, told) {
            self.former.push_back((before, now));
            let surplus = self.former.len().saturating_sub(MOST_FORMER);
            self.former.drain(..surplus);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_that_lags_behind_does_not_bring_the_former_topic_back() {
        let (old, new) = (TopicId::of(1), TopicId::of(2));
        let now = Instant::now();
        let mut ids = TopicIds::default();
        assert!(ids.learn(old, now) && ids.learn(old, now));
        assert!(ids.learn(new, now) && !ids.learn(old, now) && ids.learn(new, now));
        assert!(ids.learn(None, now), "a broker that knows no ids");
        assert!(ids.learn(old, now + LAG), "a cluster that was brought back as it had been");
        assert!(!ids.learn(new, now + LAG) && ids.learn(old, now + LAG));
    }

    #[test]
    fn only_so_many_former_ids_are_kept() {
        let mut ids = TopicIds::default();
        for id in 1..100 {
            assert!(ids.learn(TopicId::of(id), Instant::now()));
        }
        assert_eq!(ids.former.len(), MOST_FORMER);
        assert_eq!(TopicId::of(0), None);
    }
}
