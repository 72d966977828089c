//! Topics, partitions and brokers in the form of the REST API.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::errors::{no_broker, partition_not_found, topic_not_found};
use super::path::{partition_of, topic_of};
use super::route::RestRoute;
use crate::http::api::metadata_cache::{
    Metadata, MetadataRequest, MetadataResult, Partition, PartitionOffsets, Topic,
};
use crate::http::response::Response;

/// The part of the metadata that a response shows.
pub(super) enum MetadataView {
    /// All of it.
    All,
    /// The topic of this name.
    Topic(String),
    /// All partitions of the topic.
    Partitions,
    /// A single partition of the topic.
    Partition(i32),
    /// The offsets of a partition.
    Offsets,
}

/// The metadata that a route needs.
///
/// # Errors
/// The response, where it is known without asking the cluster.
pub(super) fn request(route: RestRoute<'_>) -> Result<(MetadataRequest, MetadataView), Response> {
    Ok(match route {
        RestRoute::Topics => (MetadataRequest::Topics, MetadataView::All),
        RestRoute::Brokers => (MetadataRequest::Brokers, MetadataView::All),
        RestRoute::Topic(part) => {
            let topic = topic_of(part)?;
            (MetadataRequest::TopicWithConfigs(topic.clone()), MetadataView::Topic(topic))
        }
        RestRoute::Partitions(part) => (MetadataRequest::Topic(topic_of(part)?), MetadataView::Partitions),
        RestRoute::Partition(part, number) => {
            let topic = topic_of(part)?;
            (MetadataRequest::Topic(topic), MetadataView::Partition(partition_of(number)?))
        }
        RestRoute::Raw(_) | RestRoute::Messages(_) | RestRoute::Message(..) => {
            return Err(Response::method_not_allowed(route.methods()));
        }
        RestRoute::Offsets(part, number) => {
            (MetadataRequest::Offsets(topic_of(part)?, partition_of(number)?), MetadataView::Offsets)
        }
    })
}

/// The response with the requested part of the metadata.
pub(super) fn response(result: MetadataResult, view: MetadataView) -> Response {
    let body = match result {
        Ok(Metadata::Topics(names)) => json!(*names),
        Ok(Metadata::Brokers(brokers)) => json!({"brokers": *brokers}),
        Ok(Metadata::Topic(Some(topic))) => match of_topic(&topic, &view) {
            Some(body) => body,
            None => return partition_not_found(),
        },
        Ok(Metadata::TopicWithConfigs(Some(found))) => with_configs(&found.0, &found.1, &view),
        Ok(Metadata::Offsets(Some(_), Some(PartitionOffsets { beginning, end }))) => {
            json!({"beginning_offset": beginning, "end_offset": end})
        }
        Ok(Metadata::Offsets(Some(_), None)) => return partition_not_found(),
        Ok(Metadata::Topic(None) | Metadata::TopicWithConfigs(None) | Metadata::Offsets(None, _)) => {
            return topic_not_found("There is no such topic.");
        }
        Err(reason) => return no_broker(&format!("The cluster cannot be asked: {reason}.")),
    };
    Response::json(200, body.to_string().into_bytes())
}

fn of_topic(topic: &Topic, view: &MetadataView) -> Option<Value> {
    match view {
        MetadataView::Partitions => Some(partitions(topic)),
        MetadataView::Partition(number) => {
            topic.partitions.iter().find(|p| p.number == *number).map(partition)
        }
        MetadataView::All | MetadataView::Topic(_) | MetadataView::Offsets => None,
    }
}

fn with_configs(topic: &Topic, configs: &BTreeMap<String, String>, view: &MetadataView) -> Value {
    let name = if let MetadataView::Topic(name) = view { name.as_str() } else { "" };
    json!({"name": name, "configs": configs, "partitions": partitions(topic)})
}

fn partitions(topic: &Topic) -> Value {
    topic.partitions.iter().map(partition).collect()
}

/// A partition as JSON; without a leader it has -1 for it, as in Kafka's protocol.
fn partition(partition: &Partition) -> Value {
    let replica = |broker: &i32| {
        json!({
            "broker": broker,
            "leader": partition.leader == Some(*broker),
            "in_sync": partition.in_sync.contains(broker),
        })
    };
    let replicas: Vec<Value> = partition.replicas.iter().map(replica).collect();
    json!({"partition": partition.number, "leader": partition.leader.unwrap_or(-1), "replicas": replicas})
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn a_topic_is_shown_with_its_partitions_and_replicas() {
        let partition = |number, leader| Partition { number, leader, replicas: vec![1, 2], in_sync: vec![2] };
        let topic = Topic { internal: false, partitions: vec![partition(0, Some(2)), partition(1, None)] };
        let found = || Ok(Metadata::Topic(Some(Arc::new(topic.clone()))));
        let read = |response: Response| serde_json::from_slice::<Value>(&response.body).unwrap();
        let shown = |view| read(response(found(), view));
        let configs = BTreeMap::from([("retention.ms".to_owned(), "1000".to_owned())]);
        let with_configs = Ok(Metadata::TopicWithConfigs(Some(Arc::new((topic.clone(), configs)))));
        let replica = |broker, leader| json!({"broker": broker, "leader": leader, "in_sync": broker == 2});
        let replicas = |two: bool| json!([replica(1, false), replica(2, two)]);
        let first = json!({"partition": 0, "leader": 2, "replicas": replicas(true)});
        let second = json!({"partition": 1, "leader": -1, "replicas": replicas(false)});
        assert_eq!(
            read(response(with_configs, MetadataView::Topic("t".to_owned()))),
            json!({"name": "t", "configs": {"retention.ms": "1000"}, "partitions": [first, second]})
        );
        assert_eq!(shown(MetadataView::Partitions), json!([first, second]));
        assert_eq!(shown(MetadataView::Partition(1)), second);
        assert_eq!(shown(MetadataView::Partition(2))["error_code"], 40402);
    }
}
