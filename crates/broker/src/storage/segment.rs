//! Segments: the files of the log, of which the last one is written to.
//!
//! All logs share them, in the order in which their batches came: one sync makes the batches, offsets and
//! groups of a whole transaction durable. A file begins with a header of 28 bytes: what it is, its number,
//! its generation and their CRC-32C; frames follow.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use net::sync::{Mutex, lock};
use protocol::wire::{Reader, Writer};

use super::error::StorageError;
use super::files::{Files, StoredFile};
use super::frame::{self, FrameBuffer, Seed};
use super::names::SegmentId;

/// What a segment's file begins with: the name, and the version of the format.
const MAGIC: &[u8; 12] = b"p2p-log\0\0\0\0\x01";
/// The bytes before the first frame.
pub(super) const HEADER_BYTES: u64 = 28;
/// The unit by which the last segment grows on the disk.
const RESERVED_BYTES: u64 = 1 << 20;
/// Files that are kept open for reading.
const OPEN_FILES: usize = 32;

/// A segment. Its files keep their names, so that one who holds it reads what it stood for.
#[derive(Debug)]
pub(super) struct Segment {
    pub id: SegmentId,
    /// Where its last frame ends, once it is complete.
    pub length: AtomicU64,
}

impl Segment {
    pub(super) fn new(id: SegmentId) -> Arc<Segment> {
        Arc::new(Segment { id, length: AtomicU64::new(0) })
    }

    /// The seed of the checksums of its frames.
    pub(super) fn seed(&self) -> Seed {
        frame::seed(b'l', self.id.number, self.id.generation)
    }

    pub(super) fn length(&self) -> u64 {
        self.length.load(Ordering::Acquire)
    }
}

/// The header of a segment's file.
pub(super) fn header(id: SegmentId) -> Vec<u8> {
    let mut header = Writer::with_capacity(HEADER_BYTES as usize);
    header.put_raw(MAGIC);
    header.put_raw(&id.number.to_be_bytes());
    header.put_u32(id.generation);
    let sum = crc32c::crc32c(header.as_slice());
    header.put_u32(sum);
    header.into_vec()
}

/// Whether a file begins as the segment does.
pub(super) fn has_header(file: &dyn StoredFile, id: SegmentId) -> io::Result<bool> {
    if file.length()? < HEADER_BYTES {
        return Ok(false);
    }
    let mut bytes = [0; HEADER_BYTES as usize];
    file.read_at(0, &mut bytes)?;
    Ok(bytes == *header(id))
}

/// Why a file that does not begin as its segment is refused.
pub(super) fn foreign(file: &dyn StoredFile, id: SegmentId) -> Result<StorageError, StorageError> {
    let mut bytes = vec![0; usize::try_from(file.length()?.min(HEADER_BYTES)).unwrap_or_default()];
    file.read_at(0, &mut bytes)?;
    let mut reader = Reader::new(&bytes);
    let is_newer = reader.take(8).ok() == MAGIC.get(..8) && reader.u32().is_ok_and(|version| version > 1);
    let why = if is_newer {
        "it has a format that is not known: was it written by a newer version?"
    } else {
        "its beginning is damaged"
    };
    Ok(StorageError::Damaged(format!("{}: {why}", id.log())))
}

/// The files of segments, of which some are open for reading.
pub(super) struct SegmentFiles {
    pub files: Arc<dyn Files>,
    open: Mutex<VecDeque<(String, Arc<dyn StoredFile>)>>,
}

impl SegmentFiles {
    pub(super) fn new(files: Arc<dyn Files>) -> SegmentFiles {
        SegmentFiles { files, open: Mutex::default() }
    }

    /// A file, open.
    pub(super) fn get(&self, name: &str) -> io::Result<Arc<dyn StoredFile>> {
        let mut open = lock(&self.open);
        if let Some(at) = open.iter().position(|(known, _)| known == name)
            && let Some(entry) = open.remove(at)
        {
            let file = entry.1.clone();
            open.push_back(entry);
            return Ok(file);
        }
        drop(open);
        let file = self.files.open(name)?;
        self.keep(name, file.clone());
        Ok(file)
    }

    /// Keeps an open file for the next readers.
    pub(super) fn keep(&self, name: &str, file: Arc<dyn StoredFile>) {
        let mut open = lock(&self.open);
        open.retain(|(known, _)| known != name);
        open.push_back((name.to_owned(), file));
        let surplus = if open.len() > OPEN_FILES { open.pop_front() } else { None };
        drop(open);
        drop(surplus);
    }

    /// Forgets an open file, as another one has its name now.
    pub(super) fn forget(&self, name: &str) {
        lock(&self.open).retain(|(known, _)| known != name);
    }

    /// Removes the files of a segment.
    pub(super) fn remove(&self, id: SegmentId) -> io::Result<()> {
        for name in [id.log(), id.index()] {
            self.files.remove(&name)?;
            self.forget(&name);
        }
        Ok(())
    }
}

/// The segment that is written to.
pub(super) struct ActiveSegment {
    pub segment: Arc<Segment>,
    file: Arc<dyn StoredFile>,
    /// Where the next frame begins.
    pub position: u64,
    reserved: u64,
}

/// Why a frame was not appended.
pub(super) struct AppendError {
    pub error: StorageError,
    /// The frame may be on the disk.
    pub in_doubt: bool,
}

impl ActiveSegment {
    /// Creates a segment. After an error there is none.
    pub(super) fn create(files: &SegmentFiles, number: u64) -> Result<ActiveSegment, StorageError> {
        let id = SegmentId { number, generation: 0 };
        let file = files.files.create(&id.log())?;
        let written = file.write_at(0, &header(id)).and_then(|()| file.sync());
        if let Err(error) = written.and_then(|()| files.files.sync_folder()) {
            // A segment that nothing follows would be taken for the last one.
            files.files.remove(&id.log()).map_err(|error| StorageError::Failed(error.into()))?;
            return Err(error.into());
        }
        files.keep(&id.log(), file.clone());
        Ok(ActiveSegment { segment: Segment::new(id), file, position: HEADER_BYTES, reserved: HEADER_BYTES })
    }

    /// Goes on with a segment whose last frame ends at `position`.
    pub(super) fn resume(segment: Arc<Segment>, file: Arc<dyn StoredFile>, position: u64) -> ActiveSegment {
        ActiveSegment { segment, file, position, reserved: position }
    }

    /// Appends a frame, durably; returns the position of its payload. After an error nothing may be appended.
    pub(super) fn append(&mut self, frame: &mut FrameBuffer, time: i64) -> Result<u64, AppendError> {
        let certain = |error: io::Error| AppendError { error: error.into(), in_doubt: false };
        let end = self.position + frame.len() as u64;
        if end > self.reserved {
            self.reserved = self.reserve(end).map_err(certain)?;
        }
        let seed = self.segment.seed();
        self.file.write_at(self.position, frame.seal(seed, self.position, time)).map_err(certain)?;
        // The kernel may have dropped what it could not write, and say so once only.
        self.file.sync().map_err(|error| AppendError { error: error.into(), in_doubt: true })?;
        let payload = self.position + frame::HEADER_BYTES as u64;
        self.position = end;
        Ok(payload)
    }

    /// Makes the file so long at least, and returns how long: where a whole unit has no room, the frame may
    /// have.
    fn reserve(&self, end: u64) -> io::Result<u64> {
        let unit = end.next_multiple_of(RESERVED_BYTES);
        match self.file.reserve(unit) {
            Ok(()) => Ok(unit),
            Err(error) if error.kind() == io::ErrorKind::StorageFull => self.file.reserve(end).map(|()| end),
            Err(error) => Err(error),
        }
    }

    /// Ends the segment: gives back what was reserved.
    pub(super) fn finish(&self) -> io::Result<()> {
        self.segment.length.store(self.position, Ordering::Release);
        self.file.set_length(self.position)
    }
}
