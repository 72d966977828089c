//! Topics that are deleted and made anew while a member owns partitions of them. The new topic has another id
//! (KIP-516): its messages are others, whatever their offsets, and none of them is handled yet.
//!
//! Brokers hear of a new topic one after the other, so what one of them tells proves nothing. A partition is
//! fetched by the id of its own topic. Once its leader does not know that any more, the leader is asked for
//! the beginning of the topic that has the name now, and its answer is the proof.

use std::time::{Duration, Instant};

use super::prefetch::Wanted;
use super::{Member, OwnedPartition};
use crate::fetch::Position;
use crate::topic_id::TopicId;
use protocol::TopicPartition;

/// How long a partition is left alone whose leader does not know its topic.
const UNKNOWN_REST: Duration = Duration::from_millis(250);

impl OwnedPartition {
    /// What to fetch next, `max_bytes` of it. `told` is the id that brokers tell for the topic now.
    pub(super) fn wanted(&mut self, key: &TopicPartition, told: Option<TopicId>, max_bytes: i32) -> Wanted {
        let version = self.version;
        let other = self.other_id(told);
        let is_proof = self.is_unknown && other.is_some();
        let (position, topic_id) = match is_proof {
            true => (Position::new(key, 0, 1), other),
            false => (Position::new(key, self.fetch_from, max_bytes), self.topic_id),
        };
        Wanted { position: Position { topic_id, ..position }, version, is_proof }
    }
}

impl Member {
    /// A leader does not know the topic by the id that it was asked for.
    pub(super) fn note_unknown(&self, wanted: &Wanted) {
        if let Some(owned) = self.state().owned.get_mut(&wanted.position.topic_partition()) {
            owned.is_unknown = true;
            owned.rest_until = Some(Instant::now() + UNKNOWN_REST);
        }
    }

    /// A partition is fetched where it stands again.
    pub(super) fn note_known(&self, wanted: &Wanted) {
        if let Some(owned) = self.state().owned.get_mut(&wanted.position.topic_partition()) {
            owned.is_unknown = false;
        }
    }

    /// The id that brokers tell for the topic of a partition that can only be fetched by its name, if it is
    /// another one, and not one that a broker tells late.
    pub(super) fn other_id(&self, wanted: &Wanted) -> Option<TopicId> {
        let key = wanted.position.topic_partition();
        let told = self.cluster.topic_id(&key.topic);
        let mut state = self.state();
        let owned = state.owned.get_mut(&key)?;
        let other = owned.other_id(told)?;
        (!owned.returns_to(other)).then_some(other)
    }

    /// Begins anew with a partition of a topic that was made anew.
    pub(super) fn begin_anew(&self, wanted: &Wanted, topic_id: TopicId) {
        let key = wanted.position.topic_partition();
        let mut state = self.state();
        let Some(owned) = state.owned.get_mut(&key).filter(|owned| owned.version == wanted.version) else {
            return;
        };
        owned.begin_anew(Some(topic_id));
        state.epoch += 1;
        state.fetch_epoch += 1;
        // The thread of the heartbeats decides where partitions start.
        state.heartbeat_now = true;
        drop(state);
        self.changed.notify_all();
        let name = &self.spec.name;
        log::warn!("{name}: {} was deleted and made anew; {key} is consumed from its beginning", key.topic);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coordinator::Committed;

    #[test]
    fn only_where_the_leader_does_not_know_its_topic_a_partition_looks_for_another_one() {
        let [first, second] = [1, 2].map(TopicId::of);
        let key = TopicPartition::new("t", 0);
        let mut owned = OwnedPartition::new(None, Some(Committed::new(5, "")), true);
        let asked = |owned: &mut OwnedPartition, told| {
            let Wanted { position, is_proof, .. } = owned.wanted(&key, told, 9);
            (position.topic_id, position.offset, position.max_bytes, is_proof)
        };
        let own = (first, 5, 9, false);
        assert_eq!(asked(&mut owned, None), (None, 5, 9, false));
        assert_eq!(asked(&mut owned, first), own);
        assert_eq!(asked(&mut owned, second), own, "what a broker tells proves nothing");
        owned.is_unknown = true;
        assert_eq!(asked(&mut owned, first), own, "the leader may lag behind");
        assert_eq!(asked(&mut owned, None), own);
        assert_eq!(asked(&mut owned, second), (second, 0, 1, true));
        owned.begin_anew(second);
        owned.reset(0);
        assert_eq!(asked(&mut owned, first), (second, 0, 9, false));
        owned.is_unknown = true;
        assert_eq!(asked(&mut owned, first), (first, 0, 1, true), "a cluster that was brought back");
    }
}
