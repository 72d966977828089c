//! The lines of messages whose order matters: those of one key, or all of the partition.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};

use super::slots::{NIL, Slots};

/// The order in which messages are handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Messages with one key one after the other, others beside them.
    Key,
    /// Any message beside any other.
    None,
    /// One message after the other.
    Partition,
}

/// The first and the last message of a line.
#[derive(Debug, Clone, Copy)]
struct Line {
    head: u32,
    tail: u32,
}

/// The lines.
///
/// A line is known by a hash of its key, with a seed of this process: two keys that share one wait for each
/// other, which is true to the promise of both, and no key is copied.
#[derive(Debug)]
pub struct Lines {
    order: Order,
    seed: RandomState,
    lines: HashMap<u64, Line, BuildHasherDefault<Hashed>>,
}

/// Takes a number that is a hash already for its own.
#[derive(Debug, Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}

impl Lines {
    /// No lines yet.
    pub fn new(order: Order) -> Lines {
        Lines { order, seed: RandomState::new(), lines: HashMap::default() }
    }

    /// The line of a message with `key`, if it is in one.
    pub fn of(&self, key: Option<&[u8]>) -> Option<u64> {
        match self.order {
            Order::Key => key.map(|key| self.seed.hash_one(key)),
            Order::None => None,
            Order::Partition => Some(0),
        }
    }

    /// Adds a message at the end of its line; gives the line's head, which is the message itself if it is the
    /// first one.
    pub fn push<T>(&mut self, slots: &mut Slots<T>, index: u32) -> u32 {
        let Some(line) = slots.at(index).line else { return index };
        match self.lines.get_mut(&line) {
            Some(line) => {
                slots.at_mut(line.tail).behind = index;
                line.tail = index;
                line.head
            }
            None => {
                self.lines.insert(line, Line { head: index, tail: index });
                index
            }
        }
    }

    /// Takes the head of a line away; gives the next one, or [`NIL`].
    pub fn pop<T>(&mut self, slots: &Slots<T>, index: u32) -> u32 {
        let Some(line) = slots.at(index).line else { return NIL };
        let behind = slots.at(index).behind;
        match self.lines.get_mut(&line) {
            Some(line) if behind != NIL => line.head = behind,
            _ => _ = self.lines.remove(&line),
        }
        behind
    }
}
