//! What a member makes of its assignment: partitions that it keeps go on, new ones begin where the group is.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::{Life, RESOLVE};
use crate::assignor::{self, GroupProtocol, Partitions};
use crate::coordinator::Membership;
use crate::group_member::state::{Delivery, Phase};
use crate::group_member::{ClientKind, OwnedPartition, prefetch};
use crate::topic_id::TopicId;
use protocol::TopicPartition;

/// How long the look which topics there are may take before new partitions are taken over.
const LOOK_UP: Duration = Duration::from_secs(1);

impl Life<'_> {
    /// Takes the new assignment over: partitions kept go on, new ones start at the committed offset. After a
    /// missed generation a partition counts as kept if the committed offset is still the one that was left.
    pub(super) fn adopt(
        &mut self,
        membership: Membership,
        protocol: GroupProtocol,
        partitions: Partitions,
    ) -> crate::Result<()> {
        let owned: BTreeSet<TopicPartition> = partitions
            .iter()
            .filter(|_| self.member.fetches())
            .flat_map(|(topic, numbers)| numbers.iter().map(move |p| TopicPartition::new(topic, *p)))
            .collect();
        let (missed, generation) = (self.missed_generation, membership.generation);
        let open: Vec<TopicPartition> = {
            let state = self.member.state();
            owned.iter().filter(|key| missed || !state.owned.contains_key(*key)).cloned().collect()
        };
        let cluster = &self.member.cluster;
        if owned.iter().any(|key| cluster.leader(&key.topic, key.partition).is_none()) {
            // A client that begins now must hear of all its partitions.
            prefetch::refresh_leaders(self.member);
        } else if !open.is_empty() {
            // An offset that was committed without an id is of the topic that there is now.
            prefetch::refresh_topics(self.member, LOOK_UP);
        }
        let resolved = self.resolve(&open)?;
        let is_cooperative = protocol == GroupProtocol::CooperativeSticky;
        let has_dropped = self.take_over(&owned, resolved, membership, is_cooperative && !missed);
        self.missed_generation = false;
        self.claimed_in = None;
        self.member.state().is_cooperative = is_cooperative;
        self.decide_at = Instant::now();
        self.decide_starts();
        {
            let mut state = self.member.state();
            // What was claimed and is given up goes to nobody before the next generation.
            let joins_anew = is_cooperative && has_dropped;
            state.phase = if joins_anew { Phase::Joining } else { Phase::Stable };
            state.join_error = None;
            state.heartbeat_now = false;
            state.heartbeat_expired = false;
        }
        self.retry_at = Instant::now();
        self.next_heartbeat = Instant::now() + self.member.settings.heartbeat_interval;
        self.member.changed.notify_all();
        let (name, group) = (&self.member.spec.name, &self.member.spec.group);
        log::info!("{name} is a member of {group}, generation {generation}: {}", list(&partitions));
        // Shared out cooperatively, what moves comes with the next generation.
        let stands_by = partitions.is_empty() && (!is_cooperative || self.stands_by);
        let missing = if partitions.is_empty() { self.member.missing_topics() } else { Vec::new() };
        if !missing.is_empty() {
            let level = if self.stands_by { log::Level::Debug } else { log::Level::Warn };
            let missing = missing.join(", ");
            log::log!(level, "{name} has no partition: there is no topic {missing}; waiting for it");
        } else if stands_by && self.member.topics().is_empty() {
            log::warn!("{name} has no partition: none of the topics that there are is to be consumed");
        } else if stands_by {
            log::warn!(
                "{name} has no partition: {group} has more members than its topics have partitions, so it only \
                 stands by; more partitions would give it work"
            );
        }
        self.stands_by = partitions.is_empty();
        Ok(())
    }

    /// The partitions that the member owns from now on: those that it keeps, and `resolved` of those that are
    /// new. The others are gone, or, where it `finishes` them, stay until what is in hand is done. Gives
    /// whether any was owned until now and is gone.
    fn take_over(
        &self,
        owned: &BTreeSet<TopicPartition>,
        mut resolved: Vec<(TopicPartition, OwnedPartition)>,
        membership: Membership,
        finishes: bool,
    ) -> bool {
        let mut state = self.member.state();
        resolved.retain(|(key, new)| {
            let same_topic = |old: &OwnedPartition| {
                old.topic_id == new.topic_id || old.topic_id.is_none() || new.topic_id.is_none()
            };
            let same = |old: &OwnedPartition| {
                old.floor == new.floor && old.metadata == new.metadata && same_topic(old)
            };
            state.owned.get(key).is_none_or(|old| old.floor.is_none() || !same(old))
        });
        let before = state.owned.len();
        for (key, partition) in &mut state.owned {
            partition.is_revoked = !owned.contains(key);
        }
        // What is in hand of a topic that is deleted has nowhere to be committed.
        let exists = |key: &TopicPartition| self.member.cluster.cached(&key.topic).is_some();
        state.owned.retain(|key, partition| !partition.is_revoked || finishes && exists(key));
        let has_dropped = state.owned.len() != before;
        if has_dropped || state.has_revoked() || !resolved.is_empty() {
            state.epoch += 1;
        }
        state.owned.extend(resolved);
        if self.member.spec.kind == ClientKind::Reader {
            // The next rebalance waits until the reader has handed them over.
            state.delivery = Delivery::Uncommitted;
        }
        state.fetch_epoch += 1;
        state.membership = membership;
        has_dropped
    }

    /// Newly owned partitions, at their committed offsets or undecided.
    fn resolve(&mut self, new: &[TopicPartition]) -> crate::Result<Vec<(TopicPartition, OwnedPartition)>> {
        if new.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<_> = new.iter().map(|key| self.member.cluster.topic_id(&key.topic)).collect();
        let partitions = assignor::by_topic(new);
        let committed = self.coordinator.committed_in_time(&partitions, Instant::now() + RESOLVE)?;
        let by_policy = matches!(self.member.spec.kind, ClientKind::Cooperating(_) | ClientKind::Reader);
        let owned = |(key, id): (&TopicPartition, Option<TopicId>)| {
            (key.clone(), OwnedPartition::new(id, committed.get(key).cloned().flatten(), by_policy))
        };
        Ok(new.iter().zip(ids).map(owned).collect())
    }
}

fn list(partitions: &Partitions) -> String {
    if partitions.is_empty() {
        return "no partition".to_owned();
    }
    let topic = |(topic, numbers): (&String, &Vec<i32>)| format!("{topic} {numbers:?}");
    partitions.iter().map(topic).collect::<Vec<_>>().join(", ")
}
