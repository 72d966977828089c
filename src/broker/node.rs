//! What every request is answered from: the node that serves.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::BrokerSettings;
use super::budget::{Budget, Room};
use super::caller::Caller;
use super::groups::{Groups, StartError};
use super::storage::Store;
use crate::protocol::records;

/// The id of the one node of this cluster, which is also its controller and leads every partition.
pub const NODE_ID: i32 = 1;

/// The epoch of that leadership, which never changes hands.
pub const LEADER_EPOCH: i32 = 0;

/// Bytes of records on their way to consumers, over all connections.
const ANSWER_BYTES: usize = 256 * 1024 * 1024;

/// Bytes of answers without records, over all connections, ...
const DESCRIPTION_BYTES: usize = 256 * 1024 * 1024;

/// ... of which those up to this size are not counted.
const SMALL: usize = 64 * 1024;

/// Bytes of records that are unpacked to be looked at, over all connections.
const UNPACKED_BYTES: usize = 256 * 1024 * 1024;

/// Bytes of large requests without records that are taken apart, over all connections.
const DECODED_BYTES: usize = 256 * 1024 * 1024;

/// What a request may take taken apart, measured in its own size.
const DECODED_TIMES: usize = 16;

/// How long a request waits for its turn to take a large piece of memory.
const TURN: Duration = Duration::from_secs(10);

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
    /// Memory for all other answers.
    pub descriptions: Budget,
    /// Memory for requests without records, taken apart.
    pub decoded: Budget,
    /// Memory for unpacked records.
    pub unpacking: Budget,
}

impl Node {
    /// A node that serves what is in `store`.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn new(settings: BrokerSettings, store: Arc<Store>) -> Result<Node, StartError> {
        let groups = Groups::start(store.clone())?;
        Ok(Node {
            settings,
            store,
            groups,
            answers: Budget::new(ANSWER_BYTES),
            descriptions: Budget::new(DESCRIPTION_BYTES),
            decoded: Budget::new(DECODED_BYTES),
            unpacking: Budget::new(UNPACKED_BYTES),
        })
    }

    /// Room for one batch that is unpacked: a small one may hold very much, so only so many are unpacked at once as
    /// there is memory for. `None` if there is none in time, or nobody waits for it.
    pub fn room_to_unpack(&self, caller: &Caller<'_>) -> Option<Room<'_>> {
        in_turn(&self.unpacking, records::MAX_UNPACKED_BYTES, caller)
    }

    /// Room for a request of `bytes` without records, whose elements are far larger in memory than on the wire; it may
    /// wait for long with all of them. Nothing is taken for a small one. `None` if there is none in time, or nobody
    /// waits for it.
    pub fn room_to_decode(&self, bytes: usize, caller: &Caller<'_>) -> Option<Option<Room<'_>>> {
        if bytes <= SMALL {
            return Some(None);
        }
        in_turn(&self.decoded, bytes.saturating_mul(DECODED_TIMES), caller).map(Some)
    }

    /// Room for an answer of `bytes` that holds no records, as long as its client takes to read it; nothing is
    /// taken for a small one. `None` if there is none in time, or nobody waits for it.
    pub fn room_to_answer(&self, bytes: usize, caller: &Caller<'_>) -> Option<Option<Room<'_>>> {
        if bytes <= SMALL {
            return Some(None);
        }
        in_turn(&self.descriptions, bytes, caller).map(Some)
    }
}

/// Room as soon as it is the caller's turn; `None` if that does not come in time, or nobody waits for it.
fn in_turn<'b>(budget: &'b Budget, bytes: usize, caller: &Caller<'_>) -> Option<Room<'b>> {
    budget.take(bytes, Instant::now() + TURN, &|| !(caller.gone)())
}
