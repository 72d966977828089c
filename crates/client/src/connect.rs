//! Connections to the brokers of a cluster: to a node, to whichever answers, and the first contact of a
//! program.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::connection::Connection;
use super::diagnosis;
use super::error::{Cause, Error, Result};
use super::metadata::Cluster;
use net::sync::lock;

impl Cluster {
    /// Opens a connection to a node by its id, at the address that the cluster advertises for it.
    ///
    /// # Errors
    /// [`Error::Unreachable`]; also when the node is unknown.
    pub fn connect(&self, node: i32, client_id: &str, deadline: Instant) -> Result<Connection> {
        let address = self.known().brokers.get(&node).cloned();
        let address = address.ok_or_else(|| self.unreachable(Cause::UnknownNode(node)))?;
        self.connect_to(&address, client_id, deadline)
    }

    /// Opens a connection to a broker at an address that the cluster has named.
    ///
    /// # Errors
    /// [`Error::Unreachable`]. The first time it is logged where the settings do not name that address, or
    /// where waiting alone does not help.
    pub fn connect_to(&self, address: &str, client_id: &str, deadline: Instant) -> Result<Connection> {
        let opened = self.open(address, client_id, self.time_left(deadline)?);
        let advertised = !self.settings.bootstrap_servers.iter().any(|named| named == address);
        opened.map_err(|error| {
            let error = if advertised { error.advertised() } else { error };
            let is_news = (advertised || error.needs_mending()) && !self.silent.load(Ordering::Relaxed);
            // What a quiet handle says counts for nobody.
            let is_heard = self.outage_level.0 == log::Level::Warn;
            if is_news && (!is_heard || lock(&self.shared.reachability).tell(address)) {
                log::log!(self.outage_level.0, "{error}; trying until it can");
            }
            error
        })
    }

    /// Opens a connection to whichever broker answers first.
    ///
    /// # Errors
    /// [`Error::NoBroker`] when none does.
    pub fn connect_any(&self, client_id: &str, deadline: Instant) -> Result<Connection> {
        let candidates = self.candidates();
        let mut tried = Vec::new();
        for (index, address) in candidates.iter().enumerate() {
            let share = self.time_left(deadline)? / u32::try_from(candidates.len() - index).unwrap_or(1);
            match self.open(address, client_id, share) {
                Ok(connection) => {
                    if self.silent.swap(false, Ordering::Relaxed) {
                        log::log!(self.outage_level.1, "{address} answers");
                    }
                    return Ok(connection);
                }
                Err(error) => tried.push(error),
            }
        }
        let error = Error::NoBroker { tried };
        let told = lock(&self.shared.reachability).are_told(&candidates);
        if !told && !self.silent.swap(true, Ordering::Relaxed) {
            log::log!(self.outage_level.0, "no broker answers, trying until one does: {error}");
        }
        Err(error)
    }

    /// Why one of the cluster's brokers cannot be reached now, if one of them cannot.
    pub fn trouble(&self) -> Option<Error> {
        let addresses = self.addresses();
        lock(&self.shared.reachability).trouble(addresses.iter().map(String::as_str))
    }

    /// Since when no broker can be reached, if that is known: each was tried and failed, and none was reached
    /// since.
    pub fn outage(&self) -> Option<Instant> {
        let addresses = self.addresses();
        lock(&self.shared.reachability).outage(addresses.iter().map(String::as_str))
    }

    /// Opens a connection, unless the address is to be left alone for a while.
    fn open(&self, address: &str, client_id: &str, timeout: Duration) -> Result<Connection> {
        let began = Instant::now();
        if let Some(error) = lock(&self.shared.reachability).held(address, began) {
            return Err(error);
        }
        let opened = diagnosis::open(address, client_id, &self.settings.security, timeout);
        match &opened {
            Ok(_) => self.heard(address),
            Err(error) => {
                lock(&self.shared.reachability).failed(address, error, began, Instant::now());
            }
        }
        opened
    }

    /// Takes note of an answer from this address, over a new connection or an old one.
    pub(crate) fn heard(&self, address: &str) {
        let was_told = lock(&self.shared.reachability).reached(address, Instant::now());
        if was_told {
            log::log!(self.outage_level.1, "broker {address} can be reached again");
        }
    }

    /// All addresses known; those that failed longest ago, or never, come first.
    fn candidates(&self) -> Vec<String> {
        let mut candidates = self.addresses();
        let reachability = lock(&self.shared.reachability);
        candidates.sort_by_key(|address| reachability.failed_at(address));
        candidates
    }

    /// All addresses known: those that the cluster advertises, and those of the settings.
    pub(crate) fn addresses(&self) -> Vec<String> {
        let mut addresses: Vec<String> = self.known().brokers.values().cloned().collect();
        for bootstrap in &self.settings.bootstrap_servers {
            if !addresses.contains(bootstrap) {
                addresses.push(bootstrap.clone());
            }
        }
        addresses
    }

    fn time_left(&self, deadline: Instant) -> Result<Duration> {
        let left = deadline.saturating_duration_since(Instant::now()).min(self.settings.request_timeout);
        if left.is_zero() { Err(self.unreachable(Cause::NoTimeLeft)) } else { Ok(left) }
    }

    pub(crate) fn unreachable(&self, cause: Cause) -> Error {
        Error::Unreachable { broker: self.settings.bootstrap_servers.join(","), cause }
    }
}
