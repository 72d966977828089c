//! Housekeeping: what need not hold up transactions. Indexes of complete segments, snapshots, and files that
//! nothing needs any more.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use super::OpenError;
use super::compaction;
use super::error::StorageError;
use super::files::store_file;
use super::index_file::store_index;
use super::names;
use super::reclaim;
use super::segment::Segment;
use super::store_state::StoreState;
use net::sync::{Mutex, Worker, lock};

/// Jobs that may wait: each complete segment holds its index in memory until it is stored.
const MAX_JOBS: usize = 4;

/// A job.
pub(super) enum Job {
    /// A segment is complete; with it comes, perhaps, the snapshot at the beginning of the one of this number.
    Complete { segment: Arc<Segment>, snapshot: Option<(u64, Vec<u8>)> },
    /// Files are to be removed, as of this time.
    Reclaim { now: i64 },
}

/// Where jobs are done.
pub(super) enum Housekeeper {
    /// On a thread of its own.
    Thread(SyncSender<Job>),
    /// At once, between transactions.
    AtOnce(Housekeeping),
}

impl Housekeeper {
    /// A housekeeper, on its own thread if wanted, which ends when this is dropped. It begins with the indexes
    /// of the complete segments that have none.
    pub(super) fn start(
        shared: Arc<StoreState>,
        unindexed: Vec<Arc<Segment>>,
        on_thread: bool,
    ) -> Result<(Housekeeper, Option<Worker>), OpenError> {
        let first = unindexed.into_iter().map(|segment| Job::Complete { segment, snapshot: None });
        let housekeeping = Housekeeping { shared, cleaned: Mutex::default() };
        if !on_thread {
            first.for_each(|job| housekeeping.do_job(job));
            return Ok((Housekeeper::AtOnce(housekeeping), None));
        }
        let (sender, receiver) = sync_channel(MAX_JOBS);
        let first: Vec<Job> = first.collect();
        let worker = Worker::start("broker-housekeeping", move |_| housekeeping.run(first, &receiver))
            .map_err(|error| OpenError::io_at("cannot start a thread for the store", error))?;
        Ok((Housekeeper::Thread(sender), Some(worker)))
    }

    /// Has a job done; waits while too many are.
    pub(super) fn hand(&self, job: Job) {
        match self {
            Housekeeper::Thread(sender) => {
                if let Err(TrySendError::Full(job @ Job::Complete { .. })) = sender.try_send(job) {
                    let _ = sender.send(job);
                }
            }
            Housekeeper::AtOnce(housekeeping) => housekeeping.do_job(job),
        }
    }
}

/// The work on a store's files.
pub(super) struct Housekeeping {
    shared: Arc<StoreState>,
    cleaned: Mutex<compaction::Cleaned>,
}

impl Housekeeping {
    fn run(&self, first: Vec<Job>, jobs: &Receiver<Job>) {
        first.into_iter().for_each(|job| self.do_job(job));
        while let Ok(job) = jobs.recv() {
            self.do_job(job);
        }
    }

    fn do_job(&self, job: Job) {
        if self.shared.has_failed() {
            return;
        }
        let done = match job {
            Job::Complete { segment, snapshot } => self.complete(&segment, snapshot),
            Job::Reclaim { now } => self.reclaim(now),
        };
        match done {
            Ok(()) => {}
            Err(StorageError::Damaged(what)) => {
                log::error!("{}: housekeeping has met damage: {what}", self.shared.folder);
            }
            Err(StorageError::NoDescriptors(cause)) => {
                log::warn!("{}: housekeeping waits: {cause}", self.shared.folder);
            }
            Err(error) => self.shared.fail(&error, false),
        }
    }

    fn reclaim(&self, now: i64) -> Result<(), StorageError> {
        reclaim::run(&self.shared, now)?;
        compaction::run(&self.shared, &mut lock(&self.cleaned), now)
    }

    fn complete(&self, segment: &Arc<Segment>, snapshot: Option<(u64, Vec<u8>)>) -> Result<(), StorageError> {
        store_index(&self.shared, segment)?;
        let Some((number, bytes)) = snapshot else { return Ok(()) };
        store_file(&*self.shared.files.files, &names::snapshot(number), &bytes)?;
        let former = self.shared.snapshot.swap(number, Ordering::AcqRel);
        self.shared.files.files.remove(&names::snapshot(former))?;
        Ok(())
    }
}
