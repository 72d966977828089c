//! Access to the adapter: in the program's own process, or in the supervisor that started the program.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::cli::Invocation;
use crate::error::{Error, Result};
use crate::logging;
use crate::runtime::Runtime;
use crate::supervisor::parent_link::{self, ParentLink, ParentWarning, StandardOutput};
use adapter::Endpoint;
use client::Cluster;
use client::rights::Intent;
use net::pulse::Pulse;
use net::stop::Stop;

/// The adapter of a program.
pub enum AdapterAccess {
    /// In this process.
    Own(Box<Runtime>, Pulse),
    /// In the supervisor.
    Supervised {
        /// The supervisor's adapter.
        endpoint: Endpoint,
        /// The standard output that the program shares with the supervisor and the other children.
        output: StandardOutput,
        /// Whether the supervisor has died, and its adapter with it.
        is_lost: Arc<AtomicBool>,
        /// What is wrong with the supervisor.
        warning: ParentWarning,
        /// The loop of the program, which the supervisor asks about.
        pulse: Pulse,
        /// This process's own client of the cluster.
        cluster: Box<Cluster>,
    },
}

impl AdapterAccess {
    /// Connects to the supervisor's adapter, or starts an adapter in this process, as the command line asks.
    ///
    /// # Errors
    /// As [`Runtime::start`] and [`Runtime::check_rights`], or the supervisor, which has checked them, does
    /// not send its adapter's address.
    pub fn find(invocation: &Invocation, intent: &Intent, stop: &Stop) -> Result<AdapterAccess> {
        if !invocation.supervised {
            let runtime = Runtime::start(invocation.settings.own_runtime())?;
            runtime.check_rights(intent)?;
            return Ok(AdapterAccess::Own(Box::new(runtime), Pulse::default()));
        }
        let link = parent_link::connect(stop)?;
        let ParentLink { parameters, output, on_terminal, is_lost, warning, pulse } = link;
        if on_terminal {
            logging::shown_on_a_terminal();
        }
        let endpoint = Endpoint::from_line(&parameters)
            .ok_or_else(|| Error::new("--supervised is for the supervisor alone").about_settings())?;
        let cluster = Box::new(Cluster::new(invocation.settings.cluster()));
        Ok(AdapterAccess::Supervised { endpoint, output, is_lost, warning, pulse, cluster })
    }

    /// The standard output, if it is shared with other processes.
    pub fn output(&self) -> Option<StandardOutput> {
        match self {
            AdapterAccess::Own(..) => None,
            AdapterAccess::Supervised { output, .. } => Some(output.clone()),
        }
    }

    /// The adapter's address and token.
    pub fn endpoint(&self) -> Endpoint {
        match self {
            AdapterAccess::Own(runtime, _) => runtime.adapter().endpoint(),
            AdapterAccess::Supervised { endpoint, .. } => endpoint.clone(),
        }
    }

    /// The client of the cluster that all parts of this process share.
    pub fn cluster(&self) -> &Cluster {
        match self {
            AdapterAccess::Own(runtime, _) => runtime.cluster(),
            AdapterAccess::Supervised { cluster, .. } => cluster,
        }
    }

    /// Whether the adapter is gone for good, so that nothing can be finished.
    pub fn is_lost(&self) -> bool {
        matches!(self, AdapterAccess::Supervised { is_lost, .. } if is_lost.load(Ordering::Relaxed))
    }

    /// What is wrong with the process of the adapter, if that is another one.
    pub fn warning(&self) -> ParentWarning {
        match self {
            AdapterAccess::Own(..) => ParentWarning::default(),
            AdapterAccess::Supervised { warning, .. } => warning.clone(),
        }
    }

    /// The pulse of the program's loop.
    pub fn pulse(&self) -> Pulse {
        match self {
            AdapterAccess::Own(_, pulse) | AdapterAccess::Supervised { pulse, .. } => pulse.clone(),
        }
    }

    /// Stops an adapter that runs in this process.
    pub fn stop(self) {
        if let AdapterAccess::Own(runtime, _) = self {
            runtime.stop();
        }
    }
}
