//! What a program that runs as a service tells of itself: to the service manager that started it (systemd
//! with `Type=notify`), or, where a supervisor started it, to that one.

use std::io;
use std::time::Duration;

use crate::cli::Invocation;
use crate::error::{Error, Result};
use crate::supervisor::parent_link;
use client::Cluster;
use net::pulse::Pulse;
use net::service_manager::ServiceManager;
use net::stop::{Stop, StopHook};
use net::sync::Worker;

/// What a service needs to stop besides the time for its open work.
pub const STOP_MARGIN: Duration = Duration::from_secs(5);

/// The pause between two looks whether a broker can be reached.
const STATUS_INTERVAL: Duration = Duration::from_secs(1);

/// A program as a service. Dropped, it tells nobody of a stop.
pub struct Service {
    teller: Teller,
    _stop_hook: Option<StopHook>,
}

/// Tells how the program is.
#[derive(Clone)]
pub struct Teller {
    manager: Option<ServiceManager>,
    is_supervised: bool,
    /// The program's: from then on its status is that it stops.
    stop: Stop,
}

impl Service {
    /// The program of this invocation. When `stop` is asked, the service manager hears that, and that it may
    /// take as long as `patience` and a margin.
    pub fn begin(invocation: &Invocation, stop: &Stop, patience: Duration) -> Service {
        let teller = Teller {
            manager: ServiceManager::of_environment().filter(|_| !invocation.supervised),
            is_supervised: invocation.supervised,
            stop: stop.clone(),
        };
        if let Some(manager) = &teller.manager {
            manager.status("starting");
        }
        let stop_hook = teller
            .manager
            .clone()
            .map(|manager| stop.on_ask(move || manager.stopping(patience + STOP_MARGIN)));
        Service { teller, _stop_hook: stop_hook }
    }

    /// The program does what it is there for. A Kafka that is away is no obstacle to that: a start that
    /// waited for it would be given up in an outage. [`Teller::status`] tells what is waited for.
    pub fn ready(&self) {
        if let Some(manager) = &self.teller.manager {
            manager.ready();
        }
    }

    /// Who tells how the program is.
    pub fn teller(&self) -> Teller {
        self.teller.clone()
    }

    /// Has the service manager, where there is one, hear what the program does, and why it cannot while no
    /// broker of `cluster` can be reached, until the worker is dropped.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn tell(&self, what: String, cluster: &Cluster) -> Result<Option<Worker>> {
        if self.teller.manager.is_none() {
            return Ok(None);
        }
        let teller = self.teller();
        let cluster = cluster.share(cluster.settings().clone());
        let status = move || {
            let is_away = cluster.outage().is_some();
            let why = cluster.trouble().filter(|_| is_away);
            why.map_or_else(|| what.clone(), |why| format!("not ready: no broker can be reached: {why}"))
        };
        let mut told = status();
        teller.status(&told);
        let tell = move |stop: &Stop| {
            while !stop.wait_for(STATUS_INTERVAL) {
                let now = status();
                if now != told {
                    teller.status(&now);
                    told = now;
                }
            }
        };
        started(Worker::start("status", tell))
    }

    /// Has the watchdog, where there is one, wait longer than a loop may stand still while all is well.
    pub fn tolerate(&self, standstill: Duration) {
        if let (Some(manager), Some(limit)) = (&self.teller.manager, self.watchdog())
            && limit < standstill * 2
        {
            manager.watch_for(standstill * 2);
        }
    }

    /// The time of the service manager's watchdog, and what shows it life.
    pub fn watchdog(&self) -> Option<Duration> {
        self.teller.manager.as_ref().and_then(ServiceManager::watchdog)
    }

    /// Shows the watchdog life.
    pub fn alive(&self) {
        if let Some(manager) = &self.teller.manager {
            manager.alive();
        }
    }

    /// Shows the watchdog life, where there is one, while the loop with this pulse goes round, until the
    /// worker is dropped.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn watch(&self, pulse: &Pulse) -> Result<Option<Worker>> {
        let (Some(manager), Some(limit)) = (self.teller.manager.clone(), self.watchdog()) else {
            return Ok(None);
        };
        let pulse = pulse.clone();
        let watch = move |stop: &Stop| loop {
            if pulse.ask() {
                manager.alive();
            }
            if stop.wait_for(limit / 4) {
                return;
            }
        };
        started(Worker::start("watchdog", watch))
    }
}

fn started(worker: io::Result<Worker>) -> Result<Option<Worker>> {
    let failed = |error| Error::new("a thread for the service manager cannot be started").caused_by(error);
    worker.map(Some).map_err(failed)
}

impl Teller {
    /// How the program is now, a sentence for people.
    pub fn status(&self, status: &str) {
        match &self.manager {
            _ if self.stop.is_asked() => {}
            Some(manager) => manager.status(status),
            None if self.is_supervised => parent_link::send_status(status),
            None => {}
        }
    }
}
