//! Writing record batches, as the Java producer writes them.

use std::fmt;

use super::{BASE_TIMESTAMP, CRC_END, Content, HEADER_BYTES, MAGIC, MAX_TIMESTAMP, SIZE_END};
use crate::compression::{self, Compression, CompressionError};
use crate::wire::{Writer, varint_len, varlong_len};

/// Why a batch could not be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EncodeError {
    /// There was no record; Kafka refuses such a batch.
    Empty,
    /// It would be larger than 2 GiB.
    TooLarge,
    /// The codec failed.
    Compression(CompressionError),
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EncodeError::Empty => f.write_str("a record batch without a record"),
            EncodeError::TooLarge => f.write_str("a record batch beyond 2 GiB"),
            EncodeError::Compression(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for EncodeError {}

impl From<CompressionError> for EncodeError {
    fn from(error: CompressionError) -> EncodeError {
        EncodeError::Compression(error)
    }
}

/// Makes one batch of `records`, numbered from 0 as a producer sends them: the broker sets the offsets.
/// Records without a timestamp of their own get `timestamp` (ms since 1970). `producer_id`, `producer_epoch`
/// and `base_sequence` make it idempotent, or are all -1.
///
/// # Errors
/// See [`EncodeError`].
pub fn encode_batch<'a, C: Into<Content<'a>>>(
    records: impl IntoIterator<Item = C>,
    timestamp: i64,
    producer_id: i64,
    producer_epoch: i16,
    base_sequence: i32,
    codec: Compression,
) -> Result<Vec<u8>, EncodeError> {
    let mut batch = Writer::with_capacity(1024);
    batch.put_i64(0);
    batch.put_i32(0);
    batch.put_i32(-1);
    batch.put_i8(MAGIC);
    batch.put_i32(0);
    batch.put_i16(codec as i16);
    batch.put_i32(0);
    batch.put_i64(timestamp);
    batch.put_i64(timestamp);
    batch.put_i64(producer_id);
    batch.put_i16(producer_epoch);
    batch.put_i32(base_sequence);
    batch.put_i32(0);
    let mut bytes = match codec {
        Compression::None => {
            let summary = put_records(&mut batch, records, timestamp)?;
            summary.patch(&mut batch);
            batch.into_vec()
        }
        codec => {
            let mut plain = Writer::with_capacity(1024);
            let summary = put_records(&mut plain, records, timestamp)?;
            summary.patch(&mut batch);
            let mut bytes = batch.into_vec();
            compression::compress(codec, plain.as_slice(), &mut bytes)?;
            bytes
        }
    };
    finish(&mut bytes)?;
    Ok(bytes)
}

/// The bytes of a batch of this one record, not compressed.
pub fn bytes_of_one(content: &Content<'_>) -> usize {
    let body = body_len(0, 0, content.written_len());
    HEADER_BYTES + varint_len(i32::try_from(body).unwrap_or(i32::MAX)) + body
}

/// The fields of the header that describe the records.
struct Summary {
    count: i32,
    base_timestamp: i64,
    max_timestamp: i64,
}

impl Summary {
    /// Fills it in, and the last offset.
    fn patch(&self, batch: &mut Writer) {
        batch.patch_i32(CRC_END + 2, self.count - 1);
        batch.patch_i64(BASE_TIMESTAMP, self.base_timestamp);
        batch.patch_i64(MAX_TIMESTAMP, self.max_timestamp);
        batch.patch_i32(HEADER_BYTES - 4, self.count);
    }
}

/// Fills in the size and the checksum.
pub(super) fn finish(bytes: &mut [u8]) -> Result<(), EncodeError> {
    let size = i32::try_from(bytes.len() - SIZE_END).map_err(|_| EncodeError::TooLarge)?;
    let crc = crc32c::crc32c(bytes.get(CRC_END..).unwrap_or_default());
    for (at, value) in [(SIZE_END - 4, size.to_be_bytes()), (CRC_END - 4, crc.to_be_bytes())] {
        if let Some(place) = bytes.get_mut(at..at + 4) {
            place.copy_from_slice(&value);
        }
    }
    Ok(())
}

fn put_records<'a, C: Into<Content<'a>>>(
    out: &mut Writer,
    records: impl IntoIterator<Item = C>,
    timestamp: i64,
) -> Result<Summary, EncodeError> {
    let mut summary: Option<Summary> = None;
    for content in records {
        let content = content.into();
        let length = content.written_len();
        // What is around it in a record takes 32 bytes at most; half of 2 GiB leaves room for any codec.
        if out.position().saturating_add(length).saturating_add(32) > (i32::MAX / 2) as usize {
            return Err(EncodeError::TooLarge);
        }
        let own = content.timestamp.unwrap_or(timestamp);
        let so_far = summary.get_or_insert(Summary { count: 0, base_timestamp: own, max_timestamp: own });
        put_record(out, so_far.count, own.wrapping_sub(so_far.base_timestamp), length, &content);
        so_far.count += 1;
        so_far.max_timestamp = so_far.max_timestamp.max(own);
    }
    summary.ok_or(EncodeError::Empty)
}

/// Writes a record; `length` is that of its content, and has been checked.
#[inline]
fn put_record(out: &mut Writer, offset_delta: i32, time_delta: i64, length: usize, content: &Content<'_>) {
    let body = body_len(time_delta, offset_delta, length);
    out.put_varint(body as i32);
    out.put_i8(0);
    out.put_varlong(time_delta);
    out.put_varint(offset_delta);
    content.write(out);
}

/// The bytes of a record after its size.
fn body_len(time_delta: i64, offset_delta: i32, length: usize) -> usize {
    1 + varlong_len(time_delta) + varint_len(offset_delta) + length
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_of_a_batch_of_one_record_are_known_before_it_is_made() {
        for length in [0, 1, 100, 20_000] {
            let (key, value) = (vec![1; length / 3], vec![2; length]);
            let content = Content { timestamp: Some(7), ..Content::from((Some(&key[..]), Some(&value[..]))) };
            let batch = encode_batch([content], 5, 1, 0, 3, Compression::None).unwrap();
            assert_eq!(bytes_of_one(&content), batch.len());
        }
    }

    #[test]
    fn a_batch_without_a_record_is_refused() {
        for codec in [Compression::None, Compression::Zstd] {
            let nothing: [Content<'_>; 0] = [];
            assert_eq!(encode_batch(nothing, 0, -1, -1, -1, codec), Err(EncodeError::Empty));
        }
    }
}
