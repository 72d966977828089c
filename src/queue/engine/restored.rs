//! What the note of the owner before says about offsets that are not fetched yet.

use std::collections::VecDeque;

use crate::offset_ranges::OffsetRange;
use crate::queue::note::{Attempted, Note};

/// The rest of a note, the lowest offset first.
#[derive(Debug)]
pub struct Restored {
    done: VecDeque<OffsetRange>,
    attempted: VecDeque<Attempted>,
    /// The offset after the last one that the note speaks of.
    pub end: i64,
}

impl Restored {
    /// All of a note that was committed with `next`. A suspect that was being tried has killed its owner.
    pub fn new(next: i64, note: Note) -> Restored {
        let killed = |message: Attempted| Attempted {
            kills: message.kills + u32::from(message.in_test && message.kills < message.attempts),
            in_test: false,
            ..message
        };
        let done: VecDeque<OffsetRange> = note.done.into();
        let attempted: VecDeque<Attempted> = note.attempted.into_iter().map(killed).collect();
        let ranges_end = done.back().map_or(next, |(_, after)| *after);
        let attempts_end = attempted.back().map_or(next, |message| message.offset.saturating_add(1));
        Restored { done, attempted, end: ranges_end.max(attempts_end) }
    }

    /// The ranges that are done.
    pub fn ranges(&self) -> impl ExactSizeIterator<Item = OffsetRange> {
        self.done.iter().copied()
    }

    /// The messages that were attempted.
    pub fn attempted(&self) -> impl ExactSizeIterator<Item = Attempted> {
        self.attempted.iter().copied()
    }

    /// Takes the first range away if it begins at `position` or before; gives its end.
    pub fn pass(&mut self, position: i64) -> Option<i64> {
        let (_, after) = *self.done.front().filter(|(start, _)| *start <= position)?;
        self.done.pop_front();
        Some(after)
    }

    /// Takes a message away that is no longer there, as what is fetched next lies above it.
    pub fn pop_vanished(&mut self, position: i64) -> Option<Attempted> {
        self.attempted.front().filter(|message| message.offset < position)?;
        self.attempted.pop_front()
    }

    /// Takes the message at `offset` away.
    pub fn take(&mut self, offset: i64) -> Option<Attempted> {
        self.attempted.front().filter(|message| message.offset == offset)?;
        self.attempted.pop_front()
    }
}
