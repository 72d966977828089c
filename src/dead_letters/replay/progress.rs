//! The progress of replays in a partition: the dead letters that are settled (replayed or discarded). A topic
//! only grows, so the progress is kept beside it: as the offset that a group has committed, before which all
//! are settled, and as ranges above it in that commit's metadata.

use std::collections::BTreeMap;
use std::fmt;

use crate::offset_ranges::{self, MAX_METADATA_BYTES, OffsetRange};

/// The prefix of a note with ranges; the text of [`offset_ranges`] follows.
const MARK: &str = "settled:";

/// The most characters that one more range takes: of two numbers of nine bytes at most, four for three bytes.
const MAX_RANGE_CHARACTERS: usize = 24;

/// The settled offsets of a partition: all before `next`, and ranges above it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReplayProgress {
    next: i64,
    /// First offset and the one after the last; apart from each other and from `next`.
    ranges: BTreeMap<i64, i64>,
}

/// A note that cannot be read, or is impossible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoNote;

impl fmt::Display for NoNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("what is noted with the committed offset was not written by this program")
    }
}

impl std::error::Error for NoNote {}

impl ReplayProgress {
    /// All offsets before `next`, and no other.
    pub fn before(next: i64) -> ReplayProgress {
        ReplayProgress { next: next.max(0), ranges: BTreeMap::new() }
    }

    /// The progress that was committed as `next` and `note`; an empty note has no ranges.
    ///
    /// # Errors
    /// The note is not one of [`ReplayProgress::note`].
    pub fn read(next: i64, note: &str) -> Result<ReplayProgress, NoNote> {
        let mut progress = ReplayProgress::before(next);
        if note.is_empty() {
            return Ok(progress);
        }
        let text = note.strip_prefix(MARK).ok_or(NoNote)?;
        let bytes = offset_ranges::from_text(text).map_err(|_| NoNote)?;
        progress.ranges =
            offset_ranges::read(progress.next, &bytes).map_err(|_| NoNote)?.into_iter().collect();
        Ok(progress)
    }

    /// The ranges, to be committed with [`ReplayProgress::next`].
    pub fn note(&self) -> String {
        if self.ranges.is_empty() {
            return String::new();
        }
        let ranges: Vec<OffsetRange> = self.ranges.iter().map(|(start, after)| (*start, *after)).collect();
        format!("{MARK}{}", offset_ranges::to_text(&offset_ranges::write(self.next, &ranges)))
    }

    /// Whether [`ReplayProgress::note`] is short enough to be committed.
    pub fn fits(&self) -> bool {
        self.note().len() <= MAX_METADATA_BYTES
    }

    /// The number of single offsets that can certainly be settled, wherever they are, before the note becomes
    /// too long.
    pub fn room(&self) -> usize {
        MAX_METADATA_BYTES.saturating_sub(MARK.len() + self.note().len()) / MAX_RANGE_CHARACTERS
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

    /// The number of offsets from `start` to before `end` that are not settled.
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
        // Ranges that it touches become one range with it.
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use testing::Random;

    #[test]
    fn what_is_settled_in_any_order_is_what_a_set_of_offsets_says() {
        for seed in 0..200 {
            let mut random = Random::new(seed);
            let first = random.below(5) as i64;
            let mut progress = ReplayProgress::before(first);
            let mut model: BTreeSet<i64> = (0..first).collect();
            for _ in 0..60 {
                let start = random.below(100) as i64;
                let end = start + random.below(6) as i64;
                progress.insert(start, end);
                model.extend(start..end);
                let next = (0..).find(|offset| !model.contains(offset)).unwrap();
                assert_eq!(progress.next(), next, "seed {seed}");
                for offset in 0..110 {
                    assert_eq!(progress.contains(offset), model.contains(&offset), "seed {seed}: {offset}");
                }
                let from = random.below(110) as i64;
                let open = (from..).find(|offset| !model.contains(offset)).unwrap();
                assert_eq!(progress.open_from(from), open, "seed {seed}");
                let counted = (from..105).filter(|offset| !model.contains(offset)).count() as u64;
                assert_eq!(progress.open_within(from, 105), counted, "seed {seed}");
                assert_eq!(
                    ReplayProgress::read(progress.next(), &progress.note()).as_ref(),
                    Ok(&progress),
                    "seed {seed}"
                );
            }
        }
    }

    #[test]
    fn a_thousand_letters_settled_out_of_order_fit_a_note() {
        let mut progress = ReplayProgress::before(1 << 40);
        let mut count = 0;
        while progress.fits() {
            count += 1;
            progress.insert((1 << 40) + 2 * count - 1, (1 << 40) + 2 * count);
        }
        assert!(progress.note().len() > MAX_METADATA_BYTES && count > 1_000, "{count}");
        progress.insert(0, (1 << 40) + 2 * count);
        assert_eq!((progress.next(), progress.note().as_str()), ((1 << 40) + 2 * count, ""));
    }

    #[test]
    fn so_many_as_there_is_said_to_be_room_for_fit_wherever_they_are() {
        let mut random = Random::new(5);
        let mut progress = ReplayProgress::default();
        while progress.room() > 0 {
            let before = progress.clone();
            for _ in 0..before.room() {
                let start = (random.draw() >> 2) as i64;
                progress.insert(start, start + 1);
            }
            assert!(progress.fits(), "{}", progress.note().len());
        }
    }

    #[test]
    fn a_note_that_an_earlier_version_committed_is_read() {
        let mut progress = ReplayProgress::before(5);
        progress.insert(6, 7);
        progress.insert(300, 1_000);
        assert_eq!(progress.note(), "settled:AQGlArwF");
        assert_eq!(ReplayProgress::read(5, "settled:AQGlArwF"), Ok(progress));
    }

    #[test]
    fn a_note_of_another_program_is_refused() {
        for note in ["x", "settled:", "settled:!", "settled:AAE", "settled:AQA", "settled:AQ", "settled:gA"] {
            let read = ReplayProgress::read(3, note);
            assert_eq!(read.is_ok(), note == "settled:", "{note}");
        }
        let number: Vec<u8> = [0xff; 8].into_iter().chain([0x7f]).collect();
        let largest = offset_ranges::to_text(&number.repeat(2));
        assert_eq!(ReplayProgress::read(3, &format!("{MARK}{largest}")), Err(NoNote), "past the last offset");
        let mut random = Random::new(1);
        for _ in 0..2_000 {
            let length = random.below(30);
            let bytes: Vec<u8> = (0..length).map(|_| random.below(256) as u8).collect();
            if let Ok(read) = ReplayProgress::read(7, &format!("{MARK}{}", offset_ranges::to_text(&bytes))) {
                assert_eq!(ReplayProgress::read(7, &read.note()), Ok(read));
            }
        }
    }
}
