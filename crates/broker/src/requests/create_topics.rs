//! CreateTopics: creates topics with a number of partitions; their configurations are fixed.

use std::collections::{BTreeMap, HashMap};

use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
use kafka_protocol::messages::{BrokerId, CreateTopicsRequest, CreateTopicsResponse};

use super::{message, text, topic_id};
use crate::node::{NODE_ID, Node};
use crate::request_context::RequestContext;
use crate::storage::{Pending, Topic};
use crate::topic_config::{self, Entry};
use protocol::error_code::ErrorCode;
use protocol::topic_name;

/// Why a topic is not created.
type Refusal = (ErrorCode, String);

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

fn refused_by_store(name: &str, code: ErrorCode) -> Refusal {
    let why = match code {
        ErrorCode::TOPIC_ALREADY_EXISTS => format!("topic {name} exists already"),
        ErrorCode::POLICY_VIOLATION => "the embedded broker would have too many partitions".to_owned(),
        ErrorCode::KAFKA_STORAGE_ERROR => "the embedded broker cannot store anything; see its log".to_owned(),
        other => other.to_string(),
    };
    (code, why)
}

fn begin(node: &Node, topic: &CreatableTopic, validate_only: bool) -> Result<Creation, Refusal> {
    let name = topic.name.as_str();
    topic_name::check(name).map_err(|why| (ErrorCode::INVALID_TOPIC_EXCEPTION, why.to_owned()))?;
    let partitions = partitions(node, topic)?;
    check_configs(node, topic)?;
    if !validate_only {
        return Ok(Creation::Begun(node.store.create_topic(name, partitions, BTreeMap::new())));
    }
    match node.store.topic(name) {
        Some(_) => Err(refused_by_store(name, ErrorCode::TOPIC_ALREADY_EXISTS)),
        None => Ok(Creation::Possible(Topic {
            name: name.into(),
            id: 0,
            partitions,
            configs: Default::default(),
        })),
    }
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

/// Accepts configurations whose value is in effect anyway, and no others.
fn check_configs(node: &Node, topic: &CreatableTopic) -> Result<(), Refusal> {
    let entries = topic_config::of_topics(&node.settings);
    for config in &topic.configs {
        let name = config.name.as_str();
        let why = match entries.iter().find(|entry| entry.name == name) {
            None => format!("{name}: the embedded broker has no such configuration of topics"),
            Some(entry) => match &config.value {
                Some(value) if value.as_str() != entry.value => {
                    format!("{name}={value}: on the embedded broker it is {} for all topics", entry.value)
                }
                _ => continue,
            },
        };
        return Err((ErrorCode::INVALID_CONFIG, why));
    }
    Ok(())
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
            let configs = topic_config::of_topics(&node.settings).into_iter().map(described);
            result
                .with_num_partitions(topic.partitions)
                .with_replication_factor(1)
                .with_configs(Some(configs.collect()))
                .with_topic_id(topic_id(topic.id))
        }
    }
}

fn described(entry: Entry) -> CreatableTopicConfigs {
    CreatableTopicConfigs::default()
        .with_name(text(entry.name))
        .with_value(Some(text(&entry.value)))
        .with_read_only(true)
        .with_config_source(entry.source())
}
