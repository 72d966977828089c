//! Records: what the payload of a frame consists of.
//!
//! | kind | fields |
//! |---|---|
//! | 0 | a record batch: topic number, partition, size (4 bytes each), the batch as it is served |
//! | 1 | a row: key and value, each with its size in front |
//! | 2 | the key of a row that is removed |
//! | 3 | the offsets that a rewritten segment stands for in one log: topic number, partition, first, end |
//! | 4 | bytes without meaning, which show that the disk takes writes |
//! | 5 | the end of a snapshot: the number of its rows |

use protocol::wire::{Malformed, Reader};

const BATCH: u8 = 0;
const ROW: u8 = 1;
const REMOVED_ROW: u8 = 2;
const COVER: u8 = 3;
const PROBE: u8 = 4;
const END: u8 = 5;

/// A record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Record<'r> {
    /// A record batch; `at` is its position in the payload.
    Batch {
        number: u32,
        partition: i32,
        at: usize,
        bytes: &'r [u8],
    },
    Row {
        key: &'r [u8],
        value: &'r [u8],
    },
    RemovedRow {
        key: &'r [u8],
    },
    Cover {
        number: u32,
        partition: i32,
        start: i64,
        end: i64,
    },
    Probe,
    End {
        rows: u64,
    },
}

/// Adds a record batch; returns its position in `out`. The caller may change the bytes of its header that no
/// checksum covers.
pub(super) fn put_batch(out: &mut Vec<u8>, number: u32, partition: i32, batch: &[u8]) -> usize {
    out.reserve(13 + batch.len());
    out.push(BATCH);
    out.extend_from_slice(&number.to_be_bytes());
    out.extend_from_slice(&partition.to_be_bytes());
    put_bytes(out, batch)
}

/// Adds a row.
pub(super) fn put_row(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    out.push(ROW);
    put_bytes(out, key);
    put_bytes(out, value);
}

/// Adds the removal of a row.
pub(super) fn put_removed_row(out: &mut Vec<u8>, key: &[u8]) {
    out.push(REMOVED_ROW);
    put_bytes(out, key);
}

/// Adds the offsets that a rewritten segment stands for.
pub(super) fn put_cover(out: &mut Vec<u8>, number: u32, partition: i32, start: i64, end: i64) {
    out.push(COVER);
    out.extend_from_slice(&number.to_be_bytes());
    out.extend_from_slice(&partition.to_be_bytes());
    out.extend_from_slice(&start.to_be_bytes());
    out.extend_from_slice(&end.to_be_bytes());
}

/// Adds bytes without meaning.
pub(super) fn put_probe(out: &mut Vec<u8>, bytes: usize) {
    out.push(PROBE);
    put_bytes(out, &vec![0x5a; bytes]);
}

/// Adds the end of a snapshot.
pub(super) fn put_end(out: &mut Vec<u8>, rows: u64) {
    out.push(END);
    out.extend_from_slice(&rows.to_be_bytes());
}

/// Adds bytes with their size in front; returns their position.
fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) -> usize {
    out.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
    let at = out.len();
    out.extend_from_slice(bytes);
    at
}

/// The records of a payload, in order; the first malformed one is the last.
pub(super) struct Records<'r> {
    reader: Reader<'r>,
}

impl<'r> Records<'r> {
    pub(super) fn new(payload: &'r [u8]) -> Records<'r> {
        Records { reader: Reader::new(payload) }
    }

    fn read(&mut self) -> Result<Record<'r>, Malformed> {
        let reader = &mut self.reader;
        Ok(match u8::from_be_bytes(reader.i8()?.to_be_bytes()) {
            BATCH => {
                let (number, partition) = (reader.u32()?, reader.i32()?);
                let bytes = reader.bytes()?;
                Record::Batch { number, partition, at: reader.position() - bytes.len(), bytes }
            }
            ROW => Record::Row { key: reader.bytes()?, value: reader.bytes()? },
            REMOVED_ROW => Record::RemovedRow { key: reader.bytes()? },
            COVER => Record::Cover {
                number: reader.u32()?,
                partition: reader.i32()?,
                start: reader.i64()?,
                end: reader.i64()?,
            },
            PROBE => {
                reader.bytes()?;
                Record::Probe
            }
            END => Record::End { rows: u64::try_from(reader.i64()?).unwrap_or_default() },
            _ => return Err(reader.malformed("a kind of record that is not known")),
        })
    }
}

impl<'r> Iterator for Records<'r> {
    type Item = Result<Record<'r>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.reader.is_empty() {
            return None;
        }
        let read = self.read();
        if read.is_err() {
            self.reader = Reader::new(&[]);
        }
        Some(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_as_they_were_put() {
        let mut out = Vec::new();
        let at = put_batch(&mut out, 3, 1, b"batch");
        put_row(&mut out, b"key", b"");
        put_removed_row(&mut out, b"gone");
        put_cover(&mut out, 1, 2, 3, 4);
        put_probe(&mut out, 10);
        put_end(&mut out, 7);
        let read: Result<Vec<Record<'_>>, _> = Records::new(&out).collect();
        let batch = Record::Batch { number: 3, partition: 1, at, bytes: b"batch" };
        let row = Record::Row { key: b"key", value: b"" };
        let (removed, cover) = (
            Record::RemovedRow { key: b"gone" },
            Record::Cover { number: 1, partition: 2, start: 3, end: 4 },
        );
        assert_eq!(read.unwrap(), [batch, row, removed, cover, Record::Probe, Record::End { rows: 7 }]);
        for length in 0..out.len() {
            let read: Vec<_> = Records::new(&out[..length]).collect();
            assert!(read.iter().rev().skip(1).all(Result::is_ok));
        }
        assert!(Records::new(&[9]).next().unwrap().is_err());
    }
}
