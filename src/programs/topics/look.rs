//! The tables of topics, and the same as JSON.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Describe, List};
use crate::error::{Error, Result};
use crate::programs::administration::{deadline, described, lines, print_whole, topic};
use crate::programs::status::{cells, number, shown};
use crate::programs::table::{Table, none};
use client::configs::{self, TopicConfig};
use client::describe::{PartitionDescription, TopicDescription};
use client::offsets::{self, Offsets};
use client::{Cluster, LOOK_UPS};
use protocol::TopicPartition;

/// Prints the topics by name.
///
/// # Errors
/// No broker answers.
pub(super) fn list(cluster: &Cluster, asked: &List) -> Result<()> {
    let mut topics = described(cluster)?.topics;
    topics.retain(|topic| !(asked.exclude_internal && topic.internal));
    print_whole(&match asked.json {
        true => lines(topics.iter().map(listed_json)),
        false if topics.is_empty() => "no topics\n".to_owned(),
        false => listed(&topics),
    })
}

/// Prints what there is to say of some topics, or of all.
///
/// # Errors
/// One of them is not there, or the brokers do not answer.
pub(super) fn describe(cluster: &Cluster, asked: &Describe) -> Result<()> {
    let description = described(cluster)?;
    let topics: Vec<&TopicDescription> = match asked.names.as_slice() {
        [] => description.topics.iter().filter(|topic| !topic.internal).collect(),
        names => names.iter().map(|name| topic(&description, name)).collect::<Result<_>>()?,
    };
    let view = View::of(cluster, topics, asked.all_configs)?;
    print_whole(&match asked.json {
        true => lines(view.topics.iter().map(|topic| view.json(topic))),
        false if view.topics.is_empty() => "no topics\n".to_owned(),
        false => view.text(),
    })
}

/// The replicas of a topic's first partition: a reassignment apart, all have as many.
fn replicas(topic: &TopicDescription) -> usize {
    topic.partitions.first().map_or(0, |partition| partition.replicas.len())
}

fn listed(topics: &[TopicDescription]) -> String {
    let mut rows = vec![cells(&["TOPIC", "PARTITIONS", "REPLICAS"])];
    rows.extend(topics.iter().map(|topic| {
        vec![shown(&topic.name), topic.partitions.len().to_string(), replicas(topic).to_string()]
    }));
    Table::default().text(&rows)
}

fn listed_json(topic: &TopicDescription) -> Value {
    json!({
        "name": topic.name,
        "partitions": topic.partitions.len(),
        "replication_factor": replicas(topic),
        "internal": topic.internal,
    })
}

/// What is described of some topics.
struct View<'a> {
    topics: Vec<&'a TopicDescription>,
    /// The first and the next offsets, of partitions that have a leader.
    starts: Offsets,
    ends: Offsets,
    configs: BTreeMap<String, Vec<TopicConfig>>,
    /// Whether others than the topics' own configurations are shown.
    all_configs: bool,
}

impl<'a> View<'a> {
    fn of(cluster: &Cluster, topics: Vec<&'a TopicDescription>, all_configs: bool) -> Result<View<'a>> {
        let places = topics.iter().flat_map(|topic| {
            topic.partitions.iter().map(|partition| TopicPartition::new(&topic.name, partition.number))
        });
        let [starts, ends] = offsets::bounds(cluster, LOOK_UPS, &places.collect::<Vec<_>>());
        let names: Vec<&str> = topics.iter().map(|topic| topic.name.as_str()).collect();
        let configs = match names.as_slice() {
            [] => BTreeMap::new(),
            names => configs::of_topics(cluster, LOOK_UPS, names, deadline())
                .map_err(|error| Error::new("no answer about the configurations").caused_by(error))?,
        };
        // Whoever may see a topic may not see its configurations, and that is no reason to hide the rest.
        let told = |(name, told): (String, client::Result<_>)| match told {
            Ok(configs) => Some((name, configs)),
            Err(error) => {
                log::error!("the configurations of topic {name} are not told: {error}");
                None
            }
        };
        let configs = configs.into_iter().filter_map(told).collect();
        Ok(View { topics, starts, ends, configs, all_configs })
    }

    fn text(&self) -> String {
        let tables = [self.partitions(), self.configs()];
        let tables = tables.iter().filter(|table| table.len() > 1).map(|table| Table::default().text(table));
        tables.collect::<Vec<_>>().join("\n")
    }

    fn partitions(&self) -> Vec<Vec<String>> {
        let titles = ["TOPIC", "PARTITION", "LEADER", "REPLICAS", "IN-SYNC", "START", "END"];
        let mut rows = vec![cells(&titles)];
        for topic in &self.topics {
            rows.extend(topic.partitions.iter().map(|partition| {
                let (start, end) = self.bounds(topic, partition);
                vec![
                    shown(&topic.name),
                    partition.number.to_string(),
                    number(partition.leader.map(i64::from)),
                    nodes(&partition.replicas),
                    nodes(&partition.in_sync),
                    number(start),
                    number(end),
                ]
            }));
        }
        rows
    }

    fn configs(&self) -> Vec<Vec<String>> {
        let mut rows = vec![cells(&["TOPIC", "CONFIGURATION", "VALUE", "FROM"])];
        for topic in &self.topics {
            let configs = self.configs.get(&topic.name).into_iter().flatten();
            for config in configs.filter(|config| config.own || self.all_configs) {
                let value = config.value.as_deref().map_or_else(|| "(secret)".to_owned(), shown);
                let from = if config.own { "topic" } else { "brokers" };
                rows.push(vec![shown(&topic.name), shown(&config.name), value, from.to_owned()]);
            }
        }
        rows
    }

    fn bounds(
        &self,
        topic: &TopicDescription,
        partition: &PartitionDescription,
    ) -> (Option<i64>, Option<i64>) {
        let place = TopicPartition::new(&topic.name, partition.number);
        (self.starts.get(&place).copied(), self.ends.get(&place).copied())
    }

    fn json(&self, topic: &TopicDescription) -> Value {
        let partition = |partition: &PartitionDescription| {
            let (start, end) = self.bounds(topic, partition);
            json!({
                "partition": partition.number,
                "leader": partition.leader,
                "replicas": partition.replicas,
                "in_sync": partition.in_sync,
                "start": start,
                "end": end,
            })
        };
        // Null where they are not told.
        let configs = |own: bool| {
            let configs = self.configs.get(&topic.name)?.iter().filter(|config| config.own == own);
            let pairs = configs.map(|config| (config.name.clone(), config.value.clone().into()));
            Some(Value::Object(pairs.collect()))
        };
        let configs = |own| configs(own).unwrap_or_default();
        let mut value = json!({
            "name": topic.name,
            "internal": topic.internal,
            "partitions": topic.partitions.iter().map(partition).collect::<Vec<_>>(),
            "configs": configs(true),
        });
        if let Some(object) = value.as_object_mut().filter(|_| self.all_configs) {
            object.insert("other_configs".to_owned(), configs(false));
        }
        value
    }
}

/// Node ids, as Kafka's tools show them.
fn nodes(ids: &[i32]) -> String {
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    if ids.is_empty() { none() } else { ids.join(",") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::error_code::ErrorCode;

    fn orders() -> TopicDescription {
        let partition = |number, leader, in_sync: &[i32]| PartitionDescription {
            number,
            leader,
            replicas: vec![1, 2],
            in_sync: in_sync.to_vec(),
        };
        let partitions = vec![partition(0, Some(1), &[1, 2]), partition(1, None, &[])];
        TopicDescription { name: "orders".to_owned(), error: ErrorCode::NONE, internal: false, partitions }
    }

    fn view(topic: &TopicDescription, all_configs: bool) -> View<'_> {
        let config = |name: &str, value: &str, own| {
            let value = Some(value.to_owned()).filter(|value| !value.is_empty());
            TopicConfig { name: name.to_owned(), value, own }
        };
        let configs = vec![config("retention.ms", "9", true), config("secret", "", false)];
        let first = TopicPartition::new("orders", 0);
        View {
            topics: vec![topic],
            starts: [(first.clone(), 3)].into(),
            ends: [(first, 8)].into(),
            configs: [("orders".to_owned(), configs)].into(),
            all_configs,
        }
    }

    #[test]
    fn a_topic_is_described_with_its_partitions_and_its_own_configurations() {
        let text = "\
TOPIC   PARTITION  LEADER  REPLICAS  IN-SYNC  START  END
orders  0          1       1,2       1,2      3      8
orders  1          -       1,2       -        -      -

TOPIC   CONFIGURATION  VALUE  FROM
orders  retention.ms   9      topic
";
        assert_eq!(view(&orders(), false).text(), text);
        assert_eq!(
            view(&orders(), true).text(),
            format!("{}orders  secret         (secret)  brokers\n", {
                let wider = text.replace("VALUE  FROM", "VALUE     FROM");
                wider.replace("9      topic", "9         topic")
            })
        );
    }

    #[test]
    fn the_same_is_told_as_json() {
        let (topic, first) = (
            orders(),
            json!({"partition": 0, "leader": 1, "replicas": [1, 2],
            "in_sync": [1, 2], "start": 3, "end": 8}),
        );
        let value = view(&topic, true).json(&topic);
        assert_eq!(value["partitions"][0], first);
        assert_eq!(value["partitions"][1]["leader"], Value::Null);
        assert_eq!(value["configs"], json!({"retention.ms": "9"}));
        assert_eq!(value["other_configs"], json!({"secret": null}));
        assert!(view(&topic, false).json(&topic).get("other_configs").is_none());
        let listed = json!({"name": "orders", "partitions": 2, "replication_factor": 2, "internal": false});
        assert_eq!(listed_json(&topic), listed);
    }

    #[test]
    fn topics_are_listed_with_their_partitions_and_replicas() {
        assert_eq!(listed(&[orders()]), "TOPIC   PARTITIONS  REPLICAS\norders  2           2\n");
    }
}
