//! Ranges of offsets above a committed one, as bytes and as the text of a commit's metadata. The dead letters
//! keep what is replayed in them, the work queue what is done.
//!
//! Two unsigned LEB128 numbers for each range in order: the offsets between the end of the range before (or
//! the committed offset) and its first one, and how many it has; neither is 0. As text they are base64
//! (RFC 4648, for URLs, without padding).

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The most bytes that Kafka takes as metadata of a commit by default (`offset.metadata.max.bytes`).
pub const MAX_METADATA_BYTES: usize = 4_096;

/// The first offset of a range and the one after its last.
pub type OffsetRange = (i64, i64);

/// Bytes or text that are no ranges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoRanges;

impl fmt::Display for NoRanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the text has no ranges of offsets")
    }
}

impl std::error::Error for NoRanges {}

/// The bytes of `ranges`, which are in order and apart from each other and from `next`.
pub fn write(next: i64, ranges: &[OffsetRange]) -> Vec<u8> {
    let (mut bytes, mut end) = (Vec::with_capacity(2 * ranges.len()), next);
    for (start, after) in ranges {
        put_number(&mut bytes, start.abs_diff(end));
        put_number(&mut bytes, after.abs_diff(*start));
        end = *after;
    }
    bytes
}

/// The ranges above `next` that [`write()`] wrote.
///
/// # Errors The bytes are cut off, or have a range that is empty, touches the one before, or ends past the
/// last offset.
pub fn read(next: i64, bytes: &[u8]) -> Result<Vec<OffsetRange>, NoRanges> {
    let (mut rest, mut end, mut ranges) = (bytes, next, Vec::new());
    while !rest.is_empty() {
        let [gap, length] = [take_offsets(&mut rest)?, take_offsets(&mut rest)?];
        let start = end.checked_add(gap).ok_or(NoRanges)?;
        end = start.checked_add(length).ok_or(NoRanges)?;
        if gap == 0 || length == 0 {
            return Err(NoRanges);
        }
        ranges.push((start, end));
    }
    Ok(ranges)
}

/// Bytes as text.
pub fn to_text(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The bytes of a text.
///
/// # Errors
/// The text is not base64.
pub fn from_text(text: &str) -> Result<Vec<u8>, NoRanges> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| NoRanges)
}

/// The characters that so many bytes are as text.
pub const fn text_length(bytes: usize) -> usize {
    (bytes * 4).div_ceil(3)
}

/// Appends an unsigned LEB128 number.
pub fn put_number(bytes: &mut Vec<u8>, number: u64) {
    let mut rest = number;
    while rest > 0x7f {
        bytes.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
}

/// Takes an unsigned LEB128 number of at most 63 bits from the front of `bytes`.
///
/// # Errors
/// The number is longer or cut off.
pub fn take_number(bytes: &mut &[u8]) -> Result<u64, NoRanges> {
    let mut number = 0;
    for shift in (0..63).step_by(7) {
        let (byte, rest) = bytes.split_first().ok_or(NoRanges)?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(NoRanges)
}

/// The bytes that a number takes.
pub const fn number_length(number: u64) -> usize {
    (64 - (number | 1).leading_zeros()).div_ceil(7) as usize
}

fn take_offsets(bytes: &mut &[u8]) -> Result<i64, NoRanges> {
    i64::try_from(take_number(bytes)?).map_err(|_| NoRanges)
}

#[cfg(test)]
mod tests {
    use super::*;
    use testing::Random;

    #[test]
    fn numbers_come_back_and_take_as_many_bytes_as_said() {
        for shift in 0..63 {
            for number in [(1_u64 << shift) - 1, 1 << shift] {
                let mut bytes = Vec::new();
                put_number(&mut bytes, number);
                assert_eq!(bytes.len(), number_length(number), "{number}");
                assert_eq!(take_number(&mut bytes.as_slice()), Ok(number));
            }
        }
    }

    #[test]
    fn ranges_come_back_and_damaged_ones_are_refused_or_are_others() {
        let mut random = Random::new(11);
        for _ in 0..2_000 {
            let next = random.below(1 << 40) as i64;
            let (mut end, mut ranges) = (next, Vec::new());
            for _ in 0..random.below(20) {
                let start = end + 1 + random.below(300) as i64;
                end = start + 1 + random.below(300) as i64;
                ranges.push((start, end));
            }
            let bytes = write(next, &ranges);
            let text = to_text(&bytes);
            assert_eq!(text.len(), text_length(bytes.len()));
            assert_eq!(from_text(&text).and_then(|bytes| read(next, &bytes)), Ok(ranges));
            if let Ok(other) = read(next, &random.damage(&bytes)) {
                assert!(
                    other.is_sorted() && other.iter().all(|(start, after)| next < *start && start < after)
                );
            }
        }
    }
}
