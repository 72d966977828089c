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
use super::reclaim::{self, Rewrites};
use super::segment::Segment;
use super::store_state::StoreState;
use net::sync::{Mutex, Worker, lock};

/// Segments that may wait: each complete one holds its index in memory until it is stored.
const MAX_COMPLETE: usize = 4;

/// A job.
pub(super) enum Job {
    /// A segment is complete; with it comes, perhaps, the snapshot at the beginning of the one of this
    /// number.
    Complete { segment: Arc<Segment>, snapshot: Option<(u64, Vec<u8>)> },
    /// Files are to be removed, and logs compacted, as of this time.
    Reclaim { now: i64 },
}

/// Where jobs are done.
pub(super) enum Housekeeper {
    /// On two threads, as nothing may wait for compaction: the one for complete segments, and the one for
    /// files to be removed.
    Threads { complete: SyncSender<Job>, reclaim: SyncSender<Job>, shared: Arc<StoreState> },
    /// At once, between transactions.
    AtOnce(Arc<Housekeeping>),
}

impl Housekeeper {
    /// A housekeeper, on threads of its own if wanted, which end when this is dropped. It begins with the
    /// indexes of the complete segments that have none.
    pub(super) fn start(
        shared: Arc<StoreState>,
        unindexed: Vec<Arc<Segment>>,
        on_threads: bool,
    ) -> Result<(Housekeeper, Vec<Worker>), OpenError> {
        let first: Vec<Job> =
            unindexed.into_iter().map(|segment| Job::Complete { segment, snapshot: None }).collect();
        let housekeeping = Arc::new(Housekeeping { shared: shared.clone(), cleaned: Mutex::default() });
        if !on_threads {
            first.into_iter().for_each(|job| housekeeping.do_job(job));
            return Ok((Housekeeper::AtOnce(housekeeping), Vec::new()));
        }
        let (complete, to_complete) = sync_channel(MAX_COMPLETE);
        let (reclaim, to_reclaim) = sync_channel(1);
        let work = |name, first, jobs: Receiver<Job>| {
            let housekeeping = housekeeping.clone();
            Worker::start(name, move |_| housekeeping.run(first, &jobs))
                .map_err(|error| OpenError::io_at("cannot start a thread for the store", error))
        };
        let workers = vec![
            work("broker-indexes", first, to_complete)?,
            work("broker-reclaim", Vec::new(), to_reclaim)?,
        ];
        Ok((Housekeeper::Threads { complete, reclaim, shared }, workers))
    }

    /// Has a job done; waits while too many segments are complete.
    pub(super) fn hand(&self, job: Job) {
        let is_taken = match (self, job) {
            (Housekeeper::AtOnce(housekeeping), job) => {
                housekeeping.do_job(job);
                true
            }
            (Housekeeper::Threads { complete, .. }, job @ Job::Complete { .. }) => complete.send(job).is_ok(),
            // One that waits already does as well.
            (Housekeeper::Threads { reclaim, .. }, job) => {
                !matches!(reclaim.try_send(job), Err(TrySendError::Disconnected(_)))
            }
        };
        if let (Housekeeper::Threads { shared, .. }, false) = (self, is_taken) {
            shared.fail(&StorageError::Failed("a thread of the store has ended".into()), false);
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
            Err(error) if error.is_no_room() || matches!(error, StorageError::NoDescriptors(_)) => {
                log::warn!("{}: housekeeping waits: {error}", self.shared.folder);
            }
            Err(error) => self.shared.fail(&error, false),
        }
    }

    fn reclaim(&self, now: i64) -> Result<(), StorageError> {
        reclaim::run(&self.shared, Rewrites::All, now)?;
        let snapshot = self.shared.snapshot.load(Ordering::Acquire);
        let unindexed = self.shared.state().unindexed(snapshot);
        unindexed.iter().try_for_each(|segment| store_index(&self.shared, segment))?;
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
