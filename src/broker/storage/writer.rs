//! The one thread that writes: it takes what waits, applies it in one transaction, and answers once that is durable.

use std::sync::Arc;
use std::time::{Duration, Instant};

use redb::{Database, Durability};

use super::fault::{Fault, guarded};
use super::ledger::Ledger;
use super::queue::Change;
use super::shared::Shared;
use super::transaction::{Changes, Outcome, Tables};
use super::upkeep::Upkeep;
use super::{Clock, Retention};
use crate::protocol::error_code::ErrorCode;

/// The pause between slices of upkeep while there is more to do, so that changes come first.
const SLICE_PAUSE: Duration = Duration::from_millis(20);

/// See the module's documentation.
pub(super) struct Writer {
    pub shared: Arc<Shared>,
    pub ledger: Ledger,
    pub retention: Retention,
    pub clock: Clock,
    /// How often it is looked whether there is something to remove; `None` for never.
    pub upkeep_every: Option<Duration>,
}

impl Writer {
    /// Works until the queue is closed and empty.
    pub(super) fn run(mut self) {
        let mut upkeep = Upkeep::default();
        let soon = |pause: Duration| Instant::now().checked_add(pause);
        let mut next_slice = self.upkeep_every.and(soon(SLICE_PAUSE));
        while let Some(changes) = self.shared.queue.take(next_slice) {
            if self.shared.has_failed() {
                changes.into_iter().for_each(|change| change.refuse(ErrorCode::KAFKA_STORAGE_ERROR));
                next_slice = None;
                continue;
            }
            #[cfg(test)]
            let changes = self.upkeep_now(changes, &mut upkeep);
            let emptied = self.ledger.emptied.len();
            if !changes.is_empty() {
                self.change(changes);
            }
            if self.ledger.emptied.len() > emptied {
                next_slice = self.upkeep_every.and(soon(SLICE_PAUSE));
            }
            if next_slice.is_some_and(|at| at <= Instant::now()) {
                next_slice = match self.upkeep(&mut upkeep) {
                    Some(true) => soon(SLICE_PAUSE),
                    Some(false) => self.upkeep_every.and_then(soon),
                    None => None,
                };
            }
        }
    }

    /// Makes changes in one transaction, publishes it and answers; a failure is the store's.
    fn change(&mut self, changes: Vec<Change>) {
        let now = (self.clock)();
        let (shared, ledger) = (&self.shared, &mut self.ledger);
        let done = shared.with_database(|database| guarded(|| transact(database, ledger, changes, now)));
        match done {
            Ok(outcome) => {
                self.shared.publish(outcome.effects);
                outcome.answers.into_iter().for_each(|answer| answer());
            }
            Err(fault) => self.shared.fail(&fault),
        }
    }

    /// A slice of upkeep: whether there is more to do, `None` if there is to be no more of it.
    fn upkeep(&mut self, upkeep: &mut Upkeep) -> Option<bool> {
        let now = (self.clock)();
        let (shared, ledger, retention) = (&self.shared, &mut self.ledger, &self.retention);
        let done =
            shared.with_database(|database| guarded(|| upkeep.slice(database, ledger, retention, now)));
        match done {
            Ok(slice) => {
                self.shared.publish(slice.effects);
                Some(slice.more)
            }
            Err(fault @ Fault::Failed(_)) => {
                self.shared.fail(&fault);
                None
            }
            Err(Fault::Damaged(what)) => {
                log::error!("{}: old data is no longer removed: {what}", self.shared.file);
                None
            }
        }
    }

    /// Does the rounds of upkeep that a test asks for; the changes besides.
    #[cfg(test)]
    fn upkeep_now(&mut self, changes: Vec<Change>, upkeep: &mut Upkeep) -> Vec<Change> {
        let mut others = Vec::new();
        for change in changes {
            match change {
                Change::Upkeep(reply) => {
                    reply.send(self.upkeep(upkeep).ok_or(ErrorCode::KAFKA_STORAGE_ERROR));
                }
                other => others.push(other),
            }
        }
        others
    }
}

fn transact(
    database: &Database,
    ledger: &mut Ledger,
    changes: Vec<Change>,
    now: i64,
) -> Result<Outcome, Fault> {
    let transaction = begin(database)?;
    let outcome = {
        let mut applied = Changes::new(ledger, Tables::open(&transaction)?, now);
        for change in changes {
            applied.apply(change)?;
        }
        applied.finish()?
    };
    if outcome.changed {
        transaction.commit()?;
    } else {
        transaction.abort()?;
    }
    Ok(outcome)
}

/// Does `work` in a transaction of its own and makes it durable.
pub(super) fn commit_durably<T>(
    database: &Database,
    work: impl FnOnce(&mut Tables<'_>) -> Result<T, Fault>,
) -> Result<T, Fault> {
    let transaction = begin(database)?;
    let done = work(&mut Tables::open(&transaction)?)?;
    transaction.commit()?;
    Ok(done)
}

/// A transaction that is durable when its commit returns, and after which a crash needs no repair.
fn begin(database: &Database) -> Result<redb::WriteTransaction, Fault> {
    let mut transaction = database.begin_write()?;
    transaction.set_durability(Durability::Immediate)?;
    transaction.set_quick_repair(true);
    Ok(transaction)
}
