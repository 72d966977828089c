//! Members that a part of this process reads with: it gets the records of its partitions as they come, and
//! commits them with notes. The work queue is such a reader.
//!
//! Nothing is told by callbacks: a reader [looks](Member::look) at what it owns when something may have
//! changed, and brings itself in line with it. An ownership has a number, its *span*, that no other has; what
//! belongs to another span is void.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::batches::each_record;
use super::state::{EndReason, Phase, State};
use super::{ClientKind, GroupSettings, Member, MemberSpec, NO_CONNECTION, Records, TopicSelection};
use crate::Cluster;
use crate::assignor::Assignor;
use crate::coordinator::Commit;
use crate::error::Error;
use crate::fetch::{Fetched, Position};
use net::sync::wait_timeout;
use protocol::TopicPartition;
use protocol::envelope;
use protocol::error_code::ErrorCode;
use protocol::records::{Content, Record, RecordsError};
use protocol::wire::Writer;

/// Where a reader takes the records that were fetched. Called by the threads that fetch.
pub trait RecordSink: Send + Sync + fmt::Debug {
    /// How many bytes of this partition may be fetched now; 0 for none, also if the span is not known. Called
    /// with the member's state locked: it calls nothing of the member.
    fn room(&self, partition: &TopicPartition, span: u64) -> usize;

    /// Takes records of a partition, of one fetch and in order; below `next` there are no others from the
    /// fetch before on. Gives the offset to go on from: `next`, or one behind it where what lies between is
    /// done.
    fn take(&self, partition: &TopicPartition, span: u64, records: Vec<OwnedRecord>, next: i64) -> i64;

    /// The log no longer has what lies below `offset`; gives how many offsets there were not done. As
    /// [`RecordSink::room`].
    fn skip_to(&self, partition: &TopicPartition, span: u64, offset: i64) -> i64;
}

/// A record with its own bytes.
#[derive(Debug)]
pub struct OwnedRecord {
    /// Its offset.
    pub offset: i64,
    envelope: Box<[u8]>,
}

impl OwnedRecord {
    /// A copy of a record.
    pub fn of(record: &Record<'_>) -> OwnedRecord {
        let content = record.content();
        let mut bytes = Writer::with_capacity(envelope::len(&content));
        envelope::write(&content, &mut bytes);
        OwnedRecord { offset: record.offset, envelope: bytes.into_vec().into_boxed_slice() }
    }

    /// Its key, value, headers and timestamp.
    pub fn content(&self) -> Content<'_> {
        // These are bytes that `of` has written.
        envelope::read(&self.envelope).unwrap_or_default()
    }

    /// The bytes that it takes where several share it (`Arc`): two pieces of memory, of which an allocator
    /// rounds up the size and keeps account.
    pub fn bytes(&self) -> usize {
        const COUNTS: usize = 2 * size_of::<usize>();
        const ALLOCATED: usize = 16;
        size_of::<OwnedRecord>() + COUNTS + self.envelope.len() + 2 * ALLOCATED
    }
}

/// An ownership of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// The partition.
    pub partition: TopicPartition,
    /// The number of the ownership.
    pub number: u64,
    /// The committed offset where it began.
    pub start: i64,
    /// The note that was committed with it.
    pub metadata: String,
    /// The next generation has another owner: it is to be [handed over](Member::handed_over).
    pub is_revoked: bool,
}

/// What a reader sees of its membership.
#[derive(Debug, Clone)]
pub struct View {
    /// Where the membership stands.
    pub phase: ReaderPhase,
    /// The coordinator has not been heard of for the session timeout: others may own the partitions by now.
    pub is_in_doubt: bool,
    /// Others may own the partitions from then on, unless a heartbeat comes through before: a process that was
    /// frozen sees that before it hears it. Unset while the member is between two generations.
    pub sure_until: Option<Instant>,
    /// The id that the coordinator has given; empty before.
    pub member_id: String,
    /// The generation, which [`Member::handed_over`] wants to know.
    pub generation: i32,
    /// What is owned, where it is decided where that starts.
    pub spans: Vec<Span>,
    /// Something is revoked, and not yet handed over.
    pub has_revoked: bool,
    /// Why joining fails, unless that is in the course of every rebalance.
    pub join_error: Option<Error>,
    /// Changes with the partitions.
    pub epoch: u64,
}

/// Where a reader's membership stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReaderPhase {
    /// Not in a generation.
    Joining,
    /// In a generation that stands, or between two in which partitions are kept.
    Stable,
    /// A rebalance has begun: it goes on when the reader has [handed over](Member::handed_over) all.
    Rebalancing,
    /// Out of the group for good.
    Ended(Option<EndReason>),
}

impl Member {
    /// A member that hands the records of `topics` to `sink`. It stays until [`Member::abandon`]; its threads
    /// are started by [`Member::run`].
    pub fn reader(
        name: &str,
        group: &str,
        topics: TopicSelection,
        settings: GroupSettings,
        cluster: Arc<Cluster>,
        sink: Arc<dyn RecordSink>,
    ) -> Arc<Member> {
        let spec = MemberSpec {
            name: name.to_owned(),
            group: group.to_owned(),
            topics,
            kind: ClientKind::Reader,
            assignor: Assignor::Range,
            records: Records::Handed(sink),
            pipelined: false,
        };
        Member::new(spec, settings, cluster, NO_CONNECTION)
    }

    /// What the reader owns now.
    pub fn look(&self) -> View {
        View::of(&self.state(), self.settings.session_timeout)
    }

    /// Waits for `time`, or until something may have changed; then as [`Member::look`].
    pub fn look_after(&self, time: Duration) -> View {
        let state = self.state();
        if state.has_ended() {
            return View::of(&state, self.settings.session_timeout);
        }
        View::of(&wait_timeout(&self.changed, state, time), self.settings.session_timeout)
    }

    /// Wakes whoever waits in [`Member::look_after`].
    pub fn wake(&self) {
        self.changed.notify_all();
    }

    /// In this generation: nothing of what has to be handed over is in hand, or is waited for, any more. That
    /// is all in a rebalance, and else what is revoked.
    pub fn handed_over(&self, generation: i32) {
        let mut state = self.state();
        if state.membership.generation != generation {
            return;
        }
        if state.phase == Phase::Draining {
            state.processed();
        } else if state.phase == Phase::Stable && state.has_revoked() {
            state.owned.retain(|_, owned| !owned.is_revoked);
            state.epoch += 1;
            state.fetch_epoch += 1;
            // The others get it in the next generation.
            state.phase = Phase::Joining;
        }
        self.changed.notify_all();
    }

    /// The reader can handle nothing: the member leaves, so that others do.
    pub fn expire(&self) {
        self.state().end.get_or_insert(EndReason::MaxProcessingExceeded);
        self.changed.notify_all();
    }

    /// Commits offsets with their notes, each with the span that it belongs to. An offset that is committed
    /// already may be committed again with another note. Tries again until `deadline` as
    /// [`Member::commit_as_member`]; gives the code of each, in their order.
    pub fn commit_spans(&self, commits: &[(u64, Commit)], deadline: Instant) -> Vec<ErrorCode> {
        let (spans, commits): (Vec<u64>, Vec<Commit>) = commits.iter().cloned().unzip();
        let admits = |state: &State, commit: &Commit| {
            let key = commit.topic_partition();
            let span = commits.iter().zip(&spans).find(|(other, _)| other.topic_partition() == key);
            let owned = state.owned.get(&key).zip(span);
            owned.is_some_and(|(owned, (_, span))| owned.span == *span && owned.admits(commit.offset))
        };
        self.commit_where(&commits, deadline, &admits)
    }
}

impl View {
    fn of(state: &State, session: Duration) -> View {
        let spans = state.owned.iter().filter_map(|(key, owned)| {
            Some(Span {
                partition: key.clone(),
                number: owned.span,
                start: owned.floor?,
                metadata: owned.metadata.clone(),
                is_revoked: owned.is_revoked,
            })
        });
        View {
            phase: match state.phase {
                Phase::Joining if !state.is_cooperative => ReaderPhase::Joining,
                Phase::Joining | Phase::Stable => ReaderPhase::Stable,
                Phase::Draining => ReaderPhase::Rebalancing,
                Phase::Ended => ReaderPhase::Ended(state.end),
            },
            is_in_doubt: state.heartbeat_expired,
            sure_until: state.confirmed.filter(|_| state.phase == Phase::Stable).map(|sent| sent + session),
            member_id: state.membership.member_id.clone(),
            generation: state.membership.generation,
            spans: spans.collect(),
            has_revoked: state.has_revoked(),
            join_error: state.told_join_error().cloned(),
            epoch: state.epoch,
        }
    }
}

/// What a log that was asked for one record has of it.
#[derive(Debug)]
pub enum Found {
    /// The record.
    Record(OwnedRecord),
    /// The log has none at this offset, and goes on behind it.
    Gone,
    /// That cannot be said: a leader that does not yet know what all in-sync replicas have answers with nothing.
    Unknown,
}

/// The record at `offset` in `batches`, which were fetched from there on.
///
/// # Errors
/// The batch is damaged, or too large.
pub fn read_one(batches: &Bytes, offset: i64) -> Result<Found, RecordsError> {
    let mut found = None;
    let take = |record: &Record<'_>| {
        if record.offset == offset {
            found = Some(OwnedRecord::of(record));
        }
        0
    };
    let next = each_record(batches, offset, take)?;
    Ok(match found {
        Some(record) if next > offset => Found::Record(record),
        _ if next > offset => Found::Gone,
        _ => Found::Unknown,
    })
}

/// Hands what was fetched to the reader, if it was fetched for the position that is still the partition's.
pub(super) fn hand_over(
    member: &Member,
    sink: &dyn RecordSink,
    position: &Position,
    version: u64,
    fetched: &Fetched,
) -> Result<(), RecordsError> {
    let (mut records, mut bytes) = (Vec::new(), 0);
    let next = each_record(&fetched.records, position.offset, |record: &Record<'_>| {
        let record = OwnedRecord::of(record);
        bytes += record.bytes();
        records.push(record);
        bytes
    })?;
    records.retain(|record| record.offset < next);
    let key = position.topic_partition();
    // What may be committed grows first: the reader may be done with a record as soon as it has it.
    let span = {
        let mut state = member.state();
        let Some(owned) = state.owned.get_mut(&key) else { return Ok(()) };
        owned.answered(fetched.high_watermark);
        if !owned.hand_over_to(version, position.offset, next) {
            return Ok(());
        }
        owned.span
    };
    let next = if next > position.offset { sink.take(&key, span, records, next).max(next) } else { next };
    // Only now may another thread fetch what follows, so that records come in order.
    if let Some(owned) = member.state().owned.get_mut(&key) {
        owned.handed_over(version, next);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::compression::Compression;
    use protocol::records::encode_batch;

    fn batch() -> Vec<u8> {
        let pairs = [(None, Some(&b"0"[..])), (None, Some(&b"1"[..]))];
        encode_batch(pairs, 0, -1, -1, -1, Compression::None).unwrap()
    }

    #[test]
    fn a_record_is_gone_only_where_the_log_goes_on_behind_it() {
        let whole = Bytes::from(batch());
        let Ok(Found::Record(record)) = read_one(&whole, 1) else { panic!("it is there") };
        assert_eq!((record.offset, record.content().value), (1, Some(&b"1"[..])));
        let mut later = batch();
        later[..8].copy_from_slice(&7_i64.to_be_bytes());
        assert!(matches!(read_one(&Bytes::from(later), 5), Ok(Found::Gone)));
        assert!(matches!(read_one(&Bytes::new(), 5), Ok(Found::Unknown)), "a leader that lags behind");
        let cut = whole.slice(..whole.len() - 1);
        assert!(matches!(read_one(&cut, 1), Ok(Found::Unknown)));
    }

    #[test]
    fn a_damaged_batch_says_nothing_of_its_records() {
        let mut damaged = batch();
        *damaged.last_mut().unwrap() ^= 1;
        assert!(read_one(&Bytes::from(damaged), 1).is_err());
    }
}
