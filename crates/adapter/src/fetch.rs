//! Fetch: from the member that serves the connection, or, without a group, straight from the cluster.

use std::collections::BTreeSet;
use std::time::Duration;

use super::session::Session;
use client::assignor::Assignor;
use client::group_member::{Ask, ClientKind, MemberSpec, Records, Served, TopicSelection};
use net::gone;
use protocol::error_code::ErrorCode;
use protocol::v0::request::{FetchPartition, Topics};
use protocol::v0::response::{self, Fetched};

/// The longest that a fetch is held, whatever the client asks for.
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
    // A client that could not be identified stays unidentified: a consumer must not be taken for a client
    // without a group.
    session.fresh &= taken_up.is_err();
    let served = taken_up.and_then(|()| match &session.bound {
        // Its records are translated already: what was not asked for would be misread.
        Some(bound) if bound.member.spec().format() != Some(session.client.format()) => {
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
        // An own consumer begins with its OffsetFetch; on a connection without one it begins anew.
        return if session.bound.is_some() { Ok(()) } else { Err(ErrorCode::REBALANCE_IN_PROGRESS) };
    }
    let topics: BTreeSet<String> = asks.iter().map(|ask| ask.topic.clone()).collect();
    let asked: Vec<_> = asks.iter().map(|a| (a.topic_partition(), a.offset)).collect();
    if let Some(bound) = &session.bound {
        let (member, spec) = (&bound.member, bound.member.spec());
        // An OffsetFetch for another group alone makes no other consumer; one that is not followed by its
        // topics neither.
        let anew = session.offset_fetch.as_ref().filter(|offset_fetch| offset_fetch.covers(&topics));
        let group = anew.map_or(&spec.group, |offset_fetch| &offset_fetch.group);
        let same = spec.group == *group && (topics.is_subset(&spec.topics.named) || anew.is_none());
        if !member.ended() && (same || member.fits(session.client.shown(), &asked)) {
            return Ok(());
        }
        let spec = match anew {
            Some(_) => {
                MemberSpec { group: group.clone(), topics: TopicSelection::named(topics), ..spec.clone() }
            }
            None => spec.clone(),
        };
        return session.start_member(spec);
    }
    if session.fresh {
        let shared = session.shared.clone();
        let ambiguous = |_| ErrorCode::UNKNOWN_MEMBER_ID;
        if let Some(member) = shared.members.returning(session.client.shown(), &asked).map_err(ambiguous)? {
            return session.bind(member).then_some(()).ok_or(ErrorCode::UNKNOWN_MEMBER_ID);
        }
        if let Some(spec) = shared.members.take_expelled(session.client.shown(), &asked) {
            return session.start_member(spec);
        }
        session.offset_fetch =
            shared.offset_fetches.returning(session.client.shown(), &asked).map_err(ambiguous)?;
    }
    match session.offset_fetch.as_ref().filter(|offset_fetch| offset_fetch.covers(&topics)) {
        Some(offset_fetch) => {
            let (name, group) = (session.client.shown().to_owned(), offset_fetch.group.clone());
            session.start_member(MemberSpec {
                name,
                group,
                topics: TopicSelection::named(topics),
                kind: ClientKind::Plain,
                assignor: Assignor::Range,
                records: Records::Translated(session.client.format()),
                pipelined: false,
            })
        }
        None => Ok(()),
    }
}
