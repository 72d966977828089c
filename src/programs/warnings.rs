//! What is wrong while the cluster can be seen: `/readyz` (where messages can be stored), the page and
//! `status` tell it.

use super::adapter_access::AdapterAccess;
use crate::config::Settings;
use crate::logging;
use crate::runtime::StoreFailure;
use crate::supervisor::parent_link::ParentWarning;
use net::descriptors;

/// What is wrong with this process, with its supervisor, and with the one that serves the embedded broker.
#[derive(Clone)]
pub struct Warnings {
    store: StoreFailure,
    supervisor: ParentWarning,
}

impl Warnings {
    /// Of a process with these settings.
    pub(super) fn new(settings: &Settings, adapter: &AdapterAccess) -> Warnings {
        Warnings { store: settings.store_failure(), supervisor: adapter.warning() }
    }

    /// As it is now: sentences without full stops.
    pub(super) fn current(&self) -> Vec<String> {
        let own = [descriptors::shortage(), logging::failure()];
        own.into_iter()
            .chain([self.store.refusal(), self.store.warning(), self.supervisor.read()])
            .flatten()
            .collect()
    }
}

/// What keeps other programs with the same settings from their work, as far as the disks tell that they
/// share.
pub(super) fn of_others(store: &StoreFailure, log_file: &str) -> Vec<String> {
    [store.obstacle(), store.warning(), logging::disk_trouble(log_file)].into_iter().flatten().collect()
}
