//! Where partitions start for which the group has committed nothing.

use std::time::{Duration, Instant};

use super::Life;
use crate::coordinator::Commit;
use crate::group_member::{OffsetReset, prefetch};
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
        let (anew, undecided): (Vec<_>, Vec<_>) = {
            let state = member.state();
            let open = state.owned.iter().filter(|(_, owned)| owned.floor.is_none() && owned.by_policy);
            open.map(|(key, owned)| (key.clone(), owned.is_anew)).partition(|(_, is_anew)| *is_anew)
        };
        if anew.is_empty() && undecided.is_empty() || Instant::now() < self.decide_at {
            return;
        }
        self.decide_at = Instant::now() + DECIDE_AGAIN;
        let deadline = Instant::now() + DECIDE_AGAIN;
        let mut starts = self.commit_starts(&anew.into_iter().map(|(key, _)| (key, 0)).collect(), deadline);
        starts.extend(self.starts_by_policy(undecided.into_iter().map(|(key, _)| key), deadline));
        let mut state = member.state();
        for (key, offset) in starts {
            if let Some(owned) = state.owned.get_mut(&key).filter(|owned| owned.floor.is_none()) {
                owned.reset(offset);
                state.fetch_epoch += 1;
            }
        }
        drop(state);
        member.changed.notify_all();
    }

    fn starts_by_policy(
        &mut self,
        undecided: impl Iterator<Item = TopicPartition>,
        deadline: Instant,
    ) -> Offsets {
        let member = self.member;
        let policy = member.settings.offset_reset;
        let timestamp = if policy == OffsetReset::Earliest { offsets::EARLIEST } else { offsets::LATEST };
        let wanted: Vec<_> = undecided.map(|key| (key, timestamp)).collect();
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
        let membership = self.member.state().membership.clone();
        if commits.is_empty() {
            return Offsets::new();
        }
        match self.coordinator.commit(&membership, &commits, deadline) {
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
