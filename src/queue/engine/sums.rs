//! The sums that tell how long the note can become, and what may be handed out or fetched within its limit.

use super::Engine;
use super::note_budget::{NoteBudget, next_attempts_length};
use super::slots::{NIL, Slot};
use crate::queue::note::attempts_length;

impl<T> Engine<T> {
    /// How many of `budget` bytes may be fetched: none while a further message could not be handed out.
    pub fn room(&self, budget: usize) -> usize {
        let candidate = Slot::<()>::new(self.position, self.position);
        let takes = !self.handing_over && (self.slots.head() == NIL || self.fits_beside_head(&candidate, 0));
        if takes { budget } else { 0 }
    }

    pub(super) fn count_restored(&mut self) {
        self.budget.ranges = self.restored.ranges().len();
        for message in self.restored.attempted() {
            self.budget.attempted += 1;
            self.budget.attempts_bytes += attempts_length(message.attempts, message.kills, false);
            self.attempted += 1;
        }
        self.advance(self.position);
    }

    /// Counts a message as one whose outcome can make the note longer.
    pub(super) fn risk(&mut self, index: u32) {
        self.lift(index);
        self.slots.at_mut(index).at_risk = true;
        self.put(index);
        self.touch(index);
    }

    /// Takes a message out of the sums, to change it.
    pub(super) fn lift(&mut self, index: u32) {
        let slot = self.slots.at(index);
        self.attempted -= usize::from(slot.attempts > 0);
        without(&mut self.budget, slot);
    }

    /// Adds a changed message to the sums again.
    pub(super) fn put(&mut self, index: u32) {
        let slot = self.slots.at(index);
        self.attempted += usize::from(slot.attempts > 0);
        if slot.at_risk {
            self.budget.at_risk += 1;
            self.budget.attempts_bytes += reserve(slot);
        } else if slot.attempts > 0 {
            self.budget.attempted += 1;
            self.budget.attempts_bytes += attempts_length(slot.attempts, slot.kills, slot.in_test);
        }
    }

    /// Takes note that the note can speak of a message.
    pub(super) fn touch(&mut self, index: u32) {
        let end = self.slots.at(index).end();
        if end <= self.touched_end {
            return;
        }
        self.touched_end = end;
        while self.untouched != NIL && self.slots.at(self.untouched).offset < end {
            let slot = self.slots.at(self.untouched);
            self.touched_open += slot.span();
            self.untouched = slot.after;
        }
    }

    /// Whether the note fits whatever happens if this message is handed out, too.
    pub(super) fn fits(&self, index: u32) -> bool {
        let slot = self.slots.at(index);
        index == self.slots.head() || slot.at_risk || self.fits_beside_head(slot, reserve(slot))
    }

    /// The same for a message that is not the lowest open one, and whose attempts may take so many bytes.
    pub(super) fn fits_beside_head<U>(&self, slot: &Slot<U>, attempts_bytes: usize) -> bool {
        let head = self.slots.at(self.slots.head());
        let mut budget = self.budget;
        // The lowest open message counts in any case; its attempts do so with their longest.
        without(&mut budget, head);
        without(&mut budget, slot);
        budget.at_risk += 2;
        budget.attempts_bytes += attempts_bytes;
        budget.ranges += self.slots.ranges();
        let end = self.touched_end.max(slot.end());
        budget.span = end.max(self.restored.end).abs_diff(self.lowest());
        budget.open = self.touched_open
            + end.abs_diff(self.touched_end)
            + self.restored.end.max(self.position).abs_diff(self.position);
        budget.longest() <= self.settings.note_limit
    }
}

/// Takes a message out of the sums.
fn without<T>(budget: &mut NoteBudget, slot: &Slot<T>) {
    if slot.at_risk {
        budget.at_risk -= 1;
        budget.attempts_bytes -= reserve(slot);
    } else if slot.attempts > 0 {
        budget.attempted -= 1;
        budget.attempts_bytes -= attempts_length(slot.attempts, slot.kills, slot.in_test);
    }
}

/// The most bytes that the attempts of a message in hand may come to take in the note.
fn reserve<T>(slot: &Slot<T>) -> usize {
    if slot.dead {
        attempts_length(slot.attempts, slot.kills, slot.in_test)
    } else {
        next_attempts_length(slot.attempts, slot.kills, slot.in_test)
    }
}
