//! The checks of the record batch in a Produce request before a broker stores it.
//!
//! The rules are those of Kafka's own broker (`LogValidator`, `ProduceRequest.validateRecords`): no batch
//! that it takes from a known client is refused here. Beyond them, records are read to their last byte, so
//! that no stored batch is one that a consumer stumbles over.

use bytes::Bytes;

use super::write;
use super::{Batch, BatchHeader, Batches, MAX_TIMESTAMP, RecordsError};
use crate::compression::CompressionError;
use crate::error_code::ErrorCode;

/// The most that the records of a batch may unpack to, in bytes: some sixty times the largest batch that
/// Kafka takes by default.
pub const MAX_UNPACKED_BYTES: usize = 64 * 1024 * 1024;

/// A batch that may be stored.
#[derive(Debug, Clone)]
pub struct Valid {
    /// Its header; its offsets start from 0.
    pub header: BatchHeader,
    /// The batch as it came, but for a largest timestamp that was not true: that is put right, as Kafka does,
    /// because look-ups by time and retention go by it.
    pub bytes: Bytes,
}

/// Why a batch is not stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The code for the client.
    pub code: ErrorCode,
    /// The reason in words.
    pub message: String,
}

impl Refused {
    fn new(code: ErrorCode, message: &str) -> Refused {
        Refused { code, message: message.to_owned() }
    }

    /// `malformed` is the code for bytes that are not what they should be.
    fn from(error: &RecordsError, malformed: ErrorCode) -> Refused {
        let code = match error {
            RecordsError::Malformed { .. } => malformed,
            RecordsError::Checksum { .. } => ErrorCode::CORRUPT_MESSAGE,
            RecordsError::Format { .. } => ErrorCode::UNSUPPORTED_FOR_MESSAGE_FORMAT,
            RecordsError::Compression { cause, .. } => match cause {
                CompressionError::UnknownCodec(_) => ErrorCode::UNSUPPORTED_COMPRESSION_TYPE,
                CompressionError::TooLarge { .. } => ErrorCode::MESSAGE_TOO_LARGE,
                CompressionError::Corrupt { .. } => ErrorCode::INVALID_RECORD,
            },
        };
        Refused { code, message: error.to_string() }
    }
}

/// Checks that `bytes` are exactly one batch of format 2, whole and undamaged, from a producer without a
/// transaction, whose records are numbered from 0 without gaps and well formed to the last byte. A producer
/// id comes with an epoch and a sequence number. Unpacked, the records take 64 MiB at most.
///
/// # Errors
/// [`Refused`] with
/// - CORRUPT_MESSAGE for a batch that is cut short, or whose size, checksum or offsets are impossible,
/// - UNSUPPORTED_FOR_MESSAGE_FORMAT for another format,
/// - UNSUPPORTED_COMPRESSION_TYPE for an unknown codec,
/// - MESSAGE_TOO_LARGE for records that unpack to more than [`MAX_UNPACKED_BYTES`],
/// - INVALID_TIMESTAMP for a batch that claims the time of its append, which is not a producer's to set,
/// - INVALID_RECORD for everything else.
pub fn validate(bytes: &Bytes) -> Result<Valid, Refused> {
    validate_within(bytes, MAX_UNPACKED_BYTES)
}

pub(super) fn validate_within(bytes: &Bytes, max_unpacked: usize) -> Result<Valid, Refused> {
    let batch = only(bytes)?;
    check_header(&batch.header)?;
    let invalid = |error| Refused::from(&error, ErrorCode::INVALID_RECORD);
    let mut max_timestamp = i64::MIN;
    // Offsets that grow, between 0 and a last one that is their number less one, have no gaps.
    for record in &batch.unpack(max_unpacked).map_err(invalid)? {
        max_timestamp = max_timestamp.max(record.map_err(invalid)?.timestamp);
    }
    let header = BatchHeader { max_timestamp, ..batch.header };
    if header == batch.header {
        return Ok(Valid { header, bytes: bytes.clone() });
    }
    let mut corrected = bytes.to_vec();
    if let Some(place) = corrected.get_mut(MAX_TIMESTAMP..MAX_TIMESTAMP + 8) {
        place.copy_from_slice(&max_timestamp.to_be_bytes());
    }
    write::finish(&mut corrected)
        .map_err(|error| Refused::new(ErrorCode::INVALID_RECORD, &error.to_string()))?;
    Ok(Valid { header, bytes: corrected.into() })
}

/// The one batch that `bytes` are.
fn only(bytes: &Bytes) -> Result<Batch, Refused> {
    let mut batches = Batches::new(bytes);
    match batches.next() {
        Some(Ok(_)) if !batches.is_empty() => {
            Err(Refused::new(ErrorCode::INVALID_RECORD, "bytes after the one record batch of a partition"))
        }
        Some(Ok(batch)) => Ok(batch),
        Some(Err(error)) => Err(Refused::from(&error, ErrorCode::CORRUPT_MESSAGE)),
        None => Err(Refused::new(ErrorCode::CORRUPT_MESSAGE, "a record batch that is cut short")),
    }
}

fn check_header(header: &BatchHeader) -> Result<(), Refused> {
    let invalid = |message| Err(Refused::new(ErrorCode::INVALID_RECORD, message));
    if header.base_offset != 0 {
        return invalid("a record batch whose base offset is not 0; offsets are the broker's to give");
    }
    if header.is_control() {
        return invalid("a control batch, which no client may write");
    }
    if header.is_transactional() {
        return invalid("a record batch of a transaction; there are none here");
    }
    if header.is_log_append_time() {
        let message = "a record batch with the timestamp type LogAppendTime, which is the broker's to set";
        return Err(Refused::new(ErrorCode::INVALID_TIMESTAMP, message));
    }
    if header.record_count < 1 {
        return invalid("a record batch without a record");
    }
    if header.last_offset_delta != header.record_count - 1 {
        return invalid("a record batch whose last offset and number of records do not agree");
    }
    // Without a producer id its companions mean nothing, and some clients leave a sequence number of 0 there.
    match (header.producer_id, header.producer_epoch, header.base_sequence) {
        (-1, _, _) | (0.., 0.., 0..) => Ok(()),
        _ => invalid("a producer id without an epoch or a sequence number"),
    }
}
