//! What the endpoint is told of the cluster.

use std::time::Instant;

use crate::cluster::description::{PartitionDescription, TopicDescription};
use crate::cluster::{Cluster, ClusterSettings, TopicCreation};
use crate::config::Settings;
use crate::error::{Error, Result};
use crate::http::{Directory, Partition, Topic};

/// The cluster's own word, over a connection that only this has.
pub struct ClusterDirectory(Cluster);

impl ClusterDirectory {
    /// The cluster of these settings; it is not spoken to yet.
    pub fn new(settings: &Settings) -> ClusterDirectory {
        let create = TopicCreation::of(&settings.kafka).into_iter().collect();
        ClusterDirectory(Cluster::new(ClusterSettings { create, ..ClusterSettings::of(settings) }))
    }

    fn described(&self, name: &str, deadline: Instant) -> Result<Option<Topic>> {
        let described = self.0.describe(Some(&[name]), deadline).and_then(|found| found.topic(name));
        Ok(described.map_err(silent)?.map(topic))
    }
}

impl Directory for ClusterDirectory {
    fn topics(&self, deadline: Instant) -> Result<Vec<String>> {
        let found = self.0.describe(None, deadline).map_err(silent)?;
        Ok(found.topics.into_iter().filter(|topic| !topic.internal).map(|topic| topic.name).collect())
    }

    fn topic(&self, name: &str, deadline: Instant) -> Result<Option<Topic>> {
        let found = self.described(name, deadline)?;
        let create = self.0.settings().create.iter().find(|create| create.name == name);
        match create.filter(|_| found.is_none()) {
            Some(create) => {
                self.0.create_missing(create, deadline).map_err(silent)?;
                self.described(name, deadline)
            }
            None => Ok(found),
        }
    }

    fn brokers(&self, deadline: Instant) -> Result<Vec<i32>> {
        self.0.describe(Some(&[]), deadline).map(|found| found.brokers).map_err(silent)
    }
}

fn silent(error: crate::cluster::Error) -> Error {
    Error::new("the cluster has no answer").caused_by(error)
}

fn topic(topic: TopicDescription) -> Topic {
    Topic { internal: topic.internal, partitions: topic.partitions.into_iter().map(partition).collect() }
}

fn partition(partition: PartitionDescription) -> Partition {
    let PartitionDescription { number, leader, replicas, in_sync } = partition;
    Partition { number, leader, replicas, in_sync }
}
