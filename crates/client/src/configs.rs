//! The configuration of topics (DescribeConfigs).

use std::time::Instant;

use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::{ApiKey, DescribeConfigsRequest};
use kafka_protocol::protocol::StrBytes;

use super::error::{Error, Result};
use super::metadata::Cluster;
use super::versioned_request::VersionedRequest;
use protocol::error_code::ErrorCode;

impl VersionedRequest for DescribeConfigsRequest {
    const API: ApiKey = ApiKey::DescribeConfigs;
    const VERSION: i16 = 4;
}

/// The type of a resource that is a topic.
const TOPIC: i8 = 2;

/// The values in effect of some configurations of a topic, in the order of their names; `None` for one that the
/// broker does not know.
///
/// # Errors
/// No broker answers until `deadline`, or they may not be read.
pub fn of_topic<const N: usize>(
    cluster: &Cluster,
    client_id: &str,
    topic: &str,
    names: [&str; N],
    deadline: Instant,
) -> Result<[Option<String>; N]> {
    let text = |text: &str| StrBytes::from_string(text.to_owned());
    let resource = DescribeConfigsResource::default()
        .with_resource_type(TOPIC)
        .with_resource_name(text(topic))
        .with_configuration_keys(Some(names.map(text).to_vec()));
    let request = DescribeConfigsRequest::default().with_resources(vec![resource]);
    let mut connection = cluster.connect_any(client_id, deadline)?;
    let answer = connection.call(&request, cluster.deadline(deadline))?;
    let result = answer.results.iter().find(|result| result.resource_name.as_str() == topic);
    let refused =
        |code| Error::refused(connection.context::<DescribeConfigsRequest>().for_topic(topic), code);
    let result = result.ok_or_else(|| refused(ErrorCode::UNKNOWN_SERVER_ERROR))?;
    ErrorCode(result.error_code).ok().map_err(refused)?;
    Ok(names.map(|name| {
        let config = result.configs.iter().find(|config| config.name.as_str() == name);
        config.and_then(|config| config.value.as_ref()).map(ToString::to_string)
    }))
}
