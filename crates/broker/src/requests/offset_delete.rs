//! OffsetDelete (KIP-496): deletes committed offsets of topics that no member of the group subscribes to.

use std::sync::Arc;

use kafka_protocol::messages::offset_delete_response::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use kafka_protocol::messages::{OffsetDeleteRequest, OffsetDeleteResponse};

use crate::groups::GroupCoordinator;
use crate::groups::offsets::OffsetKey;
use crate::request_context::RequestContext;
use protocol::error_code::ErrorCode;

/// Deletes offsets of a group.
pub fn handle(
    groups: &GroupCoordinator,
    _context: &RequestContext<'_>,
    request: OffsetDeleteRequest,
) -> OffsetDeleteResponse {
    let mut partitions: Vec<OffsetKey> = Vec::new();
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
