//! Committing what a program handled, as long as its ownership span stands.

use std::time::{Duration, Instant};

use super::{Member, Phase, Program, State};
use crate::cluster::Backoff;
use crate::cluster::coordinator::{Commit, Membership};
use crate::net::lock;
use crate::protocol::error_code::ErrorCode;

/// How long a commit outlives an outage: what was handled need not come again then. Below the crate's fixed 120 s.
pub(super) const PATIENCE: Duration = Duration::from_secs(90);

/// The code for a commit whose span no longer stands, or that lies outside of it.
pub(super) const REFUSED: ErrorCode = ErrorCode::ILLEGAL_GENERATION;

impl Member {
    /// Commits for the program and gives the code of each commit, in their order; no error means that Kafka has it, or,
    /// of a [pipelined](super::Role::pipelined) member, will be asked to take it at once.
    ///
    /// An own program is told REBALANCE_IN_PROGRESS instead of success when its partitions change. `epoch` is where
    /// it began.
    pub fn commit(&self, epoch: u64, commits: &[Commit]) -> Vec<ErrorCode> {
        {
            let mut state = self.state();
            state.busy = true;
            state.last_seen = Instant::now();
        }
        let deadline = Instant::now() + PATIENCE;
        let mut results = if self.role.pipelined {
            self.commit_ahead(epoch, commits, deadline)
        } else {
            self.commit_as_member(commits, deadline)
        };
        let mut state = self.state();
        let stored = results.iter().all(|code| code.is_ok());
        let own = matches!(self.role.program, Program::Own(_));
        if own && stored && (state.phase != Phase::Stable || state.epoch != epoch) {
            results.fill(ErrorCode::REBALANCE_IN_PROGRESS);
            // It drops the rest of what it polled, so nothing is in hand any more.
            state.in_hand = false;
            self.changed.notify_all();
        }
        state.busy = false;
        state.last_seen = Instant::now();
        results
    }

    /// Commits with today's generation what the spans admit; tries again over moves of the coordinator and
    /// rebalances in which the partitions were kept, until `deadline`.
    pub(super) fn commit_as_member(&self, commits: &[Commit], deadline: Instant) -> Vec<ErrorCode> {
        let mut results: Vec<Option<ErrorCode>> = vec![None; commits.len()];
        let mut last = ErrorCode::REQUEST_TIMED_OUT;
        let mut backoff = Backoff::default();
        while let Some(membership) = self.admit(commits, &mut results, deadline) {
            let open: Vec<Commit> =
                commits.iter().zip(&results).filter(|(_, r)| r.is_none()).map(|(c, _)| c.clone()).collect();
            if open.is_empty() {
                break;
            }
            match lock(&self.committer).commit(&membership, &open, self.cluster.deadline(deadline)) {
                Ok(codes) => {
                    let mut state = self.state();
                    for (commit, result) in commits.iter().zip(&mut results).filter(|(_, r)| r.is_none()) {
                        let key = (commit.topic.clone(), commit.partition);
                        last = codes.get(&key).copied().unwrap_or(ErrorCode::UNKNOWN_SERVER_ERROR);
                        *result = state.settle(commit, last, &membership);
                    }
                }
                Err(error) => {
                    log::debug!("{}: committing: {error}", self.role.name);
                    last = error.code().unwrap_or(ErrorCode::REQUEST_TIMED_OUT);
                }
            }
            if results.iter().all(Option::is_some) || Instant::now() >= deadline || self.cluster.stopping() {
                break;
            }
            self.poke();
            std::thread::sleep(backoff.wait());
        }
        if last.is_retriable() || last.is_ok() {
            last = ErrorCode::REQUEST_TIMED_OUT;
        }
        results.into_iter().map(|result| result.unwrap_or(last)).collect()
    }

    /// Refuses what no span admits, and waits while the group rebalances with nothing in hand here; `None` when no
    /// generation is there by `deadline`.
    fn admit(
        &self,
        commits: &[Commit],
        results: &mut [Option<ErrorCode>],
        deadline: Instant,
    ) -> Option<Membership> {
        let mut state = self.state();
        loop {
            for (commit, result) in commits.iter().zip(results.iter_mut()) {
                if result.is_none() && !state.admits(commit) {
                    *result = Some(REFUSED);
                }
            }
            if results.iter().all(Option::is_some) {
                return None;
            }
            match state.phase {
                Phase::Stable | Phase::Draining(_) => return Some(state.membership.clone()),
                Phase::Ended(code) => {
                    results.iter_mut().filter(|r| r.is_none()).for_each(|r| *r = Some(code));
                    return None;
                }
                Phase::Joining if Instant::now() >= deadline || self.cluster.stopping() => return None,
                Phase::Joining => state = self.wait(state, Duration::from_millis(100)),
            }
        }
    }
}

impl State {
    fn admits(&self, commit: &Commit) -> bool {
        self.owned
            .get(&(commit.topic.clone(), commit.partition))
            .is_some_and(|span| span.admits(commit.offset))
    }

    /// What the coordinator's code means for one commit; `None`: to be tried again.
    fn settle(&mut self, commit: &Commit, code: ErrorCode, membership: &Membership) -> Option<ErrorCode> {
        match code {
            ErrorCode::NONE => {
                if let Some(span) = self.owned.get_mut(&(commit.topic.clone(), commit.partition)) {
                    span.committed(commit.offset);
                }
                Some(ErrorCode::NONE)
            }
            // The generation has moved on; whether the span stands is checked before the next try.
            ErrorCode::ILLEGAL_GENERATION | ErrorCode::UNKNOWN_MEMBER_ID
                if self.membership == *membership && self.phase == Phase::Stable =>
            {
                // Nobody told this member yet, but the coordinator has: the spans are over.
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
