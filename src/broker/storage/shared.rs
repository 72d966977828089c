//! What the callers' threads and the writer have in common.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

use redb::Database;

use super::fault::Fault;
use super::queue::Queue;
use super::state::{Effect, State};
use super::watch::Watchers;
use crate::net::lock;

/// Damaged places that get a line of their own in the log.
const REPORTED: usize = 1000;

/// See the module's documentation.
pub(super) struct Shared {
    /// The database's file, for the log.
    pub file: Arc<str>,
    pub cluster_id: Arc<str>,
    pub queue: Queue,
    /// `None` once it is closed.
    database: RwLock<Option<Database>>,
    state: RwLock<State>,
    pub watchers: Watchers,
    failed: AtomicBool,
    /// Where damage was found: topic number, partition, offset.
    reported: Mutex<HashSet<(u32, i32, i64)>>,
}

impl Shared {
    pub(super) fn new(file: Arc<str>, cluster_id: Arc<str>, database: Database, state: State) -> Shared {
        Shared {
            file,
            cluster_id,
            queue: Queue::default(),
            database: RwLock::new(Some(database)),
            state: RwLock::new(state),
            watchers: Watchers::default(),
            failed: AtomicBool::new(false),
            reported: Mutex::default(),
        }
    }

    /// The state as of the last durable transaction.
    pub(super) fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does `work` with the database, which is not closed meanwhile.
    pub(super) fn with_database<T>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        match &*database {
            Some(database) => work(database),
            None => Err(Fault::Failed("it is closed".to_owned())),
        }
    }

    /// Takes the database away; nothing uses it when this returns.
    pub(super) fn take_database(&self) -> Option<Database> {
        self.database.write().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Makes a durable transaction visible.
    pub(super) fn publish(&self, effects: Vec<Effect>) {
        let changed: Vec<(Arc<str>, Option<i32>)> = effects.iter().filter_map(Effect::changed_logs).collect();
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        effects.into_iter().for_each(|effect| state.apply(effect));
        drop(state);
        changed.iter().for_each(|(topic, partition)| self.watchers.ring(topic, *partition));
    }

    pub(super) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    /// From here on nothing is stored any more. A sync that failed is not tried again: what the system had not
    /// written may be gone from its memory, so that a second try would succeed without it.
    pub(super) fn fail(&self, fault: &Fault) {
        if !self.failed.swap(true, Ordering::AcqRel) {
            log::error!(
                "the database {} has failed: {fault}. Nothing is stored any more, and nothing is acknowledged that \
                 was not stored before. Make room or check the disk, then start again",
                self.file
            );
        }
        self.watchers.ring_all();
    }

    /// Reports damage found in a log, each place once.
    pub(super) fn report(&self, number: u32, topic: &str, partition: i32, offset: i64, what: &str) {
        let mut reported = lock(&self.reported);
        if reported.len() < REPORTED && reported.insert((number, partition, offset)) {
            log::error!(
                "{}: topic {topic}, partition {partition}, offset {offset} cannot be read: {what}. The batches that \
                 are in order are served on",
                self.file
            );
        }
    }
}
