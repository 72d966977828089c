//! Compressed bodies (`Content-Encoding`, RFC 9110 §8.4), unpacked up to the limit of bodies.

use std::borrow::Cow;
use std::io::Read;

use flate2::read::ZlibDecoder;
use protocol::compression::{self, Compression, CompressionError};

use crate::http::response::{ErrorResponse, Response};

const TOO_LARGE: ErrorResponse =
    ErrorResponse::new(413, "body_too_large", "The body unpacks to more than `producer_api.max_body_bytes`.");

/// How a body is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ContentEncoding {
    /// `gzip`, `x-gzip`
    Gzip,
    /// `deflate`: the format of zlib (RFC 1950)
    Deflate,
    /// `zstd`
    Zstd,
}

impl ContentEncoding {
    /// The encoding that a header names; `None` where the body is plain, or the server knows no such
    /// encoding.
    pub(crate) fn of(value: &str) -> Option<ContentEncoding> {
        match value.to_ascii_lowercase().as_str() {
            "gzip" | "x-gzip" => Some(ContentEncoding::Gzip),
            "deflate" => Some(ContentEncoding::Deflate),
            "zstd" => Some(ContentEncoding::Zstd),
            _ => None,
        }
    }

    /// Unpacks a body to at most `most` bytes.
    ///
    /// # Errors
    /// 413 for one that is larger, which is given up there; 400 for bytes that are not of this encoding.
    pub(crate) fn unpack(self, body: &[u8], most: usize) -> Result<Vec<u8>, Response> {
        let unpacked = match self {
            ContentEncoding::Gzip => compression::decompress(Compression::Gzip, body, most),
            ContentEncoding::Zstd => compression::decompress(Compression::Zstd, body, most),
            ContentEncoding::Deflate => return inflate(body, most),
        };
        unpacked.map(Cow::into_owned).map_err(|error| match error {
            CompressionError::TooLarge { .. } => TOO_LARGE.response(),
            error => corrupt(&error.to_string()),
        })
    }
}

fn inflate(body: &[u8], most: usize) -> Result<Vec<u8>, Response> {
    let mut unpacked = Vec::new();
    // One byte beyond the limit tells that there is too much.
    let mut reader = ZlibDecoder::new(body).take((most as u64).saturating_add(1));
    reader.read_to_end(&mut unpacked).map_err(|error| corrupt(&format!("deflate data: {error}")))?;
    if unpacked.len() > most { Err(TOO_LARGE.response()) } else { Ok(unpacked) }
}

fn corrupt(why: &str) -> Response {
    let sentence = format!("The body is not what its Content-Encoding says: {why}.");
    Response::error(400, "bad_content_encoding", &sentence)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn packed(encoding: ContentEncoding, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        match encoding {
            ContentEncoding::Gzip => compression::compress(Compression::Gzip, bytes, &mut out).unwrap(),
            ContentEncoding::Zstd => compression::compress(Compression::Zstd, bytes, &mut out).unwrap(),
            ContentEncoding::Deflate => {
                let mut encoder = flate2::write::ZlibEncoder::new(&mut out, flate2::Compression::default());
                encoder.write_all(bytes).unwrap();
                encoder.finish().unwrap();
            }
        }
        out
    }

    #[test]
    fn a_body_is_unpacked_up_to_the_limit() {
        let body = br#"{"id":1}"#.repeat(1_000);
        for name in ["gzip", "X-Gzip", "deflate", "zstd"] {
            let encoding = ContentEncoding::of(name).unwrap();
            let packed = packed(encoding, &body);
            assert_eq!(encoding.unpack(&packed, body.len()).unwrap(), body, "{name}");
            assert_eq!(encoding.unpack(&packed, body.len() - 1).unwrap_err().status, 413, "{name}");
            assert_eq!(
                encoding.unpack(&packed[..packed.len() / 2], 100_000).unwrap_err().status,
                400,
                "{name}"
            );
            assert_eq!(encoding.unpack(b"no such data", 100).unwrap_err().status, 400, "{name}");
        }
        assert_eq!((ContentEncoding::of("identity"), ContentEncoding::of("br")), (None, None));
    }
}
