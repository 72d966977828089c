//! OffsetCommit: as the member that serves the connection, or, for a tool that is no consumer, without one.

use std::time::{Duration, Instant};

use super::session::Session;
use client::coordinator::{Commit, Coordinator, Membership};
use client::topic_id::TopicIds;
use protocol::error_code::ErrorCode;
use protocol::v0::request::{CommitPartition, Topics};
use protocol::v0::response::{self, Committed};

/// Answers OffsetCommit. The codes for a coordinator that moves or loads never come out: the crate would ask
/// for ever.
pub fn commit(session: &mut Session, id: i32, group: &str, topics: &Topics<CommitPartition>) -> Vec<u8> {
    let commits: Vec<Commit> =
        topics.iter().flat_map(|(topic, ps)| ps.iter().map(|p| wish(topic, p))).collect();
    let taken_up = take_up(session, group, &commits);
    session.fresh &= taken_up.is_err();
    let codes = match taken_up {
        Err(code) => vec![code; commits.len()],
        Ok(()) => match &session.bound {
            Some(bound) if bound.member.spec().group == group => bound.member.commit(bound.epoch, &commits),
            _ => commit_outside(session, group, &commits),
        },
    };
    let mut codes = codes.into_iter();
    answer(id, topics, || codes.next().unwrap_or(ErrorCode::REQUEST_TIMED_OUT))
}

/// Answers OffsetCommit with one code for every partition.
pub fn refused(id: i32, topics: &Topics<CommitPartition>, code: ErrorCode) -> Vec<u8> {
    answer(id, topics, || code)
}

fn answer(id: i32, topics: &Topics<CommitPartition>, mut next: impl FnMut() -> ErrorCode) -> Vec<u8> {
    let mut answers = Vec::with_capacity(topics.len());
    for (topic, partitions) in topics {
        let committed =
            partitions.iter().map(|p| Committed { partition: p.partition, error: next() }).collect();
        answers.push((topic.as_str(), committed));
    }
    response::offset_commit(id, &answers)
}

fn wish(topic: &str, partition: &CommitPartition) -> Commit {
    Commit {
        topic: topic.to_owned(),
        partition: partition.partition,
        offset: partition.offset,
        metadata: partition.metadata.clone(),
    }
}

/// Finds the member of a consumer that comes back over a new connection with a commit.
fn take_up(session: &mut Session, group: &str, commits: &[Commit]) -> Result<(), ErrorCode> {
    if session.bound.is_some() {
        return Ok(());
    }
    let members = &session.shared.members;
    let member = if session.client.member {
        Some(members.of_session(group, &session.client.session).ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?)
    } else if session.fresh {
        if members.has_expelled(session.client.shown(), group) {
            return Err(ErrorCode::UNKNOWN_MEMBER_ID);
        }
        let returning = members.returning_to_commit(session.client.shown(), group, commits);
        returning.map_err(|_| ErrorCode::UNKNOWN_MEMBER_ID)?
    } else {
        None
    };
    match member {
        Some(member) => session.bind(member).then_some(()).ok_or(ErrorCode::UNKNOWN_MEMBER_ID),
        None => Ok(()),
    }
}

/// The longest wait for a member whose client has gone: it lingers, and then says that it leaves.
const LEAVING: Duration = Duration::from_millis(2_500);

/// Commits without a member; Kafka refuses it while the group has any. One whose client has gone for good is
/// no reason: it is waited for.
fn commit_outside(session: &Session, group: &str, commits: &[Commit]) -> Vec<ErrorCode> {
    let cluster = &session.shared.cluster;
    let mut coordinator = Coordinator::new(cluster.clone(), group, session.client.shown());
    let deadline = Instant::now() + cluster.settings().request_timeout;
    let leaving = Instant::now() + LEAVING;
    let mut backoff = client::backoff();
    loop {
        session.shared.members.wait_for_leaving(group, leaving);
        let result =
            coordinator.commit(&Membership::none(), commits, &TopicIds::new(), cluster.deadline(deadline));
        let codes: Vec<ErrorCode> = match &result {
            Ok(codes) => commits
                .iter()
                .map(|c| codes.get(&c.topic_partition()).copied())
                .map(|code| code.unwrap_or(ErrorCode::UNKNOWN_SERVER_ERROR))
                .collect(),
            Err(error) => vec![error.code().unwrap_or(ErrorCode::REQUEST_TIMED_OUT); commits.len()],
        };
        // The end of a connection may be noticed only now.
        let was_early = codes.contains(&ErrorCode::UNKNOWN_MEMBER_ID)
            && Instant::now() < leaving
            && session.shared.members.any_leaves(group);
        if !was_early && !codes.iter().any(|code| code.is_retriable()) {
            return codes;
        }
        if cluster.stopping() || Instant::now() >= deadline {
            let settled =
                |code: &ErrorCode| if code.is_retriable() { ErrorCode::REQUEST_TIMED_OUT } else { *code };
            return codes.iter().map(settled).collect();
        }
        cluster.pause(backoff.next_wait());
    }
}
