//! The codecs of record batches and of the older message sets.
//!
//! Source: the Kafka protocol guide, "Record Batch" and "Message sets"; the frames are those of RFC 1952
//! (gzip), RFC 8878 (zstd), the LZ4 frame format 1.6 and, around snappy blocks, of snappy-java's
//! `SnappyOutputStream` ("xerial" framing). What is written here, the Java client reads; it asks for
//! independent LZ4 blocks and reads no other.
//!
//! Whoever sent compressed bytes decides how large they become, so every decoder stops at a limit and no size
//! that the bytes declare is allocated for before it is proved possible.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, Read, Write};

use super::wire::{Reader, Writer};

/// A codec, as the lowest three bits of a batch's or message's attributes name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Compression {
    /// Bytes as they are.
    None = 0,
    /// A gzip member (RFC 1952).
    Gzip = 1,
    /// Snappy blocks in xerial framing; one bare block is read too.
    Snappy = 2,
    /// An LZ4 frame.
    Lz4 = 3,
    /// A zstd frame (KIP-110).
    Zstd = 4,
}

impl Compression {
    /// The codec that `attributes` (of a batch or a message) names.
    ///
    /// # Errors
    /// [`CompressionError::UnknownCodec`] for the numbers 5 to 7.
    pub fn from_attributes(attributes: i16) -> Result<Compression, CompressionError> {
        match attributes & 0x07 {
            0 => Ok(Compression::None),
            1 => Ok(Compression::Gzip),
            2 => Ok(Compression::Snappy),
            3 => Ok(Compression::Lz4),
            4 => Ok(Compression::Zstd),
            other => Err(CompressionError::UnknownCodec(other)),
        }
    }

    /// The name in Kafka's configuration (`compression.type`).
    pub fn name(self) -> &'static str {
        match self {
            Compression::None => "none",
            Compression::Gzip => "gzip",
            Compression::Snappy => "snappy",
            Compression::Lz4 => "lz4",
            Compression::Zstd => "zstd",
        }
    }

    fn corrupt(self, reason: impl fmt::Display) -> CompressionError {
        CompressionError::Corrupt { codec: self, reason: reason.to_string() }
    }
}

/// Why bytes could not be compressed or unpacked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CompressionError {
    /// The attributes name a codec that does not exist.
    UnknownCodec(i16),
    /// The unpacked bytes would exceed the limit.
    TooLarge {
        /// The codec they are packed with.
        codec: Compression,
        /// The limit, in bytes.
        limit: usize,
    },
    /// The bytes are not what the codec writes, or the codec failed.
    Corrupt {
        /// The codec.
        codec: Compression,
        /// The message of the decoder.
        reason: String,
    },
}

impl fmt::Display for CompressionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CompressionError::UnknownCodec(number) => write!(f, "compression codec {number} does not exist"),
            CompressionError::TooLarge { codec, limit } => {
                write!(f, "{} data unpacks to more than {limit} bytes", codec.name())
            }
            CompressionError::Corrupt { codec, reason } => write!(f, "{} data: {reason}", codec.name()),
        }
    }
}

impl std::error::Error for CompressionError {}

/// Appends `bytes`, packed with `codec`, to `out`.
///
/// # Errors
/// [`CompressionError::Corrupt`] if the codec fails, which it does for no input below 4 GiB.
pub fn compress(codec: Compression, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), CompressionError> {
    match codec {
        Compression::None => out.extend_from_slice(bytes),
        Compression::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(out, flate2::Compression::default());
            encoder.write_all(bytes).and_then(|()| encoder.finish()).map_err(|error| codec.corrupt(error))?;
        }
        Compression::Snappy => xerial_compress(bytes, out)?,
        Compression::Lz4 => {
            let frame = lz4_flex::frame::FrameInfo::new()
                .block_mode(lz4_flex::frame::BlockMode::Independent)
                .block_size(lz4_flex::frame::BlockSize::Max64KB);
            let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(frame, out);
            encoder.write_all(bytes).map_err(|error| codec.corrupt(error))?;
            encoder.finish().map_err(|error| codec.corrupt(error))?;
        }
        Compression::Zstd => {
            ruzstd::encoding::compress(bytes, out, ruzstd::encoding::CompressionLevel::Fastest);
        }
    }
    Ok(())
}

/// Unpacks `bytes`, into at most `max_bytes`.
///
/// # Errors
/// [`CompressionError::TooLarge`] beyond `max_bytes`, [`CompressionError::Corrupt`] for bytes that `codec`
/// cannot have written.
pub fn decompress(
    codec: Compression,
    bytes: &[u8],
    max_bytes: usize,
) -> Result<Cow<'_, [u8]>, CompressionError> {
    match codec {
        Compression::None if bytes.len() > max_bytes => {
            Err(CompressionError::TooLarge { codec, limit: max_bytes })
        }
        Compression::None => Ok(Cow::Borrowed(bytes)),
        Compression::Gzip => {
            let mut unpacked = Unpacked::new(codec, bytes, max_bytes);
            unpacked.read_all(&mut flate2::bufread::MultiGzDecoder::new(bytes))?;
            Ok(Cow::Owned(unpacked.bytes))
        }
        Compression::Snappy => snappy_decompress(bytes, max_bytes).map(Cow::Owned),
        Compression::Lz4 => lz4_decompress(bytes, max_bytes).map(Cow::Owned),
        Compression::Zstd => zstd_decompress(bytes, max_bytes).map(Cow::Owned),
    }
}

/// The growing output of a decoder, which must not pass its limit.
struct Unpacked {
    codec: Compression,
    bytes: Vec<u8>,
    limit: usize,
}

impl Unpacked {
    fn new(codec: Compression, packed: &[u8], limit: usize) -> Unpacked {
        Unpacked { codec, bytes: Vec::with_capacity(packed.len().saturating_mul(4).min(limit)), limit }
    }

    /// Takes all that `decoder` gives; one byte beyond the limit tells that there is too much.
    fn read_all(&mut self, decoder: &mut dyn Read) -> Result<(), CompressionError> {
        let room = (self.limit - self.bytes.len()) as u64;
        decoder
            .take(room.saturating_add(1))
            .read_to_end(&mut self.bytes)
            .map_err(|error: io::Error| self.codec.corrupt(error))?;
        self.check()
    }

    fn check(&self) -> Result<(), CompressionError> {
        if self.bytes.len() > self.limit {
            return Err(CompressionError::TooLarge { codec: self.codec, limit: self.limit });
        }
        Ok(())
    }
}

/// Decompresses a frame, as other clients read it. The decoder takes the end of its input for the end of the
/// frame; a mark of our own behind the input is touched only where the frame's is missing.
fn lz4_decompress(bytes: &[u8], max_bytes: usize) -> Result<Vec<u8>, CompressionError> {
    let codec = Compression::Lz4;
    let mut unpacked = Unpacked::new(codec, bytes, max_bytes);
    let mut decoder = lz4_flex::frame::FrameDecoder::new(bytes.chain(LZ4_END_MARK));
    unpacked.read_all(&mut decoder)?;
    let (rest, mark) = decoder.into_inner().into_inner();
    if mark != LZ4_END_MARK {
        return Err(codec.corrupt("a frame without its end"));
    }
    if !rest.is_empty() {
        return Err(codec.corrupt("bytes after the frame"));
    }
    Ok(unpacked.bytes)
}

/// A block of size 0, which ends a frame.
const LZ4_END_MARK: &[u8] = &[0; 4];

fn zstd_decompress(bytes: &[u8], max_bytes: usize) -> Result<Vec<u8>, CompressionError> {
    let codec = Compression::Zstd;
    let mut unpacked = Unpacked::new(codec, bytes, max_bytes);
    let mut rest = bytes;
    while !rest.is_empty() {
        let mut frame = ruzstd::decoding::StreamingDecoder::new_with_max_window_size(&mut rest, ZSTD_WINDOW)
            .map_err(|error| codec.corrupt(error))?;
        unpacked.read_all(&mut frame)?;
    }
    Ok(unpacked.bytes)
}

/// The largest window, in bytes, that zstd's own decoder accepts unasked, and that its strongest level
/// writes.
const ZSTD_WINDOW: u64 = 128 * 1024 * 1024;

/// The start of a stream in xerial framing; version and oldest compatible version follow, four bytes each.
const XERIAL_MAGIC: &[u8] = b"\x82SNAPPY\0";

/// Bytes in a block of `SnappyOutputStream`, unpacked.
const XERIAL_BLOCK: usize = 32 * 1024;

/// A snappy element of three bytes gives 64 at most, so no block grows more than this.
const SNAPPY_GROWTH: usize = 22;

fn xerial_compress(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), CompressionError> {
    let mut encoder = snap::raw::Encoder::new();
    let mut writer = Writer::with_capacity(bytes.len() / 2 + 64);
    writer.put_raw(XERIAL_MAGIC);
    writer.put_i32(1);
    writer.put_i32(1);
    for block in bytes.chunks(XERIAL_BLOCK) {
        let packed = encoder.compress_vec(block).map_err(|error| Compression::Snappy.corrupt(error))?;
        writer.put_bytes(&packed);
    }
    out.extend_from_slice(writer.as_slice());
    Ok(())
}

fn snappy_decompress(bytes: &[u8], max_bytes: usize) -> Result<Vec<u8>, CompressionError> {
    let mut unpacked = Unpacked { codec: Compression::Snappy, bytes: Vec::new(), limit: max_bytes };
    if !bytes.starts_with(XERIAL_MAGIC) {
        snappy_block(bytes, &mut unpacked)?;
        return Ok(unpacked.bytes);
    }
    let mut reader = Reader::new(bytes);
    let corrupt = |error| Compression::Snappy.corrupt(error);
    reader.take(XERIAL_MAGIC.len() + 8).map_err(corrupt)?;
    while !reader.is_empty() {
        snappy_block(reader.bytes().map_err(corrupt)?, &mut unpacked)?;
    }
    Ok(unpacked.bytes)
}

/// Appends what `block` holds to `out`.
fn snappy_block(block: &[u8], out: &mut Unpacked) -> Result<(), CompressionError> {
    let corrupt = |error| Compression::Snappy.corrupt(error);
    let length = snap::raw::decompress_len(block).map_err(corrupt)?;
    if length > block.len().saturating_mul(SNAPPY_GROWTH) {
        return Err(Compression::Snappy.corrupt("a block declares more than it can hold"));
    }
    let start = out.bytes.len();
    if length > out.limit - start {
        return Err(CompressionError::TooLarge { codec: Compression::Snappy, limit: out.limit });
    }
    out.bytes.resize(start + length, 0);
    let target = out.bytes.get_mut(start..).unwrap_or_default();
    snap::raw::Decoder::new().decompress(block, target).map_err(corrupt)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use testing::Random;

    const CODECS: [Compression; 5] =
        [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

    fn pack(codec: Compression, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        compress(codec, bytes, &mut out).unwrap();
        out
    }

    fn samples() -> Vec<Vec<u8>> {
        let mut random = Random::new(7);
        let noise: Vec<u8> = (0..200_000).map(|_| random.draw() as u8).collect();
        let text: Vec<u8> = (0..40_000).flat_map(|n| format!("{{\"id\":{n}}}").into_bytes()).collect();
        vec![Vec::new(), b"a".to_vec(), vec![7; 300_000], b"hola ".repeat(7_000), noise, text]
    }

    #[test]
    fn what_is_packed_is_unpacked_again() {
        for codec in CODECS {
            for sample in samples() {
                let packed = pack(codec, &sample);
                let unpacked = decompress(codec, &packed, sample.len()).unwrap();
                assert!(unpacked == sample, "{} of {} bytes", codec.name(), sample.len());
            }
        }
    }

    #[test]
    fn packed_bytes_that_are_cut_short_or_go_on_are_refused() {
        for codec in CODECS.into_iter().filter(|&codec| codec != Compression::None) {
            let mut packed = pack(codec, &b"hola ".repeat(1_000));
            // Xerial framing has no end: what is before its one block stands for nothing.
            let start = if codec == Compression::Snappy { XERIAL_MAGIC.len() + 9 } else { 1 };
            for end in start..packed.len() {
                let cut = decompress(codec, &packed[..end], 100_000);
                assert!(cut.is_err(), "{end} of {} bytes of {}", packed.len(), codec.name());
            }
            packed.push(1);
            assert!(decompress(codec, &packed, 100_000).is_err(), "{} and a byte", codec.name());
        }
    }

    #[test]
    fn packed_bytes_are_appended() {
        for codec in CODECS {
            let mut out = b"before".to_vec();
            compress(codec, b"hola", &mut out).unwrap();
            assert_eq!(out.strip_prefix(b"before"), Some(pack(codec, b"hola").as_slice()));
        }
    }

    #[test]
    fn output_beyond_the_limit_is_refused() {
        for codec in CODECS {
            let packed = pack(codec, &vec![0; 1_000_000]);
            for limit in [0, 1, 65_536, 999_999] {
                let error = decompress(codec, &packed, limit).unwrap_err();
                assert_eq!(error, CompressionError::TooLarge { codec, limit });
            }
            assert!(decompress(codec, &packed, 1_000_000).is_ok());
        }
    }

    #[test]
    fn a_bare_snappy_block_is_read() {
        let bare = snap::raw::Encoder::new().compress_vec(b"hola hola hola hola").unwrap();
        assert_eq!(&*decompress(Compression::Snappy, &bare, 100).unwrap(), b"hola hola hola hola");
    }

    #[test]
    fn several_gzip_members_and_zstd_frames_are_read_as_one() {
        for codec in [Compression::Gzip, Compression::Zstd] {
            let both = [pack(codec, b"hola "), pack(codec, b"mundo")].concat();
            assert_eq!(&*decompress(codec, &both, 100).unwrap(), b"hola mundo");
            assert!(decompress(codec, &both, 9).is_err());
        }
    }

    #[test]
    fn a_snappy_block_that_declares_too_much_allocates_nothing() {
        // A varint of nearly 4 GiB, then nothing.
        let block = [0xff, 0xff, 0xff, 0xff, 0x0f, 0];
        let error = decompress(Compression::Snappy, &block, usize::MAX).unwrap_err();
        assert!(matches!(error, CompressionError::Corrupt { .. }), "{error}");
    }

    #[test]
    fn a_zstd_window_that_is_too_large_is_refused() {
        let huge_window = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xf8, 0x01, 0x00, 0x00];
        assert!(decompress(Compression::Zstd, &huge_window, 100).is_err());
    }

    #[test]
    fn codecs_are_found_by_their_number() {
        for codec in CODECS {
            assert_eq!(Compression::from_attributes(0x38 | codec as i16), Ok(codec));
        }
        assert_eq!(Compression::from_attributes(5), Err(CompressionError::UnknownCodec(5)));
        assert_eq!(
            Compression::from_attributes(5).unwrap_err().to_string(),
            "compression codec 5 does not exist"
        );
    }

    #[test]
    fn damaged_bytes_never_panic_or_pass_the_limit() {
        let mut random = Random::new(0xc0de);
        let samples = samples();
        for codec in CODECS.into_iter().filter(|&codec| codec != Compression::None) {
            for sample in &samples {
                let packed = pack(codec, sample.get(..sample.len().min(20_000)).unwrap());
                for _ in 0..3_000 {
                    let damaged = random.damage(&packed);
                    if let Ok(unpacked) = decompress(codec, &damaged, 50_000) {
                        assert!(unpacked.len() <= 50_000);
                    }
                }
            }
        }
    }
}
