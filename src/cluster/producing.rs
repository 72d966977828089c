//! Idempotent producing with `acks=all` (KIP-98): every batch is stored once however often it has to be sent.
//!
//! A [`Producer`] has one producer id and at most one batch of each partition under way, so a sequence number moves
//! on only when its batch is stored. When the fate of a batch stays unknown at the end of its time, the id is given
//! up with it: a later batch never takes a sequence number that the lost one may have used.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use kafka_protocol::messages::{InitProducerIdRequest, ProduceRequest, ProduceResponse, ProducerId};

use super::connection::Connection;
use super::error::{Error, Result};
use super::metadata::{Cluster, topic_name};
use super::{Backoff, READ_MARGIN};
use crate::protocol::error_code::ErrorCode;
use crate::protocol::records::{self, Content};

/// Reaching a broker that was not reached yet may take this long even when a caller's patience is over.
const MIN_REACH: Duration = Duration::from_secs(1);

/// So long after the first batch of a call was stored, one in doubt is given up: its partition holds up its own
/// messages, not the others'.
const MIXED: Duration = Duration::from_secs(3);

/// The records of one call for one partition. They become exactly one record batch, so record `i` gets the batch's
/// base offset plus `i`.
#[derive(Debug)]
pub struct Batch<'a> {
    /// The topic's name.
    pub topic: &'a str,
    /// The partition's number.
    pub partition: i32,
    /// The records, at least one. Without a timestamp of its own a record gets the time at which it is sent.
    pub records: Vec<Content<'a>>,
}

/// What became of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Stored by all in-sync replicas. The offset of the first record, -1 in the rare case that the broker knows the
    /// batch as stored but no longer where.
    Stored(i64),
    /// No byte of it was left with a broker that could have stored it; the code says what stood in the way.
    NotWritten(ErrorCode),
    /// The broker refused it for good.
    Refused(ErrorCode),
    /// It may be stored or not, or be stored later.
    Unknown(String),
}

#[derive(Debug, Clone, Copy)]
struct Identity {
    id: i64,
    epoch: i16,
}

/// A batch under way.
struct Pending {
    index: usize,
    /// An attempt ended without a word on whether it was stored.
    in_doubt: bool,
    trouble: ErrorCode,
}

/// Produces with its own id over its own connections; one call at a time.
#[derive(Debug)]
pub struct Producer {
    cluster: Arc<Cluster>,
    client_id: String,
    identity: Option<Identity>,
    /// The next sequence number by topic and partition.
    sequences: HashMap<(String, i32), i32>,
    connections: HashMap<i32, Connection>,
}

impl Producer {
    /// A producer that shows itself to the brokers as `client_id`.
    pub fn new(cluster: Arc<Cluster>, client_id: &str) -> Producer {
        Producer {
            cluster,
            client_id: client_id.to_owned(),
            identity: None,
            sequences: HashMap::new(),
            connections: HashMap::new(),
        }
    }

    /// Stores `batches`, at most one a partition, and tells what became of each, in their order.
    ///
    /// While nothing of a batch was sent it is tried for `patience`; from then on for the delivery timeout.
    pub fn produce(&mut self, batches: &[Batch<'_>], patience: Duration) -> Vec<Outcome> {
        let start = Instant::now();
        let delivery = start + self.cluster.settings().delivery_timeout;
        let patience = (start + patience).min(delivery);
        let mut outcomes: Vec<Option<Outcome>> = vec![None; batches.len()];
        let mut pending: Vec<Pending> = (0..batches.len())
            .map(|index| Pending { index, in_doubt: false, trouble: ErrorCode::LEADER_NOT_AVAILABLE })
            .collect();
        let mut backoff = Backoff::default();
        let mut in_doubt_until = delivery;
        loop {
            self.attempt(batches, &mut pending, &mut outcomes, patience, delivery);
            if outcomes.iter().any(|o| matches!(o, Some(Outcome::Stored(_)))) {
                in_doubt_until = in_doubt_until.min(Instant::now() + MIXED);
            }
            for p in &pending {
                let late = Instant::now() >= if p.in_doubt { in_doubt_until } else { patience };
                if late || self.cluster.stopping() {
                    outcomes[p.index].get_or_insert_with(|| given_up(p));
                }
            }
            self.settle_identity(&pending, &mut outcomes);
            pending.retain(|p| outcomes[p.index].is_none());
            if pending.is_empty() {
                break;
            }
            std::thread::sleep(backoff.wait());
            self.look_for_leaders(batches, &pending, patience);
        }
        let unsettled = || Outcome::Unknown("no outcome".to_owned());
        outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(unsettled)).collect()
    }

    /// One round: to each leader its batches in one request, all requests out before the first answer is awaited.
    fn attempt(
        &mut self,
        batches: &[Batch<'_>],
        pending: &mut [Pending],
        outcomes: &mut [Option<Outcome>],
        patience: Instant,
        delivery: Instant,
    ) {
        let now = Instant::now();
        let reach = self.cluster.deadline(patience.max(now + MIN_REACH));
        // With several partitions no answer is awaited so long that the others' news grow old.
        let delivery = if batches.len() > 1 { delivery.min(now + MIXED) } else { delivery };
        let mut by_leader: BTreeMap<i32, Vec<usize>> = BTreeMap::new();
        for (slot, p) in pending.iter_mut().enumerate() {
            let batch = &batches[p.index];
            match self.leader(batch, reach) {
                Ok(Some(leader)) => by_leader.entry(leader).or_default().push(slot),
                Ok(None) => p.trouble = ErrorCode::LEADER_NOT_AVAILABLE,
                Err(code) => p.trouble = code,
            }
        }
        let mut sent = Vec::new();
        for (leader, slots) in by_leader {
            match self.send(leader, batches, pending, &slots, (reach, delivery)) {
                Ok(deadline) => sent.push((leader, slots, deadline)),
                Err(error) => self.note_failure(leader, pending, &slots, &error),
            }
        }
        let cluster = self.cluster.clone();
        for (leader, slots, deadline) in sent {
            let answer = match self.connections.get_mut(&leader) {
                Some(connection) => {
                    connection.receive::<ProduceRequest>(deadline, &mut || !cluster.stopping())
                }
                None => continue,
            };
            match answer {
                Ok(answer) => self.take_answer(batches, pending, &slots, outcomes, &answer),
                Err(error) => self.note_failure(leader, pending, &slots, &error),
            }
        }
    }

    fn leader(&self, batch: &Batch<'_>, deadline: Instant) -> std::result::Result<Option<i32>, ErrorCode> {
        let topic = self.cluster.topic(batch.topic, deadline);
        let Ok(topic) = topic.inspect_err(|error| log::debug!("producing: {error}")) else {
            return Err(ErrorCode::BROKER_NOT_AVAILABLE);
        };
        let partition = usize::try_from(batch.partition).unwrap_or(usize::MAX);
        let leader = topic.as_ref().and_then(|topic| topic.leaders.get(partition));
        leader.copied().ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)
    }

    fn send(
        &mut self,
        leader: i32,
        batches: &[Batch<'_>],
        pending: &[Pending],
        slots: &[usize],
        (reach, delivery): (Instant, Instant),
    ) -> Result<Instant> {
        let deadline = self.cluster.deadline(delivery);
        // Writing to a connection that is closed already would leave the batch in doubt for nothing.
        self.connections.retain(|&node, connection| node != leader || !connection.is_closed());
        if !self.connections.contains_key(&leader) {
            let connection = self.cluster.connect(leader, &self.client_id, reach)?;
            self.connections.insert(leader, connection);
        }
        let identity = match self.identity {
            Some(identity) => identity,
            None => self.take_identity(leader, reach)?,
        };
        let timeout = deadline.saturating_duration_since(Instant::now());
        let request = self.request(identity, batches, pending, slots, timeout)?;
        match self.connections.get_mut(&leader) {
            Some(connection) => connection.send(&request)?,
            None => return Err(Error::Cancelled),
        }
        Ok(deadline + READ_MARGIN)
    }

    fn take_identity(&mut self, leader: i32, deadline: Instant) -> Result<Identity> {
        let request = InitProducerIdRequest::default()
            .with_transactional_id(None)
            .with_transaction_timeout_ms(i32::MAX)
            .with_producer_id(ProducerId(-1))
            .with_producer_epoch(-1);
        let connection = self.connections.get_mut(&leader).ok_or(Error::Cancelled)?;
        // Nothing of a batch is on its way yet: a connection lost here leaves no doubt about any.
        let answer = connection.call(&request, deadline).map_err(|error| Error::Unreachable {
            address: connection.address().to_owned(),
            reason: format!("asking for a producer id: {error}"),
        })?;
        ErrorCode(answer.error_code).ok().map_err(|code| Error::refused("asking for a producer id", code))?;
        let identity = Identity { id: answer.producer_id.0, epoch: answer.producer_epoch };
        self.sequences.clear();
        self.identity = Some(identity);
        Ok(identity)
    }

    fn request(
        &self,
        identity: Identity,
        batches: &[Batch<'_>],
        pending: &[Pending],
        slots: &[usize],
        timeout: Duration,
    ) -> Result<ProduceRequest> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64);
        let mut topics: BTreeMap<&str, Vec<PartitionProduceData>> = BTreeMap::new();
        for &slot in slots {
            let batch = &batches[pending[slot].index];
            let sequence = self.sequences.get(&(batch.topic.to_owned(), batch.partition));
            let sequence = sequence.copied().unwrap_or(0);
            let codec = self.cluster.settings().compression;
            let records = batch.records.iter().copied();
            let encoded = records::encode_batch(records, now, identity.id, identity.epoch, sequence, codec);
            let encoded = encoded.map_err(|e| {
                log::error!("a batch for {}-{} cannot be encoded: {e}", batch.topic, batch.partition);
                Error::refused("encoding a record batch", ErrorCode::MESSAGE_TOO_LARGE)
            })?;
            let data = PartitionProduceData::default()
                .with_index(batch.partition)
                .with_records(Some(Bytes::from(encoded)));
            topics.entry(batch.topic).or_default().push(data);
        }
        let topic = |(name, partitions)| {
            TopicProduceData::default().with_name(topic_name(name)).with_partition_data(partitions)
        };
        Ok(ProduceRequest::default()
            .with_acks(-1)
            .with_timeout_ms(timeout.as_millis().min(i32::MAX as u128) as i32)
            .with_topic_data(topics.into_iter().map(topic).collect()))
    }

    fn note_failure(&mut self, leader: i32, pending: &mut [Pending], slots: &[usize], error: &Error) {
        log::debug!("producing to node {leader}: {error}");
        self.connections.remove(&leader);
        for &slot in slots {
            pending[slot].in_doubt |= error.maybe_sent();
            pending[slot].trouble = error.code().unwrap_or(ErrorCode::BROKER_NOT_AVAILABLE);
        }
    }

    fn take_answer(
        &mut self,
        batches: &[Batch<'_>],
        pending: &mut [Pending],
        slots: &[usize],
        outcomes: &mut [Option<Outcome>],
        answer: &ProduceResponse,
    ) {
        for &slot in slots {
            let p = &mut pending[slot];
            let batch = &batches[p.index];
            match find(answer, batch) {
                Some(result) => {
                    let outcome = self.judge(p, batch, result);
                    outcomes[p.index] = outcome;
                }
                None => p.in_doubt = true,
            }
        }
    }

    /// The outcome that one partition's answer means; `None`: not settled, to be tried again.
    fn judge(
        &mut self,
        p: &mut Pending,
        batch: &Batch<'_>,
        result: &PartitionProduceResponse,
    ) -> Option<Outcome> {
        let code = ErrorCode(result.error_code);
        p.trouble = code;
        // A leader that has lost its office answers so for a batch that it appended before, too.
        p.in_doubt |= result.base_offset >= 0 && !code.is_ok()
            || matches!(code, ErrorCode::NOT_LEADER_OR_FOLLOWER | ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
        match code {
            ErrorCode::NONE | ErrorCode::DUPLICATE_SEQUENCE_NUMBER => {
                let next = self.sequences.entry((batch.topic.to_owned(), batch.partition)).or_insert(0);
                let count = i32::try_from(batch.records.len()).unwrap_or(i32::MAX);
                *next = next.checked_add(count).unwrap_or_else(|| count - (i32::MAX - *next) - 1);
                Some(Outcome::Stored(if code.is_ok() { result.base_offset } else { -1 }))
            }
            // Appended by the leader, but not by the replicas in time.
            ErrorCode::REQUEST_TIMED_OUT
            | ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND
            | ErrorCode::KAFKA_STORAGE_ERROR
            | ErrorCode::NETWORK_EXCEPTION
            | ErrorCode::UNKNOWN_SERVER_ERROR => {
                p.in_doubt = true;
                None
            }
            // The broker no longer knows the id, or not these numbers: a new id, unless the batch may be stored.
            ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER
            | ErrorCode::UNKNOWN_PRODUCER_ID
            | ErrorCode::INVALID_PRODUCER_EPOCH
            | ErrorCode::INVALID_PRODUCER_ID_MAPPING
            | ErrorCode::PRODUCER_FENCED => {
                if p.in_doubt {
                    return Some(Outcome::Unknown(format!("sent before, and then {}", code.name())));
                }
                self.identity = None;
                None
            }
            code if code.is_retriable() => None,
            code if p.in_doubt => Some(Outcome::Unknown(format!("sent before, and then {}", code.name()))),
            code => Some(Outcome::Refused(code)),
        }
    }

    /// Once a batch is given up in doubt, what comes needs a new producer id; and what may be stored under an id
    /// that is gone cannot be tried again.
    fn settle_identity(&mut self, pending: &[Pending], outcomes: &mut [Option<Outcome>]) {
        if pending.iter().any(|p| matches!(outcomes[p.index], Some(Outcome::Unknown(_)))) {
            self.identity = None;
        }
        if self.identity.is_some() {
            return;
        }
        for p in pending.iter().filter(|p| p.in_doubt) {
            outcomes[p.index].get_or_insert_with(|| given_up(p));
        }
    }

    fn look_for_leaders(&self, batches: &[Batch<'_>], pending: &[Pending], deadline: Instant) {
        let mut topics: Vec<&str> = pending.iter().map(|p| batches[p.index].topic).collect();
        topics.sort_unstable();
        topics.dedup();
        let deadline = self.cluster.deadline(deadline.max(Instant::now() + MIN_REACH));
        if let Err(error) = self.cluster.refresh(&topics, deadline) {
            log::debug!("producing: {error}");
        }
    }
}

fn given_up(p: &Pending) -> Outcome {
    if p.in_doubt {
        Outcome::Unknown(format!("no acknowledgement in time; last trouble {}", p.trouble.name()))
    } else {
        Outcome::NotWritten(p.trouble)
    }
}

fn find<'a>(answer: &'a ProduceResponse, batch: &Batch<'_>) -> Option<&'a PartitionProduceResponse> {
    let topic = answer.responses.iter().find(|topic| topic.name.as_str() == batch.topic)?;
    topic.partition_responses.iter().find(|partition| partition.index == batch.partition)
}

#[cfg(test)]
mod tests;
