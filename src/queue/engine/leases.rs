//! The leased messages, in the order in which their leases run out.

use std::collections::BTreeSet;

/// When each lease runs out, and the index of its message.
#[derive(Debug, Default)]
pub struct Leases(BTreeSet<(u64, u32)>);

impl Leases {
    /// The lease that runs out first.
    pub fn first(&self) -> Option<(u64, u32)> {
        self.0.first().copied()
    }

    /// The number of leases.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// When each lease runs out, and the index of its message, from the one that runs out first on.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u32)> {
        self.0.iter().copied()
    }

    /// Adds a lease.
    pub fn add(&mut self, due: u64, index: u32) {
        self.0.insert((due, index));
    }

    /// Removes a lease.
    pub fn remove(&mut self, due: u64, index: u32) {
        self.0.remove(&(due, index));
    }
}
