//! What there is in the cluster, in the words of the REST API.

use serde_json::{Value, json};

use super::{Place, no_partition, no_topic, partition_number, topic_called};
use crate::http::answer::Answer;
use crate::http::look_ups::{Found, Known, Partition, Question, Topic};

/// What an answer shows of what was found.
pub(super) enum Show {
    /// All of it.
    All,
    /// The topic of this name.
    Topic(String),
    /// Its partitions.
    Partitions,
    /// One of them.
    Partition(i32),
}

/// What has to be asked for a place.
///
/// # Errors
/// The answer, where it is known without asking.
pub(super) fn question(place: Place<'_>) -> Result<(Question, Show), Answer> {
    Ok(match place {
        Place::Topics => (Question::Topics, Show::All),
        Place::Brokers => (Question::Brokers, Show::All),
        Place::Topic(part) => {
            let topic = topic_called(part)?;
            (Question::Topic(topic.clone()), Show::Topic(topic))
        }
        Place::Partitions(part) => (Question::Topic(topic_called(part)?), Show::Partitions),
        Place::Partition(part, number) => {
            let topic = topic_called(part)?;
            (Question::Topic(topic), Show::Partition(partition_number(number)?))
        }
    })
}

/// The answer to a question.
pub(super) fn answer(found: Found, show: Show) -> Answer {
    let body = match found {
        Ok(Known::Topics(names)) => json!(*names),
        Ok(Known::Brokers(brokers)) => json!({"brokers": *brokers}),
        Ok(Known::Topic(Some(topic))) => match of_topic(&topic, show) {
            Some(body) => body,
            None => return no_partition(),
        },
        Ok(Known::Topic(None)) => return no_topic("There is no such topic."),
        Err(reason) => {
            return Answer::error(503, "no_broker", &format!("The cluster cannot be asked: {reason}."));
        }
    };
    Answer::json(200, body.to_string().into_bytes())
}

fn of_topic(topic: &Topic, show: Show) -> Option<Value> {
    let all = || topic.partitions.iter().map(partition).collect::<Vec<_>>();
    match show {
        Show::All => None,
        Show::Topic(name) => Some(json!({"name": name, "configs": {}, "partitions": all()})),
        Show::Partitions => Some(all().into()),
        Show::Partition(number) => topic.partitions.iter().find(|p| p.number == number).map(partition),
    }
}

/// A partition without a leader has -1 for it, as in Kafka's protocol.
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
        let found = || Ok(Known::Topic(Some(Arc::new(topic.clone()))));
        let shown = |show| serde_json::from_slice::<Value>(&answer(found(), show).body).unwrap();
        let replicas = |two| json!([{"broker": 1, "leader": false, "in_sync": false}, {"broker": 2, "leader": two, "in_sync": true}]);
        let first = json!({"partition": 0, "leader": 2, "replicas": replicas(true)});
        let second = json!({"partition": 1, "leader": -1, "replicas": replicas(false)});
        assert_eq!(
            shown(Show::Topic("t".to_owned())),
            json!({"name": "t", "configs": {}, "partitions": [first, second]})
        );
        assert_eq!(shown(Show::Partitions), json!([first, second]));
        assert_eq!(shown(Show::Partition(1)), second);
        assert_eq!(shown(Show::Partition(2))["error_code"], 40402);
    }
}
