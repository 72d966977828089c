//! A batch: the records that one request sends to one partition, and its outcome.

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;
use std::time::Instant;

use super::{DeliveryCallback, DeliveryReport, NotStoredKind, PartitionChoice, ProducerRecord};
use crate::ids::RequestId;
use protocol::envelope;
use protocol::records::{Content, OwnHeaders};
use protocol::v0::message_set::ENTRY_OVERHEAD;

/// A delivery report, and the callback to call with it.
pub(super) type Finished = (DeliveryCallback, DeliveryReport);

/// The deadline and the callback of a record in flight; `None` once the callback was called.
pub(super) type OpenDelivery = Option<(Instant, DeliveryCallback)>;

/// A record waiting to be sent.
pub(super) struct QueuedRecord {
    pub(super) record: BatchRecord,
    pub(super) deadline: Instant,
    pub(super) done: DeliveryCallback,
}

/// The content of a record, and its history in the producer.
pub(super) struct BatchRecord {
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Option<Vec<u8>>,
    headers: OwnHeaders,
    timestamp: Option<i64>,
    /// The caller's choice of partition.
    pub(super) partition: PartitionChoice,
    /// The HTTP request that it came with.
    pub(super) request: Option<RequestId>,
    /// Its delivery was reported as unknown before the outcome came.
    pub(super) reported_unknown: bool,
    /// A try ended without an answer.
    pub(super) in_doubt: bool,
    /// The most records that its batch may have: fewer and fewer after its batches were refused.
    pub(super) max_records: usize,
    /// When it came.
    pub(super) since: Instant,
}

impl BatchRecord {
    pub(super) fn new(message: ProducerRecord, since: Instant) -> BatchRecord {
        let ProducerRecord { key, value, headers, timestamp, partition, deadline: _, request } = message;
        let headers = headers.iter().map(|(name, value)| (name.as_str(), value.as_deref()));
        let headers = OwnHeaders::new(headers);
        BatchRecord {
            key,
            value,
            headers,
            timestamp,
            partition,
            request,
            reported_unknown: false,
            in_doubt: false,
            max_records: usize::MAX,
            since,
        }
    }

    pub(super) fn content(&self) -> Content<'_> {
        Content {
            timestamp: self.timestamp,
            key: self.key.as_deref(),
            value: self.value.as_deref(),
            headers: self.headers.borrowed(),
        }
    }

    /// The bytes that it counts against the accumulator's limit.
    pub(super) fn bytes(&self) -> usize {
        let length = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
        length(&self.key) + length(&self.value) + self.headers.bytes()
    }

    /// The bytes that it adds to its batch: an envelope in a format 0 message, which is more than a record in
    /// a batch.
    pub(super) fn weight(&self) -> usize {
        ENTRY_OVERHEAD + envelope::len(&self.content())
    }
}

/// The records that one request sends to one partition; they become one Kafka batch.
pub(super) struct Batch {
    pub(super) partition: i32,
    pub(super) records: Vec<BatchRecord>,
    /// Upper bound of the encoded batch size in bytes.
    pub(super) bytes: usize,
    /// The most records that it may have.
    pub(super) max_records: usize,
}

impl Batch {
    pub(super) fn new(partition: usize) -> Batch {
        let partition = i32::try_from(partition).unwrap_or(i32::MAX);
        Batch { partition, records: Vec::new(), bytes: 0, max_records: usize::MAX }
    }

    /// Moves records from `queue` while the batch stays within `bytes` and the `max_records` of each; a
    /// single record may be larger.
    pub(super) fn fill(
        &mut self,
        queue: &mut VecDeque<QueuedRecord>,
        bytes: usize,
        open: &mut Vec<OpenDelivery>,
    ) {
        while let Some(first) = queue.front() {
            let max_records = self.max_records.min(first.record.max_records);
            if self.records.len() >= max_records {
                break;
            }
            let weight = first.record.weight();
            if self.bytes + weight > bytes && (!self.records.is_empty() || bytes == 0) {
                break;
            }
            let Some(waiting) = queue.pop_front() else { break };
            self.max_records = max_records;
            self.bytes += weight;
            self.records.push(waiting.record);
            open.push(Some((waiting.deadline, waiting.done)));
        }
    }
}

/// The outcome of a [`Batch`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum BatchOutcome {
    /// Acknowledged; the first message has this offset, the others follow it.
    Stored { base: i64 },
    /// Certainly not written, for want of a leader or a broker: may be sent again.
    NeverWritten { kind: NotStoredKind, reason: String },
    /// Refused as too large.
    TooLarge { reason: String },
    /// Refused for what a message in it holds, which may be fine without that message.
    Invalid { reason: String },
    /// Refused, not stored.
    Refused { reason: String, retry: bool },
    /// Whether it is stored is unknown.
    Unknown { reason: String },
}

impl BatchOutcome {
    /// Whether a broker has certainly answered.
    pub(super) fn is_answered(&self) -> bool {
        matches!(
            self,
            BatchOutcome::Stored { .. } | BatchOutcome::Invalid { .. } | BatchOutcome::Refused { .. }
        )
    }

    /// The delivery report of the record at `offset`.
    pub(super) fn delivery(&self, topic: &Arc<str>, partition: i32, offset: i64) -> DeliveryReport {
        match self {
            BatchOutcome::Stored { .. } => DeliveryReport::Stored { topic: topic.clone(), partition, offset },
            BatchOutcome::NeverWritten { kind, reason } => NotStoredReason::new(*kind, reason).not_stored(),
            BatchOutcome::TooLarge { reason } => DeliveryReport::NotStored {
                kind: NotStoredKind::TooLarge,
                reason: reason.clone(),
                retry: false,
            },
            BatchOutcome::Invalid { reason } => DeliveryReport::NotStored {
                kind: NotStoredKind::Refused,
                reason: reason.clone(),
                retry: false,
            },
            BatchOutcome::Refused { reason, retry } => DeliveryReport::NotStored {
                kind: NotStoredKind::Refused,
                reason: reason.clone(),
                retry: *retry,
            },
            BatchOutcome::Unknown { reason } => unknown(reason),
        }
    }
}

/// The reason why a record is not stored yet; sending it again later may succeed.
#[derive(Clone)]
pub(super) struct NotStoredReason {
    kind: NotStoredKind,
    reason: String,
}

impl NotStoredReason {
    pub(super) fn new(kind: NotStoredKind, reason: &str) -> NotStoredReason {
        NotStoredReason { kind, reason: reason.to_owned() }
    }

    pub(super) fn reason(&self) -> &str {
        &self.reason
    }

    pub(super) fn kind(&self) -> NotStoredKind {
        self.kind
    }

    pub(super) fn not_stored(&self) -> DeliveryReport {
        let retry = self.kind != NotStoredKind::Refused;
        DeliveryReport::NotStored { kind: self.kind, reason: self.reason.clone(), retry }
    }
}

/// Records and bytes that left the accumulator.
#[derive(Default)]
pub(super) struct Released {
    pub(super) records: usize,
    pub(super) bytes: usize,
}

impl Released {
    pub(super) fn of(record: &BatchRecord) -> Released {
        Released { records: 1, bytes: record.bytes() }
    }

    pub(super) fn add(&mut self, record: &BatchRecord) {
        self.records += 1;
        self.bytes += record.bytes();
    }
}

/// Removes and reports the records whose deadline is before `too_late`; their callbacks are the last ones in
/// `open`.
pub(super) fn give_up(
    too_late: Instant,
    batch: &mut Batch,
    why: &NotStoredReason,
    open: &mut Vec<OpenDelivery>,
    released: &mut Released,
    finished: &mut Vec<Finished>,
) {
    let own = open.split_off(open.len() - batch.records.len());
    for (record, own) in mem::take(&mut batch.records).into_iter().zip(own) {
        match own {
            Some((deadline, done)) if deadline < too_late => {
                released.add(&record);
                batch.bytes -= record.weight();
                finished.push((done, why.not_stored()));
            }
            own => {
                batch.records.push(record);
                open.push(own);
            }
        }
    }
}

pub(super) fn unknown(reason: &str) -> DeliveryReport {
    DeliveryReport::Unknown { reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::compression::Compression;
    use protocol::records::encode_batch;
    use protocol::v0::message_set;

    /// Bytes of a batch before its records.
    const BATCH_HEAD: usize = 61;

    #[test]
    fn a_batch_weighs_what_goes_to_the_adapter_and_no_less_than_its_encoding() {
        let fields = [None, Some(Vec::new()), Some(vec![7; 100]), Some(vec![7; 20_000])];
        let header = |value: &Option<Vec<u8>>| ("h".repeat(70), value.clone());
        let mut batch = Batch::new(0);
        let mut line = VecDeque::new();
        for (index, key) in fields.iter().enumerate() {
            for value in &fields {
                let headers = fields.iter().map(header).take(index).collect();
                let message = ProducerRecord {
                    key: key.clone(),
                    timestamp: [None, Some(0), Some(i64::MAX)][index % 3],
                    headers,
                    ..ProducerRecord::new(None, value.clone().unwrap_or_default(), Instant::now())
                };
                let deadline = message.deadline;
                line.push_back(QueuedRecord {
                    record: BatchRecord::new(message, Instant::now()),
                    deadline,
                    done: Box::new(|_| ()),
                });
            }
        }
        let count = line.len();
        batch.fill(&mut line, usize::MAX, &mut Vec::new());
        assert_eq!(batch.records.len(), count);
        let mut wire = Vec::new();
        for message in &batch.records {
            message_set::append_envelope(&mut wire, 0, &message.content());
        }
        assert_eq!(batch.bytes, wire.len());
        let contents = batch.records.iter().map(BatchRecord::content);
        let encoded = encode_batch(contents, 1, 1, 1, 1, Compression::None).unwrap();
        assert!(encoded.len() - BATCH_HEAD <= batch.bytes, "{} and {}", encoded.len(), batch.bytes);
    }
}
