//! Where partitions start for which the group has committed nothing.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::Life;
use crate::Cluster;
use crate::coordinator::Commit;
use crate::group_member::state::State;
use crate::group_member::{OffsetReset, OwnedPartition, prefetch};
use crate::offsets::{self, Offsets};
use protocol::TopicPartition;

/// How often it is tried to decide where a partition starts whose leader is away, and how long a try may
/// take.
const DECIDE_AGAIN: Duration = Duration::from_secs(1);

impl Life<'_> {
    /// Decides by the reset policy where partitions start that are still undecided. A start at the latest
    /// offset is made the group's: the next owner would take the latest offset of its own day, and skip what
    /// came between. So is the beginning of a topic that was made anew, as something may still have been
    /// committed that was of the former one.
    pub(super) fn decide_starts(&mut self) {
        let member = self.member;
        let (anew, by_policy) = undecided(&mut member.state(), &member.cluster);
        if anew.is_empty() && by_policy.is_empty() || Instant::now() < self.decide_at {
            return;
        }
        self.decide_at = Instant::now() + DECIDE_AGAIN;
        let deadline = Instant::now() + DECIDE_AGAIN;
        let mut starts = self.commit_starts(&anew.keys().map(|key| (key.clone(), 0)).collect(), deadline);
        starts.extend(self.starts_by_policy(by_policy.keys(), deadline));
        let mut state = member.state();
        for (key, offset) in starts {
            // Its topic may have been made anew meanwhile.
            let span = anew.get(&key).or(by_policy.get(&key));
            let is_same = |owned: &&mut OwnedPartition| owned.floor.is_none() && Some(&owned.span) == span;
            if let Some(owned) = state.owned.get_mut(&key).filter(is_same) {
                owned.reset(offset);
                state.epoch += u64::from(anew.contains_key(&key));
                state.fetch_epoch += 1;
            }
        }
        drop(state);
        member.changed.notify_all();
    }

    /// Decides where partitions start whose topics were made anew, before a rebalance: where that is not
    /// committed, the next owner starts by the reset policy.
    pub(super) fn decide_anew(&mut self) {
        let is_any = self.member.state().owned.values().any(|owned| owned.is_anew);
        if is_any {
            self.decide_at = Instant::now();
            self.decide_starts();
        }
    }

    fn starts_by_policy<'k>(
        &mut self,
        undecided: impl Iterator<Item = &'k TopicPartition>,
        deadline: Instant,
    ) -> Offsets {
        let member = self.member;
        let policy = member.settings.offset_reset;
        let timestamp = if policy == OffsetReset::Earliest { offsets::EARLIEST } else { offsets::LATEST };
        let wanted: Vec<_> = undecided.map(|key| (key.clone(), timestamp)).collect();
        if wanted.is_empty() {
            return Offsets::new();
        }
        let found = offsets::find(&member.cluster, &member.spec.name, &wanted, deadline);
        if found.len() < wanted.len() {
            prefetch::refresh_leaders(member);
        }
        if policy == OffsetReset::Latest { self.commit_starts(&found, deadline) } else { found }
    }

    /// Commits starts; gives those that Kafka has.
    fn commit_starts(&mut self, starts: &Offsets, deadline: Instant) -> Offsets {
        let commit = |(key, offset): (&TopicPartition, &i64)| Commit {
            topic: key.topic.clone(),
            partition: key.partition,
            offset: *offset,
            metadata: String::new(),
        };
        let commits: Vec<Commit> = starts.iter().map(commit).collect();
        if commits.is_empty() {
            return Offsets::new();
        }
        let (membership, ids) = {
            let state = self.member.state();
            (state.membership.clone(), state.topic_ids(&commits))
        };
        match self.coordinator.commit(&membership, &commits, &ids, deadline) {
            Ok(codes) => {
                let stored = |key: &TopicPartition| codes.get(key).is_some_and(|code| code.is_ok());
                starts
                    .iter()
                    .filter(|(key, _)| stored(key))
                    .map(|(key, offset)| (key.clone(), *offset))
                    .collect()
            }
            Err(error) => {
                log::debug!("{}: committing where partitions start: {error}", self.member.spec.name);
                Offsets::new()
            }
        }
    }
}

/// The spans of the partitions whose start is undecided: of topics that were made anew, and of others.
type Undecided = BTreeMap<TopicPartition, u64>;

fn undecided(state: &mut State, cluster: &Cluster) -> (Undecided, Undecided) {
    let (mut anew, mut by_policy) = (Undecided::new(), Undecided::new());
    for (key, owned) in state.owned.iter_mut().filter(|(_, owned)| owned.floor.is_none() && owned.by_policy) {
        owned.topic_id = owned.topic_id.or_else(|| cluster.topic_id(&key.topic));
        let of_it = if owned.is_anew { &mut anew } else { &mut by_policy };
        of_it.insert(key.clone(), owned.span);
    }
    (anew, by_policy)
}
