//! A node at work: its listening socket, its connections and its store.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use super::BrokerSettings;
use super::connection::{self, Shared};
use super::error::Error;
use super::groups::StartError;
use super::node::Node;
use super::storage::Store;
use crate::net::listener::Listener;

/// What serves, until it is stopped.
pub struct Serving {
    listener: Listener,
    shared: Arc<Shared>,
}

impl Serving {
    /// Serves what is in `store` to those who connect to `socket`.
    ///
    /// # Errors
    /// [`Error::Damaged`] for a group that cannot be read, and [`Error::Thread`]; the store is closed.
    pub fn start(settings: &BrokerSettings, store: Store, socket: TcpListener) -> Result<Serving, Error> {
        let store = Arc::new(store);
        let node = Node::new(settings.clone(), store.clone()).map_err(|error| {
            store.close();
            match error {
                StartError::Damaged(damaged) => {
                    Error::Damaged { data_dir: settings.data_dir.clone(), reason: damaged.to_string() }
                }
                StartError::System(reason) => Error::Thread(std::io::Error::other(reason)),
            }
        })?;
        let shared = Arc::new(Shared::new(node));
        let served = shared.clone();
        let serve = move |id, stream| connection::serve(id, stream, &served);
        match Listener::start("broker", socket, serve) {
            Ok(listener) => Ok(Serving { listener, shared }),
            Err(source) => {
                shared.node.groups.stop();
                shared.node.store.close();
                Err(Error::Thread(source))
            }
        }
    }

    /// The address listened on, with its real port.
    pub fn address(&self) -> SocketAddr {
        self.listener.address()
    }

    /// Stops: requests in hand are answered, connections and the database closed when this returns. Groups
    /// stop first, so that no member is taken for dead because its connection ends here.
    pub fn stop(self) {
        self.shared.stop();
        self.shared.node.groups.stop();
        self.listener.stop();
        self.shared.node.store.close();
    }
}
