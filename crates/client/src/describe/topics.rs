//! Brokers, topics and replicas of a cluster, as Metadata describes them.

use kafka_protocol::messages::metadata_response::{MetadataResponsePartition, MetadataResponseTopic};
use kafka_protocol::messages::{MetadataRequest, MetadataResponse};

use crate::error::{Error, Result};
use crate::request_context::RequestContext;
use protocol::error_code::ErrorCode;

/// An answer of the cluster.
#[derive(Debug, Clone, Default)]
pub struct Description {
    /// The ids of the brokers that are up, in order.
    pub brokers: Vec<i32>,
    /// The topics, by name.
    pub topics: Vec<TopicDescription>,
}

/// A topic; where `error` is a code, the cluster cannot say more of it.
#[derive(Debug, Clone)]
pub struct TopicDescription {
    /// Its name.
    pub name: String,
    /// The error of its lookup.
    pub error: ErrorCode,
    /// It is one of Kafka's own.
    pub internal: bool,
    /// Its partitions, by number.
    pub partitions: Vec<PartitionDescription>,
}

/// A partition.
#[derive(Debug, Clone)]
pub struct PartitionDescription {
    /// Its number.
    pub number: i32,
    /// The node that leads it, if one does.
    pub leader: Option<i32>,
    /// The nodes that hold it, the preferred leader first.
    pub replicas: Vec<i32>,
    /// The replicas that are in sync.
    pub in_sync: Vec<i32>,
}

impl Description {
    pub(crate) fn of(answer: &MetadataResponse) -> Description {
        let mut brokers: Vec<i32> = answer.brokers.iter().map(|broker| broker.node_id.0).collect();
        brokers.sort_unstable();
        let mut topics: Vec<_> = answer.topics.iter().filter_map(TopicDescription::of).collect();
        topics.sort_by(|a, b| a.name.cmp(&b.name));
        Description { brokers, topics }
    }

    /// A topic that was asked for; `None` if the cluster does not have it.
    ///
    /// # Errors
    /// The cluster cannot say: the topic is just being made, for example.
    pub fn topic(mut self, name: &str) -> Result<Option<TopicDescription>> {
        let Some(at) = self.topics.iter().position(|topic| topic.name == name) else { return Ok(None) };
        let topic = self.topics.swap_remove(at);
        match topic.error {
            ErrorCode::NONE => Ok(Some(topic)),
            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION | ErrorCode::INVALID_TOPIC_EXCEPTION => Ok(None),
            code => Err(Error::refused(RequestContext::of::<MetadataRequest>().for_topic(name), code)),
        }
    }
}

impl TopicDescription {
    fn of(topic: &MetadataResponseTopic) -> Option<TopicDescription> {
        let mut partitions: Vec<_> = topic.partitions.iter().map(PartitionDescription::of).collect();
        partitions.sort_by_key(|partition| partition.number);
        Some(TopicDescription {
            name: topic.name.as_ref()?.to_string(),
            error: ErrorCode(topic.error_code),
            internal: topic.is_internal,
            partitions,
        })
    }
}

impl PartitionDescription {
    fn of(partition: &MetadataResponsePartition) -> PartitionDescription {
        PartitionDescription {
            number: partition.partition_index,
            leader: Some(partition.leader_id.0).filter(|&node| node >= 0),
            replicas: partition.replica_nodes.iter().map(|node| node.0).collect(),
            in_sync: partition.isr_nodes.iter().map(|node| node.0).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::topic_name;

    #[test]
    fn a_topic_that_is_not_there_is_told_from_one_that_cannot_be_described() {
        let topic = |name: &str, code: ErrorCode| {
            MetadataResponseTopic::default().with_name(Some(topic_name(name))).with_error_code(code.0)
        };
        let answer = MetadataResponse::default().with_topics(vec![
            topic("there", ErrorCode::NONE),
            topic("gone", ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
            topic("new", ErrorCode::LEADER_NOT_AVAILABLE),
        ]);
        let found = |name| Description::of(&answer).topic(name);
        assert!(found("there").unwrap().is_some());
        assert!(found("gone").unwrap().is_none() && found("other").unwrap().is_none());
        assert!(found("new").is_err());
    }
}
