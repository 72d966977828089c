//! The content of a record without its offset: key, value and headers with variable-length lengths, of which
//! -1 is null. An [`envelope`](crate::envelope) holds the same bytes.

use std::borrow::Cow;

use crate::wire::{Malformed, Reader, Writer, varint_len};

/// The content of a record.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Content<'a> {
    /// Its own time or that of its append, ms since 1970; never negative.
    pub timestamp: Option<i64>,
    /// Its key, if it has one.
    pub key: Option<&'a [u8]>,
    /// Its value; null is a tombstone in a compacted topic.
    pub value: Option<&'a [u8]>,
    /// Its headers.
    pub headers: Headers<'a>,
}

impl<'a> From<(Option<&'a [u8]>, Option<&'a [u8]>)> for Content<'a> {
    /// A key and a value.
    fn from((key, value): (Option<&'a [u8]>, Option<&'a [u8]>)) -> Content<'a> {
        Content { key, value, ..Content::default() }
    }
}

impl<'a> Content<'a> {
    /// Reads key, value and headers, which are all that is left.
    #[inline]
    pub(crate) fn read(timestamp: Option<i64>, reader: &mut Reader<'a>) -> Result<Content<'a>, Malformed> {
        let key = nullable_bytes(reader)?;
        let value = nullable_bytes(reader)?;
        let headers = Headers::read(reader)?;
        if !reader.is_empty() {
            return Err(reader.malformed("bytes after the last header"));
        }
        Ok(Content { timestamp, key, value, headers })
    }

    /// Bytes that [`Content::write`] writes.
    #[inline]
    pub(crate) fn written_len(&self) -> usize {
        let headers = varint_len(length(self.headers.count)) + self.headers.bytes.len();
        nullable_len(self.key).saturating_add(nullable_len(self.value)).saturating_add(headers)
    }

    /// Writes key, value and headers; each is below 2 GiB.
    #[inline]
    pub(crate) fn write(&self, out: &mut Writer) {
        put_nullable(out, self.key);
        put_nullable(out, self.value);
        out.put_varint(length(self.headers.count));
        out.put_raw(self.headers.bytes);
    }
}

/// The headers of a record, in their order; a key may come more than once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Headers<'a> {
    bytes: &'a [u8],
    count: usize,
}

impl<'a> Headers<'a> {
    /// Checks the headers that are all that is left.
    #[inline]
    fn read(reader: &mut Reader<'a>) -> Result<Headers<'a>, Malformed> {
        let count = reader.varint()?;
        let bytes = reader.rest();
        if count != 0 {
            let count =
                usize::try_from(count).map_err(|_| reader.malformed("a negative number of headers"))?;
            for _ in 0..reader.checked_count(count, 2)? {
                header(reader)?;
            }
        }
        Ok(Headers { bytes, count: usize::try_from(count).unwrap_or(0) })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Keys and values. What is not UTF-8 in a key, as some clients write it, is shown as U+FFFD, as Java
    /// does.
    pub fn iter(&self) -> impl Iterator<Item = (Cow<'a, str>, Option<&'a [u8]>)> + use<'a> {
        let mut reader = Reader::new(self.bytes);
        let headers = (0..self.count).map_while(move |_| header(&mut reader).ok());
        headers.map(|(key, value)| (String::from_utf8_lossy(key), value))
    }
}

/// Headers to be sent, written as a record has them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OwnHeaders {
    bytes: Vec<u8>,
    count: usize,
}

impl OwnHeaders {
    /// These headers, in this order; keys and values are below 2 GiB.
    pub fn new<'a>(headers: impl IntoIterator<Item = (&'a str, Option<&'a [u8]>)>) -> OwnHeaders {
        let (mut out, mut count) = (Writer::new(), 0);
        for (key, value) in headers {
            put_nullable(&mut out, Some(key.as_bytes()));
            put_nullable(&mut out, value);
            count += 1;
        }
        OwnHeaders { bytes: out.into_vec(), count }
    }

    /// Bytes that they take in a record.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The headers, to be read or put into a [`Content`].
    pub fn borrowed(&self) -> Headers<'_> {
        Headers { bytes: &self.bytes, count: self.count }
    }
}

/// Reads a header.
fn header<'a>(reader: &mut Reader<'a>) -> Result<(&'a [u8], Option<&'a [u8]>), Malformed> {
    let key = nullable_bytes(reader)?.ok_or_else(|| reader.malformed("a header without a key"))?;
    Ok((key, nullable_bytes(reader)?))
}

/// Bytes with a variable-length length, of which -1 is null.
#[inline]
fn nullable_bytes<'a>(reader: &mut Reader<'a>) -> Result<Option<&'a [u8]>, Malformed> {
    let length = reader.varint()?;
    match usize::try_from(length) {
        Ok(length) => reader.take(length).map(Some),
        Err(_) if length == -1 => Ok(None),
        Err(_) => Err(reader.malformed("bytes of negative length")),
    }
}

#[inline]
fn put_nullable(out: &mut Writer, bytes: Option<&[u8]>) {
    out.put_varint(bytes.map_or(-1, |bytes| length(bytes.len())));
    out.put_raw(bytes.unwrap_or_default());
}

#[inline]
fn nullable_len(bytes: Option<&[u8]>) -> usize {
    bytes.map_or(1, |bytes| varint_len(length(bytes.len())) + bytes.len())
}

#[inline]
fn length(length: usize) -> i32 {
    i32::try_from(length).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_come_back_in_their_order_with_duplicates_and_nulls() {
        let given: [(&str, Option<&[u8]>); 5] =
            [("a", Some(b"1")), ("b", None), ("a", Some(b"")), ("", Some(&[0xff; 200])), ("ñ", Some(b"x"))];
        let headers = OwnHeaders::new(given);
        assert_eq!(headers.borrowed().len(), 5);
        assert!(headers.borrowed().iter().eq(given.map(|(key, value)| (Cow::Borrowed(key), value))));
        assert!(OwnHeaders::default().borrowed().is_empty());
    }

    #[test]
    fn the_length_is_known_before_it_is_written() {
        let long = vec![7; 100_000];
        let headers = OwnHeaders::new([("k", Some(long.as_slice())), ("k", None)]);
        for bytes in [None, Some(&b""[..]), Some(b"x"), Some(&long[..63]), Some(&long[..64]), Some(&long)] {
            for headers in [Headers::default(), headers.borrowed()] {
                let content = Content { key: bytes, value: bytes, headers, timestamp: Some(1) };
                let mut out = Writer::new();
                content.write(&mut out);
                assert_eq!(out.position(), content.written_len());
                assert_eq!(Content::read(Some(1), &mut Reader::new(out.as_slice())), Ok(content));
            }
        }
    }
}
