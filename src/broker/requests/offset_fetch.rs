//! OffsetFetch: what a group has committed.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponsePartition, OffsetFetchResponseTopic,
};
use kafka_protocol::messages::{OffsetFetchRequest, OffsetFetchResponse, TopicName};

use super::text;
use crate::broker::caller::Caller;
use crate::broker::groups::Groups;
use crate::broker::storage::Committed;
use crate::protocol::error_code::ErrorCode;

/// The first version that has an error of the whole request.
const TOP_LEVEL_ERROR: i16 = 2;

/// Answers with -1 where nothing is committed, once for each partition. No topics (null) are all topics.
pub fn answer(groups: &Groups, caller: &Caller<'_>, request: OffsetFetchRequest) -> OffsetFetchResponse {
    let code = groups.check_serving().err().unwrap_or(ErrorCode::NONE);
    let group = &*request.group_id;
    // What a group notes with an offset may be a thousand times the size of the question.
    let mut seen = HashSet::new();
    let topics = match request.topics {
        Some(topics) => topics
            .into_iter()
            .map(|topic| {
                let mut asked = topic.partition_indexes;
                asked.retain(|index| seen.insert((topic.name.clone(), *index)));
                let partition = |&index: &i32| {
                    let offset =
                        if code.is_ok() { groups.committed(group, &topic.name, index) } else { None };
                    partition(index, offset, code)
                };
                let partitions = asked.iter().map(partition).collect();
                OffsetFetchResponseTopic::default().with_name(topic.name).with_partitions(partitions)
            })
            .collect(),
        None if code.is_ok() => everything(groups, group),
        None => Vec::new(),
    };
    let response = OffsetFetchResponse::default().with_topics(topics);
    if caller.version >= TOP_LEVEL_ERROR { response.with_error_code(code.0) } else { response }
}

fn everything(groups: &Groups, group: &str) -> Vec<OffsetFetchResponseTopic> {
    let mut topics: BTreeMap<Arc<str>, Vec<OffsetFetchResponsePartition>> = BTreeMap::new();
    for (topic, index, offset) in groups.all_committed(group) {
        topics.entry(topic).or_default().push(partition(index, Some(offset), ErrorCode::NONE));
    }
    let topic = |(name, partitions): (Arc<str>, Vec<_>)| {
        OffsetFetchResponseTopic::default().with_name(TopicName(text(&name))).with_partitions(partitions)
    };
    topics.into_iter().map(topic).collect()
}

fn partition(index: i32, offset: Option<Committed>, code: ErrorCode) -> OffsetFetchResponsePartition {
    let none = || Committed { offset: -1, leader_epoch: -1, metadata: "".into() };
    let offset = offset.unwrap_or_else(none);
    OffsetFetchResponsePartition::default()
        .with_partition_index(index)
        .with_committed_offset(offset.offset)
        .with_committed_leader_epoch(offset.leader_epoch)
        .with_metadata(Some(text(&offset.metadata)))
        .with_error_code(code.0)
}
