//! Reading record batches: what is iterated borrows from the (unpacked) bytes, no record is copied.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;

use super::{CRC_END, Content, HEADER_BYTES, Headers, MAGIC, MAX_UNPACKED_BYTES, SIZE_END};
use crate::compression::{self, Compression, CompressionError};
use crate::wire::{Malformed, Reader};

/// The bit of the attributes that says that records carry the time of their append.
pub(super) const LOG_APPEND_TIME: i16 = 0x08;

/// Why a batch cannot be read. Each names the batch's base offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordsError {
    /// Its bytes are not those of a batch.
    Malformed {
        /// The batch.
        base_offset: i64,
        /// The error; its position is counted from the start of the batch's header or of its unpacked
        /// records.
        cause: Malformed,
    },
    /// Its bytes are not those that were written.
    Checksum {
        /// The batch.
        base_offset: i64,
    },
    /// A format before (or after) 2: a topic that was written before Kafka 0.11.
    Format {
        /// The batch.
        base_offset: i64,
        /// Its format.
        magic: i8,
    },
    /// Its records cannot be unpacked.
    Compression {
        /// The batch.
        base_offset: i64,
        /// Why.
        cause: CompressionError,
    },
}

impl fmt::Display for RecordsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecordsError::Malformed { base_offset, cause } => {
                write!(f, "record batch at offset {base_offset}: {cause}")
            }
            RecordsError::Checksum { base_offset } => {
                write!(f, "record batch at offset {base_offset}: its checksum is wrong")
            }
            RecordsError::Format { base_offset, magic } => {
                write!(f, "record batch at offset {base_offset}: format {magic} is not read, only format 2")
            }
            RecordsError::Compression { base_offset, cause } => {
                write!(f, "record batch at offset {base_offset}: {cause}")
            }
        }
    }
}

impl std::error::Error for RecordsError {}

/// The header of a record batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader {
    /// The offset of the first record that was written.
    pub base_offset: i64,
    /// The epoch of the leader that appended it.
    pub partition_leader_epoch: i32,
    /// Codec, kind of timestamp, transactional, control: see the methods.
    pub attributes: i16,
    /// The last offset less the base offset.
    pub last_offset_delta: i32,
    /// The time that record timestamps are relative to, ms since 1970.
    pub base_timestamp: i64,
    /// The largest timestamp, or that of the append.
    pub max_timestamp: i64,
    /// The idempotent or transactional producer, or -1.
    pub producer_id: i64,
    /// Its epoch, or -1.
    pub producer_epoch: i16,
    /// The sequence number of the first record, or -1.
    pub base_sequence: i32,
    /// How many records there are.
    pub record_count: i32,
}

impl BatchHeader {
    /// The last offset that the batch covers, also when compaction removed that record.
    pub fn last_offset(&self) -> i64 {
        self.base_offset.saturating_add(i64::from(self.last_offset_delta))
    }

    /// Whether records carry the time of their append instead of their own.
    pub fn is_log_append_time(&self) -> bool {
        self.attributes & LOG_APPEND_TIME != 0
    }

    /// Whether it belongs to a transaction.
    pub fn is_transactional(&self) -> bool {
        self.attributes & 0x10 != 0
    }

    /// Whether it holds a transaction's marker, which no consumer is shown.
    pub fn is_control(&self) -> bool {
        self.attributes & 0x20 != 0
    }

    fn read(reader: &mut Reader<'_>) -> Result<BatchHeader, Malformed> {
        let base_offset = reader.i64()?;
        reader.i32()?;
        let partition_leader_epoch = reader.i32()?;
        reader.take(CRC_END - 16)?;
        let header = BatchHeader {
            base_offset,
            partition_leader_epoch,
            attributes: reader.i16()?,
            last_offset_delta: reader.i32()?,
            base_timestamp: reader.i64()?,
            max_timestamp: reader.i64()?,
            producer_id: reader.i64()?,
            producer_epoch: reader.i16()?,
            base_sequence: reader.i32()?,
            record_count: reader.i32()?,
        };
        let last_offset = base_offset.checked_add(i64::from(header.last_offset_delta));
        if base_offset < 0 || header.last_offset_delta < 0 || last_offset.is_none() {
            return Err(reader.malformed("a batch with impossible offsets"));
        }
        if header.record_count < 0 {
            return Err(reader.malformed("a batch with a negative number of records"));
        }
        Ok(header)
    }
}

/// The batches in a row of bytes, as a fetch response brings them.
///
/// A last batch that is cut short, as brokers may send it, ends the iteration. Checksums are verified. After
/// an error there is nothing more.
#[derive(Debug, Clone)]
pub struct Batches {
    rest: Bytes,
}

impl Batches {
    /// The batches in `bytes`, which they go on sharing.
    pub fn new(bytes: &Bytes) -> Batches {
        Batches { rest: bytes.clone() }
    }

    /// Whether there is nothing more, not even a piece of a batch.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next batch's bytes; none if they are not all there.
    fn next_bytes(&mut self) -> Result<Option<Bytes>, RecordsError> {
        let mut reader = Reader::new(&self.rest);
        let (Ok(base_offset), Ok(size), Ok(_), Ok(magic)) =
            (reader.i64(), reader.i32(), reader.i32(), reader.i8())
        else {
            return Ok(None);
        };
        if magic != MAGIC {
            return Err(RecordsError::Format { base_offset, magic });
        }
        let length = usize::try_from(size).unwrap_or(0).saturating_add(SIZE_END);
        if length < HEADER_BYTES {
            let cause = Malformed { at: 8, what: "a batch smaller than its header" };
            return Err(RecordsError::Malformed { base_offset, cause });
        }
        if length > self.rest.len() {
            return Ok(None);
        }
        Ok(Some(self.rest.split_to(length)))
    }
}

impl Iterator for Batches {
    type Item = Result<Batch, RecordsError>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = match self.next_bytes() {
            Ok(Some(bytes)) => Batch::read(bytes),
            Ok(None) => {
                self.rest.clear();
                return None;
            }
            Err(error) => Err(error),
        };
        if batch.is_err() {
            self.rest.clear();
        }
        Some(batch)
    }
}

/// A batch whose checksum is right, its records still packed.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Its header.
    pub header: BatchHeader,
    records: Bytes,
}

impl Batch {
    fn read(mut bytes: Bytes) -> Result<Batch, RecordsError> {
        let mut reader = Reader::new(&bytes);
        let base_offset = reader.clone().i64().unwrap_or(-1);
        let malformed = |cause| RecordsError::Malformed { base_offset, cause };
        let mut checksum = reader.clone();
        checksum.take(CRC_END - 4).map_err(malformed)?;
        let crc = checksum.u32().map_err(malformed)?;
        if crc32c::crc32c(checksum.rest()) != crc {
            return Err(RecordsError::Checksum { base_offset });
        }
        let header = BatchHeader::read(&mut reader).map_err(malformed)?;
        Ok(Batch { header, records: bytes.split_off(reader.position()) })
    }

    /// Unpacks the records, into at most `max_bytes`.
    ///
    /// # Errors
    /// [`RecordsError::Compression`] for packed bytes that are damaged, too large or of an unknown codec.
    pub fn unpack(&self, max_bytes: usize) -> Result<Records, RecordsError> {
        let failed = |cause| RecordsError::Compression { base_offset: self.header.base_offset, cause };
        let codec = Compression::from_attributes(self.header.attributes).map_err(failed)?;
        let unpacked = compression::decompress(codec, &self.records, max_bytes).map_err(failed)?;
        let bytes = match unpacked {
            Cow::Borrowed(_) => self.records.clone(),
            Cow::Owned(unpacked) => Bytes::from(unpacked),
        };
        Ok(Records { header: self.header, bytes })
    }
}

/// The unpacked records of one batch.
#[derive(Debug, Clone)]
pub struct Records {
    header: BatchHeader,
    bytes: Bytes,
}

impl Records {
    /// The bytes of all records.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The records, one after another.
    pub fn iter(&self) -> RecordIter<'_> {
        RecordIter {
            header: self.header,
            reader: Reader::new(&self.bytes),
            left: self.header.record_count,
            least_delta: 0,
        }
    }
}

impl<'a> IntoIterator for &'a Records {
    type Item = Result<Record<'a>, RecordsError>;
    type IntoIter = RecordIter<'a>;

    fn into_iter(self) -> RecordIter<'a> {
        self.iter()
    }
}

/// A record; its bytes are those of the unpacked batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its offset, above that of the record before.
    pub offset: i64,
    /// Its own time or that of its append, ms since 1970.
    pub timestamp: i64,
    /// Its key, if it has one.
    pub key: Option<&'a [u8]>,
    /// Its value; null is a tombstone in a compacted topic.
    pub value: Option<&'a [u8]>,
    /// Its headers.
    pub headers: Headers<'a>,
}

impl<'a> Record<'a> {
    /// Its content; a negative timestamp, as Kafka's `NO_TIMESTAMP` is, counts as none.
    #[inline]
    pub fn content(&self) -> Content<'a> {
        let Record { timestamp, key, value, headers, .. } = *self;
        Content { timestamp: Some(timestamp).filter(|&timestamp| timestamp >= 0), key, value, headers }
    }
}

/// Iterates over [`Records`]; after an error there is nothing more.
#[derive(Debug, Clone)]
pub struct RecordIter<'a> {
    header: BatchHeader,
    reader: Reader<'a>,
    left: i32,
    least_delta: i32,
}

impl<'a> RecordIter<'a> {
    /// Where the next record begins.
    pub(super) fn position(&self) -> usize {
        self.reader.position()
    }

    #[inline]
    fn record(&mut self) -> Result<Record<'a>, Malformed> {
        let length = self.reader.varint()?;
        let start = self.reader.position();
        let length =
            usize::try_from(length).map_err(|_| self.reader.malformed("a record of negative length"))?;
        let mut body = Reader::new(self.reader.take(length)?);
        self.body(&mut body).map_err(|error| Malformed { at: start + error.at, ..error })
    }

    #[inline]
    fn body(&mut self, body: &mut Reader<'a>) -> Result<Record<'a>, Malformed> {
        body.i8()?;
        let timestamp_delta = body.varlong()?;
        let offset_delta = body.varint()?;
        if offset_delta < self.least_delta || offset_delta > self.header.last_offset_delta {
            return Err(body.malformed("a record whose offset is not between its neighbours'"));
        }
        let timestamp = match self.header.is_log_append_time() {
            true => self.header.max_timestamp,
            false => self.header.base_timestamp.wrapping_add(timestamp_delta),
        };
        let Content { key, value, headers, .. } = Content::read(None, body)?;
        self.least_delta = offset_delta.saturating_add(1);
        let offset = self.header.base_offset + i64::from(offset_delta);
        Ok(Record { offset, timestamp, key, value, headers })
    }
}

impl<'a> Iterator for RecordIter<'a> {
    type Item = Result<Record<'a>, RecordsError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.left <= 0 {
            return None;
        }
        self.left -= 1;
        let mut record = self.record();
        if self.left == 0 && record.is_ok() && !self.reader.is_empty() {
            record = Err(self.reader.malformed("bytes after the last record"));
        }
        Some(record.map_err(|cause| {
            self.left = 0;
            RecordsError::Malformed { base_offset: self.header.base_offset, cause }
        }))
    }
}

/// The first record in `batches` whose timestamp is not before `timestamp` (ms since 1970): its offset and
/// its timestamp. With the `max_timestamp` of a batch, that is the first record that has it.
///
/// # Errors
/// For damaged bytes, the errors of [`Batches`], [`Batch::unpack`] into [`MAX_UNPACKED_BYTES`] and
/// [`RecordIter`].
pub fn first_at_or_after(batches: &Bytes, timestamp: i64) -> Result<Option<(i64, i64)>, RecordsError> {
    for batch in Batches::new(batches) {
        let batch = batch?;
        if batch.header.max_timestamp < timestamp {
            continue;
        }
        for record in &batch.unpack(MAX_UNPACKED_BYTES)? {
            let record = record?;
            if record.timestamp >= timestamp {
                return Ok(Some((record.offset, record.timestamp)));
            }
        }
    }
    Ok(None)
}
