//! What one call sends to one partition, and what became of it.

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;
use std::time::Instant;

use super::{Delivery, Done, Outgoing, Place};
use crate::protocol::envelope;
use crate::protocol::legacy::message_set::ENTRY_OVERHEAD;
use crate::protocol::records::{Content, OwnHeaders};
use crate::request_id::RequestId;

/// A message that reached its fate, and whom to tell.
pub(super) type Finished = (Done, Delivery);

/// Whom to tell of a message under way, and until when; `None` once told.
pub(super) type Open = Option<(Instant, Done)>;

/// A message that waits for its flight.
pub(super) struct Waiting {
    pub(super) payload: Payload,
    pub(super) deadline: Instant,
    pub(super) done: Done,
}

/// What a message says, and what became of it so far.
pub(super) struct Payload {
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Option<Vec<u8>>,
    headers: OwnHeaders,
    timestamp: Option<i64>,
    /// The partition that its sender chose.
    pub(super) place: Place,
    /// Who asked for it.
    pub(super) request: Option<RequestId>,
    /// Its sender was told 'unknown' before the outcome came.
    pub(super) late: bool,
    /// The most messages that its set may have: fewer and fewer after its sets were refused.
    pub(super) company: usize,
}

impl Payload {
    pub(super) fn new(message: Outgoing) -> Payload {
        let Outgoing { key, value, headers, timestamp, place, deadline: _, request } = message;
        let headers = headers.iter().map(|(name, value)| (name.as_str(), value.as_deref()));
        let headers = OwnHeaders::new(headers);
        Payload { key, value, headers, timestamp, place, request, late: false, company: usize::MAX }
    }

    pub(super) fn content(&self) -> Content<'_> {
        Content {
            timestamp: self.timestamp,
            key: self.key.as_deref(),
            value: self.value.as_deref(),
            headers: self.headers.borrowed(),
        }
    }

    /// What it counts against the queue's limit.
    pub(super) fn bytes(&self) -> usize {
        let length = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
        length(&self.key) + length(&self.value) + self.headers.bytes()
    }

    /// What it adds to its set: an envelope in a format 0 message, which is more than a record in a batch.
    pub(super) fn weight(&self) -> usize {
        ENTRY_OVERHEAD + envelope::len(&self.content())
    }
}

/// What one call sends to one partition; it becomes one Kafka batch.
pub(super) struct Set {
    pub(super) partition: i32,
    pub(super) messages: Vec<Payload>,
    /// The set's size on the wire, not less than that of the batch.
    pub(super) bytes: usize,
    /// The most messages that it may have.
    pub(super) most: usize,
}

impl Set {
    pub(super) fn new(partition: usize) -> Set {
        let partition = i32::try_from(partition).unwrap_or(i32::MAX);
        Set { partition, messages: Vec::new(), bytes: 0, most: usize::MAX }
    }

    /// Moves messages from `line` while the set stays within `bytes` and what each allows; a single message
    /// may be larger.
    pub(super) fn fill(&mut self, line: &mut VecDeque<Waiting>, bytes: usize, open: &mut Vec<Open>) {
        while let Some(first) = line.front() {
            let most = self.most.min(first.payload.company);
            if self.messages.len() >= most {
                break;
            }
            let weight = first.payload.weight();
            if self.bytes + weight > bytes && (!self.messages.is_empty() || bytes == 0) {
                break;
            }
            let Some(waiting) = line.pop_front() else { break };
            self.most = most;
            self.bytes += weight;
            self.messages.push(waiting.payload);
            open.push(Some((waiting.deadline, waiting.done)));
        }
    }
}

/// What became of a [`Set`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SetOutcome {
    /// Acknowledged; the first message has this offset, the others follow it.
    Stored { base: i64 },
    /// Certainly not written, for want of a leader or a broker: may be sent again.
    NeverWritten { reason: String },
    /// Refused as too large.
    TooLarge,
    /// Refused for what a message in it holds, which may be fine without that message.
    Invalid { reason: String },
    /// Refused, not stored.
    Refused { reason: String, retry: bool },
    /// Nobody knows.
    Unknown { reason: String },
}

impl SetOutcome {
    /// What the sender of the set's message at `offset` is told.
    pub(super) fn delivery(&self, topic: &Arc<str>, partition: i32, offset: i64) -> Delivery {
        match self {
            SetOutcome::Stored { .. } => Delivery::Stored { topic: topic.clone(), partition, offset },
            SetOutcome::NeverWritten { reason } => Why::new("no_leader", reason).not_stored(),
            SetOutcome::TooLarge => Delivery::NotStored {
                code: "too_large",
                reason: "the message is larger than the topic takes".to_owned(),
                retry: false,
            },
            SetOutcome::Invalid { reason } => {
                Delivery::NotStored { code: "refused", reason: reason.clone(), retry: false }
            }
            SetOutcome::Refused { reason, retry } => {
                Delivery::NotStored { code: "refused", reason: reason.clone(), retry: *retry }
            }
            SetOutcome::Unknown { reason } => unknown(reason),
        }
    }
}

/// Why a message is not stored though it may be later.
#[derive(Clone)]
pub(super) struct Why {
    code: &'static str,
    reason: String,
}

impl Why {
    pub(super) fn new(code: &'static str, reason: &str) -> Why {
        Why { code, reason: reason.to_owned() }
    }

    pub(super) fn not_stored(&self) -> Delivery {
        Delivery::NotStored { code: self.code, reason: self.reason.clone(), retry: true }
    }
}

/// What left the queue, for its tally.
#[derive(Default)]
pub(super) struct Gone {
    pub(super) messages: usize,
    pub(super) bytes: usize,
}

impl Gone {
    pub(super) fn of(payload: &Payload) -> Gone {
        Gone { messages: 1, bytes: payload.bytes() }
    }

    pub(super) fn add(&mut self, payload: &Payload) {
        self.messages += 1;
        self.bytes += payload.bytes();
    }
}

/// Takes those out of a set, the last in `open`, whose deadline is before `too_late`.
pub(super) fn give_up(
    too_late: Instant,
    set: &mut Set,
    why: &Why,
    open: &mut Vec<Open>,
    gone: &mut Gone,
    finished: &mut Vec<Finished>,
) {
    let own = open.split_off(open.len() - set.messages.len());
    for (payload, told) in mem::take(&mut set.messages).into_iter().zip(own) {
        match told {
            Some((deadline, done)) if deadline < too_late => {
                gone.add(&payload);
                set.bytes -= payload.weight();
                finished.push((done, why.not_stored()));
            }
            told => {
                set.messages.push(payload);
                open.push(told);
            }
        }
    }
}

pub(super) fn unknown(reason: &str) -> Delivery {
    Delivery::Unknown { reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::compression::Compression;
    use crate::protocol::legacy::message_set;
    use crate::protocol::records::encode_batch;

    /// Bytes of a batch before its records.
    const BATCH_HEAD: usize = 61;

    #[test]
    fn a_set_weighs_what_goes_to_the_adapter_and_no_less_than_its_batch() {
        let fields = [None, Some(Vec::new()), Some(vec![7; 100]), Some(vec![7; 20_000])];
        let header = |value: &Option<Vec<u8>>| ("h".repeat(70), value.clone());
        let mut set = Set::new(0);
        let mut line = VecDeque::new();
        for (index, key) in fields.iter().enumerate() {
            for value in &fields {
                let headers = fields.iter().map(header).take(index).collect();
                let message = Outgoing {
                    key: key.clone(),
                    timestamp: [None, Some(0), Some(i64::MAX)][index % 3],
                    headers,
                    ..Outgoing::new(None, value.clone().unwrap_or_default(), Instant::now())
                };
                let deadline = message.deadline;
                line.push_back(Waiting { payload: Payload::new(message), deadline, done: Box::new(|_| ()) });
            }
        }
        let count = line.len();
        set.fill(&mut line, usize::MAX, &mut Vec::new());
        assert_eq!(set.messages.len(), count);
        let mut wire = Vec::new();
        for message in &set.messages {
            message_set::append_envelope(&mut wire, 0, &message.content());
        }
        assert_eq!(set.bytes, wire.len());
        let contents = set.messages.iter().map(Payload::content);
        let batch = encode_batch(contents, 1, 1, 1, 1, Compression::None).unwrap();
        assert!(batch.len() - BATCH_HEAD <= set.bytes, "{} and {}", batch.len(), set.bytes);
    }
}
