//! The thread that checks passwords and looks at the file of users: neither may hold up the server's thread.

use std::sync::Arc;
use std::time::Instant;

use net::stop::Stop;
use net::sync::{Condvar, Mutex, Worker, lock, wait_timeout};

pub(in super::super) use super::check_queue::Waiter;
use super::check_queue::{CheckQueue, Next, TOO_MANY_OF_ADDRESS};
use super::credentials::Credentials;
use super::failed_addresses::ClientAddress;
use super::remembered::CredentialKey;
use super::watched_file::WatchedFile;
use crate::error::{Error, Result};
use crate::http::responder::ResponseQueue;
use crate::http::response::ErrorResponse;
use crate::users::{PasswordHash, User, Users};

/// The outcome of a check.
pub(in super::super) enum Outcome {
    /// The password is this user's.
    Right(Arc<User>),
    /// It is nobody's.
    Wrong,
    /// It was not checked: others go first.
    NotChecked(ErrorResponse),
}

/// A password that was checked, or will not be.
pub(in super::super) struct CheckedPassword {
    /// The keyed hash of name and password.
    pub(super) key: CredentialKey,
    /// Its outcome.
    pub(in super::super) outcome: Outcome,
    /// The requests that wait for it.
    pub(in super::super) waiters: Vec<Waiter>,
}

#[derive(Default)]
struct State {
    queue: CheckQueue,
    checked: Vec<CheckedPassword>,
    /// The users, if they have changed.
    changed: Option<Arc<Users>>,
}

struct Shared {
    state: Mutex<State>,
    /// There is something to check, or the thread shall end.
    work: Condvar,
    /// Wakes the server.
    responses: Arc<ResponseQueue>,
}

/// Checks passwords on a thread of its own.
pub(super) struct PasswordChecker {
    shared: Arc<Shared>,
    _worker: Worker,
}

impl PasswordChecker {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(super) fn start(
        file: WatchedFile,
        users: Arc<Users>,
        responses: Arc<ResponseQueue>,
    ) -> Result<PasswordChecker> {
        let shared = Arc::new(Shared { state: Mutex::default(), work: Condvar::default(), responses });
        let its = Arc::clone(&shared);
        let worker = Worker::start("http-users", move |stop| its.run(file, users, stop))
            .map_err(|error| Error::new("no thread for passwords").caused_by(error))?;
        Ok(PasswordChecker { shared, _worker: worker })
    }

    /// Has a password checked for `waiter`.
    ///
    /// # Errors
    /// 429 or 503: too many wait.
    pub(super) fn submit(
        &self,
        key: CredentialKey,
        credentials: Credentials,
        address: ClientAddress,
        waiter: Waiter,
        now: Instant,
    ) -> Result<(), ErrorResponse> {
        let mut state = lock(&self.shared.state);
        let evicted = state.queue.add(key, credentials, address, waiter, now)?;
        let wakes_server = evicted.is_some();
        state.checked.extend(evicted.map(|check| {
            let outcome = Outcome::NotChecked(TOO_MANY_OF_ADDRESS);
            CheckedPassword { key: check.key, outcome, waiters: check.into_waiters() }
        }));
        drop(state);
        self.shared.work.notify_one();
        if wakes_server {
            self.shared.responses.wake();
        }
        Ok(())
    }

    /// Moves the checked passwords to `checked`, and returns the users if they have changed.
    pub(super) fn take_news(&self, checked: &mut Vec<CheckedPassword>) -> Option<Arc<Users>> {
        let mut state = lock(&self.shared.state);
        checked.append(&mut state.checked);
        state.changed.take()
    }
}

impl Shared {
    fn run(self: &Arc<Shared>, mut file: WatchedFile, mut users: Arc<Users>, stop: &Stop) {
        let its = Arc::clone(self);
        let _hook = stop.on_ask(move || {
            // Under the lock, so that the thread is not between its look at the stop and its wait.
            let _state = lock(&its.state);
            its.work.notify_all();
        });
        let nobodys = PasswordHash::impossible();
        while !stop.is_asked() {
            if let Some(changed) = file.look(Instant::now()) {
                users = Arc::new(changed);
                lock(&self.state).changed = Some(Arc::clone(&users));
                self.responses.wake();
            }
            let Some((key, credentials)) = self.next(&file, stop) else { continue };
            let begun = Instant::now();
            let user = right_user(&users, &credentials, &nobodys);
            let now = Instant::now();
            let mut state = lock(&self.state);
            let ended = state.queue.end(key, user.is_some(), now.saturating_duration_since(begun), now);
            let outcome = user.map_or(Outcome::Wrong, Outcome::Right);
            let checked = ended.map(|check| CheckedPassword { key, outcome, waiters: check.into_waiters() });
            state.checked.extend(checked);
            drop(state);
            self.responses.wake();
        }
    }

    /// The next password to check. `None`: it is time to look at the file, to end, or to ask again.
    fn next(&self, file: &WatchedFile, stop: &Stop) -> Option<(CredentialKey, Credentials)> {
        let mut state = lock(&self.state);
        let now = Instant::now();
        let until = match state.queue.next(now) {
            Next::Now(key, credentials) => return Some((key, credentials)),
            Next::At(at) => at.min(file.next_look()),
            Next::Nothing => file.next_look(),
        };
        if !stop.is_asked() {
            drop(wait_timeout(&self.work, state, until.saturating_duration_since(now)));
        }
        None
    }
}

/// The user of this name, if the password is its own. It takes as long where there is no such user.
fn right_user(users: &Users, credentials: &Credentials, nobodys: &PasswordHash) -> Option<Arc<User>> {
    let user = users.named(&credentials.name);
    let hash = user.and_then(|user| user.password());
    let is_right = hash.unwrap_or(nobodys).is_of(credentials.password.as_bytes());
    user.filter(|_| is_right && hash.is_some()).cloned()
}
