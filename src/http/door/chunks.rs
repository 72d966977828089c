//! A body with `Transfer-Encoding: chunked` (RFC 9112 §7.1), taken apart as it comes in.

use super::head::LARGE_BODY;
use super::limits::MAX_HEAD_BYTES;
use crate::http::answer::Refusal;

const BAD_CHUNK: Refusal = Refusal::new(400, "bad_chunk", "The chunked body is malformed.");

/// Digits of a chunk's size; more are refused.
const MAX_SIZE_DIGITS: u32 = 8;
/// Bytes of one chunk extension; more are refused. They are ignored.
const MAX_EXTENSION: usize = 256;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Size { digits: u32 },
    Extension { length: usize },
    SizeLineFeed,
    Data,
    DataReturn,
    DataLineFeed,
    TrailerStart,
    Trailer,
    TrailerLineFeed,
    LastLineFeed,
    Done,
}

/// Where in the body the decoder is.
#[derive(Debug)]
pub(super) struct Chunks {
    at: At,
    /// Bytes of the chunk in hand still to come.
    left: usize,
    /// Bytes of trailers so far; they are thrown away.
    trailers: usize,
}

impl Chunks {
    /// At the beginning of a body.
    pub(super) fn new() -> Chunks {
        Chunks { at: At::Size { digits: 0 }, left: 0, trailers: 0 }
    }

    /// Whether the whole body has been read.
    pub(super) fn is_done(&self) -> bool {
        self.at == At::Done
    }

    /// Moves the data that `input` holds to `body` and says how many bytes of `input` were used up: all of
    /// them, unless the body ends before.
    ///
    /// # Errors
    /// A malformed chunk, or a body over `max_body` bytes.
    pub(super) fn take(
        &mut self,
        input: &[u8],
        body: &mut Vec<u8>,
        max_body: usize,
    ) -> Result<usize, Refusal> {
        let mut used = 0;
        while let Some(&byte) = input.get(used) {
            match self.at {
                At::Done => break,
                At::Data => {
                    let data = input.get(used..).unwrap_or_default();
                    let data = data.get(..self.left).unwrap_or(data);
                    body.extend_from_slice(data);
                    used += data.len();
                    self.left -= data.len();
                    if self.left == 0 {
                        self.at = At::DataReturn;
                    }
                }
                _ => {
                    self.step(byte)?;
                    used += 1;
                    if self.at == At::Data && self.left > max_body.saturating_sub(body.len()) {
                        return Err(LARGE_BODY);
                    }
                }
            }
        }
        Ok(used)
    }

    /// One byte of the framing.
    fn step(&mut self, byte: u8) -> Result<(), Refusal> {
        self.at = match (self.at, byte) {
            (At::Size { digits }, _) if byte.is_ascii_hexdigit() && digits < MAX_SIZE_DIGITS => {
                let digit = char::from(byte).to_digit(16).unwrap_or(0) as usize;
                self.left = self.left << 4 | digit;
                At::Size { digits: digits + 1 }
            }
            (At::Size { digits: 1.. }, b'\r') => At::SizeLineFeed,
            (At::Size { digits: 1.. }, b';' | b' ' | b'\t') => At::Extension { length: 1 },
            (At::Extension { .. }, b'\r') => At::SizeLineFeed,
            (At::Extension { length: ..MAX_EXTENSION }, 0x20.. | b'\t') => self.extended(),
            (At::SizeLineFeed, b'\n') if self.left == 0 => At::TrailerStart,
            (At::SizeLineFeed, b'\n') => At::Data,
            (At::DataReturn, b'\r') => At::DataLineFeed,
            (At::DataLineFeed, b'\n') => At::Size { digits: 0 },
            (At::TrailerStart, b'\r') => At::LastLineFeed,
            (At::Trailer, b'\r') => At::TrailerLineFeed,
            (At::TrailerStart | At::Trailer, 0x20.. | b'\t') if self.trailers < MAX_HEAD_BYTES => {
                self.trailers += 1;
                At::Trailer
            }
            (At::TrailerLineFeed, b'\n') => At::TrailerStart,
            (At::LastLineFeed, b'\n') => At::Done,
            _ => return Err(BAD_CHUNK),
        };
        Ok(())
    }

    fn extended(&self) -> At {
        match self.at {
            At::Extension { length } => At::Extension { length: length + 1 },
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(input: &[u8], step: usize) -> Result<(Vec<u8>, usize, bool), Refusal> {
        let (mut chunks, mut body, mut used) = (Chunks::new(), Vec::new(), 0);
        for piece in input.chunks(step) {
            let taken = chunks.take(piece, &mut body, 20)?;
            used += taken;
            if taken < piece.len() {
                break;
            }
        }
        Ok((body, used, chunks.is_done()))
    }

    #[test]
    fn pieces_of_any_size_give_the_same_body() {
        let whole = b"5;a=\"b\"\r\nhello\r\n0A\r\n, chunked!\r\n0\r\nTrailer: x\r\n\r\n";
        let input = [whole.as_slice(), b"GET /"].concat();
        for step in 1..input.len() {
            let (body, used, done) = decode(&input, step).unwrap();
            assert_eq!((body.as_slice(), used, done), (b"hello, chunked!".as_slice(), whole.len(), true));
        }
    }

    #[test]
    fn a_body_without_its_end_is_not_done() {
        let whole = b"5\r\nhello\r\n0\r\n\r\n";
        for end in 0..whole.len() {
            assert!(!decode(&whole[..end], 4).unwrap().2);
        }
    }

    #[test]
    fn malformed_chunks_are_refused() {
        for input in
            ["\r\n", "x\r\n", "-1\r\n", "5\nhello", "5\r\nhelloX", "5\r\nhello\n", "0\r\n\n", "123456789\r\n"]
        {
            assert_eq!(decode(input.as_bytes(), 64).map(|_| ()).unwrap_err().status, 400, "{input:?}");
        }
        let extension = format!("1;{}\r\n", "a".repeat(MAX_EXTENSION + 1));
        assert_eq!(decode(extension.as_bytes(), 64).unwrap_err(), BAD_CHUNK);
        let trailer = format!("0\r\nA: {}\r\n", "a".repeat(MAX_HEAD_BYTES));
        assert_eq!(decode(trailer.as_bytes(), 64).unwrap_err(), BAD_CHUNK);
    }

    #[test]
    fn a_body_over_the_limit_is_refused_before_its_bytes_come() {
        assert_eq!(decode(b"15\r\n", 64).unwrap_err(), LARGE_BODY);
        assert_eq!(decode(b"10\r\n0123456789abcdef\r\n5\r\n", 64).unwrap_err(), LARGE_BODY);
        assert!(decode(b"10\r\n0123456789abcdef\r\n4\r\n", 64).is_ok());
    }
}
