//! Message sets of format 0 and 1: what the `kafka` crate produces and what it reads.
//!
//! Source: the Kafka protocol guide, "Message sets" (KIP-32 for format 1). A set is a row of entries without
//! a count: offset (8 bytes), size (4), CRC-32 of what follows (4), format (1), attributes (1), in format 1 a
//! timestamp (8), key and value (4 + n, null is -1). Compressed messages are a set inside the value of one
//! entry. The crate reads format 0 alone; it packs with gzip, or with snappy without any framing.

use std::borrow::Cow;

use crate::compression::{self, Compression};
use crate::envelope;
use crate::records::Content;
use crate::wire::{Malformed, Reader, Writer};

/// A message as the crate knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageV0<'a> {
    /// The key, if there is one.
    pub key: Option<Cow<'a, [u8]>>,
    /// The value; the crate writes an empty one as null.
    pub value: Option<Cow<'a, [u8]>>,
}

/// The limit of the unpacked bytes of all compressed entries of a set.
pub const MAX_UNPACKED_BYTES: usize = 64 * 1024 * 1024;

/// Bytes of an entry besides key and value, in format 0.
pub const ENTRY_OVERHEAD: usize = 8 + 4 + 4 + 1 + 1 + 4 + 4;

/// Appends one entry of format 0 to the message set `out`.
pub fn append(out: &mut Vec<u8>, offset: i64, key: Option<&[u8]>, value: Option<&[u8]>) {
    let lengths = key.map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len);
    append_entry(out, offset, lengths, |entry| {
        entry.put_nullable_bytes(key);
        entry.put_nullable_bytes(value);
    });
}

/// Appends one entry of format 0 without a key, whose value is the [`envelope`] of `content`.
pub fn append_envelope(out: &mut Vec<u8>, offset: i64, content: &Content<'_>) {
    let length = envelope::len(content);
    append_entry(out, offset, length, |entry| {
        entry.put_nullable_bytes(None);
        entry.put_array_len(length);
        envelope::write(content, entry);
    });
}

/// `lengths` are those of key and value together; what is served comes out of record batches, which stay
/// below 2 GiB.
#[inline]
fn append_entry(out: &mut Vec<u8>, offset: i64, lengths: usize, key_and_value: impl FnOnce(&mut Writer)) {
    out.reserve(ENTRY_OVERHEAD + lengths);
    let mut entry = Writer::from(std::mem::take(out));
    entry.put_i64(offset);
    entry.put_array_len(ENTRY_OVERHEAD - 12 + lengths);
    let crc_at = entry.position();
    entry.put_raw(&[0; 6]);
    key_and_value(&mut entry);
    let crc = crc32fast::hash(entry.as_slice().get(crc_at + 4..).unwrap_or_default());
    entry.patch_i32(crc_at, crc.cast_signed());
    *out = entry.into_vec();
}

/// Decodes a message set, checks its checksums and unpacks what is compressed.
///
/// # Errors
/// [`Malformed`] for a set that is damaged, cut short, of another format, compressed with a codec that its
/// format does not have, or that unpacks to more than [`MAX_UNPACKED_BYTES`].
pub fn decode(set: &[u8]) -> Result<Vec<MessageV0<'_>>, Malformed> {
    decode_within(set, MAX_UNPACKED_BYTES)
}

fn decode_within(set: &[u8], max_unpacked: usize) -> Result<Vec<MessageV0<'_>>, Malformed> {
    let mut messages = Vec::new();
    let mut room = max_unpacked;
    let mut reader = Reader::new(set);
    while !reader.is_empty() {
        let at = reader.position();
        let entry = entry(&mut reader)?;
        match entry.codec {
            Compression::None => {
                messages.push(MessageV0 {
                    key: entry.key.map(Cow::Borrowed),
                    value: entry.value.map(Cow::Borrowed),
                });
            }
            codec => {
                unpack(codec, entry.value, &mut room, &mut messages).map_err(|what| Malformed { at, what })?
            }
        }
    }
    Ok(messages)
}

/// An entry whose checksum is right.
struct Entry<'a> {
    codec: Compression,
    key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
}

fn entry<'a>(reader: &mut Reader<'a>) -> Result<Entry<'a>, Malformed> {
    reader.i64()?;
    let start = reader.position() + 4;
    let placed = |error: Malformed| Malformed { at: start + error.at, ..error };
    let mut message = Reader::new(reader.bytes()?);
    let crc = message.u32().map_err(placed)?;
    if crc32fast::hash(message.rest()) != crc {
        return Err(placed(message.malformed("a message whose checksum is wrong")));
    }
    let entry = message_body(&mut message).map_err(placed)?;
    if !message.is_empty() {
        return Err(placed(message.malformed("bytes after the end of a message")));
    }
    Ok(entry)
}

fn message_body<'a>(message: &mut Reader<'a>) -> Result<Entry<'a>, Malformed> {
    let format = message.i8()?;
    let attributes = message.i8()?;
    match format {
        0 => (),
        1 => drop(message.i64()?),
        _ => return Err(message.malformed("a message that is not of format 0 or 1")),
    }
    let codec = match Compression::from_attributes(i16::from(attributes)) {
        Ok(codec @ (Compression::None | Compression::Gzip | Compression::Snappy)) => codec,
        _ => return Err(message.malformed("a message set compressed with another codec than gzip or snappy")),
    };
    Ok(Entry { codec, key: message.nullable_bytes()?, value: message.nullable_bytes()? })
}

/// Appends the messages of the set that `packed` holds; a set inside that one is an error.
fn unpack(
    codec: Compression,
    packed: Option<&[u8]>,
    room: &mut usize,
    messages: &mut Vec<MessageV0<'_>>,
) -> Result<(), &'static str> {
    let packed = packed.ok_or("a compressed message set that is null")?;
    let set = compression::decompress(codec, packed, *room).map_err(|error| match error {
        compression::CompressionError::TooLarge { .. } => "a message set that unpacks to too much",
        _ => "a compressed message set that cannot be unpacked",
    })?;
    *room -= set.len();
    let mut reader = Reader::new(&set);
    while !reader.is_empty() {
        let entry = entry(&mut reader).map_err(|error| error.what)?;
        if entry.codec != Compression::None {
            return Err("a compressed message set inside another");
        }
        let owned = |bytes: &[u8]| Cow::Owned(bytes.to_vec());
        messages.push(MessageV0 { key: entry.key.map(owned), value: entry.value.map(owned) });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use testing::Random;

    type Pair<'a> = (Option<&'a [u8]>, Option<&'a [u8]>);

    const PAIRS: [Pair<'static>; 4] =
        [(None, Some(b"one")), (Some(b"k"), Some(b"two")), (Some(b""), None), (None, Some(b""))];

    fn plain() -> Vec<u8> {
        let mut set = Vec::new();
        for (offset, (key, value)) in PAIRS.into_iter().enumerate() {
            append(&mut set, offset as i64, key, value);
        }
        set
    }

    /// An entry of any format and attributes, with a right checksum.
    fn raw_entry(format: i8, attributes: i8, key: Option<&[u8]>, value: Option<&[u8]>) -> Vec<u8> {
        let mut message = Writer::new();
        message.put_i8(format);
        message.put_i8(attributes);
        if format == 1 {
            message.put_i64(1_700_000_000_000);
        }
        message.put_nullable_bytes(key);
        message.put_nullable_bytes(value);
        let mut entry = Writer::new();
        entry.put_i64(0);
        entry.put_array_len(message.position() + 4);
        entry.put_u32(crc32fast::hash(message.as_slice()));
        entry.put_raw(message.as_slice());
        entry.into_vec()
    }

    fn packed(codec: Compression, set: &[u8]) -> Vec<u8> {
        let mut value = Vec::new();
        compression::compress(codec, set, &mut value).unwrap();
        raw_entry(0, codec as i8, None, Some(&value))
    }

    fn pairs<'a>(messages: &'a [MessageV0<'a>]) -> Vec<Pair<'a>> {
        messages.iter().map(|message| (message.key.as_deref(), message.value.as_deref())).collect()
    }

    #[test]
    fn what_is_appended_is_decoded_again_without_a_copy() {
        let set = plain();
        let messages = decode(&set).unwrap();
        assert_eq!(pairs(&messages), PAIRS);
        assert!(matches!(messages.first().unwrap().value, Some(Cow::Borrowed(_))));
        assert_eq!(set.len(), PAIRS.len() * ENTRY_OVERHEAD + "onektwo".len());
        assert_eq!(decode(&[]), Ok(Vec::new()));
    }

    #[test]
    fn an_envelope_is_the_value_of_a_message_without_a_key() {
        let mut set = plain();
        let content = Content { timestamp: Some(7), ..Content::from((Some(&b"k"[..]), None)) };
        append_envelope(&mut set, 4, &content);
        let messages = decode(&set).unwrap();
        let last = messages.last().unwrap();
        assert_eq!((messages.len(), &last.key), (PAIRS.len() + 1, &None));
        assert_eq!(envelope::read(last.value.as_deref().unwrap()), Ok(content));
    }

    #[test]
    fn format_1_is_read_too() {
        let set = raw_entry(1, 0, Some(b"k"), Some(b"v"));
        assert_eq!(pairs(&decode(&set).unwrap()), [(Some(&b"k"[..]), Some(&b"v"[..]))]);
    }

    #[test]
    fn compressed_sets_are_unpacked_in_place() {
        for codec in [Compression::Gzip, Compression::Snappy] {
            let set = [packed(codec, &plain()), plain()].concat();
            assert_eq!(pairs(&decode(&set).unwrap()), [PAIRS, PAIRS].concat());
        }
    }

    #[test]
    fn a_set_that_unpacks_to_too_much_is_refused() {
        let one = packed(Compression::Gzip, &plain());
        let two = [one.as_slice(), &one].concat();
        assert!(decode_within(&two, 2 * plain().len()).is_ok());
        let error = decode_within(&two, 2 * plain().len() - 1).unwrap_err();
        assert_eq!((error.at, error.what), (one.len(), "a message set that unpacks to too much"));
    }

    #[test]
    fn damage_is_named() {
        let mut wrong_sum = plain();
        *wrong_sum.last_mut().unwrap() ^= 1;
        let nested = packed(Compression::Gzip, &packed(Compression::Gzip, &plain()));
        let cases = [
            (wrong_sum, "a message whose checksum is wrong"),
            (raw_entry(2, 0, None, None), "a message that is not of format 0 or 1"),
            (raw_entry(0, 3, None, None), "a message set compressed with another codec than gzip or snappy"),
            (raw_entry(0, 1, None, None), "a compressed message set that is null"),
            (raw_entry(0, 1, None, Some(b"?")), "a compressed message set that cannot be unpacked"),
            (nested, "a compressed message set inside another"),
            (plain().get(..20).unwrap().to_vec(), "the bytes end too early"),
        ];
        for (set, what) in cases {
            assert_eq!(decode(&set).unwrap_err().what, what);
        }
    }

    #[test]
    fn every_truncation_inside_an_entry_is_an_error() {
        let set = raw_entry(0, 0, Some(b"key"), Some(b"value"));
        for end in 1..set.len() {
            assert!(decode(set.get(..end).unwrap()).is_err(), "{end} bytes");
        }
    }

    #[test]
    fn damaged_sets_never_panic() {
        let mut random = Random::new(2);
        let sets = [plain(), packed(Compression::Gzip, &plain()), packed(Compression::Snappy, &plain())];
        for set in sets {
            for _ in 0..30_000 {
                let mut damaged = random.damage(&set);
                let _ = decode_within(&damaged, 10_000);
                repair_checksum(&mut damaged);
                let _ = decode_within(&damaged, 10_000);
            }
        }
    }

    /// Makes the first entry's checksum right, so that what it protects is reached.
    fn repair_checksum(set: &mut [u8]) {
        let size = set.get(8..12).map_or(0, |size| u32::from_be_bytes(size.try_into().unwrap()) as usize);
        if let Some(message) = set.get(16..12_usize.saturating_add(size)) {
            let crc = crc32fast::hash(message);
            set[12..16].copy_from_slice(&crc.to_be_bytes());
        }
    }
}
