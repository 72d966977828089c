//! What waits to be stored and what is under way: the sender's decisions without threads, clocks or sockets,
//! so that each can be tested on its own.
//!
//! Rules that hold here: a partition is in at most one flight, so its messages keep their order; a message's
//! [`Done`] is handed out exactly once; what counts against the limits is freed only when its bytes are.

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::set::{Finished, Gone, Open, Payload, Set, SetOutcome, Waiting, Why, give_up, unknown};
use super::{Done, Outgoing, Place, Room};
use crate::protocol::partitioner::partition_for_key;

/// Flights at a time, each on a lane (a `Producer` with its connection) of its own.
pub(super) const MAX_LANES: usize = 4;

/// A flight out for longer does not keep others from leaving.
const YOUNG: Duration = Duration::from_millis(50);

/// The most that one set weighs, to stay under the broker's default `message.max.bytes` (1048588). Lowered
/// for a topic that takes less, and raised again step by step: the topic's limit may have been, too, or a
/// single message was too large.
const SET_BYTES: usize = 900_000;

/// Time until a lowered size is doubled.
const SET_GROWS_AFTER: Duration = Duration::from_secs(60);

/// All sets of one call, so that a call stays a moment's work.
const CALL_BYTES: usize = 4 << 20;

/// Pause before a sick partition is tried again; the adapter itself waits for a leader, too.
const SICK_PAUSE: Duration = Duration::from_millis(100);

/// A sick partition that no key asks for is tried with one message after this time.
const PROBE_AFTER: Duration = Duration::from_secs(5);

#[derive(Default)]
struct Partition {
    waiting: VecDeque<Waiting>,
    in_flight: bool,
    sick: Option<Sickness>,
}

/// Had no leader or gave no answer when it was last tried: why, and when to try again. Until it has answered
/// it goes in calls apart from the healthy ones, so that those need not wait with it.
struct Sickness {
    why: Why,
    retry_at: Instant,
    probe_at: Instant,
}

struct Flight {
    since: Instant,
    young: bool,
    /// In the order of the sets' messages.
    open: Vec<Open>,
}

/// See the module's text.
pub(super) struct Queue {
    topic: Arc<str>,
    room: Arc<Room>,
    /// After this time at the latest the adapter says that a set was never written. With less left than that,
    /// a message for a partition without a leader is not sent again: its answer would come too late to be
    /// definite.
    definite_after: Duration,
    partitions: Vec<Partition>,
    /// Messages for one partition while the number of partitions is unknown, or too small for it.
    unplaced: VecDeque<Waiting>,
    /// Messages for any partition.
    unkeyed: VecDeque<Waiting>,
    flights: [Option<Flight>; MAX_LANES],
    messages: usize,
    bytes: usize,
    set_bytes: usize,
    /// When `set_bytes` is raised again, where it was lowered.
    set_grows_at: Instant,
    /// The partition that messages without a key go to next.
    rotation: usize,
    next_deadline: Option<Instant>,
    /// Why no lane reaches the topic.
    trouble: Option<Why>,
}

impl Queue {
    /// An empty queue, which takes no more than there is `room` for; see the field for `definite_after`.
    pub(super) fn new(topic: Arc<str>, room: Arc<Room>, definite_after: Duration) -> Queue {
        Queue {
            topic,
            room,
            definite_after,
            partitions: Vec::new(),
            unplaced: VecDeque::new(),
            unkeyed: VecDeque::new(),
            flights: Default::default(),
            messages: 0,
            bytes: 0,
            set_bytes: SET_BYTES,
            set_grows_at: Instant::now(),
            rotation: 0,
            next_deadline: None,
            trouble: None,
        }
    }

    /// Takes a message; false if the limits are reached.
    pub(super) fn push(&mut self, message: Outgoing, done: Done) -> bool {
        let deadline = message.deadline;
        let payload = Payload::new(message);
        let bytes = payload.bytes();
        if !self.room.take(bytes) {
            return false;
        }
        self.messages += 1;
        self.bytes += bytes;
        self.next_deadline = earlier(self.next_deadline, deadline);
        self.line_of(&payload).push_back(Waiting { payload, deadline, done });
        true
    }

    /// Messages whose bytes are held.
    pub(super) fn open(&self) -> usize {
        self.messages
    }

    /// Whether a message was not taken for want of room, and none has left since.
    pub(super) fn is_full(&self) -> bool {
        self.room.is_full()
    }

    /// No open message's deadline is earlier.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.next_deadline
    }

    /// The number of partitions, 0 while unknown.
    pub(super) fn partitions(&self) -> usize {
        self.partitions.len()
    }

    /// Says how many partitions the topic has. What waits for one of them is placed anew, in order.
    pub(super) fn set_partitions(&mut self, count: usize) {
        self.trouble = None;
        if count == self.partitions.len() {
            return;
        }
        let mut placed = mem::take(&mut self.unplaced);
        for partition in &mut self.partitions {
            placed.append(&mut partition.waiting);
        }
        self.partitions.resize_with(count, Partition::default);
        for waiting in placed {
            self.line_of(&waiting.payload).push_back(waiting);
        }
    }

    /// Says why the topic cannot be reached at present.
    pub(super) fn set_trouble(&mut self, reason: &str) {
        self.trouble = Some(Why::new("no_broker", reason));
    }

    /// Whether a flight is out that has not been for long: then no other leaves, so that what comes meanwhile
    /// goes together in the next.
    pub(super) fn has_young_flight(&self) -> bool {
        self.flights.iter().flatten().any(|flight| flight.young)
    }

    /// How many flights are out.
    pub(super) fn flights(&self) -> usize {
        self.flights.iter().flatten().count()
    }

    /// Lets flights that have been out for long keep nobody any more.
    pub(super) fn age(&mut self, now: Instant) {
        for flight in self.flights.iter_mut().flatten() {
            flight.young &= now.saturating_duration_since(flight.since) < YOUNG;
        }
    }

    /// Whether [`Queue::take`] would find something for one more lane.
    pub(super) fn has_work(&self, now: Instant) -> bool {
        let sick_may_leave = self.sick_may_leave();
        let none_healthy = self.none_healthy();
        let wanted = |partition: &Partition| match &partition.sick {
            None => !partition.waiting.is_empty() || !self.unkeyed.is_empty(),
            Some(sick) => {
                let for_unkeyed = none_healthy || sick.probe_at <= now;
                let some = !partition.waiting.is_empty() || for_unkeyed && !self.unkeyed.is_empty();
                some && sick_may_leave && sick.retry_at <= now
            }
        };
        !self.has_young_flight() && self.partitions.iter().any(|p| !p.in_flight && wanted(p))
    }

    /// Takes what one call on `lane` shall send; nothing if there is nothing or it is not time. Messages that
    /// are past saving go to `finished`.
    pub(super) fn take(&mut self, now: Instant, lane: usize, finished: &mut Vec<Finished>) -> Vec<Set> {
        if self.has_young_flight() || lane >= MAX_LANES {
            return Vec::new();
        }
        if self.set_bytes < SET_BYTES && self.set_grows_at <= now {
            self.set_bytes = (self.set_bytes * 2).min(SET_BYTES);
            self.set_grows_at = now + SET_GROWS_AFTER;
        }
        let mut open = Vec::new();
        let mut sets = self.take_sick(now, &mut open, finished);
        // A call that may have to wait for a leader keeps nobody.
        let young = sets.is_empty();
        if sets.is_empty() {
            sets = self.take_healthy(&mut open);
        }
        for set in &sets {
            if let Some(partition) = self.partition(set.partition) {
                partition.in_flight = true;
            }
        }
        if !sets.is_empty() {
            self.flights[lane] = Some(Flight { since: now, young, open });
        }
        sets
    }

    /// Ends the flight of `lane` as `outcomes` say, one for each set. What was never written waits again, in
    /// front. Sets whose outcome is final keep their messages, for the log.
    pub(super) fn settle(
        &mut self,
        now: Instant,
        lane: usize,
        sets: &mut [Set],
        outcomes: &[SetOutcome],
        finished: &mut Vec<Finished>,
    ) {
        let Some(flight) = self.flights.get_mut(lane).and_then(Option::take) else { return };
        let mut open = flight.open.into_iter();
        for (set, outcome) in sets.iter_mut().zip(outcomes) {
            let open: Vec<_> = open.by_ref().take(set.messages.len()).collect();
            if let Some(partition) = self.partition(set.partition) {
                partition.in_flight = false;
                partition.sick = Sickness::after(outcome, now);
            }
            match outcome {
                SetOutcome::NeverWritten { reason } => {
                    self.requeue(now, set, open, &Why::new("no_leader", reason), finished);
                }
                SetOutcome::TooLarge if set.messages.len() > 1 => {
                    // The refused set was above the topic's limit, so half of it is above half of that limit:
                    // the size sinks fast to what the topic takes, and an offender ends up alone.
                    self.set_bytes = self.set_bytes.min(set.bytes / 2);
                    self.set_grows_at = now + SET_GROWS_AFTER;
                    self.requeue(now, set, open, &Why::new("queue_timeout", BEHIND_OTHERS), finished);
                }
                SetOutcome::Invalid { .. } if set.messages.len() > 1 => {
                    // Half by half, so that one offender among many is found in few calls.
                    let half = set.messages.len() / 2;
                    set.messages.iter_mut().for_each(|payload| payload.company = half);
                    self.requeue(now, set, open, &Why::new("queue_timeout", BEHIND_OTHERS), finished);
                }
                _ => self.conclude(set, open, outcome, finished),
            }
        }
    }

    /// Gives every message whose deadline has come its honest answer: not stored while it waits, unknown
    /// while it is under way.
    pub(super) fn expire(&mut self, now: Instant, finished: &mut Vec<Finished>) {
        if self.next_deadline.is_some_and(|deadline| deadline <= now) {
            self.end_until(Some(now), finished);
        }
    }

    /// Gives up on everything that is open, as the sender closes.
    pub(super) fn abandon(&mut self, finished: &mut Vec<Finished>) {
        self.trouble = Some(Why::new("closing", "the program is stopping"));
        self.end_until(None, finished);
    }

    fn partition(&mut self, number: i32) -> Option<&mut Partition> {
        self.partitions.get_mut(usize::try_from(number).ok()?)
    }

    /// Takes note of what is no longer held.
    fn forget(&mut self, gone: &Gone) {
        self.messages -= gone.messages;
        self.bytes -= gone.bytes;
        self.room.give_back(gone.messages, gone.bytes);
    }

    fn line_of(&mut self, payload: &Payload) -> &mut VecDeque<Waiting> {
        let count = i32::try_from(self.partitions.len()).unwrap_or(i32::MAX);
        let given = match payload.place {
            Place::ByKey => None,
            Place::Rather(given) => Some(given).filter(|given| count == 0 || (0..count).contains(given)),
            Place::Only(given) => Some(given),
        };
        let of_key = |key: &Vec<u8>| partition_for_key(key, count);
        let Some(number) = given.or_else(|| payload.key.as_ref().map(of_key)) else {
            return &mut self.unkeyed;
        };
        match usize::try_from(number).ok().and_then(|place| self.partitions.get_mut(place)) {
            Some(partition) => &mut partition.waiting,
            None => &mut self.unplaced,
        }
    }

    /// Calls to sick partitions leave a lane for the healthy ones.
    fn sick_may_leave(&self) -> bool {
        self.flights() < MAX_LANES - 1
    }

    fn none_healthy(&self) -> bool {
        self.partitions.iter().all(|partition| partition.sick.is_some())
    }

    /// What waits for partitions that lately had no leader or gave no answer, together in one call, so that
    /// nothing else waits with it.
    fn take_sick(&mut self, now: Instant, open: &mut Vec<Open>, finished: &mut Vec<Finished>) -> Vec<Set> {
        let mut sets = Vec::new();
        if !self.sick_may_leave() {
            return sets;
        }
        let mut room = CALL_BYTES;
        let mut gone = Gone::default();
        let none_healthy = self.none_healthy();
        for (index, partition) in self.partitions.iter_mut().enumerate() {
            let due = partition.sick.as_ref().filter(|sick| sick.retry_at <= now && !partition.in_flight);
            let Some(sick) = due else { continue };
            let mut set = Set::new(index);
            let bytes = self.set_bytes.min(room);
            set.fill(&mut partition.waiting, bytes, open);
            if set.messages.is_empty() && (none_healthy || sick.probe_at <= now) {
                set.most = if none_healthy { usize::MAX } else { 1 };
                set.fill(&mut self.unkeyed, bytes, open);
            }
            let too_late = now + self.definite_after;
            give_up(too_late, &mut set, &sick.why, open, &mut gone, finished);
            if !set.messages.is_empty() {
                room = room.saturating_sub(set.bytes);
                sets.push(set);
            }
        }
        self.forget(&gone);
        sets
    }

    /// What waits for partitions with a leader; messages without a key go together to one of them, in turn,
    /// as one larger batch costs the cluster less than many small ones.
    fn take_healthy(&mut self, open: &mut Vec<Open>) -> Vec<Set> {
        let mut sets = Vec::new();
        let mut room = CALL_BYTES;
        let start = if self.rotation < self.partitions.len() { self.rotation } else { 0 };
        let (before, after) = self.partitions.split_at_mut(start);
        let turn = after.iter_mut().zip(start..).chain(before.iter_mut().zip(0..));
        for (partition, index) in turn {
            if partition.in_flight || partition.sick.is_some() {
                continue;
            }
            let mut set = Set::new(index);
            let bytes = self.set_bytes.min(room);
            set.fill(&mut partition.waiting, bytes, open);
            let keyed = set.messages.len();
            set.fill(&mut self.unkeyed, bytes, open);
            if set.messages.len() > keyed {
                self.rotation = index + 1;
            }
            if !set.messages.is_empty() {
                room = room.saturating_sub(set.bytes);
                sets.push(set);
            }
        }
        sets
    }

    /// Puts the messages of a set back in front of their lines, in order; those out of time get their answer.
    fn requeue(
        &mut self,
        now: Instant,
        set: &mut Set,
        open: Vec<Open>,
        why: &Why,
        finished: &mut Vec<Finished>,
    ) {
        for (payload, open) in mem::take(&mut set.messages).into_iter().zip(open).rev() {
            match open {
                Some((deadline, done)) if deadline > now => {
                    self.room.metrics().retry();
                    self.line_of(&payload).push_front(Waiting { payload, deadline, done });
                }
                told => {
                    self.forget(&Gone::of(&payload));
                    finished.extend(told.map(|(_, done)| (done, why.not_stored())));
                }
            }
        }
    }

    /// Hands out the fate of a set's messages.
    fn conclude(
        &mut self,
        set: &mut Set,
        open: Vec<Open>,
        outcome: &SetOutcome,
        finished: &mut Vec<Finished>,
    ) {
        let base = if let SetOutcome::Stored { base } = outcome { *base } else { 0 };
        for ((payload, open), offset) in set.messages.iter_mut().zip(open).zip(base..) {
            self.forget(&Gone::of(payload));
            payload.late = open.is_none();
            finished
                .extend(open.map(|(_, done)| (done, outcome.delivery(&self.topic, set.partition, offset))));
        }
    }

    /// Ends what is due at `now`, or everything.
    fn end_until(&mut self, now: Option<Instant>, finished: &mut Vec<Finished>) {
        let due = |deadline: Instant| now.is_none_or(|now| deadline <= now);
        let mut next = None;
        let mut gone = Gone::default();
        let why = self.why_waiting();
        let mut sieve = |line: &mut VecDeque<Waiting>, why: &Why| {
            for waiting in mem::take(line) {
                if due(waiting.deadline) {
                    gone.add(&waiting.payload);
                    finished.push((waiting.done, why.not_stored()));
                } else {
                    next = earlier(next, waiting.deadline);
                    line.push_back(waiting);
                }
            }
        };
        let unplaced = Why::new("no_partition", "its topic is not known to have that partition");
        sieve(&mut self.unplaced, if self.partitions.is_empty() { &why } else { &unplaced });
        sieve(&mut self.unkeyed, &why);
        for partition in &mut self.partitions {
            let sick = partition.sick.as_ref().filter(|_| self.trouble.is_none());
            sieve(&mut partition.waiting, sick.map_or(&why, |sick| &sick.why));
        }
        let reason = if now.is_some() { "no answer came in time" } else { "the program is stopping" };
        for open in self.flights.iter_mut().flatten().flat_map(|flight| &mut flight.open) {
            match open.take() {
                Some((deadline, done)) if due(deadline) => finished.push((done, unknown(reason))),
                Some((deadline, done)) => {
                    next = earlier(next, deadline);
                    *open = Some((deadline, done));
                }
                None => {}
            }
        }
        self.forget(&gone);
        self.next_deadline = next;
    }

    /// Why a message that could go to any partition still waits.
    fn why_waiting(&self) -> Why {
        let first_sick = self.partitions.iter().find_map(|partition| partition.sick.as_ref());
        match (&self.trouble, first_sick) {
            (Some(why), _) => why.clone(),
            (None, Some(sick)) if self.partitions.iter().all(|p| p.sick.is_some() || p.in_flight) => {
                sick.why.clone()
            }
            _ if self.partitions.is_empty() => Why::new("no_broker", "no broker has answered yet"),
            _ => Why::new("queue_timeout", BEHIND_OTHERS),
        }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.room.give_back(self.messages, self.bytes);
    }
}

const NO_ANSWER: &str = "its partition did not acknowledge the messages before it";
const BEHIND_OTHERS: &str = "it waited too long behind other messages";

impl Sickness {
    fn after(outcome: &SetOutcome, now: Instant) -> Option<Sickness> {
        let why = match outcome {
            SetOutcome::NeverWritten { reason } => Why::new("no_leader", reason),
            SetOutcome::Unknown { .. } => Why::new("no_answer", NO_ANSWER),
            _ => return None,
        };
        Some(Sickness { why, retry_at: now + SICK_PAUSE, probe_at: now + PROBE_AFTER })
    }
}

fn earlier(known: Option<Instant>, other: Instant) -> Option<Instant> {
    Some(known.map_or(other, |known| known.min(other)))
}

#[cfg(test)]
mod tests;
