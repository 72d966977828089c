//! Metadata and GroupCoordinator: the adapter is the only broker and every group's coordinator.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::NODE_ID;
use super::session::Session;
use client::Cluster;
use client::metadata::Topic;
use net::sync::lock;
use protocol::error_code::ErrorCode;
use protocol::v0::remark::Remark;
use protocol::v0::response::{self, Broker, PartitionMetadata, TopicMetadata};

/// The longest wait for the cluster's metadata.
const WAIT: Duration = Duration::from_secs(5);

/// The longest wait for news of a topic where no broker could be reached lately: a program's message is
/// refused half a second after it has come in an outage. A network may be slower than that, so every now and
/// then the wait is as long as ever.
const OUTAGE_WAIT: Duration = Duration::from_millis(250);
const PATIENT_EVERY: Duration = Duration::from_secs(10);

/// A topic, or why it cannot be told of.
type Found = Result<Arc<Topic>, Remark>;

/// Answers Metadata: the topics' real partitions, all led by the adapter. A topic whose leader is away is
/// listed too: the crate would never fetch a partition that it once saw without a leader. A look-up of all
/// topics creates none.
pub fn metadata(session: &Session, id: i32, names: &[String]) -> Vec<u8> {
    let deadline = Instant::now() + WAIT;
    let found = if names.is_empty() { all(session, deadline) } else { each(session, names, deadline) };
    let failed = found.iter().filter(|_| session.client.is_ours());
    let remarks: Vec<String> = failed.filter_map(|(_, found)| Some(found.as_ref().err()?.name())).collect();
    let mut topics = Vec::with_capacity(found.len() + remarks.len());
    for (name, found) in &found {
        topics.push(match found {
            Ok(topic) => listed(name, topic),
            // The code of what may be there soon; a broker answers, after all.
            Err(Remark { code: ErrorCode::BROKER_NOT_AVAILABLE, .. }) => {
                unlisted(name, ErrorCode::LEADER_NOT_AVAILABLE)
            }
            Err(remark) => unlisted(name, remark.code),
        });
    }
    topics.extend(remarks.iter().map(|name| unlisted(name, ErrorCode::NONE)));
    let host = session.local.ip().to_string();
    response::metadata(id, &[broker(&host, session.local.port())], &topics)
}

fn all(session: &Session, deadline: Instant) -> Vec<(String, Found)> {
    let all = session.shared.cluster.all_topics(deadline).unwrap_or_else(|error| {
        log::debug!("metadata for {}: {error}", session.client.shown());
        Vec::new()
    });
    all.into_iter().map(|(name, topic)| (name, Ok(topic))).collect()
}

fn each(session: &Session, names: &[String], deadline: Instant) -> Vec<(String, Found)> {
    names.iter().map(|name| (name.clone(), find(session, name, deadline))).collect()
}

/// A topic that a client has named. It is created where the settings say so, and for programs of others where
/// the brokers do that for every client.
fn find(session: &Session, name: &str, deadline: Instant) -> Found {
    let cluster = &session.shared.cluster;
    let is_outage = cluster.outage().is_some();
    let deadline = if is_outage { outage_deadline(session, deadline) } else { deadline };
    let creation = cluster.settings().create.iter().find(|creation| creation.name == name);
    let refused = creation.and_then(|creation| cluster.create_missing(creation, deadline).err());
    refused.iter().for_each(|error| cluster.tell_refusal(error));
    if let Some(error) = refused.as_ref().filter(|error| is_outage && error.code().is_none()) {
        return Err(told(error));
    }
    let found = look_up(cluster, name, is_outage, deadline).and_then(|found| match found {
        None if !session.client.is_ours() => on_demand(session, name, deadline),
        found => Ok(found),
    });
    let missing = |text: String| Remark { code: ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, text };
    match (found, refused) {
        (Ok(Some(topic)), _) => Ok(topic),
        (Ok(None), Some(error)) if error.is_lasting() => {
            Err(missing(format!("topic {name} cannot be created: {error}")))
        }
        (Ok(None), Some(error)) => Err(told(&error)),
        (Ok(None), None) if session.shared.kept_from_creation.iter().any(|kept| kept == name) => {
            Err(missing(format!(
                "there is no topic {name}, and kafka.create_topic = false keeps it from being created"
            )))
        }
        (Ok(None), None) => Err(missing(format!("there is no topic {name}"))),
        (Err(error), _) => {
            cluster.tell_refusal(&error);
            Err(told(&error))
        }
    }
}

/// An error in its own words.
fn told(error: &client::Error) -> Remark {
    Remark { code: error.code().unwrap_or(ErrorCode::BROKER_NOT_AVAILABLE), text: error.to_string() }
}

fn outage_deadline(session: &Session, deadline: Instant) -> Instant {
    let mut last = lock(&session.shared.patient_look_up);
    let now = Instant::now();
    if last.is_none_or(|last| now.saturating_duration_since(last) >= PATIENT_EVERY) {
        *last = Some(now);
        return deadline;
    }
    deadline.min(now + OUTAGE_WAIT)
}

/// The topic as the cluster has it. What is known is old news where no broker could be reached since.
fn look_up(
    cluster: &Cluster,
    name: &str,
    is_outage: bool,
    deadline: Instant,
) -> client::Result<Option<Arc<Topic>>> {
    if is_outage {
        cluster.refresh(&[name], cluster.deadline(deadline))?;
    }
    cluster.topic(name, deadline)
}

fn on_demand(session: &Session, name: &str, deadline: Instant) -> client::Result<Option<Arc<Topic>>> {
    let cluster = &session.shared.cluster;
    let created = session.shared.on_demand.find(cluster, name, deadline)?;
    if created.is_some() {
        log::info!("topic {name} was created by the brokers, as {} asks for it", session.client.shown());
    }
    Ok(created.and_then(|_| cluster.cached(name)))
}

/// Answers GroupCoordinator with the same host as [`metadata`], so that the crate keeps to one connection.
pub fn group_coordinator(session: &Session, id: i32) -> Vec<u8> {
    let host = session.local.ip().to_string();
    response::group_coordinator(id, Ok(broker(&host, session.local.port())))
}

/// Answers Metadata with one code for every topic named.
pub fn refused(id: i32, local: SocketAddr, names: &[String], code: ErrorCode) -> Vec<u8> {
    let topics: Vec<_> = names.iter().map(|name| unlisted(name, code)).collect();
    response::metadata(id, &[broker(&local.ip().to_string(), local.port())], &topics)
}

fn broker(host: &str, port: u16) -> Broker<'_> {
    Broker { node_id: NODE_ID, host, port }
}

fn listed<'a>(name: &'a str, topic: &Topic) -> TopicMetadata<'a> {
    let partition = |index| PartitionMetadata { error: ErrorCode::NONE, partition: index, leader: NODE_ID };
    let count = i32::try_from(topic.leaders.len()).unwrap_or(i32::MAX);
    TopicMetadata { error: ErrorCode::NONE, name, partitions: (0..count).map(partition).collect() }
}

fn unlisted(name: &str, error: ErrorCode) -> TopicMetadata<'_> {
    TopicMetadata { error, name, partitions: Vec::new() }
}
