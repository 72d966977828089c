//! What the outcome of a lease makes of its message.

use super::slots::State;
use super::{Engine, Failed, Fate, LeaseId};

impl<T> Engine<T> {
    /// The message is handled, or stored as a dead letter. False for a lease that ran out: the message comes
    /// again, or has come.
    #[must_use]
    pub fn done(&mut self, lease: LeaseId) -> bool {
        let Some(index) = self.leased(lease) else { return false };
        self.leases.remove(self.slots.at(index).due, index);
        self.settle(index);
        true
    }

    /// The attempt failed; the next one comes after `delay` at the earliest, and not before this one is
    /// committed. The lease of a dead letter that
    /// is being stored runs out, too: [`Engine::extend`] it.
    pub fn fail(&mut self, lease: LeaseId, how: Failed, delay: u64, now: u64) -> Fate {
        let Some(index) = self.leased(lease) else { return Fate::Late };
        let dead = self.slots.at(index).dead;
        // A dead letter stays one, and what failed is its storing.
        if !dead {
            self.count_attempt(index, how);
        }
        let slot = self.slots.at(index);
        let (attempts, kills) = (slot.attempts, slot.kills);
        if !dead && self.is_out_of_attempts(attempts, kills) {
            self.condemn(index);
            return Fate::DeadLetter { attempts, kills };
        }
        self.give_back(index, delay, now);
        Fate::Retried
    }

    /// The message is not to be attempted again: the lease stands; store the message as a dead letter, then
    /// say that it is done. False for a lease that ran out.
    #[must_use]
    pub fn dead(&mut self, lease: LeaseId) -> bool {
        let Some(index) = self.leased(lease) else { return false };
        if self.slots.at(index).dead {
            return true;
        }
        self.count_attempt(index, Failed::Error);
        self.condemn(index);
        true
    }

    /// The message was not attempted, or failed by no fault of its own: no attempt is counted. What was to be
    /// stored as a dead letter still is. False for a lease that ran out.
    pub fn release(&mut self, lease: LeaseId, delay: u64, now: u64) -> bool {
        let Some(index) = self.leased(lease) else { return false };
        self.end_test(index);
        self.give_back(index, delay, now);
        true
    }

    /// Lets a lease run out at `until`. False for one that ran out before.
    #[must_use]
    pub fn extend(&mut self, lease: LeaseId, until: u64) -> bool {
        let Some(index) = self.leased(lease) else { return false };
        let due = std::mem::replace(&mut self.slots.at_mut(index).due, until);
        self.leases.remove(due, index);
        self.leases.add(until, index);
        true
    }

    /// A lease that has run out and is to be ended with [`Engine::fail`]; until then it stands.
    pub fn overdue(&self, now: u64) -> Option<LeaseId> {
        let (_, slot) = self.leases.first().filter(|(due, _)| *due <= now)?;
        Some(LeaseId { slot, number: self.slots.at(slot).stamp })
    }

    /// Removes a message for good, and lets the next one of its line go on.
    pub(super) fn settle(&mut self, index: u32) {
        self.lift(index);
        let slot = self.slots.at(index);
        self.touched_open -= slot.span();
        self.suspects.open -= usize::from(slot.suspect);
        if slot.in_test {
            self.suspects.end_test();
        }
        if slot.payload.is_some() {
            self.payload_bytes -= slot.bytes;
        }
        let next = self.lines.pop(&self.slots, index, self.committed.next_number());
        self.slots.remove(index);
        self.committed.changed = true;
        if self.slots.at(next).state == State::Blocked {
            self.lead(next);
        }
    }

    /// Ends a lease, and lets its message wait.
    fn give_back(&mut self, index: u32, delay: u64, now: u64) {
        self.leases.remove(self.slots.at(index).due, index);
        self.lift(index);
        self.slots.at_mut(index).at_risk = false;
        self.put(index);
        self.wait_until(index, now.saturating_add(delay));
        if delay > self.settings.keep_waiting {
            self.shed_line(index);
        }
    }

    fn condemn(&mut self, index: u32) {
        self.lift(index);
        self.slots.at_mut(index).dead = true;
        self.put(index);
    }

    fn count_attempt(&mut self, index: u32, how: Failed) {
        self.lift(index);
        let slot = self.slots.at_mut(index);
        if slot.in_test {
            slot.in_test = false;
            self.suspects.end_test();
        } else {
            slot.attempts = slot.attempts.saturating_add(1);
            slot.counted_in = self.committed.next_number();
        }
        if how == Failed::WorkerDied && slot.kills < slot.attempts {
            slot.kills += 1;
        }
        // Its consumer has survived it.
        self.suspects.open -= usize::from(std::mem::take(&mut slot.suspect));
        self.put(index);
        self.committed.changed = true;
    }
}
