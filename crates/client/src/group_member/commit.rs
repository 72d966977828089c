//! Committing what a client handled, as long as the member owns the partition.

use std::time::{Duration, Instant};

use super::state::{Activity, Phase, State};
use super::{ClientKind, ENDED, Member, OwnedPartition};
use crate::coordinator::{Commit, Membership};
use crate::topic_id::{TopicId, TopicIds};
use net::sync::lock;
use protocol::TopicPartition;
use protocol::error_code::ErrorCode;

/// How long a commit outlives an outage: what was handled need not come again then. Below the crate's fixed
/// 120 s.
pub(super) const PATIENCE: Duration = Duration::from_secs(90);

/// The code for a commit whose partition is no longer owned, or that lies outside of what was served.
pub(super) const REFUSED: ErrorCode = ErrorCode::ILLEGAL_GENERATION;

impl Member {
    /// Commits for the client and gives the code of each commit, in their order; no error means that Kafka
    /// has it, or, of a [pipelined](super::MemberSpec::pipelined) member, will be asked to take it at once.
    ///
    /// A cooperating client is told REBALANCE_IN_PROGRESS instead of success when its partitions change.
    /// `epoch` is where it began.
    pub fn commit(&self, epoch: u64, commits: &[Commit]) -> Vec<ErrorCode> {
        {
            let mut state = self.state();
            state.activity = Activity::Serving;
        }
        let deadline = Instant::now() + PATIENCE;
        let mut results = if self.spec.pipelined {
            self.commit_ahead(epoch, commits, deadline)
        } else {
            self.commit_as_member(commits, deadline)
        };
        let mut state = self.state();
        let stored = results.iter().all(|code| code.is_ok());
        let own = matches!(self.spec.kind, ClientKind::Cooperating(_));
        if own && stored && (state.phase != Phase::Stable || state.epoch != epoch) {
            results.fill(ErrorCode::REBALANCE_IN_PROGRESS);
            // It drops the rest of what it polled, so nothing is uncommitted any more.
            state.processed();
            self.changed.notify_all();
        }
        state.answered();
        results
    }

    /// Commits with today's generation what the owned partitions admit; tries again over moves of the
    /// coordinator and rebalances in which the partitions were kept, until `deadline`. Of a member that
    /// fetches nothing every offset is admitted. Gives the code of each commit, in their order.
    pub fn commit_as_member(&self, commits: &[Commit], deadline: Instant) -> Vec<ErrorCode> {
        let admits = |state: &State, commit: &Commit| !self.fetches() || state.admits(commit);
        self.commit_where(commits, deadline, &admits)
    }

    /// Commits behind offsets without messages (lost records, markers of transactions), where all before them
    /// is committed: otherwise they would count as lag until the next message is handled, and for ever where
    /// none comes. Clients that are
    /// not ours decide that themselves, and a [reader](super::RecordSink) does. Returns whether all arrived.
    pub(super) fn pass_gaps(&self, deadline: Instant) -> bool {
        if !matches!(self.spec.kind, ClientKind::Cooperating(_)) || self.passable().1.is_empty() {
            return true;
        }
        // No other commit comes between the look and this one.
        let mut committer = lock(&self.committer);
        let (membership, commits, ids) = self.passable();
        if commits.is_empty() {
            return true;
        }
        let sent = committer.commit(&membership, &commits, &ids, self.cluster.deadline(deadline));
        let codes = sent.inspect_err(|error| log::debug!("{}: committing: {error}", self.spec.name));
        let codes = codes.unwrap_or_default();
        let has_arrived =
            |commit: &&Commit| codes.get(&commit.topic_partition()).is_some_and(|code| code.is_ok());
        let mut state = self.state();
        for commit in commits.iter().filter(has_arrived) {
            if let Some(owned) = state.owned.get_mut(&commit.topic_partition()) {
                owned.passed(commit.offset);
            }
        }
        commits.iter().filter(has_arrived).count() == commits.len()
    }

    /// The ends of gaps that are to be committed, in the membership of now, with the ids of their topics.
    fn passable(&self) -> (Membership, Vec<Commit>, TopicIds) {
        let state = self.state();
        let is_stable = state.phase == Phase::Stable && !state.heartbeat_expired;
        let ends = state.owned.iter().filter_map(|(key, owned)| Some((key, owned.passable()?)));
        let commit = |(key, offset): (&TopicPartition, i64)| Commit {
            topic: key.topic.clone(),
            partition: key.partition,
            offset,
            metadata: String::new(),
        };
        let commits: Vec<Commit> = ends.filter(|_| is_stable).map(commit).collect();
        let ids = state.topic_ids(&commits);
        (state.membership.clone(), commits, ids)
    }

    /// As [`Member::commit_as_member`], for what `admits` lets through.
    pub(super) fn commit_where(
        &self,
        commits: &[Commit],
        deadline: Instant,
        admits: &dyn Fn(&State, &Commit) -> bool,
    ) -> Vec<ErrorCode> {
        let mut results: Vec<Option<ErrorCode>> = vec![None; commits.len()];
        let mut last = ErrorCode::REQUEST_TIMED_OUT;
        let mut backoff = crate::backoff();
        while let Some((membership, ids)) = self.admit(commits, &mut results, deadline, admits) {
            let open: Vec<Commit> =
                commits.iter().zip(&results).filter(|(_, r)| r.is_none()).map(|(c, _)| c.clone()).collect();
            if open.is_empty() {
                break;
            }
            match lock(&self.committer).commit(&membership, &open, &ids, self.cluster.deadline(deadline)) {
                Ok(codes) => {
                    let mut state = self.state();
                    for (commit, result) in commits.iter().zip(&mut results).filter(|(_, r)| r.is_none()) {
                        let key = commit.topic_partition();
                        last = codes.get(&key).copied().unwrap_or(ErrorCode::UNKNOWN_SERVER_ERROR);
                        let topic_id = ids.get(&key).copied();
                        *result = state.apply_commit_result(commit, topic_id, last, &membership);
                    }
                }
                Err(error) => {
                    log::debug!("{}: committing: {error}", self.spec.name);
                    last = error.code().unwrap_or(ErrorCode::REQUEST_TIMED_OUT);
                }
            }
            if results.iter().all(Option::is_some) || Instant::now() >= deadline || self.cluster.stopping() {
                break;
            }
            self.heartbeat_soon();
            self.cluster.pause(backoff.next_wait());
        }
        if last.is_retriable() || last.is_ok() {
            last = ErrorCode::REQUEST_TIMED_OUT;
        }
        results.into_iter().map(|result| result.unwrap_or(last)).collect()
    }

    /// Refuses what no owned partition admits, and waits while the group rebalances with nothing uncommitted
    /// here; `None` when no generation is there by `deadline`. Gives the topics that the offsets belong to,
    /// too.
    fn admit(
        &self,
        commits: &[Commit],
        results: &mut [Option<ErrorCode>],
        deadline: Instant,
        admits: &dyn Fn(&State, &Commit) -> bool,
    ) -> Option<(Membership, TopicIds)> {
        let mut state = self.state();
        loop {
            for (commit, result) in commits.iter().zip(results.iter_mut()) {
                if result.is_none() && !admits(&state, commit) {
                    *result = Some(REFUSED);
                }
            }
            if results.iter().all(Option::is_some) {
                return None;
            }
            match state.phase {
                Phase::Stable | Phase::Draining => break,
                Phase::Ended => {
                    results.iter_mut().filter(|r| r.is_none()).for_each(|r| *r = Some(ENDED));
                    return None;
                }
                // What is kept over a join may be committed meanwhile.
                Phase::Joining if state.is_cooperative => break,
                Phase::Joining if Instant::now() >= deadline || self.cluster.stopping() => return None,
                Phase::Joining => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    state = self.wait(state, left);
                }
            }
        }
        Some((state.membership.clone(), state.topic_ids(commits)))
    }
}

impl State {
    /// The ids of the topics that these offsets belong to.
    pub(super) fn topic_ids(&self, commits: &[Commit]) -> TopicIds {
        let id = |key: TopicPartition| Some((key.clone(), self.owned.get(&key)?.topic_id?));
        commits.iter().map(Commit::topic_partition).filter_map(id).collect()
    }

    fn admits(&self, commit: &Commit) -> bool {
        self.owned.get(&commit.topic_partition()).is_some_and(|owned| owned.admits(commit.offset))
    }

    /// Applies the coordinator's code for a commit; returns the client's code, or `None` if the commit is to
    /// be tried again.
    fn apply_commit_result(
        &mut self,
        commit: &Commit,
        topic_id: Option<TopicId>,
        code: ErrorCode,
        membership: &Membership,
    ) -> Option<ErrorCode> {
        match code {
            ErrorCode::NONE => {
                let is_same = |owned: &&mut OwnedPartition| {
                    // A topic that was made anew meanwhile is another one.
                    owned.topic_id.zip(topic_id).is_none_or(|(now, then)| now == then)
                };
                if let Some(owned) = self.owned.get_mut(&commit.topic_partition()).filter(is_same) {
                    owned.committed(commit.offset, &commit.metadata);
                }
                Some(ErrorCode::NONE)
            }
            // The generation has moved on; whether the partition is still owned is checked before the next
            // try.
            ErrorCode::ILLEGAL_GENERATION | ErrorCode::UNKNOWN_MEMBER_ID
                if self.membership == *membership && self.phase == Phase::Stable =>
            {
                // The coordinator knows it before this member was told: the partitions are lost.
                self.owned.clear();
                self.epoch += 1;
                Some(REFUSED)
            }
            ErrorCode::ILLEGAL_GENERATION
            | ErrorCode::UNKNOWN_MEMBER_ID
            | ErrorCode::REBALANCE_IN_PROGRESS => None,
            code if code.is_retriable() => None,
            code => Some(code),
        }
    }
}
