//! DeleteTopics: deletes topics with their records and committed offsets.

use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::{DeleteTopicsRequest, DeleteTopicsResponse};

use crate::node::Node;
use crate::request_context::RequestContext;

/// Deletes topics; the deletion of a topic without an error is durable.
pub fn handle(
    node: &Node,
    context: &RequestContext<'_>,
    request: DeleteTopicsRequest,
) -> DeleteTopicsResponse {
    let pending: Vec<_> = request.topic_names.iter().map(|name| node.store.delete_topic(name)).collect();
    let results = request.topic_names.into_iter().zip(pending).map(|(name, pending)| {
        let deleted = pending.wait();
        if deleted.is_ok() {
            log::info!("topic {} is deleted, as {} asks", name.as_str(), context.peer);
        }
        DeletableTopicResult::default()
            .with_name(Some(name))
            .with_error_code(deleted.err().map_or(0, |code| code.0))
            .with_error_message(None)
    });
    DeleteTopicsResponse::default().with_responses(results.collect())
}
