//! The thread that sees to timeouts: it sleeps until the first of them, over all groups.

use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use super::group::{Group, State};
use super::{Shared, Slot};
use crate::net::lock;

/// How long the thread sleeps when nothing is due.
const LONGEST: Duration = Duration::from_secs(60);

/// When the thread has to wake.
#[derive(Default)]
pub struct Timer {
    alarm: Mutex<Alarm>,
    changed: Condvar,
}

#[derive(Default)]
struct Alarm {
    at: Option<Instant>,
    stopped: bool,
}

impl Timer {
    /// Wakes the thread at `at`, if it would sleep longer.
    pub fn wake_by(&self, at: Instant) {
        let mut alarm = lock(&self.alarm);
        if alarm.at.is_none_or(|before| at < before) {
            alarm.at = Some(at);
            self.changed.notify_all();
        }
    }

    /// As [`Timer::wake_by`]; `None` is never.
    pub fn wake_by_option(&self, at: Option<Instant>) {
        if let Some(at) = at {
            self.wake_by(at);
        }
    }

    /// Ends the thread.
    pub fn stop(&self) {
        lock(&self.alarm).stopped = true;
        self.changed.notify_all();
    }

    /// Sleeps until something is due; false: stop.
    fn sleep(&self) -> bool {
        let mut alarm = lock(&self.alarm);
        loop {
            if alarm.stopped {
                return false;
            }
            let left = alarm.at.map_or(LONGEST, |at| at.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                // Whoever comes from now on sets it anew.
                alarm.at = None;
                return true;
            }
            let waited = self.changed.wait_timeout(alarm, left.min(LONGEST));
            alarm = waited.unwrap_or_else(std::sync::PoisonError::into_inner).0;
        }
    }
}

impl Shared {
    /// The body of the thread.
    pub(super) fn run_timer(&self) {
        while self.timer.sleep() {
            for slot in self.all() {
                self.expire(&slot);
            }
        }
    }

    fn expire(&self, slot: &Arc<Slot>) {
        let mut group = lock(&slot.group);
        if self.is_stopping() || group.state() == State::Dead {
            return;
        }
        // What is stored here (that a group has become empty) nobody waits for.
        let (idle, _saving) = self.change(slot, &mut group, |group: &mut Group, now| {
            group.expire(now);
            group.is_idle(now)
        });
        if idle {
            self.forget_idle(&mut group);
        }
    }

    /// Forgets a group that nobody has used for a while and that has committed nothing.
    fn forget_idle(&self, group: &mut Group) {
        if !self.store.all_committed(&group.name).is_empty() {
            group.keep(Instant::now());
            self.timer.wake_by_option(group.next_deadline());
            return;
        }
        log::debug!("group {}: forgotten, it has neither members nor offsets", group.name);
        group.kill();
        lock(&self.slots).remove(&group.name);
        // Nobody waits for it; if it is not stored, the next holder does it.
        let _pending = self.store.delete_group(&group.name);
    }
}
