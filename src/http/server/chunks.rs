//! The decoder for bodies with `Transfer-Encoding: chunked` (RFC 9112 §7.1), which works while they come in.

use super::head_fields::LARGE_BODY;
use super::limits::MAX_HEAD_BYTES;
use crate::http::response::ErrorResponse;

const BAD_CHUNK: ErrorResponse = ErrorResponse::new(400, "bad_chunk", "The chunked body is malformed.");

/// The most digits of a chunk's size.
const MAX_SIZE_DIGITS: u32 = 8;
/// The most bytes of a chunk extension; extensions are ignored.
const MAX_EXTENSION: usize = 256;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ChunkState {
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

/// The decoder of one body.
#[derive(Debug)]
pub(super) struct ChunkedDecoder {
    state: ChunkState,
    /// The bytes of the current chunk that are still to come.
    left: usize,
    /// The bytes of trailers so far; trailers are ignored.
    trailers: usize,
}

impl ChunkedDecoder {
    /// At the beginning of a body.
    pub(super) fn new() -> ChunkedDecoder {
        ChunkedDecoder { state: ChunkState::Size { digits: 0 }, left: 0, trailers: 0 }
    }

    /// Whether the whole body has been read.
    pub(super) fn is_done(&self) -> bool {
        self.state == ChunkState::Done
    }

    /// Appends the data in `input` to `body`, and returns the number of bytes of `input` that were used: all
    /// of them, unless the body ends before.
    ///
    /// # Errors
    /// A malformed chunk, or a body over `max_body` bytes.
    pub(super) fn decode(
        &mut self,
        input: &[u8],
        body: &mut Vec<u8>,
        max_body: usize,
    ) -> Result<usize, ErrorResponse> {
        let mut used = 0;
        while let Some(&byte) = input.get(used) {
            match self.state {
                ChunkState::Done => break,
                ChunkState::Data => {
                    let data = input.get(used..).unwrap_or_default();
                    let data = data.get(..self.left).unwrap_or(data);
                    body.extend_from_slice(data);
                    used += data.len();
                    self.left -= data.len();
                    if self.left == 0 {
                        self.state = ChunkState::DataReturn;
                    }
                }
                _ => {
                    self.step(byte)?;
                    used += 1;
                    if self.state == ChunkState::Data && self.left > max_body.saturating_sub(body.len()) {
                        return Err(LARGE_BODY);
                    }
                }
            }
        }
        Ok(used)
    }

    /// Reads one byte of the framing.
    fn step(&mut self, byte: u8) -> Result<(), ErrorResponse> {
        self.state = match (self.state, byte) {
            (ChunkState::Size { digits }, _) if byte.is_ascii_hexdigit() && digits < MAX_SIZE_DIGITS => {
                let digit = char::from(byte).to_digit(16).unwrap_or(0) as usize;
                self.left = self.left << 4 | digit;
                ChunkState::Size { digits: digits + 1 }
            }
            (ChunkState::Size { digits: 1.. }, b'\r') => ChunkState::SizeLineFeed,
            (ChunkState::Size { digits: 1.. }, b';' | b' ' | b'\t') => ChunkState::Extension { length: 1 },
            (ChunkState::Extension { .. }, b'\r') => ChunkState::SizeLineFeed,
            (ChunkState::Extension { length: ..MAX_EXTENSION }, 0x20.. | b'\t') => self.extended(),
            (ChunkState::SizeLineFeed, b'\n') if self.left == 0 => ChunkState::TrailerStart,
            (ChunkState::SizeLineFeed, b'\n') => ChunkState::Data,
            (ChunkState::DataReturn, b'\r') => ChunkState::DataLineFeed,
            (ChunkState::DataLineFeed, b'\n') => ChunkState::Size { digits: 0 },
            (ChunkState::TrailerStart, b'\r') => ChunkState::LastLineFeed,
            (ChunkState::Trailer, b'\r') => ChunkState::TrailerLineFeed,
            (ChunkState::TrailerStart | ChunkState::Trailer, 0x20.. | b'\t')
                if self.trailers < MAX_HEAD_BYTES =>
            {
                self.trailers += 1;
                ChunkState::Trailer
            }
            (ChunkState::TrailerLineFeed, b'\n') => ChunkState::TrailerStart,
            (ChunkState::LastLineFeed, b'\n') => ChunkState::Done,
            _ => return Err(BAD_CHUNK),
        };
        Ok(())
    }

    fn extended(&self) -> ChunkState {
        match self.state {
            ChunkState::Extension { length } => ChunkState::Extension { length: length + 1 },
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(input: &[u8], step: usize) -> Result<(Vec<u8>, usize, bool), ErrorResponse> {
        let (mut chunks, mut body, mut used) = (ChunkedDecoder::new(), Vec::new(), 0);
        for piece in input.chunks(step) {
            let taken = chunks.decode(piece, &mut body, 20)?;
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
