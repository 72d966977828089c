//! AlterConfigs (KIP-133): gives a topic exactly the configurations of the request.

use kafka_protocol::messages::alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::{AlterConfigsRequest, AlterConfigsResponse};

use super::config_changes::{Change, Operation, Resource, alter};
use super::message;
use crate::node::Node;
use crate::request_context::RequestContext;

/// Alters each resource for itself, or only validates the request.
pub fn handle(
    node: &Node,
    context: &RequestContext<'_>,
    request: AlterConfigsRequest,
) -> AlterConfigsResponse {
    let resources: Vec<Resource<'_>> = request
        .resources
        .iter()
        .map(|resource| Resource {
            kind: resource.resource_type,
            name: &resource.resource_name,
            changes: resource
                .configs
                .iter()
                .map(|config| Change {
                    name: &config.name,
                    operation: Some(Operation::Set),
                    value: config.value.as_deref(),
                })
                .collect(),
        })
        .collect();
    let altered = alter(node, context, &resources, true, request.validate_only);
    drop(resources);
    let responses = request.resources.into_iter().zip(altered).map(|(resource, altered)| {
        let (code, why) = altered.err().map_or((0, None), |(code, why)| (code.0, Some(message(&why))));
        AlterConfigsResourceResponse::default()
            .with_error_code(code)
            .with_error_message(why)
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name)
    });
    AlterConfigsResponse::default().with_responses(responses.collect())
}
