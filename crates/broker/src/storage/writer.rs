//! The writer thread: takes waiting changes, applies them in one transaction, and answers once that is
//! durable.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::compaction::Policy;
use super::error::StorageError;
use super::frame::FrameBuffer;
use super::housekeeping::{Housekeeper, Job};
use super::open::Opened;
use super::pending_write::Answer;
use super::read_state::TopicState;
use super::retention;
use super::segment::ActiveSegment;
use super::snapshot;
use super::store_state::StoreState;
use super::transaction::{Applied, Changes};
use super::write_queue::Change;
use super::write_state::WriteState;
use super::{Clock, Retention};
use net::sync::lock;
use protocol::error_code::ErrorCode;

/// The pause between slices of retention, so that changes come first.
const SLICE_PAUSE: Duration = Duration::from_millis(20);
/// The pause between two passes of retention, however many topics and records are deleted.
const PASS_PAUSE: Duration = Duration::from_secs(1);
/// Bytes of removed batches in the last segment, beyond which it may be ended to give them back.
const REMOVED_BYTES: u64 = 1 << 20;
/// How far the last segment may outgrow its size while there are no file descriptors for the next one.
const OVERGROWN: u64 = 8;

/// The writer thread's data.
pub(super) struct Writer {
    pub shared: Arc<StoreState>,
    pub write_state: WriteState,
    pub active: ActiveSegment,
    pub housekeeper: Housekeeper,
    pub retention: Retention,
    pub clock: Clock,
    /// The interval of retention checks; `None` for none.
    pub retention_check_interval: Option<Duration>,
    pub progress: Progress,
}

/// How far the log has come.
pub(super) struct Progress {
    /// Bytes of the batches that were appended to the last segment.
    pub appended: u64,
    /// When its first batch came, ms since 1970.
    pub began: Option<i64>,
    /// Bytes of the log since the last snapshot.
    pub since_snapshot: u64,
}

impl Progress {
    /// How far it has come when a store is opened.
    pub(super) fn of(opened: &Opened, now: i64) -> Progress {
        let since_snapshot =
            opened.state.segments.range(opened.snapshot..).map(|(_, segment)| segment.length());
        let since_snapshot = since_snapshot.sum::<u64>() + opened.active.position;
        let appended = opened.state.kept_bytes(&opened.active.segment);
        Progress { appended, began: (appended > 0).then_some(now), since_snapshot }
    }
}

impl Writer {
    /// Runs until the queue is closed and empty.
    pub(super) fn run(mut self) {
        let soon = |pause: Duration| Instant::now().checked_add(pause);
        let mut next_slice = self.retention_check_interval.and(soon(SLICE_PAUSE));
        let mut frame = FrameBuffer::default();
        let mut last_pass = Instant::now();
        while let Some(changes) = self.shared.queue.take(next_slice) {
            if self.shared.has_failed() {
                changes.into_iter().for_each(|change| change.refuse(ErrorCode::KAFKA_STORAGE_ERROR));
                next_slice = None;
                continue;
            }
            #[cfg(test)]
            let changes = self.apply_retention_now(changes, &mut frame);
            let frees = changes.iter().any(Change::frees);
            if !changes.is_empty() {
                self.apply_changes(changes, &mut frame);
            }
            if frees && self.retention_check_interval.is_some() {
                let at = soon(SLICE_PAUSE).max(last_pass.checked_add(PASS_PAUSE));
                next_slice = next_slice.min(at).or(at);
            }
            if next_slice.is_some_and(|at| at <= Instant::now()) {
                next_slice = match self.apply_retention(&mut frame) {
                    Some(true) => soon(SLICE_PAUSE),
                    Some(false) => {
                        last_pass = Instant::now();
                        self.retention_check_interval.and_then(soon)
                    }
                    None => None,
                };
            }
        }
        if !self.shared.has_failed()
            && let Err(error) = self.active.finish()
        {
            self.shared.fail(&error.into(), false);
        }
    }

    /// Applies changes in one transaction, publishes it and answers. An error is a failure of the store.
    fn apply_changes(&mut self, changes: Vec<Change>, frame: &mut FrameBuffer) {
        let now = (self.clock)();
        let shared = self.shared.clone();
        let _running = lock(&shared.transaction_running);
        if !self.make_room(now) {
            return;
        }
        let mut transaction = Changes::new(&shared, &mut self.write_state, frame, now);
        changes.into_iter().for_each(|change| transaction.apply(change));
        let applied = transaction.finish();
        if let Some(answers) = self.commit(applied, frame, now) {
            answers.into_iter().for_each(|answer| answer());
        }
    }

    /// Begins the next segment if the last one is full, before a transaction changes the write state: a
    /// snapshot has the state at the beginning of a segment. False if the store has failed.
    fn make_room(&mut self, now: i64) -> bool {
        let is_full = self.active.position >= self.write_state.limits.segment_bytes;
        if let Some(Err(error)) = is_full.then(|| self.roll(now)) {
            self.shared.fail(&error, false);
        }
        !self.shared.has_failed()
    }

    /// Makes a transaction durable, and publishes it. `None` if that fails, which the store records.
    fn commit(&mut self, mut applied: Applied, frame: &mut FrameBuffer, now: i64) -> Option<Vec<Answer>> {
        if frame.is_empty() {
            return Some(applied.answers);
        }
        let appended = self.active.append(frame, now);
        self.progress.since_snapshot += frame.len() as u64;
        frame.clear();
        match appended {
            Ok(payload) => {
                applied.place(payload);
                self.progress.appended += applied.appended_bytes();
                if self.progress.appended > 0 {
                    self.progress.began.get_or_insert(now);
                }
                self.shared.publish(applied.updates, &self.active.segment);
                Some(applied.answers)
            }
            Err(failed) => {
                self.shared.fail(&failed.error, failed.in_doubt);
                None
            }
        }
    }

    /// Ends the last segment and begins the next one.
    fn roll(&mut self, now: i64) -> Result<(), StorageError> {
        let number = self.active.segment.id.number + 1;
        let next = match ActiveSegment::create(&self.shared.files, number) {
            Err(StorageError::NoDescriptors(cause))
                if self.active.position < OVERGROWN * self.write_state.limits.segment_bytes =>
            {
                log::warn!("{}: the log goes on in its last file: {cause}", self.shared.folder);
                return Ok(());
            }
            next => next?,
        };
        self.active.finish()?;
        let full = std::mem::replace(&mut self.active, next).segment;
        (self.progress.appended, self.progress.began) = (0, None);
        let segment = self.active.segment.clone();
        self.shared.change_state(|state| state.segments.insert(number, segment));
        let snapshot = self.snapshot(number, now);
        self.housekeeper
            .hand(Job::Complete { segment: full, snapshot: snapshot.map(|bytes| (number, bytes)) });
        Ok(())
    }

    /// The snapshot at the beginning of segment `number`; `None` while the state is larger than the log that
    /// it would save from being replayed.
    fn snapshot(&mut self, number: u64, now: i64) -> Option<Vec<u8>> {
        let state = self.shared.state();
        let rows = self.write_state.partitions + self.write_state.producers.len();
        let bytes = (state.bytes + rows * 100) as u64;
        if bytes > self.progress.since_snapshot.max(self.write_state.limits.segment_bytes) {
            return None;
        }
        self.progress.since_snapshot = 0;
        Some(snapshot::encode(number, &self.write_state, &state, now))
    }

    /// Runs a slice of retention: true if there is more to remove, `None` if the store has failed.
    fn apply_retention(&mut self, frame: &mut FrameBuffer) -> Option<bool> {
        let now = (self.clock)();
        if !self.make_room(now) {
            return None;
        }
        let shared = self.shared.clone();
        let slice = match retention::run_slice(&shared, &mut self.write_state, frame, &self.retention, now) {
            Ok(slice) => slice,
            Err(StorageError::Damaged(what)) => {
                log::error!("{}: retention has ended: {what}", shared.folder);
                return None;
            }
            Err(StorageError::NoDescriptors(cause)) => {
                log::warn!("{}: retention waits: {cause}", shared.folder);
                return Some(false);
            }
            Err(error) => {
                shared.fail(&error, false);
                return None;
            }
        };
        self.commit(slice.applied, frame, now)?;
        if !slice.more {
            self.reclaim(now);
        }
        (!shared.has_failed()).then_some(slice.more)
    }

    /// Has files removed that hold nothing that is kept, and logs compacted; ends the last segment first if
    /// most of its batches are removed, or a compacted topic wants it.
    fn reclaim(&mut self, now: i64) {
        match self.shall_end_segment(now).then(|| self.roll(now)) {
            // Other files may be removed, and make room.
            Some(Err(error)) if error.is_no_room() => {
                log::debug!("{}: the last segment goes on: {error}", self.shared.folder);
            }
            Some(Err(error)) => return self.shared.fail(&error, false),
            Some(Ok(())) | None => {}
        }
        self.housekeeper.hand(Job::Reclaim { now });
    }

    fn shall_end_segment(&self, now: i64) -> bool {
        let state = self.shared.state();
        let kept = state.kept_bytes(&self.active.segment);
        let removed = self.progress.appended.saturating_sub(kept);
        let is_removed =
            removed >= REMOVED_BYTES.min(self.write_state.limits.segment_bytes / 4) && removed > kept;
        let wants_end = |topic: &TopicState| {
            let (Some(policy), Some(began)) = (Policy::of(&topic.topic.configs), self.progress.began) else {
                return false;
            };
            let mut parts = topic.logs.iter().filter_map(|log| log.extent_in(&self.active.segment));
            parts.any(|extent| policy.ends_segment(extent, began, now))
        };
        is_removed || state.topics.values().any(wants_end)
    }

    /// Runs the retention slices that a test asks for; returns the other changes.
    #[cfg(test)]
    fn apply_retention_now(&mut self, changes: Vec<Change>, frame: &mut FrameBuffer) -> Vec<Change> {
        let mut others = Vec::new();
        for change in changes {
            match change {
                Change::ApplyRetention(reply) => {
                    let more = self.apply_retention(frame);
                    reply.send(more.ok_or(ErrorCode::KAFKA_STORAGE_ERROR));
                }
                other => others.push(other),
            }
        }
        others
    }
}
