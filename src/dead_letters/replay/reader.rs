//! Reads dead letters of all partitions at once, the oldest first, with little of each partition in memory.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::gaps::Gap;
use super::progress::ReplayProgress;
use crate::dead_letters::dead_letter::{DeadLetter, DeadLetterId};
use client::connection::Connection;
use client::fetch::{self, Fetched, Position};
use client::offsets::{self, EARLIEST};
use client::{Cluster, Error, RequestContext, Result};
use protocol::TopicPartition;
use protocol::error_code::ErrorCode;
use protocol::records::{Batch, Batches, MAX_UNPACKED_BYTES, RecordsError};

/// Bytes fetched of all partitions together.
const FETCHED_BYTES: i32 = 32 * 1024 * 1024;
/// The least and the most bytes fetched of one partition.
const LEAST_BYTES: i32 = 64 * 1024;
const MOST_BYTES: i32 = 1024 * 1024;
/// The longest wait of a broker in a fetch.
const WAIT: Duration = Duration::from_millis(500);
/// The longest search for the next letter, an outage included.
const PATIENCE: Duration = Duration::from_secs(60);

/// The offsets of a partition that are read.
#[derive(Debug, Clone)]
pub struct PartitionRange {
    /// The partition.
    pub partition: i32,
    /// The offset of the first record that is still there.
    pub start: i64,
    /// The offset at which reading ends.
    pub end: i64,
    /// The settled offsets, which are left out.
    pub progress: ReplayProgress,
}

impl PartitionRange {
    /// The number of offsets in it that are not settled.
    pub fn open(&self) -> u64 {
        self.progress.open_within(self.start, self.end)
    }
}

/// Reads the letters of a topic.
pub struct DeadLetterReader {
    cluster: Arc<Cluster>,
    topic: String,
    client_id: String,
    streams: Vec<Stream>,
    connections: HashMap<i32, Connection>,
    max_bytes: i32,
    deadline: Option<Instant>,
}

/// The reading of one partition.
struct Stream {
    part: PartitionRange,
    /// Only these offsets; `None`: all.
    wanted: Option<BTreeSet<i64>>,
    /// The next offset to fetch.
    position: i64,
    /// From here on to the next record there is nothing.
    after: i64,
    /// The gaps that were passed, if they are wanted.
    gaps: Option<Vec<Gap>>,
    fetched: Option<Batches>,
    letters: VecDeque<DeadLetter>,
}

impl DeadLetterReader {
    /// A reader of `parts`; with `ids`, of those letters alone. Each letter has to come within a minute, and
    /// all before `deadline`.
    pub fn new(
        cluster: Arc<Cluster>,
        topic: &str,
        client_id: &str,
        parts: impl IntoIterator<Item = PartitionRange>,
        ids: &BTreeSet<DeadLetterId>,
        deadline: Option<Instant>,
    ) -> DeadLetterReader {
        let stream = |part: PartitionRange| {
            let of_part = |id: &&DeadLetterId| id.partition == part.partition;
            let wanted = (!ids.is_empty()).then(|| ids.iter().filter(of_part).map(|id| id.offset).collect());
            let start = part.start;
            let (fetched, letters) = (None, VecDeque::new());
            Stream { part, wanted, position: start, after: start, gaps: None, fetched, letters }
        };
        let streams: Vec<Stream> = parts.into_iter().map(stream).collect();
        let share = FETCHED_BYTES / i32::try_from(streams.len()).unwrap_or(i32::MAX).max(1);
        let max_bytes = share.clamp(LEAST_BYTES, MOST_BYTES);
        let (topic, client_id) = (topic.to_owned(), client_id.to_owned());
        DeadLetterReader {
            cluster,
            topic,
            client_id,
            streams,
            connections: HashMap::new(),
            max_bytes,
            deadline,
        }
    }

    /// The same reader, which remembers gaps until they are taken.
    #[must_use]
    pub fn with_gaps(mut self) -> DeadLetterReader {
        self.streams.iter_mut().for_each(|stream| stream.gaps = Some(Vec::new()));
        self
    }

    /// The gaps that were passed since the last call, in order of the offsets of each partition.
    pub fn take_gaps(&mut self) -> impl Iterator<Item = (i32, Vec<Gap>)> {
        self.streams.iter_mut().filter_map(|stream| {
            let gaps = stream.gaps.as_mut().map(std::mem::take)?;
            (!gaps.is_empty()).then_some((stream.part.partition, gaps))
        })
    }

    /// The next letter: the oldest of those that come next in their partitions.
    ///
    /// # Errors
    /// A broker does not answer in time, or its answer is damaged.
    pub fn next_letter(&mut self) -> Result<Option<DeadLetter>> {
        let deadline = Instant::now() + PATIENCE;
        let deadline = self.deadline.map_or(deadline, |end| end.min(deadline));
        for index in 0..self.streams.len() {
            self.fill(index, deadline)?;
        }
        let age = |stream: &&mut Stream| {
            stream.letters.front().map(|letter| (letter.timestamp.unwrap_or(0), letter.id))
        };
        let oldest = self.streams.iter_mut().filter(|stream| !stream.letters.is_empty()).min_by_key(age);
        Ok(oldest.and_then(|stream| stream.letters.pop_front()))
    }

    /// Sees that the partition's next letter is there, if it has one.
    fn fill(&mut self, index: usize, deadline: Instant) -> Result<()> {
        let mut backoff = client::backoff();
        loop {
            let Some(stream) = self.streams.get_mut(index) else { return Ok(()) };
            if !stream.letters.is_empty() || stream.unpack(&self.topic)? || stream.is_over() {
                return Ok(());
            }
            let (partition, position) = (stream.part.partition, stream.position);
            let error = match self.fetch(partition, position, deadline) {
                Ok(fetched) => match self.take(index, &fetched, deadline) {
                    Ok(true) => continue,
                    Ok(false) => Error::refused(self.request(partition), ErrorCode::OFFSET_NOT_AVAILABLE),
                    Err(error) => error,
                },
                Err(error) => error,
            };
            if error.is_lasting() || self.cluster.stopping() || Instant::now() >= deadline {
                return Err(error);
            }
            log::debug!("reading {}-{partition}: {error}", self.topic);
            self.connections.clear();
            self.cluster.pause(backoff.next_wait());
            if let Err(error) = self.cluster.refresh(&[&self.topic], self.cluster.deadline(deadline)) {
                log::debug!("reading {}: {error}", self.topic);
            }
        }
    }

    fn fetch(&mut self, partition: i32, offset: i64, deadline: Instant) -> Result<Fetched> {
        let limit = self.cluster.deadline(deadline);
        let leader = self.cluster.leader(&self.topic, partition);
        let leader =
            leader.ok_or_else(|| Error::refused(self.request(partition), ErrorCode::LEADER_NOT_AVAILABLE))?;
        let mut connection = match self.connections.remove(&leader) {
            Some(connection) => connection,
            None => self.cluster.connect(leader, &self.client_id, limit)?,
        };
        let place = TopicPartition::new(self.topic.as_str(), partition);
        let positions = [Position::new(&place, offset, self.max_bytes)];
        fetch::ask(&mut connection, &positions, WAIT)?;
        let answer = fetch::answer(&mut connection, &positions, limit, &mut || !self.cluster.stopping())?;
        self.connections.insert(leader, connection);
        let fetched = answer.into_iter().find(|fetched| fetched.partition == partition);
        fetched.ok_or_else(|| Error::refused(self.request(partition), ErrorCode::UNKNOWN_SERVER_ERROR))
    }

    fn request(&self, partition: i32) -> RequestContext {
        RequestContext::fetch(&TopicPartition::new(self.topic.as_str(), partition))
    }

    /// Takes the fetched records; false if there are none beyond the position.
    fn take(&mut self, index: usize, fetched: &Fetched, deadline: Instant) -> Result<bool> {
        let Some(stream) = self.streams.get_mut(index) else { return Ok(false) };
        match fetched.error {
            ErrorCode::NONE => {
                let before = stream.position;
                stream.fetched = Some(Batches::new(&fetched.records));
                stream.unpack(&self.topic)?;
                Ok(stream.position > before)
            }
            // The fetched records are too old by now.
            ErrorCode::OFFSET_OUT_OF_RANGE => {
                let place = TopicPartition::new(self.topic.as_str(), stream.part.partition);
                let wanted = [(place.clone(), EARLIEST)];
                let found = offsets::find(&self.cluster, &self.client_id, &wanted, deadline);
                let start = found.get(&place).copied().filter(|start| *start > stream.position);
                stream.jump(start.unwrap_or(stream.position));
                Ok(start.is_some())
            }
            code => {
                let partition = stream.part.partition;
                Err(Error::refused(self.request(partition), code))
            }
        }
    }
}

impl Stream {
    /// Goes on at `position`, before which nothing more is read.
    fn jump(&mut self, position: i64) {
        self.pass(self.position);
        if position > self.position {
            (self.position, self.after) = (position, position);
        }
    }

    /// Up to `position` there is no further record.
    fn pass(&mut self, position: i64) {
        let end = position.min(self.part.end);
        if end > self.after {
            if let Some(gaps) = &mut self.gaps {
                gaps.push((self.after, end));
            }
            self.after = end;
        }
    }

    /// Whether nothing more is to be fetched; steps over settled and unwanted offsets.
    fn is_over(&mut self) -> bool {
        let open = self.part.progress.open_from(self.position);
        let next = match &self.wanted {
            Some(wanted) => {
                wanted.range(open..).find(|offset| !self.part.progress.contains(**offset)).copied()
            }
            None => Some(open),
        };
        self.jump(next.unwrap_or(self.part.end));
        self.position >= self.part.end
    }

    /// Unpacks batches until a letter is there; false when all are unpacked.
    fn unpack(&mut self, topic: &str) -> Result<bool> {
        let partition = self.part.partition;
        let damaged = |error: RecordsError| {
            log::error!("a dead letter of partition {partition} cannot be read: {error}");
            let request = RequestContext::fetch(&TopicPartition::new(topic, partition));
            Error::refused(request, ErrorCode::CORRUPT_MESSAGE)
        };
        let Some(mut batches) = self.fetched.take() else { return Ok(false) };
        while let Some(batch) = batches.next() {
            let batch = batch.map_err(damaged)?;
            let last = batch.header.last_offset();
            if last < self.position {
                continue;
            }
            if !batch.header.is_control() {
                self.take_letters(&batch).map_err(damaged)?;
            }
            self.position = last.saturating_add(1);
            if !self.letters.is_empty() {
                self.fetched = Some(batches);
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn take_letters(&mut self, batch: &Batch) -> Result<(), RecordsError> {
        for record in &batch.unpack(MAX_UNPACKED_BYTES)? {
            let record = record?;
            let offset = record.offset;
            if offset < self.position || offset >= self.part.end {
                continue;
            }
            let wanted = self.wanted.as_ref().is_none_or(|wanted| wanted.contains(&offset));
            if wanted && !self.part.progress.contains(offset) {
                self.letters.push_back(DeadLetter::new(self.part.partition, &record, self.after));
            }
            self.pass(offset);
            self.after = offset.saturating_add(1);
        }
        Ok(())
    }
}
