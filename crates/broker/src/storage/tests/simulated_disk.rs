//! A disk in memory: it remembers what was written since when, so that a crash at any moment can be played;
//! it can refuse, and it can be full.

use net::sync::{Mutex, lock};
use std::fmt;
use std::io;
use std::sync::Arc;

use redb::StorageBackend;

use testing::Random;

const PAGE: usize = 4096;
const SECTOR: usize = 512;

/// The bytes of a file. A clone shares the pages until one is written.
#[derive(Clone, Default)]
pub struct Image {
    length: u64,
    pages: Vec<Option<Arc<[u8; PAGE]>>>,
}

impl Image {
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
        // A write past the end was kept without the longer length: it is lost.
        let room = usize::try_from(self.length.saturating_sub(offset)).unwrap();
        let mut data = &data[..data.len().min(room)];
        let mut at = offset as usize;
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

    /// Bytes that were ever written, by pages.
    pub fn used(&self) -> usize {
        self.pages.iter().flatten().count() * PAGE
    }

    /// Numbers of the pages that were ever written.
    pub fn used_pages(&self) -> Vec<usize> {
        self.pages.iter().enumerate().filter(|(_, page)| page.is_some()).map(|(number, _)| number).collect()
    }

    fn apply(&mut self, step: &Step) {
        match step {
            Step::Write(offset, data) => self.write(*offset, data),
            Step::SetLen(length) => self.set_len(*length),
            Step::Sync => {}
        }
    }

    /// Applies a step that was not synced by chance: nothing, all of it, or some of its sectors.
    fn apply_by_chance(&mut self, step: &Step, random: &mut Random) {
        match (random.below(3), step) {
            (0, _) | (_, Step::Sync) => {}
            (2, &Step::Write(offset, ref data)) => {
                let mut at = 0;
                while at < data.len() {
                    let sector_left = SECTOR - (offset as usize + at) % SECTOR;
                    let end = data.len().min(at + sector_left);
                    if random.below(2) == 0 {
                        self.write(offset + at as u64, &data[at..end]);
                    }
                    at = end;
                }
            }
            _ => self.apply(step),
        }
    }
}

/// An operation that changes the disk.
#[derive(Clone)]
pub enum Step {
    Write(u64, Vec<u8>),
    SetLen(u64),
    Sync,
}

/// The faults of a disk.
#[derive(Clone, Copy, Default)]
pub struct Trouble {
    /// The step, counted from 0, that is refused.
    pub refused_step: Option<usize>,
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

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Disk")
    }
}

impl Disk {
    pub fn new(image: Image) -> Disk {
        Disk::with(image, Trouble::default())
    }

    pub fn with(image: Image, trouble: Trouble) -> Disk {
        let inner = Inner { live: image.clone(), before: image, trouble, ..Inner::default() };
        Disk(Arc::new(Mutex::new(inner)))
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

    /// The content that the running system reads.
    pub fn live(&self) -> Image {
        lock(&self.0).live.clone()
    }

    /// The content that a crash after so many steps leaves.
    pub fn crashed(&self, after: usize, random: &mut Random) -> Image {
        let inner = lock(&self.0);
        let steps = &inner.steps[..after];
        let synced = steps.iter().rposition(|step| matches!(step, Step::Sync)).map_or(0, |at| at + 1);
        let mut image = inner.before.clone();
        steps[..synced].iter().for_each(|step| image.apply(step));
        steps[synced..].iter().for_each(|step| image.apply_by_chance(step, random));
        image
    }

    fn step(&self, step: Step) -> io::Result<()> {
        let mut inner = lock(&self.0);
        let number = inner.asked;
        inner.asked += 1;
        if inner.trouble.refused_step == Some(number) {
            return Err(io::Error::other("the disk is broken"));
        }
        let mut live = std::mem::take(&mut inner.live);
        let before = inner.trouble.room.map(|room| (room, live.clone()));
        live.apply(&step);
        if let Some((room, before)) = before
            && live.used() > room
        {
            inner.live = before;
            return Err(io::ErrorKind::StorageFull.into());
        }
        inner.live = live;
        inner.steps.push(step);
        Ok(())
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(lock(&self.0).live.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut inner = lock(&self.0);
        let number = inner.reads;
        inner.reads += 1;
        if inner.trouble.refused_read == Some(number) {
            return Err(io::Error::other("the disk is broken"));
        }
        inner.live.read(offset, out)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.step(Step::SetLen(length))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.step(Step::Sync)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.step(Step::Write(offset, data.to_vec()))
    }
}
