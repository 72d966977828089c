//! Fetch: from the member that serves the connection, or, without a group, straight from the cluster.

use std::collections::BTreeSet;
use std::time::Duration;

use super::member::{Ask, Program, Role, Served};
use super::session::Session;
use crate::net::gone;
use crate::protocol::error_code::ErrorCode;
use crate::protocol::legacy::request::{FetchPartition, Topics};
use crate::protocol::legacy::response::{self, Fetched};

/// The longest that a fetch is held, whatever the program asks for.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// Answers Fetch, for every partition asked for and with errors only where no partition brings data.
pub fn fetch(
    session: &mut Session,
    id: i32,
    max_wait_ms: i32,
    min_bytes: i32,
    topics: &Topics<FetchPartition>,
) -> Vec<u8> {
    let wait = Duration::from_millis(u64::try_from(max_wait_ms).unwrap_or(0)).min(MAX_WAIT);
    let asks: Vec<Ask> = topics
        .iter()
        .flat_map(|(topic, partitions)| partitions.iter().map(move |p| (topic, p)))
        .map(|(topic, p)| Ask {
            topic: topic.clone(),
            partition: p.partition,
            offset: p.offset,
            max_bytes: usize::try_from(p.max_bytes).unwrap_or(0),
        })
        .collect();
    let min_bytes = usize::try_from(min_bytes).unwrap_or(0);
    let taken_up = take_up(session, &asks);
    // Who could not be told stays so: a consumer must not be taken for a client without a group.
    session.fresh &= taken_up.is_err();
    let served = taken_up.and_then(|()| match &session.bound {
        // Its records are translated already: what was not asked for would be misread.
        Some(bound) if bound.member.role().envelope != session.client.envelope => {
            Err(ErrorCode::UNKNOWN_MEMBER_ID)
        }
        Some(bound) => {
            let stream = &session.stream;
            bound.member.serve(bound.epoch, &asks, min_bytes, wait, &mut || gone(stream))
        }
        None => Ok(session.plain.fetch(&session.shared.cluster, &session.client, &asks, wait)),
    });
    match served {
        Ok(served) => answer(id, topics, served.into_iter()),
        Err(code) => refused(id, topics, code),
    }
}

/// Answers Fetch with one code for every partition.
pub fn refused(id: i32, topics: &Topics<FetchPartition>, code: ErrorCode) -> Vec<u8> {
    let all = topics.iter().flat_map(|(_, partitions)| partitions);
    let served = all.map(|p| Served { messages: Vec::new(), high_watermark: p.offset, error: code });
    answer(id, topics, served)
}

fn answer(id: i32, topics: &Topics<FetchPartition>, mut served: impl Iterator<Item = Served>) -> Vec<u8> {
    let mut answers = Vec::with_capacity(topics.len());
    for (topic, partitions) in topics {
        let mut fetched = Vec::with_capacity(partitions.len());
        for (asked, served) in partitions.iter().zip(served.by_ref()) {
            fetched.push(Fetched {
                partition: asked.partition,
                error: served.error,
                high_watermark: served.high_watermark,
                message_set: served.messages,
            });
        }
        answers.push((topic.as_str(), fetched));
    }
    response::fetch(id, &answers)
}

/// Finds or makes the member that a fetch is for; without a group there is none.
fn take_up(session: &mut Session, asks: &[Ask]) -> Result<(), ErrorCode> {
    if session.client.member {
        // An own consumer begins with its look-up; on a connection without one it begins anew.
        return if session.bound.is_some() { Ok(()) } else { Err(ErrorCode::REBALANCE_IN_PROGRESS) };
    }
    let topics: BTreeSet<String> = asks.iter().map(|ask| ask.topic.clone()).collect();
    let asked: Vec<_> = asks.iter().map(|a| (a.topic.clone(), a.partition, a.offset)).collect();
    if let Some(bound) = &session.bound {
        let (member, role) = (&bound.member, bound.member.role());
        // A look-up for another group alone makes no other consumer; one that is not followed by its topics neither.
        let anew = session.looked_up.as_ref().filter(|looked_up| looked_up.covers(&topics));
        let group = anew.map_or(&role.group, |looked_up| &looked_up.group);
        let same = role.group == *group && (topics.is_subset(&role.topics) || anew.is_none());
        if !member.ended() && (same || member.fits(session.client.shown(), &asked)) {
            return Ok(());
        }
        let role = match anew {
            Some(_) => Role { group: group.clone(), topics, ..role.clone() },
            None => role.clone(),
        };
        return session.start_member(role);
    }
    if session.fresh {
        let shared = session.shared.clone();
        let unclear = |_| ErrorCode::UNKNOWN_MEMBER_ID;
        if let Some(member) = shared.members.returning(session.client.shown(), &asked).map_err(unclear)? {
            return session.bind(member).then_some(()).ok_or(ErrorCode::UNKNOWN_MEMBER_ID);
        }
        if let Some(role) = shared.members.missed(session.client.shown(), &asked) {
            return session.start_member(role);
        }
        session.looked_up = shared.look_ups.returning(session.client.shown(), &asked).map_err(unclear)?;
    }
    match session.looked_up.as_ref().filter(|looked_up| looked_up.covers(&topics)) {
        Some(looked_up) => {
            let (name, group) = (session.client.shown().to_owned(), looked_up.group.clone());
            let (program, envelope) = (Program::Foreign, session.client.envelope);
            session.start_member(Role { name, group, topics, program, envelope, pipelined: false })
        }
        None => Ok(()),
    }
}
