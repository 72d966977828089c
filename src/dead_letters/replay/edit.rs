//! Letters are looked at, and may be changed, before they are replayed.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::resend::ReplayOutcome;
use crate::dead_letters::dead_letter::DeadLetter;

/// No further letter is edited after this time before those that were are sent: so they do not wait for a
/// hundred slow edits.
const TOGETHER_TIME: Duration = Duration::from_secs(1);

/// What becomes of a dead letter in [`DeadLetterBrowser::replay_through`](super::DeadLetterBrowser).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReplayEdit {
    /// It is replayed with this value; `None` is null. Its key and its headers stay.
    Send(Option<Vec<u8>>),
    /// It stays a dead letter, which is no failure.
    Keep,
    /// It stays a dead letter, as it cannot be edited for this reason.
    Fail(String),
    /// The replay ends early before this letter, for this reason: no letter can be edited any more.
    End(String),
}

/// A function that looks at each letter.
pub type Editor<'a> = &'a mut dyn FnMut(&DeadLetter) -> ReplayEdit;

/// Letters that were edited.
pub struct Edited {
    /// The letters, with the values that they are to have.
    pub letters: Vec<DeadLetter>,
    /// For each of them its outcome, if it is not to be sent.
    pub decided: Vec<Option<ReplayOutcome>>,
    /// Why no letter can be edited any more.
    pub ended: Option<String>,
}

impl Edited {
    /// The letters as they are, all to be sent.
    pub fn unchanged(letters: Vec<DeadLetter>) -> Edited {
        Edited { decided: vec![None; letters.len()], letters, ended: None }
    }

    /// Edits letters: the first one, and further ones until [`TOGETHER_TIME`] is over, the edited letters have
    /// `most_bytes`, or it is `enough`. Those behind are put before what is in `rest`.
    pub fn by(
        edit: Editor<'_>,
        mut letters: Vec<DeadLetter>,
        most_bytes: usize,
        enough: &dyn Fn() -> bool,
        rest: &mut VecDeque<DeadLetter>,
    ) -> Edited {
        let begun = Instant::now();
        let (mut decided, mut ended, mut bytes) = (Vec::new(), None, 0_usize);
        for letter in &mut letters {
            let is_late = || begun.elapsed() >= TOGETHER_TIME || bytes >= most_bytes || enough();
            if !decided.is_empty() && is_late() {
                break;
            }
            decided.push(match edit(letter) {
                ReplayEdit::Send(value) => {
                    letter.value = value;
                    bytes += letter.bytes();
                    None
                }
                ReplayEdit::Keep => Some(ReplayOutcome::Kept),
                ReplayEdit::Fail(reason) => Some(ReplayOutcome::Failed { reason, retry: false }),
                ReplayEdit::End(reason) => {
                    ended = Some(reason);
                    break;
                }
            });
        }
        letters.drain(decided.len()..).rev().for_each(|letter| rest.push_front(letter));
        Edited { letters, decided, ended }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dead_letters::DeadLetterId;
    use crate::dead_letters::dead_letter::tests::letter;

    fn numbered(offsets: std::ops::Range<i64>) -> Vec<DeadLetter> {
        let one = |offset| DeadLetter { id: DeadLetterId { partition: 0, offset }, ..letter(&[]) };
        offsets.map(one).collect()
    }

    fn offsets<'a>(letters: impl IntoIterator<Item = &'a DeadLetter>) -> Vec<i64> {
        letters.into_iter().map(|letter| letter.id.offset).collect()
    }

    #[test]
    fn each_letter_has_what_its_edit_says() {
        let mut edit = |letter: &DeadLetter| match letter.id.offset {
            0 => ReplayEdit::Send(Some(b"new".to_vec())),
            1 => ReplayEdit::Keep,
            2 => ReplayEdit::Fail("no".to_owned()),
            _ => ReplayEdit::End("all is lost".to_owned()),
        };
        let mut rest = VecDeque::from(numbered(9..10));
        let edited = Edited::by(&mut edit, numbered(0..6), usize::MAX, &|| false, &mut rest);
        assert_eq!((offsets(&edited.letters), offsets(&rest)), (vec![0, 1, 2], vec![3, 4, 5, 9]));
        let failed = ReplayOutcome::Failed { reason: "no".to_owned(), retry: false };
        assert_eq!(edited.decided, [None, Some(ReplayOutcome::Kept), Some(failed)]);
        assert_eq!(edited.letters[0].value.as_deref(), Some(&b"new"[..]));
        assert_eq!(edited.ended.as_deref(), Some("all is lost"));
    }

    #[test]
    fn letters_that_would_be_too_many_at_a_time_come_later_but_one_goes() {
        let mut edit = |_: &DeadLetter| ReplayEdit::Send(Some(vec![0; 100]));
        for (most, enough, expected) in [(250, false, 3), (1, false, 1), (usize::MAX, true, 1)] {
            let mut rest = VecDeque::new();
            let edited = Edited::by(&mut edit, numbered(0..9), most, &|| enough, &mut rest);
            assert_eq!((edited.letters.len(), rest.len()), (expected, 9 - expected));
            assert!(offsets(&edited.letters).into_iter().chain(offsets(&rest)).eq(0..9));
        }
    }
}
