//! What waits for the writer: bounded, and done in the order in which it came.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::pending::Reply;
use super::producers::Numbered;
use super::{Appended, Committed, Topic};
use crate::net::lock;
use crate::protocol::error_code::ErrorCode;

/// Bytes that may wait; one change that is larger waits alone.
const MAX_BYTES: usize = 64 << 20;
/// Changes that may wait.
const MAX_CHANGES: usize = 10_000;
/// Bytes of one transaction, beyond which it takes no further change.
const TRANSACTION_BYTES: usize = 16 << 20;
/// How long a change waits for room in the queue.
const PATIENCE: Duration = Duration::from_secs(30);

/// A batch that was looked at.
pub(super) struct Batch {
    pub topic: Arc<str>,
    pub partition: i32,
    pub bytes: Bytes,
    pub last_delta: i32,
    pub max_timestamp: i64,
    pub numbered: Option<Numbered>,
}

/// A change, and who waits for it.
pub(super) enum Change {
    CreateTopic {
        name: Arc<str>,
        partitions: i32,
        reply: Reply<Topic>,
    },
    DeleteTopic {
        name: Arc<str>,
        reply: Reply<()>,
    },
    Append(Vec<(Batch, Reply<Appended>)>),
    NewProducerId(Reply<i64>),
    CommitOffsets {
        group: Arc<str>,
        offsets: Vec<(Arc<str>, i32, Committed)>,
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
    /// A round of what the writer else does by itself; the answer is whether there is more to do.
    #[cfg(test)]
    Upkeep(Reply<bool>),
}

impl Change {
    /// What it takes of the queue.
    fn bytes(&self) -> usize {
        const EACH: usize = 200;
        EACH + match self {
            Change::Append(batches) => batches.iter().map(|(batch, _)| EACH + batch.bytes.len()).sum(),
            Change::CommitOffsets { offsets, .. } => {
                offsets.iter().map(|(_, _, committed)| EACH + committed.metadata.len()).sum()
            }
            Change::DeleteOffsets { partitions, .. } => partitions.len() * EACH,
            Change::SaveGroup { state, .. } => state.len(),
            _ => 0,
        }
    }

    /// Tells everyone who waits for it that it will not be.
    pub(super) fn refuse(self, code: ErrorCode) {
        match self {
            Change::CreateTopic { reply, .. } => reply.send(Err(code)),
            Change::Append(batches) => batches.into_iter().for_each(|(_, reply)| reply.send(Err(code))),
            Change::NewProducerId(reply) => reply.send(Err(code)),
            Change::DeleteTopic { reply, .. }
            | Change::CommitOffsets { reply, .. }
            | Change::DeleteOffsets { reply, .. }
            | Change::SaveGroup { reply, .. }
            | Change::DeleteGroup { reply, .. } => reply.send(Err(code)),
            #[cfg(test)]
            Change::Upkeep(reply) => reply.send(Err(code)),
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

/// See the module's documentation.
#[derive(Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    /// There is something to do.
    work: Condvar,
    /// There is room.
    room: Condvar,
}

impl Queue {
    /// Hands a change to the writer; waits for room. What is not taken is refused: KAFKA_STORAGE_ERROR after
    /// [`Queue::close`], REQUEST_TIMED_OUT if there is no room within half a minute.
    pub(super) fn put(&self, change: Change) {
        let deadline = Instant::now() + PATIENCE;
        let mut waiting = lock(&self.waiting);
        while waiting.is_full() && !waiting.closed {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else {
                drop(waiting);
                return change.refuse(ErrorCode::REQUEST_TIMED_OUT);
            };
            waiting = self.room.wait_timeout(waiting, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        if waiting.closed {
            drop(waiting);
            return change.refuse(ErrorCode::KAFKA_STORAGE_ERROR);
        }
        waiting.bytes += change.bytes();
        waiting.changes.push_back(change);
        self.work.notify_one();
    }

    /// What one transaction takes of what waits; nothing if `deadline` passes first, `None` once the queue is closed
    /// and empty.
    pub(super) fn take(&self, deadline: Option<Instant>) -> Option<Vec<Change>> {
        let mut waiting = lock(&self.waiting);
        while waiting.changes.is_empty() {
            if waiting.closed {
                return None;
            }
            waiting = match deadline.map(|deadline| deadline.checked_duration_since(Instant::now())) {
                None => self.work.wait(waiting).unwrap_or_else(PoisonError::into_inner),
                Some(Some(left)) => {
                    self.work.wait_timeout(waiting, left).unwrap_or_else(PoisonError::into_inner).0
                }
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

    /// Takes no more changes; those that wait are still given to the writer.
    pub(super) fn close(&self) {
        lock(&self.waiting).closed = true;
        self.work.notify_all();
        self.room.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::super::pending::pending;
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
        let queue = Queue::default();
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
        let queue = Queue::default();
        queue.put(save(1, "a"));
        queue.close();
        let (reply, answer) = pending();
        queue.put(Change::NewProducerId(reply));
        assert_eq!(answer.wait(), Err(ErrorCode::KAFKA_STORAGE_ERROR));
        assert_eq!(queue.take(None).map(names), Some(vec!["a".to_owned()]));
        assert!(queue.take(None).is_none());
        assert_eq!(Queue::default().take(Some(Instant::now())).map(names), Some(Vec::new()));
    }
}
