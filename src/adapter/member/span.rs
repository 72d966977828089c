//! One partition in the hands of one member, from getting it to losing it: what was served, what may be committed,
//! and the records fetched ahead.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::protocol::error_code::ErrorCode;

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

/// An ownership span: unbroken over rebalances in which the member kept the partition.
#[derive(Debug)]
pub struct Span {
    /// The lowest offset that may be committed: where the span began, then the last commit. `None` while it is not
    /// decided where a partition without a committed offset starts; nothing is served then.
    pub floor: Option<i64>,
    /// An undecided start is the reset policy's affair, not the program's.
    pub by_policy: bool,
    /// The highest offset that may be committed: after the last message served.
    pub ceiling: i64,
    /// The offset that the program was told is committed before Kafka has it: it is on its way.
    accepted: Option<i64>,
    /// The offset that the program will ask for next, as far as is known.
    expected: Option<i64>,
    /// The offset that fetching goes on from.
    pub fetch_from: i64,
    /// Changes when the position is set anew; records fetched for an older one are dropped.
    pub version: u64,
    /// After trouble with this partition alone: when to fetch again.
    pub rest_until: Option<Instant>,
    /// The offset after the last record that all in-sync replicas have.
    pub high_watermark: i64,
    ahead: VecDeque<Open>,
    /// Bytes fetched ahead.
    pub buffered: usize,
}

impl Span {
    /// A span that begins at the committed offset, or undecided.
    pub fn new(committed: Option<i64>, by_policy: bool) -> Span {
        let from = committed.unwrap_or(0);
        Span {
            floor: committed,
            by_policy,
            ceiling: from,
            accepted: None,
            expected: None,
            fetch_from: from,
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

    /// Sets the position anew and forgets what was fetched ahead. The program's next question sets what it expects.
    pub fn seek(&mut self, offset: i64) {
        self.ahead.clear();
        self.buffered = 0;
        self.fetch_from = offset;
        self.expected = None;
        self.version = next_version();
    }

    /// The log has become shorter than what was consumed: it now reaches from `earliest` to `latest`. A program of its own
    /// mind goes on where it asks for; if that is past the end, it is told so, as whatever lies before `earliest` is.
    pub fn fall_back(&mut self, earliest: i64, latest: i64) {
        match self.expected {
            _ if self.by_policy => self.undecide(),
            Some(expected) if expected <= latest => self.reset(expected),
            _ => self.reset(earliest),
        }
    }

    /// Takes a start back that could not be made the group's.
    pub fn undecide(&mut self) {
        self.reset(0);
        self.floor = None;
    }

    /// Begins at `offset`.
    pub fn reset(&mut self, offset: i64) {
        self.floor = Some(offset);
        self.ceiling = offset;
        self.accepted = None;
        self.seek(offset);
    }

    /// Starts serving over at the lowest offset not committed, for a program that begins anew.
    pub fn rewind(&mut self, committed: Option<i64>) {
        match committed.or(self.floor) {
            Some(offset) => self.reset(offset),
            None => self.undecide(),
        }
    }

    /// Takes note that the program asks for `asked`, and seeks where that is not what comes next.
    ///
    /// # Errors
    /// OFFSET_OUT_OF_RANGE when the program remembers an offset past the span's start: it would drop what lies
    /// between without a word.
    pub fn ask(&mut self, asked: i64) -> Result<(), ErrorCode> {
        match (self.expected, self.floor) {
            (Some(expected), _) if expected == asked => {}
            (Some(_), _) => self.seek(asked),
            // A program that was told no offset asks for -1.
            (None, None) if self.by_policy || asked < 0 => self.by_policy = true,
            (None, None) => self.reset(asked),
            (None, Some(_)) if asked <= self.position() => {}
            (None, Some(_)) => return Err(ErrorCode::OFFSET_OUT_OF_RANGE),
        }
        self.expected = Some(asked);
        Ok(())
    }

    /// Adds what was fetched from `from` under `version`; dropped if the position was set anew meanwhile.
    pub fn add(&mut self, version: u64, from: i64, chunk: Chunk) {
        if version != self.version || from != self.fetch_from {
            return;
        }
        self.fetch_from = chunk.next_offset.max(from);
        if !chunk.messages.is_empty() {
            self.buffered += chunk.bytes.len();
            self.ahead.push_back(Open { chunk, served: 0 });
        }
    }

    /// Moves messages into `out`, at most `limit` bytes of them but at least one; tells whether there was one.
    pub fn serve(&mut self, limit: usize, out: &mut Vec<u8>) -> bool {
        let mut last = None;
        while let Some(open) = self.ahead.front_mut() {
            let begin = open.served.checked_sub(1).map_or(0, |i| open.chunk.messages[i].1);
            let room = limit.saturating_sub(out.len());
            let fitting = open.chunk.messages[open.served..].partition_point(|(_, end)| end - begin <= room);
            let take = if fitting == 0 && last.is_none() { 1 } else { fitting };
            if take == 0 {
                break;
            }
            open.served += take;
            let (offset, end) = open.chunk.messages[open.served - 1];
            out.extend_from_slice(&open.chunk.bytes[begin..end]);
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

    /// Whether something was served that the program has not committed.
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

    /// Takes note of an acknowledged commit, unless the span has begun anew meanwhile.
    pub fn committed(&mut self, offset: i64) {
        if self.admits(offset) {
            self.floor = Some(offset);
            self.accepted = self.accepted.filter(|accepted| offset < *accepted);
        }
    }

    /// Whether `asked` is what the program of this span would ask for next. Of a span that it has not asked for yet, as
    /// after a rebalance between two connections, that is all that would not be refused.
    pub fn may_be_asked(&self, asked: i64) -> bool {
        match self.expected {
            Some(expected) => expected == asked,
            None => self.floor.is_none() || asked <= self.position(),
        }
    }

    /// The offset that the program will ask for next, as far as is known.
    pub fn expected(&self) -> Option<i64> {
        self.expected
    }
}

/// Versions are never used twice, so that what was fetched for a span that was lost cannot be taken for another's.
fn next_version() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    LAST.fetch_add(1, Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(offsets: &[i64], next_offset: i64) -> Chunk {
        let mut chunk = Chunk { next_offset, ..Chunk::default() };
        for offset in offsets {
            chunk.bytes.extend_from_slice(&offset.to_be_bytes());
            chunk.messages.push((*offset, chunk.bytes.len()));
        }
        chunk
    }

    fn offsets(bytes: &[u8]) -> Vec<i64> {
        bytes.chunks(8).map(|b| i64::from_be_bytes(b.try_into().unwrap())).collect()
    }

    fn serve(span: &mut Span, limit: usize) -> Vec<i64> {
        let mut out = Vec::new();
        span.serve(limit, &mut out);
        offsets(&out)
    }

    #[test]
    fn serving_keeps_to_the_limit_over_chunks_and_always_serves_one() {
        let mut span = Span::new(Some(5), false);
        span.ask(5).unwrap();
        span.add(span.version, 5, chunk(&[5, 6, 8], 9));
        span.add(span.version, 9, chunk(&[9], 12));
        assert_eq!(serve(&mut span, 1), [5]);
        assert_eq!(serve(&mut span, 16), [6, 8]);
        assert_eq!(serve(&mut span, 100), [9]);
        assert_eq!((span.buffered, span.fetch_from, span.ceiling), (0, 12, 10));
        assert!(serve(&mut span, 100).is_empty());
    }

    #[test]
    fn a_gap_does_not_look_like_a_seek() {
        let mut span = Span::new(Some(0), false);
        span.ask(0).unwrap();
        span.add(span.version, 0, chunk(&[0], 10));
        assert_eq!(serve(&mut span, 100), [0]);
        span.ask(1).unwrap();
        assert_eq!(span.fetch_from, 10);
    }

    #[test]
    fn an_answer_that_was_lost_is_served_again() {
        let mut span = Span::new(Some(0), false);
        span.ask(0).unwrap();
        span.add(span.version, 0, chunk(&[0, 1], 2));
        assert_eq!(serve(&mut span, 100), [0, 1]);
        let before = span.version;
        span.ask(0).unwrap();
        assert_eq!(span.fetch_from, 0);
        span.add(before, 2, chunk(&[2], 3));
        assert_eq!(span.fetch_from, 0, "records fetched for the old position are dropped");
    }

    #[test]
    fn a_program_that_remembers_more_than_is_committed_is_told() {
        assert_eq!(Span::new(Some(3), false).ask(7), Err(ErrorCode::OFFSET_OUT_OF_RANGE));
        assert_eq!(Span::new(Some(3), false).ask(2), Ok(()));
    }

    #[test]
    fn without_a_committed_offset_the_program_says_where_it_starts() {
        let mut span = Span::new(None, false);
        span.ask(42).unwrap();
        assert_eq!((span.floor, span.fetch_from), (Some(42), 42));
    }

    #[test]
    fn a_program_that_knows_no_offset_leaves_the_start_to_the_policy() {
        let mut span = Span::new(None, false);
        span.ask(-1).unwrap();
        assert_eq!((span.floor, span.by_policy), (None, true));
        span.reset(9);
        span.ask(-1).unwrap();
        assert_eq!(span.fetch_from, 9);
    }

    #[test]
    fn a_log_that_became_shorter_is_begun_where_the_program_asks_or_the_program_is_told() {
        let mut fallen = Span::new(Some(5000), false);
        fallen.ask(7).unwrap();
        fallen.fall_back(0, 7);
        assert_eq!((fallen.ask(7), fallen.fetch_from), (Ok(()), 7));
        let mut remembering = Span::new(Some(5000), false);
        remembering.ask(5000).unwrap();
        remembering.fall_back(0, 7);
        assert_eq!(remembering.ask(5000), Err(ErrorCode::OFFSET_OUT_OF_RANGE));
    }

    #[test]
    fn a_commit_lies_between_the_last_one_and_what_was_served() {
        let mut span = Span::new(Some(10), false);
        span.ask(10).unwrap();
        span.add(span.version, 10, chunk(&[10, 11, 12], 13));
        serve(&mut span, 16);
        let admitted: Vec<i64> = (8..15).filter(|o| span.admits(*o)).collect();
        assert_eq!(admitted, [10, 11, 12]);
        span.committed(11);
        assert!(span.awaits_commit());
        span.committed(12);
        assert!(!span.admits(11), "a committed offset never moves backwards");
        assert!(span.admits(12) && !span.awaits_commit());
    }

    #[test]
    fn an_accepted_commit_counts_until_it_is_stored() {
        let mut span = Span::new(Some(10), false);
        span.ask(10).unwrap();
        span.add(span.version, 10, chunk(&[10, 11, 12], 13));
        serve(&mut span, 100);
        span.accept(11);
        span.accept(13);
        assert_eq!((span.floor, span.ahead_by()), (Some(10), 3));
        assert!(!span.accepts(12) && span.accepts(13) && !span.accepts(14));
        assert!(!span.awaits_commit(), "the program has committed all that was served");
        span.committed(11);
        assert_eq!((span.accepted(), span.ahead_by()), (Some(13), 2));
        span.committed(13);
        assert_eq!((span.accepted(), span.ahead_by()), (None, 0));
        span.accept(13);
        assert_eq!(span.accepted(), None, "Kafka has it already");
    }

    #[test]
    fn a_span_that_begins_anew_has_nothing_on_its_way() {
        let mut span = Span::new(Some(0), false);
        span.ask(0).unwrap();
        span.add(span.version, 0, chunk(&[0, 1, 2], 3));
        serve(&mut span, 100);
        span.accept(2);
        span.rewind(Some(1));
        assert_eq!((span.accepted(), span.ahead_by()), (None, 0));
    }

    #[test]
    fn a_program_that_begins_anew_gets_what_is_not_committed_again() {
        let mut span = Span::new(Some(0), false);
        span.ask(0).unwrap();
        span.add(span.version, 0, chunk(&[0, 1, 2], 3));
        serve(&mut span, 100);
        span.committed(1);
        span.rewind(Some(1));
        span.ask(1).unwrap();
        assert_eq!((span.fetch_from, span.ceiling), (1, 1));
    }
}
