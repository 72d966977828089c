//! The leased messages, in the order in which their leases run out. All leases last equally long from when
//! they are given or extended, so the newest runs out last and a list is enough.

use super::slots::{NIL, Slots};

/// The ends of the list, whose links are in the slots.
#[derive(Debug)]
pub struct Leases {
    first: u32,
    last: u32,
    count: usize,
}

impl Leases {
    /// No leases.
    pub fn new() -> Leases {
        Leases { first: NIL, last: NIL, count: 0 }
    }

    /// The lease that runs out first.
    pub fn first(&self) -> u32 {
        self.first
    }

    /// The number of leases.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Adds the lease that runs out last.
    pub fn push<T>(&mut self, slots: &mut Slots<T>, index: u32) {
        let before = std::mem::replace(&mut self.last, index);
        let slot = slots.at_mut(index);
        (slot.lease_before, slot.lease_after) = (before, NIL);
        match before {
            NIL => self.first = index,
            _ => slots.at_mut(before).lease_after = index,
        }
        self.count += 1;
    }

    /// Removes a lease.
    pub fn remove<T>(&mut self, slots: &mut Slots<T>, index: u32) {
        let (before, after) = (slots.at(index).lease_before, slots.at(index).lease_after);
        match before {
            NIL => self.first = after,
            _ => slots.at_mut(before).lease_after = after,
        }
        match after {
            NIL => self.last = before,
            _ => slots.at_mut(after).lease_before = before,
        }
        self.count -= 1;
    }
}
