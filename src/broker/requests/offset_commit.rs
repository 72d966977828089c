//! OffsetCommit: what a group has handled; answered when it is stored.

use std::sync::Arc;

use kafka_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use kafka_protocol::messages::{OffsetCommitRequest, OffsetCommitResponse};

use crate::broker::caller::Caller;
use crate::broker::groups::Groups;
use crate::broker::groups::presence::Identity;
use crate::broker::storage::Committed;
use crate::protocol::error_code::ErrorCode;

/// The first version that has leader epochs.
const LEADER_EPOCH: i16 = 6;

/// Stores offsets of a group.
pub fn answer(groups: &Groups, caller: &Caller<'_>, request: OffsetCommitRequest) -> OffsetCommitResponse {
    let who = Identity {
        member_id: request.member_id.as_str().into(),
        instance: request.group_instance_id.as_deref().map(Into::into),
    };
    let mut offsets = Vec::new();
    for topic in &request.topics {
        let name: Arc<str> = topic.name.as_str().into();
        for partition in &topic.partitions {
            let committed = Committed {
                offset: partition.committed_offset,
                leader_epoch: if caller.version >= LEADER_EPOCH {
                    partition.committed_leader_epoch
                } else {
                    -1
                },
                metadata: partition.committed_metadata.as_deref().unwrap_or_default().into(),
            };
            offsets.push(((name.clone(), partition.partition_index), committed));
        }
    }
    let generation = request.generation_id_or_member_epoch;
    let mut codes = groups.commit(&request.group_id, caller, &who, generation, &offsets).into_iter();
    let mut next = || codes.next().unwrap_or(ErrorCode::UNKNOWN_SERVER_ERROR).0;
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| {
            OffsetCommitResponsePartition::default()
                .with_partition_index(partition.partition_index)
                .with_error_code(next())
        });
        let partitions = partitions.collect();
        OffsetCommitResponseTopic::default().with_name(topic.name).with_partitions(partitions)
    });
    OffsetCommitResponse::default().with_topics(topics.collect())
}
