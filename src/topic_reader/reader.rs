//! Reads ranges of all partitions at once, in the order of time, with little of each in memory.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::place::{PartitionRange, Place};
use client::connection::Connection;
use client::error::Cause;
use client::fetch::{self, Fetched, Position};
use client::offsets::{self, EARLIEST};
use client::{Error, RequestContext, Result};
use protocol::TopicPartition;
use protocol::error_code::ErrorCode;
use protocol::records::{Batch, Batches, MAX_UNPACKED_BYTES, Record, RecordsError};

/// What is held of all partitions together, unpacked, and packed once more, beside one batch.
const HELD_BYTES: usize = 32 * 1024 * 1024;
/// The most that is held of one partition.
const MOST_HELD: usize = 4 * 1024 * 1024;
/// The least and the most bytes fetched of one partition; a batch comes whole, also when it is larger.
const LEAST_FETCHED: usize = 64 * 1024;
const MOST_FETCHED: usize = 1024 * 1024;
/// The longest wait of a broker in a fetch.
const WAIT: Duration = Duration::from_millis(500);
/// The longest wait for further records, an outage included.
const PATIENCE: Duration = Duration::from_secs(60);

/// A message that was found, and what is kept of it.
#[derive(Debug, PartialEq, Eq)]
pub struct Found<T> {
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Its time, in ms since 1970; negative: it has none.
    pub timestamp: i64,
    /// What is kept.
    pub item: T,
}

/// Connections to the brokers by their node ids, which one reader leaves to the next.
pub type Connections = HashMap<i32, Connection>;

/// Reads ranges of a topic. `keep` says what is kept of a record of a partition, and how many bytes that
/// takes; nothing: the record is passed over.
pub struct Reader<'a, T, K> {
    place: Place<'a>,
    keep: K,
    streams: Vec<Stream<T>>,
    /// The next message of each partition: its time, its partition, the stream.
    next: BinaryHeap<Reverse<(i64, i32, usize)>>,
    /// The streams whose next message is not looked up yet.
    unfilled: Vec<usize>,
    connections: Connections,
    /// The most that is held of a partition.
    share: usize,
}

/// The reading of one partition.
struct Stream<T> {
    range: PartitionRange,
    /// The next offset to fetch or unpack.
    position: i64,
    /// The batches that are still packed, and the bytes of all that came with them.
    fetched: Option<Batches>,
    fetched_bytes: usize,
    found: VecDeque<Found<T>>,
    held: usize,
    /// The time of the next message, which is too large to be held until its turn comes.
    large: Option<i64>,
}

impl<'a, T, K: FnMut(i32, &Record<'_>) -> Option<(T, usize)>> Reader<'a, T, K> {
    /// A reader of these ranges.
    pub fn new(place: Place<'a>, ranges: Vec<PartitionRange>, keep: K) -> Reader<'a, T, K> {
        Reader::over(Connections::new(), place, ranges, keep)
    }

    /// A reader of these ranges over connections that are open already.
    pub fn over(
        connections: Connections,
        place: Place<'a>,
        ranges: Vec<PartitionRange>,
        keep: K,
    ) -> Reader<'a, T, K> {
        let share = (HELD_BYTES / ranges.len().max(1)).min(MOST_HELD);
        let streams: Vec<Stream<T>> = ranges.into_iter().map(Stream::new).collect();
        let unfilled = (0..streams.len()).collect();
        let next = BinaryHeap::new();
        Reader { place, keep, streams, next, unfilled, connections, share }
    }

    /// Up to where the first range was looked at.
    pub fn position(&self) -> Option<i64> {
        let stream = self.streams.first()?;
        Some(stream.found.front().map_or(stream.position, |found| found.offset).min(stream.range.end))
    }

    /// The connections, for the next reader.
    pub fn into_connections(self) -> Connections {
        self.connections
    }

    /// The next message: the oldest of those that come next in their partitions. None at the end of all
    /// ranges; offsets without a message are passed over.
    ///
    /// # Errors
    /// A broker does not answer within a minute, its answer is damaged, or the deadline has passed.
    pub fn next(&mut self) -> Result<Option<Found<T>>> {
        // A message of a single partition is never held for later.
        let whole = self.streams.len() == 1;
        while let Some(index) = self.unfilled.pop() {
            self.fill(index, whole)?;
            let head = self.streams.get(index).and_then(Stream::head);
            self.next.extend(head.map(|(timestamp, partition)| Reverse((timestamp, partition, index))));
        }
        let Some(Reverse((_, _, index))) = self.next.pop() else { return Ok(None) };
        if self.streams.get(index).is_some_and(|stream| stream.large.is_some()) {
            self.fill(index, true)?;
        }
        self.unfilled.push(index);
        match self.streams.get_mut(index).and_then(Stream::pop) {
            Some(found) => Ok(Some(found)),
            // It was removed while it waited for its turn.
            None => self.next(),
        }
    }

    /// Sees that the partition's next message is there, if it has one; `whole`, however large it is.
    fn fill(&mut self, index: usize, whole: bool) -> Result<()> {
        let cluster = self.place.cluster;
        let mut deadline = self.place.within(PATIENCE);
        let mut backoff = client::backoff();
        let mut fetched_at = None;
        loop {
            let Some(stream) = self.streams.get_mut(index) else { return Ok(()) };
            if stream.has_next(whole) || stream.is_over() {
                return Ok(());
            }
            let limit = if whole { usize::MAX } else { self.share };
            let partition = stream.range.partition;
            let damaged = |error| damaged(&self.place, partition, &error);
            let place = self.place;
            let is_late = || place.is_late() || place.cluster.stopping();
            if stream.unpack((self.share, limit), &is_late, &mut self.keep).map_err(damaged)? {
                return Ok(());
            }
            if stream.is_over() {
                return Ok(());
            }
            let position = stream.position;
            // The last fetch had no whole batch with anything new. Fetches that have may be many: a key is
            // looked for in a long log.
            let is_stuck = fetched_at.replace(position) == Some(position);
            if !is_stuck {
                deadline = self.place.within(PATIENCE);
            }
            if self.place.is_late() {
                return Err(Error::Lost { request: self.request(partition), cause: Cause::NoTimeLeft });
            }
            let error = match self.fetch(index, deadline) {
                Ok(true) if !is_stuck => continue,
                Ok(_) => Error::refused(self.request(partition), ErrorCode::OFFSET_NOT_AVAILABLE),
                Err(error) => error,
            };
            if is_final(&error) || cluster.stopping() || Instant::now() >= deadline {
                return Err(error);
            }
            log::debug!("reading {}-{partition}: {error}", self.place.topic);
            self.connections.clear();
            cluster.pause(backoff.next_wait());
            if let Err(error) = cluster.refresh(&[self.place.topic], cluster.deadline(deadline)) {
                log::debug!("reading {}: {error}", self.place.topic);
            }
        }
    }

    /// Fetches what comes next in a partition; false if that is not there yet.
    fn fetch(&mut self, index: usize, deadline: Instant) -> Result<bool> {
        let Some(stream) = self.streams.get(index) else { return Ok(true) };
        let (partition, offset) = (stream.range.partition, stream.position);
        let fetched = self.ask(partition, offset, deadline)?;
        let Some(stream) = self.streams.get_mut(index) else { return Ok(true) };
        match fetched.error {
            ErrorCode::NONE => Ok(stream.take(&fetched)),
            // What was there is removed by now.
            ErrorCode::OFFSET_OUT_OF_RANGE => {
                let wanted = TopicPartition::new(self.place.topic, partition);
                let Place { cluster, client_id, .. } = self.place;
                let found = offsets::find(cluster, client_id, &[(wanted.clone(), EARLIEST)], deadline);
                let start = found.get(&wanted).copied();
                // A log that ends before is that of a topic that was made anew.
                let jump = |start: i64| if start > offset { start } else { stream.range.end };
                (stream.position, stream.large) = (start.map_or(offset, jump), None);
                Ok(start.is_some())
            }
            code => Err(Error::refused(self.request(partition), code)),
        }
    }

    fn ask(&mut self, partition: i32, offset: i64, deadline: Instant) -> Result<Fetched> {
        let Place { cluster, topic, client_id, .. } = self.place;
        let limit = cluster.deadline(deadline);
        let leader = cluster
            .leader(topic, partition)
            .ok_or_else(|| Error::refused(self.request(partition), ErrorCode::LEADER_NOT_AVAILABLE))?;
        let mut connection = match self.connections.remove(&leader) {
            Some(connection) => connection,
            None => cluster.connect(leader, client_id, limit)?,
        };
        let max_bytes = self.share.clamp(LEAST_FETCHED, MOST_FETCHED);
        let max_bytes = i32::try_from(max_bytes).unwrap_or(i32::MAX);
        let positions = [Position::new(&TopicPartition::new(topic, partition), offset, max_bytes)];
        fetch::ask(&mut connection, &positions, WAIT)?;
        let answer = fetch::answer(&mut connection, &positions, limit, &mut || !cluster.stopping())?;
        self.connections.insert(leader, connection);
        let fetched = answer.into_iter().find(|fetched| fetched.partition == partition);
        fetched.ok_or_else(|| Error::refused(self.request(partition), ErrorCode::UNKNOWN_SERVER_ERROR))
    }

    fn request(&self, partition: i32) -> RequestContext {
        RequestContext::fetch(&TopicPartition::new(self.place.topic, partition))
    }
}

/// Whether asking again will not help. What is damaged stays so, although Kafka has clients ask again for it.
pub fn is_final(error: &Error) -> bool {
    error.is_lasting() || error.code() == Some(ErrorCode::CORRUPT_MESSAGE)
}

/// The error of a batch that cannot be read.
pub fn damaged(place: &Place<'_>, partition: i32, error: &RecordsError) -> Error {
    log::error!("partition {partition} of {} cannot be read on: {error}", place.topic);
    let request = RequestContext::fetch(&TopicPartition::new(place.topic, partition));
    Error::refused(request, ErrorCode::CORRUPT_MESSAGE)
}

impl<T> Stream<T> {
    fn new(range: PartitionRange) -> Stream<T> {
        let position = range.start;
        Stream {
            range,
            position,
            fetched: None,
            fetched_bytes: 0,
            found: VecDeque::new(),
            held: 0,
            large: None,
        }
    }

    /// The time of the next message, and its partition.
    fn head(&self) -> Option<(i64, i32)> {
        let timestamp = self.found.front().map(|found| found.timestamp).or(self.large)?;
        Some((timestamp, self.range.partition))
    }

    fn has_next(&self, whole: bool) -> bool {
        !self.found.is_empty() || (self.large.is_some() && !whole)
    }

    fn is_over(&self) -> bool {
        self.position >= self.range.end
    }

    fn pop(&mut self) -> Option<Found<T>> {
        let found = self.found.pop_front();
        if self.found.is_empty() {
            self.held = 0;
        }
        found
    }

    /// Takes what was fetched; false if that is nothing, and more is to come before the end.
    fn take(&mut self, fetched: &Fetched) -> bool {
        self.large = None;
        if fetched.records.is_empty() {
            // There is no message between here and the end of the log.
            let is_gap = fetched.high_watermark >= self.range.end;
            if is_gap {
                self.position = self.range.end;
            }
            return is_gap;
        }
        (self.fetched, self.fetched_bytes) = (Some(Batches::new(&fetched.records)), fetched.records.len());
        true
    }

    /// Unpacks batches until a message is there; false when all are unpacked, or it is too late for the next.
    /// Holds `share` bytes, and a first message of `limit` at most.
    fn unpack(
        &mut self,
        (share, limit): (usize, usize),
        is_late: &dyn Fn() -> bool,
        keep: &mut impl FnMut(i32, &Record<'_>) -> Option<(T, usize)>,
    ) -> Result<bool, RecordsError> {
        let Some(mut batches) = self.fetched.take() else { return Ok(false) };
        while !self.is_over()
            && let Some(batch) = batches.next()
        {
            // What is small when it is fetched may be much when it is unpacked.
            if is_late() {
                break;
            }
            let batch = batch?;
            let last = batch.header.last_offset();
            if last < self.position {
                continue;
            }
            let is_whole = batch.header.is_control() || self.take_records(&batch, share, limit, keep)?;
            if is_whole {
                self.position = last.saturating_add(1);
            }
            if self.has_next(false) {
                // What is left of a batch, or would keep more than the share in memory, is fetched again.
                let is_kept = is_whole && self.fetched_bytes <= share && !batches.is_empty();
                self.fetched = Some(batches).filter(|_| is_kept);
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether all records of the batch were taken, or passed over; the position is that of the next one
    /// otherwise.
    fn take_records(
        &mut self,
        batch: &Batch,
        share: usize,
        limit: usize,
        keep: &mut impl FnMut(i32, &Record<'_>) -> Option<(T, usize)>,
    ) -> Result<bool, RecordsError> {
        let partition = self.range.partition;
        for record in &batch.unpack(MAX_UNPACKED_BYTES)? {
            let record = record?;
            let Record { offset, timestamp, .. } = record;
            if offset < self.position || offset >= self.range.end {
                continue;
            }
            let Some((item, bytes)) = keep(partition, &record) else { continue };
            let is_first = self.found.is_empty();
            if is_first && bytes > limit {
                (self.large, self.position) = (Some(timestamp), offset);
                return Ok(false);
            }
            if !is_first && self.held.saturating_add(bytes) > share {
                self.position = offset;
                return Ok(false);
            }
            self.held = self.held.saturating_add(bytes);
            self.found.push_back(Found { partition, offset, timestamp, item });
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use bytes_of::batch;

    use super::*;

    mod bytes_of {
        use protocol::compression::Compression;
        use protocol::records::{Content, encode_batch};

        /// A batch of records with these values, a record each offset and each second.
        pub fn batch(base: i64, values: &[&str]) -> Vec<u8> {
            let records = values.iter().zip(base..).map(|(value, offset)| Content {
                timestamp: Some(offset * 1_000),
                value: Some(value.as_bytes()),
                ..Content::default()
            });
            let mut bytes = encode_batch(records, 0, -1, -1, -1, Compression::None).unwrap();
            // The checksum does not cover the base offset, which brokers set.
            bytes[..8].copy_from_slice(&base.to_be_bytes());
            bytes
        }
    }

    fn stream(start: i64, end: i64) -> Stream<String> {
        Stream::new(PartitionRange { partition: 3, start, end })
    }

    fn fetched(records: Vec<u8>, high_watermark: i64) -> Fetched {
        let (topic, error) = ("pedidos".to_owned(), ErrorCode::NONE);
        Fetched {
            topic,
            partition: 3,
            by_id: false,
            error,
            high_watermark,
            log_start: 0,
            records: records.into(),
        }
    }

    /// Everything that is unpacked, with the offsets; a value takes its bytes.
    fn unpacked(stream: &mut Stream<String>, share: usize, limit: usize) -> Vec<(i64, String)> {
        let mut keep = |_: i32, record: &Record<'_>| {
            let value = String::from_utf8(record.value?.to_vec()).unwrap();
            let bytes = value.len();
            (value != "no").then_some((value, bytes))
        };
        let mut all = Vec::new();
        while stream.unpack((share, limit), &|| false, &mut keep).unwrap() && stream.large.is_none() {
            all.extend(std::iter::from_fn(|| stream.pop()).map(|found| (found.offset, found.item)));
        }
        all
    }

    fn values(found: &[(i64, String)]) -> Vec<(i64, &str)> {
        found.iter().map(|(offset, value)| (*offset, value.as_str())).collect()
    }

    #[test]
    fn what_is_outside_of_the_range_or_not_wanted_is_passed_over() {
        let mut stream = stream(11, 22);
        let batches = [batch(10, &["a", "b", "no"]), batch(20, &["c", "d", "e"])].concat();
        assert!(stream.take(&fetched(batches, 23)));
        let found = unpacked(&mut stream, MOST_HELD, MOST_HELD);
        assert_eq!(values(&found), [(11, "b"), (20, "c"), (21, "d")]);
        assert!(stream.is_over() && stream.position == 23);
    }

    #[test]
    fn what_does_not_fit_into_the_share_is_read_again() {
        let mut stream = stream(0, 3);
        assert!(stream.take(&fetched(batch(0, &["aaaa", "bbbb", "cccc"]), 3)));
        assert_eq!(values(&unpacked(&mut stream, 9, 9)), [(0, "aaaa"), (1, "bbbb")]);
        assert_eq!((stream.position, stream.is_over()), (2, false));
        assert!(stream.take(&fetched(batch(0, &["aaaa", "bbbb", "cccc"]), 3)));
        assert_eq!(values(&unpacked(&mut stream, 9, 9)), [(2, "cccc")]);
        assert!(stream.is_over());
    }

    #[test]
    fn a_message_larger_than_the_share_waits_for_its_turn_as_its_time_alone() {
        let mut stream = stream(5, 7);
        assert!(stream.take(&fetched(batch(5, &["a long value", "b"]), 7)));
        assert_eq!(unpacked(&mut stream, 9, 9), []);
        assert_eq!((stream.head(), stream.position, stream.held), (Some((5_000, 3)), 5, 0));
        assert!(!stream.has_next(true) && stream.has_next(false));
        assert!(stream.take(&fetched(batch(5, &["a long value", "b"]), 7)));
        assert_eq!(values(&unpacked(&mut stream, 9, usize::MAX)), [(5, "a long value")]);
        assert_eq!((stream.position, stream.large), (6, None));
    }

    #[test]
    fn a_gap_up_to_the_end_is_no_error_and_what_is_not_there_yet_is_waited_for() {
        let mut stream = stream(5, 7);
        assert!(!stream.take(&fetched(Vec::new(), 6)));
        assert!(!stream.is_over());
        assert!(stream.take(&fetched(Vec::new(), 7)));
        assert!(stream.is_over() && stream.head().is_none());
    }

    #[test]
    fn a_batch_without_messages_is_stepped_over() {
        let mut stream = stream(0, 4);
        let batches = [batch(0, &["no", "no"]), batch(2, &["a", "no"])].concat();
        assert!(stream.take(&fetched(batches, 4)));
        assert_eq!(values(&unpacked(&mut stream, 9, 9)), [(2, "a")]);
        assert!(stream.is_over());
    }

    #[test]
    fn a_damaged_batch_is_an_error() {
        let mut stream = stream(0, 1);
        let mut bytes = batch(0, &["a"]);
        *bytes.last_mut().unwrap() ^= 1;
        assert!(stream.take(&fetched(bytes, 1)));
        assert!(stream.unpack((9, 9), &|| false, &mut |_, _| Some((String::new(), 0))).is_err());
    }

    #[test]
    fn what_is_damaged_or_refused_for_good_is_not_asked_for_again() {
        let of = |code| Error::refused(RequestContext::fetch(&TopicPartition::new("pedidos", 0)), code);
        assert!(is_final(&of(ErrorCode::CORRUPT_MESSAGE)));
        assert!(is_final(&of(ErrorCode::TOPIC_AUTHORIZATION_FAILED)));
        assert!(!is_final(&of(ErrorCode::LEADER_NOT_AVAILABLE)));
    }
}
