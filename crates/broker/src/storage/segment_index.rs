//! The index of a segment: where the batches of each log are.
//!
//! That of the last segment is in memory, that of a complete one in a file beside it, which is made anew from
//! the segment if it is lost:
//!
//! | bytes | |
//! |---|---|
//! | 52 | what it is (12 bytes), number (8) and generation (4) of the segment, its length (8), number of logs (4), where the entries begin (8), CRC-32C of all up to the entries, this field as 0 (4), and 4 of zeros |
//! | 56 each | a log: topic number, partition (4 each), first offset and end that the segment stands for, bytes (8 each), entries (4), largest timestamp (8), the position of its entries (8), and 4 of zeros |
//! | 28 each | an entry: base offset (8), last offset less the base offset (4), position and size of the batch (4 each), its largest timestamp (8) |
//!
//! Entries of one log follow each other, in blocks of 128, each with its CRC-32C behind it.

use std::sync::Arc;

use protocol::wire::{Malformed, Reader, Writer};

use super::error::StorageError;
use super::files::StoredFile;
use super::names::SegmentId;

/// What an index begins with: the name, and the version of the format.
const MAGIC: &[u8; 12] = b"p2p-idx\0\0\0\0\x01";
const HEADER_BYTES: usize = 52;
const LOG_BYTES: usize = 56;
const ENTRY_BYTES: usize = 28;
/// Entries that share a checksum.
const BLOCK: usize = 128;
/// The largest index that is read: more logs than there can be partitions.
const MAX_LOGS: usize = 1 << 20;

/// A record batch in a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BatchEntry {
    pub base: i64,
    /// The last offset minus the base offset.
    pub last_delta: i32,
    /// Where the batch begins in the segment.
    pub position: u32,
    /// Bytes of the batch.
    pub size: u32,
    /// The largest timestamp of its records; -1 for none.
    pub max_timestamp: i64,
}

impl BatchEntry {
    /// The offset after its last.
    pub(super) fn next(&self) -> i64 {
        self.base.saturating_add(i64::from(self.last_delta) + 1)
    }

    fn read(reader: &mut Reader<'_>) -> Result<BatchEntry, Malformed> {
        let (base, last_delta) = (reader.i64()?, reader.i32()?);
        let (position, size, max_timestamp) = (reader.u32()?, reader.u32()?, reader.i64()?);
        if base < 0 || last_delta < 0 {
            return Err(reader.malformed("a batch that ends before it begins"));
        }
        Ok(BatchEntry { base, last_delta, position, size, max_timestamp })
    }
}

/// What a segment holds of one log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LogPart {
    pub number: u32,
    pub partition: i32,
    /// The first offset that the segment stands for; its batches may begin later.
    pub start: i64,
    /// The offset after the last one that it stands for.
    pub end: i64,
    /// Bytes of its batches.
    pub bytes: u64,
    /// The number of its batches.
    pub count: u32,
    /// The largest timestamp of its batches; -1 for none.
    pub max_timestamp: i64,
}

/// What a segment holds of each log, with the entries of its batches.
pub(super) type Parts = Vec<(LogPart, Vec<BatchEntry>)>;

/// The logs of a segment, and where each one's entries are in the file of its index.
pub(super) type Directory = Vec<(LogPart, u64)>;

/// Encodes an index; its logs come in any order, their entries in the order of offsets.
pub(super) fn encode(id: SegmentId, length: u64, logs: &Parts) -> (Vec<u8>, Directory) {
    let entries_at = HEADER_BYTES + logs.len() * LOG_BYTES;
    let mut entries = Writer::new();
    let mut directory = Directory::with_capacity(logs.len());
    for (log, of_log) in logs {
        directory.push((*log, (entries_at + entries.position()) as u64));
        for block in of_log.chunks(BLOCK) {
            let start = entries.position();
            for entry in block {
                entries.put_i64(entry.base);
                entries.put_i32(entry.last_delta);
                entries.put_u32(entry.position);
                entries.put_u32(entry.size);
                entries.put_i64(entry.max_timestamp);
            }
            let sum = crc32c::crc32c(entries.as_slice().get(start..).unwrap_or_default());
            entries.put_u32(sum);
        }
    }
    let mut out = encode_head(id, length, entries_at, &directory, 0);
    let sum = crc32c::crc32c(&out);
    out = encode_head(id, length, entries_at, &directory, sum);
    out.extend_from_slice(entries.as_slice());
    (out, directory)
}

fn encode_head(id: SegmentId, length: u64, entries_at: usize, directory: &Directory, sum: u32) -> Vec<u8> {
    let mut head = Writer::with_capacity(entries_at);
    head.put_raw(MAGIC);
    head.put_raw(&id.number.to_be_bytes());
    head.put_u32(id.generation);
    head.put_raw(&length.to_be_bytes());
    head.put_u32(u32::try_from(directory.len()).unwrap_or(u32::MAX));
    head.put_raw(&(entries_at as u64).to_be_bytes());
    head.put_u32(sum);
    head.put_u32(0);
    for (log, position) in directory {
        head.put_u32(log.number);
        head.put_i32(log.partition);
        head.put_i64(log.start);
        head.put_i64(log.end);
        head.put_raw(&log.bytes.to_be_bytes());
        head.put_u32(log.count);
        head.put_i64(log.max_timestamp);
        head.put_raw(&position.to_be_bytes());
        head.put_u32(0);
    }
    head.into_vec()
}

/// Reads the directory of an index: the length of its segment, and its logs. `None` if the file is not the
/// whole index of this segment.
pub(super) fn read_directory(
    file: &dyn StoredFile,
    id: SegmentId,
) -> Result<Option<(u64, Directory)>, StorageError> {
    let file_length = file.length()?;
    let mut head = vec![0; HEADER_BYTES];
    if file_length < HEADER_BYTES as u64 {
        return Ok(None);
    }
    file.read_at(0, &mut head)?;
    let Ok((length, count)) = read_header(&head, id) else { return Ok(None) };
    let entries_at = HEADER_BYTES + count * LOG_BYTES;
    if count > MAX_LOGS || entries_at as u64 > file_length {
        return Ok(None);
    }
    head.resize(entries_at, 0);
    file.read_at(0, &mut head)?;
    let Ok(directory) = read_logs(&head) else { return Ok(None) };
    let ends = directory.iter().map(|(log, at)| at + entry_bytes(log.count as usize) as u64);
    let is_whole = encode_head(id, length, entries_at, &directory, 0);
    let sum = crc32c::crc32c(&is_whole);
    let is_it = encode_head(id, length, entries_at, &directory, sum) == head;
    Ok((is_it && ends.max().unwrap_or_default() <= file_length).then_some((length, directory)))
}

fn read_header(head: &[u8], id: SegmentId) -> Result<(u64, usize), Malformed> {
    let mut reader = Reader::new(head);
    let is_it = reader.take(12)? == MAGIC
        && reader.take(8)? == id.number.to_be_bytes()
        && reader.u32()? == id.generation;
    if !is_it {
        return Err(reader.malformed("the index of another segment"));
    }
    let length = u64::try_from(reader.i64()?).unwrap_or_default();
    Ok((length, reader.u32()? as usize))
}

fn read_logs(head: &[u8]) -> Result<Directory, Malformed> {
    let mut reader = Reader::new(head);
    reader.take(HEADER_BYTES)?;
    let mut directory = Directory::new();
    while !reader.is_empty() {
        let log = LogPart {
            number: reader.u32()?,
            partition: reader.i32()?,
            start: reader.i64()?,
            end: reader.i64()?,
            bytes: u64::try_from(reader.i64()?).unwrap_or_default(),
            count: reader.u32()?,
            max_timestamp: reader.i64()?,
        };
        let position = u64::try_from(reader.i64()?).unwrap_or_default();
        reader.u32()?;
        directory.push((log, position));
    }
    Ok(directory)
}

/// Bytes of so many entries of one log.
fn entry_bytes(count: usize) -> usize {
    count * ENTRY_BYTES + count.div_ceil(BLOCK) * 4
}

/// The entries of one log in the file of an index.
pub(super) struct StoredEntries {
    pub file: Arc<dyn StoredFile>,
    /// Where they begin.
    pub position: u64,
    pub count: usize,
}

impl StoredEntries {
    /// The entries from the one on whose batch ends after `offset`: whole blocks, until there are `count`.
    pub(super) fn from(&self, offset: i64, count: usize) -> Result<Vec<BatchEntry>, StorageError> {
        let (mut low, mut high) = (0, self.count.div_ceil(BLOCK));
        let mut first = None;
        // The first block whose last batch ends after the offset.
        while low < high {
            let middle = low + (high - low) / 2;
            let block = self.block(middle)?;
            if block.last().is_some_and(|last| last.next() > offset) {
                high = middle;
                first = Some((middle, block));
            } else {
                low = middle + 1;
            }
        }
        let Some((mut number, mut block)) = first else { return Ok(Vec::new()) };
        let mut entries: Vec<BatchEntry> = Vec::new();
        loop {
            entries.extend(block.iter().filter(|entry| entry.next() > offset));
            number += 1;
            if entries.len() >= count || number * BLOCK >= self.count {
                return Ok(entries);
            }
            block = self.block(number)?;
        }
    }

    /// All entries.
    pub(super) fn all(&self) -> Result<Vec<BatchEntry>, StorageError> {
        self.from(i64::MIN, usize::MAX)
    }

    fn block(&self, number: usize) -> Result<Vec<BatchEntry>, StorageError> {
        let count = self.count.saturating_sub(number * BLOCK).min(BLOCK);
        let at = self.position + (number * (BLOCK * ENTRY_BYTES + 4)) as u64;
        let mut bytes = vec![0; count * ENTRY_BYTES + 4];
        self.file.read_at(at, &mut bytes)?;
        let damaged = || StorageError::Damaged("its index is damaged".to_owned());
        let (entries, sum) = bytes.split_last_chunk::<4>().ok_or_else(damaged)?;
        if crc32c::crc32c(entries).to_be_bytes() != *sum {
            return Err(damaged());
        }
        let mut reader = Reader::new(entries);
        (0..count).map(|_| BatchEntry::read(&mut reader).map_err(StorageError::from)).collect()
    }
}
