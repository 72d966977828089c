//! The embedded broker: a Kafka of one node inside our own processes, stored in one file.
//!
//! - [`storage`]: topics, record batches, committed offsets, groups and producers, durable in one database
//! - [`groups`]: the coordinator of consumer groups
//! - [`node`]: what requests are answered from; [`requests`]: one file for each request; [`versions`] of them
//! - [`connection`]: a connection's requests, one by one; [`dispatch`]: from bytes to a handler and back;
//!   [`caller`]: who asks; [`budget`]: memory that connections share
//! - [`lease`]: who serves; [`serving`]: a node at work
//!
//! Whichever process holds the database's lock serves; the others stand by and take over when it ends.

mod budget;
pub mod caller;
mod connection;
mod dispatch;
mod error;
mod groups;
mod lease;
mod node;
mod requests;
mod serving;
pub mod storage;
#[cfg(test)]
mod tests;
mod topic_config;
mod versions;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

pub use error::Error;
use lease::Lease;

/// The largest request accepted, in bytes, as in Kafka (`socket.request.max.bytes`).
const MAX_REQUEST_BYTES: usize = 100 * 1024 * 1024;

/// The largest record batch accepted, in bytes (`message.max.bytes`): Kafka's default, which is as much as clients send
/// by theirs, and room for what such a message gets besides when it becomes a dead letter.
const MAX_BATCH_BYTES: usize = 1_048_588 + 65_536;

/// What a broker serves, and where it keeps it.
#[derive(Debug, Clone)]
pub struct BrokerSettings {
    /// `host:port` to listen on. Clients are told the address over which they came.
    pub listen: String,
    /// The folder of the database.
    pub data_dir: PathBuf,
    /// Record batches whose youngest record is older are removed; `None` keeps them for ever.
    pub retention: Option<Duration>,
    /// A partition with more bytes loses its oldest batches; `None` sets no limit.
    pub retention_bytes: Option<u64>,
    /// Whether a Metadata request that allows it creates the topic it asks for.
    pub auto_create_topics: bool,
    /// Partitions of a topic that is created without a number of its own.
    pub partitions: i32,
}

/// The embedded broker as this process has it: it serves, or stands by while another process does.
pub struct Broker {
    lease: Arc<Lease>,
    standby: Option<JoinHandle<()>>,
    address: SocketAddr,
}

impl Broker {
    /// Serves if no other process does; else waits until one does, and from then on stands by on a thread of
    /// its own. Requests are served when this returns.
    ///
    /// # Errors
    /// See [`Error`]. Nothing is left behind.
    pub fn start(settings: BrokerSettings) -> Result<Broker, Error> {
        let data_dir = settings.data_dir.clone();
        let lease = Arc::new(Lease::new(settings)?);
        if let Some(address) = lease.try_to_serve(Duration::ZERO)? {
            log::info!("broker: serving {} at {address}", data_dir.display());
            return Ok(Broker { lease, standby: None, address });
        }
        let standing_by = lease.clone();
        let standby = std::thread::Builder::new().name("broker-standby".to_owned());
        let standby = standby.spawn(move || standing_by.stand_by()).map_err(Error::Thread)?;
        let broker = Broker { lease, standby: Some(standby), address: SocketAddr::from(([0; 4], 0)) };
        match broker.lease.await_service() {
            Ok(address) => {
                log::info!("broker: {} is served at {address}; standing by", data_dir.display());
                Ok(Broker { address, ..broker })
            }
            Err(error) => {
                broker.stop();
                Err(error)
            }
        }
    }

    /// Where the broker can be reached, whichever process serves.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether it is this process that serves.
    pub fn is_serving(&self) -> bool {
        self.lease.is_serving()
    }

    /// Stops serving or standing by: requests in hand are answered, connections closed, the database free for
    /// another process when this returns.
    pub fn stop(self) {
        self.lease.ask_to_stop();
        if let Some(standby) = self.standby {
            let _ = standby.join();
        }
        self.lease.stop_serving();
    }
}
