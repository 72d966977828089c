//! Which dead letters of a partition are settled, which is replayed or discarded. A topic only grows, so it is
//! kept beside it: as the offset that a group has committed, before which all are settled, and as ranges above it
//! in that commit's metadata.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// What Kafka takes as metadata of a commit by default (`offset.metadata.max.bytes`).
pub const MAX_NOTE_BYTES: usize = 4_096;

/// What a note begins with that has ranges. In base64 (RFC 4648, for URLs, without padding) follow, for each
/// range in order, two unsigned LEB128 numbers: the offsets between the end of the range before, or the committed
/// offset, and its first one, and how many it has.
const MARK: &str = "settled:";

/// The most characters that one more range takes: of two numbers of nine bytes at most, four for three bytes.
const MAX_RANGE_CHARACTERS: usize = 24;

/// The settled offsets of a partition: all before `next`, and ranges above it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settled {
    next: i64,
    /// First offset and the one after the last; apart from each other and from `next`.
    ranges: BTreeMap<i64, i64>,
}

/// A note that says nothing, or something impossible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoNote;

impl fmt::Display for NoNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("what is noted with the committed offset was not written by this program")
    }
}

impl std::error::Error for NoNote {}

impl Settled {
    /// All offsets before `next`, and no other.
    pub fn before(next: i64) -> Settled {
        Settled { next: next.max(0), ranges: BTreeMap::new() }
    }

    /// What was committed as `next` and `note`; an empty note has no ranges.
    ///
    /// # Errors
    /// The note is not one of [`Settled::note`].
    pub fn read(next: i64, note: &str) -> Result<Settled, NoNote> {
        let mut settled = Settled::before(next);
        if note.is_empty() {
            return Ok(settled);
        }
        let text = note.strip_prefix(MARK).ok_or(NoNote)?;
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| NoNote)?;
        let (mut rest, mut end) = (bytes.as_slice(), settled.next);
        while !rest.is_empty() {
            let [gap, length] = [take(&mut rest)?, take(&mut rest)?];
            let start = end.checked_add(gap).ok_or(NoNote)?;
            end = start.checked_add(length).ok_or(NoNote)?;
            if gap == 0 || length == 0 {
                return Err(NoNote);
            }
            settled.ranges.insert(start, end);
        }
        Ok(settled)
    }

    /// The ranges, to be committed with [`Settled::next`].
    pub fn note(&self) -> String {
        if self.ranges.is_empty() {
            return String::new();
        }
        let (mut bytes, mut end) = (Vec::new(), self.next);
        for (start, after) in &self.ranges {
            put(&mut bytes, start - end);
            put(&mut bytes, after - start);
            end = *after;
        }
        format!("{MARK}{}", URL_SAFE_NO_PAD.encode(bytes))
    }

    /// Whether [`Settled::note`] is short enough to be committed.
    pub fn fits(&self) -> bool {
        self.note().len() <= MAX_NOTE_BYTES
    }

    /// How many single offsets can certainly be settled, wherever they are, before the note becomes too long.
    pub fn room(&self) -> usize {
        MAX_NOTE_BYTES.saturating_sub(MARK.len() + self.note().len()) / MAX_RANGE_CHARACTERS
    }

    /// The offset before which all is settled.
    pub fn next(&self) -> i64 {
        self.next
    }

    /// Whether `offset` is settled.
    pub fn contains(&self, offset: i64) -> bool {
        self.open_from(offset) != offset
    }

    /// The first offset from `offset` on that is not settled.
    pub fn open_from(&self, offset: i64) -> i64 {
        let offset = offset.max(self.next);
        match self.ranges.range(..=offset).next_back() {
            Some((_, after)) if *after > offset => *after,
            _ => offset,
        }
    }

    /// How many offsets from `start` to before `end` are not settled.
    pub fn open_within(&self, start: i64, end: i64) -> u64 {
        let start = start.max(self.next);
        let covered: i64 =
            self.ranges.iter().map(|(from, to)| (to.min(&end) - from.max(&start)).max(0)).sum();
        u64::try_from(end - start - covered).unwrap_or(0)
    }

    /// Settles the offsets from `start` to before `end`.
    pub fn insert(&mut self, start: i64, end: i64) {
        if end <= start.max(self.next) {
            return;
        }
        let (mut start, mut end) = (start, end);
        // What it touches becomes one range with it.
        while let Some((&from, &to)) = self.ranges.range(..=end).next_back().filter(|(_, to)| **to >= start) {
            self.ranges.remove(&from);
            (start, end) = (start.min(from), end.max(to));
        }
        if start <= self.next {
            self.next = end;
        } else {
            self.ranges.insert(start, end);
        }
    }
}

/// One unsigned LEB128 number of at most 63 bits.
fn take(bytes: &mut &[u8]) -> Result<i64, NoNote> {
    let mut number: i64 = 0;
    for shift in (0..63).step_by(7) {
        let (byte, rest) = bytes.split_first().ok_or(NoNote)?;
        *bytes = rest;
        number |= i64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(NoNote)
}

fn put(bytes: &mut Vec<u8>, number: i64) {
    let mut rest = number.max(0);
    while rest > 0x7f {
        bytes.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::protocol::testing::Random;

    #[test]
    fn what_is_settled_in_any_order_is_what_a_set_of_offsets_says() {
        for seed in 0..200 {
            let mut random = Random::new(seed);
            let first = random.below(5) as i64;
            let mut settled = Settled::before(first);
            let mut model: BTreeSet<i64> = (0..first).collect();
            for _ in 0..60 {
                let start = random.below(100) as i64;
                let end = start + random.below(6) as i64;
                settled.insert(start, end);
                model.extend(start..end);
                let next = (0..).find(|offset| !model.contains(offset)).unwrap();
                assert_eq!(settled.next(), next, "seed {seed}");
                for offset in 0..110 {
                    assert_eq!(settled.contains(offset), model.contains(&offset), "seed {seed}: {offset}");
                }
                let from = random.below(110) as i64;
                let open = (from..).find(|offset| !model.contains(offset)).unwrap();
                assert_eq!(settled.open_from(from), open, "seed {seed}");
                let counted = (from..105).filter(|offset| !model.contains(offset)).count() as u64;
                assert_eq!(settled.open_within(from, 105), counted, "seed {seed}");
                assert_eq!(
                    Settled::read(settled.next(), &settled.note()).as_ref(),
                    Ok(&settled),
                    "seed {seed}"
                );
            }
        }
    }

    #[test]
    fn a_thousand_letters_settled_out_of_order_fit_a_note() {
        let mut settled = Settled::before(1 << 40);
        let mut count = 0;
        while settled.fits() {
            count += 1;
            settled.insert((1 << 40) + 2 * count - 1, (1 << 40) + 2 * count);
        }
        assert!(settled.note().len() > MAX_NOTE_BYTES && count > 1_000, "{count}");
        settled.insert(0, (1 << 40) + 2 * count);
        assert_eq!((settled.next(), settled.note().as_str()), ((1 << 40) + 2 * count, ""));
    }

    #[test]
    fn so_many_as_there_is_said_to_be_room_for_fit_wherever_they_are() {
        let mut random = Random::new(5);
        let mut settled = Settled::default();
        while settled.room() > 0 {
            let before = settled.clone();
            for _ in 0..before.room() {
                let start = (random.next() >> 2) as i64;
                settled.insert(start, start + 1);
            }
            assert!(settled.fits(), "{}", settled.note().len());
        }
    }

    #[test]
    fn a_note_of_somebody_else_is_refused() {
        for note in ["x", "settled:", "settled:!", "settled:AAE", "settled:AQA", "settled:AQ", "settled:gA"] {
            let read = Settled::read(3, note);
            assert_eq!(read.is_ok(), note == "settled:", "{note}");
        }
        let largest =
            URL_SAFE_NO_PAD.encode([0xff; 8].into_iter().chain([0x7f]).collect::<Vec<u8>>().repeat(2));
        assert_eq!(Settled::read(3, &format!("{MARK}{largest}")), Err(NoNote), "past the last offset");
        let mut random = Random::new(1);
        for _ in 0..2_000 {
            let length = random.below(30);
            let bytes: Vec<u8> = (0..length).map(|_| random.below(256) as u8).collect();
            if let Ok(read) = Settled::read(7, &format!("{MARK}{}", URL_SAFE_NO_PAD.encode(&bytes))) {
                assert_eq!(Settled::read(7, &read.note()), Ok(read));
            }
        }
    }
}
