//! The open messages of a partition, in order of offset.
//!
//! A slab whose slots are linked: a message is added at the end and removed anywhere in constant time. What
//! is done above the lowest open message are the gaps between neighbours, so no set of ranges is kept beside
//! it; their number is counted along.

use std::mem;

use crate::offset_ranges::OffsetRange;

/// The index of no slot.
pub const NIL: u32 = u32::MAX;

/// Slots of a queue without messages are given back from this many on.
const KEPT_SLOTS: usize = 1_024;

/// What a message waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// For the message before it in its key's line.
    Blocked,
    /// To be handed out.
    Ready,
    /// For its time.
    Waiting,
    /// For its bytes, which are to be fetched again.
    Missing,
    /// For a worker's answer.
    Leased,
    /// Nothing: the slot is free.
    Free,
}

/// An open message.
#[derive(Debug)]
pub struct Slot<T> {
    pub offset: i64,
    /// The first offset that is settled with it: those between the message before and this one have no
    /// records.
    pub start: i64,
    pub before: u32,
    pub after: u32,
    /// The message's line, if order matters to it, and the next one in it.
    pub line: Option<u64>,
    pub behind: u32,
    pub payload: Option<T>,
    pub bytes: usize,
    pub attempts: u32,
    pub kills: u32,
    /// The number of the first commit that has its attempts.
    pub counted_in: u64,
    pub state: State,
    /// When a waiting message is ready, or a leased one's lease runs out.
    pub due: u64,
    /// The number of its lease or wait, which no other has.
    pub stamp: u64,
    /// It counts among those whose outcome can make the note longer.
    pub at_risk: bool,
    pub suspect: bool,
    /// When it was fetched it stood behind another one of its line.
    pub follows: bool,
    pub in_test: bool,
    /// It is to be stored as a dead letter.
    pub dead: bool,
    /// Its bytes are asked for.
    pub asked: bool,
}

impl<T> Slot<T> {
    /// A message without a state yet, settled with the offsets from `start` on.
    pub fn new(offset: i64, start: i64) -> Slot<T> {
        Slot {
            offset,
            start,
            before: NIL,
            after: NIL,
            line: None,
            behind: NIL,
            payload: None,
            bytes: 0,
            attempts: 0,
            kills: 0,
            counted_in: 0,
            state: State::Free,
            due: 0,
            stamp: 0,
            at_risk: false,
            suspect: false,
            follows: false,
            in_test: false,
            dead: false,
            asked: false,
        }
    }

    /// The offset after it.
    pub fn end(&self) -> i64 {
        self.offset.saturating_add(1)
    }

    /// The offsets that are settled with it.
    pub fn span(&self) -> u64 {
        self.end().abs_diff(self.start)
    }
}

/// The open messages.
#[derive(Debug)]
pub struct Slots<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
    /// Stands for every index that is none, so that links need no test.
    nil: Slot<T>,
    head: u32,
    tail: u32,
    /// The offset after the last one that is added or known to be done.
    frontier: i64,
    ranges: usize,
}

impl<T> Slots<T> {
    /// None yet; the first offset will be `next` or a later one.
    pub fn new(next: i64) -> Slots<T> {
        Slots {
            slots: Vec::new(),
            free: Vec::new(),
            nil: Slot::new(-1, -1),
            head: NIL,
            tail: NIL,
            frontier: next,
            ranges: 0,
        }
    }

    /// The slot at `index`; an empty one for [`NIL`].
    pub fn at(&self, index: u32) -> &Slot<T> {
        self.slots.get(index as usize).unwrap_or(&self.nil)
    }

    /// The slot at `index`; one that nobody reads for [`NIL`].
    pub fn at_mut(&mut self, index: u32) -> &mut Slot<T> {
        match self.slots.get_mut(index as usize) {
            Some(slot) => slot,
            None => &mut self.nil,
        }
    }

    /// The lowest open message.
    pub fn head(&self) -> u32 {
        self.head
    }

    /// The number of open messages.
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// The number of done ranges between and after the open messages.
    pub fn ranges(&self) -> usize {
        self.ranges
    }

    /// The first offset that is settled with the message that is added next.
    pub fn next_start(&self, offset: i64) -> i64 {
        if self.head == NIL { offset } else { self.frontier.min(offset) }
    }

    /// Takes note that the offsets before `end` are added or done.
    pub fn advance(&mut self, end: i64) {
        let before = self.has_gap(self.tail, NIL);
        self.frontier = self.frontier.max(end);
        self.ranges += usize::from(self.has_gap(self.tail, NIL));
        self.ranges -= usize::from(before);
    }

    /// Adds a message with a higher offset than all before.
    pub fn push(&mut self, slot: Slot<T>) -> u32 {
        // A gap after the last message is now one between two.
        self.frontier = slot.end();
        let slot = Slot { before: self.tail, after: NIL, ..slot };
        let index = match self.free.pop() {
            Some(index) => {
                *self.at_mut(index) = slot;
                index
            }
            None => {
                self.slots.push(slot);
                (self.slots.len() - 1) as u32
            }
        };
        match mem::replace(&mut self.tail, index) {
            NIL => self.head = index,
            last => self.at_mut(last).after = index,
        }
        index
    }

    /// Removes a message that is done; gives back its payload.
    pub fn remove(&mut self, index: u32) -> Option<T> {
        let slot = self.at_mut(index);
        let (before, after) = (slot.before, slot.after);
        let payload = slot.payload.take();
        slot.state = State::Free;
        let gaps = usize::from(self.has_gap(before, index)) + usize::from(self.has_gap(index, after));
        match before {
            NIL => self.head = after,
            _ => self.at_mut(before).after = after,
        }
        match after {
            NIL => self.tail = before,
            _ => self.at_mut(after).before = before,
        }
        self.ranges += usize::from(self.has_gap(before, after));
        self.ranges -= gaps;
        self.free.push(index);
        if self.head == NIL && self.slots.len() > KEPT_SLOTS {
            (self.slots, self.free) = (Vec::new(), Vec::new());
        }
        payload
    }

    /// Lets a message whose record is gone be settled with the next one, if it would be a range of its own
    /// otherwise; gives the next one. The message is to be removed then.
    pub fn merge_into_next(&mut self, index: u32) -> Option<u32> {
        let (before, start, after) = (self.at(index).before, self.at(index).start, self.at(index).after);
        if before == NIL || self.has_gap(before, index) || self.has_gap(index, after) {
            return None;
        }
        // What lies between the two has no records.
        self.at_mut(index).offset = start - 1;
        match after {
            NIL => self.frontier = start,
            _ => self.at_mut(after).start = start,
        }
        Some(after)
    }

    /// The done range between two neighbours, or after the last message.
    pub fn gap(&self, before: u32, after: u32) -> Option<OffsetRange> {
        if before == NIL {
            return None;
        }
        let start = self.at(before).end();
        let end = if after == NIL { self.frontier } else { self.at(after).start };
        (start < end).then_some((start, end))
    }

    fn has_gap(&self, before: u32, after: u32) -> bool {
        self.gap(before, after).is_some()
    }

    /// The open messages in order.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &Slot<T>)> {
        let mut index = self.head;
        std::iter::from_fn(move || {
            let slot = self.slots.get(index as usize)?;
            let found = (index, slot);
            index = slot.after;
            Some(found)
        })
    }
}
