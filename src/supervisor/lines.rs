//! The lines that a child writes to a pipe.

use std::io::{BufRead, BufReader, Read};

/// The longest line that is held in memory, in bytes; a longer one comes in pieces. The largest message is less, also
/// when every byte of it has to be escaped.
const LONGEST_LINE: u64 = 8 * 1024 * 1024;
/// The memory that is kept from line to line.
const USUAL_LINE: usize = 64 * 1024;

/// What [`each`] has read.
#[derive(Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// A line without its end, or a piece of one that is too long.
    Whole(&'a [u8]),
    /// What was written of a line when the pipe was closed.
    CutOff(&'a [u8]),
}

/// Hands over each line until the pipe ends or `take` says no; tells whether the pipe has ended.
pub fn each(pipe: impl Read, take: impl FnMut(Line<'_>) -> bool) -> bool {
    each_up_to(LONGEST_LINE, pipe, take)
}

fn each_up_to(longest: u64, pipe: impl Read, mut take: impl FnMut(Line<'_>) -> bool) -> bool {
    let mut reader = BufReader::with_capacity(USUAL_LINE, pipe);
    let mut line = Vec::new();
    loop {
        line.clear();
        line.shrink_to(USUAL_LINE);
        // A pipe that fails has nothing more to say.
        let Ok(read @ 1..) = reader.by_ref().take(longest).read_until(b'\n', &mut line) else { return true };
        let taken = match line.strip_suffix(b"\n") {
            Some(whole) => take(Line::Whole(whole)),
            None if read as u64 == longest => take(Line::Whole(&line)),
            None => take(Line::CutOff(&line)),
        };
        if !taken {
            return false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(longest: u64, text: &str) -> Vec<String> {
        let mut lines = Vec::new();
        each_up_to(longest, text.as_bytes(), |line| {
            lines.push(match line {
                Line::Whole(line) => String::from_utf8_lossy(line).into_owned(),
                Line::CutOff(line) => format!("cut off: {}", String::from_utf8_lossy(line)),
            });
            true
        });
        lines
    }

    #[test]
    fn lines_come_one_by_one_and_what_was_cut_off_is_marked() {
        assert_eq!(read(100, "one\n\ntwo\n"), ["one", "", "two"]);
        assert_eq!(read(100, "one\ntw"), ["one", "cut off: tw"]);
        assert_eq!(read(100, ""), [""; 0]);
    }

    #[test]
    fn a_line_that_is_too_long_comes_in_pieces() {
        assert_eq!(read(4, "abcdefghij\nk\n"), ["abcd", "efgh", "ij", "k"]);
    }

    #[test]
    fn reading_ends_when_nobody_wants_more() {
        let mut lines = 0;
        let ended = each(&b"a\nb\nc\n"[..], |_| {
            lines += 1;
            lines < 2
        });
        assert_eq!((lines, ended), (2, false));
        assert!(each(&b"a\nb"[..], |_| true));
    }
}
