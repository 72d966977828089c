//! Commits that are answered before Kafka has them, and sent by a thread of their own. While one is under way
//! the later ones become one. They count as on their way until Kafka has acknowledged them, and there is a
//! limit to that.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use super::commit::{PATIENCE, REFUSED};
use super::state::{Phase, State};
use super::{Member, OwnedPartition};
use crate::coordinator::Commit;
use protocol::TopicPartition;
use protocol::error_code::ErrorCode;

/// The most offsets of a member that may be on their way. A commit beyond that waits until some have arrived;
/// so this is also how many messages come again at most, besides the one being processed, when the adapter
/// dies.
const MOST_AHEAD: i64 = 100;

/// How long a member that leaves waits for its commits to arrive.
pub const FLUSH: Duration = Duration::from_secs(3);

impl Member {
    /// Accepts what the owned partitions admit, when there is room, and gives the code of each commit. Waits
    /// until Kafka has the commits where the membership is in doubt, or the partitions change.
    pub(super) fn commit_ahead(&self, epoch: u64, commits: &[Commit], deadline: Instant) -> Vec<ErrorCode> {
        let mut state = self.state();
        let mut accepted = false;
        loop {
            if let Some(code) = state.pipeline.failed.take() {
                return vec![code; commits.len()];
            }
            if !accepted && state.has_room(commits) {
                accepted = true;
                state.accept(commits);
                self.accepted.notify_one();
            }
            let results = state.results(commits);
            let settled = accepted && (state.runs_ahead(epoch) || !state.is_any_ahead(commits));
            if settled || results.iter().all(|code| *code == REFUSED) {
                return results;
            }
            if Instant::now() >= deadline || self.cluster.stopping() {
                return vec![ErrorCode::REQUEST_TIMED_OUT; commits.len()];
            }
            state.pipeline.awaited = true;
            state = self.wait(state, deadline.saturating_duration_since(Instant::now()));
        }
    }

    /// Waits until all commits have arrived, until `deadline` at most; gives how many offsets are still on
    /// their way. From now on no commit is answered before Kafka has it.
    pub fn flush(&self, deadline: Instant) -> i64 {
        let mut state = self.state();
        state.pipeline.closing = true;
        while state.ahead_by() > 0 && Instant::now() < deadline && !self.cluster.stopping() {
            state.pipeline.awaited = true;
            state = self.wait(state, deadline.saturating_duration_since(Instant::now()));
        }
        state.ahead_by()
    }

    /// Waits for the commits of a member that leaves, and says where it is unknown whether they arrived.
    pub(super) fn flush_to_leave(&self) {
        let ahead_by = self.flush(Instant::now() + FLUSH);
        if ahead_by > 0 {
            let name = &self.spec.name;
            log::warn!(
                "{name}: whether its last commits arrived is unknown; up to {ahead_by} messages may come again"
            );
        }
    }

    /// Waits for commits to send and returns them; `None` when the member has ended.
    fn next_commits(&self) -> Option<Vec<(u64, Commit)>> {
        let mut state = self.state();
        loop {
            if state.has_ended() {
                return None;
            }
            let commits = state.accepted();
            if !commits.is_empty() {
                return Some(commits);
            }
            state = self.accepted.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Tells the client by its next commit or fetch if one did not arrive, and wakes the threads that wait
    /// for them.
    fn arrived(&self, codes: &[ErrorCode]) {
        let mut state = self.state();
        let failed = codes.iter().find(|code| !code.is_ok());
        if let Some(code) = failed {
            log::warn!(
                "{}: a commit did not arrive: {code}; what was handled since the one before may come again",
                self.spec.name
            );
            state.owned.values_mut().for_each(OwnedPartition::forget_accepted);
            state.pipeline.failed = Some(*code);
        }
        let awaited = std::mem::take(&mut state.pipeline.awaited);
        if failed.is_some() || awaited || state.phase != Phase::Stable {
            self.changed.notify_all();
        }
    }
}

/// Sends what was accepted, one request after the other, until the member has ended.
pub(super) fn run(member: &Member) {
    while let Some(commits) = member.next_commits() {
        let codes = member.commit_spans(&commits, Instant::now() + PATIENCE);
        member.arrived(&codes);
    }
}

impl State {
    /// How many offsets are on their way.
    pub(super) fn ahead_by(&self) -> i64 {
        self.owned.values().map(OwnedPartition::ahead_by).sum()
    }

    /// A single commit always finds room when nothing else is on its way: offsets may have gaps.
    fn has_room(&self, commits: &[Commit]) -> bool {
        let ahead = self.ahead_by();
        let further = |commit: &Commit| {
            let owned = self.owned.get(&commit.topic_partition());
            let from = owned.and_then(|owned| owned.accepted().or(owned.floor)).unwrap_or(commit.offset);
            commit.offset.saturating_sub(from).max(0)
        };
        ahead == 0 || ahead + commits.iter().map(further).sum::<i64>() <= MOST_AHEAD
    }

    fn accept(&mut self, commits: &[Commit]) {
        for commit in commits {
            let owned = self.owned.get_mut(&commit.topic_partition());
            if let Some(owned) = owned.filter(|owned| owned.accepts(commit.offset)) {
                owned.accept(commit.offset);
            }
        }
    }

    /// Whether commits need not be waited for: nothing speaks against it that Kafka will take them.
    fn runs_ahead(&self, epoch: u64) -> bool {
        self.phase == Phase::Stable
            && self.epoch == epoch
            && !self.heartbeat_expired
            && !self.pipeline.closing
    }

    fn is_any_ahead(&self, commits: &[Commit]) -> bool {
        commits.iter().any(|commit| {
            let owned = self.owned.get(&commit.topic_partition());
            owned.is_some_and(|owned| owned.ahead_by() > 0)
        })
    }

    /// The code of each commit, if it is not to be waited for.
    fn results(&self, commits: &[Commit]) -> Vec<ErrorCode> {
        let code = |commit: &Commit| {
            let owned = self.owned.get(&commit.topic_partition());
            if owned.is_some_and(|owned| owned.accepts(commit.offset)) { ErrorCode::NONE } else { REFUSED }
        };
        commits.iter().map(code).collect()
    }

    /// What was accepted, with the spans that it belongs to.
    fn accepted(&self) -> Vec<(u64, Commit)> {
        let commit = |(key, span, offset): (&TopicPartition, u64, i64)| {
            let (topic, partition) = (key.topic.clone(), key.partition);
            (span, Commit { topic, partition, offset, metadata: String::new() })
        };
        let accepted =
            self.owned.iter().filter_map(|(key, owned)| Some((key, owned.span, owned.accepted()?)));
        accepted.map(commit).collect()
    }
}
