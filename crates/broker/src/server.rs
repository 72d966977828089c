//! A serving node: its listening socket, its connections and its store.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use super::connection::{self, ServerState};
use super::error::Error;
use super::free_space::FreeSpace;
use super::groups::StartError;
use super::node::Node;
use super::settings::BrokerSettings;
use super::storage::{Failure, Store};
use net::listener::Listener;
use net::stop::Stop;

/// A serving node, until it is stopped.
pub struct BrokerServer {
    listener: Listener,
    shared: Arc<ServerState>,
}

impl BrokerServer {
    /// Serves `store` to the clients that connect to `socket`, which store nothing while `free_space` refuses
    /// it.
    ///
    /// # Errors
    /// [`Error::Damaged`] for a group that cannot be read, and [`Error::Thread`]; the store is closed.
    pub fn start(
        settings: &BrokerSettings,
        store: Store,
        free_space: Arc<FreeSpace>,
        socket: TcpListener,
    ) -> Result<BrokerServer, Error> {
        let store = Arc::new(store);
        let node = Node::new(settings.clone(), store.clone(), free_space).map_err(|error| {
            store.close();
            match error {
                StartError::Damaged(damaged) => {
                    Error::Damaged { data_dir: settings.data_dir.clone(), reason: damaged.to_string() }
                }
                StartError::System(source) => Error::Thread(source),
            }
        })?;
        let shared = Arc::new(ServerState::new(node));
        let served = shared.clone();
        let serve = move |id, stream| connection::serve(id, stream, &served);
        match Listener::start("broker", socket, serve) {
            Ok(listener) => Ok(BrokerServer { listener, shared }),
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

    /// A stop that is asked when the store fails.
    pub fn failure_stop(&self) -> Stop {
        self.shared.node.store.failure_stop()
    }

    /// As [`Store::look_at_folder`].
    pub fn look_at_folder(&self) {
        self.shared.node.store.look_at_folder();
    }

    /// The failure of the store, if it has failed.
    pub fn failure(&self) -> Option<Failure> {
        self.shared.node.store.failure()
    }

    /// Stops. When this returns, requests in hand are answered, connections and database are closed. The
    /// group coordinator stops first, so that no member is removed because its connection ends here. If the
    /// store has failed, `failed` hears of it while no other process can open it.
    pub fn stop(self, failed: impl FnOnce(Failure)) {
        self.shared.stop();
        self.shared.node.groups.stop();
        self.listener.stop();
        let store = &self.shared.node.store;
        if let Some(failure) = store.failure() {
            failed(failure);
        }
        store.close();
    }
}
