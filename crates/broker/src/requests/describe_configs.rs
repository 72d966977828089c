//! DescribeConfigs (KIP-133, KIP-226): the configurations in effect for topics and for the node.

use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use kafka_protocol::messages::{DescribeConfigsRequest, DescribeConfigsResponse};
use kafka_protocol::protocol::StrBytes;

use super::call::{Call, CloseReason, Handled};
use super::{BROKER, Refusal, TOPIC, message, once};
use crate::node::{NODE_ID, Node};
use crate::node_config;
use crate::request_context::RequestContext;
use crate::topic_config::{self, Entry, TABLE};
use protocol::error_code::ErrorCode;
use protocol::topic_name;

/// The memory of one configuration with its synonyms in a response.
const ENTRY_BYTES: usize = 512;

/// Describes each resource, once. The response is large where many topics are asked for, so there has to be
/// memory for it before it is made.
pub fn handle<'n>(call: Call<'n, '_>) -> Result<Handled<'n>, CloseReason> {
    let request: DescribeConfigsRequest = call.decode()?;
    let bytes = request.resources.len().saturating_mul(TABLE.len() * ENTRY_BYTES);
    let room = call.node.reserve_response(bytes, call.context);
    let room = room.ok_or_else(|| "no memory for the configurations in time".to_owned())?;
    let response = describe(call.node, call.context, request);
    drop(room);
    call.respond(&response).map(Handled::Answered)
}

fn describe(
    node: &Node,
    context: &RequestContext<'_>,
    request: DescribeConfigsRequest,
) -> DescribeConfigsResponse {
    let synonyms = request.include_synonyms;
    let identity =
        |resource: &DescribeConfigsResource| (resource.resource_type, resource.resource_name.clone());
    let results = once(request.resources, identity).into_iter().map(|resource| {
        let result = DescribeConfigsResult::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone());
        match entries(node, context, &resource) {
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

fn entries(
    node: &Node,
    context: &RequestContext<'_>,
    resource: &DescribeConfigsResource,
) -> Result<Vec<Entry>, Refusal> {
    let name = resource.resource_name.as_str();
    match resource.resource_type {
        TOPIC => {
            topic_name::check(name).map_err(|why| (ErrorCode::INVALID_TOPIC_EXCEPTION, why.to_owned()))?;
            match node.store.topic(name) {
                Some(topic) => Ok(topic_config::of_topic(&node.settings, &topic.configs)),
                None => Err((ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, format!("there is no topic {name}"))),
            }
        }
        // Defaults of all nodes that were set at run time: there are none.
        BROKER if name.is_empty() => Ok(Vec::new()),
        BROKER if name == NODE_ID.to_string() => Ok(node_config::of_node(&node.settings, context.advertised)),
        BROKER => {
            Err((ErrorCode::INVALID_REQUEST, format!("there is no node {name:?}, only node {NODE_ID}")))
        }
        other => {
            Err((ErrorCode::INVALID_REQUEST, format!("resources of type {other} have no configuration here")))
        }
    }
}

fn described(entry: Entry, synonyms: bool) -> DescribeConfigsResourceResult {
    let synonyms = entry.synonyms.into_iter().filter(|_| synonyms).map(|synonym| {
        DescribeConfigsSynonym::default()
            .with_name(StrBytes::from_static_str(synonym.name))
            .with_value(Some(StrBytes::from_string(synonym.value)))
            .with_source(synonym.source as i8)
    });
    DescribeConfigsResourceResult::default()
        .with_name(StrBytes::from_static_str(entry.name))
        .with_value(Some(StrBytes::from_string(entry.value)))
        .with_read_only(entry.read_only)
        .with_config_source(entry.source as i8)
        .with_config_type(entry.kind as i8)
        .with_documentation(None)
        .with_synonyms(synonyms.collect())
}
