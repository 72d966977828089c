//! DescribeConfigs (KIP-133): the configurations in effect for topics and for the node, all read-only.

use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use kafka_protocol::messages::{DescribeConfigsRequest, DescribeConfigsResponse};
use kafka_protocol::protocol::StrBytes;

use super::{message, once, text};
use crate::node::{NODE_ID, Node};
use crate::request_context::RequestContext;
use crate::topic_config::{self, Entry};
use protocol::error_code::ErrorCode;
use protocol::topic_name;

/// Resource types.
const TOPIC: i8 = 2;
const BROKER: i8 = 4;

/// Describes each resource, once.
pub fn handle(
    node: &Node,
    _context: &RequestContext<'_>,
    request: DescribeConfigsRequest,
) -> DescribeConfigsResponse {
    let synonyms = request.include_synonyms;
    let identity =
        |resource: &DescribeConfigsResource| (resource.resource_type, resource.resource_name.clone());
    let results = once(request.resources, identity).into_iter().map(|resource| {
        let result = DescribeConfigsResult::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone());
        match entries(node, &resource) {
            Ok(entries) => {
                let wanted = |entry: &Entry| is_wanted(&resource.configuration_keys, entry.name);
                let configs = entries.into_iter().filter(wanted).map(|entry| described(entry, synonyms));
                result.with_error_message(None).with_configs(configs.collect())
            }
            Err((code, why)) => result.with_error_code(code.0).with_error_message(Some(message(&why))),
        }
    });
    DescribeConfigsResponse::default().with_results(results.collect())
}

/// Null asks for all, and so does an empty list, as in Kafka.
fn is_wanted(keys: &Option<Vec<StrBytes>>, name: &str) -> bool {
    match keys {
        Some(keys) if !keys.is_empty() => keys.iter().any(|key| key.as_str() == name),
        _ => true,
    }
}

fn entries(node: &Node, resource: &DescribeConfigsResource) -> Result<Vec<Entry>, (ErrorCode, String)> {
    let name = resource.resource_name.as_str();
    match resource.resource_type {
        TOPIC => {
            topic_name::check(name).map_err(|why| (ErrorCode::INVALID_TOPIC_EXCEPTION, why.to_owned()))?;
            if node.store.topic(name).is_none() {
                return Err((ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, format!("there is no topic {name}")));
            }
            Ok(topic_config::of_topics(&node.settings))
        }
        // Defaults of all nodes that were set at run time: there are none.
        BROKER if name.is_empty() => Ok(Vec::new()),
        BROKER if name == NODE_ID.to_string() => Ok(topic_config::of_node(&node.settings)),
        BROKER => {
            Err((ErrorCode::INVALID_REQUEST, format!("there is no node {name:?}, only node {NODE_ID}")))
        }
        other => {
            Err((ErrorCode::INVALID_REQUEST, format!("resources of type {other} have no configuration here")))
        }
    }
}

fn described(entry: Entry, synonyms: bool) -> DescribeConfigsResourceResult {
    let value = text(&entry.value);
    let synonym = DescribeConfigsSynonym::default()
        .with_name(text(entry.name))
        .with_value(Some(value.clone()))
        .with_source(entry.source());
    DescribeConfigsResourceResult::default()
        .with_name(text(entry.name))
        .with_value(Some(value))
        .with_read_only(true)
        .with_config_source(entry.source())
        .with_config_type(entry.kind as i8)
        .with_documentation(None)
        .with_synonyms(if synonyms { vec![synonym] } else { Vec::new() })
}
