//! Reading and writing the primitive types of the Kafka protocol.
//!
//! Everything is big-endian. Source: the Kafka protocol guide, "Protocol Primitive Types"
//! (<https://kafka.apache.org/protocol#protocol_types>); variable-length integers and compact lengths are
//! those of KIP-98 (records) and KIP-482 (flexible versions).
//!
//! [`Reader`] never believes a length: it is compared with the bytes that are left before anything is taken
//! or allocated, so what a frame makes us hold is bounded by the frame itself.

use std::fmt;

/// Bytes that are not what the protocol says they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed {
    /// Where reading stopped, counted from the start of the buffer that was handed in.
    pub at: usize,
    /// A description of the error.
    pub what: &'static str,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (at byte {})", self.what, self.at)
    }
}

impl std::error::Error for Malformed {}

/// A bounded reader over a byte slice; what it returns borrows from that slice.
///
/// Every method fails with [`Malformed`] when the slice ends too early or a length is impossible.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Reads from the start of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes, at: 0 }
    }

    /// Bytes read so far.
    #[inline]
    pub fn position(&self) -> usize {
        self.at
    }

    /// Bytes that are left.
    #[inline]
    pub fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// Whether everything has been read.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.remaining() == 0
    }

    /// The bytes that are not read yet, without reading them.
    #[inline]
    pub fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// An error that names this place.
    #[cold]
    pub fn malformed(&self, what: &'static str) -> Malformed {
        Malformed { at: self.at, what }
    }

    /// The next `length` bytes.
    #[inline]
    pub fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        match self.rest().split_at_checked(length) {
            Some((taken, _)) => {
                self.at += length;
                Ok(taken)
            }
            None => Err(self.malformed("the bytes end too early")),
        }
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        match self.rest().first_chunk::<N>() {
            Some(chunk) => {
                self.at += N;
                Ok(*chunk)
            }
            None => Err(self.malformed("the bytes end too early")),
        }
    }

    /// INT8.
    #[inline]
    pub fn i8(&mut self) -> Result<i8, Malformed> {
        self.array().map(i8::from_be_bytes)
    }

    /// INT16.
    #[inline]
    pub fn i16(&mut self) -> Result<i16, Malformed> {
        self.array().map(i16::from_be_bytes)
    }

    /// INT32.
    #[inline]
    pub fn i32(&mut self) -> Result<i32, Malformed> {
        self.array().map(i32::from_be_bytes)
    }

    /// INT64.
    #[inline]
    pub fn i64(&mut self) -> Result<i64, Malformed> {
        self.array().map(i64::from_be_bytes)
    }

    /// UINT32.
    #[inline]
    pub fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_be_bytes)
    }

    /// NULLABLE_STRING: an INT16 length (-1: null) and that many bytes of UTF-8.
    pub fn nullable_string(&mut self) -> Result<Option<&'a str>, Malformed> {
        let length = self.i16()?;
        if length == -1 {
            return Ok(None);
        }
        let length = usize::try_from(length).map_err(|_| self.malformed("a string of negative length"))?;
        let bytes = self.take(length)?;
        std::str::from_utf8(bytes).map(Some).map_err(|_| self.malformed("a string that is not UTF-8"))
    }

    /// STRING: as [`Reader::nullable_string`], but null is an error.
    pub fn string(&mut self) -> Result<&'a str, Malformed> {
        self.nullable_string()?.ok_or_else(|| self.malformed("null where a string must be"))
    }

    /// NULLABLE_BYTES: an INT32 length (-1: null) and that many bytes.
    #[inline]
    pub fn nullable_bytes(&mut self) -> Result<Option<&'a [u8]>, Malformed> {
        let length = self.i32()?;
        if length == -1 {
            return Ok(None);
        }
        let length = usize::try_from(length).map_err(|_| self.malformed("bytes of negative length"))?;
        self.take(length).map(Some)
    }

    /// BYTES: as [`Reader::nullable_bytes`], but null is an error.
    pub fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        self.nullable_bytes()?.ok_or_else(|| self.malformed("null where bytes must be"))
    }

    /// The INT32 length of an ARRAY (null counts as empty), whose elements take `min_element_bytes` each at
    /// least. Fails when that many cannot follow, so the length is safe to allocate for.
    pub fn array_len(&mut self, min_element_bytes: usize) -> Result<usize, Malformed> {
        let length = self.i32()?;
        if length == -1 {
            return Ok(0);
        }
        let length = usize::try_from(length).map_err(|_| self.malformed("an array of negative length"))?;
        self.checked_count(length, min_element_bytes)
    }

    /// `count`, if as many elements of `min_element_bytes` each can still follow.
    pub fn checked_count(&self, count: usize, min_element_bytes: usize) -> Result<usize, Malformed> {
        match count.checked_mul(min_element_bytes.max(1)) {
            Some(least) if least <= self.remaining() => Ok(count),
            _ => Err(self.malformed("an array longer than the bytes that are left")),
        }
    }

    /// UNSIGNED_VARINT: seven bits a byte, the lowest first, five bytes at most.
    #[inline]
    pub fn unsigned_varint(&mut self) -> Result<u32, Malformed> {
        let value = self.varint_bits(5)?;
        u32::try_from(value).map_err(|_| self.malformed("a variable-length integer beyond 32 bits"))
    }

    /// VARINT: a zig-zag coded [`Reader::unsigned_varint`].
    #[inline]
    pub fn varint(&mut self) -> Result<i32, Malformed> {
        let value = self.unsigned_varint()?;
        Ok((value >> 1) as i32 ^ -((value & 1) as i32))
    }

    /// VARLONG: zig-zag coded, ten bytes at most.
    #[inline]
    pub fn varlong(&mut self) -> Result<i64, Malformed> {
        let value = self.varint_bits(10)?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    #[inline]
    fn varint_bits(&mut self, max_bytes: u32) -> Result<u64, Malformed> {
        match self.rest().first() {
            Some(&byte) if byte < 0x80 => {
                self.at += 1;
                Ok(u64::from(byte))
            }
            _ => self.long_varint_bits(max_bytes),
        }
    }

    fn long_varint_bits(&mut self, max_bytes: u32) -> Result<u64, Malformed> {
        let mut value = 0_u64;
        for index in 0..max_bytes {
            let [byte] = self.array::<1>()?;
            let bits = u64::from(byte & 0x7f);
            if index == 9 && bits > 1 {
                break;
            }
            value |= bits << (7 * index);
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(self.malformed("a variable-length integer that does not end"))
    }
}

/// Writes the primitive types one after another into a growing `Vec<u8>`.
///
/// Its input is our own, within limits that are checked where it enters: a frame stays below 2 GiB
/// and a string below 32 KiB.
#[derive(Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// An empty writer.
    pub fn new() -> Writer {
        Writer::default()
    }

    /// An empty writer with room for `capacity` bytes.
    pub fn with_capacity(capacity: usize) -> Writer {
        Writer { bytes: Vec::with_capacity(capacity) }
    }

    /// Bytes written so far.
    pub fn position(&self) -> usize {
        self.bytes.len()
    }

    /// The bytes written so far.
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes
    }

    /// The bytes written so far, as a vector.
    pub fn into_vec(self) -> Vec<u8> {
        self.bytes
    }

    /// Bytes as they are, without a length.
    #[inline]
    pub fn put_raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// INT8.
    pub fn put_i8(&mut self, value: i8) {
        self.put_raw(&value.to_be_bytes());
    }

    /// INT16.
    pub fn put_i16(&mut self, value: i16) {
        self.put_raw(&value.to_be_bytes());
    }

    /// INT32.
    pub fn put_i32(&mut self, value: i32) {
        self.put_raw(&value.to_be_bytes());
    }

    /// INT64.
    pub fn put_i64(&mut self, value: i64) {
        self.put_raw(&value.to_be_bytes());
    }

    /// UINT32.
    pub fn put_u32(&mut self, value: u32) {
        self.put_raw(&value.to_be_bytes());
    }

    /// STRING. The length has 15 bits: a longer text is cut there, between two characters.
    pub fn put_string(&mut self, text: &str) {
        let text = text.get(..floor_char_boundary(text, i16::MAX as usize)).unwrap_or_default();
        self.put_i16(text.len() as i16);
        self.put_raw(text.as_bytes());
    }

    /// BYTES.
    pub fn put_bytes(&mut self, bytes: &[u8]) {
        self.put_array_len(bytes.len());
        self.put_raw(bytes);
    }

    /// NULLABLE_BYTES.
    pub fn put_nullable_bytes(&mut self, bytes: Option<&[u8]>) {
        match bytes {
            Some(bytes) => self.put_bytes(bytes),
            None => self.put_i32(-1),
        }
    }

    /// The INT32 length of an ARRAY or of BYTES.
    pub fn put_array_len(&mut self, length: usize) {
        self.put_i32(i32::try_from(length).unwrap_or(i32::MAX));
    }

    /// VARINT: zig-zag coded, so that small negative numbers are short too.
    #[inline]
    pub fn put_varint(&mut self, value: i32) {
        self.put_varint_bits(u64::from((value << 1 ^ value >> 31) as u32));
    }

    /// VARLONG.
    #[inline]
    pub fn put_varlong(&mut self, value: i64) {
        self.put_varint_bits((value << 1 ^ value >> 63) as u64);
    }

    #[inline]
    fn put_varint_bits(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }

    /// Writes `value` over the four bytes at `position`, which were left for a length or checksum.
    pub fn patch_i32(&mut self, position: usize, value: i32) {
        self.patch(position, &value.to_be_bytes());
    }

    /// Writes `value` over the eight bytes at `position`, which were left for it.
    pub fn patch_i64(&mut self, position: usize, value: i64) {
        self.patch(position, &value.to_be_bytes());
    }

    fn patch(&mut self, position: usize, value: &[u8]) {
        if let Some(place) = self.bytes.get_mut(position..position.saturating_add(value.len())) {
            place.copy_from_slice(value);
        }
    }
}

impl From<Vec<u8>> for Writer {
    /// A writer that goes on after what is there.
    fn from(bytes: Vec<u8>) -> Writer {
        Writer { bytes }
    }
}

/// Bytes that [`Writer::put_varint`] writes.
#[inline]
pub fn varint_len(value: i32) -> usize {
    varlong_len(i64::from(value))
}

/// Bytes that [`Writer::put_varlong`] writes.
#[inline]
pub fn varlong_len(value: i64) -> usize {
    let zig_zag = (value << 1 ^ value >> 63) as u64;
    let bits = u64::BITS - (zig_zag | 1).leading_zeros();
    bits.div_ceil(7) as usize
}

/// The largest place between two characters of `text` that is not above `limit` bytes.
fn floor_char_boundary(text: &str, limit: usize) -> usize {
    (0..=limit.min(text.len())).rev().find(|&place| text.is_char_boundary(place)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let mut writer = Writer::new();
        writer.put_i8(-1);
        writer.put_i16(-2);
        writer.put_i32(-3);
        writer.put_i64(i64::MIN);
        writer.put_u32(u32::MAX);
        writer.put_string("señal");
        writer.put_bytes(&[1, 2]);
        writer.put_nullable_bytes(None);
        writer.put_array_len(0);
        let bytes = writer.into_vec();
        let mut reader = Reader::new(&bytes);
        assert_eq!(reader.i8(), Ok(-1));
        assert_eq!(reader.i16(), Ok(-2));
        assert_eq!(reader.i32(), Ok(-3));
        assert_eq!(reader.i64(), Ok(i64::MIN));
        assert_eq!(reader.u32(), Ok(u32::MAX));
        assert_eq!(reader.string(), Ok("señal"));
        assert_eq!(reader.bytes(), Ok(&[1, 2][..]));
        assert_eq!(reader.nullable_bytes(), Ok(None));
        assert_eq!(reader.array_len(1), Ok(0));
        assert!(reader.is_empty());
        assert!(reader.i8().is_err());
    }

    #[test]
    fn variable_length_integers_cover_their_whole_range() {
        let values = [
            0,
            1,
            -1,
            63,
            -64,
            64,
            8191,
            -8192,
            i64::from(i32::MAX),
            i64::from(i32::MIN),
            i64::MAX,
            i64::MIN,
        ];
        for value in values {
            let mut writer = Writer::new();
            writer.put_varlong(value);
            let long = writer.into_vec();
            assert_eq!(Reader::new(&long).varlong(), Ok(value));
            if let Ok(value) = i32::try_from(value) {
                let mut writer = Writer::new();
                writer.put_varint(value);
                assert_eq!(writer.as_slice(), long);
                assert_eq!(Reader::new(&long).varint(), Ok(value));
            }
        }
        let mut writer = Writer::new();
        writer.put_varint(-1);
        writer.put_varint(150);
        assert_eq!(writer.as_slice(), [1, 0xac, 0x02]);
    }

    #[test]
    fn the_length_of_an_integer_is_known_before_it_is_written() {
        for shift in 0..64 {
            for value in [1_i64.wrapping_shl(shift), 1_i64.wrapping_shl(shift).wrapping_sub(1)] {
                for value in [value, value.wrapping_neg()] {
                    let mut writer = Writer::new();
                    writer.put_varlong(value);
                    assert_eq!(writer.position(), varlong_len(value), "{value}");
                    if let Ok(value) = i32::try_from(value) {
                        assert_eq!(writer.position(), varint_len(value), "{value}");
                    }
                }
            }
        }
    }

    #[test]
    fn variable_length_integers_that_are_too_long_are_refused() {
        assert!(Reader::new(&[0xff; 5]).unsigned_varint().is_err());
        assert!(Reader::new(&[0xff, 0xff, 0xff, 0xff, 0x10]).unsigned_varint().is_err());
        assert!(Reader::new(&[0xff; 11]).varlong().is_err());
        assert!(
            Reader::new(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02]).varlong().is_err()
        );
        assert!(Reader::new(&[0x80]).varlong().is_err());
        assert!(Reader::new(&[]).varint().is_err());
    }

    #[test]
    fn lengths_are_not_believed() {
        assert!(Reader::new(&[0x7f, 0xff, b'a']).string().is_err());
        assert!(Reader::new(&[0xff, 0xfe]).nullable_string().is_err());
        assert!(Reader::new(&[0x7f, 0xff, 0xff, 0xff, 0]).bytes().is_err());
        assert!(Reader::new(&[0x7f, 0xff, 0xff, 0xff, 0]).array_len(0).is_err());
        assert!(Reader::new(&[0, 0, 0, 2, 0, 0, 0]).array_len(2).is_err());
        assert!(Reader::new(&[0x80, 0, 0, 0]).array_len(1).is_err());
        assert!(Reader::new(&[0, 1, 0xff]).string().is_err());
        assert!(Reader::new(&[0xff, 0xff]).string().is_err());
    }

    #[test]
    fn an_error_names_the_place() {
        let mut reader = Reader::new(&[0, 0, 0, 1, 0]);
        let _ = reader.i32();
        let error = reader.i16().unwrap_err();
        assert_eq!(error.at, 4);
        assert_eq!(error.to_string(), "the bytes end too early (at byte 4)");
    }

    #[test]
    fn a_text_beyond_the_limit_is_cut_between_characters() {
        let mut writer = Writer::new();
        writer.put_string(&"ñ".repeat(20_000));
        assert_eq!(Reader::new(writer.as_slice()).string().map(str::len), Ok(32_766));
    }

    #[test]
    fn a_place_left_open_is_filled_in_later() {
        let mut writer = Writer::new();
        writer.put_i32(0);
        writer.put_i8(7);
        writer.patch_i32(0, 258);
        writer.patch_i32(3, 1);
        assert_eq!(writer.as_slice(), [0, 0, 1, 2, 7]);
        let mut writer = Writer::from([0; 9].to_vec());
        writer.patch_i64(1, -2);
        writer.put_i8(3);
        assert_eq!(writer.as_slice(), [0, 255, 255, 255, 255, 255, 255, 255, 254, 3]);
    }
}
