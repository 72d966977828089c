//! ListOffsets and OffsetFetch: where partitions begin and end, and what a group has committed.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use super::offset_fetches::OffsetFetch;
use super::session::{Bound, Session};
use client::assignor::Assignor;
use client::coordinator::Coordinator;
use client::group_member::{ClientKind, MemberSpec, Records, TopicSelection};
use client::offsets::{EARLIEST, Offsets};
use protocol::TopicPartition;
use protocol::error_code::ErrorCode;
use protocol::v0::request::{ListOffsetsPartition, Topics};
use protocol::v0::response::{self, CommittedOffset, ListedOffset};

/// How long a partition's leader is waited for.
const LEADER_WAIT: Duration = Duration::from_secs(3);
/// The longest OffsetFetch of committed offsets.
const WAIT: Duration = Duration::from_secs(20);

/// Answers ListOffsets. One of our own consumers is told where the adapter serves from.
pub fn list(session: &mut Session, id: i32, topics: &Topics<ListOffsetsPartition>) -> Vec<u8> {
    if session.fresh && session.offset_fetch.is_none() {
        let partitions = topics
            .iter()
            .flat_map(|(topic, ps)| ps.iter().map(move |p| TopicPartition::new(topic, p.partition)));
        let offset_fetches = &session.shared.offset_fetches;
        let continued = offset_fetches.continuing(session.client.shown(), &partitions.collect());
        if let Some(offset_fetch) = &continued {
            offset_fetches.remember(session.id, session.client.shown(), offset_fetch.clone());
        }
        session.offset_fetch = continued;
    }
    session.fresh = false;
    if let Some(bound) = session.bound.as_ref().filter(|_| session.client.member) {
        let positions = bound.member.positions();
        return list_answer(id, topics, |topic, asked| {
            let position = positions.get(&TopicPartition::new(topic, asked.partition));
            (ErrorCode::NONE, Some(position.copied().unwrap_or(0)))
        });
    }
    let wanted: Vec<_> = topics
        .iter()
        .flat_map(|(topic, ps)| ps.iter().map(move |p| (TopicPartition::new(topic, p.partition), p.time)))
        .collect();
    let cluster = &session.shared.cluster;
    let deadline = Instant::now() + LEADER_WAIT;
    let (found, last_error) = client::offsets::list(cluster, session.client.shown(), &wanted, deadline);
    match last_error.filter(|error| found.is_empty() || error.is_lasting()) {
        // The crate gives up all partitions for the error of one; one without a leader has no offset instead.
        None => list_answer(id, topics, |topic, asked| {
            (ErrorCode::NONE, listed(session.offset_fetch.as_ref(), &found, topic, *asked))
        }),
        Some(error) => {
            log::warn!("offsets for {}: {error}", session.client.shown());
            list_refused(id, topics, error.code().unwrap_or(ErrorCode::BROKER_NOT_AVAILABLE))
        }
    }
}

/// An offset as the crate should see it.
///
/// The crate takes a committed offset that equals the earliest one for none at all, or one that has fallen
/// out of the log, and then follows its fallback, which may skip messages. Just after an OffsetFetch of
/// committed offsets the earliest offset is therefore shown as lying before the committed one; the member
/// steps forward to what is there.
fn listed(
    offset_fetch: Option<&OffsetFetch>,
    found: &Offsets,
    topic: &str,
    asked: ListOffsetsPartition,
) -> Option<i64> {
    let key = TopicPartition::new(topic, asked.partition);
    let offset = found.get(&key).copied().filter(|&offset| offset >= 0)?;
    let committed = offset_fetch.and_then(|offset_fetch| offset_fetch.committed.get(&key).copied().flatten());
    match committed {
        Some(committed) if asked.time == EARLIEST => Some(offset.min(committed - 1)),
        _ => Some(offset),
    }
}

/// Answers ListOffsets with one code for every partition.
pub fn list_refused(id: i32, topics: &Topics<ListOffsetsPartition>, code: ErrorCode) -> Vec<u8> {
    list_answer(id, topics, |_, _| (code, None))
}

fn list_answer(
    id: i32,
    topics: &Topics<ListOffsetsPartition>,
    mut offset: impl FnMut(&str, &ListOffsetsPartition) -> (ErrorCode, Option<i64>),
) -> Vec<u8> {
    let mut answers = Vec::with_capacity(topics.len());
    for (topic, partitions) in topics {
        let mut listed = Vec::with_capacity(partitions.len());
        for asked in partitions {
            let (error, offset) = offset(topic, asked);
            listed.push(ListedOffset { partition: asked.partition, error, offset });
        }
        answers.push((topic.as_str(), listed));
    }
    response::list_offsets(id, &answers)
}

/// Answers OffsetFetch. For one of our own consumers this is the joining of the group: the answer comes when
/// it has its partitions, and names no offset, so that the crate takes its start from [`list`].
pub fn committed(session: &mut Session, id: i32, group: &str, topics: &Topics<i32>) -> Vec<u8> {
    if session.client.member {
        let code = begin(session, group, topics).err().unwrap_or(ErrorCode::NONE);
        return committed_answer(id, topics, |_, _| (code, None));
    }
    let mut partitions: BTreeMap<String, Vec<i32>> = BTreeMap::new();
    for (topic, numbers) in topics {
        partitions.entry(topic.clone()).or_default().extend(numbers);
    }
    match offset_fetch(session, group, &partitions) {
        Ok(committed) => {
            let answer = committed_answer(id, topics, |topic, partition| {
                let offset = committed.get(&TopicPartition::new(topic, partition)).copied().flatten();
                (ErrorCode::NONE, offset)
            });
            let offset_fetch = OffsetFetch { group: group.to_owned(), committed };
            session.shared.offset_fetches.remember(session.id, session.client.shown(), offset_fetch.clone());
            session.offset_fetch = Some(offset_fetch);
            answer
        }
        Err(error) => {
            if error.code().is_some_and(ErrorCode::is_authorization) {
                // The crate asks again and again.
                session.shared.cluster.tell_refusal(&error);
            } else {
                log::warn!("committed offsets for {}: {error}", session.client.shown());
            }
            // The crate would try again on the codes for a coordinator that moves; that was done here
            // already.
            let code = error.code().filter(|code| !code.is_retriable());
            committed_refused(id, topics, code.unwrap_or(ErrorCode::REQUEST_TIMED_OUT))
        }
    }
}

/// Answers OffsetFetch with one code for every partition.
pub fn committed_refused(id: i32, topics: &Topics<i32>, code: ErrorCode) -> Vec<u8> {
    committed_answer(id, topics, |_, _| (code, None))
}

fn committed_answer(
    id: i32,
    topics: &Topics<i32>,
    mut offset: impl FnMut(&str, i32) -> (ErrorCode, Option<i64>),
) -> Vec<u8> {
    let mut answers = Vec::with_capacity(topics.len());
    for (topic, partitions) in topics {
        let mut committed = Vec::with_capacity(partitions.len());
        for &partition in partitions {
            let (error, offset) = offset(topic, partition);
            committed.push(CommittedOffset { partition, offset: offset.unwrap_or(-1), metadata: "", error });
        }
        answers.push((topic.as_str(), committed));
    }
    response::offset_fetch(id, &answers)
}

fn offset_fetch(
    session: &Session,
    group: &str,
    partitions: &BTreeMap<String, Vec<i32>>,
) -> client::Result<HashMap<TopicPartition, Option<i64>>> {
    let cluster = &session.shared.cluster;
    let mut coordinator = Coordinator::new(cluster.clone(), group, session.client.shown());
    let committed = coordinator.committed_in_time(partitions, Instant::now() + WAIT)?;
    Ok(committed.into_iter().map(|(key, found)| (key, found.map(|found| found.offset))).collect())
}

/// Takes up the member of this session, or makes one, and waits until it has its partitions.
fn begin(session: &mut Session, group: &str, topics: &Topics<i32>) -> Result<(), ErrorCode> {
    let old = session.shared.members.of_session(group, &session.client.session);
    let taken_up = old.is_some_and(|member| session.bind(member));
    if !taken_up {
        let spec = MemberSpec {
            name: session.client.shown().to_owned(),
            group: group.to_owned(),
            topics: TopicSelection::named(topics.iter().map(|(topic, _)| topic.clone())),
            kind: ClientKind::Cooperating(session.client.session.clone()),
            assignor: Assignor::Range,
            records: Records::Translated(session.client.format()),
            pipelined: session.client.pipelined,
        };
        session.start_member(spec)?;
    }
    let Some(bound) = &mut session.bound else { return Err(ErrorCode::UNKNOWN_MEMBER_ID) };
    let Bound { member, epoch } = bound;
    *epoch = member.begin(Instant::now() + WAIT)?;
    Ok(())
}
