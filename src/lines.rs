//! Lines of byte streams, read in bounded memory: [`Lines`] reads line by line, [`LineBuffer`] cuts pieces of
//! a pipe into blocks of whole lines.

use std::io::{self, BufRead, ErrorKind};

/// What becomes of a line that is longer than the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TooLong {
    /// Its bytes are dropped; it comes as a line without text.
    Skip,
    /// It comes in pieces of at most the limit.
    Split,
}

/// How a line ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineEnd {
    /// With `\n` or `\r\n`.
    Newline,
    /// At the limit: the next [`Line`] is its continuation.
    Split,
    /// With the input: the line may be cut off.
    EndOfInput,
}

/// A line, without its end.
#[derive(Debug, PartialEq, Eq)]
pub struct Line {
    /// From 1 on; every line counts, and every piece of one that was split.
    pub number: u64,
    /// Its bytes; `None` if they were skipped.
    pub text: Option<Vec<u8>>,
    /// How it ended.
    pub end: LineEnd,
}

/// An iterator over the lines of an input.
#[derive(Debug)]
pub struct Lines<R> {
    input: R,
    limit: usize,
    too_long: TooLong,
    number: u64,
}

impl<R: BufRead> Lines<R> {
    /// The lines of `input`, of at most `limit` bytes each.
    pub fn new(input: R, limit: usize, too_long: TooLong) -> Lines<R> {
        Lines { input, limit, too_long, number: 0 }
    }

    /// Appends the available bytes of the current line to `text`, which is `None` once the line is skipped.
    fn read_part(&mut self, text: &mut Option<Vec<u8>>) -> io::Result<Part> {
        let available = loop {
            match self.input.fill_buf() {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        if available.is_empty() {
            return Ok(Part::EndOfInput);
        }
        let part = available.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let has_end = part.len() < available.len();
        let room = text.as_ref().map_or(usize::MAX, |text| match self.too_long {
            // One byte more than the limit may be the `\r` of the line's end.
            TooLong::Skip => (self.limit + 1).saturating_sub(text.len()),
            TooLong::Split => self.limit.saturating_sub(text.len()),
        });
        let is_too_long = part.len() > room;
        let is_split = is_too_long && self.too_long == TooLong::Split;
        if is_too_long && !is_split {
            *text = None;
        }
        let taken = if is_split { room } else { part.len() };
        if let Some(text) = text {
            text.extend(part.iter().take(taken));
        }
        self.input.consume(taken + usize::from(has_end && !is_split));
        Ok(match (is_split, has_end) {
            (true, _) => Part::Ended(LineEnd::Split),
            (false, true) => Part::Ended(LineEnd::Newline),
            (false, false) => Part::GoesOn,
        })
    }
}

/// What [`Lines::read_part`] met.
enum Part {
    GoesOn,
    Ended(LineEnd),
    EndOfInput,
}

impl<R: BufRead> Iterator for Lines<R> {
    type Item = io::Result<Line>;

    fn next(&mut self) -> Option<io::Result<Line>> {
        let mut text = Some(Vec::new());
        let mut has_begun = false;
        let end = loop {
            match self.read_part(&mut text) {
                Ok(Part::GoesOn) => has_begun = true,
                Ok(Part::Ended(end)) => break end,
                Ok(Part::EndOfInput) if has_begun => break LineEnd::EndOfInput,
                Ok(Part::EndOfInput) => return None,
                Err(error) => return Some(Err(error)),
            }
        };
        if let Some(text) = &mut text
            && end != LineEnd::Split
            && text.last() == Some(&b'\r')
        {
            text.pop();
        }
        self.number += 1;
        Some(Ok(Line { number: self.number, text: text.filter(|text| text.len() <= self.limit), end }))
    }
}

/// Collects bytes that come in pieces, and gives them back as blocks of whole lines. A line that is longer
/// than the limit is split.
#[derive(Debug)]
pub struct LineBuffer {
    /// The beginning of a line, after whole lines that are taken with the next block.
    bytes: Vec<u8>,
    limit: usize,
}

/// The memory that an empty buffer keeps.
const USUAL_BLOCK: usize = 64 * 1024;

impl LineBuffer {
    /// An empty buffer for lines of about `limit` bytes: a piece may exceed it by what is pushed at once.
    pub fn new(limit: usize) -> LineBuffer {
        LineBuffer { bytes: Vec::new(), limit }
    }

    /// Adds `piece`, and hands over the whole lines that there are now, with their ends, as one block.
    pub fn push(&mut self, piece: &[u8], take: impl FnOnce(&[u8])) {
        let whole = piece.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let (lines, beginning) = piece.split_at(whole);
        self.bytes.extend_from_slice(if whole > 0 { lines } else { beginning });
        if whole == 0 && self.bytes.len() < self.limit {
            return;
        }
        if whole == 0 {
            self.bytes.push(b'\n');
        }
        take(&self.bytes);
        self.bytes.clear();
        self.bytes.shrink_to(USUAL_BLOCK);
        if whole > 0 {
            self.bytes.extend_from_slice(beginning);
        }
    }

    /// Whether there is no beginning of a line.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Hands over the beginning of a line, if there is one, with an end.
    pub fn end_line(&mut self, take: impl FnOnce(&[u8])) {
        if !self.bytes.is_empty() {
            self.bytes.push(b'\n');
            take(&self.bytes);
            self.bytes = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    fn read(text: &str, limit: usize, too_long: TooLong, piece: usize) -> Vec<Line> {
        let lines = Lines::new(BufReader::with_capacity(piece, text.as_bytes()), limit, too_long);
        let lines: Vec<Line> = lines.map(Result::unwrap).collect();
        assert!(lines.iter().map(|line| line.number).eq(1..=lines.len() as u64));
        lines
    }

    /// The texts of the lines, read in pieces of so many bytes.
    fn texts(text: &str, limit: usize, too_long: TooLong, piece: usize) -> Vec<Option<String>> {
        let lines = read(text, limit, too_long, piece).into_iter();
        lines.map(|line| line.text.map(|text| String::from_utf8(text).unwrap())).collect()
    }

    fn some<const N: usize>(lines: [&str; N]) -> [Option<String>; N] {
        lines.map(|line| Some(line.to_owned()))
    }

    #[test]
    fn lines_come_without_their_ends_and_the_last_needs_none() {
        for (piece, too_long) in (1..10).flat_map(|piece| [(piece, TooLong::Skip), (piece, TooLong::Split)]) {
            let expected = some(["a", "", "bc\rd", "", "e"]);
            assert_eq!(texts("a\n\nbc\rd\r\n\ne", 9, too_long, piece), expected);
            assert_eq!(texts("a\n", 9, too_long, piece), some(["a"]));
            assert!(texts("", 9, too_long, piece).is_empty());
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_skipped_and_the_next_is_whole() {
        for piece in 1..10 {
            let expected =
                [Some("1234".to_owned()), Some("1234".to_owned()), None, None, Some("x".to_owned())];
            let text = "1234\n1234\r\n12345\n1234567890\nx";
            assert_eq!(texts(text, 4, TooLong::Skip, piece), expected);
            assert_eq!(texts("12345", 4, TooLong::Skip, piece), [None]);
        }
    }

    #[test]
    fn a_line_that_is_too_long_comes_in_pieces() {
        for piece in 1..10 {
            let expected = some(["abcd", "efgh", "ij", "klmn", "o"]);
            assert_eq!(texts("abcdefghij\nklmn\no\n", 4, TooLong::Split, piece), expected);
        }
    }

    #[test]
    fn a_last_line_that_is_cut_off_is_marked() {
        let ends = |text| -> Vec<LineEnd> {
            read(text, 4, TooLong::Split, 3).into_iter().map(|line| line.end).collect()
        };
        assert_eq!(ends("one\ntw"), [LineEnd::Newline, LineEnd::EndOfInput]);
        assert_eq!(ends("abcdefgh\n"), [LineEnd::Split, LineEnd::Newline]);
    }

    #[test]
    fn a_buffer_gives_blocks_of_whole_lines() {
        let (mut buffer, mut blocks) = (LineBuffer::new(6), Vec::new());
        for piece in ["a", "b\nc", "d\ne\nf", "", "\n", "1234", "567", "8", "9\nx"] {
            buffer.push(piece.as_bytes(), |block| blocks.push(String::from_utf8_lossy(block).into_owned()));
        }
        buffer.end_line(|block| blocks.push(String::from_utf8_lossy(block).into_owned()));
        assert_eq!(blocks, ["ab\n", "cd\ne\n", "f\n", "1234567\n", "89\n", "x\n"]);
        assert!(buffer.is_empty());
    }
}
