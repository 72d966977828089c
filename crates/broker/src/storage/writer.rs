//! The writer thread: takes waiting changes, applies them in one transaction, and answers once that is
//! durable.

use std::sync::Arc;
use std::time::{Duration, Instant};

use redb::Database;

use super::checked_file::Syncs;
use super::error::{StorageError, guarded};
use super::retention::RetentionTask;
use super::store_state::StoreState;
use super::transaction::{AppliedTransaction, Changes, Tables, begin};
use super::write_queue::Change;
use super::write_state::WriteState;
use super::{Clock, Retention};
use net::sync::lock;
use protocol::error_code::ErrorCode;

/// The pause between slices of retention, so that changes come first.
const SLICE_PAUSE: Duration = Duration::from_millis(20);

/// The writer thread's data.
pub(super) struct Writer {
    pub shared: Arc<StoreState>,
    pub write_state: WriteState,
    pub syncs: Syncs,
    pub retention: Retention,
    pub clock: Clock,
    /// The interval of retention checks; `None` for none.
    pub retention_check_interval: Option<Duration>,
}

impl Writer {
    /// Runs until the queue is closed and empty.
    pub(super) fn run(mut self) {
        let mut retention_task = RetentionTask::default();
        let soon = |pause: Duration| Instant::now().checked_add(pause);
        let mut next_slice = self.retention_check_interval.and(soon(SLICE_PAUSE));
        while let Some(changes) = self.shared.queue.take(next_slice) {
            if self.shared.has_failed() {
                changes.into_iter().for_each(|change| change.refuse(ErrorCode::KAFKA_STORAGE_ERROR));
                next_slice = None;
                continue;
            }
            #[cfg(test)]
            let changes = self.apply_retention_now(changes, &mut retention_task);
            let deleted_topics = self.write_state.deleted_topics.len();
            if !changes.is_empty() {
                self.apply_changes(changes);
            }
            if self.write_state.deleted_topics.len() > deleted_topics {
                next_slice = self.retention_check_interval.and(soon(SLICE_PAUSE));
            }
            if next_slice.is_some_and(|at| at <= Instant::now()) {
                next_slice = match self.apply_retention(&mut retention_task) {
                    Some(true) => soon(SLICE_PAUSE),
                    Some(false) => self.retention_check_interval.and_then(soon),
                    None => None,
                };
            }
        }
    }

    /// Applies changes in one transaction, publishes it and answers. An error is a failure of the store.
    fn apply_changes(&mut self, changes: Vec<Change>) {
        let now = (self.clock)();
        let (shared, write_state) = (&self.shared, &mut self.write_state);
        let _running = lock(&shared.transaction_running);
        let synced = self.syncs.count();
        let done = shared.with_database(|database| guarded(|| transact(database, write_state, changes, now)));
        match done {
            Ok(applied) => {
                shared.publish(applied.updates);
                applied.answers.into_iter().for_each(|answer| answer());
            }
            // A transaction becomes the current one after its first sync (two phases, see `begin`): if that
            // did not succeed, the next opening finds the one before.
            Err(error) => shared.fail(&error, self.syncs.count() > synced),
        }
    }

    /// Runs a slice of retention: true if there is more to remove, `None` if retention has ended.
    fn apply_retention(&mut self, retention_task: &mut RetentionTask) -> Option<bool> {
        let now = (self.clock)();
        let (shared, write_state, retention) = (&self.shared, &mut self.write_state, &self.retention);
        let done = shared.with_database(|database| {
            guarded(|| retention_task.run_slice(database, write_state, retention, now))
        });
        match done {
            Ok(slice) => {
                self.shared.publish(slice.updates);
                Some(slice.more)
            }
            Err(error @ StorageError::Failed(_)) => {
                self.shared.fail(&error, false);
                None
            }
            Err(StorageError::Damaged(what)) => {
                log::error!("{}: retention has ended: {what}", self.shared.file);
                None
            }
        }
    }

    /// Runs the retention slices that a test asks for; returns the other changes.
    #[cfg(test)]
    fn apply_retention_now(
        &mut self,
        changes: Vec<Change>,
        retention_task: &mut RetentionTask,
    ) -> Vec<Change> {
        let mut others = Vec::new();
        for change in changes {
            match change {
                Change::ApplyRetention(reply) => {
                    reply.send(self.apply_retention(retention_task).ok_or(ErrorCode::KAFKA_STORAGE_ERROR));
                }
                other => others.push(other),
            }
        }
        others
    }
}

fn transact(
    database: &Database,
    write_state: &mut WriteState,
    changes: Vec<Change>,
    now: i64,
) -> Result<AppliedTransaction, StorageError> {
    let transaction = begin(database)?;
    let applied = {
        let mut changes_made = Changes::new(write_state, Tables::open(&transaction)?, now);
        for change in changes {
            changes_made.apply(change)?;
        }
        changes_made.finish()?
    };
    if applied.changed {
        transaction.commit()?;
    } else {
        transaction.abort()?;
    }
    Ok(applied)
}
