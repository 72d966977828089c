//! The lines of an input, counted, with a limit on their length.

use std::io::{self, BufRead, ErrorKind};

/// A line, without its end (`\n` or `\r\n`).
#[derive(Debug, PartialEq, Eq)]
pub struct Line {
    /// From 1 on; every line counts.
    pub number: u64,
    /// Its bytes; `None` if they are more than the limit.
    pub text: Option<Vec<u8>>,
}

/// Reads lines. Of one that is too long nothing is kept, and the next goes on after its end.
#[derive(Debug)]
pub struct Lines<R> {
    input: R,
    limit: usize,
    number: u64,
}

impl<R: BufRead> Lines<R> {
    /// The lines of `input`; `limit` is the most bytes that one may have.
    pub fn new(input: R, limit: usize) -> Lines<R> {
        Lines { input, limit, number: 0 }
    }

    /// Adds what there is of the line to `text`, which it empties for good when there is too much; tells
    /// whether the line goes on, and `None` at the end of the input.
    fn read_part(&mut self, text: &mut Option<Vec<u8>>) -> io::Result<Option<bool>> {
        let available = loop {
            match self.input.fill_buf() {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        if available.is_empty() {
            return Ok(None);
        }
        let part = available.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let (length, goes_on) = (part.len(), part.len() == available.len());
        // One more, which may belong to the line's end.
        if text.as_ref().is_some_and(|text| text.len() + length > self.limit + 1) {
            *text = None;
        }
        if let Some(text) = text {
            text.extend_from_slice(part);
        }
        self.input.consume(length + usize::from(!goes_on));
        Ok(Some(goes_on))
    }
}

impl<R: BufRead> Iterator for Lines<R> {
    type Item = io::Result<Line>;

    fn next(&mut self) -> Option<io::Result<Line>> {
        let mut text = Some(Vec::new());
        let mut some = false;
        loop {
            match self.read_part(&mut text) {
                Ok(Some(true)) => some = true,
                Ok(Some(false)) => break,
                Ok(None) if some => break,
                Ok(None) => return None,
                Err(error) => return Some(Err(error)),
            }
        }
        let text = text.map(|mut text| {
            text.truncate(text.strip_suffix(b"\r").map_or(text.len(), <[u8]>::len));
            text
        });
        self.number += 1;
        Some(Ok(Line { number: self.number, text: text.filter(|text| text.len() <= self.limit) }))
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    /// Read in pieces of so many bytes.
    fn lines(text: &str, limit: usize, piece: usize) -> Vec<Option<String>> {
        let lines = Lines::new(BufReader::with_capacity(piece, text.as_bytes()), limit);
        let lines: Vec<Line> = lines.map(Result::unwrap).collect();
        assert!(lines.iter().map(|line| line.number).eq(1..=lines.len() as u64));
        lines.into_iter().map(|line| line.text.map(|text| String::from_utf8(text).unwrap())).collect()
    }

    #[test]
    fn lines_come_without_their_ends_and_the_last_needs_none() {
        for piece in 1..10 {
            let expected = ["a", "", "bc\rd", "", "e"].map(|line| Some(line.to_owned()));
            assert_eq!(lines("a\n\nbc\rd\r\n\ne", 9, piece), expected);
            assert_eq!(lines("a\n", 9, piece), [Some("a".to_owned())]);
        }
        assert!(lines("", 9, 9).is_empty());
    }

    #[test]
    fn a_line_that_is_too_long_is_skipped_and_the_next_is_whole() {
        for piece in 1..10 {
            let expected =
                [Some("1234".to_owned()), Some("1234".to_owned()), None, None, Some("x".to_owned())];
            assert_eq!(lines("1234\n1234\r\n12345\n1234567890\nx", 4, piece), expected);
            assert_eq!(lines("12345", 4, piece), [None]);
        }
    }
}
