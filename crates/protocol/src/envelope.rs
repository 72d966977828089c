//! The envelope: a whole record as the value of a format 0 message, which has no headers, no timestamp and,
//! in the `kafka` crate, no difference between null and empty. Only our own programs ask for it.
//!
//! | bytes | |
//! |---|---|
//! | 1 | version, 1 |
//! | 8 | timestamp, ms since 1970; -1 for none (Kafka's `NO_TIMESTAMP`) |
//! | 1–5 and n | key: a variable-length zig-zag length, -1 for null, and that many bytes |
//! | 1–5 and n | value, likewise |
//! | 1–5 | number of headers; then each one's key and value, likewise, but no key is null |
//!
//! From the key on these are the bytes of a record (KIP-98), so that an envelope is no larger than its record
//! but for the nine bytes at its head.

use super::records::Content;
use super::wire::{Malformed, Reader, Writer};

const VERSION: i8 = 1;
const NO_TIMESTAMP: i64 = -1;

/// The bytes of an envelope before those of its record.
const HEAD_BYTES: usize = 1 + 8;

/// The size of the envelope that [`write()`] writes.
#[inline]
pub fn len(content: &Content<'_>) -> usize {
    HEAD_BYTES.saturating_add(content.written_len())
}

/// Writes the envelope of a record. Key, value and headers are below 2 GiB.
#[inline]
pub fn write(content: &Content<'_>, out: &mut Writer) {
    out.put_i8(VERSION);
    out.put_i64(content.timestamp.filter(|&timestamp| timestamp >= 0).unwrap_or(NO_TIMESTAMP));
    content.write(out);
}

/// Reads an envelope; what is read borrows from `bytes`.
///
/// # Errors
/// [`Malformed`] for another version, for lengths that are not there, and for bytes that are left over.
#[inline]
pub fn read(bytes: &[u8]) -> Result<Content<'_>, Malformed> {
    let mut reader = Reader::new(bytes);
    if reader.i8()? != VERSION {
        return Err(Malformed { at: 0, what: "an envelope of another version than 1" });
    }
    let timestamp = Some(reader.i64()?).filter(|&timestamp| timestamp >= 0);
    Content::read(timestamp, &mut reader)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::OwnHeaders;
    use testing::Random;

    fn envelope(content: &Content<'_>) -> Vec<u8> {
        let mut out = Writer::new();
        write(content, &mut out);
        assert_eq!(out.position(), len(content));
        out.into_vec()
    }

    /// Every combination of what may be there, be empty or be null.
    fn each(mut look: impl FnMut(&Content<'_>)) {
        let two = [("a", Some(&b"\0\xff"[..])), ("a", None)];
        let headers = [OwnHeaders::default(), OwnHeaders::new(two)];
        let fields = [None, Some(&b""[..]), Some(b"\xff\0 bytes")];
        for timestamp in [None, Some(0), Some(1_700_000_000_123), Some(i64::MAX)] {
            for key in fields {
                for value in fields {
                    for headers in &headers {
                        look(&Content { timestamp, key, value, headers: headers.borrowed() });
                    }
                }
            }
        }
    }

    #[test]
    fn null_empty_and_bytes_are_told_apart() {
        each(|content| assert_eq!(read(&envelope(content)), Ok(*content)));
    }

    #[test]
    fn the_bytes_are_those_of_version_1() {
        let headers = OwnHeaders::new([("h", None)]);
        let content =
            Content { timestamp: Some(258), key: None, value: Some(b"v"), headers: headers.borrowed() };
        let bytes = [1, 0, 0, 0, 0, 0, 0, 1, 2, 1, 2, b'v', 2, 2, b'h', 1];
        assert_eq!(envelope(&content), bytes);
    }

    #[test]
    fn a_negative_timestamp_is_none() {
        let content = Content { timestamp: Some(-7), ..Content::default() };
        assert_eq!(read(&envelope(&content)).unwrap().timestamp, None);
    }

    #[test]
    fn every_truncation_and_anything_that_follows_is_an_error() {
        each(|content| {
            let bytes = envelope(content);
            for end in 0..bytes.len() {
                assert!(read(&bytes[..end]).is_err(), "{end} bytes of {content:?}");
            }
            let longer = [bytes.as_slice(), &[0]].concat();
            assert_eq!(read(&longer).unwrap_err().to_string(), {
                format!("bytes after the last header (at byte {})", bytes.len())
            });
        });
    }

    #[test]
    fn errors_name_what_and_where() {
        let bytes = envelope(&Content::from((Some(&b"key"[..]), Some(&b"value"[..]))));
        let damaged = |at: usize, byte: u8| {
            let mut bytes = bytes.clone();
            bytes[at] = byte;
            read(&bytes).unwrap_err().to_string()
        };
        assert_eq!(damaged(0, 2), "an envelope of another version than 1 (at byte 0)");
        assert_eq!(damaged(9, 0x7e), "the bytes end too early (at byte 10)");
        assert_eq!(damaged(9, 3), "bytes of negative length (at byte 10)");
        assert_eq!(damaged(19, 1), "a negative number of headers (at byte 20)");
        assert_eq!(damaged(19, 0x7e), "an array longer than the bytes that are left (at byte 20)");
    }

    #[test]
    fn damaged_envelopes_never_panic_and_hold_no_more_than_their_bytes() {
        let mut random = Random::new(0xe1);
        each(|content| {
            let original = envelope(content);
            for _ in 0..1_000 {
                let damaged = random.damage(&original);
                let Ok(content) = read(&damaged) else { continue };
                let headers = content.headers.iter().map(|(_, value)| value.map_or(0, <[u8]>::len));
                let bytes = content.key.map_or(0, <[u8]>::len) + content.value.map_or(0, <[u8]>::len);
                assert!(bytes + headers.sum::<usize>() <= damaged.len());
            }
        });
    }
}
