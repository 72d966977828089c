//! The newest of the dead letters that are read from the oldest one on, as many as may be told.

use std::collections::VecDeque;

use crate::dead_letters::dead_letter::DeadLetter;

/// The most bytes of letters that are kept, unless one alone is larger.
const MOST_BYTES: usize = 32 * 1024 * 1024;

/// The letters that were added last.
pub(super) struct Newest {
    letters: VecDeque<DeadLetter>,
    bytes: usize,
    most: usize,
}

impl Newest {
    /// No letter yet, and never more than `most`.
    pub(super) fn new(most: usize) -> Newest {
        Newest { letters: VecDeque::new(), bytes: 0, most }
    }

    /// Adds one that is newer than those before, the oldest of which may go for it.
    pub(super) fn push(&mut self, letter: DeadLetter) {
        self.bytes = self.bytes.saturating_add(letter.bytes());
        self.letters.push_back(letter);
        while self.letters.len() > self.most || (self.bytes > MOST_BYTES && self.letters.len() > 1) {
            self.bytes -= self.letters.pop_front().as_ref().map_or(0, DeadLetter::bytes);
        }
    }

    /// The letters, the oldest first.
    pub(super) fn into_letters(self) -> Vec<DeadLetter> {
        self.letters.into()
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::dead_letter::tests::letter;
    use super::*;

    #[test]
    fn the_last_ones_are_kept_as_far_as_their_number_and_their_bytes_may_be() {
        let kept = |most, sizes: &[usize]| {
            let mut newest = Newest::new(most);
            for size in sizes {
                newest.push(DeadLetter { value: Some(vec![0; *size]), ..letter(&[]) });
            }
            let sizes =
                newest.into_letters().into_iter().map(|letter| letter.value.map_or(0, |value| value.len()));
            sizes.collect::<Vec<_>>()
        };
        assert_eq!(kept(2, &[1, 2, 3]), [2, 3]);
        assert_eq!(kept(9, &[1, MOST_BYTES + 1]), [MOST_BYTES + 1]);
        assert_eq!(kept(9, &[MOST_BYTES + 1, 1, 2]), [1, 2]);
    }
}
