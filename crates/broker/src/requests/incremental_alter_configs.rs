//! IncrementalAlterConfigs (KIP-339): sets and removes configurations of topics, and changes lists.

use kafka_protocol::messages::incremental_alter_configs_request::AlterableConfig;
use kafka_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse};

use super::config_changes::{Change, Operation, Resource, alter};
use super::message;
use crate::node::Node;
use crate::request_context::RequestContext;

/// Alters each resource for itself, or only validates the request.
pub fn handle(
    node: &Node,
    context: &RequestContext<'_>,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let resources: Vec<Resource<'_>> = request
        .resources
        .iter()
        .map(|resource| Resource {
            kind: resource.resource_type,
            name: &resource.resource_name,
            changes: resource.configs.iter().map(change).collect(),
        })
        .collect();
    let altered = alter(node, context, &resources, false, request.validate_only);
    drop(resources);
    let responses = request.resources.into_iter().zip(altered).map(|(resource, altered)| {
        let (code, why) = altered.err().map_or((0, None), |(code, why)| (code.0, Some(message(&why))));
        AlterConfigsResourceResponse::default()
            .with_error_code(code)
            .with_error_message(why)
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name)
    });
    IncrementalAlterConfigsResponse::default().with_responses(responses.collect())
}

fn change(config: &AlterableConfig) -> Change<'_> {
    let operation = match config.config_operation {
        0 => Some(Operation::Set),
        1 => Some(Operation::Delete),
        2 => Some(Operation::Append),
        3 => Some(Operation::Subtract),
        _ => None,
    };
    Change { name: &config.name, operation, value: config.value.as_deref() }
}
