//! The topics of the cluster, for the endpoint.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::config::Settings;
use crate::error::{Error, Result};
use crate::http::{Partition, PartitionOffsets, Topic, TopicDirectory};
use crate::runtime::StoreFailure;
use client::describe::{PartitionDescription, TopicDescription};
use client::topics_on_demand::TopicsOnDemand;
use client::{Cluster, ClusterSettings, LOOK_UPS, configs, offsets};
use protocol::topic_partition::TopicPartition;

/// How long a topic that was created may be unknown to a broker before it is asked for again.
const CREATION_TIMEOUT: Duration = Duration::from_millis(500);
/// How long brokers have to create a topic that they create on demand: other look-ups wait meanwhile.
const ON_DEMAND_TIMEOUT: Duration = Duration::from_millis(1_500);
/// The longest look-up of a topic in an outage that is known.
const OUTAGE_TIMEOUT: Duration = Duration::from_millis(500);

/// Topic look-ups over connections of their own.
pub struct ClusterTopicDirectory {
    cluster: Cluster,
    store: StoreFailure,
    on_demand: TopicsOnDemand,
    /// An outage that has lasted for so long is known.
    outage_is_known: Duration,
}

impl ClusterTopicDirectory {
    /// The directory of the cluster of these settings. It connects at the first look-up.
    pub fn new(cluster: &Cluster, settings: &Settings) -> ClusterTopicDirectory {
        let create = settings.topic_creation().into_iter().collect();
        let cluster = cluster.share(ClusterSettings { create, ..settings.cluster() });
        ClusterTopicDirectory {
            cluster,
            store: settings.store_failure(),
            on_demand: TopicsOnDemand::waiting(ON_DEMAND_TIMEOUT),
            outage_is_known: settings.producer_api.answer_timeout() / 2,
        }
    }

    fn described(&self, name: &str, deadline: Instant) -> Result<Option<Topic>> {
        let described = self.cluster.describe(Some(&[name]), deadline).and_then(|found| found.topic(name));
        Ok(described.map_err(|error| self.silent(error))?.map(topic))
    }

    /// A topic that was just created: not every broker knows it at once.
    fn created(&self, name: &str, deadline: Instant) -> Result<Option<Topic>> {
        loop {
            let described = self.cluster.describe_or_create(name, CREATION_TIMEOUT, deadline);
            let found = described.map_err(|error| self.silent(error))?.map(topic);
            if found.is_some() || Instant::now() >= deadline || self.cluster.stopping() {
                return Ok(found);
            }
        }
    }

    /// When a look-up that may last until `limit` ends at the latest.
    fn deadline(&self, limit: Instant) -> Instant {
        let is_known = self.cluster.outage().is_some_and(|since| since.elapsed() >= self.outage_is_known);
        if is_known { limit.min(Instant::now() + OUTAGE_TIMEOUT) } else { limit }
    }

    /// Why the cluster has no answer.
    fn silent(&self, error: client::Error) -> Error {
        match self.store.read() {
            Some(failure) => Error::new(failure),
            None => Error::new("the cluster has no answer").caused_by(error),
        }
    }
}

impl TopicDirectory for ClusterTopicDirectory {
    fn topics(&self, deadline: Instant) -> Result<Vec<String>> {
        let found = self.cluster.describe(None, deadline).map_err(|error| self.silent(error))?;
        Ok(found.topics.into_iter().filter(|topic| !topic.internal).map(|topic| topic.name).collect())
    }

    fn topic(&self, name: &str, deadline: Instant) -> Result<Option<Topic>> {
        let deadline = self.deadline(deadline);
        let found = self.described(name, deadline)?;
        let create = self.cluster.settings().create.iter().find(|create| create.name == name);
        match create.filter(|_| found.is_none()) {
            Some(create) => {
                self.cluster.create_missing(create, deadline).map_err(|error| self.silent(error))?;
                self.created(name, deadline)
            }
            None => Ok(found),
        }
    }

    fn topic_for_records(&self, name: &str, deadline: Instant) -> Result<Option<Topic>> {
        let deadline = self.deadline(deadline);
        let found = self.topic(name, deadline)?;
        if found.is_some() {
            return Ok(found);
        }
        let created = self.on_demand.find(&self.cluster, name, deadline);
        Ok(created.map_err(|error| self.silent(error))?.map(topic))
    }

    fn configs(&self, topic: &str, deadline: Instant) -> Result<BTreeMap<String, String>> {
        match configs::all_of_topic(&self.cluster, LOOK_UPS, topic, deadline) {
            Ok(found) => Ok(found),
            Err(error) if error.code().is_some() => {
                log::debug!("the configurations of {topic} cannot be read: {error}");
                Ok(BTreeMap::new())
            }
            Err(error) => Err(self.silent(error)),
        }
    }

    fn offsets(&self, topic: &str, partition: i32, deadline: Instant) -> Result<PartitionOffsets> {
        let place = TopicPartition::new(topic, partition);
        let offset = |time| {
            let (found, error) = offsets::list(&self.cluster, LOOK_UPS, &[(place.clone(), time)], deadline);
            let failed = || match error {
                Some(error) => self.silent(error),
                None => Error::new(format!("partition {partition} of {topic} has no leader")),
            };
            found.get(&place).copied().ok_or_else(failed)
        };
        Ok(PartitionOffsets { beginning: offset(offsets::EARLIEST)?, end: offset(offsets::LATEST)? })
    }

    fn brokers(&self, deadline: Instant) -> Result<Vec<i32>> {
        self.cluster
            .describe(Some(&[]), deadline)
            .map(|found| found.brokers)
            .map_err(|error| self.silent(error))
    }

    fn stop(&self) {
        self.cluster.stop();
    }
}

fn topic(topic: TopicDescription) -> Topic {
    Topic { internal: topic.internal, partitions: topic.partitions.into_iter().map(partition).collect() }
}

fn partition(partition: PartitionDescription) -> Partition {
    let PartitionDescription { number, leader, replicas, in_sync } = partition;
    Partition { number, leader, replicas, in_sync }
}
