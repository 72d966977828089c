//! Idempotent producing with `acks=all` (KIP-98): every batch is stored once however often it has to be sent.
//!
//! A [`Producer`] has one producer id and at most one batch of each partition under way, so a sequence number
//! moves on only when its batch is stored. When the fate of a batch stays unknown at the end of its time, the
//! id is given up with it: a later batch never takes a sequence number that the lost one may have used.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use kafka_protocol::messages::{ApiKey, InitProducerIdRequest, ProduceRequest, ProduceResponse, ProducerId};

use super::READ_MARGIN;
use super::batch_limit;
use super::connection::Connection;
use super::error::{Cause, Error, Result};
use super::metadata::{Cluster, topic_name};
use super::request_context::RequestContext;
use super::versioned_request::VersionedRequest;
use protocol::TopicPartition;
use protocol::compression::Compression;
use protocol::error_code::ErrorCode;
use protocol::records::{self, Content};

impl VersionedRequest for ProduceRequest {
    const API: ApiKey = ApiKey::Produce;
    const VERSION: i16 = 7;
}

impl VersionedRequest for InitProducerIdRequest {
    const API: ApiKey = ApiKey::InitProducerId;
    const VERSION: i16 = 4;
}

/// Reaching a broker that was not reached yet may take this long even when a caller's patience is over.
const MIN_REACH: Duration = Duration::from_secs(1);

/// Looking up how large a batch may be takes the time left divided by this at most.
const LOOK_UP_SHARE: u32 = 2;

/// How long after the first stored batch of a call a batch in doubt is given up, so that its partition does
/// not hold up the messages of others.
const MIXED: Duration = Duration::from_secs(3);

/// The records of one call for one partition. They become exactly one record batch, so record `i` gets the
/// batch's base offset plus `i`.
#[derive(Debug)]
pub struct Batch<'a> {
    /// The topic's name.
    pub topic: &'a str,
    /// The partition's number.
    pub partition: i32,
    /// The records, at least one. Without a timestamp of its own a record gets the time at which it is sent.
    pub records: Vec<Content<'a>>,
}

/// The outcome of producing a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Stored by all in-sync replicas. The offset of the first record, -1 in the rare case that the broker
    /// knows the batch as stored but no longer where.
    Stored(i64),
    /// No byte of it was left with a broker that could have stored it, for this reason.
    NotWritten(Obstacle),
    /// The broker refused it for good, for this reason.
    Refused(Obstacle),
    /// It may be stored or not, or be stored later.
    Unknown(String),
}

/// What stood in the way of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obstacle {
    /// The protocol's code for it.
    pub code: ErrorCode,
    /// A sentence for people, without its full stop.
    pub why: String,
}

impl Obstacle {
    fn new(code: ErrorCode, why: impl Into<String>) -> Obstacle {
        Obstacle { code, why: why.into() }
    }

    /// What a broker has answered.
    fn answered(code: ErrorCode) -> Obstacle {
        Obstacle::new(code, format!("{code}{}", advice(code)))
    }
}

impl From<&Error> for Obstacle {
    fn from(error: &Error) -> Obstacle {
        Obstacle::new(error.code().unwrap_or(ErrorCode::BROKER_NOT_AVAILABLE), error.to_string())
    }
}

/// What a code leaves unsaid.
fn advice(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::INVALID_RECORD => ": in a compacted topic every record needs a key",
        ErrorCode::INVALID_TIMESTAMP => ": the topic takes no record of that time",
        ErrorCode::POLICY_VIOLATION => ": a policy of the brokers forbids it",
        _ => "",
    }
}

#[derive(Debug, Clone, Copy)]
struct Identity {
    id: i64,
    epoch: i16,
}

/// A batch of a call, from its first attempt until its outcome is known.
struct Pending<'a> {
    batch: &'a Batch<'a>,
    /// An attempt ended without a word on whether it was stored.
    in_doubt: bool,
    last: Obstacle,
    outcome: Option<Outcome>,
}

impl<'a> Pending<'a> {
    fn new(batch: &'a Batch<'a>) -> Pending<'a> {
        Pending { batch, in_doubt: false, last: no_leader(batch), outcome: None }
    }

    /// An attempt ended before the batch was sent. A right that is missing, and a batch that is larger than
    /// its topic takes, are nothing to wait for.
    fn failed(&mut self, obstacle: Obstacle) {
        let code = obstacle.code;
        if (code.is_authorization() || code == ErrorCode::MESSAGE_TOO_LARGE) && !self.in_doubt {
            self.outcome = Some(Outcome::Refused(obstacle.clone()));
        }
        self.last = obstacle;
    }

    fn give_up(&mut self) {
        self.outcome.get_or_insert_with(|| {
            if self.in_doubt {
                Outcome::Unknown(format!("no acknowledgement in time; the last try: {}", self.last.why))
            } else {
                Outcome::NotWritten(self.last.clone())
            }
        });
    }
}

fn no_leader(batch: &Batch<'_>) -> Obstacle {
    let why = format!("partition {} of topic {} has no leader now", batch.partition, batch.topic);
    Obstacle::new(ErrorCode::LEADER_NOT_AVAILABLE, why)
}

/// Produces with its own id over its own connections; one call at a time.
#[derive(Debug)]
pub struct Producer {
    cluster: Arc<Cluster>,
    client_id: String,
    identity: Option<Identity>,
    /// The next sequence number by topic and partition.
    sequences: HashMap<TopicPartition, i32>,
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

    /// Stores `batches`, at most one a partition, and returns the outcome of each, in their order.
    ///
    /// While nothing of a batch was sent it is tried for `patience`; from then on for the delivery timeout.
    pub fn produce(&mut self, batches: &[Batch<'_>], patience: Duration) -> Vec<Outcome> {
        let start = Instant::now();
        let delivery = start + self.cluster.settings().delivery_timeout;
        let patience = (start + patience).min(delivery);
        let mut pending: Vec<Pending<'_>> = batches.iter().map(Pending::new).collect();
        let mut open: Vec<&mut Pending<'_>> = pending.iter_mut().collect();
        let mut backoff = crate::backoff();
        let mut in_doubt_until = delivery;
        loop {
            // With several partitions no answer is awaited so long that the others' news grow old.
            let answers = if batches.len() > 1 { delivery.min(Instant::now() + MIXED) } else { delivery };
            self.attempt(&mut open, patience, answers);
            if open.iter().any(|p| matches!(p.outcome, Some(Outcome::Stored(_)))) {
                in_doubt_until = in_doubt_until.min(Instant::now() + MIXED);
            }
            for p in &mut open {
                let late = Instant::now() >= if p.in_doubt { in_doubt_until } else { patience };
                if late || self.cluster.stopping() {
                    p.give_up();
                }
            }
            self.settle_identity(&mut open);
            open.iter_mut().for_each(|p| self.explain_size(p, patience + MIN_REACH));
            open.retain(|p| p.outcome.is_none());
            if open.is_empty() {
                break;
            }
            // The last attempt is made in time: who waits for this may take longer for a lost answer.
            let ends = open.iter().map(|p| if p.in_doubt { in_doubt_until } else { patience }).min();
            let left = ends.map_or(Duration::ZERO, |end| end.saturating_duration_since(Instant::now()));
            self.cluster.pause(backoff.next_wait().min(left));
            self.refresh_leaders(&open, patience);
        }
        let unanswered = || Outcome::Unknown("the request ended without an answer for this batch".to_owned());
        pending.into_iter().map(|p| p.outcome.unwrap_or_else(unanswered)).collect()
    }

    /// Sends each leader its batches in one request; all requests are sent before the first answer is
    /// awaited.
    fn attempt(&mut self, open: &mut [&mut Pending<'_>], patience: Instant, answers: Instant) {
        let reach = self.cluster.deadline(patience.max(Instant::now() + MIN_REACH));
        let mut by_leader: BTreeMap<i32, Vec<&mut Pending<'_>>> = BTreeMap::new();
        for p in open.iter_mut() {
            match self.leader(p.batch, reach) {
                Ok(Some(leader)) => by_leader.entry(leader).or_default().push(p),
                Ok(None) => p.last = no_leader(p.batch),
                Err(obstacle) => p.failed(obstacle),
            }
        }
        let mut sent = Vec::new();
        for (leader, led) in by_leader {
            let mut led = self.fitting(led, reach);
            if led.is_empty() {
                continue;
            }
            match self.send(leader, &led, reach, answers) {
                Ok(deadline) => sent.push((leader, led, deadline)),
                Err(error) => self.note_failure(leader, &mut led, &error),
            }
        }
        let cluster = self.cluster.clone();
        for (leader, mut led, deadline) in sent {
            let answer = match self.connections.get_mut(&leader) {
                Some(connection) => connection
                    .receive::<ProduceRequest>(deadline, &mut || !cluster.stopping())
                    .inspect(|_| cluster.heard(connection.address())),
                None => continue,
            };
            match answer {
                Ok(answer) => self.take_answer(&mut led, &answer),
                Err(error) => self.note_failure(leader, &mut led, &error),
            }
        }
    }

    fn leader(&self, batch: &Batch<'_>, deadline: Instant) -> std::result::Result<Option<i32>, Obstacle> {
        let topic = self.cluster.topic(batch.topic, deadline);
        let topic = topic.map_err(|error| {
            log::debug!("producing: {error}");
            Obstacle::from(&error)
        })?;
        let unknown = |what: String| Obstacle::new(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, what);
        let topic = topic.ok_or_else(|| unknown(format!("there is no topic {}", batch.topic)))?;
        let partition = usize::try_from(batch.partition).unwrap_or(usize::MAX);
        let leader = topic.leaders.get(partition).copied();
        leader.ok_or_else(|| unknown(format!("topic {} has no partition {}", batch.topic, batch.partition)))
    }

    /// The batches that are no larger than their topics take. Those that are sent to a leader together share
    /// an outcome until it answers, so what it would refuse stays behind.
    fn fitting<'p, 'a>(&self, led: Vec<&'p mut Pending<'a>>, deadline: Instant) -> Vec<&'p mut Pending<'a>> {
        let mut fitting = Vec::with_capacity(led.len());
        for p in led {
            match self.too_large(p.batch, deadline) {
                Some(obstacle) => p.failed(obstacle),
                None => fitting.push(p),
            }
        }
        fitting
    }

    /// Why a batch of one record is larger than its topic takes, if that is known before it is sent: others
    /// are left to the broker.
    fn too_large(&self, batch: &Batch<'_>, deadline: Instant) -> Option<Obstacle> {
        let bytes = self.bytes_of_one(batch).filter(|bytes| *bytes > batch_limit::DEFAULT)?;
        // Most of the time is left for sending it.
        let now = Instant::now();
        let deadline = now + deadline.saturating_duration_since(now) / LOOK_UP_SHARE;
        let told = |age| self.cluster.batch_limit(batch.topic, age, deadline).filter(|limit| bytes > *limit);
        told(batch_limit::AGE)?;
        let limit = told(batch_limit::RECENT)?;
        let why = batch_limit::sentence(batch.topic, Some(limit), Some(bytes));
        Some(Obstacle::new(ErrorCode::MESSAGE_TOO_LARGE, why))
    }

    /// The bytes of a batch as it is sent, if it has one record and is not compressed.
    fn bytes_of_one(&self, batch: &Batch<'_>) -> Option<usize> {
        match batch.records.as_slice() {
            [record] if self.cluster.settings().compression == Compression::None => {
                Some(records::bytes_of_one(record))
            }
            _ => None,
        }
    }

    fn send(
        &mut self,
        leader: i32,
        led: &[&mut Pending<'_>],
        reach: Instant,
        answers: Instant,
    ) -> Result<Instant> {
        let deadline = self.cluster.deadline(answers);
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
        let request = self.request(identity, led, timeout)?;
        match self.connections.get_mut(&leader) {
            Some(connection) => connection.send(&request)?,
            None => return Err(Error::Cancelled),
        }
        Ok(deadline + READ_MARGIN)
    }

    fn take_identity(&mut self, leader: i32, deadline: Instant) -> Result<Identity> {
        let connection = self.connections.get_mut(&leader).ok_or(Error::Cancelled)?;
        // Nothing of a batch is on its way yet: a connection lost here leaves no doubt about any.
        let answer = connection.call(&new_identity(), deadline).map_err(|error| Error::Unreachable {
            broker: connection.address().to_owned(),
            cause: Cause::Request(Arc::new(error)),
        })?;
        let request = connection.context::<InitProducerIdRequest>();
        ErrorCode(answer.error_code).ok().map_err(|code| Error::refused(request, code))?;
        let identity = Identity { id: answer.producer_id.0, epoch: answer.producer_epoch };
        self.sequences.clear();
        self.identity = Some(identity);
        Ok(identity)
    }

    fn request(
        &self,
        identity: Identity,
        led: &[&mut Pending<'_>],
        timeout: Duration,
    ) -> Result<ProduceRequest> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64);
        let mut topics: BTreeMap<&str, Vec<PartitionProduceData>> = BTreeMap::new();
        for p in led {
            let batch = p.batch;
            let sequence = self.sequences.get(&TopicPartition::new(batch.topic, batch.partition));
            let sequence = sequence.copied().unwrap_or(0);
            let codec = self.cluster.settings().compression;
            let records = batch.records.iter().copied();
            let encoded = records::encode_batch(records, now, identity.id, identity.epoch, sequence, codec);
            let encoded = encoded.map_err(|e| {
                log::error!("a batch for {}-{} cannot be encoded: {e}", batch.topic, batch.partition);
                let request = RequestContext::of::<ProduceRequest>();
                let partition = TopicPartition::new(batch.topic, batch.partition);
                Error::refused(request.for_partition(&partition), ErrorCode::MESSAGE_TOO_LARGE)
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

    fn note_failure(&mut self, leader: i32, led: &mut [&mut Pending<'_>], error: &Error) {
        log::debug!("producing to node {leader}: {error}");
        self.connections.remove(&leader);
        for p in led {
            p.in_doubt |= error.maybe_sent();
            p.failed(error.into());
        }
    }

    fn take_answer(&mut self, led: &mut [&mut Pending<'_>], answer: &ProduceResponse) {
        for p in led {
            match find(answer, p.batch) {
                Some(result) => p.outcome = self.judge(p, result),
                None => p.in_doubt = true,
            }
        }
    }

    /// The outcome that one partition's answer means; `None`: not known, to be tried again.
    fn judge(&mut self, p: &mut Pending<'_>, result: &PartitionProduceResponse) -> Option<Outcome> {
        let batch = p.batch;
        let code = ErrorCode(result.error_code);
        p.last = Obstacle::answered(code);
        // A leader that has lost its office answers so for a batch that it appended before, too.
        p.in_doubt |= result.base_offset >= 0 && !code.is_ok()
            || matches!(code, ErrorCode::NOT_LEADER_OR_FOLLOWER | ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
        match code {
            ErrorCode::NONE | ErrorCode::DUPLICATE_SEQUENCE_NUMBER => {
                let next =
                    self.sequences.entry(TopicPartition::new(batch.topic, batch.partition)).or_insert(0);
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
            // The broker no longer knows the id, or not these numbers: a new id, unless the batch may be
            // stored.
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
            _ => Some(Outcome::Refused(p.last.clone())),
        }
    }

    /// Says of a batch that a broker found too large how large it may be, if that can be told in time.
    fn explain_size(&self, p: &mut Pending<'_>, deadline: Instant) {
        let topic = p.batch.topic;
        if let Some(Outcome::Refused(obstacle)) = &mut p.outcome
            && obstacle.code == ErrorCode::MESSAGE_TOO_LARGE
        {
            let bytes = self.bytes_of_one(p.batch);
            let told = |age| self.cluster.batch_limit(topic, age, deadline);
            let limit = told(batch_limit::AGE).or_else(|| told(Duration::ZERO));
            // What was looked up is old where the message would fit.
            let limit = limit.filter(|limit| bytes.is_none_or(|bytes| bytes > *limit));
            obstacle.why = batch_limit::sentence(topic, limit, bytes);
        }
    }

    /// Once a batch is given up in doubt, what comes needs a new producer id; and what may be stored under an
    /// id that is gone cannot be tried again.
    fn settle_identity(&mut self, round: &mut [&mut Pending<'_>]) {
        if round.iter().any(|p| matches!(p.outcome, Some(Outcome::Unknown(_)))) {
            self.identity = None;
        }
        if self.identity.is_none() {
            round.iter_mut().filter(|p| p.in_doubt).for_each(|p| p.give_up());
        }
    }

    fn refresh_leaders(&self, open: &[&mut Pending<'_>], deadline: Instant) {
        let mut topics: Vec<&str> = open.iter().map(|p| p.batch.topic).collect();
        topics.sort_unstable();
        topics.dedup();
        let deadline = self.cluster.deadline(deadline.max(Instant::now() + MIN_REACH));
        if let Err(error) = self.cluster.refresh(&topics, deadline) {
            log::debug!("producing: {error}");
        }
    }
}

/// The request for a producer id outside of transactions.
pub(crate) fn new_identity() -> InitProducerIdRequest {
    InitProducerIdRequest::default()
        .with_transactional_id(None)
        .with_transaction_timeout_ms(i32::MAX)
        .with_producer_id(ProducerId(-1))
        .with_producer_epoch(-1)
}

fn find<'a>(answer: &'a ProduceResponse, batch: &Batch<'_>) -> Option<&'a PartitionProduceResponse> {
    let topic = answer.responses.iter().find(|topic| topic.name.as_str() == batch.topic)?;
    topic.partition_responses.iter().find(|partition| partition.index == batch.partition)
}

#[cfg(test)]
mod tests;
