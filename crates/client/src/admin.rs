//! What an administrator changes: topics, their partitions and their configurations (CreateTopics,
//! CreatePartitions, IncrementalAlterConfigs, DeleteTopics; KIP-4, KIP-195, KIP-339).
//!
//! Each request is sent once: after a lost answer nobody knows whether it was followed, and the error says
//! so.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::{
    ApiKey, CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest, IncrementalAlterConfigsRequest,
};
use kafka_protocol::protocol::StrBytes;

use super::connection::Connection;
use super::error::{Error, Result};
use super::metadata::{Cluster, topic_name};
use super::request_context::RequestContext;
use super::settings::TopicCreation;
use super::versioned_request::VersionedRequest;
use super::{LOOK_UPS, READ_MARGIN};
use protocol::error_code::ErrorCode;

impl VersionedRequest for CreateTopicsRequest {
    const API: ApiKey = ApiKey::CreateTopics;
    const VERSION: i16 = 6;
}

impl VersionedRequest for CreatePartitionsRequest {
    const API: ApiKey = ApiKey::CreatePartitions;
    const VERSION: i16 = 0;
}

impl VersionedRequest for IncrementalAlterConfigsRequest {
    const API: ApiKey = ApiKey::IncrementalAlterConfigs;
    const VERSION: i16 = 0;
}

// From version 3 on a broker says when it deletes no topics (TOPIC_DELETION_DISABLED).
impl VersionedRequest for DeleteTopicsRequest {
    const API: ApiKey = ApiKey::DeleteTopics;
    const VERSION: i16 = 3;
}

/// How long a topic that was created may be unknown to a broker, and how often it is asked meanwhile.
const CREATION_SPREADS: Duration = Duration::from_millis(500);
const CREATION_PAUSE: Duration = Duration::from_millis(25);

/// A topic's number among the types of resources.
const TOPIC: i8 = 2;
/// The operations on a configuration.
const SET: i8 = 0;
const DELETE: i8 = 1;

/// A topic that is to be created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// The number of its partitions; -1 takes the broker's default.
    pub partitions: i32,
    /// Its replication factor; -1 takes the broker's default.
    pub replication_factor: i16,
    /// The configurations that it has of its own.
    pub configs: BTreeMap<String, String>,
}

impl Cluster {
    /// Creates a topic, such as those of
    /// [`ClusterSettings::create`](super::settings::ClusterSettings::create), if the cluster does not have
    /// it.
    ///
    /// # Errors
    /// No broker answers until `deadline`, or the cluster refuses (its code says why).
    pub fn create_missing(&self, create: &TopicCreation, deadline: Instant) -> Result<()> {
        if self.cached(&create.name).is_some() || self.topic(&create.name, deadline)?.is_some() {
            return Ok(());
        }
        let beside = match &create.beside {
            Some(other) => self.topic(other, deadline)?,
            None => None,
        };
        let partitions =
            beside.map_or(create.partitions, |other| i32::try_from(other.leaders.len()).unwrap_or(i32::MAX));
        let topic = NewTopic {
            name: create.name.clone(),
            partitions,
            replication_factor: create.replication_factor,
            configs: create.configs.clone(),
        };
        match create_topic(self, &topic, deadline) {
            Ok((told, _)) => {
                // Older brokers do not tell the number.
                let count = if told < 0 { partitions } else { told };
                log::info!("created topic {} with {count} partitions", create.name);
            }
            Err(Error::Refused { code: ErrorCode::TOPIC_ALREADY_EXISTS, .. }) => {}
            Err(error) => return Err(error),
        }
        // Not every broker knows it at once.
        let limit = deadline.min(Instant::now() + CREATION_SPREADS);
        loop {
            self.refresh(&[&create.name], deadline)?;
            if self.cached(&create.name).is_some() || Instant::now() >= limit || self.pause(CREATION_PAUSE) {
                return Ok(());
            }
        }
    }
}

/// Creates a topic. Returns the numbers of its partitions and of the replicas of each, -1 where the user may
/// not know.
///
/// # Errors
/// No broker answers until `deadline`, or it refuses: `TOPIC_ALREADY_EXISTS`, `INVALID_CONFIG`, ...
pub fn create_topic(cluster: &Cluster, topic: &NewTopic, deadline: Instant) -> Result<(i32, i16)> {
    let config = |(name, value): (&String, &String)| {
        CreatableTopicConfig::default().with_name(text(name)).with_value(Some(text(value)))
    };
    let creatable = CreatableTopic::default()
        .with_name(topic_name(&topic.name))
        .with_num_partitions(topic.partitions)
        .with_replication_factor(topic.replication_factor)
        .with_configs(topic.configs.iter().map(config).collect());
    let request =
        CreateTopicsRequest::default().with_topics(vec![creatable]).with_timeout_ms(timeout(cluster));
    let answer = controller(cluster, deadline)?.call(&request, limit(cluster, deadline))?;
    let result = answer.topics.first();
    let said = result.map(|result| (result.error_code, result.error_message.as_deref()));
    outcome::<CreateTopicsRequest>(&topic.name, said)?;
    Ok(result.map_or((-1, -1), |result| (result.num_partitions, result.replication_factor)))
}

/// Gives a topic so many partitions in all.
///
/// # Errors
/// No broker answers until `deadline`, or it refuses: `INVALID_PARTITIONS` where it has as many or more.
pub fn create_partitions(cluster: &Cluster, topic: &str, count: i32, deadline: Instant) -> Result<()> {
    let grown = CreatePartitionsTopic::default()
        .with_name(topic_name(topic))
        .with_count(count)
        .with_assignments(None);
    let request =
        CreatePartitionsRequest::default().with_topics(vec![grown]).with_timeout_ms(timeout(cluster));
    let mut connection = controller(cluster, deadline)?;
    connection.check_offers::<CreatePartitionsRequest>()?;
    let answer = connection.call(&request, limit(cluster, deadline))?;
    let mut results =
        answer.results.iter().map(|result| (result.error_code, result.error_message.as_deref()));
    outcome::<CreatePartitionsRequest>(topic, results.next())
}

/// Sets configurations of a topic, and takes others from it (`None`), so that it has those of the brokers or
/// the defaults. All of them or none.
///
/// # Errors
/// No broker answers until `deadline`, or it refuses: `INVALID_CONFIG`, `UNKNOWN_TOPIC_OR_PARTITION`.
pub fn alter_configs(
    cluster: &Cluster,
    topic: &str,
    changes: &BTreeMap<String, Option<String>>,
    deadline: Instant,
) -> Result<()> {
    let change = |(name, value): (&String, &Option<String>)| {
        AlterableConfig::default()
            .with_name(text(name))
            .with_config_operation(if value.is_some() { SET } else { DELETE })
            .with_value(value.as_deref().map(text))
    };
    let resource = AlterConfigsResource::default()
        .with_resource_type(TOPIC)
        .with_resource_name(text(topic))
        .with_configs(changes.iter().map(change).collect());
    let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
    let mut connection = cluster.connect_any(LOOK_UPS, deadline)?;
    connection.check_offers::<IncrementalAlterConfigsRequest>()?;
    let answer = connection.call(&request, limit(cluster, deadline))?;
    let mut results =
        answer.responses.iter().map(|result| (result.error_code, result.error_message.as_deref()));
    outcome::<IncrementalAlterConfigsRequest>(topic, results.next())
}

/// Deletes a topic with everything in it.
///
/// # Errors
/// No broker answers until `deadline`, or it refuses: `UNKNOWN_TOPIC_OR_PARTITION`,
/// `TOPIC_DELETION_DISABLED`.
pub fn delete_topic(cluster: &Cluster, topic: &str, deadline: Instant) -> Result<()> {
    let request = DeleteTopicsRequest::default()
        .with_topic_names(vec![topic_name(topic)])
        .with_timeout_ms(timeout(cluster));
    let mut connection = controller(cluster, deadline)?;
    connection.check_offers::<DeleteTopicsRequest>()?;
    let answer = connection.call(&request, limit(cluster, deadline))?;
    outcome::<DeleteTopicsRequest>(topic, answer.responses.first().map(|result| (result.error_code, None)))
}

/// A connection to the node that changes topics, as the cluster names it now.
fn controller(cluster: &Cluster, deadline: Instant) -> Result<Connection> {
    cluster.describe(Some(&[]), deadline)?;
    cluster.connect(cluster.controller()?, LOOK_UPS, deadline)
}

/// What became of a change: the code and the words of the broker; `None` where it has not said.
fn outcome<R: VersionedRequest>(topic: &str, result: Option<(i16, Option<&str>)>) -> Result<()> {
    let (code, said) = result.unwrap_or((ErrorCode::UNKNOWN_SERVER_ERROR.0, None));
    let refused = |code| {
        let context = RequestContext::of::<R>().for_topic(topic);
        Error::refused(context.answered(said), code)
    };
    ErrorCode(code).ok().map_err(refused)
}

/// How long a broker may wait for the change to be in effect, in ms.
fn timeout(cluster: &Cluster) -> i32 {
    i32::try_from(cluster.settings.request_timeout.as_millis()).unwrap_or(i32::MAX)
}

fn limit(cluster: &Cluster, deadline: Instant) -> Instant {
    cluster.deadline(deadline) + READ_MARGIN
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}
