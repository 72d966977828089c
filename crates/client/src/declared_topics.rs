//! The topics that the settings name: created where they are missing, and compared where they are there. What
//! differs is said and stays: a topic may have been altered since.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use net::backoff::Backoff;

use super::LOOK_UPS;
use super::configs::{self, TopicConfig};
use super::describe::TopicDescription;
use super::error::Result;
use super::metadata::Cluster;
use super::settings::TopicCreation;
use protocol::error_code::ErrorCode;

/// How long one try with a topic may take, and the waits between the tries.
const TRY: Duration = Duration::from_secs(10);
const PAUSES: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));

/// Refusals that only other settings mend.
const OF_THE_SETTINGS: [ErrorCode; 4] = [
    ErrorCode::INVALID_CONFIG,
    ErrorCode::INVALID_PARTITIONS,
    ErrorCode::POLICY_VIOLATION,
    ErrorCode::INVALID_TOPIC_EXCEPTION,
];

/// Topics that are to exist.
#[derive(Debug, Clone, Default)]
pub struct DeclaredTopics {
    /// The topics; what is -1 in them is as the brokers have it.
    pub topics: Vec<TopicCreation>,
    /// How those are created that are created where a program asks for them, too: whoever comes first, it is
    /// the same.
    pub created: Vec<TopicCreation>,
    /// Whether those that are missing may be created.
    pub create: bool,
    /// Whether the cluster is one node and stays so: no broker comes that would take a second replica.
    pub on_one_node: bool,
}

impl DeclaredTopics {
    /// Creates what is missing and says what differs, however long it takes until brokers answer. Ends early
    /// when `cluster` is asked to stop.
    pub fn establish(&self, cluster: &Cluster) {
        let mut left: Vec<&TopicCreation> = self.topics.iter().collect();
        let mut pauses = PAUSES;
        let mut is_told = false;
        loop {
            left.retain(|topic| !cluster.stopping() && !self.is_settled(cluster, topic, &mut is_told));
            if left.is_empty() || cluster.pause(pauses.next_wait()) {
                return;
            }
        }
    }

    /// Whether nothing more can be done for a topic. A refusal that may pass is told once, for all of them.
    fn is_settled(&self, cluster: &Cluster, topic: &TopicCreation, is_told: &mut bool) -> bool {
        match self.check(cluster, topic) {
            Ok(differences) => {
                for difference in differences {
                    log::warn!("topic {} of the settings: {difference}", topic.name);
                }
                true
            }
            Err(error) if error.code().is_some_and(|code| self.is_of_the_settings(code)) => {
                log::error!("topic {} of the settings cannot be created: {error}", topic.name);
                true
            }
            Err(error) => {
                // Brokers that are missing yet may come, and so may rights.
                let is_new = !std::mem::replace(is_told, true);
                let level = if error.is_lasting() && is_new { log::Level::Warn } else { log::Level::Debug };
                log::log!(level, "topic {} of the settings: {error}; trying again", topic.name);
                false
            }
        }
    }

    /// Whether only other settings mend a refusal. Brokers that more replicas need may come yet.
    fn is_of_the_settings(&self, code: ErrorCode) -> bool {
        OF_THE_SETTINGS.contains(&code) || self.on_one_node && code == ErrorCode::INVALID_REPLICATION_FACTOR
    }

    fn check(&self, cluster: &Cluster, topic: &TopicCreation) -> Result<Vec<String>> {
        let deadline = Instant::now() + TRY;
        let found = cluster.describe(Some(&[&topic.name]), deadline)?.topic(&topic.name)?;
        match found {
            Some(found) => {
                let told = configs::of_topics(cluster, LOOK_UPS, &[&topic.name], deadline);
                let told = told.and_then(|mut told| told.remove(&topic.name).unwrap_or(Ok(Vec::new())));
                let configs = told.inspect_err(|error| log::debug!("{error}")).unwrap_or_default();
                Ok(differences(topic, &found, &configs))
            }
            None if self.create => {
                let own = self.created.iter().find(|created| created.name == topic.name);
                cluster.create_missing(own.unwrap_or(topic), deadline).map(|()| Vec::new())
            }
            None => Ok(vec!["it is not there, and kafka.create_topic is false".to_owned()]),
        }
    }
}

/// What a topic has that the settings have otherwise. A configuration that is not told is not compared.
fn differences(wanted: &TopicCreation, found: &TopicDescription, configs: &[TopicConfig]) -> Vec<String> {
    let mut differences = Vec::new();
    let mut compare = |what: &str, wanted: i64, found: usize| {
        if usize::try_from(wanted).is_ok_and(|wanted| wanted != found) {
            differences.push(format!("{what} is {found}, not {wanted}; it stays so"));
        }
    };
    compare("the number of partitions", wanted.partitions.into(), found.partitions.len());
    let replicas = found.partitions.first().map_or(0, |partition| partition.replicas.len());
    compare("the number of replicas", wanted.replication_factor.into(), replicas);
    let told = configs.iter();
    let told: BTreeMap<&str, &str> =
        told.filter_map(|config| Some((config.name.as_str(), config.value.as_deref()?))).collect();
    for (name, value) in &wanted.configs {
        if let Some(found) = told.get(name.as_str()).filter(|found| *found != value) {
            differences.push(format!("{name} is {found}, not {value}; it stays so"));
        }
    }
    differences
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::describe::PartitionDescription;

    #[test]
    fn more_replicas_are_waited_for_where_brokers_may_come() {
        let on = |on_one_node| DeclaredTopics { on_one_node, ..DeclaredTopics::default() };
        let code = ErrorCode::INVALID_REPLICATION_FACTOR;
        assert!(on(true).is_of_the_settings(code) && !on(false).is_of_the_settings(code));
        assert!(on(false).is_of_the_settings(ErrorCode::INVALID_CONFIG));
        assert!(!on(true).is_of_the_settings(ErrorCode::NOT_CONTROLLER));
    }

    #[test]
    fn what_a_topic_has_otherwise_is_told_and_what_the_settings_leave_open_is_not() {
        let partition = PartitionDescription { number: 0, leader: None, replicas: vec![1], in_sync: vec![1] };
        let found = TopicDescription {
            name: "audit".to_owned(),
            error: ErrorCode::NONE,
            internal: false,
            partitions: vec![partition],
        };
        let config = |name: &str, value: Option<&str>| TopicConfig {
            name: name.to_owned(),
            value: value.map(str::to_owned),
            own: true,
        };
        let configs =
            vec![config("retention.ms", Some("5")), config("secret", None), config("same", Some("1"))];
        let wanted = |partitions, replication_factor, configs: &[(&str, &str)]| TopicCreation {
            name: "audit".to_owned(),
            partitions,
            beside: None,
            replication_factor,
            configs: configs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        };
        let other = wanted(2, 3, &[("retention.ms", "6"), ("same", "1"), ("secret", "x")]);
        let told = [
            "the number of partitions is 1, not 2; it stays so",
            "the number of replicas is 1, not 3; it stays so",
            "retention.ms is 5, not 6; it stays so",
        ];
        assert_eq!(differences(&other, &found, &configs), told);
        assert!(differences(&wanted(-1, -1, &[]), &found, &configs).is_empty());
    }
}
