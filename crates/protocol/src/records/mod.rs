//! Record batches, the format (2) in which Kafka keeps and moves messages since 0.11.
//!
//! Source: KIP-98 (the format), KIP-32 (timestamps), KIP-534 (attributes), and the Kafka protocol guide,
//! "Record Batch". All of a batch but its first 61 bytes may be compressed:
//!
//! | at | bytes | |
//! |---|---|---|
//! | 0 | 8 | base offset: the first record's |
//! | 8 | 4 | size of all that follows |
//! | 12 | 4 | partition leader epoch, set by the broker |
//! | 16 | 1 | format, 2 |
//! | 17 | 4 | CRC-32C of all that follows |
//! | 21 | 2 | attributes: codec (bits 0-2), log append time (3), transactional (4), control (5) |
//! | 23 | 4 | last offset, less the base offset; stays when compaction takes the last record away |
//! | 27 | 8 | base timestamp, ms since 1970 |
//! | 35 | 8 | largest timestamp, or the time of the append |
//! | 43 | 8 + 2 + 4 | producer id, producer epoch, base sequence; -1 for none |
//! | 57 | 4 | number of records |
//!
//! A record is its size and then, with variable-length zig-zag integers: attributes (1 byte), timestamp and
//! offset as differences to the batch's, key, value (length -1 is null), and headers (count; each a key and a
//! value).

mod content;
mod read;
mod retain;
#[cfg(test)]
mod tests;
mod validate;
mod write;

pub use content::{Content, Headers, OwnHeaders};
pub use read::{Batch, BatchHeader, Batches, Record, RecordIter, Records, RecordsError, first_at_or_after};
pub use retain::{Retained, retain};
pub use validate::{MAX_UNPACKED_BYTES, Refused, Valid, validate, validate_each};
pub use write::{EncodeError, bytes_of_one, encode_batch};

/// Bytes before the records.
const HEADER_BYTES: usize = 61;

/// Where the bytes start whose number is the size.
const SIZE_END: usize = 12;

/// Where the bytes start that the checksum is of.
const CRC_END: usize = 21;

/// Where the timestamp stands from which the records' are counted.
const BASE_TIMESTAMP: usize = 27;

/// Where the largest timestamp stands.
const MAX_TIMESTAMP: usize = 35;

/// The format, called magic.
const MAGIC: i8 = 2;
