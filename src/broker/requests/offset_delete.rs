//! OffsetDelete: forgetting what a group has committed, for topics that its members do not subscribe to.

use std::sync::Arc;

use kafka_protocol::messages::offset_delete_response::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use kafka_protocol::messages::{OffsetDeleteRequest, OffsetDeleteResponse};

use crate::broker::caller::Caller;
use crate::broker::groups::Groups;
use crate::broker::groups::offsets::Partition;
use crate::protocol::error_code::ErrorCode;

/// Deletes offsets of a group.
pub fn answer(groups: &Groups, _caller: &Caller<'_>, request: OffsetDeleteRequest) -> OffsetDeleteResponse {
    let mut partitions: Vec<Partition> = Vec::new();
    for topic in &request.topics {
        let name: Arc<str> = topic.name.as_str().into();
        partitions.extend(topic.partitions.iter().map(|p| (name.clone(), p.partition_index)));
    }
    let mut codes = match groups.delete_offsets(&request.group_id, &partitions) {
        Ok(codes) => codes.into_iter(),
        Err(code) => return OffsetDeleteResponse::default().with_error_code(code.0),
    };
    let mut next = || codes.next().unwrap_or(ErrorCode::UNKNOWN_SERVER_ERROR).0;
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| {
            OffsetDeleteResponsePartition::default()
                .with_partition_index(partition.partition_index)
                .with_error_code(next())
        });
        let partitions = partitions.collect();
        OffsetDeleteResponseTopic::default().with_name(topic.name).with_partitions(partitions)
    });
    OffsetDeleteResponse::default().with_topics(topics.collect())
}
