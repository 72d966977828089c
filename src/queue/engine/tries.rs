//! Tries while too many attempts fail, which are for finding out whether any message can be handled.

use super::ready::{Entry, May};
use super::{Engine, Lease, LeaseId, Pause, Ready};

impl<T> Engine<T> {
    /// Hands out one message that is ready: the first one after that of the try before, so that each has its turn.
    /// Those that fail for a fault of their own would be tried for ever otherwise.
    pub fn receive_try(&mut self, now: u64) -> Option<Lease> {
        self.wake(now);
        if self.handing_over {
            self.pause = Some(Pause::HandOver);
            return None;
        }
        self.pause = None;
        let after = self.tried;
        let in_turn = |ready: &mut Ready, may: &mut dyn FnMut(Entry) -> May| ready.pop_after(after, may);
        let index = self.suspects.confirmed(&self.slots).or_else(|| self.next_ready(in_turn))?;
        self.tried = self.slots.at(index).offset;
        Some(self.lease(index, now))
    }

    /// The attempt failed by no fault of the message's: none is counted. The worker has survived it, so it is no
    /// suspect any more. False for a lease that ran out.
    pub fn excuse(&mut self, lease: LeaseId, delay: u64, now: u64) -> bool {
        let Some(index) = self.leased(lease) else { return false };
        let was_suspect = std::mem::take(&mut self.slots.at_mut(index).suspect);
        self.suspects.open -= usize::from(was_suspect);
        self.release(lease, delay, now)
    }
}
