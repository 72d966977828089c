//! Reads dead letters of all partitions at once, the oldest first, with little of each partition in memory.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::letter::{Letter, Name};
use super::settled::Settled;
use crate::cluster::connection::Connection;
use crate::cluster::fetching::{self, Fetched, Position};
use crate::cluster::offsets::{self, EARLIEST};
use crate::cluster::{Backoff, Cluster, Error, Result};
use crate::protocol::error_code::ErrorCode;
use crate::protocol::records::{Batch, Batches, MAX_UNPACKED_BYTES, RecordsError};

/// Bytes fetched of all partitions together; one gets no less than the second.
const FETCHED_BYTES: i32 = 32 * 1024 * 1024;
const LEAST_BYTES: i32 = 64 * 1024;
/// ... and no more than this.
const MOST_BYTES: i32 = 1024 * 1024;
/// How long the broker may wait for records that are there.
const WAIT: Duration = Duration::from_millis(500);
/// How long finding the next letter may take, an outage included.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is read of a partition.
#[derive(Debug, Clone)]
pub struct Part {
    /// The partition.
    pub partition: i32,
    /// The offset of the first record that is still there.
    pub start: i64,
    /// The offset at which reading ends.
    pub end: i64,
    /// What is not read.
    pub settled: Settled,
}

/// Reads the letters of a topic.
pub struct Reader {
    cluster: Arc<Cluster>,
    topic: String,
    client_id: String,
    streams: Vec<Stream>,
    connections: HashMap<i32, Connection>,
    max_bytes: i32,
    deadline: Option<Instant>,
}

/// One partition on its way.
struct Stream {
    part: Part,
    /// Only these offsets; `None`: all.
    wanted: Option<BTreeSet<i64>>,
    /// The next offset to fetch.
    position: i64,
    /// From here on to the next record there is nothing.
    after: i64,
    fetched: Option<Batches>,
    letters: VecDeque<Letter>,
}

impl Reader {
    /// A reader of `parts`; with `names`, of those alone. Each letter has to come within a minute, and all
    /// before `deadline`.
    pub fn new(
        cluster: Arc<Cluster>,
        topic: &str,
        client_id: &str,
        parts: impl IntoIterator<Item = Part>,
        names: &BTreeSet<Name>,
        deadline: Option<Instant>,
    ) -> Reader {
        let stream = |part: Part| {
            let of_part = |name: &&Name| name.partition == part.partition;
            let wanted =
                (!names.is_empty()).then(|| names.iter().filter(of_part).map(|name| name.offset).collect());
            let start = part.start;
            Stream { part, wanted, position: start, after: start, fetched: None, letters: VecDeque::new() }
        };
        let streams: Vec<Stream> = parts.into_iter().map(stream).collect();
        let share = FETCHED_BYTES / i32::try_from(streams.len()).unwrap_or(i32::MAX).max(1);
        let max_bytes = share.clamp(LEAST_BYTES, MOST_BYTES);
        let (topic, client_id) = (topic.to_owned(), client_id.to_owned());
        Reader { cluster, topic, client_id, streams, connections: HashMap::new(), max_bytes, deadline }
    }

    /// The next letter: the oldest of those that come next in their partitions.
    ///
    /// # Errors
    /// A broker does not answer in time, or what it sends is damaged.
    pub fn next_letter(&mut self) -> Result<Option<Letter>> {
        let deadline = Instant::now() + PATIENCE;
        let deadline = self.deadline.map_or(deadline, |end| end.min(deadline));
        for index in 0..self.streams.len() {
            self.fill(index, deadline)?;
        }
        let age = |stream: &&mut Stream| {
            stream.letters.front().map(|letter| (letter.timestamp.unwrap_or(0), letter.name))
        };
        let oldest = self.streams.iter_mut().filter(|stream| !stream.letters.is_empty()).min_by_key(age);
        Ok(oldest.and_then(|stream| stream.letters.pop_front()))
    }

    /// Sees that the partition's next letter is there, if it has one.
    fn fill(&mut self, index: usize, deadline: Instant) -> Result<()> {
        let mut backoff = Backoff::default();
        loop {
            let Some(stream) = self.streams.get_mut(index) else { return Ok(()) };
            if !stream.letters.is_empty() || stream.unpack()? || stream.is_over() {
                return Ok(());
            }
            let (partition, position) = (stream.part.partition, stream.position);
            let error = match self.fetch(partition, position, deadline) {
                Ok(fetched) => match self.take(index, &fetched, deadline) {
                    Ok(true) => continue,
                    Ok(false) => Error::refused(
                        format!("offset {position} did not come"),
                        ErrorCode::OFFSET_NOT_AVAILABLE,
                    ),
                    Err(error) => error,
                },
                Err(error) => error,
            };
            if error.is_lasting() || self.cluster.stopping() || Instant::now() >= deadline {
                return Err(error);
            }
            log::debug!("reading {}-{partition}: {error}", self.topic);
            self.connections.clear();
            std::thread::sleep(backoff.wait());
            if let Err(error) = self.cluster.refresh(&[&self.topic], self.cluster.deadline(deadline)) {
                log::debug!("reading {}: {error}", self.topic);
            }
        }
    }

    fn fetch(&mut self, partition: i32, offset: i64, deadline: Instant) -> Result<Fetched> {
        let limit = self.cluster.deadline(deadline);
        let what = || format!("reading {}-{partition}", self.topic);
        let leader = self.cluster.leader(&self.topic, partition);
        let leader = leader.ok_or_else(|| Error::refused(what(), ErrorCode::LEADER_NOT_AVAILABLE))?;
        let mut connection = match self.connections.remove(&leader) {
            Some(connection) => connection,
            None => self.cluster.connect(leader, &self.client_id, limit)?,
        };
        let position =
            Position { topic: self.topic.to_owned(), partition, offset, max_bytes: self.max_bytes };
        fetching::ask(&mut connection, &[position], WAIT)?;
        let answer = fetching::answer(&mut connection, limit, &mut || !self.cluster.stopping())?;
        self.connections.insert(leader, connection);
        let fetched = answer.into_iter().find(|fetched| fetched.partition == partition);
        fetched.ok_or_else(|| Error::refused(what(), ErrorCode::UNKNOWN_SERVER_ERROR))
    }

    /// Takes what was fetched; false if that does not go beyond what was read.
    fn take(&mut self, index: usize, fetched: &Fetched, deadline: Instant) -> Result<bool> {
        let Some(stream) = self.streams.get_mut(index) else { return Ok(false) };
        match fetched.error {
            ErrorCode::NONE => {
                let before = stream.position;
                stream.fetched = Some(Batches::new(&fetched.records));
                stream.unpack()?;
                Ok(stream.position > before)
            }
            // What was there is too old by now.
            ErrorCode::OFFSET_OUT_OF_RANGE => {
                let place = (self.topic.to_owned(), stream.part.partition);
                let wanted = [(place.0.clone(), place.1, EARLIEST)];
                let found = offsets::find(&self.cluster, &self.client_id, &wanted, deadline);
                let start = found.get(&place).copied().filter(|start| *start > stream.position);
                stream.jump(start.unwrap_or(stream.position));
                Ok(start.is_some())
            }
            code => Err(Error::refused(format!("reading {}-{}", self.topic, stream.part.partition), code)),
        }
    }
}

impl Stream {
    /// Goes on at `position`, before which nothing more is read.
    fn jump(&mut self, position: i64) {
        if position > self.position {
            (self.position, self.after) = (position, position);
        }
    }

    /// Whether nothing more is to be fetched; steps over what is not wanted.
    fn is_over(&mut self) -> bool {
        let open = self.part.settled.open_from(self.position);
        let next = match &self.wanted {
            Some(wanted) => {
                wanted.range(open..).find(|offset| !self.part.settled.contains(**offset)).copied()
            }
            None => Some(open),
        };
        self.jump(next.unwrap_or(self.part.end));
        self.position >= self.part.end
    }

    /// Unpacks batches until a letter is there; false when all are unpacked.
    fn unpack(&mut self) -> Result<bool> {
        let partition = self.part.partition;
        let damaged = |error: RecordsError| {
            log::error!("a dead letter of partition {partition} cannot be read: {error}");
            Error::refused(format!("partition {partition} of the dead letters"), ErrorCode::CORRUPT_MESSAGE)
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
            if wanted && !self.part.settled.contains(offset) {
                self.letters.push_back(Letter::new(self.part.partition, &record, self.after));
            }
            self.after = offset.saturating_add(1);
        }
        Ok(())
    }
}
