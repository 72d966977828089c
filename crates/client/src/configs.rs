//! The configuration of topics and brokers (DescribeConfigs).

use std::collections::BTreeMap;
use std::time::Instant;

use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::DescribeConfigsResult;
use kafka_protocol::messages::{ApiKey, DescribeConfigsRequest};
use kafka_protocol::protocol::StrBytes;

use super::connection::Connection;
use super::error::{Error, Result};
use super::metadata::Cluster;
use super::versioned_request::VersionedRequest;
use protocol::error_code::ErrorCode;

impl VersionedRequest for DescribeConfigsRequest {
    const API: ApiKey = ApiKey::DescribeConfigs;
    const VERSION: i16 = 4;
}

/// A configuration of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicConfig {
    /// Its name.
    pub name: String,
    /// Its value in effect; `None` for one that the broker keeps secret.
    pub value: Option<String>,
    /// Whether the topic has it of its own, and not from the brokers or as the default.
    pub own: bool,
}

/// The source of a configuration that a topic has of its own, as the protocol numbers them (KIP-226).
const OF_THE_TOPIC: i8 = 1;

/// What has a configuration.
#[derive(Debug, Clone, Copy)]
enum Resource<'a> {
    Topic(&'a str),
    Broker(&'a str),
}

impl Resource<'_> {
    /// Its type, as the protocol numbers them.
    fn kind(self) -> i8 {
        match self {
            Resource::Topic(_) => 2,
            Resource::Broker(_) => 4,
        }
    }

    fn name(&self) -> &str {
        match self {
            Resource::Topic(name) | Resource::Broker(name) => name,
        }
    }
}

/// The values in effect of some configurations of a topic, in the order of their names; `None` for one that
/// the broker does not know.
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
    let connection = cluster.connect_any(client_id, deadline)?;
    let mut found = values(cluster, connection, Resource::Topic(topic), Some(&names), deadline)?;
    Ok(names.map(|name| found.remove(name)))
}

/// All values in effect of a topic's configurations, by name; without those that a broker keeps secret.
///
/// # Errors
/// As [`of_topic`].
pub fn all_of_topic(
    cluster: &Cluster,
    client_id: &str,
    topic: &str,
    deadline: Instant,
) -> Result<BTreeMap<String, String>> {
    let connection = cluster.connect_any(client_id, deadline)?;
    values(cluster, connection, Resource::Topic(topic), None, deadline)
}

/// The value in effect of one configuration of a broker; `None` if the broker does not know it.
///
/// # Errors
/// As [`of_topic`].
pub fn of_broker(
    cluster: &Cluster,
    client_id: &str,
    node: i32,
    name: &str,
    deadline: Instant,
) -> Result<Option<String>> {
    let connection = cluster.connect(node, client_id, deadline)?;
    let mut found =
        values(cluster, connection, Resource::Broker(&node.to_string()), Some(&[name]), deadline)?;
    Ok(found.remove(name))
}

/// All configurations of some topics, each topic's by name, or why they are not told.
///
/// # Errors
/// No broker answers until `deadline`.
pub fn of_topics(
    cluster: &Cluster,
    client_id: &str,
    topics: &[&str],
    deadline: Instant,
) -> Result<BTreeMap<String, Result<Vec<TopicConfig>>>> {
    let mut connection = cluster.connect_any(client_id, deadline)?;
    connection.check_offers::<DescribeConfigsRequest>()?;
    let asked = topics.iter().map(|topic| asked(Resource::Topic(topic), None)).collect();
    let request = DescribeConfigsRequest::default().with_resources(asked);
    let answer = connection.call(&request, cluster.deadline(deadline))?;
    let told = |result: &DescribeConfigsResult| {
        let name = result.resource_name.to_string();
        let configs = ErrorCode(result.error_code).ok().map(|()| topic_configs(result)).map_err(|code| {
            let context = connection.context::<DescribeConfigsRequest>().for_topic(&name);
            Error::refused(context.answered(result.error_message.as_deref()), code)
        });
        (name, configs)
    };
    Ok(answer.results.iter().map(told).collect())
}

fn topic_configs(result: &DescribeConfigsResult) -> Vec<TopicConfig> {
    let config = result.configs.iter().map(|config| TopicConfig {
        name: config.name.to_string(),
        value: config.value.as_ref().map(ToString::to_string),
        own: config.config_source == OF_THE_TOPIC,
    });
    let mut configs: Vec<TopicConfig> = config.collect();
    configs.sort_by(|a, b| a.name.cmp(&b.name));
    configs
}

/// The question for the configurations of these names, or for all.
fn asked(resource: Resource<'_>, names: Option<&[&str]>) -> DescribeConfigsResource {
    let text = |text: &str| StrBytes::from_string(text.to_owned());
    DescribeConfigsResource::default()
        .with_resource_type(resource.kind())
        .with_resource_name(text(resource.name()))
        .with_configuration_keys(names.map(|names| names.iter().map(|name| text(name)).collect()))
}

/// The values of the configurations of these names, or of all.
fn values(
    cluster: &Cluster,
    mut connection: Connection,
    resource: Resource<'_>,
    names: Option<&[&str]>,
    deadline: Instant,
) -> Result<BTreeMap<String, String>> {
    let request = DescribeConfigsRequest::default().with_resources(vec![asked(resource, names)]);
    let answer = connection.call(&request, cluster.deadline(deadline))?;
    let result = answer.results.iter().find(|result| result.resource_name.as_str() == resource.name());
    let refused = |code| {
        let context = connection.context::<DescribeConfigsRequest>();
        Error::refused(
            if let Resource::Topic(topic) = resource { context.for_topic(topic) } else { context },
            code,
        )
    };
    let result = result.ok_or_else(|| refused(ErrorCode::UNKNOWN_SERVER_ERROR))?;
    ErrorCode(result.error_code).ok().map_err(refused)?;
    let configs = result.configs.iter();
    Ok(configs
        .filter_map(|config| Some((config.name.to_string(), config.value.as_ref()?.to_string())))
        .collect())
}
