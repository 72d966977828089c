//! The checks of the record batch in a Produce request before a broker stores it.
//!
//! The rules are those of Kafka's own broker (`LogValidator`, `ProduceRequest.validateRecords`): no batch
//! that it takes from a known client is refused here. Beyond them, records are read to their last byte, so
//! that no stored batch is one that a consumer stumbles over.

use bytes::Bytes;

use super::read::LOG_APPEND_TIME;
use super::write;
use super::{Batch, BatchHeader, Batches, CRC_END, Content, MAX_TIMESTAMP, Record, Records, RecordsError};
use crate::compression::{Compression, CompressionError};
use crate::error_code::ErrorCode;

/// The most that the records of a batch may unpack to, in bytes: some sixty times the largest batch that
/// Kafka takes by default.
pub const MAX_UNPACKED_BYTES: usize = 64 * 1024 * 1024;

/// The bits of the attributes that name the codec.
const CODEC_BITS: i16 = 0x07;

/// A batch that may be stored.
#[derive(Debug, Clone)]
pub struct Valid {
    /// Its header; its offsets start from 0.
    pub header: BatchHeader,
    /// The batch as it came, but for a largest timestamp that was not true: that is put right, as Kafka does,
    /// because look-ups by time and retention go by it.
    pub bytes: Bytes,
    records: Records,
}

impl Valid {
    /// Packs the records with this codec, if they are not packed so already.
    ///
    /// # Errors
    /// MESSAGE_TOO_LARGE where the codec makes more than 2 GiB of them.
    pub fn pack(&mut self, codec: Compression) -> Result<(), Refused> {
        if self.header.attributes & CODEC_BITS == codec as i16 {
            return Ok(());
        }
        let BatchHeader { producer_id, producer_epoch, base_sequence, .. } = self.header;
        // They have been read before, to the last; any timestamp, also one that counts as none, stays.
        let records = self.records.iter().map_while(Result::ok);
        let contents =
            records.map(|record| Content { timestamp: Some(record.timestamp), ..record.content() });
        let packed = write::encode_batch(contents, -1, producer_id, producer_epoch, base_sequence, codec);
        let packed =
            packed.map_err(|error| Refused::new(ErrorCode::MESSAGE_TOO_LARGE, &error.to_string()))?;
        self.bytes = packed.into();
        self.header = only(&self.bytes)?.header;
        Ok(())
    }

    /// Gives all records the time of their append (KIP-32), ms since 1970.
    ///
    /// # Errors
    /// INVALID_RECORD for a batch beyond 2 GiB.
    pub fn set_append_time(&mut self, now: i64) -> Result<(), Refused> {
        self.header.attributes |= LOG_APPEND_TIME;
        self.header.max_timestamp = now;
        let attributes = self.header.attributes.to_be_bytes();
        self.bytes = patched(&self.bytes, &[(CRC_END, &attributes), (MAX_TIMESTAMP, &now.to_be_bytes())])?;
        Ok(())
    }
}

/// The batch with other bytes in some places, and its checksum.
fn patched(batch: &[u8], places: &[(usize, &[u8])]) -> Result<Bytes, Refused> {
    let mut bytes = batch.to_vec();
    for (at, new) in places {
        if let Some(place) = bytes.get_mut(*at..*at + new.len()) {
            place.copy_from_slice(new);
        }
    }
    write::finish(&mut bytes).map_err(|error| Refused::new(ErrorCode::INVALID_RECORD, &error.to_string()))?;
    Ok(bytes.into())
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
    validate_within(bytes, MAX_UNPACKED_BYTES, |_| ())
}

/// As [`validate`], and shows each record to `visit`.
///
/// # Errors
/// Those of [`validate`]. The records before a malformed one are shown all the same.
pub fn validate_each(bytes: &Bytes, visit: impl FnMut(&Record<'_>)) -> Result<Valid, Refused> {
    validate_within(bytes, MAX_UNPACKED_BYTES, visit)
}

pub(super) fn validate_within(
    bytes: &Bytes,
    max_unpacked: usize,
    mut visit: impl FnMut(&Record<'_>),
) -> Result<Valid, Refused> {
    let batch = only(bytes)?;
    check_header(&batch.header)?;
    let invalid = |error| Refused::from(&error, ErrorCode::INVALID_RECORD);
    let mut max_timestamp = i64::MIN;
    // Offsets that grow, between 0 and a last one that is their number less one, have no gaps.
    let records = batch.unpack(max_unpacked).map_err(invalid)?;
    for record in &records {
        let record = record.map_err(invalid)?;
        max_timestamp = max_timestamp.max(record.timestamp);
        visit(&record);
    }
    let header = BatchHeader { max_timestamp, ..batch.header };
    if header == batch.header {
        return Ok(Valid { header, bytes: bytes.clone(), records });
    }
    let bytes = patched(bytes, &[(MAX_TIMESTAMP, &max_timestamp.to_be_bytes())])?;
    Ok(Valid { header, bytes, records })
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
