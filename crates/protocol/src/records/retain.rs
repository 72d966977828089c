//! Batches without some of their records, as compaction leaves them.

use bytes::Bytes;

use super::write::finish;
use super::{Batch, Batches, HEADER_BYTES, MAX_TIMESTAMP, Record, RecordsError};
use crate::compression::{self, Compression};

/// What is left of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Retained {
    /// Every record.
    All,
    /// No record.
    Nothing,
    /// Some: the batch with them alone.
    Some(Vec<u8>),
}

/// Takes the records that `keep` does not want out of one batch, which may unpack to `max_bytes`. Offsets,
/// timestamps, producer and codec stay what they were, and so does the batch's last offset.
///
/// # Errors
/// The bytes are not one batch whose records can be read.
pub fn retain(
    batch: &Bytes,
    max_bytes: usize,
    mut keep: impl FnMut(&Record<'_>) -> bool,
) -> Result<Retained, RecordsError> {
    let read: Batch = match Batches::new(batch).next() {
        Some(read) => read?,
        None => return Ok(Retained::All),
    };
    let records = read.unpack(max_bytes)?;
    let (mut kept, mut count, mut max_timestamp) = (Vec::new(), 0, -1);
    let mut iter = records.iter();
    let mut start = 0;
    while let Some(record) = iter.next() {
        let record = record?;
        let end = iter.position();
        if keep(&record) {
            kept.extend_from_slice(records.bytes().get(start..end).unwrap_or_default());
            count += 1;
            max_timestamp = record.timestamp.max(max_timestamp);
        }
        start = end;
    }
    if count == read.header.record_count {
        return Ok(Retained::All);
    }
    if count == 0 {
        return Ok(Retained::Nothing);
    }
    let failed = |cause| RecordsError::Compression { base_offset: read.header.base_offset, cause };
    let codec = Compression::from_attributes(read.header.attributes).map_err(failed)?;
    let mut out = batch.get(..HEADER_BYTES).unwrap_or_default().to_vec();
    put(&mut out, MAX_TIMESTAMP, &max_timestamp.to_be_bytes());
    put(&mut out, HEADER_BYTES - 4, &count.to_be_bytes());
    match codec {
        Compression::None => out.extend_from_slice(&kept),
        codec => compression::compress(codec, &kept, &mut out).map_err(failed)?,
    }
    // It is no larger than the batch it was made of.
    let _ = finish(&mut out);
    Ok(Retained::Some(out))
}

fn put(out: &mut [u8], at: usize, field: &[u8]) {
    out.iter_mut().skip(at).zip(field).for_each(|(to, from)| *to = *from);
}

#[cfg(test)]
mod tests {
    use super::super::encode_batch;
    use super::*;

    #[test]
    fn what_is_retained_keeps_its_offsets_times_and_codec() {
        for codec in
            [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd]
        {
            let records = (0..10).map(|number: u8| (Some(vec![number]), Some(vec![b'v'; 100])));
            let records: Vec<_> = records.collect();
            let refs = records.iter().map(|(key, value)| (key.as_deref(), value.as_deref()));
            let batch = Bytes::from(encode_batch(refs, 77, 5, 1, 3, codec).unwrap());
            let odd = |record: &Record<'_>| record.key.is_some_and(|key| key[0] % 2 == 1);
            let Retained::Some(left) = retain(&batch, 1 << 20, odd).unwrap() else { panic!("{codec:?}") };
            let read = Batches::new(&left.into()).next().unwrap().unwrap();
            let before = Batches::new(&batch).next().unwrap().unwrap().header;
            assert_eq!(read.header, super::super::BatchHeader { record_count: 5, ..before });
            let unpacked = read.unpack(1 << 20).unwrap();
            let left: Vec<_> = unpacked.iter().map(|record| record.unwrap().offset).collect();
            assert_eq!(left, [1, 3, 5, 7, 9]);
            assert_eq!(retain(&batch, 1 << 20, |_| true).unwrap(), Retained::All);
            assert_eq!(retain(&batch, 1 << 20, |_| false).unwrap(), Retained::Nothing);
        }
    }
}
