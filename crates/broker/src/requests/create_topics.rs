//! CreateTopics: creates topics with a number of partitions and configurations of their own.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
use kafka_protocol::messages::{BrokerId, CreateTopicsRequest, CreateTopicsResponse};
use kafka_protocol::protocol::StrBytes;

use super::{Refusal, check_new_name, message, refused_by_store, topic_id};
use crate::node::{NODE_ID, Node};
use crate::request_context::RequestContext;
use crate::storage::{Pending, Topic};
use crate::topic_config::{self, Entry};
use protocol::error_code::ErrorCode;
use protocol::topic_name;

/// Creates topics, or only validates the request. A topic without an error is durable.
pub fn handle(
    node: &Node,
    context: &RequestContext<'_>,
    request: CreateTopicsRequest,
) -> CreateTopicsResponse {
    let mut named: HashMap<&str, usize> = HashMap::new();
    for topic in &request.topics {
        *named.entry(&topic.name).or_default() += 1;
    }
    let begun: Vec<Result<Creation, Refusal>> = request
        .topics
        .iter()
        .map(|topic| match named.get(topic.name.as_str()) {
            Some(1) => begin(node, topic, request.validate_only),
            _ => Err((ErrorCode::INVALID_REQUEST, "the request names this topic more than once".to_owned())),
        })
        .collect();
    let results = request.topics.iter().zip(begun).map(|(topic, begun)| {
        let created = begun.and_then(|creation| creation.finish(&topic.name));
        if let (Ok(created), false) = (&created, request.validate_only) {
            log::info!(
                "topic {} is created with {} partitions, as {} asks",
                created.name,
                created.partitions,
                context.peer
            );
        }
        result(node, context, topic, created)
    });
    CreateTopicsResponse::default().with_topics(results.collect())
}

/// A topic that may be created.
enum Creation {
    Begun(Pending<Topic>),
    /// Only checked.
    Possible(Topic),
}

impl Creation {
    fn finish(self, name: &str) -> Result<Topic, Refusal> {
        match self {
            Creation::Possible(topic) => Ok(topic),
            Creation::Begun(pending) => pending.wait().map_err(|code| refused_by_store(name, code)),
        }
    }
}

/// Checks in Kafka's order: the name, whether the topic or one of nearly this name exists, its
/// configurations, its partitions.
fn begin(node: &Node, topic: &CreatableTopic, validate_only: bool) -> Result<Creation, Refusal> {
    let name = topic.name.as_str();
    topic_name::check(name).map_err(|why| (ErrorCode::INVALID_TOPIC_EXCEPTION, why.to_owned()))?;
    if node.store.topic(name).is_some() {
        return Err(refused_by_store(name, ErrorCode::TOPIC_ALREADY_EXISTS));
    }
    check_new_name(node, name)?;
    let configs = configs(topic).map_err(|why| (ErrorCode::INVALID_CONFIG, why))?;
    let partitions = partitions(node, topic)?;
    if validate_only {
        let topic = Topic { name: name.into(), id: 0, partitions, configs: Arc::new(configs) };
        return Ok(Creation::Possible(topic));
    }
    Ok(Creation::Begun(node.store.create_topic(name, partitions, configs)))
}

/// The requested number of partitions, given as a number or by assignments.
fn partitions(node: &Node, topic: &CreatableTopic) -> Result<i32, Refusal> {
    if !topic.assignments.is_empty() {
        return assigned(topic);
    }
    if !matches!(topic.replication_factor, 1 | -1) {
        let why = format!("replication factor {}: the embedded broker is one node", topic.replication_factor);
        return Err((ErrorCode::INVALID_REPLICATION_FACTOR, why));
    }
    match topic.num_partitions {
        -1 => Ok(node.settings.partitions),
        number if number > 0 => Ok(number),
        number => Err((ErrorCode::INVALID_PARTITIONS, format!("{number} partitions"))),
    }
}

/// The number of partitions in assignments: 0, 1, 2 and so on, all of them on this node.
fn assigned(topic: &CreatableTopic) -> Result<i32, Refusal> {
    if topic.num_partitions != -1 || topic.replication_factor != -1 {
        let why = "with assignments, the number of partitions and the replication factor must be -1";
        return Err((ErrorCode::INVALID_REQUEST, why.to_owned()));
    }
    let mut numbers: Vec<i32> = topic.assignments.iter().map(|assigned| assigned.partition_index).collect();
    numbers.sort_unstable();
    let complete = (0..).zip(&numbers).all(|(wanted, number)| wanted == *number);
    let ours = topic.assignments.iter().all(|assigned| assigned.broker_ids == [BrokerId(NODE_ID)]);
    match i32::try_from(numbers.len()) {
        Ok(count) if complete && ours => Ok(count),
        _ => {
            let why = format!("assignments must give partitions 0, 1, 2 and so on to node {NODE_ID} alone");
            Err((ErrorCode::INVALID_REPLICA_ASSIGNMENT, why))
        }
    }
}

/// The configurations of the request, each of which comes once.
fn configs(topic: &CreatableTopic) -> Result<BTreeMap<String, String>, String> {
    let mut configs = BTreeMap::new();
    for config in &topic.configs {
        let name = config.name.as_str();
        let value = config.value.as_deref().ok_or_else(|| format!("{name}: null is no value"))?;
        if configs.insert(name.to_owned(), topic_config::normal_form(name, value)?).is_some() {
            return Err(format!("the request names {name} more than once"));
        }
    }
    topic_config::check_together(&configs)?;
    Ok(configs)
}

fn result(
    node: &Node,
    context: &RequestContext<'_>,
    asked: &CreatableTopic,
    created: Result<Topic, Refusal>,
) -> CreatableTopicResult {
    let result = CreatableTopicResult::default().with_name(asked.name.clone());
    match created {
        Err((code, why)) => {
            result.with_error_code(code.0).with_error_message(Some(message(&why))).with_configs(None)
        }
        Ok(topic) => {
            let result = result.with_error_message(None);
            if context.version < 5 {
                return result;
            }
            let configs = topic_config::of_topic(&node.settings, &topic.configs);
            result
                .with_num_partitions(topic.partitions)
                .with_replication_factor(1)
                .with_configs(Some(configs.into_iter().map(described).collect()))
                .with_topic_id(topic_id(topic.id))
        }
    }
}

fn described(entry: Entry) -> CreatableTopicConfigs {
    CreatableTopicConfigs::default()
        .with_name(StrBytes::from_static_str(entry.name))
        .with_value(Some(StrBytes::from_string(entry.value)))
        .with_read_only(entry.read_only)
        .with_config_source(entry.source as i8)
}
