//! Bytes that are dropped while a message waits long, and fetched again in time.

use super::Engine;
use super::slots::{NIL, State};

/// So many messages of a line are fetched again together.
const TOGETHER: usize = 32;

impl<T> Engine<T> {
    /// The next offset whose record is to be fetched again, and given to [`Engine::fetched_again`],
    /// [`Engine::vanished`] or [`Engine::not_fetched`].
    pub fn next_wanted(&mut self) -> Option<i64> {
        let (offset, index) = self.wanted.pop_front()?;
        self.asked.insert(offset, index);
        Some(offset)
    }

    /// As [`Engine::next_wanted`] where there is no room for further bytes: the lowest open message alone,
    /// for which the others may wait.
    pub fn lowest_wanted(&mut self) -> Option<i64> {
        let lowest = self.lowest();
        let place = self.wanted.iter().position(|(offset, _)| *offset == lowest)?;
        let (offset, index) = self.wanted.remove(place)?;
        self.asked.insert(offset, index);
        Some(offset)
    }

    /// Whether records are to be fetched again.
    pub fn wants_fetch(&self) -> bool {
        !self.wanted.is_empty()
    }

    /// The record at `offset` was fetched again.
    pub fn fetched_again(&mut self, offset: i64, bytes: usize, payload: T) {
        let Some(index) = self.asked.remove(&offset) else { return };
        let slot = self.slots.at_mut(index);
        slot.asked = false;
        (slot.payload, slot.bytes) = (Some(payload), bytes);
        self.payload_bytes += bytes;
        if slot.state == State::Missing {
            self.make_ready(index);
        }
    }

    /// The record at `offset` is no longer there: it is done, and true is returned. One behind another
    /// message in its line is asked for once more when it is its turn.
    pub fn vanished(&mut self, offset: i64) -> bool {
        let Some(index) = self.asked.remove(&offset) else { return false };
        self.slots.at_mut(index).asked = false;
        let missing = self.slots.at(index).state == State::Missing;
        if missing {
            self.touch(index);
            let span = self.slots.at(index).span();
            if let Some(heir) = self.slots.merge_into_next(index) {
                self.touched_open -= span;
                if heir != NIL && self.slots.at(heir).offset < self.touched_end {
                    self.touched_open += span;
                }
            }
            self.settle(index);
        }
        missing
    }

    /// The record at `offset` could not be fetched: it is asked for again.
    pub fn not_fetched(&mut self, offset: i64) {
        if let Some(index) = self.asked.remove(&offset) {
            self.wanted.push_back((offset, index));
        }
    }

    /// Asks for the bytes of the head of a line, and with them for those of the next ones behind it.
    pub(super) fn want(&mut self, head: u32) {
        let mut index = head;
        for _ in 0..TOGETHER {
            if index == NIL {
                return;
            }
            let slot = self.slots.at_mut(index);
            if slot.payload.is_some() || slot.asked {
                return;
            }
            slot.asked = true;
            self.wanted.push_back((slot.offset, index));
            index = slot.behind;
        }
    }

    /// Drops the bytes of a message.
    pub(super) fn shed(&mut self, index: u32) {
        let slot = self.slots.at_mut(index);
        if slot.payload.take().is_some() {
            self.payload_bytes -= slot.bytes;
        }
    }

    /// Drops the bytes of a message that waits long, and of those behind it. It waits longer than it takes to
    /// go through them.
    pub(super) fn shed_line(&mut self, index: u32) {
        let mut index = index;
        while index != NIL {
            self.shed(index);
            index = self.slots.at(index).behind;
        }
    }
}
