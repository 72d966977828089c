//! The node that serves: store, group coordinator and memory budgets of the request handlers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::free_space::FreeSpace;
use super::groups::{GroupCoordinator, StartError};
use super::request_context::RequestContext;
use super::settings::BrokerSettings;
use super::storage::Store;
use net::sync::{ByteBudget, Mutex, Reserved};
use protocol::records;

/// The id of the one node of this cluster, which is also its controller and leads every partition.
pub const NODE_ID: i32 = 1;

/// The leader epoch of every partition, which never changes.
pub const LEADER_EPOCH: i32 = 0;

/// Bytes of records in Fetch responses, over all connections.
const RECORD_BYTES: usize = 256 * 1024 * 1024;

/// Bytes of other responses, over all connections.
const RESPONSE_BYTES: usize = 256 * 1024 * 1024;

/// Requests and responses up to this size are not counted.
const UNCOUNTED_BYTES: usize = 64 * 1024;

/// Bytes of decompressed records, over all connections.
const DECOMPRESSION_BYTES: usize = 256 * 1024 * 1024;

/// Bytes of large decoded requests without records, over all connections.
const REQUEST_BYTES: usize = 256 * 1024 * 1024;

/// The largest size of a decoded request, as a multiple of its encoded size.
const DECODED_SIZE_FACTOR: usize = 16;

/// The longest wait for memory of a budget.
const BUDGET_TIMEOUT: Duration = Duration::from_secs(10);

/// The node that serves.
pub struct Node {
    /// The settings of the broker.
    pub settings: BrokerSettings,
    /// The store.
    pub store: Arc<Store>,
    /// The group coordinator.
    pub groups: GroupCoordinator,
    /// Held while configurations of a topic are read, changed and stored.
    pub config_changes: Mutex<()>,
    /// Held while a batch is read for which there may be no room.
    pub large_reads: Mutex<()>,
    /// The room on the file system of the store.
    pub free_space: Arc<FreeSpace>,
    /// Memory for records in Fetch responses.
    pub record_budget: ByteBudget,
    /// Memory for other responses.
    pub response_budget: ByteBudget,
    /// Memory for decoded requests without records.
    pub request_budget: ByteBudget,
    /// Memory for decompressed records.
    pub decompression_budget: ByteBudget,
}

impl Node {
    /// Creates the node of `store`, and starts its group coordinator.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn new(
        settings: BrokerSettings,
        store: Arc<Store>,
        free_space: Arc<FreeSpace>,
    ) -> Result<Node, StartError> {
        let groups = GroupCoordinator::start(store.clone(), settings.initial_rebalance_delay)?;
        Ok(Node {
            settings,
            store,
            groups,
            config_changes: Mutex::default(),
            large_reads: Mutex::default(),
            free_space,
            record_budget: ByteBudget::new(RECORD_BYTES),
            response_budget: ByteBudget::new(RESPONSE_BYTES),
            request_budget: ByteBudget::new(REQUEST_BYTES),
            decompression_budget: ByteBudget::new(DECOMPRESSION_BYTES),
        })
    }

    /// Reserves memory to decompress one batch: a small batch may decompress to very much. `None` if there is
    /// none in time, or the client has disconnected.
    pub fn reserve_decompression(&self, context: &RequestContext<'_>) -> Option<Reserved<'_>> {
        reserve(&self.decompression_budget, records::MAX_UNPACKED_BYTES, context)
    }

    /// Reserves memory to decompress one batch and to pack its records anew, as
    /// [`Node::reserve_decompression`] does.
    pub fn reserve_packing(&self, context: &RequestContext<'_>) -> Option<Reserved<'_>> {
        reserve(&self.decompression_budget, 2 * records::MAX_UNPACKED_BYTES, context)
    }

    /// Reserves memory to decode a request of `bytes` without records, whose elements are far larger in
    /// memory than on the wire, and may be held for long. Nothing is reserved for a small one. `None` if
    /// there is none in time, or the client has disconnected.
    pub fn reserve_request(
        &self,
        bytes: usize,
        context: &RequestContext<'_>,
    ) -> Option<Option<Reserved<'_>>> {
        if bytes <= UNCOUNTED_BYTES {
            return Some(None);
        }
        reserve(&self.request_budget, bytes.saturating_mul(DECODED_SIZE_FACTOR), context).map(Some)
    }

    /// Reserves memory for a response of `bytes` without records, for as long as the client takes to read it.
    /// Nothing is reserved for a small one. `None` if there is none in time, or the client has disconnected.
    pub fn reserve_response(
        &self,
        bytes: usize,
        context: &RequestContext<'_>,
    ) -> Option<Option<Reserved<'_>>> {
        if bytes <= UNCOUNTED_BYTES {
            return Some(None);
        }
        reserve(&self.response_budget, bytes, context).map(Some)
    }
}

/// Reserves `bytes` of `budget`; `None` if they are not free in time, or the client has disconnected.
fn reserve<'b>(budget: &'b ByteBudget, bytes: usize, context: &RequestContext<'_>) -> Option<Reserved<'b>> {
    budget.take(bytes, Instant::now() + BUDGET_TIMEOUT, &|| !(context.gone)())
}
