//! What a program stands on: the embedded broker, if no other is named, and an adapter; or those of the supervisor
//! that started it.

use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::adapter::{Adapter, AdapterSettings, Endpoint};
use crate::broker::{Broker, BrokerSettings};
use crate::cli::Given;
use crate::config::Settings;
use crate::error::{Error, Result};
use crate::stop::Stop;
use crate::supervisor::supervised;

/// How long the embedded broker's address is knocked at.
const KNOCK: Duration = Duration::from_secs(1);

/// The embedded broker, if it is the one to use, and the adapter of this process.
pub struct Base {
    broker: Option<Broker>,
    adapter: Adapter,
}

impl Base {
    /// Starts both.
    ///
    /// # Errors
    /// The embedded broker cannot open its database or listen, or the adapter cannot listen.
    pub fn start(settings: &Settings, adapter: AdapterSettings) -> Result<Base> {
        let broker = start_broker(settings)?;
        match Adapter::start(adapter) {
            Ok(adapter) => Ok(Base { broker, adapter }),
            Err(error) => {
                broker.into_iter().for_each(Broker::stop);
                Err(Error::new("the adapter cannot be started").caused_by(error))
            }
        }
    }

    /// The adapter.
    pub fn adapter(&self) -> &Adapter {
        &self.adapter
    }

    /// Stops the adapter, whose members leave their groups, and then the broker.
    pub fn stop(self) {
        self.adapter.stop();
        self.broker.into_iter().for_each(Broker::stop);
    }
}

/// Starts the embedded broker, if it is the one to use: it serves, or stands by while another process does.
///
/// # Errors
/// Its database cannot be opened, or it cannot listen.
pub fn start_broker(settings: &Settings) -> Result<Option<Broker>> {
    let Some(embedded) = settings.embedded_broker() else { return Ok(None) };
    let broker = Broker::start(BrokerSettings {
        listen: embedded.listen.clone(),
        data_dir: embedded.data_dir.clone(),
        retention: embedded.retention(),
        retention_bytes: embedded.retention_bytes(),
        auto_create_topics: embedded.auto_create_topics,
        partitions: settings.kafka.partitions,
    });
    broker.map(Some).map_err(|error| Error::new("the embedded broker cannot be started").caused_by(error))
}

/// Whether there is somebody to ask: another broker than the embedded one, or a process that serves that. If not,
/// whoever starts it finds what is stored.
///
/// # Errors
/// There is nothing: nobody serves the embedded broker, and it has no folder.
pub fn is_served(settings: &Settings) -> Result<bool> {
    let Some(embedded) = settings.embedded_broker() else { return Ok(true) };
    let mut addresses = embedded.address().to_socket_addrs().into_iter().flatten();
    if addresses.any(|address| TcpStream::connect_timeout(&address, KNOCK).is_ok()) {
        return Ok(true);
    }
    if embedded.data_dir.exists() {
        return Ok(false);
    }
    let (address, folder) = (embedded.address(), embedded.data_dir.display());
    let what = "nothing is stored yet: nobody serves";
    Err(Error::new(format!("{what} {address}, and there is no folder {folder}")))
}

/// Where a role finds its adapter.
pub enum Footing {
    /// In this process.
    Own(Base),
    /// In the supervisor.
    Supervised {
        /// The supervisor's adapter.
        endpoint: Endpoint,
        /// The supervisor, and its adapter with it, are gone.
        lost: Arc<AtomicBool>,
    },
}

impl Footing {
    /// What `given` asks for: the supervisor's adapter, or one in this process.
    ///
    /// # Errors
    /// As [`Base::start`]; the supervisor does not say where its adapter is.
    pub fn find(given: &Given, stop: &Stop) -> Result<Footing> {
        if !given.supervised {
            return Base::start(&given.settings, AdapterSettings::in_process(&given.settings))
                .map(Footing::Own);
        }
        let (line, lost) = supervised::listen(stop)?;
        let endpoint = Endpoint::from_line(&line)
            .ok_or_else(|| Error::new("--supervised is for the supervisor alone").about_settings())?;
        Ok(Footing::Supervised { endpoint, lost })
    }

    /// Where the adapter is.
    pub fn endpoint(&self) -> Endpoint {
        match self {
            Footing::Own(base) => base.adapter().endpoint(),
            Footing::Supervised { endpoint, .. } => endpoint.clone(),
        }
    }

    /// Whether the adapter is gone for good, so that nothing can be finished.
    pub fn is_lost(&self) -> bool {
        matches!(self, Footing::Supervised { lost, .. } if lost.load(Ordering::Relaxed))
    }

    /// Stops what runs in this process.
    pub fn stop(self) {
        if let Footing::Own(base) = self {
            base.stop();
        }
    }
}
