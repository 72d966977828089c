//! Records that wait and requests in flight: the producer's decisions without threads, clocks or sockets, so
//! that each can be tested on its own.
//!
//! Rules that hold here: a partition is in at most one request, so its records keep their order; a record's
//! [`DeliveryCallback`] is handed out exactly once; a record counts against the limits until its bytes are
//! freed.

mod again;
mod partition;
mod refusal;

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::batch::{
    Batch, BatchOutcome, BatchRecord, Finished, NotStoredReason, OpenDelivery, QueuedRecord, Released,
    give_up, unknown,
};
use super::limits::{BATCH_BYTES, CALL_BYTES, MAX_IN_FLIGHT};
use super::{DeliveryCallback, DeliveryReport, Limits, NotStoredKind, PartitionChoice, ProducerRecord};
use partition::{Partition, PartitionBackoff};
use protocol::partitioner::partition_for_key;

/// A request out for longer does not keep others from leaving.
const RECENT: Duration = Duration::from_millis(50);

/// Time until a lowered batch size is doubled.
const BATCH_GROWS_AFTER: Duration = Duration::from_secs(60);

struct InFlightRequest {
    since: Instant,
    recent: bool,
    /// In the order of the batches' messages.
    open: Vec<OpenDelivery>,
}

/// The records that wait, by partition, and the requests in flight.
pub(super) struct Accumulator {
    topic: Arc<str>,
    limits: Arc<Limits>,
    /// After this time at the latest the adapter says that a batch was never written. With less left than
    /// that, a message for a partition without a leader is not sent again: its answer would come too late to
    /// be definite.
    definite_after: Duration,
    partitions: Vec<Partition>,
    /// Messages for one partition while the number of partitions is unknown, or too small for it.
    unplaced: VecDeque<QueuedRecord>,
    /// Messages for any partition.
    unkeyed: VecDeque<QueuedRecord>,
    requests: [Option<InFlightRequest>; MAX_IN_FLIGHT],
    messages: usize,
    bytes: usize,
    /// The most that a batch may weigh at present. Lowered for a topic that takes less, and doubled again
    /// step by step: the topic's limit may have been raised, or a single record was too large.
    batch_bytes: usize,
    /// When `batch_bytes` is raised again, where it was lowered.
    batch_grows_at: Instant,
    /// The partition that messages without a key go to next; beyond the last one it goes round.
    rotation: usize,
    next_deadline: Option<Instant>,
    /// The reason why no connection reaches the topic, and since when none does.
    unreachable: Option<(NotStoredReason, Instant)>,
    /// Without a definite answer records are sent again (`again`).
    at_least_once: bool,
    /// The reason why no broker can be reached, as the cluster tells.
    no_broker: Option<NotStoredReason>,
}

impl Accumulator {
    /// An empty accumulator, which takes no more records than `limits` allow; see the field for
    /// `definite_after`.
    pub(super) fn new(topic: Arc<str>, limits: Arc<Limits>, definite_after: Duration) -> Accumulator {
        Accumulator {
            topic,
            limits,
            definite_after,
            partitions: Vec::new(),
            unplaced: VecDeque::new(),
            unkeyed: VecDeque::new(),
            requests: Default::default(),
            messages: 0,
            bytes: 0,
            batch_bytes: BATCH_BYTES,
            batch_grows_at: Instant::now(),
            rotation: 0,
            next_deadline: None,
            unreachable: None,
            at_least_once: false,
            no_broker: None,
        }
    }

    /// Has messages without a key begin with this partition, counted round and round; without it with the
    /// first.
    pub(super) fn begin_with(&mut self, partition: usize) {
        self.rotation = partition;
    }

    /// Takes a message; false if the limits are reached.
    pub(super) fn push(&mut self, now: Instant, message: ProducerRecord, done: DeliveryCallback) -> bool {
        let deadline = message.deadline;
        let record = BatchRecord::new(message, now);
        let bytes = record.bytes();
        if !self.limits.take(bytes) {
            return false;
        }
        self.messages += 1;
        self.bytes += bytes;
        self.next_deadline = earlier(self.next_deadline, deadline);
        self.queue(&record).push_back(QueuedRecord { record, deadline, done });
        true
    }

    /// Messages whose bytes are held.
    pub(super) fn open(&self) -> usize {
        self.messages
    }

    /// Whether a record was refused because the queue was full, and no record has left since.
    pub(super) fn is_full(&self) -> bool {
        self.limits.is_full()
    }

    /// No open message's deadline is earlier.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.next_deadline
    }

    /// The number of partitions, 0 while unknown.
    pub(super) fn partitions(&self) -> usize {
        self.partitions.len()
    }

    /// Says how many partitions the topic has. Records that wait for one of them are placed anew, in order.
    pub(super) fn set_partitions(&mut self, count: usize) {
        self.unreachable = None;
        if count == self.partitions.len() {
            return;
        }
        let mut placed = mem::take(&mut self.unplaced);
        for partition in &mut self.partitions {
            placed.append(&mut partition.waiting);
        }
        self.partitions.resize_with(count, Partition::default);
        for waiting in placed {
            self.queue(&waiting.record).push_back(waiting);
        }
    }

    /// Whether a request is out that has not been for long: then no other leaves, so that what comes
    /// meanwhile goes together in the next.
    pub(super) fn has_recent_request(&self) -> bool {
        self.requests.iter().flatten().any(|request| request.recent)
    }

    /// The number of requests in flight.
    pub(super) fn requests(&self) -> usize {
        self.requests.iter().flatten().count()
    }

    /// Marks requests that have been in flight for long: they no longer delay others.
    pub(super) fn age(&mut self, now: Instant) {
        for request in self.requests.iter_mut().flatten() {
            request.recent &= now.saturating_duration_since(request.since) < RECENT;
        }
    }

    /// Whether [`Accumulator::take`] would find batches for one more sender thread.
    pub(super) fn has_work(&self, now: Instant) -> bool {
        let may_retry = self.may_retry();
        let none_healthy = self.none_healthy();
        let wanted = |partition: &Partition| match &partition.backing_off {
            None => !partition.waiting.is_empty() || !self.unkeyed.is_empty(),
            Some(backing_off) => {
                let for_unkeyed = none_healthy || backing_off.probe_at <= now;
                let some = !partition.waiting.is_empty() || for_unkeyed && !self.unkeyed.is_empty();
                some && may_retry && backing_off.retry_at <= now
            }
        };
        !self.has_recent_request() && self.partitions.iter().any(|p| !p.in_flight && wanted(p))
    }

    /// Takes the batches of one request of sender thread `sender`; none if there are no records or it is not
    /// time. Records that would be answered too late go to `finished`.
    pub(super) fn take(&mut self, now: Instant, sender: usize, finished: &mut Vec<Finished>) -> Vec<Batch> {
        if self.has_recent_request() || sender >= MAX_IN_FLIGHT {
            return Vec::new();
        }
        if self.batch_bytes < BATCH_BYTES && self.batch_grows_at <= now {
            self.batch_bytes = (self.batch_bytes * 2).min(BATCH_BYTES);
            self.batch_grows_at = now + BATCH_GROWS_AFTER;
        }
        let mut open = Vec::new();
        let mut batches = self.take_backing_off(now, &mut open, finished);
        // A request that may have to wait for a leader delays no other.
        let recent = batches.is_empty();
        if batches.is_empty() {
            batches = self.take_healthy(&mut open);
        }
        for batch in &batches {
            if let Some(partition) = self.partition(batch.partition) {
                partition.in_flight = true;
            }
        }
        if let Some(request) = self.requests.get_mut(sender).filter(|_| !batches.is_empty()) {
            *request = Some(InFlightRequest { since: now, recent, open });
        }
        batches
    }

    /// Ends the request of sender thread `sender` with `outcomes`, one for each batch. Records that are sent
    /// again wait in front. Batches whose outcome is final keep their records, for the log.
    pub(super) fn complete(
        &mut self,
        now: Instant,
        sender: usize,
        batches: &mut [Batch],
        outcomes: &[BatchOutcome],
        finished: &mut Vec<Finished>,
    ) {
        let Some(request) = self.requests.get_mut(sender).and_then(Option::take) else { return };
        let mut open = request.open.into_iter();
        if outcomes.iter().any(BatchOutcome::is_answered) {
            // What another connection could not do is old news.
            self.unreachable = None;
        }
        for (batch, outcome) in batches.iter_mut().zip(outcomes) {
            let open: Vec<_> = open.by_ref().take(batch.records.len()).collect();
            if let Some(partition) = self.partition(batch.partition) {
                partition.in_flight = false;
                partition.backing_off = PartitionBackoff::after(outcome, now);
            }
            match outcome {
                BatchOutcome::NeverWritten { kind, reason } => {
                    self.requeue(
                        now + self.definite_after,
                        batch,
                        open,
                        &NotStoredReason::new(*kind, reason).not_stored(),
                        finished,
                    );
                }
                BatchOutcome::TooLarge { .. } if batch.records.len() > 1 => {
                    // The refused batch was above the topic's limit, so half of it is above half of that
                    // limit: the size sinks fast to what the topic takes, and an offender ends up alone.
                    self.batch_bytes = self.batch_bytes.min(batch.bytes / 2);
                    self.batch_grows_at = now + BATCH_GROWS_AFTER;
                    self.requeue(now, batch, open, &behind_others().not_stored(), finished);
                }
                BatchOutcome::Invalid { .. } if batch.records.len() > 1 => {
                    // Half by half, so that one offender among many is found in few calls.
                    let half = batch.records.len() / 2;
                    batch.records.iter_mut().for_each(|record| record.max_records = half);
                    self.requeue(now, batch, open, &behind_others().not_stored(), finished);
                }
                _ if self.goes_again(outcome) => self.send_again(now, batch, open, outcome, finished),
                _ => self.conclude(batch, open, outcome, finished),
            }
        }
    }

    /// Gives every message whose deadline has come its report: not stored while it waits, unknown
    /// while it is under way.
    pub(super) fn expire(&mut self, now: Instant, finished: &mut Vec<Finished>) {
        if self.next_deadline.is_some_and(|deadline| deadline <= now) {
            self.end_until(Some(now), finished);
        }
    }

    /// Gives up on everything that is open, as the producer closes.
    pub(super) fn abandon(&mut self, finished: &mut Vec<Finished>) {
        let why = NotStoredReason::new(NotStoredKind::Closing, "the program is stopping");
        self.unreachable = Some((why, Instant::now()));
        self.end_until(None, finished);
    }

    fn partition(&mut self, number: i32) -> Option<&mut Partition> {
        self.partitions.get_mut(usize::try_from(number).ok()?)
    }

    /// Takes note of what is no longer held.
    fn forget(&mut self, released: &Released) {
        self.messages -= released.records;
        self.bytes -= released.bytes;
        self.limits.give_back(released.records, released.bytes);
    }

    fn queue(&mut self, record: &BatchRecord) -> &mut VecDeque<QueuedRecord> {
        let count = i32::try_from(self.partitions.len()).unwrap_or(i32::MAX);
        let given = match record.partition {
            PartitionChoice::ByKey => None,
            PartitionChoice::Preferred(given) => {
                Some(given).filter(|given| count == 0 || (0..count).contains(given))
            }
            PartitionChoice::Only(given) => Some(given),
        };
        let of_key = |key: &Vec<u8>| partition_for_key(key, count);
        let Some(number) = given.or_else(|| record.key.as_ref().map(of_key)) else {
            return &mut self.unkeyed;
        };
        match usize::try_from(number).ok().and_then(|partition| self.partitions.get_mut(partition)) {
            Some(partition) => &mut partition.waiting,
            None => &mut self.unplaced,
        }
    }

    /// Whether a request to partitions that back off leaves a connection for the healthy ones.
    fn may_retry(&self) -> bool {
        self.requests() < MAX_IN_FLIGHT - 1
    }

    fn none_healthy(&self) -> bool {
        self.partitions.iter().all(|partition| partition.backing_off.is_some())
    }

    /// The records for partitions that lately had no leader or gave no answer, together in one call, so that
    /// nothing else waits with it.
    fn take_backing_off(
        &mut self,
        now: Instant,
        open: &mut Vec<OpenDelivery>,
        finished: &mut Vec<Finished>,
    ) -> Vec<Batch> {
        let mut batches = Vec::new();
        if !self.may_retry() {
            return batches;
        }
        let mut remaining = CALL_BYTES;
        let mut released = Released::default();
        let none_healthy = self.none_healthy();
        for (index, partition) in self.partitions.iter_mut().enumerate() {
            let due = partition
                .backing_off
                .as_ref()
                .filter(|backing_off| backing_off.retry_at <= now && !partition.in_flight);
            let Some(backing_off) = due else { continue };
            let mut batch = Batch::new(index);
            let bytes = self.batch_bytes.min(remaining);
            batch.fill(&mut partition.waiting, bytes, open);
            if batch.records.is_empty() && (none_healthy || backing_off.probe_at <= now) {
                batch.max_records = if none_healthy { usize::MAX } else { 1 };
                batch.fill(&mut self.unkeyed, bytes, open);
            }
            let too_late = now + self.definite_after;
            give_up(too_late, &mut batch, &backing_off.why, open, &mut released, finished);
            if !batch.records.is_empty() {
                remaining = remaining.saturating_sub(batch.bytes);
                batches.push(batch);
            }
        }
        self.forget(&released);
        batches
    }

    /// The records for partitions with a leader; messages without a key go together to one of them, in turn,
    /// as one larger batch costs the cluster less than many small ones.
    fn take_healthy(&mut self, open: &mut Vec<OpenDelivery>) -> Vec<Batch> {
        let mut batches = Vec::new();
        let mut remaining = CALL_BYTES;
        let start = self.rotation.checked_rem(self.partitions.len()).unwrap_or(0);
        let (before, after) = self.partitions.split_at_mut(start);
        let turn = after.iter_mut().zip(start..).chain(before.iter_mut().zip(0..));
        for (partition, index) in turn {
            if partition.in_flight || partition.backing_off.is_some() {
                continue;
            }
            let mut batch = Batch::new(index);
            let bytes = self.batch_bytes.min(remaining);
            batch.fill(&mut partition.waiting, bytes, open);
            let keyed = batch.records.len();
            batch.fill(&mut self.unkeyed, bytes, open);
            if batch.records.len() > keyed {
                self.rotation = index + 1;
            }
            if !batch.records.is_empty() {
                remaining = remaining.saturating_sub(batch.bytes);
                batches.push(batch);
            }
        }
        batches
    }

    /// Puts the records of a batch back in front of their queues, in order; those whose deadline is not after
    /// `too_late` get this report.
    fn requeue(
        &mut self,
        too_late: Instant,
        batch: &mut Batch,
        open: Vec<OpenDelivery>,
        report: &DeliveryReport,
        finished: &mut Vec<Finished>,
    ) {
        for (record, open) in mem::take(&mut batch.records).into_iter().zip(open).rev() {
            match open {
                Some((deadline, done)) if deadline > too_late => {
                    self.limits.metrics().retry();
                    self.queue(&record).push_front(QueuedRecord { record, deadline, done });
                }
                expired => {
                    self.forget(&Released::of(&record));
                    finished.extend(expired.map(|(_, done)| (done, report.clone())));
                }
            }
        }
    }

    /// Hands out the fate of a batch's messages.
    fn conclude(
        &mut self,
        batch: &mut Batch,
        open: Vec<OpenDelivery>,
        outcome: &BatchOutcome,
        finished: &mut Vec<Finished>,
    ) {
        let base = if let BatchOutcome::Stored { base } = outcome { *base } else { 0 };
        for ((record, open), offset) in batch.records.iter_mut().zip(open).zip(base..) {
            self.forget(&Released::of(record));
            record.reported_unknown = open.is_none();
            finished
                .extend(open.map(|(_, done)| (done, outcome.delivery(&self.topic, batch.partition, offset))));
        }
    }

    /// Ends what is due at `now`, or everything.
    fn end_until(&mut self, now: Option<Instant>, finished: &mut Vec<Finished>) {
        let due = |deadline: Instant| now.is_none_or(|now| deadline <= now);
        let mut next = None;
        let mut released = Released::default();
        let why = self.why_waiting();
        let mut sieve = |line: &mut VecDeque<QueuedRecord>, why: &NotStoredReason| {
            for waiting in mem::take(line) {
                if due(waiting.deadline) {
                    released.add(&waiting.record);
                    finished.push((waiting.done, why.not_stored()));
                } else {
                    next = earlier(next, waiting.deadline);
                    line.push_back(waiting);
                }
            }
        };
        let unplaced =
            NotStoredReason::new(NotStoredKind::NoPartition, "its topic is not known to have that partition");
        sieve(&mut self.unplaced, if self.partitions.is_empty() { &why } else { &unplaced });
        sieve(&mut self.unkeyed, &why);
        for partition in &mut self.partitions {
            let backing_off = partition.backing_off.as_ref().filter(|_| self.unreachable.is_none());
            sieve(&mut partition.waiting, backing_off.map_or(&why, |backing_off| &backing_off.why));
        }
        let reason = if now.is_some() { "no answer came in time" } else { "the program is stopping" };
        for open in self.requests.iter_mut().flatten().flat_map(|request| &mut request.open) {
            match open.take() {
                Some((deadline, done)) if due(deadline) => finished.push((done, unknown(reason))),
                Some((deadline, done)) => {
                    next = earlier(next, deadline);
                    *open = Some((deadline, done));
                }
                None => {}
            }
        }
        self.forget(&released);
        self.next_deadline = next;
    }

    /// The reason why a record for any partition still waits.
    fn why_waiting(&self) -> NotStoredReason {
        let first_backing_off = self.partitions.iter().find_map(|partition| partition.backing_off.as_ref());
        let unreachable = self.unreachable.as_ref().map(|(why, _)| why).or(self.no_broker.as_ref());
        match (unreachable, first_backing_off) {
            (Some(why), _) => why.clone(),
            (None, Some(backing_off))
                if self.partitions.iter().all(|p| p.backing_off.is_some() || p.in_flight) =>
            {
                backing_off.why.clone()
            }
            _ if self.partitions.is_empty() => {
                NotStoredReason::new(NotStoredKind::NoBroker, "no broker has answered yet")
            }
            _ => behind_others(),
        }
    }
}

impl Drop for Accumulator {
    fn drop(&mut self) {
        self.limits.give_back(self.messages, self.bytes);
    }
}

fn behind_others() -> NotStoredReason {
    NotStoredReason::new(NotStoredKind::QueueTimeout, "it waited too long behind other messages")
}

fn earlier(known: Option<Instant>, other: Instant) -> Option<Instant> {
    Some(known.map_or(other, |known| known.min(other)))
}

#[cfg(test)]
mod tests;
