//! DescribeProducers (KIP-664): the idempotent producers of partitions.

use kafka_protocol::messages::describe_producers_response::{
    PartitionResponse, ProducerState, TopicResponse,
};
use kafka_protocol::messages::{DescribeProducersRequest, DescribeProducersResponse, ProducerId, TopicName};

use super::{message, once};
use crate::node::Node;
use crate::request_context::RequestContext;
use crate::storage::{ActiveProducer, Pending};
use protocol::error_code::ErrorCode;

/// Describes the producers that the store remembers; none of them has a transaction.
pub fn handle(
    node: &Node,
    _context: &RequestContext<'_>,
    request: DescribeProducersRequest,
) -> DescribeProducersResponse {
    let asked = once(request.topics, |topic| topic.name.clone());
    let pending: Vec<(TopicName, Vec<_>)> = asked
        .into_iter()
        .map(|topic| {
            let partitions = once(topic.partition_indexes, |index| *index);
            let ask = |index| {
                let is_there = node.store.bounds(&topic.name, index).is_some();
                (index, is_there.then(|| node.store.producers(&topic.name, index)))
            };
            let pending = partitions.into_iter().map(ask).collect();
            (topic.name, pending)
        })
        .collect();
    let topics = pending.into_iter().map(|(name, partitions)| {
        let partitions = partitions.into_iter().map(|(index, pending)| described(&name, index, pending));
        let partitions = partitions.collect();
        TopicResponse::default().with_name(name).with_partitions(partitions)
    });
    DescribeProducersResponse::default().with_topics(topics.collect())
}

fn described(topic: &str, index: i32, pending: Option<Pending<Vec<ActiveProducer>>>) -> PartitionResponse {
    let response = PartitionResponse::default().with_partition_index(index);
    match pending.map_or(Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION), Pending::wait) {
        Ok(mut producers) => {
            producers.sort_by_key(|producer| producer.id);
            response
                .with_error_message(None)
                .with_active_producers(producers.into_iter().map(producer_state).collect())
        }
        Err(code) => {
            let why = match code {
                ErrorCode::UNKNOWN_TOPIC_OR_PARTITION => format!("there is no {topic}-{index}"),
                other => other.to_string(),
            };
            response.with_error_code(code.0).with_error_message(Some(message(&why)))
        }
    }
}

fn producer_state(producer: ActiveProducer) -> ProducerState {
    ProducerState::default()
        .with_producer_id(ProducerId(producer.id))
        .with_producer_epoch(i32::from(producer.epoch))
        .with_last_sequence(producer.last_sequence)
        .with_last_timestamp(producer.last_timestamp)
        .with_coordinator_epoch(-1)
        .with_current_txn_start_offset(-1)
}
