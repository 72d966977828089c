//! Where partitions start for which the group has committed nothing.

use std::time::{Duration, Instant};

use super::Life;
use crate::adapter::member::{OffsetReset, prefetch};
use crate::cluster::coordinator::Commit;
use crate::cluster::offsets::{self, Offsets};

/// How often it is tried to decide where a partition starts whose leader is away, and how long a try may take.
const DECIDE_AGAIN: Duration = Duration::from_secs(1);

impl Life<'_> {
    /// Decides by the reset policy where partitions start that are still undecided. A start at the latest offset is made
    /// the group's: the next owner would take the latest offset of its own day, and skip what came between.
    pub(super) fn decide_starts(&mut self) {
        let member = self.member;
        let undecided: Vec<(String, i32)> = {
            let state = member.state();
            let open = state.owned.iter().filter(|(_, span)| span.floor.is_none() && span.by_policy);
            open.map(|(key, _)| key.clone()).collect()
        };
        if undecided.is_empty() || Instant::now() < self.decide_at {
            return;
        }
        self.decide_at = Instant::now() + DECIDE_AGAIN;
        let policy = member.settings.offset_reset;
        let timestamp = if policy == OffsetReset::Earliest { offsets::EARLIEST } else { offsets::LATEST };
        let wanted: Vec<_> = undecided.into_iter().map(|(topic, p)| (topic, p, timestamp)).collect();
        let deadline = Instant::now() + DECIDE_AGAIN;
        let found = offsets::find(&member.cluster, &member.role.name, &wanted, deadline);
        if found.len() < wanted.len() {
            prefetch::look_for_leaders(member);
        }
        let kept = if policy == OffsetReset::Latest { self.commit_starts(&found, deadline) } else { found };
        let mut state = member.state();
        for (key, offset) in kept {
            if let Some(span) = state.owned.get_mut(&key).filter(|span| span.floor.is_none()) {
                span.reset(offset);
                state.arrangement += 1;
            }
        }
        drop(state);
        member.changed.notify_all();
    }

    /// Commits starts; gives those that Kafka has.
    fn commit_starts(&mut self, starts: &Offsets, deadline: Instant) -> Offsets {
        let commit = |((topic, partition), offset): (&(String, i32), &i64)| Commit {
            topic: topic.clone(),
            partition: *partition,
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
                let stored = |key: &(String, i32)| codes.get(key).is_some_and(|code| code.is_ok());
                starts
                    .iter()
                    .filter(|(key, _)| stored(key))
                    .map(|(key, offset)| (key.clone(), *offset))
                    .collect()
            }
            Err(error) => {
                log::debug!("{}: committing where partitions start: {error}", self.member.role.name);
                Offsets::new()
            }
        }
    }
}
