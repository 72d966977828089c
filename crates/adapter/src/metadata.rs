//! Metadata and GroupCoordinator: the adapter is the only broker and every group's coordinator.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::NODE_ID;
use super::session::Session;
use client::metadata::Topic;
use protocol::error_code::ErrorCode;
use protocol::v0::response::{self, Broker, PartitionMetadata, TopicMetadata};

/// The longest wait for the cluster's metadata.
const WAIT: Duration = Duration::from_secs(5);

/// Answers Metadata: the topics' real partitions, all led by the adapter. A topic whose leader is away is
/// listed too: the crate would never fetch a partition that it once saw without a leader.
pub fn metadata(session: &Session, id: i32, names: &[String]) -> Vec<u8> {
    let cluster = &session.shared.cluster;
    let deadline = Instant::now() + WAIT;
    for create in &cluster.settings().create {
        let wanted = if names.is_empty() { create.beside.is_none() } else { names.contains(&create.name) };
        if wanted && let Err(error) = cluster.create_missing(create, deadline) {
            cluster.tell_refusal(&error);
        }
    }
    let all = if names.is_empty() { cluster.all_topics(deadline) } else { Ok(Vec::new()) };
    let all = all.unwrap_or_else(|error| {
        log::debug!("metadata for {}: {error}", session.client.shown());
        Vec::new()
    });
    let mut topics: Vec<_> = all.iter().map(|(name, topic)| listed(name, topic)).collect();
    for name in names {
        match cluster.topic(name, deadline) {
            Ok(Some(topic)) => topics.push(listed(name, &topic)),
            Ok(None) => topics.push(unlisted(name, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)),
            Err(error) => {
                cluster.tell_refusal(&error);
                topics.push(unlisted(name, ErrorCode::LEADER_NOT_AVAILABLE));
            }
        }
    }
    let host = session.local.ip().to_string();
    response::metadata(id, &[broker(&host, session.local.port())], &topics)
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
