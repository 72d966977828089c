//! A modern client of a Kafka cluster on blocking sockets and plain threads.
//!
//! - [`connection`]: one connection to one broker
//! - [`settings`]: how it is reached, and what may be created there
//! - [`metadata`]: brokers, topics and leaders, cached and refreshed
//! - [`description`]: brokers, topics and replicas, for who looks at them from outside
//! - [`producing`]: idempotent producing with `acks=all`
//! - [`fetching`]: records of several brokers at once
//! - [`offsets`]: the log's own offsets (earliest, latest, by time)
//! - [`coordinator`]: a group's coordinator: membership and committed offsets
//! - [`groups`]: the groups of a cluster, for who looks at them from outside
//! - [`assignor`]: who gets which partition
//!
//! Nothing here knows of the `kafka` crate or of HTTP.

pub mod assignor;
pub mod connection;
pub mod coordinator;
pub mod description;
pub mod error;
pub mod fetching;
pub mod groups;
pub mod metadata;
pub mod offsets;
pub mod producing;
pub mod settings;

pub use error::{Error, Result};
pub use metadata::Cluster;
pub use settings::{ClusterSettings, TopicCreation};

use std::time::{Duration, Instant};

/// The first wait before a failed call is tried again; it doubles up to [`MAX_BACKOFF`].
const FIRST_BACKOFF: Duration = Duration::from_millis(20);
/// The longest wait between two tries.
const MAX_BACKOFF: Duration = Duration::from_millis(500);

/// How much longer an answer is awaited than the broker was told to take for it.
const READ_MARGIN: Duration = Duration::from_secs(2);

/// The waits between the tries of one call.
#[derive(Debug)]
pub struct Backoff(Duration);

impl Default for Backoff {
    fn default() -> Self {
        Backoff(FIRST_BACKOFF)
    }
}

impl Backoff {
    /// How long to wait now; the next wait is twice as long.
    pub fn wait(&mut self) -> Duration {
        let now = self.0;
        self.0 = (now * 2).min(MAX_BACKOFF);
        now
    }
}

/// Tries again on what may pass until `deadline`.
///
/// # Errors
/// What lasts, or the last trouble.
pub fn in_time<T>(cluster: &Cluster, deadline: Instant, mut ask: impl FnMut() -> Result<T>) -> Result<T> {
    let mut backoff = Backoff::default();
    loop {
        // A try without time would hide what the trouble is.
        let wait = backoff.wait();
        match ask() {
            Err(error) if !error.is_lasting() && !cluster.stopping() && Instant::now() + wait < deadline => {
                log::debug!("{error}; asking again");
                std::thread::sleep(wait);
            }
            outcome => return outcome,
        }
    }
}
