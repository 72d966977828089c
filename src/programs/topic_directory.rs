//! The topics of the cluster, for the endpoint.

use std::time::Instant;

use crate::config::Settings;
use crate::error::{Error, Result};
use crate::http::{Partition, Topic, TopicDirectory};
use crate::runtime::StoreFailure;
use client::describe::{PartitionDescription, TopicDescription};
use client::{Cluster, ClusterSettings};

/// Topic look-ups over connections of their own.
pub struct ClusterTopicDirectory {
    cluster: Cluster,
    store: StoreFailure,
}

impl ClusterTopicDirectory {
    /// The directory of the cluster of these settings. It connects at the first look-up.
    pub fn new(cluster: &Cluster, settings: &Settings) -> ClusterTopicDirectory {
        let create = settings.topic_creation().into_iter().collect();
        let cluster = cluster.share(ClusterSettings { create, ..settings.cluster() });
        ClusterTopicDirectory { cluster, store: settings.store_failure() }
    }

    fn described(&self, name: &str, deadline: Instant) -> Result<Option<Topic>> {
        let described = self.cluster.describe(Some(&[name]), deadline).and_then(|found| found.topic(name));
        Ok(described.map_err(|error| self.silent(error))?.map(topic))
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
        let found = self.described(name, deadline)?;
        let create = self.cluster.settings().create.iter().find(|create| create.name == name);
        match create.filter(|_| found.is_none()) {
            Some(create) => {
                self.cluster.create_missing(create, deadline).map_err(|error| self.silent(error))?;
                self.described(name, deadline)
            }
            None => Ok(found),
        }
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
