//! The coordinator of consumer groups: members, generations, committed offsets.
//!
//! - [`group`]: the state of one group, without I/O, with [`join`], [`sync`] and [`presence`]
//! - [`member`]: its members
//! - [`record`]: a group as it is stored
//! - [`waiting`]: JoinGroup and SyncGroup, which wait; [`offsets`], [`overview`]: the other requests
//! - `timer`: the thread that sees to timeouts
//! - [`limits`]: what groups may hold
//!
//! A group has one lock. What has to be stored is handed to the store under it, so that it is stored in the
//! order in which it happened: the commit of a member that has been fenced never comes after one of its
//! successor. Waiting for the disk happens outside of the lock, and before the answer.

pub mod group;
pub mod join;
pub mod limits;
pub mod member;
pub mod offsets;
pub mod overview;
pub mod presence;
pub mod record;
pub mod sync;
mod timer;
pub mod waiting;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Instant;

use group::{Group, Save, State};
use limits::{MAX_GROUPS, MAX_TEXT};
use record::Damaged;
use timer::Timer;

use super::storage::{Pending, Store};
use crate::net::lock;
use crate::protocol::error_code::ErrorCode;

/// Why the coordinator cannot start.
#[derive(Debug)]
pub enum StartError {
    /// A stored group is damaged.
    Damaged(Damaged),
    /// The system gives no thread.
    System(String),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Damaged(damaged) => write!(f, "{damaged}"),
            StartError::System(reason) => write!(f, "no thread for the group coordinator: {reason}"),
        }
    }
}

impl std::error::Error for StartError {}

/// All groups of the broker. Its requests may come from any thread, and answer there.
pub struct Groups {
    shared: Arc<Shared>,
    timer: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    store: Arc<Store>,
    slots: Mutex<HashMap<Arc<str>, Arc<Slot>>>,
    /// Bytes that the members of all groups hold.
    bytes: AtomicUsize,
    stopping: AtomicBool,
    timer: Timer,
}

/// A group, and those who wait for it.
struct Slot {
    group: Mutex<Group>,
    changed: Condvar,
}

/// Something that is on its way to the disk.
struct Saving {
    pending: Pending<()>,
    assignment_of: Option<i32>,
}

/// What came of [`Shared::act`].
struct Acted<T> {
    result: T,
    slot: Arc<Slot>,
    saving: Option<Saving>,
}

impl Groups {
    /// Loads the groups of `store`, and starts the thread that sees to their timeouts. Members go on as they
    /// were, with their whole session timeout from now.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn start(store: Arc<Store>) -> Result<Groups, StartError> {
        let now = Instant::now();
        let (mut slots, mut bytes) = (HashMap::new(), 0);
        for name in store.group_names() {
            let group = match store.group(&name) {
                Some(state) => record::decode(&name, &state, now).map_err(StartError::Damaged)?,
                None => Group::new(name.clone(), now),
            };
            bytes += group.bytes();
            slots.insert(name, Arc::new(Slot { group: Mutex::new(group), changed: Condvar::new() }));
        }
        let shared = Arc::new(Shared {
            store,
            slots: Mutex::new(slots),
            bytes: AtomicUsize::new(bytes),
            stopping: AtomicBool::new(false),
            timer: Timer::default(),
        });
        shared.timer.wake_by(now);
        let theirs = shared.clone();
        let thread = std::thread::Builder::new()
            .name("broker-groups".to_owned())
            .spawn(move || theirs.run_timer())
            .map_err(|error| StartError::System(error.to_string()))?;
        Ok(Groups { shared, timer: Mutex::new(Some(thread)) })
    }

    /// A client's connection is gone: its dynamic members go after a short grace, unless they are heard of
    /// over another one.
    pub fn connection_closed(&self, connection: u64) {
        let now = Instant::now();
        for slot in self.shared.all() {
            let mut group = lock(&slot.group);
            if self.shared.is_stopping() {
                return;
            }
            if group.connection_closed(connection, now) {
                self.shared.timer.wake_by_option(group.next_deadline());
            }
        }
    }

    /// Stops: waiting requests and all later ones get NOT_COORDINATOR, so that clients look for the next
    /// holder, and no member is removed any more. To be called before connections are closed, as the next
    /// holder needs the members.
    pub fn stop(&self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        self.shared.timer.stop();
        for slot in self.shared.all() {
            // Under the lock, so that whoever acts on the group now has done it when this returns.
            let _group = lock(&slot.group);
            slot.changed.notify_all();
        }
        let thread = lock(&self.timer).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            log::error!("the thread of the group coordinator did not end well");
        }
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    fn all(&self) -> Vec<Arc<Slot>> {
        lock(&self.slots).values().cloned().collect()
    }

    fn find(&self, name: &str, create: bool) -> Result<Option<Arc<Slot>>, ErrorCode> {
        let mut slots = lock(&self.slots);
        if let Some(slot) = slots.get(name) {
            return Ok(Some(slot.clone()));
        }
        if !create {
            return Ok(None);
        }
        if name.is_empty() || name.len() > MAX_TEXT {
            return Err(ErrorCode::INVALID_GROUP_ID);
        }
        if slots.len() >= MAX_GROUPS {
            log::warn!(
                "group {name}: refused, there are {MAX_GROUPS} groups; delete some that are not needed"
            );
            return Err(ErrorCode::POLICY_VIOLATION);
        }
        let name: Arc<str> = name.into();
        let group = Mutex::new(Group::new(name.clone(), Instant::now()));
        let slot = Arc::new(Slot { group, changed: Condvar::new() });
        slots.insert(name, slot.clone());
        Ok(Some(slot))
    }

    /// Does something to a group under its lock, and hands what is to be stored to the store. `None`: there
    /// is no such group, and none was to be created.
    ///
    /// # Errors
    /// NOT_COORDINATOR once the broker stops; INVALID_GROUP_ID and POLICY_VIOLATION (too many groups) from
    /// creating.
    fn act<T>(
        &self,
        name: &str,
        create: bool,
        action: impl FnOnce(&mut Group, Instant) -> T,
    ) -> Result<Option<Acted<T>>, ErrorCode> {
        loop {
            let Some(slot) = self.find(name, create)? else { return Ok(None) };
            let mut group = lock(&slot.group);
            if self.is_stopping() {
                return Err(ErrorCode::NOT_COORDINATOR);
            }
            if group.state() == State::Dead {
                // Deleted since it was found; it is no longer in the table.
                continue;
            }
            let (result, saving) = self.change(&slot, &mut group, action);
            drop(group);
            return Ok(Some(Acted { result, slot, saving }));
        }
    }

    /// Does something to a locked group; sees to what follows from it.
    fn change<T>(
        &self,
        slot: &Slot,
        group: &mut Group,
        action: impl FnOnce(&mut Group, Instant) -> T,
    ) -> (T, Option<Saving>) {
        let before = group.bytes();
        let result = action(group, Instant::now());
        self.bytes.fetch_add(group.bytes(), Ordering::Relaxed);
        self.bytes.fetch_sub(before, Ordering::Relaxed);
        let saving = group.take_save().map(|save| Saving {
            pending: self.store.save_group(&group.name, record::encode(group)),
            assignment_of: match save {
                Save::Assignment(generation) => Some(generation),
                Save::State => None,
            },
        });
        if group.has_answers() {
            slot.changed.notify_all();
        }
        self.timer.wake_by_option(group.next_deadline());
        (result, saving)
    }

    /// Waits until what was handed to the store is stored.
    ///
    /// # Errors
    /// See [`store_error`].
    fn finish(&self, slot: &Slot, saving: Option<Saving>) -> Result<(), ErrorCode> {
        let Some(Saving { pending, assignment_of }) = saving else { return Ok(()) };
        let stored = pending.wait().map_err(store_error);
        if let Some(generation) = assignment_of {
            let mut group = lock(&slot.group);
            let told = |group: &mut Group, now| group.stored(generation, stored, now);
            // Nobody waits for what the store's failure leads to.
            let _saving = self.change(slot, &mut group, told).1;
        }
        stored
    }
}

/// What a client is told when the store refuses. That the database has failed is the coordinator's trouble:
/// clients look for it and try again, each time after a pause. A refusal of the store for its own reasons
/// stays what it is.
fn store_error(code: ErrorCode) -> ErrorCode {
    match code {
        ErrorCode::KAFKA_STORAGE_ERROR | ErrorCode::REQUEST_TIMED_OUT => ErrorCode::COORDINATOR_NOT_AVAILABLE,
        code => code,
    }
}
