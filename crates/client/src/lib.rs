//! A modern client of a Kafka cluster on blocking sockets and plain threads.
//!
//! - [`connection`]: one connection to one broker
//! - [`versioned_request`]: the requests, each in one version
//! - [`sasl`]: who this client is to a broker, and until when
//! - [`settings`]: how it is reached, and what may be created there
//! - [`metadata`]: brokers, topics and leaders, cached and refreshed
//! - [`rights`]: whether the user may do what a program is about to
//! - [`admin`]: what an administrator changes: topics, partitions, configurations
//! - [`configs`]: the configuration of topics; `batch_limit`: what a topic takes at most
//! - [`topics_on_demand`]: topics that brokers create for every client
//! - [`declared_topics`]: the topics that the settings name
//! - [`describe`]: brokers, topics, replicas and groups, as an observer sees them
//! - [`producer`]: idempotent producing with `acks=all`
//! - [`fetch`]: records of several brokers at once
//! - [`offsets`]: the log's own offsets (earliest, latest, by time)
//! - [`coordinator`]: a group's coordinator: membership and committed offsets
//! - [`assignor`]: which member gets which partition
//! - [`group_member`]: a member of a group: it joins, heartbeats, fetches ahead and commits
//!
//! Nothing here knows of the `kafka` crate or of HTTP.

pub mod admin;
pub mod assignor;
pub mod authorization;
mod batch_limit;
pub mod configs;
mod connect;
pub mod connection;
pub mod coordinator;
pub mod declared_topics;
pub mod describe;
mod diagnosis;
pub mod error;
pub mod fetch;
mod first_contact;
pub mod group_member;
pub mod metadata;
pub mod offsets;
mod probes;
pub mod producer;
mod reachability;
pub mod request_context;
pub mod rights;
pub mod sasl;
pub mod security;
pub mod settings;
pub mod topic_id;
pub mod topics_on_demand;
mod transport;
pub mod versioned_request;

pub use error::{Error, Result};
pub use metadata::Cluster;
pub use request_context::RequestContext;
pub use security::Security;
pub use settings::{ClusterSettings, TopicCreation};

use std::time::{Duration, Instant};

use net::backoff::Backoff;

/// The client id of look-ups, which no member and no producer of a program makes.
pub const LOOK_UPS: &str = "point-to-point";

/// How much longer an answer is awaited than the broker was told to take for it.
const READ_MARGIN: Duration = Duration::from_secs(2);

/// The waits between the tries of one call: from 20 ms to 500 ms.
pub fn backoff() -> Backoff {
    Backoff::new(Duration::from_millis(20), Duration::from_millis(500))
}

/// Repeats a call until `deadline` after errors that may pass.
///
/// # Errors
/// The first error that lasts, or the last error before `deadline`.
pub fn in_time<T>(cluster: &Cluster, deadline: Instant, mut ask: impl FnMut() -> Result<T>) -> Result<T> {
    let mut backoff = backoff();
    loop {
        // A try without time would hide what the error is.
        let wait = backoff.next_wait();
        match ask() {
            Err(error) if !error.is_lasting() && !cluster.stopping() && Instant::now() + wait < deadline => {
                log::debug!("{error}; asking again");
                cluster.pause(wait);
            }
            outcome => return outcome,
        }
    }
}
