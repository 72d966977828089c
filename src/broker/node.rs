//! What every request is answered from: the node that serves.

use std::sync::Arc;

use super::BrokerSettings;
use super::budget::Budget;
use super::groups::{Groups, StartError};
use super::storage::Store;

/// The id of the one node of this cluster, which is also its controller and leads every partition.
pub const NODE_ID: i32 = 1;

/// The epoch of that leadership, which never changes hands.
pub const LEADER_EPOCH: i32 = 0;

/// Bytes of records on their way to consumers, over all connections.
const ANSWER_BYTES: usize = 256 * 1024 * 1024;

/// Bytes of records that are unpacked to be checked, over all connections.
const UNPACKED_BYTES: usize = 256 * 1024 * 1024;

/// The node.
pub struct Node {
    /// What it serves.
    pub settings: BrokerSettings,
    /// Where everything is kept.
    pub store: Arc<Store>,
    /// The consumer groups.
    pub groups: Groups,
    /// Memory for the records in answers.
    pub answers: Budget,
    /// Memory for the records in requests, unpacked.
    pub unpacking: Budget,
}

impl Node {
    /// A node that serves what is in `store`.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn new(settings: BrokerSettings, store: Arc<Store>) -> Result<Node, StartError> {
        let groups = Groups::start(store.clone())?;
        let (answers, unpacking) = (Budget::new(ANSWER_BYTES), Budget::new(UNPACKED_BYTES));
        Ok(Node { settings, store, groups, answers, unpacking })
    }
}
