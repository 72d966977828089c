//! Bounded FIFO of changes for the writer thread.

use net::sync::{Condvar, Mutex, lock, wait_timeout};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::pending_write::Reply;
use super::producer_state::BatchSequence;
use super::{ActiveProducer, Append, Appended, CommittedOffset, Topic};
use protocol::error_code::ErrorCode;
use protocol::records::{Batches, RecordsError};

/// Bytes in the queue; one larger change is taken into an empty queue.
const MAX_BYTES: usize = 64 << 20;
/// Changes in the queue.
const MAX_CHANGES: usize = 10_000;
/// Bytes of one transaction, beyond which it takes no further change.
const TRANSACTION_BYTES: usize = 16 << 20;
/// How long a change waits for room in the queue.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// A batch whose header is decoded.
pub(super) struct Batch {
    pub topic: Arc<str>,
    pub partition: i32,
    pub bytes: Bytes,
    pub last_delta: i32,
    pub max_timestamp: i64,
    pub sequence: Option<BatchSequence>,
}

impl Batch {
    /// Checks a batch, and takes from its header the fields that the writer needs.
    pub(super) fn check(append: Append) -> Result<Batch, ErrorCode> {
        let Append { topic, partition, batch: bytes } = append;
        let mut batches = Batches::new(&bytes);
        let header = match (batches.next(), batches.next()) {
            (Some(Ok(batch)), None) => batch.header,
            (Some(Err(RecordsError::Checksum { .. })), _) => {
                return Err(ErrorCode::CORRUPT_MESSAGE);
            }
            _ => return Err(ErrorCode::INVALID_RECORD),
        };
        let size =
            bytes.get(8..12).and_then(|size| size.first_chunk::<4>()).map(|size| u32::from_be_bytes(*size));
        let is_whole = size.is_some_and(|size| size as usize + 12 == bytes.len());
        if !is_whole || header.record_count < 1 || header.last_offset_delta != header.record_count - 1 {
            return Err(ErrorCode::INVALID_RECORD);
        }
        let sequence = match header.producer_id {
            id if id < 0 => None,
            _ if header.producer_epoch < 0 || header.base_sequence < 0 => {
                return Err(ErrorCode::INVALID_RECORD);
            }
            id => {
                Some(BatchSequence::new(id, header.producer_epoch, header.base_sequence, header.record_count))
            }
        };
        let (last_delta, max_timestamp) = (header.last_offset_delta, header.max_timestamp);
        Ok(Batch { topic, partition, bytes, last_delta, max_timestamp, sequence })
    }
}

/// A change, and the handle that its caller waits for.
pub(super) enum Change {
    CreateTopic {
        name: Arc<str>,
        partitions: i32,
        configs: BTreeMap<String, String>,
        reply: Reply<Topic>,
    },
    AlterTopic {
        name: Arc<str>,
        configs: Vec<(String, Option<String>)>,
        replace: bool,
        reply: Reply<Topic>,
    },
    CreatePartitions {
        name: Arc<str>,
        count: i32,
        reply: Reply<Topic>,
    },
    DeleteTopic {
        name: Arc<str>,
        /// Only the topic with this id.
        id: Option<u128>,
        reply: Reply<()>,
    },
    DeleteRecords {
        topic: Arc<str>,
        partition: i32,
        before: i64,
        reply: Reply<i64>,
    },
    /// Changes nothing: asks for the producers of a log.
    Producers {
        topic: Arc<str>,
        partition: i32,
        reply: Reply<Vec<ActiveProducer>>,
    },
    Append(Vec<(Batch, Reply<Appended>)>),
    NewProducerId(Reply<i64>),
    CommitOffsets {
        group: Arc<str>,
        offsets: Vec<(Arc<str>, i32, CommittedOffset)>,
        reply: Reply<()>,
    },
    DeleteOffsets {
        group: Arc<str>,
        partitions: Vec<(Arc<str>, i32)>,
        reply: Reply<()>,
    },
    SaveGroup {
        group: Arc<str>,
        state: Bytes,
        reply: Reply<()>,
    },
    DeleteGroup {
        group: Arc<str>,
        reply: Reply<()>,
    },
    /// A slice of retention; the answer is whether there is more to remove.
    #[cfg(test)]
    ApplyRetention(Reply<bool>),
}

impl Change {
    /// The size that counts against the limit of the queue.
    fn bytes(&self) -> usize {
        const EACH: usize = 200;
        EACH + match self {
            Change::Append(batches) => batches.iter().map(|(batch, _)| EACH + batch.bytes.len()).sum(),
            Change::CommitOffsets { offsets, .. } => {
                offsets.iter().map(|(_, _, committed)| EACH + committed.metadata.len()).sum()
            }
            Change::DeleteOffsets { partitions, .. } => partitions.len() * EACH,
            Change::SaveGroup { state, .. } => state.len(),
            Change::CreateTopic { configs, .. } => {
                configs.iter().map(|(name, value)| name.len() + value.len()).sum()
            }
            Change::AlterTopic { configs, .. } => configs.len() * EACH,
            _ => 0,
        }
    }

    /// Whether it removes batches.
    pub(super) fn frees(&self) -> bool {
        matches!(self, Change::DeleteTopic { .. } | Change::DeleteRecords { .. })
    }

    /// Answers the change with an error.
    pub(super) fn refuse(self, code: ErrorCode) {
        match self {
            Change::CreateTopic { reply, .. }
            | Change::AlterTopic { reply, .. }
            | Change::CreatePartitions { reply, .. } => reply.send(Err(code)),
            Change::Producers { reply, .. } => reply.send(Err(code)),
            Change::Append(batches) => batches.into_iter().for_each(|(_, reply)| reply.send(Err(code))),
            Change::NewProducerId(reply) | Change::DeleteRecords { reply, .. } => reply.send(Err(code)),
            Change::DeleteTopic { reply, .. }
            | Change::CommitOffsets { reply, .. }
            | Change::DeleteOffsets { reply, .. }
            | Change::SaveGroup { reply, .. }
            | Change::DeleteGroup { reply, .. } => reply.send(Err(code)),
            #[cfg(test)]
            Change::ApplyRetention(reply) => reply.send(Err(code)),
        }
    }
}

#[derive(Default)]
struct Waiting {
    changes: VecDeque<Change>,
    bytes: usize,
    closed: bool,
}

impl Waiting {
    fn is_full(&self) -> bool {
        self.bytes >= MAX_BYTES || self.changes.len() >= MAX_CHANGES
    }
}

/// The queue of changes: filled by the threads of connections, emptied by the writer.
#[derive(Default)]
pub(super) struct WriteQueue {
    waiting: Mutex<Waiting>,
    /// Signalled when a change is added.
    work: Condvar,
    /// Signalled when changes are taken.
    room: Condvar,
}

impl WriteQueue {
    /// Adds a change; waits for room. Refuses it with KAFKA_STORAGE_ERROR after [`WriteQueue::close`], and
    /// with REQUEST_TIMED_OUT if there is no room within half a minute.
    pub(super) fn put(&self, change: Change) {
        let deadline = Instant::now() + WRITE_TIMEOUT;
        let mut waiting = lock(&self.waiting);
        while waiting.is_full() && !waiting.closed {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else {
                drop(waiting);
                return change.refuse(ErrorCode::REQUEST_TIMED_OUT);
            };
            waiting = wait_timeout(&self.room, waiting, left);
        }
        if waiting.closed {
            drop(waiting);
            return change.refuse(ErrorCode::KAFKA_STORAGE_ERROR);
        }
        waiting.bytes += change.bytes();
        waiting.changes.push_back(change);
        self.work.notify_one();
    }

    /// The changes of the next transaction; none if `deadline` passes first, `None` once the queue is closed
    /// and empty.
    pub(super) fn take(&self, deadline: Option<Instant>) -> Option<Vec<Change>> {
        let mut waiting = lock(&self.waiting);
        while waiting.changes.is_empty() {
            if waiting.closed {
                return None;
            }
            waiting = match deadline.map(|deadline| deadline.checked_duration_since(Instant::now())) {
                None => self.work.wait(waiting).unwrap_or_else(PoisonError::into_inner),
                Some(Some(left)) => wait_timeout(&self.work, waiting, left),
                Some(None) => return Some(Vec::new()),
            };
        }
        let (mut taken, mut bytes) = (Vec::new(), 0);
        while bytes < TRANSACTION_BYTES {
            let Some(change) = waiting.changes.pop_front() else { break };
            bytes += change.bytes();
            taken.push(change);
        }
        waiting.bytes -= bytes;
        self.room.notify_all();
        Some(taken)
    }

    /// Whether it takes no more changes.
    pub(super) fn is_closed(&self) -> bool {
        lock(&self.waiting).closed
    }

    /// Takes no more changes; those that wait are still given to the writer.
    pub(super) fn close(&self) {
        lock(&self.waiting).closed = true;
        self.work.notify_all();
        self.room.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::super::pending_write::pending;
    use super::*;

    fn save(bytes: usize, name: &str) -> Change {
        Change::SaveGroup { group: name.into(), state: vec![0; bytes].into(), reply: pending().0 }
    }

    fn names(changes: Vec<Change>) -> Vec<String> {
        let name = |change| match change {
            Change::SaveGroup { group, .. } => group.to_string(),
            _ => String::new(),
        };
        changes.into_iter().map(name).collect()
    }

    #[test]
    fn a_full_queue_makes_wait_until_the_writer_has_taken_and_keeps_the_order() {
        let queue = WriteQueue::default();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for name in 0..40 {
                    queue.put(save(TRANSACTION_BYTES / 2, &name.to_string()));
                }
                queue.close();
            });
            let mut taken = Vec::new();
            while let Some(changes) = queue.take(None) {
                assert!(lock(&queue.waiting).bytes < MAX_BYTES + TRANSACTION_BYTES);
                assert!(changes.len() <= 2, "{}", changes.len());
                taken.extend(names(changes));
            }
            assert_eq!(taken, (0..40).map(|name| name.to_string()).collect::<Vec<_>>());
        });
    }

    #[test]
    fn a_closed_queue_gives_what_waits_and_refuses_the_rest() {
        let queue = WriteQueue::default();
        queue.put(save(1, "a"));
        queue.close();
        let (reply, answer) = pending();
        queue.put(Change::NewProducerId(reply));
        assert_eq!(answer.wait(), Err(ErrorCode::KAFKA_STORAGE_ERROR));
        assert_eq!(queue.take(None).map(names), Some(vec!["a".to_owned()]));
        assert!(queue.take(None).is_none());
        assert_eq!(WriteQueue::default().take(Some(Instant::now())).map(names), Some(Vec::new()));
    }
}
