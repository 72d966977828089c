//! A disk in memory: it remembers what was changed since when, so that a crash at any moment can be played;
//! it can refuse, and it can be full.

use net::sync::{Mutex, lock};
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use super::super::files::{Files, StoredFile};
use testing::Random;

const PAGE: usize = 4096;
const SECTOR: usize = 512;

/// The bytes of a file. A clone shares the pages until one is written.
#[derive(Clone, Default)]
pub struct FileImage {
    length: u64,
    pages: Vec<Option<Arc<[u8; PAGE]>>>,
}

impl FileImage {
    pub fn len(&self) -> u64 {
        self.length
    }

    pub fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if offset + out.len() as u64 > self.length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut at = offset as usize;
        let mut out = out;
        while !out.is_empty() {
            let start = at % PAGE;
            let count = out.len().min(PAGE - start);
            let (piece, rest) = out.split_at_mut(count);
            match &self.pages[at / PAGE] {
                Some(page) => piece.copy_from_slice(&page[start..start + count]),
                None => piece.fill(0),
            }
            at += count;
            out = rest;
        }
        Ok(())
    }

    pub fn write(&mut self, offset: u64, data: &[u8]) {
        self.set_len(self.length.max(offset + data.len() as u64));
        let (mut at, mut data) = (offset as usize, data);
        while !data.is_empty() {
            let start = at % PAGE;
            let count = data.len().min(PAGE - start);
            let page = self.pages[at / PAGE].get_or_insert_with(|| Arc::new([0; PAGE]));
            Arc::make_mut(page)[start..start + count].copy_from_slice(&data[..count]);
            at += count;
            data = &data[count..];
        }
    }

    pub fn set_len(&mut self, length: u64) {
        self.pages.resize(usize::try_from(length.div_ceil(PAGE as u64)).unwrap(), None);
        if length < self.length
            && let Some(Some(last)) = self.pages.last_mut()
            && !length.is_multiple_of(PAGE as u64)
        {
            Arc::make_mut(last)[(length % PAGE as u64) as usize..].fill(0);
        }
        self.length = length;
    }

    /// Numbers of the pages that were ever written.
    pub fn used_pages(&self) -> Vec<usize> {
        self.pages.iter().enumerate().filter(|(_, page)| page.is_some()).map(|(number, _)| number).collect()
    }
}

/// The files of a folder.
#[derive(Clone, Default)]
pub struct Image {
    names: BTreeMap<String, usize>,
    files: BTreeMap<usize, FileImage>,
    next: usize,
}

impl Image {
    pub fn names(&self) -> Vec<String> {
        self.names.keys().cloned().collect()
    }

    pub fn file(&self, name: &str) -> &FileImage {
        &self.files[&self.names[name]]
    }

    pub fn file_mut(&mut self, name: &str) -> &mut FileImage {
        self.files.get_mut(&self.names[name]).unwrap()
    }

    pub fn remove(&mut self, name: &str) {
        self.names.remove(name);
    }

    /// Bytes that are written, by pages.
    pub fn used(&self) -> usize {
        self.names.values().map(|file| self.files[file].used_pages().len() * PAGE).sum()
    }

    fn apply(&mut self, step: &Step) {
        match step {
            Step::Create(name, file) => {
                self.names.insert(name.clone(), *file);
                self.files.insert(*file, FileImage::default());
                self.next = self.next.max(file + 1);
            }
            Step::Write(file, offset, data) => self.files.entry(*file).or_default().write(*offset, data),
            Step::SetLen(file, length) => self.files.entry(*file).or_default().set_len(*length),
            Step::Rename(from, to) => {
                if let Some(file) = self.names.remove(from) {
                    self.names.insert(to.clone(), file);
                }
            }
            Step::Remove(name) => {
                self.names.remove(name);
            }
            Step::Sync(_) | Step::SyncFolder => {}
        }
    }

    /// Applies a step that was not synced by chance: nothing, all of it, or some of its sectors.
    fn apply_by_chance(&mut self, step: &Step, random: &mut Random) {
        match (random.below(3), step) {
            (0, _) => {}
            (2, Step::Write(file, offset, data)) => {
                let mut at = 0;
                while at < data.len() {
                    let sector_left = SECTOR - (*offset as usize + at) % SECTOR;
                    let end = data.len().min(at + sector_left);
                    if random.below(2) == 0 {
                        let file = self.files.entry(*file).or_default();
                        file.write(offset + at as u64, &data[at..end]);
                    }
                    at = end;
                }
            }
            _ => self.apply(step),
        }
    }
}

/// An operation that changes the disk. Files have numbers, as a name may change.
#[derive(Clone)]
pub enum Step {
    Create(String, usize),
    Write(usize, u64, Vec<u8>),
    SetLen(usize, u64),
    Sync(usize),
    Rename(String, String),
    Remove(String),
    SyncFolder,
}

/// The faults of a disk.
#[derive(Clone, Copy, Default)]
pub struct Trouble {
    /// The step, counted from 0, that is refused.
    pub refused_step: Option<usize>,
    /// The step, counted from 0, for which the process has no file descriptors.
    pub without_descriptors: Option<usize>,
    /// The read, counted from 0, that is refused.
    pub refused_read: Option<usize>,
    /// Bytes that fit on the disk.
    pub room: Option<usize>,
}

#[derive(Default)]
struct Inner {
    live: Image,
    /// The content of the disk at the start.
    before: Image,
    steps: Vec<Step>,
    reads: usize,
    trouble: Trouble,
    /// Steps asked for, refused ones included.
    asked: usize,
}

/// The simulated disk. A clone is the same disk.
#[derive(Clone, Default)]
pub struct Disk(Arc<Mutex<Inner>>);

impl Disk {
    pub fn new(image: Image) -> Disk {
        Disk::with(image, Trouble::default())
    }

    pub fn with(image: Image, trouble: Trouble) -> Disk {
        let inner = Inner { live: image.clone(), before: image, trouble, ..Inner::default() };
        Disk(Arc::new(Mutex::new(inner)))
    }

    /// The folder, for a store.
    pub fn files(&self) -> Arc<dyn Files> {
        Arc::new(self.clone())
    }

    /// Steps so far.
    pub fn steps(&self) -> usize {
        lock(&self.0).steps.len()
    }

    /// Steps so far, with those that were refused.
    pub fn asked(&self) -> usize {
        lock(&self.0).asked
    }

    pub fn reads(&self) -> usize {
        lock(&self.0).reads
    }

    /// From now on, the disk has this trouble.
    pub fn set_trouble(&self, trouble: Trouble) {
        lock(&self.0).trouble = trouble;
    }

    /// How many of the steps so far were of each kind: writes, syncs, renames, removals.
    pub fn kinds(&self) -> [usize; 4] {
        let mut kinds = [0; 4];
        for step in &lock(&self.0).steps {
            match step {
                Step::Write(..) => kinds[0] += 1,
                Step::Sync(_) | Step::SyncFolder => kinds[1] += 1,
                Step::Rename(..) => kinds[2] += 1,
                Step::Remove(_) => kinds[3] += 1,
                Step::Create(..) | Step::SetLen(..) => {}
            }
        }
        kinds
    }

    /// The content that the running system reads.
    pub fn live(&self) -> Image {
        lock(&self.0).live.clone()
    }

    /// The content that a crash after so many steps leaves: what was synced, and of the rest something.
    pub fn crashed(&self, after: usize, random: &mut Random) -> Image {
        let inner = lock(&self.0);
        let steps = &inner.steps[..after];
        let folder_synced = steps.iter().rposition(|step| matches!(step, Step::SyncFolder)).unwrap_or(0);
        let mut synced: BTreeMap<usize, usize> = BTreeMap::new();
        for (at, step) in steps.iter().enumerate() {
            if let Step::Sync(file) = step {
                synced.insert(*file, at);
            }
        }
        let mut image = inner.before.clone();
        for (at, step) in steps.iter().enumerate() {
            let is_safe = match step {
                Step::Write(file, ..) | Step::SetLen(file, _) => {
                    synced.get(file).is_some_and(|sync| at < *sync)
                }
                _ => at < folder_synced,
            };
            match is_safe {
                true => image.apply(step),
                false => image.apply_by_chance(step, random),
            }
        }
        image
    }

    fn step(&self, step: impl FnOnce(&Image) -> io::Result<Step>) -> io::Result<Step> {
        let mut inner = lock(&self.0);
        let number = inner.asked;
        inner.asked += 1;
        if inner.trouble.without_descriptors == Some(number) {
            return Err(io::Error::from_raw_os_error(platform::descriptors::NONE_LEFT[1]));
        }
        if inner.trouble.refused_step == Some(number) {
            return Err(io::Error::other("the disk is broken"));
        }
        let mut live = inner.live.clone();
        let step = step(&live)?;
        live.apply(&step);
        if inner.trouble.room.is_some_and(|room| live.used() > room && live.used() > inner.live.used()) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        inner.live = live;
        inner.steps.push(step.clone());
        Ok(step)
    }
}

impl Files for Disk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(lock(&self.0).live.names())
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn StoredFile>> {
        let inner = lock(&self.0);
        let file = *inner.live.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(OpenFile { disk: self.clone(), file }))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn StoredFile>> {
        match self.step(|image| Ok(Step::Create(name.to_owned(), image.next)))? {
            Step::Create(_, file) => Ok(Arc::new(OpenFile { disk: self.clone(), file })),
            _ => unreachable!(),
        }
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.step(|image| match image.names.contains_key(from) {
            true => Ok(Step::Rename(from.to_owned(), to.to_owned())),
            false => Err(io::ErrorKind::NotFound.into()),
        })?;
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.step(|_| Ok(Step::Remove(name.to_owned())))?;
        Ok(())
    }

    fn sync_folder(&self) -> io::Result<()> {
        self.step(|_| Ok(Step::SyncFolder))?;
        Ok(())
    }
}

struct OpenFile {
    disk: Disk,
    file: usize,
}

impl StoredFile for OpenFile {
    fn length(&self) -> io::Result<u64> {
        Ok(lock(&self.disk.0).live.files[&self.file].len())
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut inner = lock(&self.disk.0);
        let number = inner.reads;
        inner.reads += 1;
        if inner.trouble.refused_read == Some(number) {
            return Err(io::Error::other("the disk is broken"));
        }
        inner.live.files[&self.file].read(offset, out)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.disk.step(|_| Ok(Step::Write(self.file, offset, data.to_vec())))?;
        Ok(())
    }

    fn reserve(&self, length: u64) -> io::Result<()> {
        if self.length()? < length {
            self.set_length(length)?;
        }
        Ok(())
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.disk.step(|_| Ok(Step::SetLen(self.file, length)))?;
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.step(|_| Ok(Step::Sync(self.file)))?;
        Ok(())
    }
}
