//! OffsetFetch: committed offsets of groups.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use kafka_protocol::messages::{GroupId, OffsetFetchRequest, OffsetFetchResponse, TopicName};

use super::text;
use crate::groups::GroupCoordinator;
use crate::request_context::RequestContext;
use crate::storage::CommittedOffset;
use protocol::error_code::ErrorCode;

/// The first version with an error of the whole request.
const TOP_LEVEL_ERROR: i16 = 2;
/// The first version that asks for several groups, each with an error of its own (KIP-709).
const SEVERAL: i16 = 8;

/// Topics with partitions, and what is committed for each.
type Offsets = Vec<(TopicName, Vec<(i32, CommittedOffset)>)>;

/// Answers with -1 where nothing is committed, once for each partition. A null list means all topics.
pub fn handle(
    groups: &GroupCoordinator,
    context: &RequestContext<'_>,
    request: OffsetFetchRequest,
) -> OffsetFetchResponse {
    let code = groups.check_is_coordinator().err().unwrap_or(ErrorCode::NONE);
    let mut answers = Answers { groups, code, seen: HashSet::new(), seen_whole: HashSet::new() };
    if context.version >= SEVERAL {
        let answered = request.groups.into_iter().map(|group| answers.of_one_of_several(group));
        return OffsetFetchResponse::default().with_groups(answered.collect());
    }
    let topics =
        request.topics.map(|topics| topics.into_iter().map(|topic| (topic.name, topic.partition_indexes)));
    let offsets = answers.of(&request.group_id, topics);
    let response = OffsetFetchResponse::default().with_topics(
        offsets.into_iter().map(|(name, partitions)| of_topic(name, partitions, code)).collect(),
    );
    if context.version >= TOP_LEVEL_ERROR { response.with_error_code(code.0) } else { response }
}

/// What was answered so far. The metadata of a committed offset may be a thousand times the size of the
/// request, so that each offset is answered once.
struct Answers<'g> {
    groups: &'g GroupCoordinator,
    /// The error of all groups.
    code: ErrorCode,
    seen: HashSet<(GroupId, TopicName, i32)>,
    /// Groups all of whose offsets were answered.
    seen_whole: HashSet<GroupId>,
}

impl Answers<'_> {
    fn of_one_of_several(&mut self, asked: OffsetFetchRequestGroup) -> OffsetFetchResponseGroup {
        let response = OffsetFetchResponseGroup::default();
        if !self.code.is_ok() {
            return response.with_group_id(asked.group_id).with_error_code(self.code.0);
        }
        // Member and member epoch are checked for groups of the protocol of KIP-848 alone, which are none.
        let topics =
            asked.topics.map(|topics| topics.into_iter().map(|topic| (topic.name, topic.partition_indexes)));
        let offsets = self.of(&asked.group_id, topics);
        let topics = offsets.into_iter().map(|(name, partitions)| of_topic_of_several(name, partitions));
        response.with_group_id(asked.group_id).with_topics(topics.collect())
    }

    /// What is committed for these partitions, or with `None` for all.
    fn of(
        &mut self,
        group: &GroupId,
        topics: Option<impl Iterator<Item = (TopicName, Vec<i32>)>>,
    ) -> Offsets {
        let Some(topics) = topics else { return self.everything(group) };
        let of_topic = |(name, mut indexes): (TopicName, Vec<i32>)| {
            indexes.retain(|index| self.seen.insert((group.clone(), name.clone(), *index)));
            let offsets = indexes.into_iter().map(|index| {
                let committed =
                    if self.code.is_ok() { self.groups.committed(group, &name, index) } else { None };
                (index, committed.unwrap_or_else(nothing))
            });
            let offsets = offsets.collect();
            (name, offsets)
        };
        topics.map(of_topic).collect()
    }

    fn everything(&mut self, group: &GroupId) -> Offsets {
        if !self.code.is_ok() || !self.seen_whole.insert(group.clone()) {
            return Vec::new();
        }
        let mut topics: BTreeMap<Arc<str>, Vec<(i32, CommittedOffset)>> = BTreeMap::new();
        for (topic, index, committed) in self.groups.all_committed(group) {
            topics.entry(topic).or_default().push((index, committed));
        }
        topics.into_iter().map(|(name, offsets)| (TopicName(text(&name)), offsets)).collect()
    }
}

/// What the answer says where nothing is committed.
fn nothing() -> CommittedOffset {
    CommittedOffset { offset: -1, leader_epoch: -1, metadata: "".into() }
}

fn of_topic(
    name: TopicName,
    offsets: Vec<(i32, CommittedOffset)>,
    code: ErrorCode,
) -> OffsetFetchResponseTopic {
    let partition = |(index, committed): (i32, CommittedOffset)| {
        OffsetFetchResponsePartition::default()
            .with_partition_index(index)
            .with_committed_offset(committed.offset)
            .with_committed_leader_epoch(committed.leader_epoch)
            .with_metadata(Some(text(&committed.metadata)))
            .with_error_code(code.0)
    };
    let partitions = offsets.into_iter().map(partition).collect();
    OffsetFetchResponseTopic::default().with_name(name).with_partitions(partitions)
}

fn of_topic_of_several(name: TopicName, offsets: Vec<(i32, CommittedOffset)>) -> OffsetFetchResponseTopics {
    let partition = |(index, committed): (i32, CommittedOffset)| {
        OffsetFetchResponsePartitions::default()
            .with_partition_index(index)
            .with_committed_offset(committed.offset)
            .with_committed_leader_epoch(committed.leader_epoch)
            .with_metadata(Some(text(&committed.metadata)))
    };
    let partitions = offsets.into_iter().map(partition).collect();
    OffsetFetchResponseTopics::default().with_name(name).with_partitions(partitions)
}
