//! OffsetFetch: committed offsets of a group.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponsePartition, OffsetFetchResponseTopic,
};
use kafka_protocol::messages::{OffsetFetchRequest, OffsetFetchResponse, TopicName};

use super::text;
use crate::groups::GroupCoordinator;
use crate::request_context::RequestContext;
use crate::storage::CommittedOffset;
use protocol::error_code::ErrorCode;

/// The first version with an error of the whole request.
const TOP_LEVEL_ERROR: i16 = 2;

/// Answers with -1 where nothing is committed, once for each partition. A null list means all topics.
pub fn handle(
    groups: &GroupCoordinator,
    context: &RequestContext<'_>,
    request: OffsetFetchRequest,
) -> OffsetFetchResponse {
    let code = groups.check_is_coordinator().err().unwrap_or(ErrorCode::NONE);
    let group = &*request.group_id;
    // The metadata of a committed offset may be a thousand times the size of the request.
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
    if context.version >= TOP_LEVEL_ERROR { response.with_error_code(code.0) } else { response }
}

fn everything(groups: &GroupCoordinator, group: &str) -> Vec<OffsetFetchResponseTopic> {
    let mut topics: BTreeMap<Arc<str>, Vec<OffsetFetchResponsePartition>> = BTreeMap::new();
    for (topic, index, offset) in groups.all_committed(group) {
        topics.entry(topic).or_default().push(partition(index, Some(offset), ErrorCode::NONE));
    }
    let topic = |(name, partitions): (Arc<str>, Vec<_>)| {
        OffsetFetchResponseTopic::default().with_name(TopicName(text(&name))).with_partitions(partitions)
    };
    topics.into_iter().map(topic).collect()
}

fn partition(index: i32, offset: Option<CommittedOffset>, code: ErrorCode) -> OffsetFetchResponsePartition {
    let none = || CommittedOffset { offset: -1, leader_epoch: -1, metadata: "".into() };
    let offset = offset.unwrap_or_else(none);
    OffsetFetchResponsePartition::default()
        .with_partition_index(index)
        .with_committed_offset(offset.offset)
        .with_committed_leader_epoch(offset.leader_epoch)
        .with_metadata(Some(text(&offset.metadata)))
        .with_error_code(code.0)
}
