//! The records of the batches that a fetch brings.

use bytes::Bytes;

use super::{Chunk, RecordFormat};
use protocol::records::{Batch, Batches, Record, RecordsError};

/// The most bytes that one record batch may have when unpacked.
const MAX_UNPACKED: usize = 128 * 1024 * 1024;
/// No further batch is unpacked into a chunk of this size.
const CHUNK_BYTES: usize = 4 * 1024 * 1024;

/// Translates record batches into `format`, from `from` on; control batches and other gaps are stepped over.
/// Ends after a batch that makes the chunk larger than [`CHUNK_BYTES`], or before one that is damaged.
///
/// # Errors
/// The first batch is damaged, or larger than [`MAX_UNPACKED`] when unpacked.
pub fn convert(batches: &Bytes, from: i64, format: RecordFormat) -> Result<Chunk, RecordsError> {
    let mut chunk = Chunk::default();
    chunk.bytes.reserve(batches.len() * 2);
    let append = |record: &Record<'_>| {
        (format.append)(&mut chunk.bytes, record);
        chunk.messages.push((record.offset, chunk.bytes.len()));
        chunk.bytes.len()
    };
    chunk.next_offset = each_record(batches, from, append)?;
    let kept = chunk.messages.partition_point(|(offset, _)| *offset < chunk.next_offset);
    chunk.messages.truncate(kept);
    chunk.bytes.truncate(chunk.messages.last().map_or(0, |(_, end)| *end));
    Ok(chunk)
}

/// Gives the records from `from` on to `take`, which returns the bytes of all that it took; control batches
/// and other gaps are stepped over. Ends after a batch with which these are more than [`CHUNK_BYTES`], or
/// before one that is damaged, of which some records may have been taken. Returns the offset after the last
/// whole batch.
///
/// # Errors
/// The first batch is damaged, or larger than [`MAX_UNPACKED`] when unpacked.
pub(super) fn each_record(
    batches: &Bytes,
    from: i64,
    mut take: impl FnMut(&Record<'_>) -> usize,
) -> Result<i64, RecordsError> {
    let (mut next, mut taken) = (from, 0);
    for batch in Batches::new(batches) {
        match batch
            .and_then(|batch| Ok((each_of_batch(&batch, from, &mut take)?, batch.header.last_offset())))
        {
            Ok((bytes, last)) => {
                taken = bytes.max(taken);
                next = next.max(last.saturating_add(1));
            }
            Err(error) if next == from => return Err(error),
            Err(_) => break,
        }
        if taken > CHUNK_BYTES {
            break;
        }
    }
    Ok(next)
}

fn each_of_batch(
    batch: &Batch,
    from: i64,
    take: &mut impl FnMut(&Record<'_>) -> usize,
) -> Result<usize, RecordsError> {
    let mut taken = 0;
    if !batch.header.is_control() {
        for record in &batch.unpack(MAX_UNPACKED)? {
            let record = record?;
            if record.offset >= from {
                taken = take(&record);
            }
        }
    }
    Ok(taken)
}
