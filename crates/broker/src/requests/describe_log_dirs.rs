//! DescribeLogDirs (KIP-113, KIP-827): the data folder, the sizes of partitions in it, and its volume.

use kafka_protocol::messages::describe_log_dirs_request::DescribableLogDirTopic;
use kafka_protocol::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use kafka_protocol::messages::{DescribeLogDirsRequest, DescribeLogDirsResponse, TopicName};

use super::{once, text};
use crate::node::Node;
use crate::node_config::log_dir;
use crate::request_context::RequestContext;
use crate::storage::Topic;
use protocol::error_code::ErrorCode;

/// Describes the partitions that are asked for, or with null all of them. What is not there is left out, as
/// in Kafka.
pub fn handle(
    node: &Node,
    context: &RequestContext<'_>,
    request: DescribeLogDirsRequest,
) -> DescribeLogDirsResponse {
    let topics = match request.topics {
        None => node.store.topics().iter().map(|topic| described(node, topic, 0..topic.partitions)).collect(),
        Some(asked) => {
            let asked = once(asked, |topic| topic.topic.clone());
            asked.into_iter().filter_map(|asked| some(node, asked)).collect()
        }
    };
    let folder = log_dir(&node.settings);
    let code = if node.store.has_failed() { ErrorCode::KAFKA_STORAGE_ERROR } else { ErrorCode::NONE };
    let mut result = DescribeLogDirsResult::default()
        .with_error_code(code.0)
        .with_log_dir(text(&folder.to_string_lossy()))
        .with_topics(topics);
    if context.version >= 4 {
        let (total, usable) = volume(&folder).unwrap_or((-1, -1));
        result = result.with_total_bytes(total).with_usable_bytes(usable);
    }
    DescribeLogDirsResponse::default().with_results(vec![result])
}

fn some(node: &Node, asked: DescribableLogDirTopic) -> Option<DescribeLogDirsTopic> {
    let topic = node.store.topic(&asked.topic)?;
    let partitions = once(asked.partitions, |partition| *partition);
    Some(described(node, &topic, partitions)).filter(|topic| !topic.partitions.is_empty())
}

fn described(node: &Node, topic: &Topic, partitions: impl IntoIterator<Item = i32>) -> DescribeLogDirsTopic {
    let partition = |index| {
        let bytes = node.store.partition_bytes(&topic.name, index)?;
        let size = i64::try_from(bytes).unwrap_or(i64::MAX);
        Some(DescribeLogDirsPartition::default().with_partition_index(index).with_partition_size(size))
    };
    DescribeLogDirsTopic::default()
        .with_name(TopicName(text(&topic.name)))
        .with_partitions(partitions.into_iter().filter_map(partition).collect())
}

/// The bytes of the volume, and those that are free for this process.
fn volume(folder: &std::path::Path) -> Option<(i64, i64)> {
    let volume = platform::disks::space(folder).ok()?;
    let bytes = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    Some((bytes(volume.size), bytes(volume.free)))
}
