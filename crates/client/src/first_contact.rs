//! The first contact of a program with its cluster: whether it is worth waiting for.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use kafka_protocol::messages::MetadataResponse;

use super::LOOK_UPS;
use super::diagnosis::{self, closes_at_requests};
use super::error::{Error, Result};
use super::metadata::{Cluster, metadata_request};
use super::security::Security;

/// The wait before a broker is asked again that closed the connection at the first request: it may have been
/// stopping.
const ASK_AGAIN: Duration = Duration::from_millis(200);

impl Cluster {
    /// Asks all brokers that the settings name at once, and ends as soon as one of them can be used, or may
    /// be some time later: one that does not answer is waited for by whoever needs it. What the first one
    /// tells of the cluster is kept.
    ///
    /// # Errors
    /// [`Error::NoBroker`]: none of them can be used with these settings, however long one waits. Comes
    /// within `patience`.
    pub fn first_contact(&self, patience: Duration) -> Result<()> {
        let servers = &self.settings.bootstrap_servers;
        let (sender, outcomes) = mpsc::channel();
        for server in servers {
            let (server, security, sender) = (server.clone(), self.settings.security.clone(), sender.clone());
            let contact = move || {
                // Nobody listens any more once one of the others has decided.
                let _ = sender.send(contact(&server, &security, patience));
            };
            let started = thread::Builder::new().name("first-contact".to_owned()).spawn(contact);
            if let Err(error) = started {
                log::warn!("the thread first-contact cannot be started: {error}");
                return Ok(());
            }
        }
        drop(sender);
        let mut tried = Vec::new();
        let deadline = Instant::now() + patience;
        while tried.len() < servers.len() {
            match outcomes.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(Ok(answer)) => {
                    self.learn(&answer);
                    return Ok(());
                }
                Ok(Err(error)) if error.needs_mending() => tried.push(error),
                Ok(Err(error)) => {
                    log::debug!("first contact: {error}");
                    return Ok(());
                }
                Err(_) => return Ok(()),
            }
        }
        if tried.is_empty() { Ok(()) } else { Err(Error::NoBroker { tried }) }
    }
}

/// Opens a connection and asks for the brokers of the cluster.
fn contact(server: &str, security: &Security, patience: Duration) -> Result<MetadataResponse> {
    let deadline = Instant::now() + patience;
    let ask = || {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut connection = diagnosis::open(server, LOOK_UPS, security, left)?;
        connection.call(&metadata_request(Some(&[])), deadline)
    };
    match ask() {
        Err(error) if closes_at_requests(&error) => {
            thread::sleep(ASK_AGAIN.min(deadline.saturating_duration_since(Instant::now())));
            ask().map_err(|error| diagnosis::wants_sasl(error, server))
        }
        outcome => outcome,
    }
}
