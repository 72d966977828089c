//! The state that the callers' threads and the writer thread share.

use net::sync::{Mutex, RwLock, RwLockReadGuard, lock};
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};

use redb::Database;

use super::error::StorageError;
use super::fetch_waiters::FetchWaiters;
use super::read_state::{State, StateUpdate};
use super::write_queue::WriteQueue;
use net::stop::Stop;

/// Damaged places that are logged.
const MAX_REPORTED: usize = 1000;

/// The failure of a store.
#[derive(Debug, Clone)]
pub struct Failure {
    /// The error of the operating system or of the database.
    pub reason: String,
    /// Stored bytes are not those that were written: reopening does not help.
    pub damaged: bool,
    /// Whether changes of the failed transaction may be stored. If false, none of them is.
    pub in_doubt: bool,
}

/// Database, write queue, readers' state and failure of one open store.
pub(super) struct StoreState {
    /// The database's file, for the log.
    pub file: Arc<str>,
    pub cluster_id: Arc<str>,
    pub queue: WriteQueue,
    /// `None` once it is closed.
    database: RwLock<Option<Database>>,
    state: RwLock<State>,
    pub fetch_waiters: FetchWaiters,
    failed: AtomicBool,
    failure: Mutex<Option<Failure>>,
    /// Asked when the database fails.
    pub failure_stop: Stop,
    /// Held by the writer during a transaction, until its failure, if any, is recorded.
    pub transaction_running: Mutex<()>,
    /// Damaged places: topic number, partition, offset.
    reported: Mutex<HashSet<(u32, i32, i64)>>,
}

impl StoreState {
    pub(super) fn new(file: Arc<str>, cluster_id: Arc<str>, database: Database, state: State) -> StoreState {
        StoreState {
            file,
            cluster_id,
            queue: WriteQueue::default(),
            database: RwLock::new(Some(database)),
            state: RwLock::new(state),
            fetch_waiters: FetchWaiters::default(),
            failed: AtomicBool::new(false),
            failure: Mutex::default(),
            failure_stop: Stop::new(),
            transaction_running: Mutex::default(),
            reported: Mutex::default(),
        }
    }

    /// The state as of the last durable transaction.
    pub(super) fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `work` with the database, which is not closed meanwhile.
    pub(super) fn with_database<T>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        match &*database {
            Some(database) => work(database),
            None => Err(StorageError::Failed("it is closed".into())),
        }
    }

    /// Takes the database out; no thread uses it when this returns.
    pub(super) fn take_database(&self) -> Option<Database> {
        self.database.write().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Applies the updates of a durable transaction, and wakes the waiters of changed logs.
    pub(super) fn publish(&self, updates: Vec<StateUpdate>) {
        let changed: Vec<(Arc<str>, Option<i32>)> =
            updates.iter().filter_map(StateUpdate::changed_logs).collect();
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        updates.into_iter().for_each(|update| state.apply(update));
        drop(state);
        changed.iter().for_each(|(topic, partition)| self.fetch_waiters.wake(topic, *partition));
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
                    self.file,
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

    /// Reports damage found in a log, each place once.
    pub(super) fn report_damage(&self, number: u32, topic: &str, partition: i32, offset: i64, what: &str) {
        let mut reported = lock(&self.reported);
        if reported.len() < MAX_REPORTED && reported.insert((number, partition, offset)) {
            log::error!(
                "{}: topic {topic}, partition {partition}, offset {offset} cannot be read: {what}. The batches that \
                 are in order are still served",
                self.file
            );
        }
    }
}
