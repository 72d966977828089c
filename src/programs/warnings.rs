//! What is wrong and keeps no message from being stored or handled: `/readyz`, the page and `status` tell it.

use crate::logging;
use crate::runtime::StoreFailure;
use net::descriptors;

/// What is wrong with this process, and with the one that serves the embedded broker: sentences without full
/// stops.
pub(super) fn current(store: &StoreFailure) -> Vec<String> {
    [descriptors::shortage(), logging::failure(), store.warning()].into_iter().flatten().collect()
}

/// What keeps other programs with the same settings from their work, as far as the disks tell that they share.
pub(super) fn of_others(store: &StoreFailure, log_file: &str) -> Vec<String> {
    [store.read(), store.warning(), logging::disk_trouble(log_file)].into_iter().flatten().collect()
}
