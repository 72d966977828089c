//! A partition that a member owns, from getting it to losing it: what was served, what may be committed,
//! and the records fetched ahead.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::coordinator::Committed;
use crate::topic_id::TopicId;
use protocol::error_code::ErrorCode;

/// The most former topics of its name that a partition remembers.
const MOST_FORMER: usize = 16;

/// Records of one fetch, as format 0 messages in a row.
#[derive(Debug, Default)]
pub struct Chunk {
    /// The messages, one after the other.
    pub bytes: Vec<u8>,
    /// Each message's offset and where it ends in `bytes`.
    pub messages: Vec<(i64, usize)>,
    /// The offset after the last record, also where it was stepped over (compaction, control batches).
    pub next_offset: i64,
}

/// A chunk of which a part was served already.
#[derive(Debug)]
struct Open {
    chunk: Chunk,
    served: usize,
}

/// Offsets of which the log has no messages for a client: their records are gone, or are markers of
/// transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Gap {
    /// All that was fetched before lies below this offset.
    begin: i64,
    /// The first offset that the log has.
    end: i64,
}

/// A partition that a member owns, without a break over rebalances in which the member kept the partition.
#[derive(Debug)]
pub struct OwnedPartition {
    /// The lowest offset that may be committed: where the ownership began, then the last commit. `None` while
    /// it is not decided where a partition without a committed offset starts; nothing is served then.
    pub floor: Option<i64>,
    /// An undecided start is the reset policy's affair, not the client's.
    pub by_policy: bool,
    /// The topic that it is a partition of, as far as that is known.
    pub topic_id: Option<TopicId>,
    /// Its leader has said that it does not know this topic.
    pub is_unknown: bool,
    /// The topics of the name that it was a partition of before.
    former: Vec<TopicId>,
    /// Its topic was made anew while it was owned: an undecided start is the log's beginning, whatever the
    /// reset policy.
    pub is_anew: bool,
    /// It is another's in the next generation: nothing more is fetched, and what is in hand is finished.
    pub is_revoked: bool,
    /// The note that was committed last.
    pub metadata: String,
    /// No other ownership has this number; it changes where an ownership begins anew.
    pub span: u64,
    /// The highest offset that may be committed: after the last message served.
    pub ceiling: i64,
    /// The offset that the client was told is committed before Kafka has it: it is on its way.
    accepted: Option<i64>,
    /// The offset that the client will ask for next, as far as is known.
    expected: Option<i64>,
    /// The offset that fetching goes on from.
    pub fetch_from: i64,
    /// The last offsets without messages, before what is fetched next.
    gap: Option<Gap>,
    /// Records below this offset are known to be gone.
    gone_below: i64,
    /// Changes when the position is set anew; records fetched for an older one are dropped.
    pub version: u64,
    /// After an error of this partition alone: when to fetch again.
    pub rest_until: Option<Instant>,
    /// The offset after the last record that all in-sync replicas have.
    pub high_watermark: i64,
    ahead: VecDeque<Open>,
    /// Bytes fetched ahead.
    pub buffered: usize,
}

impl OwnedPartition {
    /// A partition whose ownership begins at the committed offset, or undecided. It is one of the topic that
    /// the offset belongs to, or, where that was not noted, of the one with this id.
    pub fn new(topic_id: Option<TopicId>, committed: Option<Committed>, by_policy: bool) -> OwnedPartition {
        let topic_id = committed.as_ref().and_then(|committed| committed.topic_id).or(topic_id);
        let floor = committed.as_ref().map(|committed| committed.offset);
        let from = floor.unwrap_or(0);
        OwnedPartition {
            floor,
            by_policy,
            topic_id,
            is_unknown: false,
            former: Vec::new(),
            is_anew: false,
            is_revoked: false,
            metadata: committed.map(|committed| committed.metadata).unwrap_or_default(),
            span: next_version(),
            ceiling: from,
            accepted: None,
            expected: None,
            fetch_from: from,
            gap: None,
            gone_below: 0,
            version: next_version(),
            rest_until: None,
            high_watermark: from,
            ahead: VecDeque::new(),
            buffered: 0,
        }
    }

    /// Where serving goes on.
    pub fn position(&self) -> i64 {
        self.ahead.front().map_or(self.fetch_from, |open| {
            open.chunk.messages.get(open.served).map_or(open.chunk.next_offset, |(offset, _)| *offset)
        })
    }

    /// Sets the position anew and forgets what was fetched ahead. The client's next question sets what it
    /// expects.
    pub fn seek(&mut self, offset: i64) {
        self.ahead.clear();
        self.buffered = 0;
        self.fetch_from = offset;
        self.expected = None;
        self.version = next_version();
    }

    /// Takes note that the log now begins at `earliest`, behind what is fetched next; gives how many offsets
    /// are gone that were not known to be. What was fetched before is served all the same.
    pub fn skip_to(&mut self, earliest: i64) -> i64 {
        let gone = earliest.saturating_sub(self.fetch_from.max(self.gone_below)).max(0);
        self.gone_below = self.gone_below.max(earliest);
        let last = self.ahead.back().and_then(|open| open.chunk.messages.last());
        self.gap = Some(Gap { begin: last.map_or(self.ceiling, |(offset, _)| offset + 1), end: earliest });
        self.fetch_from = earliest;
        self.version = next_version();
        gone
    }

    /// The end of a gap, if all before it is committed: its client has no message that it could commit.
    pub fn passable(&self) -> Option<i64> {
        let is_due = |gap: &Gap, floor: i64| gap.begin <= floor && floor < gap.end && self.accepted.is_none();
        let (gap, floor) = self.gap.zip(self.floor)?;
        is_due(&gap, floor).then_some(gap.end)
    }

    /// Takes note that the end of a gap is committed.
    pub fn passed(&mut self, end: i64) {
        if self.passable() == Some(end) {
            self.floor = Some(end);
            self.ceiling = self.ceiling.max(end);
            self.metadata.clear();
            self.gap = None;
        }
    }

    /// Takes note that the log has become shorter than what was consumed: it now reaches from `earliest` to
    /// `latest`. A plain client goes on at the offset that it asks for; one past the end gets
    /// OFFSET_OUT_OF_RANGE.
    pub fn fall_back(&mut self, earliest: i64, latest: i64) {
        match self.expected {
            _ if self.by_policy => self.undecide(),
            Some(expected) if expected <= latest => self.reset(expected),
            _ => self.reset(earliest),
        }
    }

    /// The id that brokers tell for the topic of its name now, if that is another one than its own.
    pub fn other_id(&mut self, told: Option<TopicId>) -> Option<TopicId> {
        let own = *self.topic_id.get_or_insert(told?);
        told.filter(|told| *told != own)
    }

    /// Takes it for a partition of this topic again, if it was one before; gives whether it was. Nothing
    /// begins anew with that: one of the two brokers that tell so lags behind.
    pub fn returns_to(&mut self, topic_id: TopicId) -> bool {
        let was_of_it = self.former.contains(&topic_id);
        if was_of_it {
            self.former.retain(|former| *former != topic_id);
            self.former.extend(self.topic_id.replace(topic_id));
        }
        was_of_it
    }

    /// Begins with the first message of another topic that has the name now. A plain client that asks for
    /// anything behind that gets OFFSET_OUT_OF_RANGE.
    pub fn begin_anew(&mut self, topic_id: Option<TopicId>) {
        if self.by_policy {
            self.undecide();
            self.is_anew = true;
        } else {
            self.reset(0);
        }
        self.former.extend(self.topic_id);
        let surplus = self.former.len().saturating_sub(MOST_FORMER);
        self.former.drain(..surplus);
        self.topic_id = topic_id;
        self.is_unknown = false;
        self.high_watermark = 0;
    }

    /// Takes a start back that could not be made the group's.
    pub fn undecide(&mut self) {
        self.reset(0);
        self.floor = None;
    }

    /// Begins at `offset`.
    pub fn reset(&mut self, offset: i64) {
        self.floor = Some(offset);
        self.is_anew = false;
        self.gap = None;
        self.gone_below = 0;
        self.metadata.clear();
        self.span = next_version();
        self.ceiling = offset;
        self.accepted = None;
        self.seek(offset);
    }

    /// Starts serving over at the lowest offset not committed, for a client that begins anew.
    pub fn rewind(&mut self, committed: Option<Committed>) {
        // What is committed may be a former topic's.
        let is_own =
            |found: &Committed| found.topic_id.is_none_or(|id| self.topic_id.is_none_or(|own| own == id));
        let committed = committed.filter(is_own).filter(|found| !self.is_anew || found.topic_id.is_some());
        match committed.map(|found| found.offset).or(self.floor) {
            Some(offset) => self.reset(offset),
            None if self.is_anew => {}
            None => self.undecide(),
        }
    }

    /// Takes note that the client asks for `asked`, and seeks where that is not what comes next.
    ///
    /// # Errors
    /// OFFSET_OUT_OF_RANGE when the client remembers an offset past the start of the ownership: it would
    /// drop what lies between without a word.
    pub fn ask(&mut self, asked: i64) -> Result<(), ErrorCode> {
        match (self.expected, self.floor) {
            (Some(expected), _) if expected == asked => {}
            (Some(_), _) => self.seek(asked),
            // A client that was told no offset asks for -1.
            (None, None) if self.by_policy || asked < 0 => self.by_policy = true,
            (None, None) => self.reset(asked),
            (None, Some(_)) if asked <= self.position() => {}
            (None, Some(_)) => return Err(ErrorCode::OFFSET_OUT_OF_RANGE),
        }
        self.expected = Some(asked);
        Ok(())
    }

    /// Takes note that its leader answers, and knows its topic.
    pub fn answered(&mut self, high_watermark: i64) {
        self.rest_until = None;
        self.is_unknown = false;
        self.high_watermark = high_watermark;
    }

    /// Adds what was fetched from `from` under `version`; dropped if the position was set anew meanwhile.
    pub fn add(&mut self, version: u64, from: i64, chunk: Chunk) {
        if version != self.version || from != self.fetch_from {
            return;
        }
        self.fetch_from = chunk.next_offset.max(from);
        self.note_end_of(&chunk, from);
        if !chunk.messages.is_empty() {
            self.buffered += chunk.bytes.len();
            self.ahead.push_back(Open { chunk, served: 0 });
        }
    }

    /// Takes note of offsets without messages at the end of what was fetched.
    fn note_end_of(&mut self, chunk: &Chunk, from: i64) {
        let begin = match (chunk.messages.last(), self.gap) {
            (Some((last, _)), _) => last + 1,
            (None, Some(before)) if before.end == from => before.begin,
            (None, _) => from,
        };
        if begin < chunk.next_offset {
            self.gap = Some(Gap { begin, end: chunk.next_offset });
        }
    }

    /// Lets everything below `next` be committed, as it is about to be handed to the reader; false if it was
    /// fetched for a position that was set anew.
    pub fn hand_over_to(&mut self, version: u64, from: i64, next: i64) -> bool {
        let is_current = version == self.version && from == self.fetch_from;
        if is_current {
            self.ceiling = self.ceiling.max(next);
        }
        is_current
    }

    /// Goes on behind what the reader was handed, or is done with.
    pub fn handed_over(&mut self, version: u64, next: i64) {
        if version == self.version {
            self.fetch_from = self.fetch_from.max(next);
            self.ceiling = self.ceiling.max(next);
        }
    }

    /// Moves messages into `out`, at most `limit` bytes of them but at least one; returns whether there
    /// was one.
    pub fn serve(&mut self, limit: usize, out: &mut Vec<u8>) -> bool {
        let mut last = None;
        while let Some(open) = self.ahead.front_mut() {
            let (served, unserved) = open.chunk.messages.split_at(open.served.min(open.chunk.messages.len()));
            let begin = served.last().map_or(0, |(_, end)| *end);
            let room = limit.saturating_sub(out.len());
            let fitting = unserved.partition_point(|(_, end)| end - begin <= room);
            let take = if fitting == 0 && last.is_none() { 1 } else { fitting };
            let Some(&(offset, end)) = take.checked_sub(1).and_then(|last| unserved.get(last)) else { break };
            open.served += take;
            out.extend_from_slice(open.chunk.bytes.get(begin..end).unwrap_or_default());
            self.buffered -= end - begin;
            last = Some(offset);
            if open.served == open.chunk.messages.len() {
                self.ahead.pop_front();
            }
        }
        if let Some(offset) = last {
            self.ceiling = self.ceiling.max(offset + 1);
            self.expected = Some(offset + 1);
        }
        last.is_some()
    }

    /// Whether `offset` may be committed: not behind what is committed, not past what was served.
    pub fn admits(&self, offset: i64) -> bool {
        self.floor.is_some_and(|floor| floor <= offset) && offset <= self.ceiling
    }

    /// Whether something was served that the client has not committed.
    pub fn awaits_commit(&self) -> bool {
        self.accepted.or(self.floor).is_some_and(|offset| offset < self.ceiling)
    }

    /// Whether `offset` may be committed and is not behind what was accepted.
    pub fn accepts(&self, offset: i64) -> bool {
        self.admits(offset) && self.accepted.is_none_or(|accepted| accepted <= offset)
    }

    /// Takes note of a commit that is to be sent.
    pub fn accept(&mut self, offset: i64) {
        if self.floor.is_some_and(|floor| floor < offset) {
            self.accepted = Some(offset);
        }
    }

    /// The commit that is on its way, the last one where there are several.
    pub fn accepted(&self) -> Option<i64> {
        self.accepted
    }

    /// Forgets the commit that is on its way.
    pub fn forget_accepted(&mut self) {
        self.accepted = None;
    }

    /// How many offsets were accepted that Kafka has not acknowledged.
    pub fn ahead_by(&self) -> i64 {
        self.accepted.zip(self.floor).map_or(0, |(accepted, floor)| accepted.saturating_sub(floor))
    }

    /// Takes note of an acknowledged commit, unless the ownership has begun anew meanwhile.
    pub fn committed(&mut self, offset: i64, metadata: &str) {
        if self.admits(offset) {
            self.floor = Some(offset);
            self.metadata = metadata.to_owned();
            self.accepted = self.accepted.filter(|accepted| offset < *accepted);
        }
    }

    /// Whether `asked` is what the client would ask this partition for next. Of a partition that it has not
    /// asked for yet, as after a rebalance between two connections, that is all that would not be refused.
    pub fn may_be_asked(&self, asked: i64) -> bool {
        match self.expected {
            Some(expected) => expected == asked,
            None => self.floor.is_none() || asked <= self.position(),
        }
    }

    /// The offset that the client will ask for next, as far as is known.
    pub fn expected(&self) -> Option<i64> {
        self.expected
    }
}

/// Versions are never used twice, so that what was fetched for a partition that was lost cannot be taken for
/// another's.
fn next_version() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    LAST.fetch_add(1, Ordering::Relaxed)
}

#[cfg(test)]
mod tests;
