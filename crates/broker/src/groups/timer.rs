//! The timer thread: sleeps until the next timeout of any group.

use net::sync::{Condvar, Mutex, lock, wait_timeout};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::group::{Group, GroupState};
use super::{CoordinatorState, GroupEntry};

/// The longest sleep of the thread.
const LONGEST: Duration = Duration::from_secs(60);

/// Wakes the timer thread at the next timeout.
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
    /// Wakes the thread at `at` at the latest.
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

    /// Sleeps until a timeout is due; false once the timer is stopped.
    fn sleep(&self) -> bool {
        let mut alarm = lock(&self.alarm);
        loop {
            if alarm.stopped {
                return false;
            }
            let left = alarm.at.map_or(LONGEST, |at| at.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                // Later timeouts set it again.
                alarm.at = None;
                return true;
            }
            alarm = wait_timeout(&self.changed, alarm, left.min(LONGEST));
        }
    }
}

impl CoordinatorState {
    /// The body of the thread.
    pub(super) fn run_timer(&self) {
        while self.timer.sleep() {
            for entry in self.all() {
                self.expire(&entry);
            }
        }
    }

    fn expire(&self, entry: &Arc<GroupEntry>) {
        let mut group = lock(&entry.group);
        if self.is_stopping() || group.state() == GroupState::Dead {
            return;
        }
        // No client waits for this write, by which a group becomes empty.
        let (idle, _pending_save) = self.with_locked_group(entry, &mut group, |group: &mut Group, now| {
            group.expire(now);
            group.is_idle(now)
        });
        if idle {
            self.remove_if_unused(&mut group);
        }
    }

    /// Removes an unused group without committed offsets.
    fn remove_if_unused(&self, group: &mut Group) {
        if !self.store.all_committed(&group.name).is_empty() {
            group.keep(Instant::now());
            self.timer.wake_by_option(group.next_deadline());
            return;
        }
        log::debug!("group {}: removed, it has neither members nor offsets", group.name);
        group.mark_dead();
        lock(&self.entries).remove(&group.name);
        // No client waits for this write; if it fails, the next holder removes the group.
        let _pending = self.store.delete_group(&group.name);
    }
}
