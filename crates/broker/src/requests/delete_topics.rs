//! DeleteTopics: deletes topics with their records and committed offsets.

use std::collections::{HashMap, HashSet};

use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::{DeleteTopicsRequest, DeleteTopicsResponse, TopicName};

use super::{once, text, topic_id};
use crate::node::Node;
use crate::request_context::RequestContext;
use crate::storage::{Pending, Topic};
use protocol::error_code::ErrorCode;

/// Why a topic is not deleted.
type Refusal = (ErrorCode, &'static str);

/// Deletes topics; the deletion of a topic without an error is durable. What is asked for twice is not
/// deleted.
pub fn handle(
    node: &Node,
    context: &RequestContext<'_>,
    request: DeleteTopicsRequest,
) -> DeleteTopicsResponse {
    let named = |name: TopicName| DeleteTopicState::default().with_name(Some(name));
    let asked: Vec<DeleteTopicState> =
        request.topic_names.into_iter().map(named).chain(request.topics).collect();
    let deletions = deletions(node, asked);
    // All are handed to the store before the first is waited for, so that they share a transaction.
    let begun: Vec<(Deletion, Option<Pending<()>>)> =
        deletions.into_iter().map(|deletion| deletion.begin(node)).collect();
    let results = begun.into_iter().map(|(deletion, pending)| deletion.finish(context, pending));
    DeleteTopicsResponse::default().with_responses(results.collect())
}

/// A topic of a request, and the one that is to be deleted.
struct Deletion {
    asked: DeleteTopicState,
    topic: Result<Topic, Refusal>,
}

/// What is to be done for each topic of a request. The checks are those of Kafka's `ControllerApis`, which
/// answers as often as here.
fn deletions(node: &Node, asked: Vec<DeleteTopicState>) -> Vec<Deletion> {
    let key = |topic: &DeleteTopicState| (topic.name.clone(), topic.topic_id.as_u128());
    let mut counts = HashMap::new();
    for topic in &asked {
        *counts.entry(key(topic)).or_insert(0) += 1;
    }
    let find = |asked: DeleteTopicState| {
        let is_twice = counts.get(&key(&asked)).is_some_and(|count| *count > 1);
        let topic = find(node, &asked, is_twice);
        Deletion { asked, topic }
    };
    let mut found: Vec<Deletion> = once(asked, key).into_iter().map(find).collect();
    refuse_names_of_ids(&mut found);
    found
}

fn find(node: &Node, asked: &DeleteTopicState, is_twice: bool) -> Result<Topic, Refusal> {
    let invalid = |why| Err((ErrorCode::INVALID_REQUEST, why));
    match (&asked.name, asked.topic_id.as_u128()) {
        (None, 0) => invalid("neither the name nor the id of a topic"),
        (Some(_), 1..) => invalid("the name and the id of a topic, where one of them is to be"),
        (Some(_), 0) if is_twice => invalid("the request names this topic more than once"),
        (None, 1..) if is_twice => invalid("the request has this id more than once"),
        (Some(name), 0) => {
            node.store.topic(name).ok_or((ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, "there is no such topic"))
        }
        (None, id) => {
            let unknown = (ErrorCode::UNKNOWN_TOPIC_ID, "there is no topic with this id");
            node.store.topic_by_id(id).ok_or(unknown)
        }
    }
}

/// Refuses topics that are asked for by their name and, elsewhere, by their id. Both get one answer.
fn refuse_names_of_ids(deletions: &mut Vec<Deletion>) {
    let by_id = |deletion: &Deletion| deletion.asked.name.is_none();
    let ids: HashSet<u128> =
        deletions.iter().filter(|one| by_id(one)).map(|one| one.asked.topic_id.as_u128()).collect();
    let mut twice = HashSet::new();
    for deletion in deletions.iter_mut().filter(|one| !by_id(one)) {
        let Ok(topic) = &deletion.topic else { continue };
        if ids.contains(&topic.id) {
            twice.insert(topic.id);
            deletion.asked.topic_id = topic_id(topic.id);
            deletion.topic = Err((ErrorCode::INVALID_REQUEST, "the request has the id of this topic, too"));
        }
    }
    deletions.retain(|one| !(by_id(one) && one.topic.as_ref().is_ok_and(|topic| twice.contains(&topic.id))));
}

impl Deletion {
    fn begin(self, node: &Node) -> (Deletion, Option<Pending<()>>) {
        let pending = self.topic.as_ref().ok().map(|topic| match self.asked.name {
            Some(_) => node.store.delete_topic(&topic.name),
            None => node.store.delete_topic_with_id(&topic.name, topic.id),
        });
        (self, pending)
    }

    /// Waits for the disk.
    fn finish(self, context: &RequestContext<'_>, pending: Option<Pending<()>>) -> DeletableTopicResult {
        let deleted = self.topic.and_then(|topic| match pending.map(Pending::wait) {
            Some(Err(code)) => Err((code, code.name())),
            _ => Ok(topic),
        });
        match deleted {
            Ok(topic) => {
                log::info!("topic {} is deleted, as {} asks", topic.name, context.peer);
                DeletableTopicResult::default()
                    .with_name(Some(TopicName(text(&topic.name))))
                    .with_topic_id(topic_id(topic.id))
                    .with_error_message(None)
            }
            Err((code, why)) => DeletableTopicResult::default()
                .with_name(self.asked.name)
                .with_topic_id(self.asked.topic_id)
                .with_error_code(code.0)
                .with_error_message(Some(text(why))),
        }
    }
}
