//! A file of checksummed blocks below the database: whatever redb reads is what redb wrote, or an error.
//!
//! redb verifies its own checksums only when it repairs; a page that was changed on disk would be believed,
//! and a changed page number can make it panic, run in circles or ask for gigabytes. So every block of 4096
//! bytes has a CRC-32C here, which covers the block's number too:
//!
//! | block | |
//! |---|---|
//! | 0 | the database's header: 508 bytes and their CRC-32C in one sector of 512 bytes, written as one |
//! | 1 | the checksums of the 1024 blocks after it, 4 bytes each, little-endian |
//! | 2 – 1025 | blocks of the database |
//! | 1026 | checksums of the next 1024, and so on |
//!
//! A checksum reaches the disk with the same sync as its block, and never changes while the block belongs to
//! a committed transaction, since redb writes no page in place; so a crash cannot part the two. Sectors of
//! 512 bytes are taken to be written whole or not at all.

use std::fmt;
use std::io;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use redb::{BackendError, StorageBackend};

/// The unit that has a checksum: redb's page.
const BLOCK: u64 = 4096;
const BLOCK_BYTES: usize = 4096;
/// Blocks whose checksums share one block.
const GROUP_BLOCKS: u64 = 1024;
/// The header's sector, which is written at once.
const SECTOR_BYTES: usize = 512;
/// The header's part of the sector; its checksum follows.
const HEADER_BYTES: usize = SECTOR_BYTES - 4;
/// The longest file that a crash during its creation may leave; redb starts with little more than 1 MiB.
const MAX_UNFINISHED_BYTES: u64 = 8 << 20;
/// Damaged blocks that are logged; further ones are only counted.
const MAX_LOGGED: u64 = 20;

/// A counter of damaged blocks, shared with the opener of the file.
#[derive(Debug, Clone, Default)]
pub(super) struct Damage(Arc<AtomicU64>);

impl Damage {
    /// Reads that found a damaged block.
    pub(super) fn count(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

/// A counter of successful syncs of the file.
#[derive(Debug, Clone, Default)]
pub(super) struct Syncs(Arc<AtomicU64>);

impl Syncs {
    /// The number so far.
    pub(super) fn count(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

/// A storage backend of redb that stores a checksum with each block of another backend, and verifies it at
/// each read.
pub(super) struct CheckedFile<B> {
    inner: B,
    /// The file's name, for the log.
    name: Arc<str>,
    damage: Damage,
    syncs: Syncs,
}

impl<B> fmt::Debug for CheckedFile<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CheckedFile").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<B: StorageBackend> CheckedFile<B> {
    /// Puts checksums on `inner`; `name` is for the log.
    pub(super) fn new(inner: B, name: Arc<str>) -> CheckedFile<B> {
        CheckedFile { inner, name, damage: Damage::default(), syncs: Syncs::default() }
    }

    /// The counter of damaged blocks.
    pub(super) fn damage(&self) -> Damage {
        self.damage.clone()
    }

    /// The counter of successful syncs.
    pub(super) fn syncs(&self) -> Syncs {
        self.syncs.clone()
    }

    /// Reads the header's sector; the bytes after it are zeros.
    fn read_header(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut sector = [0; SECTOR_BYTES];
        self.inner.read(0, &mut sector)?;
        let (header, sum) = sector.split_at(HEADER_BYTES);
        if sum != checksum(0, header).to_le_bytes() {
            return Err(self.damaged("its header"));
        }
        let wanted = usize::try_from(offset).ok().and_then(|start| header.get(start..)).unwrap_or_default();
        out.fill(0);
        out.iter_mut().zip(wanted).for_each(|(to, from)| *to = *from);
        Ok(())
    }

    fn write_header(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        if offset != 0 || data.len() > HEADER_BYTES {
            return Err(unexpected("a header that does not fit its sector"));
        }
        let mut sector = [0; SECTOR_BYTES];
        let (header, sum) = sector.split_at_mut(HEADER_BYTES);
        header.iter_mut().zip(data).for_each(|(to, from)| *to = *from);
        sum.copy_from_slice(&checksum(0, header).to_le_bytes());
        self.inner.write(0, &sector)
    }

    /// Reads blocks of one group and verifies their checksums; false if one is damaged.
    fn read_blocks(&self, first: u64, out: &mut [u8]) -> io::Result<bool> {
        let mut sums = vec![0; out.len() / BLOCK_BYTES * 4];
        self.inner.read(block_position(first), out)?;
        self.inner.read(checksum_position(first), &mut sums)?;
        for ((number, block), sum) in (first..).zip(out.chunks(BLOCK_BYTES)).zip(sums.chunks(4)) {
            if sum != checksum(number, block).to_le_bytes() {
                let _ = self.damaged(&format!("the block at byte {}", block_position(number)));
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn damaged(&self, what: &str) -> io::Error {
        let found = self.damage.0.fetch_add(1, Ordering::AcqRel) + 1;
        let text = format!("{}: {what} is damaged: its checksum is wrong", self.name);
        if found <= MAX_LOGGED {
            log::error!("{text}. Check the disk, and restore the file from a copy or remove it");
        }
        io::Error::new(io::ErrorKind::InvalidData, text)
    }

    /// Whether a crash during its creation left this file, before anything could be stored: it has only
    /// zeros, and at most a header without redb's magic number.
    pub(super) fn is_unfinished(&self) -> io::Result<bool> {
        let length = self.inner.len()?;
        if length > MAX_UNFINISHED_BYTES {
            return Ok(false);
        }
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
        self.inner.read(0, &mut bytes)?;
        let (header, rest) = bytes.split_at(SECTOR_BYTES.min(bytes.len()));
        let header_is_blank = match header.split_last_chunk::<4>() {
            Some((header, sum)) if header.len() == HEADER_BYTES => {
                header.starts_with(&[0; 8]) && *sum == checksum(0, header).to_le_bytes()
            }
            _ => false,
        };
        let blank = |bytes: &[u8]| bytes.iter().all(|byte| *byte == 0);
        Ok((header_is_blank || blank(header)) && blank(rest))
    }

    /// Empties the file.
    pub(super) fn clear(&self) -> io::Result<()> {
        self.inner.set_len(0)?;
        self.inner.sync_data()
    }
}

impl<B: StorageBackend> StorageBackend for CheckedFile<B> {
    fn len(&self) -> io::Result<u64> {
        let length = self.inner.len()?;
        logical_length(length).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, format!("a length of {length} bytes is impossible"))
        })
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if offset < BLOCK {
            return self.read_header(offset, out);
        }
        if !aligned(offset, out.len()) {
            return Err(unexpected("a read of partial blocks"));
        }
        let mut right = true;
        for (first, piece) in BlockRuns::new(offset / BLOCK, out.len()) {
            let blocks = out.get_mut(piece).ok_or_else(|| unexpected("a read past its buffer"))?;
            right = right && self.read_blocks(first, blocks)?;
        }
        if !right {
            fill_with_unreadable_page(out);
        }
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        if !length.is_multiple_of(BLOCK) {
            return Err(unexpected("a length with a partial block"));
        }
        self.inner.set_len(physical_length(length))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.inner.sync_data()?;
        self.syncs.0.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        if offset < BLOCK {
            return self.write_header(offset, data);
        }
        if !aligned(offset, data.len()) {
            return Err(unexpected("a write of partial blocks"));
        }
        for (first, piece) in BlockRuns::new(offset / BLOCK, data.len()) {
            let blocks = data.get(piece).ok_or_else(|| unexpected("a write past its buffer"))?;
            let sums: Vec<u8> = (first..)
                .zip(blocks.chunks(BLOCK_BYTES))
                .flat_map(|(number, block)| checksum(number, block).to_le_bytes())
                .collect();
            self.inner.write(block_position(first), blocks)?;
            self.inner.write(checksum_position(first), &sums)?;
        }
        Ok(())
    }

    fn close(&self) -> io::Result<()> {
        self.inner.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.query_lock_range(start, end)
    }
}

/// Fills a damaged page with one that redb refuses: a branch with a single child, whose page number is
/// impossible. An error instead of the page would make redb refuse every later read and write of other pages
/// too.
fn fill_with_unreadable_page(page: &mut [u8]) {
    const BRANCH: u8 = 2;
    page.fill(0);
    // A branch without keys: 8 bytes of head, the child's checksum, the child's page number.
    page.iter_mut().take(1).for_each(|byte| *byte = BRANCH);
    page.iter_mut().skip(24).take(8).for_each(|byte| *byte = 0xff);
}

/// Splits a range of bytes into runs of blocks whose checksums share one block.
struct BlockRuns {
    block: u64,
    at: usize,
    length: usize,
}

impl BlockRuns {
    fn new(block: u64, length: usize) -> BlockRuns {
        BlockRuns { block, at: 0, length }
    }
}

impl Iterator for BlockRuns {
    type Item = (u64, std::ops::Range<usize>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.length {
            return None;
        }
        let first = self.block;
        let left = ((self.length - self.at) / BLOCK_BYTES) as u64;
        let count = left.min(GROUP_BLOCKS - (first - 1) % GROUP_BLOCKS);
        let start = self.at;
        self.block += count;
        self.at += count as usize * BLOCK_BYTES;
        Some((first, start..self.at))
    }
}

fn checksum(number: u64, block: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&number.to_le_bytes()), block)
}

fn aligned(offset: u64, length: usize) -> bool {
    offset.is_multiple_of(BLOCK) && length.is_multiple_of(BLOCK_BYTES)
}

/// The position of a block in the file; block 0 is the header's.
fn block_position(block: u64) -> u64 {
    (block + (block - 1) / GROUP_BLOCKS + 1) * BLOCK
}

/// The position of a block's checksum in the file.
fn checksum_position(block: u64) -> u64 {
    let (group, index) = ((block - 1) / GROUP_BLOCKS, (block - 1) % GROUP_BLOCKS);
    (1 + group * (GROUP_BLOCKS + 1)) * BLOCK + index * 4
}

fn physical_length(logical: u64) -> u64 {
    let blocks = logical / BLOCK;
    let groups = blocks.saturating_sub(1).div_ceil(GROUP_BLOCKS);
    (blocks + groups) * BLOCK
}

fn logical_length(physical: u64) -> Option<u64> {
    let blocks = physical / BLOCK;
    let groups = blocks.saturating_sub(1).div_ceil(GROUP_BLOCKS + 1);
    let logical = blocks.checked_sub(groups)? * BLOCK;
    (physical_length(logical) == physical).then_some(logical)
}

fn unexpected(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("the database asked for {what}"))
}

#[cfg(test)]
mod tests {
    use redb::StorageBackend as _;
    use redb::backends::InMemoryBackend;

    use super::*;

    fn file() -> CheckedFile<InMemoryBackend> {
        CheckedFile::new(InMemoryBackend::new(), "test".into())
    }

    #[test]
    fn lengths_and_places_fit_each_other() {
        for blocks in (0..3000).chain([1 << 20, (1 << 20) + 1]) {
            let physical = physical_length(blocks * BLOCK);
            assert_eq!(logical_length(physical), Some(blocks * BLOCK));
            if blocks > 1 {
                assert_eq!(block_position(blocks - 1) + BLOCK, physical);
                assert!(checksum_position(blocks - 1) < block_position(blocks - 1));
            }
        }
        assert_eq!(logical_length(2 * BLOCK), None);
        assert_eq!(logical_length(BLOCK + 1), None);
    }

    #[test]
    fn what_was_written_is_read_across_groups_and_every_changed_byte_is_noticed() {
        let file = file();
        let data: Vec<u8> = (0..4 * BLOCK_BYTES).map(|i| (i / 7) as u8).collect();
        file.set_len(1030 * BLOCK).unwrap();
        file.write(1023 * BLOCK, &data).unwrap();
        let mut out = vec![0; data.len()];
        file.read(1023 * BLOCK, &mut out).unwrap();
        assert_eq!((out == data, file.damage().count()), (true, 0));
        for at in [
            block_position(1023),
            block_position(1024) + 4095,
            block_position(1026) + 5,
            checksum_position(1023),
            checksum_position(1026) + 3,
        ] {
            let mut byte = [0];
            file.inner.read(at, &mut byte).unwrap();
            file.inner.write(at, &[byte[0] ^ 4]).unwrap();
            let found = file.damage().count();
            file.read(1023 * BLOCK, &mut out).unwrap();
            assert_eq!((out[0], file.damage().count()), (2, found + 1), "byte {at}");
            file.inner.write(at, &byte).unwrap();
        }
        file.read(1023 * BLOCK, &mut out).unwrap();
        assert_eq!(out, data);
    }

    #[test]
    fn a_header_is_one_sector_whose_changed_bytes_are_an_error() {
        let file = file();
        file.set_len(4 * BLOCK).unwrap();
        assert!(file.is_unfinished().unwrap());
        file.write(0, &[0; 320]).unwrap();
        assert!(file.is_unfinished().unwrap());
        file.write(0, &[7; 320]).unwrap();
        assert!(!file.is_unfinished().unwrap());
        let mut out = [0; 9];
        file.read(0, &mut out).unwrap();
        assert_eq!(out, [7; 9]);
        for at in [0, 200, 400, 511] {
            let mut byte = [0];
            file.inner.read(at, &mut byte).unwrap();
            file.inner.write(at, &[byte[0] ^ 128]).unwrap();
            assert_eq!(file.read(0, &mut out).unwrap_err().kind(), io::ErrorKind::InvalidData);
            file.inner.write(at, &byte).unwrap();
        }
    }
}
