//! A lane: a thread with a `Producer` (and so a connection) of its own that carries one call at a time.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kafka::client::KafkaClient;
use kafka::error::{Error as KafkaError, KafkaCode};
use kafka::producer::{ProduceConfirm, Producer, Record, RequiredAcks};

use super::Shared;
use super::set::{Set, SetOutcome};
use crate::channel::code_of;
use crate::logging::{BURST, Key, Value};
use crate::protocol::envelope;
use crate::protocol::wire::Writer;
use crate::request_id::RequestId;

/// Pause after the first failure to reach the topic; doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Partitions may be added to a topic: metadata is loaded again after this time.
const METADATA_AGE: Duration = Duration::from_secs(30);

/// Carries calls until the sender ends.
pub(super) fn run(shared: &Arc<Shared>, lane: usize) {
    let mut pause = FIRST_PAUSE;
    let mut producer = None;
    while !shared.ended() {
        let Some(mut ready) = producer.take().or_else(|| connect(shared)) else {
            if shared.end.wait_for(pause) {
                return;
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
            continue;
        };
        pause = FIRST_PAUSE;
        let Some(sets) = shared.wait_for_sets(lane, &ready) else {
            // Its metadata are old, or the sender ends.
            producer = refresh(shared, ready);
            continue;
        };
        producer = carry(shared, lane, sets, &mut ready).then_some(ready);
    }
}

/// A producer, and what it knows of the topic.
pub(super) struct Ready {
    producer: Producer,
    /// The number of partitions; the crate sends to no other.
    pub(super) partitions: usize,
    loaded: Instant,
}

impl Ready {
    /// Whether the metadata should be loaded again before the next call.
    pub(super) fn is_old(&self, now: Instant, partitions: usize) -> bool {
        self.partitions != partitions || now.saturating_duration_since(self.loaded) > METADATA_AGE
    }
}

/// Builds a producer that knows the topic; else says why not.
fn connect(shared: &Shared) -> Option<Ready> {
    let built = guarded(|| {
        let mut client = KafkaClient::new(vec![shared.endpoint.address()]);
        client.set_client_id(shared.endpoint.producer_client_id(&shared.name));
        client.load_metadata(&[&*shared.topic])?;
        let builder = Producer::from_client(client).with_required_acks(RequiredAcks::All);
        builder.with_ack_timeout(shared.ack_timeout).create()
    });
    built.map_err(|reason| shared.trouble(&reason)).ok().and_then(|producer| known(shared, producer))
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
            shared.trouble(&reason);
            None
        }
    }
}

/// The producer, if its metadata have the topic.
fn known(shared: &Shared, producer: Producer) -> Option<Ready> {
    let partitions = producer.client().topics().partitions(&shared.topic).map_or(0, |found| found.len());
    if partitions == 0 {
        shared.trouble("no broker answers, or the topic does not exist yet");
        return None;
    }
    shared.reached(partitions);
    Some(Ready { producer, partitions, loaded: Instant::now() })
}

/// One call to the crate. False if the producer must not be used again: after an error a late answer could be
/// taken for that of the next call.
fn carry(shared: &Arc<Shared>, lane: usize, mut sets: Vec<Set>, ready: &mut Ready) -> bool {
    let began = Instant::now();
    let sent = catch_unwind(AssertUnwindSafe(|| send(&shared.topic, &sets, &mut ready.producer)));
    let (outcomes, usable): (Vec<_>, _) = match sent {
        Ok(Ok(confirms)) => (sets.iter().map(|set| outcome_of(shared, set, &confirms)).collect(), true),
        // The crate says so of a partition that it does not know, before it sends anything.
        Ok(Err(KafkaError::Kafka(code))) => {
            let outcome = SetOutcome::NeverWritten { reason: format!("no partition to send to ({code:?})") };
            sets.iter().for_each(|_| shared.metrics.error(format!("{code:?}")));
            (vec![outcome; sets.len()], false)
        }
        Ok(Err(error)) => (all_lost(shared, &sets, &error.to_string()), false),
        Err(_) => (all_lost(shared, &sets, "the kafka crate panicked"), false),
    };
    shared.metrics.produced(began.elapsed());
    shared.settle(lane, &mut sets, &outcomes);
    for (set, outcome) in sets.iter().zip(&outcomes) {
        log_outcome(shared, set, outcome);
    }
    log::logger().flush();
    usable
}

/// Gives the messages to the crate, each in its envelope; the adapter takes them out.
fn send(topic: &str, sets: &[Set], producer: &mut Producer) -> kafka::error::Result<Vec<ProduceConfirm>> {
    let mut envelopes = Writer::with_capacity(sets.iter().map(|set| set.bytes).sum());
    let mut ends = Vec::new();
    for set in sets {
        for message in &set.messages {
            envelope::write(&message.content(), &mut envelopes);
            ends.push((set.partition, envelopes.position()));
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

fn all_lost(shared: &Shared, sets: &[Set], why: &str) -> Vec<SetOutcome> {
    let reason = format!("the connection failed before the answer came: {why}");
    sets.iter().for_each(|_| shared.metrics.error("ConnectionLost".to_owned()));
    vec![SetOutcome::Unknown { reason }; sets.len()]
}

fn outcome_of(shared: &Shared, set: &Set, confirms: &[ProduceConfirm]) -> SetOutcome {
    let found = confirms
        .iter()
        .filter(|confirm| confirm.topic == *shared.topic)
        .flat_map(|confirm| &confirm.partition_confirms)
        .find(|confirm| confirm.partition == set.partition);
    let partition = set.partition;
    match found.map(|confirm| confirm.offset) {
        Some(Ok(base)) if base >= 0 => {
            shared.metrics.batch(set.messages.len());
            SetOutcome::Stored { base }
        }
        Some(Ok(_)) | None => {
            shared.metrics.error("NoAnswer".to_owned());
            SetOutcome::Unknown { reason: format!("no answer for partition {partition}") }
        }
        Some(Err(code)) => {
            shared.metrics.error(format!("{code:?}"));
            failed(partition, code)
        }
    }
}

/// What a code in the adapter's answer says about the set.
fn failed(partition: i32, code: KafkaCode) -> SetOutcome {
    use KafkaCode as Code;
    match code {
        Code::LeaderNotAvailable | Code::BrokerNotAvailable | Code::UnknownTopicOrPartition => {
            SetOutcome::NeverWritten { reason: format!("partition {partition} cannot be reached ({code:?})") }
        }
        Code::RequestTimedOut
        | Code::NetworkException
        | Code::Unknown
        | Code::NotEnoughReplicasAfterAppend => {
            SetOutcome::Unknown { reason: format!("partition {partition} did not acknowledge it ({code:?})") }
        }
        Code::MessageSizeTooLarge | Code::RecordListTooLarge => SetOutcome::TooLarge,
        Code::CorruptMessage | Code::InvalidTimestamp => {
            SetOutcome::Invalid { reason: refusal(partition, code) }
        }
        Code::InvalidTopic
        | Code::TopicAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::UnsupportedVersion => SetOutcome::Refused { reason: refusal(partition, code), retry: false },
        _ => SetOutcome::Refused { reason: refusal(partition, code), retry: true },
    }
}

fn refusal(partition: i32, code: KafkaCode) -> String {
    format!("partition {partition} refused it ({code:?})")
}

/// Every message sent, and every set that was not, has its line.
fn log_outcome(shared: &Shared, set: &Set, outcome: &SetOutcome) {
    let (topic, name) = (&shared.topic, &shared.name);
    let (partition, count) = (set.partition, set.messages.len());
    match outcome {
        SetOutcome::Stored { base } => {
            for (message, offset) in set.messages.iter().zip(*base..) {
                let (key, value) = (Key(message.key.as_deref()), Value(message.value.as_deref()));
                let late = if message.late {
                    " after its sender had been told that its fate was unknown"
                } else {
                    ""
                };
                let request = Request(message.request);
                log::info!(
                    target: BURST,
                    "sent topic={topic} partition={partition} offset={offset} key={key} name={name}{request} \
                     value={value}{late}"
                );
            }
        }
        SetOutcome::NeverWritten { reason } => log::debug!("not written yet, will be sent again: {reason}"),
        SetOutcome::TooLarge if count == 0 => {
            log::warn!("a set was larger than {topic} takes; sending smaller ones")
        }
        SetOutcome::TooLarge => {
            log::warn!("refused topic={topic} partition={partition}: larger than the topic takes")
        }
        SetOutcome::Invalid { reason } if count == 0 => {
            log::warn!("a set was refused, looking for the message that is to blame: topic={topic}: {reason}")
        }
        SetOutcome::Invalid { reason } | SetOutcome::Refused { reason, .. } => {
            log::warn!("refused topic={topic} messages={count}: {reason}")
        }
        SetOutcome::Unknown { reason } => {
            log::error!("fate unknown topic={topic} messages={count}: {reason}")
        }
    }
}

/// Who asked for a message, if that was a request.
struct Request(Option<RequestId>);

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |id| write!(f, " request={id}"))
    }
}

/// Calls the crate; an error or a panic (odd answers make it panic) becomes a sentence.
fn guarded<T>(call: impl FnOnce() -> kafka::error::Result<T>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(match code_of(&error) {
            Some(code) => format!("{code:?}"),
            None => error.to_string(),
        }),
        Err(_) => Err("the kafka crate panicked".to_owned()),
    }
}
