//! The state that the callers' threads and the writer thread share.

use net::sync::{Mutex, RwLock, RwLockReadGuard, lock};
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};

use super::error::StorageError;
use super::fetch_waiters::FetchWaiters;
use super::names::SegmentId;
use super::read_state::{State, StateUpdate};
use super::segment::{Segment, SegmentFiles};
use super::write_queue::WriteQueue;
use net::stop::Stop;

/// Damaged places that are logged.
const MAX_REPORTED: usize = 1000;

/// The failure of a store.
#[derive(Debug, Clone)]
pub struct Failure {
    /// The error of the operating system, or what is damaged.
    pub reason: String,
    /// Stored bytes are not those that were written: reopening does not help.
    pub damaged: bool,
    /// Whether changes of the failed transaction may be stored. If false, none of them is.
    pub in_doubt: bool,
}

/// Files, write queue, readers' state and failure of one open store.
pub(super) struct StoreState {
    /// The store's folder, for the log.
    pub folder: Arc<str>,
    pub cluster_id: Arc<str>,
    pub queue: WriteQueue,
    pub files: SegmentFiles,
    state: RwLock<State>,
    pub fetch_waiters: FetchWaiters,
    /// The segment at whose beginning the last durable snapshot stands.
    pub snapshot: AtomicU64,
    closed: AtomicBool,
    failed: AtomicBool,
    failure: Mutex<Option<Failure>>,
    /// Asked when the disk fails.
    pub failure_stop: Stop,
    /// Held by the writer during a transaction, until its failure, if any, is recorded.
    pub transaction_running: Mutex<()>,
    /// Damaged places: topic number, partition, offset.
    reported: Mutex<HashSet<(u32, i32, i64)>>,
    reported_segments: Mutex<HashSet<SegmentId>>,
}

impl StoreState {
    pub(super) fn new(
        folder: Arc<str>,
        cluster_id: Arc<str>,
        files: SegmentFiles,
        state: State,
        snapshot: u64,
    ) -> StoreState {
        StoreState {
            folder,
            cluster_id,
            queue: WriteQueue::default(),
            files,
            state: RwLock::new(state),
            fetch_waiters: FetchWaiters::default(),
            snapshot: AtomicU64::new(snapshot),
            closed: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            failure: Mutex::default(),
            failure_stop: Stop::new(),
            transaction_running: Mutex::default(),
            reported: Mutex::default(),
            reported_segments: Mutex::default(),
        }
    }

    /// The state as of the last durable transaction.
    pub(super) fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state, between transactions.
    pub(super) fn change_state<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// Applies the updates of a durable transaction, and wakes the waiters of changed logs. What was appended
    /// is in `segment`.
    pub(super) fn publish(&self, updates: Vec<StateUpdate>, segment: &Arc<Segment>) {
        let apply = |state: &mut State| {
            let applied = updates.into_iter().filter_map(|update| state.apply(update, segment));
            applied.collect::<Vec<(Arc<str>, Option<i32>)>>()
        };
        let changed = self.change_state(apply);
        changed.iter().for_each(|(topic, partition)| self.fetch_waiters.wake(topic, *partition));
    }

    /// Ends reads.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    pub(super) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    /// The failure of the store, if it has failed.
    pub(super) fn failure(&self) -> Option<Failure> {
        lock(&self.failure).clone()
    }

    /// Records a failure, after which nothing is stored. A failed sync is not repeated: the kernel may have
    /// dropped the unwritten pages, so that a second sync would succeed without them. `in_doubt`: changes of
    /// the failed transaction may be stored.
    pub(super) fn fail(&self, error: &StorageError, in_doubt: bool) {
        let mut failure = lock(&self.failure);
        match &mut *failure {
            Some(known) => known.in_doubt |= in_doubt,
            None => {
                let damaged = matches!(error, StorageError::Damaged(_));
                *failure = Some(Failure { reason: error.to_string(), damaged, in_doubt });
                log::error!(
                    "the database {} has failed: {error}. Nothing is stored until it is reopened, and nothing is \
                     acknowledged that was not stored before. {}",
                    self.folder,
                    if damaged {
                        "Check the disk, then start again"
                    } else {
                        "It is reopened as soon as the disk takes writes: make room, or check the disk"
                    }
                );
            }
        }
        self.failed.store(true, Ordering::Release);
        drop(failure);
        self.fetch_waiters.wake_all();
        self.failure_stop.ask();
    }

    /// Whether work that can be done later is to end.
    pub(super) fn is_ending(&self) -> bool {
        self.queue.is_closed() || self.has_failed()
    }

    /// Whether a segment was reported as damaged.
    pub(super) fn is_reported(&self, id: SegmentId) -> bool {
        lock(&self.reported_segments).contains(&id)
    }

    /// Reports a segment that cannot be rewritten, once.
    pub(super) fn report_damaged_segment(&self, id: SegmentId, what: &str) {
        let mut reported = lock(&self.reported_segments);
        if reported.len() < MAX_REPORTED && reported.insert(id) {
            log::error!("{}: {} is not rewritten, as it is damaged: {what}", self.folder, id.log());
        }
    }

    /// Reports damage found in a log, each place once.
    pub(super) fn report_damage(&self, number: u32, topic: &str, partition: i32, offset: i64, what: &str) {
        let mut reported = lock(&self.reported);
        if reported.len() < MAX_REPORTED && reported.insert((number, partition, offset)) {
            log::error!(
                "{}: topic {topic}, partition {partition}, offset {offset} cannot be read: {what}. The batches that \
                 are in order are still served",
                self.folder
            );
        }
    }
}
