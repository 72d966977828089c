//! A sender thread: it has its own `Producer` of the `kafka` crate, and so its own connection, and sends one
//! request at a time.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kafka::client::KafkaClient;
use kafka::error::{Error as KafkaError, KafkaCode};
use kafka::producer::{ProduceConfirm, Producer as KafkaProducer, Record, RequiredAcks};

use super::batch::{Batch, BatchOutcome};
use super::{NotStoredKind, Shared};
use crate::logging::MessageLine;
use net::backoff::Backoff;
use protocol::envelope;
use protocol::error_code::ErrorCode;
use protocol::v0::remark::Remark;
use protocol::wire::Writer;

/// The waits after failures to reach the topic.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));

/// Partitions may be added to a topic: metadata is loaded again after this time.
const METADATA_AGE: Duration = Duration::from_secs(30);

/// In an outage it is asked whether the topic can be reached before a message is sent, rather than with it.
const OUTAGE_AGE: Duration = Duration::from_secs(1);

/// Sends requests until the producer ends. `sender` is the number of the thread.
pub(super) fn run(shared: &Arc<Shared>, sender: usize) {
    let mut backoff = BACKOFF;
    let mut producer = None;
    while !shared.ended() {
        let Some(mut ready) = producer.take().or_else(|| connect(shared)) else {
            if shared.pause(backoff.next_wait()) {
                return;
            }
            continue;
        };
        backoff.reset();
        let Some(batches) = shared.wait_for_batches(sender, &ready) else {
            // Its metadata are old, or the producer ends.
            producer = refresh(shared, ready);
            continue;
        };
        producer = carry(shared, sender, batches, &mut ready).then_some(ready);
    }
}

/// A producer, and what it knows of the topic.
pub(super) struct Ready {
    producer: KafkaProducer,
    /// The number of partitions; the crate sends to no other.
    pub(super) partitions: usize,
    loaded: Instant,
}

impl Ready {
    /// Whether the metadata should be loaded again before the next call.
    pub(super) fn is_old(&self, now: Instant, partitions: usize, is_outage: bool) -> bool {
        let oldest = if is_outage { OUTAGE_AGE } else { METADATA_AGE };
        self.partitions != partitions || now.saturating_duration_since(self.loaded) > oldest
    }
}

/// Builds a producer that knows the topic; else says why not.
fn connect(shared: &Shared) -> Option<Ready> {
    let built = guarded(|| {
        let mut client = KafkaClient::new(vec![shared.endpoint.address()]);
        client.set_client_id(shared.endpoint.producer_client_id(&shared.name));
        client.load_metadata(&[&*shared.topic])?;
        let builder = KafkaProducer::from_client(client).with_required_acks(RequiredAcks::All);
        builder.with_ack_timeout(shared.ack_timeout).create()
    });
    let built = built.map_err(|reason| shared.unreachable(NotStoredKind::NoBroker, &reason));
    built.ok().and_then(|producer| known(shared, producer))
}

/// Loads the metadata of a live producer again; a producer that fails in that is thrown away.
fn refresh(shared: &Shared, ready: Ready) -> Option<Ready> {
    if shared.ended() {
        return Some(ready);
    }
    let mut producer = ready.producer;
    match guarded(|| producer.client_mut().load_metadata(&[&*shared.topic])) {
        Ok(()) => known(shared, producer),
        Err(reason) => {
            shared.unreachable(NotStoredKind::NoBroker, &reason);
            None
        }
    }
}

/// The producer, if its metadata have the topic.
fn known(shared: &Shared, producer: KafkaProducer) -> Option<Ready> {
    let partitions = producer.client().topics().partitions(&shared.topic).map_or(0, |found| found.len());
    if partitions == 0 {
        // The adapter says why beside the topic.
        match producer.client().topics().names().find_map(Remark::read) {
            Some(remark) => {
                let kind = kind_of(remark.code).unwrap_or(NotStoredKind::NoBroker);
                shared.unreachable(kind, &remark.text);
            }
            None => shared.unreachable(NotStoredKind::NoTopic, "the adapter does not tell of it"),
        }
        return None;
    }
    shared.reached(partitions);
    Some(Ready { producer, partitions, loaded: Instant::now() })
}

/// Sends one request through the crate. False if the producer must not be used again: after an error a late
/// answer could be taken for that of the next call.
fn carry(shared: &Arc<Shared>, sender: usize, mut batches: Vec<Batch>, ready: &mut Ready) -> bool {
    let began = Instant::now();
    let sent = catch_unwind(AssertUnwindSafe(|| send(&shared.topic, &batches, &mut ready.producer)));
    let (outcomes, usable): (Vec<_>, _) = match sent {
        Ok(Ok(confirms)) => {
            (batches.iter().map(|batch| outcome_of(shared, batch, &confirms)).collect(), true)
        }
        // The crate gives this error for a partition that it does not know, before it sends anything.
        Ok(Err(KafkaError::Kafka(code))) => {
            let reason = format!("no partition to send to ({code:?})");
            let outcome = BatchOutcome::NeverWritten { kind: NotStoredKind::NoLeader, reason };
            batches.iter().for_each(|_| shared.metrics.error(format!("{code:?}")));
            (vec![outcome; batches.len()], false)
        }
        Ok(Err(error)) => (all_lost(shared, &batches, &error.to_string()), false),
        Err(_) => (all_lost(shared, &batches, "the kafka crate panicked"), false),
    };
    shared.metrics.produced(began.elapsed());
    shared.complete(sender, &mut batches, &outcomes);
    for (batch, outcome) in batches.iter().zip(&outcomes) {
        log_outcome(shared, batch, outcome);
    }
    log::logger().flush();
    usable
}

/// Gives the messages to the crate, each in its envelope; the adapter takes them out.
fn send(
    topic: &str,
    batches: &[Batch],
    producer: &mut KafkaProducer,
) -> kafka::error::Result<Vec<ProduceConfirm>> {
    let mut envelopes = Writer::with_capacity(batches.iter().map(|batch| batch.bytes).sum());
    let mut ends = Vec::new();
    for batch in batches {
        for message in &batch.records {
            envelope::write(&message.content(), &mut envelopes);
            ends.push((batch.partition, envelopes.position()));
        }
    }
    let mut start = 0;
    let record = |&(partition, end): &(i32, usize)| {
        let value = envelopes.as_slice().get(start..end).unwrap_or_default();
        start = end;
        Record { key: (), value, topic, partition }
    };
    let records: Vec<Record<'_, (), &[u8]>> = ends.iter().map(record).collect();
    producer.send_all(&records)
}

fn all_lost(shared: &Shared, batches: &[Batch], why: &str) -> Vec<BatchOutcome> {
    let reason = format!("the connection failed before the answer came: {why}");
    batches.iter().for_each(|_| shared.metrics.error("ConnectionLost".to_owned()));
    vec![BatchOutcome::Unknown { reason }; batches.len()]
}

fn outcome_of(shared: &Shared, batch: &Batch, confirms: &[ProduceConfirm]) -> BatchOutcome {
    let partition = batch.partition;
    let of_partition = |confirm: &&ProduceConfirm| {
        confirm.partition_confirms.iter().find(|confirm| confirm.partition == partition).map(|it| it.offset)
    };
    let found =
        confirms.iter().filter(|confirm| confirm.topic == *shared.topic).find_map(|c| of_partition(&c));
    match found {
        Some(Ok(base)) if base >= 0 => {
            shared.metrics.batch(batch.records.len());
            BatchOutcome::Stored { base }
        }
        Some(Ok(_)) | None => {
            shared.metrics.error("NoAnswer".to_owned());
            BatchOutcome::Unknown { reason: format!("no answer for partition {partition}") }
        }
        Some(Err(code)) => {
            shared.metrics.error(format!("{code:?}"));
            let about = confirms.iter().filter(|confirm| of_partition(confirm).is_some());
            failed(partition, code, about.filter_map(|confirm| Remark::read(&confirm.topic)).next())
        }
    }
}

/// The kind of failure that a code of the cluster stands for, where it is not simply that a broker or a
/// leader is away.
fn kind_of(code: ErrorCode) -> Option<NotStoredKind> {
    match code {
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION => Some(NotStoredKind::NoTopic),
        ErrorCode::LEADER_NOT_AVAILABLE => Some(NotStoredKind::NoLeader),
        code if code.is_authorization() => Some(NotStoredKind::Refused),
        _ => None,
    }
}

/// The outcome of a batch by the code in the adapter's answer, and by what the adapter says beside it: the
/// crate knows few codes and no words.
fn failed(partition: i32, code: KafkaCode, remark: Option<Remark>) -> BatchOutcome {
    use KafkaCode as Code;
    let kind = remark.as_ref().and_then(|remark| kind_of(remark.code)).unwrap_or(NotStoredKind::NoLeader);
    let why = remark.map_or_else(|| format!("{code:?}"), |remark| remark.text);
    let refusal = format!("partition {partition} refused it: {why}");
    match code {
        Code::LeaderNotAvailable | Code::BrokerNotAvailable | Code::UnknownTopicOrPartition => {
            let reason = format!("partition {partition} cannot be reached: {why}");
            BatchOutcome::NeverWritten { kind, reason }
        }
        Code::NotEnoughReplicas => {
            let reason =
                format!("partition {partition} has not as many replicas in sync as it needs ({code:?})");
            BatchOutcome::NeverWritten { kind: NotStoredKind::NoLeader, reason }
        }
        Code::RequestTimedOut
        | Code::NetworkException
        | Code::Unknown
        | Code::NotEnoughReplicasAfterAppend => {
            BatchOutcome::Unknown { reason: format!("partition {partition} did not acknowledge it ({why})") }
        }
        Code::MessageSizeTooLarge | Code::RecordListTooLarge => BatchOutcome::TooLarge { reason: why },
        Code::CorruptMessage | Code::InvalidTimestamp => BatchOutcome::Invalid { reason: refusal },
        Code::TopicAuthorizationFailed | Code::ClusterAuthorizationFailed => {
            let right = match code {
                Code::TopicAuthorizationFailed => "Write on the topic",
                _ => "IdempotentWrite on the cluster, or for Write on the topic",
            };
            let reason =
                format!("partition {partition} refused it ({code:?}): the user needs an ACL for {right}");
            BatchOutcome::Refused { reason, retry: false }
        }
        Code::InvalidTopic | Code::UnsupportedVersion => {
            BatchOutcome::Refused { reason: refusal, retry: false }
        }
        _ => BatchOutcome::Refused { reason: refusal, retry: true },
    }
}

/// Every message sent, and every batch that was not, has its line.
fn log_outcome(shared: &Shared, batch: &Batch, outcome: &BatchOutcome) {
    let (topic, name) = (&shared.topic, &shared.name);
    let (partition, count) = (batch.partition, batch.records.len());
    match outcome {
        BatchOutcome::Stored { base } => {
            for (message, offset) in batch.records.iter().zip(*base..) {
                let late =
                    if message.reported_unknown { "its delivery had been reported as unknown" } else { "" };
                let request = message.request.as_ref();
                MessageLine {
                    what: "sent",
                    topic,
                    partition,
                    offset,
                    key: message.key.as_deref(),
                    value: message.value.as_deref(),
                    client: name,
                    request: request.map(|id| id as &dyn fmt::Display),
                    note: late,
                }
                .log_in_a_burst();
            }
        }
        BatchOutcome::NeverWritten { reason, .. } => {
            log::debug!("not written yet, will be sent again: {reason}")
        }
        BatchOutcome::TooLarge { .. } if count == 0 => {
            log::warn!("a batch was larger than {topic} takes; sending smaller ones")
        }
        BatchOutcome::TooLarge { reason } => {
            log::warn!("refused topic={topic} partition={partition}: {reason}")
        }
        BatchOutcome::Invalid { reason } if count == 0 => {
            log::warn!(
                "a batch was refused, looking for the message that is to blame: topic={topic}: {reason}"
            )
        }
        BatchOutcome::Refused { reason, .. } if count == 0 => {
            log::warn!("refused for now, is sent again while there is time: topic={topic}: {reason}")
        }
        BatchOutcome::Invalid { reason } | BatchOutcome::Refused { reason, .. } => {
            log::warn!("refused topic={topic} messages={count}: {reason}")
        }
        BatchOutcome::Unknown { reason } if count == 0 => {
            log::warn!("no answer came, is sent again while there is time: topic={topic}: {reason}")
        }
        BatchOutcome::Unknown { reason } => {
            log::error!("fate unknown topic={topic} messages={count}: {reason}")
        }
    }
}

/// Calls the crate; an error or a panic (odd answers make it panic) becomes a sentence.
fn guarded<T>(call: impl FnOnce() -> kafka::error::Result<T>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(match kafka_code(&error) {
            Some(code) => format!("{code:?}"),
            None => error.to_string(),
        }),
        Err(_) => Err("the kafka crate panicked".to_owned()),
    }
}

/// The code that Kafka (the adapter) answered, if the crate's error is one.
pub(crate) fn kafka_code(error: &KafkaError) -> Option<KafkaCode> {
    match error {
        KafkaError::Kafka(code) | KafkaError::TopicPartitionError { error_code: code, .. } => Some(*code),
        KafkaError::ArcSelf(inner) => kafka_code(inner),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_became_of_a_batch_is_told_in_the_words_of_the_cluster_where_there_are_any() {
        let remark = |text: &str| Some(Remark { code: ErrorCode(87), text: text.to_owned() });
        let reason = |code, remark| match failed(3, code, remark) {
            BatchOutcome::NeverWritten { reason, .. }
            | BatchOutcome::Invalid { reason }
            | BatchOutcome::TooLarge { reason }
            | BatchOutcome::Unknown { reason } => reason,
            other => panic!("{other:?}"),
        };
        let unreached = "partition 3 cannot be reached: ";
        let code = KafkaCode::BrokerNotAvailable;
        assert_eq!(reason(code, None), format!("{unreached}BrokerNotAvailable"));
        assert_eq!(reason(code, remark("it wants TLS")), format!("{unreached}it wants TLS"));
        let invalid = reason(KafkaCode::CorruptMessage, remark("INVALID_RECORD (87)"));
        assert_eq!(invalid, "partition 3 refused it: INVALID_RECORD (87)");
        assert_eq!(reason(KafkaCode::MessageSizeTooLarge, remark("5 bytes at most")), "5 bytes at most");
        let unknown = reason(KafkaCode::RequestTimedOut, remark("no answer in time"));
        assert_eq!(unknown, "partition 3 did not acknowledge it (no answer in time)");
        let kind =
            |code| match failed(3, KafkaCode::LeaderNotAvailable, Some(Remark { code, text: String::new() }))
            {
                BatchOutcome::NeverWritten { kind, .. } => kind.code(),
                other => panic!("{other:?}"),
            };
        assert_eq!(kind(ErrorCode::TOPIC_AUTHORIZATION_FAILED), "refused");
        assert_eq!(kind(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION), "no_topic");
        assert_eq!(kind(ErrorCode::LEADER_NOT_AVAILABLE), "no_leader");
    }
}
