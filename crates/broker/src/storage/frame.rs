//! Frames: what one transaction adds to a file, all or nothing.
//!
//! | at | bytes | |
//! |---|---|---|
//! | 0 | 4 | bytes of the payload, at least 1; 0 where nothing follows |
//! | 4 | 8 | time of the transaction, ms since 1970 |
//! | 12 | 4 | CRC-32C of the payload |
//! | 16 | 4 | CRC-32C of the 16 bytes above and of the frame's place: file and position |
//! | 20 | | payload: see `record` |
//!
//! As the place is part of the checksum, bytes of an older frame, or of another file, are never taken for a
//! frame. Integers are big-endian.

use std::io;
use std::sync::Arc;

use super::error::StorageError;
use super::files::StoredFile;

/// The bytes of a frame before its payload.
pub(super) const HEADER_BYTES: usize = 20;
/// Bytes that are read ahead of the frame in hand.
const READ_AHEAD: usize = 1 << 20;

/// What the checksums of the frames of one file begin with.
pub(super) type Seed = u32;

/// The seed of a file by its number, its generation and what it is.
pub(super) fn seed(kind: u8, number: u64, generation: u32) -> Seed {
    let sum = crc32c::crc32c(&[kind]);
    crc32c::crc32c_append(crc32c::crc32c_append(sum, &number.to_be_bytes()), &generation.to_be_bytes())
}

/// A frame that is put together.
pub(super) struct FrameBuffer {
    bytes: Vec<u8>,
}

impl Default for FrameBuffer {
    fn default() -> FrameBuffer {
        FrameBuffer { bytes: vec![0; HEADER_BYTES] }
    }
}

impl FrameBuffer {
    /// Whether it has no payload.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.len() == HEADER_BYTES
    }

    /// Bytes of the frame so far.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The end of the payload, to write to.
    pub(super) fn payload(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// The finished frame, for this place.
    pub(super) fn seal(&mut self, seed: Seed, position: u64, time: i64) -> &[u8] {
        let at = HEADER_BYTES.min(self.bytes.len());
        let (header, payload) = self.bytes.split_at_mut(at);
        let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        let mut fields = [0; HEADER_BYTES];
        let parts = [&length.to_be_bytes()[..], &time.to_be_bytes(), &crc32c::crc32c(payload).to_be_bytes()];
        fields.iter_mut().zip(parts.concat()).for_each(|(to, from)| *to = from);
        let sum = header_sum(seed, position, &fields);
        fields.iter_mut().skip(16).zip(sum.to_be_bytes()).for_each(|(to, from)| *to = from);
        header.copy_from_slice(&fields);
        &self.bytes
    }

    /// Makes it empty.
    pub(super) fn clear(&mut self) {
        self.bytes.truncate(HEADER_BYTES);
    }
}

fn header_sum(seed: Seed, position: u64, header: &[u8; HEADER_BYTES]) -> u32 {
    let (fields, _) = header.split_at(16);
    crc32c::crc32c_append(crc32c::crc32c_append(seed, &position.to_be_bytes()), fields)
}

/// The header of a frame.
#[derive(Debug, Clone, Copy)]
struct Header {
    length: u32,
    time: i64,
    payload_sum: u32,
}

fn read_header(seed: Seed, position: u64, bytes: &[u8; HEADER_BYTES]) -> Option<Header> {
    let mut reader = protocol::wire::Reader::new(bytes);
    let header =
        Header { length: reader.u32().ok()?, time: reader.i64().ok()?, payload_sum: reader.u32().ok()? };
    let fits = reader.u32().ok()? == header_sum(seed, position, bytes) && header.length > 0;
    fits.then_some(header)
}

/// What is found at a position of a file.
pub(super) enum Found<'r> {
    /// A frame: its time, its payload and the position after it.
    Frame { time: i64, payload: &'r [u8], end: u64 },
    /// Nothing: the end of the file, or zeros to its end.
    End,
    /// Bytes that are no frame. `more`: frames follow them.
    Broken { more: bool },
}

/// Reads the frames of a file one after another.
pub(super) struct FrameReader {
    file: Arc<dyn StoredFile>,
    seed: Seed,
    length: u64,
    /// Bytes of the file from `start` on.
    buffer: Vec<u8>,
    start: u64,
}

impl FrameReader {
    pub(super) fn new(file: Arc<dyn StoredFile>, seed: Seed) -> Result<FrameReader, StorageError> {
        let length = file.length()?;
        Ok(FrameReader { file, seed, length, buffer: Vec::new(), start: 0 })
    }

    /// What is at `position`.
    pub(super) fn at(&mut self, position: u64) -> Result<Found<'_>, StorageError> {
        let Some(header) = self.header(position)? else { return self.tail(position) };
        let start = position + HEADER_BYTES as u64;
        let end = start + u64::from(header.length);
        if end > self.length {
            return Ok(Found::Broken { more: false });
        }
        let is_whole = crc32c::crc32c(self.bytes(start, header.length as usize)?) == header.payload_sum;
        if !is_whole {
            let more = self.header(end)?.is_some() || matches!(self.tail(end)?, Found::Broken { more: true });
            return Ok(Found::Broken { more });
        }
        let payload = self.bytes(start, header.length as usize)?;
        Ok(Found::Frame { time: header.time, payload, end })
    }

    /// Whether a whole frame begins there.
    fn is_frame(&mut self, position: u64) -> Result<bool, StorageError> {
        let Some(header) = self.header(position)? else { return Ok(false) };
        let start = position + HEADER_BYTES as u64;
        if start + u64::from(header.length) > self.length {
            return Ok(false);
        }
        Ok(crc32c::crc32c(self.bytes(start, header.length as usize)?) == header.payload_sum)
    }

    fn header(&mut self, position: u64) -> Result<Option<Header>, StorageError> {
        let seed = self.seed;
        if position + HEADER_BYTES as u64 > self.length {
            return Ok(None);
        }
        let bytes = self.bytes(position, HEADER_BYTES)?;
        Ok(bytes.first_chunk().and_then(|bytes| read_header(seed, position, bytes)))
    }

    /// What is there where no frame begins.
    fn tail(&mut self, position: u64) -> Result<Found<'_>, StorageError> {
        let (mut at, mut is_empty) = (position, true);
        while at < self.length {
            let count = usize::try_from(self.length - at).unwrap_or(usize::MAX).min(READ_AHEAD);
            let zeros = self.bytes(at, count)?.iter().position(|byte| *byte != 0);
            if let Some(zeros) = zeros {
                is_empty = false;
                // The length in a header may begin with three zeros.
                let first = (at + zeros as u64).saturating_sub(3).max(position);
                for at in first..at + count as u64 {
                    if self.is_frame(at)? {
                        return Ok(Found::Broken { more: true });
                    }
                }
            }
            at += count as u64;
        }
        Ok(if is_empty { Found::End } else { Found::Broken { more: false } })
    }

    /// Bytes of the file, which are there.
    fn bytes(&mut self, position: u64, count: usize) -> Result<&[u8], StorageError> {
        let end = position + count as u64;
        let is_held = position >= self.start && end <= self.start + self.buffer.len() as u64;
        if !is_held {
            let wanted = usize::try_from(self.length.saturating_sub(position)).unwrap_or(usize::MAX);
            self.buffer.resize(wanted.min(READ_AHEAD.max(count)), 0);
            self.start = position;
            self.file.read_at(position, &mut self.buffer)?;
        }
        let from = usize::try_from(position - self.start).unwrap_or(usize::MAX);
        let held = self.buffer.get(from..).and_then(|rest| rest.get(..count));
        held.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof).into())
    }
}
