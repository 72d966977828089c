//! DeleteRecords (KIP-107): deletes the records of partitions up to an offset.

use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsTopicResult,
};
use kafka_protocol::messages::{DeleteRecordsRequest, DeleteRecordsResponse, TopicName};

use super::once;
use crate::node::Node;
use crate::request_context::RequestContext;
use crate::storage::Pending;
use crate::topic_config::{Defaults, TopicConfig};
use protocol::error_code::ErrorCode;

/// A partition of the request, and its deletion or why there is none.
type Begun = (i32, Result<Pending<i64>, ErrorCode>);

/// Deletes records; the deletion in a partition without an error is durable.
pub fn handle(
    node: &Node,
    context: &RequestContext<'_>,
    request: DeleteRecordsRequest,
) -> DeleteRecordsResponse {
    // All deletions are handed to the store before the first is waited for.
    let topics = once(request.topics, |topic| topic.name.clone());
    let begun: Vec<(TopicName, Vec<Begun>)> = topics.into_iter().map(|topic| begin(node, topic)).collect();
    let results = begun.into_iter().map(|(name, partitions)| {
        let partitions = partitions.into_iter().map(|(index, begun)| {
            let deleted = begun.and_then(Pending::wait);
            if let Ok(start) = deleted {
                log::info!("{}-{index} begins at offset {start}, as {} asks", name.as_str(), context.peer);
            }
            DeleteRecordsPartitionResult::default()
                .with_partition_index(index)
                .with_low_watermark(deleted.unwrap_or(-1))
                .with_error_code(deleted.err().map_or(0, |code| code.0))
        });
        let partitions = partitions.collect();
        DeleteRecordsTopicResult::default().with_name(name).with_partitions(partitions)
    });
    DeleteRecordsResponse::default().with_topics(results.collect())
}

fn begin(node: &Node, asked: DeleteRecordsTopic) -> (TopicName, Vec<Begun>) {
    let topic = node.store.topic(&asked.name);
    let partitions = once(asked.partitions, |partition| partition.partition_index);
    let begin = |partition: DeleteRecordsPartition| {
        let index = partition.partition_index;
        let Some(topic) = topic.as_ref().filter(|topic| (0..topic.partitions).contains(&index)) else {
            return (index, Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
        };
        let config = TopicConfig::new(&topic.configs, &Defaults::from(&node.settings));
        if !config.cleanup.delete {
            return (index, Err(ErrorCode::POLICY_VIOLATION));
        }
        (index, Ok(node.store.delete_records(&topic.name, index, partition.offset)))
    };
    let begun = partitions.into_iter().map(begin).collect();
    (asked.name, begun)
}
