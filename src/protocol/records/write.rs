//! Writing record batches, as the Java producer writes them.

use std::fmt;

use super::{CRC_END, HEADER_BYTES, MAGIC, SIZE_END};
use crate::protocol::compression::{self, Compression, CompressionError};
use crate::protocol::wire::Writer;

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

/// Makes one batch of `records` (key and value each), all with `timestamp` (ms since 1970) and numbered from
/// 0, as a producer sends them: the broker sets the offsets. `producer_id`, `producer_epoch` and
/// `base_sequence` make it idempotent, or are all -1.
///
/// # Errors
/// See [`EncodeError`].
pub fn encode_batch<'a>(
    records: impl IntoIterator<Item = (Option<&'a [u8]>, Option<&'a [u8]>)>,
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
            let count = put_records(&mut batch, records)?;
            patch_counts(&mut batch, count);
            batch.into_vec()
        }
        codec => {
            let mut plain = Writer::with_capacity(1024);
            let count = put_records(&mut plain, records)?;
            patch_counts(&mut batch, count);
            let mut bytes = batch.into_vec();
            compression::compress(codec, plain.as_slice(), &mut bytes)?;
            bytes
        }
    };
    finish(&mut bytes)?;
    Ok(bytes)
}

/// The number of records and, from it, the last offset.
fn patch_counts(batch: &mut Writer, count: i32) {
    batch.patch_i32(CRC_END + 2, count - 1);
    batch.patch_i32(HEADER_BYTES - 4, count);
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

fn put_records<'a>(
    out: &mut Writer,
    records: impl IntoIterator<Item = (Option<&'a [u8]>, Option<&'a [u8]>)>,
) -> Result<i32, EncodeError> {
    let mut count = 0;
    for (key, value) in records {
        let lengths = key.map_or(0, <[u8]>::len).saturating_add(value.map_or(0, <[u8]>::len));
        // What is around them in a record takes 32 bytes at most; half of 2 GiB leaves room for any codec.
        if out.position().saturating_add(lengths).saturating_add(32) > (i32::MAX / 2) as usize {
            return Err(EncodeError::TooLarge);
        }
        put_record(out, count, key, value);
        count += 1;
    }
    if count == 0 { Err(EncodeError::Empty) } else { Ok(count) }
}

/// One record without headers, at the batch's timestamp. The lengths have been checked.
#[inline]
fn put_record(out: &mut Writer, offset_delta: i32, key: Option<&[u8]>, value: Option<&[u8]>) {
    let length = |bytes: Option<&[u8]>| bytes.map_or(-1, |bytes| bytes.len() as i32);
    let (key_length, value_length) = (length(key), length(value));
    let body = 1
        + 1
        + varint_len(offset_delta)
        + varint_len(key_length)
        + key_length.max(0)
        + varint_len(value_length)
        + value_length.max(0)
        + 1;
    out.put_varint(body);
    out.put_i8(0);
    out.put_varlong(0);
    out.put_varint(offset_delta);
    out.put_varint(key_length);
    out.put_raw(key.unwrap_or_default());
    out.put_varint(value_length);
    out.put_raw(value.unwrap_or_default());
    out.put_varint(0);
}

/// Bytes that [`Writer::put_varint`] writes.
#[inline]
fn varint_len(value: i32) -> i32 {
    let zig_zag = (value << 1 ^ value >> 31) as u32;
    let bits = u32::BITS - (zig_zag | 1).leading_zeros();
    bits.div_ceil(7) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_of_an_integer_is_known_before_it_is_written() {
        for shift in 0..32 {
            for value in [1_i32.wrapping_shl(shift), 1_i32.wrapping_shl(shift).wrapping_sub(1)] {
                for value in [value, value.wrapping_neg()] {
                    let mut writer = Writer::new();
                    writer.put_varint(value);
                    assert_eq!(writer.position() as i32, varint_len(value), "{value}");
                }
            }
        }
    }

    #[test]
    fn a_batch_without_a_record_is_refused() {
        assert_eq!(encode_batch([], 0, -1, -1, -1, Compression::None), Err(EncodeError::Empty));
        assert_eq!(encode_batch([], 0, -1, -1, -1, Compression::Zstd), Err(EncodeError::Empty));
    }
}
