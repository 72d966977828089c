//! The embedded broker: a Kafka cluster of one node inside our own processes, stored in one file.
//!
//! - [`failover`]: the process that holds the database's lock serves, the others stand by;
//!   [`failure_notice`]: tells the other processes why the store has failed; [`holder_watch`]: what the
//!   process that serves tells of itself
//! - [`server`]: a serving node; [`connection`]: requests of one connection; [`dispatch`]: from bytes to a
//!   handler
//! - [`requests`]: one file for each request, with its API key, its versions and its handler;
//!   [`request_context`]: the client and the header of a request; [`topic_config`],
//!   [`node_config`]: configurations
//! - [`free_space`]: the room on the file system of the database; [`folder_look`]: that, and the bytes of the
//!   store, for processes that do not serve
//! - [`settings`]: settings and limits of the broker
//! - [`node`]: store, group coordinator and memory budgets that handlers use
//! - [`groups`]: the group coordinator
//! - [`storage`]: topics, record batches, committed offsets, groups and producers, durable in one database

mod connection;
mod dispatch;
mod error;
mod failover;
mod failure_notice;
mod folder_look;
mod free_space;
mod groups;
mod holder_watch;
mod node;
mod node_config;
pub mod request_context;
mod requests;
mod server;
mod settings;
pub mod storage;
#[cfg(test)]
mod tests;
mod topic_config;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

pub use error::Error;
use failover::Failover;
pub use failure_notice::FailureNotice;
pub use folder_look::{free_bytes, store_bytes};
use net::sync::Worker;
pub use settings::BrokerSettings;

/// The embedded broker of this process: it serves, or stands by while another process serves. Dropping it
/// stops it.
pub struct Broker {
    failover: Arc<Failover>,
    /// Takes over from a holder that has ended, and reopens a store that has failed.
    standby: Option<Worker>,
    address: SocketAddr,
}

impl Broker {
    /// Serves if no other process does; else waits until one does, and stands by. Requests are served when
    /// this returns. A thread takes over later when the other process ends.
    ///
    /// # Errors
    /// See [`Error`]. Nothing is left behind.
    pub fn start(settings: BrokerSettings) -> Result<Broker, Error> {
        let data_dir = settings.data_dir.clone();
        let failover = Arc::new(Failover::new(settings)?);
        let own_address = failover.try_to_serve(Duration::ZERO)?;
        let unknown = SocketAddr::from(([0; 4], 0));
        let mut broker = Broker { failover, standby: None, address: own_address.unwrap_or(unknown) };
        let failover = broker.failover.clone();
        let standby = Worker::start_with("broker-failover", failover.stop(), move |_| failover.run());
        broker.standby = Some(standby.map_err(Error::Thread)?);
        if own_address.is_some() {
            log::info!("broker: serving {} at {}", data_dir.display(), broker.address);
            return Ok(broker);
        }
        broker.address = broker.failover.wait_until_served()?;
        log::info!("broker: {} is served at {}; standing by", data_dir.display(), broker.address);
        Ok(broker)
    }

    /// Whether what listens at the address of `settings` is the process that serves their store, and not
    /// another program. Nothing is created or written for the answer.
    ///
    /// # Errors
    /// [`Error::Listen`]: it is another program, as nothing is stored there that could be served, or the name
    /// has no address.
    pub fn is_served(settings: &BrokerSettings) -> Result<bool, Error> {
        if !settings.data_dir.try_exists().unwrap_or(true) {
            let source = std::io::Error::from(std::io::ErrorKind::AddrInUse);
            return Err(Error::Listen { listen: settings.listen.clone(), source });
        }
        Ok(Failover::new(settings.clone())?.is_served())
    }

    /// The address at which the broker can be reached, whichever process serves.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether this process serves.
    pub fn is_serving(&self) -> bool {
        self.failover.is_serving()
    }

    /// Stops serving or standing by. When this returns, requests in hand are answered, connections are
    /// closed, and another process can open the database.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.failover.ask_to_stop();
        self.standby.take();
        self.failover.stop_serving();
    }
}
