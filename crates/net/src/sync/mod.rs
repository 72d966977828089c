//! Tools for threads: locks, a thread with a name and an end, a number of bytes that may be in use.

mod byte_budget;
mod worker;

use std::sync::PoisonError;
use std::time::Duration;

/// As in std. Debug builds keep the order in which locks are taken and panic where two orders contradict.
pub use tracing_mutex::stdsync::{Condvar, Mutex, MutexGuard, RwLock, RwLockReadGuard};

pub use byte_budget::{ByteBudget, Reserved};
pub use worker::Worker;

/// Locks `mutex`, also after a panic elsewhere: what these mutexes guard is never left half changed.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits on `condvar` for `time` at most, as [`lock`] locks.
pub fn wait_timeout<'a, T>(condvar: &Condvar, guard: MutexGuard<'a, T>, time: Duration) -> MutexGuard<'a, T> {
    match condvar.wait_timeout(guard, time) {
        Ok((guard, _)) => guard,
        Err(poisoned) => poisoned.into_inner().0,
    }
}
