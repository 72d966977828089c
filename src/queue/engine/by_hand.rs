//! What an administrator sees of the open messages, and does with them.

use super::slots::{NIL, State};
use super::{Engine, LeaseId, OpenMessage, OpenState};

impl<T> Engine<T> {
    /// The number of messages that wait for their next attempt.
    pub fn waiting_count(&self) -> usize {
        self.waiting
    }

    /// The lowest open message that was pushed, with what it brings along unless that was dropped.
    pub fn first_open(&self) -> Option<(i64, Option<&T>)> {
        let head = self.slots.head();
        let slot = self.slots.at(head);
        (head != NIL).then_some((slot.offset, slot.payload.as_ref()))
    }

    /// The open messages in order of offset.
    pub fn open(&self) -> impl Iterator<Item = OpenMessage> {
        self.slots.iter().map(|(_, slot)| OpenMessage {
            offset: slot.offset,
            attempts: slot.attempts,
            kills: slot.kills,
            suspect: slot.suspect,
            state: match slot.state {
                State::Blocked | State::Free => OpenState::Blocked,
                State::Ready => OpenState::Ready,
                State::Waiting => OpenState::Waiting(slot.due),
                State::Missing => OpenState::Missing,
                State::Leased => OpenState::Leased(slot.due),
            },
        })
    }

    /// What is handed out, each with the time at which its lease runs out, from the first of them on.
    pub fn leases(&self) -> impl Iterator<Item = (u64, LeaseId)> {
        let id = |index| LeaseId { slot: index, number: self.slots.at(index).stamp };
        self.leases.iter().map(move |(until, index)| (until, id(index)))
    }

    /// Lets the message at `offset` be attempted now that waits for its time (its attempts are committed
    /// before); false if it does not wait.
    pub fn retry_now(&mut self, offset: i64) -> bool {
        let Some(index) = self.find(offset).filter(|index| self.slots.at(*index).state == State::Waiting)
        else {
            return false;
        };
        self.slots.at_mut(index).due = 0;
        self.committed.changed = true;
        self.come_due(index);
        true
    }

    /// Lets the message at `offset` be stored as a dead letter, once those before it in its line are done;
    /// false if it is not open, or in hand.
    pub fn put_aside(&mut self, offset: i64) -> bool {
        let Some(index) = self.find(offset).filter(|index| {
            let slot = self.slots.at(*index);
            slot.state != State::Leased && !slot.in_test
        }) else {
            return false;
        };
        self.lift(index);
        let slot = self.slots.at_mut(index);
        let was_suspect = std::mem::take(&mut slot.suspect);
        slot.dead = true;
        let state = slot.state;
        self.put(index);
        self.suspects.open -= usize::from(was_suspect);
        if state == State::Waiting || (state == State::Ready && was_suspect) {
            self.make_ready(index);
        }
        true
    }

    fn find(&self, offset: i64) -> Option<u32> {
        self.slots.iter().find(|(_, slot)| slot.offset == offset).map(|(index, _)| index)
    }
}
