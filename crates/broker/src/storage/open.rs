//! Opens the store: takes the lock, reads the snapshot, replays what follows it, and makes the end of the log
//! durable before it is believed.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::OpenError;
use super::disk_folder::{DiskFolder, FolderLock};
use super::error::StorageError;
use super::files::{Files, store_file};
use super::names::{self, CLOSED, Kind, SegmentId};
use super::partition_log::Extent;
use super::read_state::State;
use super::replay::{self, End, Replay};
use super::rows::Meta;
use super::segment::{self, ActiveSegment, Segment, SegmentFiles};
use super::segment_index::{self, Directory, StoredEntries};
use super::snapshot;
use super::write_state::{Limits, WriteState};

/// The longest file that a crash during its creation may leave.
const MAX_UNFINISHED_BYTES: u64 = 1 << 20;

/// An open store and the state that was loaded from it.
pub(super) struct Opened {
    pub files: SegmentFiles,
    pub write_state: WriteState,
    pub state: State,
    pub active: ActiveSegment,
    /// The segment at whose beginning the snapshot stands.
    pub snapshot: u64,
    /// Complete segments whose index has no file.
    pub unindexed: Vec<Arc<Segment>>,
    /// Held for as long as the store is open; `None` in tests.
    pub lock: Option<FolderLock>,
}

/// How much of the store is checked when it is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Check {
    /// What is loaded into memory; other batches are checked when they are read.
    Used,
    /// Every frame and every index.
    All,
}

/// Opens, or creates, the store in `folder`; gives its name with it.
pub(super) fn open_folder(
    folder: &Path,
    check: Check,
    limits: Limits,
) -> Result<(Opened, Arc<str>), OpenError> {
    let name: Arc<str> = folder.display().to_string().into();
    let (files, lock) = DiskFolder::lock(folder)?;
    let opened = open_files(Arc::new(files), check, limits).map_err(|error| error.at(&name))?;
    Ok((Opened { lock: Some(lock), ..opened }, name))
}

/// Opens, or creates, a store.
pub(super) fn open_files(files: Arc<dyn Files>, check: Check, limits: Limits) -> Result<Opened, OpenError> {
    let found = Listed::of(&*files)?;
    let number = match found.snapshot {
        Some(number) => number,
        None if found.logs.is_empty() && !found.is_closed => create(&*files)?,
        None => return Err(OpenError::Damaged("its snapshot is missing".to_owned())),
    };
    found.check_numbers(number)?;
    let files = SegmentFiles::new(files);
    let mut opening =
        Opening { files, found, number, check, replay: Replay::new(limits), unindexed: Vec::new() };
    opening.read_snapshot()?;
    opening.attach_older()?;
    let active = opening.replay_log()?;
    opening.finish(active)
}

/// Stores the first rows of a new store; the number of its first segment.
fn create(files: &dyn Files) -> Result<u64, OpenError> {
    let cluster_id = net::random::bytes().map_err(OpenError::io)?;
    let meta = Meta { cluster_id, next_topic: 1, next_producer: 0 };
    let bytes = snapshot::encode(1, &WriteState::new(meta, Limits::default()), &State::default(), 0);
    store_file(files, &names::snapshot(1), &bytes).map_err(OpenError::io)?;
    Ok(1)
}

/// The files of a store.
struct Listed {
    /// The newest generation of each segment.
    logs: BTreeMap<u64, SegmentId>,
    snapshot: Option<u64>,
    is_closed: bool,
}

impl Listed {
    /// Lists the files, and removes those that a crash has left.
    fn of(files: &dyn Files) -> Result<Listed, OpenError> {
        let mut listed = Listed { logs: BTreeMap::new(), snapshot: None, is_closed: false };
        let names = files.list().map_err(OpenError::io)?;
        let kinds: Vec<(Kind, String)> =
            names.into_iter().filter_map(|name| Some((names::kind(&name)?, name))).collect();
        for (kind, _) in &kinds {
            match *kind {
                Kind::Log(id) => {
                    let newest = listed.logs.entry(id.number).or_insert(id);
                    *newest = (*newest).max(id);
                }
                Kind::Snapshot(number) => listed.snapshot = listed.snapshot.max(Some(number)),
                Kind::Closed => listed.is_closed = true,
                Kind::Index(_) | Kind::Unfinished => {}
            }
        }
        let is_left_over = |kind: &Kind| match *kind {
            Kind::Log(id) | Kind::Index(id) => listed.logs.get(&id.number) != Some(&id),
            Kind::Snapshot(number) => listed.snapshot != Some(number),
            Kind::Closed => false,
            Kind::Unfinished => true,
        };
        let left_over: Vec<&String> =
            kinds.iter().filter(|(kind, _)| is_left_over(kind)).map(|(_, name)| name).collect();
        if !left_over.is_empty() {
            // What is there in their place may have its name in memory alone.
            files.sync_folder().map_err(OpenError::io)?;
        }
        for name in left_over {
            files.remove(name).map_err(OpenError::io)?;
        }
        Ok(listed)
    }

    /// Whether every segment from the snapshot's on is there.
    fn check_numbers(&self, snapshot: u64) -> Result<(), OpenError> {
        let mut expected = snapshot;
        for number in self.logs.range(snapshot..).map(|(number, _)| *number) {
            if number != expected {
                return Err(OpenError::Damaged(format!("segment {expected} is missing")));
            }
            expected = number + 1;
        }
        // The first segment of all comes after its snapshot.
        let may_be_missing = snapshot == 1 && !self.is_closed;
        match expected == snapshot && !may_be_missing {
            true => Err(OpenError::Damaged(format!("segment {snapshot} is missing"))),
            false => Ok(()),
        }
    }

    fn last(&self) -> u64 {
        self.logs.keys().next_back().copied().unwrap_or_default()
    }
}

/// A store that is being opened.
struct Opening {
    files: SegmentFiles,
    found: Listed,
    /// The snapshot's.
    number: u64,
    check: Check,
    replay: Replay,
    unindexed: Vec<Arc<Segment>>,
}

impl Opening {
    fn read_snapshot(&mut self) -> Result<(), StorageError> {
        // Rows belong to no segment.
        let none = Segment::new(SegmentId { number: 0, generation: 0 });
        let replay = &mut self.replay;
        snapshot::read(&*self.files.files, self.number, |key, value| replay.row(key, value, &none))?;
        match self.replay.has_meta() {
            true => Ok(()),
            false => Err(StorageError::Damaged("its first row is missing".to_owned())),
        }
    }

    /// Attaches the segments before the snapshot, whose batches alone are needed.
    fn attach_older(&mut self) -> Result<(), StorageError> {
        let ids: Vec<SegmentId> = self.found.logs.range(..self.number).map(|(_, id)| *id).collect();
        for id in ids {
            let segment = Segment::new(id);
            let file = self.files.get(&id.log())?;
            if !segment::has_header(&*file, id)? {
                return Err(segment::foreign(&*file, id)?);
            }
            match self.read_index(&segment)? {
                Some((length, directory)) => {
                    if file.length()? < length {
                        return Err(StorageError::Damaged(format!("{}: it was cut short", id.log())));
                    }
                    segment.length.store(length, Ordering::Release);
                    self.attach(&segment, &directory);
                }
                None => self.attach_unindexed(&segment)?,
            }
            self.replay.state.segments.insert(id.number, segment);
        }
        Ok(())
    }

    fn attach(&mut self, segment: &Arc<Segment>, directory: &Directory) {
        for (part, position) in directory {
            if let Some(log) = self.replay.state.log_mut(part.number, part.partition) {
                log.extents.push(Extent::stored(segment.clone(), part, *position));
            }
        }
    }

    fn attach_unindexed(&mut self, segment: &Arc<Segment>) -> Result<(), StorageError> {
        let (end, parts) = replay::read_parts(&self.files, segment)?;
        self.complete(segment, &end)?;
        for (part, entries) in parts {
            if let Some(log) = self.replay.state.log_mut(part.number, part.partition) {
                log.extents.push(Extent::held(segment.clone(), &part, entries));
            }
        }
        self.unindexed.push(segment.clone());
        Ok(())
    }

    /// Takes note of the end of a segment that is complete.
    fn complete(&self, segment: &Arc<Segment>, end: &End) -> Result<(), StorageError> {
        segment.length.store(end.position, Ordering::Release);
        match end.is_torn {
            true => Err(StorageError::Damaged(format!("{}: its end is damaged", segment.id.log()))),
            false => Ok(()),
        }
    }

    /// The directory of a segment's index; `None` if its file is not there, or damaged.
    fn read_index(&self, segment: &Segment) -> Result<Option<(u64, Directory)>, StorageError> {
        let file = match self.files.get(&segment.id.index()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let read = segment_index::read_directory(&*file, segment.id)?;
        let Some((length, directory)) = read.as_ref().filter(|_| self.check == Check::All) else {
            return Ok(read);
        };
        let end = replay::scan(&self.files, segment, |_, _, _| Ok(()))?;
        if end.is_torn || end.position != *length {
            return Err(StorageError::Damaged(format!("{}: its end is damaged", segment.id.log())));
        }
        for (part, position) in directory {
            let entries =
                StoredEntries { file: file.clone(), position: *position, count: part.count as usize };
            if entries.all().is_err() {
                return Ok(None);
            }
        }
        Ok(read)
    }

    /// Replays the segments from the snapshot on; the last one is written to.
    fn replay_log(&mut self) -> Result<ActiveSegment, StorageError> {
        let last = self.found.last();
        let ids: Vec<SegmentId> = self.found.logs.range(self.number..).map(|(_, id)| *id).collect();
        for id in ids {
            let segment = Segment::new(id);
            let file = self.files.get(&id.log())?;
            if !segment::has_header(&*file, id)? {
                let may_be_unfinished = id.number == last && (last > self.number || last == 1);
                if may_be_unfinished && !self.found.is_closed && is_unfinished(&*file)? {
                    drop(file);
                    return self.create(last);
                }
                return Err(segment::foreign(&*file, id)?);
            }
            let end = self.replay.segment(&self.files, &segment)?;
            self.replay.state.segments.insert(id.number, segment.clone());
            if id.number == last {
                self.check_closed(id, &end)?;
                return self.resume(segment, &end);
            }
            self.complete(&segment, &end)?;
            self.attach_index(&segment)?;
        }
        self.create(self.number)
    }

    /// Takes the index of a segment that was replayed from its file, where there is one.
    fn attach_index(&mut self, segment: &Arc<Segment>) -> Result<(), StorageError> {
        let Some((_, directory)) = self.read_index(segment)? else {
            self.unindexed.push(segment.clone());
            return Ok(());
        };
        for (part, position) in directory {
            let log = self.replay.state.log_mut(part.number, part.partition);
            if let Some(known) = log.and_then(|log| log.extent_in_mut(segment)) {
                *known = Extent::stored(segment.clone(), &part, position);
            }
        }
        Ok(())
    }

    fn create(&mut self, number: u64) -> Result<ActiveSegment, StorageError> {
        let active = ActiveSegment::create(&self.files, number)?;
        self.replay.state.segments.insert(number, active.segment.clone());
        Ok(active)
    }

    /// Compares the end of the log with the one that was noted when the store was closed.
    fn check_closed(&self, id: SegmentId, end: &End) -> Result<(), StorageError> {
        if !self.found.is_closed {
            return Ok(());
        }
        let file = self.files.files.open(CLOSED)?;
        let mut noted = vec![0; usize::try_from(file.length()?.min(100)).unwrap_or_default()];
        file.read_at(0, &mut noted)?;
        let is_whole = !end.is_torn && noted == closed(id, end.position);
        match is_whole {
            true => Ok(()),
            false => Err(StorageError::Damaged(format!("{}: it does not end where it did", id.log()))),
        }
    }

    /// Makes the end of the log durable: what a process wrote before it ended may not be on the disk, nor
    /// what the kernel failed to write.
    fn resume(&mut self, segment: Arc<Segment>, end: &End) -> Result<ActiveSegment, StorageError> {
        let file = self.files.get(&segment.id.log())?;
        let length = file.length()?;
        if end.is_torn {
            log::warn!(
                "{}: the {} bytes after byte {} are what a crash has left of a write that was not acknowledged; \
                 they are dropped",
                segment.id.log(),
                length - end.position,
                end.position
            );
        }
        if length > end.position {
            file.set_length(end.position)?;
        }
        if let Some(start) = end.last_frame {
            let mut frame = vec![0; usize::try_from(end.position - start).unwrap_or_default()];
            file.read_at(start, &mut frame)?;
            file.write_at(start, &frame)?;
        }
        file.sync()?;
        Ok(ActiveSegment::resume(segment, file, end.position))
    }

    fn finish(self, active: ActiveSegment) -> Result<Opened, OpenError> {
        let Replay { write_state, mut state, .. } = self.replay;
        let logs = state.topics.values_mut().flat_map(|topic| &mut topic.logs);
        // What ends before the log begins was attached, too.
        logs.for_each(|log| log.set_bounds(log.bounds, None));
        for topic in state.topics.values() {
            let incomplete = (0..).zip(&topic.logs).find(|(_, log)| !log.is_complete());
            if let Some((partition, _)) = incomplete {
                let name = &topic.topic.name;
                return Err(OpenError::Damaged(format!("batches of {name}-{partition} are missing")));
            }
        }
        if self.found.is_closed {
            self.files.files.remove(CLOSED).map_err(OpenError::io)?;
            self.files.files.sync_folder().map_err(OpenError::io)?;
        }
        let Opening { files, number, unindexed, .. } = self;
        Ok(Opened { files, write_state, state, active, snapshot: number, unindexed, lock: None })
    }
}

/// Whether nothing was ever stored in a file whose beginning is not complete.
fn is_unfinished(file: &dyn super::files::StoredFile) -> Result<bool, StorageError> {
    let length = file.length()?;
    if length > MAX_UNFINISHED_BYTES {
        return Ok(false);
    }
    let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
    file.read_at(0, &mut bytes)?;
    Ok(bytes.iter().skip(segment::HEADER_BYTES as usize).all(|byte| *byte == 0))
}

/// What is noted of the end of the log when the store is closed.
pub(super) fn closed(id: SegmentId, position: u64) -> Vec<u8> {
    let mut note = segment::header(id);
    note.extend_from_slice(&position.to_be_bytes());
    let sum = crc32c::crc32c(&note);
    note.extend_from_slice(&sum.to_be_bytes());
    note
}
