//! The group coordinator: members, generations, committed offsets.
//!
//! - [`group`]: the state machine of one group, without I/O, with [`join`], [`sync`] and [`liveness`];
//!   `initial_rebalance`: the wait of an empty group for more members
//! - `session_expiry`: removes silent members; `timer`: the thread that calls it in time
//! - [`member`]: members of a group; [`snapshot`]: a group as it is stored
//! - [`delayed`]: JoinGroup and SyncGroup, which wait; [`liveness`], [`offsets`], [`describe`]: the other
//!   requests
//! - [`limits`]: limits of groups
//!
//! A group has one lock. Changes are handed to the store under it, so that they are stored in the order in
//! which they happened: the commit of a fenced member never comes after a commit of its successor. The wait
//! for the disk happens outside of the lock, and before the answer.

pub mod delayed;
pub mod describe;
pub mod group;
mod initial_rebalance;
pub mod join;
pub mod limits;
pub mod liveness;
pub mod member;
pub mod offsets;
mod session_expiry;
pub mod snapshot;
pub mod sync;
mod timer;

#[cfg(test)]
mod tests;

use net::sync::{Condvar, Mutex, Worker, lock};
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use group::{Group, GroupState, Save};
use limits::{MAX_GROUPS, MAX_NAME_BYTES};
use snapshot::DamagedSnapshot;
use timer::Timer;

use super::storage::{Pending, Store};
use protocol::error_code::ErrorCode;

/// Why the coordinator cannot start.
#[derive(Debug)]
pub enum StartError {
    /// A stored group is damaged.
    Damaged(DamagedSnapshot),
    /// The system cannot start a thread.
    System(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Damaged(damaged) => write!(f, "{damaged}"),
            StartError::System(source) => {
                write!(f, "cannot start a thread for the group coordinator: {source}")
            }
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            StartError::Damaged(source) => Some(source),
            StartError::System(source) => Some(source),
        }
    }
}

/// The coordinator of all groups. Its methods may be called from any thread.
pub struct GroupCoordinator {
    shared: Arc<CoordinatorState>,
    timer: Mutex<Option<Worker>>,
}

struct CoordinatorState {
    store: Arc<Store>,
    /// How long the first rebalance of an empty group waits for more members.
    initial_delay: Duration,
    entries: Mutex<HashMap<Arc<str>, Arc<GroupEntry>>>,
    /// Bytes that the members of all groups hold.
    bytes: AtomicUsize,
    stopping: AtomicBool,
    timer: Timer,
}

/// A group, and the condition of its delayed operations.
struct GroupEntry {
    group: Mutex<Group>,
    changed: Condvar,
}

/// A write of a group that is not durable yet.
struct PendingSave {
    pending: Pending<()>,
    assignment_of: Option<i32>,
}

/// The result of [`CoordinatorState::with_group`].
struct Applied<T> {
    result: T,
    entry: Arc<GroupEntry>,
    pending_save: Option<PendingSave>,
}

impl GroupCoordinator {
    /// Loads the groups of `store`, and starts the timer thread. Members keep their generation, and have
    /// their whole session timeout from now. The first rebalance of an empty group waits for `initial_delay`
    /// (KIP-134).
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn start(store: Arc<Store>, initial_delay: Duration) -> Result<GroupCoordinator, StartError> {
        let now = Instant::now();
        let (mut entries, mut bytes) = (HashMap::new(), 0);
        for name in store.group_names() {
            let group = match store.group(&name) {
                Some(state) => snapshot::decode(&name, &state, now).map_err(StartError::Damaged)?,
                None => Group::new(name.clone(), now),
            };
            let group = group.with_initial_delay(initial_delay);
            bytes += group.bytes();
            entries.insert(name, Arc::new(GroupEntry { group: Mutex::new(group), changed: Condvar::new() }));
        }
        let shared = Arc::new(CoordinatorState {
            store,
            initial_delay,
            entries: Mutex::new(entries),
            bytes: AtomicUsize::new(bytes),
            stopping: AtomicBool::new(false),
            timer: Timer::default(),
        });
        shared.timer.wake_by(now);
        let coordinator = shared.clone();
        let timer =
            Worker::start("broker-groups", move |_| coordinator.run_timer()).map_err(StartError::System)?;
        Ok(GroupCoordinator { shared, timer: Mutex::new(Some(timer)) })
    }

    /// A connection is lost: its dynamic members are removed after a grace period, unless they come back over
    /// another connection.
    pub fn connection_closed(&self, connection: u64) {
        let now = Instant::now();
        for entry in self.shared.all() {
            let mut group = lock(&entry.group);
            if self.shared.is_stopping() {
                return;
            }
            if group.connection_closed(connection, now) {
                self.shared.timer.wake_by_option(group.next_deadline());
            }
        }
    }

    /// Stops: delayed and later requests get NOT_COORDINATOR, so that clients look for the next coordinator,
    /// and no member is removed any more. To be called before connections are closed, as the next holder
    /// needs the members.
    pub fn stop(&self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        self.shared.timer.stop();
        for entry in self.shared.all() {
            // Under the lock, so that a running change of the group has ended when this returns.
            let _group = lock(&entry.group);
            entry.changed.notify_all();
        }
        let timer = lock(&self.timer).take();
        drop(timer);
    }
}

impl Drop for GroupCoordinator {
    fn drop(&mut self) {
        self.stop();
    }
}

impl CoordinatorState {
    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    fn all(&self) -> Vec<Arc<GroupEntry>> {
        lock(&self.entries).values().cloned().collect()
    }

    fn find(&self, name: &str, create: bool) -> Result<Option<Arc<GroupEntry>>, ErrorCode> {
        let mut entries = lock(&self.entries);
        if let Some(entry) = entries.get(name) {
            return Ok(Some(entry.clone()));
        }
        if !create {
            return Ok(None);
        }
        if name.is_empty() || name.len() > MAX_NAME_BYTES {
            return Err(ErrorCode::INVALID_GROUP_ID);
        }
        if entries.len() >= MAX_GROUPS {
            log::warn!(
                "group {name}: refused, there are {MAX_GROUPS} groups; delete some that are not needed"
            );
            return Err(ErrorCode::POLICY_VIOLATION);
        }
        let name: Arc<str> = name.into();
        let group = Group::new(name.clone(), Instant::now()).with_initial_delay(self.initial_delay);
        let entry = Arc::new(GroupEntry { group: Mutex::new(group), changed: Condvar::new() });
        entries.insert(name, entry.clone());
        Ok(Some(entry))
    }

    /// Runs `action` on a group under its lock, and hands the changed group to the store. `None` if the group
    /// does not exist and `create` is false.
    ///
    /// # Errors
    /// NOT_COORDINATOR once the broker stops; INVALID_GROUP_ID and POLICY_VIOLATION (too many groups) from
    /// creating.
    fn with_group<T>(
        &self,
        name: &str,
        create: bool,
        action: impl FnOnce(&mut Group, Instant) -> T,
    ) -> Result<Option<Applied<T>>, ErrorCode> {
        loop {
            let Some(entry) = self.find(name, create)? else { return Ok(None) };
            let mut group = lock(&entry.group);
            if self.is_stopping() {
                return Err(ErrorCode::NOT_COORDINATOR);
            }
            if group.state() == GroupState::Dead {
                // Deleted since the lookup; the next lookup does not find it.
                continue;
            }
            let (result, pending_save) = self.with_locked_group(&entry, &mut group, action);
            drop(group);
            return Ok(Some(Applied { result, entry, pending_save }));
        }
    }

    /// Runs `action` on a locked group: counts its bytes, stores it, wakes delayed operations and the timer.
    fn with_locked_group<T>(
        &self,
        entry: &GroupEntry,
        group: &mut Group,
        action: impl FnOnce(&mut Group, Instant) -> T,
    ) -> (T, Option<PendingSave>) {
        let before = group.bytes();
        let result = action(group, Instant::now());
        self.bytes.fetch_add(group.bytes(), Ordering::Relaxed);
        self.bytes.fetch_sub(before, Ordering::Relaxed);
        let pending_save = group.take_save().map(|save| PendingSave {
            pending: self.store.save_group(&group.name, snapshot::encode(group)),
            assignment_of: match save {
                Save::Assignment(generation) => Some(generation),
                Save::State => None,
            },
        });
        if group.has_answers() {
            entry.changed.notify_all();
        }
        self.timer.wake_by_option(group.next_deadline());
        (result, pending_save)
    }

    /// Waits until the write is durable.
    ///
    /// # Errors
    /// See [`store_error`].
    fn await_save(&self, entry: &GroupEntry, pending_save: Option<PendingSave>) -> Result<(), ErrorCode> {
        let Some(PendingSave { pending, assignment_of }) = pending_save else { return Ok(()) };
        let stored = pending.wait().map_err(store_error);
        if let Some(generation) = assignment_of {
            let mut group = lock(&entry.group);
            let record_result = |group: &mut Group, now| group.stored(generation, stored, now);
            // No client waits for the write that follows a failure.
            let _pending_save = self.with_locked_group(entry, &mut group, record_result).1;
        }
        stored
    }
}

/// The error code for a refused write. A failed database becomes COORDINATOR_NOT_AVAILABLE, after which
/// clients look for the coordinator again, with pauses. Other codes stay.
fn store_error(code: ErrorCode) -> ErrorCode {
    match code {
        ErrorCode::KAFKA_STORAGE_ERROR | ErrorCode::REQUEST_TIMED_OUT => ErrorCode::COORDINATOR_NOT_AVAILABLE,
        code => code,
    }
}
