//! A message on its way from the queue to a worker and back.

use std::sync::Arc;

use client::group_member::reader::OwnedRecord;

use crate::consumer::ConsumerRecord;
use crate::queue::engine::{LeaseId, Task};
use crate::queue::partitions::{Handed, Ownership};

/// A message, shared by the engine that keeps it and the worker that handles it.
pub type Payload = Arc<OwnedRecord>;

/// One handing out of a message, of all partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LeaseKey {
    pub from: Ownership,
    pub id: LeaseId,
}

impl LeaseKey {
    /// The bytes of a key.
    pub const BYTES: usize = Ownership::BYTES + LeaseId::BYTES;

    /// The key as bytes.
    pub fn to_bytes(self) -> Vec<u8> {
        [self.from.to_bytes().as_slice(), self.id.to_bytes().as_slice()].concat()
    }

    /// The key of these bytes; `None` if they are not [`LeaseKey::BYTES`].
    pub fn from_bytes(bytes: &[u8]) -> Option<LeaseKey> {
        let (from, id) = bytes.split_at_checked(Ownership::BYTES)?;
        Some(LeaseKey {
            from: Ownership::from_bytes(from.try_into().ok()?),
            id: LeaseId::from_bytes(id.try_into().ok()?),
        })
    }
}

/// A message for a worker.
#[derive(Debug, Clone)]
pub struct Item {
    pub handed: Handed,
    pub topic: Arc<str>,
    pub record: Payload,
}

impl Item {
    /// The message as a handler gets it.
    pub fn record(&self) -> ConsumerRecord<'_> {
        let content = self.record.content();
        ConsumerRecord {
            topic: &self.topic,
            partition: self.handed.from.partition,
            offset: self.handed.lease.offset,
            key: content.key,
            value: content.value,
            timestamp: content.timestamp,
            headers: content.headers,
            attempt: self.handed.lease.attempt,
        }
    }

    /// Its handing out.
    pub fn key(&self) -> LeaseKey {
        LeaseKey { from: self.handed.from, id: self.handed.lease.id }
    }

    /// Whether it is to be stored as a dead letter.
    pub fn is_letter(&self) -> bool {
        self.handed.lease.task == Task::StoreDeadLetter
    }
}
