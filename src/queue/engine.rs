//! One owned partition of the work queue, as a state machine without I/O, threads or a clock.
//!
//! ```text
//! pushed → blocked → ready → leased → done
//!                      ↑       │ fail, release
//!                      └── waiting (until its time, one attempt more)
//!                              │ attempts are out: dead letter, stored first → done
//! ```
//!
//! What calls it fetches records and [pushes](Engine::push) them, [receives](Engine::receive) leases for its
//! workers, tells their outcomes, and commits what [`Engine::commit`] says, one commit at a time. Times are
//! milliseconds since 1970 that never go back: they are committed, and another process reads them. Decisions:
//!
//! - **Room is counted when a message is handed out**, not when it is read: before that it cannot make the
//!   note longer. [`note_budget`] has the bound. The lowest open message always goes, as its end makes the
//!   note shorter; room for it is kept free. So the note fits whatever happens, and never blocks for good.
//! - **Open messages are a linked list** in order of offset ([`slots`]). The done ranges are its gaps, so an
//!   outcome costs the same however many are open, and a message that is stuck costs no memory for those that
//!   pass it.
//! - **Nothing is handed out at or above the committed *reach***, which each commit moves ahead of what is in
//!   hand by twice what was handed out since the last. So a new owner knows which messages may have been in
//!   hand when the owner before ended without a word: the open ones below the reach, and no other. In normal
//!   times nothing waits for it.
//! - **Suspects**: those messages are tried one by one ([`Engine::try_suspect`]; the caller sees to it that
//!   only one engine of the process tries one). The attempt is committed before the message is handed out,
//!   with a mark: if the owner ends again, the message has killed it. Those with the fewest attempts are
//!   tried first, so that innocent ones are done before a killer gets its next chance. Where attempts are
//!   endless, [`MAX_KILLS`] deaths are enough. Of a line only the first message is one: see [`suspects`].
//! - **A failed attempt is committed before the next one begins**, so that attempts never go down, whoever
//!   ends. A wait that is shorter than a commit takes is as long as that.
//! - **A message that waits long has no bytes**, nor have those behind it in its line: they are dropped, and
//!   [asked for](Engine::next_wanted) again when their time has come. What waits fills no buffer.
//! - **A lease that ran out** is reported by [`Engine::overdue`] and ended by the caller, which has the
//!   policy of waits. A late answer is told apart by its lease's number.

mod by_hand;
mod commits;
mod lease;
mod leases;
mod lines;
mod note_budget;
mod outcomes;
mod payloads;
mod ready;
mod restored;
mod slots;
mod sums;
mod suspects;
mod tries;

use std::collections::{BTreeMap, VecDeque};

pub use lease::{Commit, Failed, Fate, Lease, LeaseId, OpenMessage, OpenState, Pause, Task};
pub use lines::Order;

use crate::queue::note::{MIN_LIMIT, Note, attempts_length};
use commits::Committed;
use leases::Leases;
use lines::{Lines, Place};
use note_budget::NoteBudget;
use ready::{Entry, May, Ready, Waits};
use restored::Restored;
use slots::{NIL, Slot, Slots, State};
use suspects::Suspects;

/// The deaths of workers after which a message becomes a dead letter where attempts are endless.
pub const MAX_KILLS: u32 = 5;

/// The fixed parameters of an engine.
#[derive(Debug, Clone)]
pub struct EngineSettings {
    /// The name that the note says.
    pub owner: String,
    /// The order in which messages are handed out.
    pub order: Order,
    /// Attempts at a message; 0 for ever.
    pub max_attempts: u32,
    /// How long a lease lasts, in ms.
    pub lease_time: u64,
    /// A message that waits longer than this, in ms, does not keep its bytes.
    pub keep_waiting: u64,
    /// The messages in hand at a time in this process, about: so far the reach is ahead at least.
    pub concurrency: u32,
    /// The most characters of the note.
    pub note_limit: usize,
    /// A message that was in hand when the owner before ended without a word may have killed it.
    pub suspects: bool,
    /// The most messages of a key that are handed out one after the other before the end of the first is
    /// committed. An owner counts with as many messages of each key that may have killed the one before.
    pub burst: u32,
}

/// What became of a record that was pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// It is open.
    Open,
    /// It was pushed before, or the note says that it is done.
    Known,
}

/// One owned partition. `T` is what a message brings along: its key, value and headers.
#[derive(Debug)]
pub struct Engine<T> {
    settings: EngineSettings,
    slots: Slots<T>,
    lines: Lines,
    ready: Ready,
    waits: Waits,
    /// How many messages wait for their time.
    waiting: usize,
    /// Those whose time has come, and whose attempts are not committed: index and stamp.
    uncommitted: Vec<(u32, u64)>,
    leases: Leases,
    suspects: Suspects,
    restored: Restored,
    committed: Committed,
    budget: NoteBudget,
    /// The open messages that were attempted.
    attempted: usize,
    /// The offset that fetching goes on from.
    position: i64,
    /// The offset after the highest one that was handed out or restored, the open offsets below it, and the
    /// first message above.
    touched_end: i64,
    touched_open: u64,
    untouched: u32,
    /// The last number of a lease or wait.
    stamp: u64,
    /// The time that was told last.
    now: u64,
    payload_bytes: usize,
    /// Offsets whose bytes are to be fetched again, and those that are being fetched.
    wanted: VecDeque<(i64, u32)>,
    asked: BTreeMap<i64, u32>,
    handing_over: bool,
    pause: Option<Pause>,
    /// The owner hands out nothing: its handler cannot be started, or too many attempts failed.
    paused: bool,
    /// The offset that was tried last in such a pause.
    tried: i64,
}

impl<T> Engine<T> {
    /// An engine for a partition whose group has committed `next` with `note`. Nothing is handed out before
    /// the first commit is confirmed: it says who holds the partition.
    pub fn new(settings: EngineSettings, next: i64, note: Note) -> Engine<T> {
        let settings = EngineSettings { note_limit: settings.note_limit.max(MIN_LIMIT), ..settings };
        let mut engine = Engine {
            slots: Slots::new(next),
            lines: Lines::new(settings.order, settings.burst.max(1)),
            ready: Ready::default(),
            waits: Waits::default(),
            waiting: 0,
            uncommitted: Vec::new(),
            leases: Leases::default(),
            suspects: Suspects::below(if settings.suspects { note.reach } else { i64::MIN }),
            committed: Committed::new(next, note.reach),
            restored: Restored::new(next, note),
            budget: NoteBudget::default(),
            attempted: 0,
            position: next,
            touched_end: next,
            touched_open: 0,
            untouched: NIL,
            stamp: 0,
            now: 0,
            payload_bytes: 0,
            wanted: VecDeque::new(),
            asked: BTreeMap::new(),
            handing_over: false,
            pause: None,
            paused: false,
            tried: -1,
            settings,
        };
        engine.count_restored();
        engine
    }

    /// The offset to fetch from next.
    pub fn position(&self) -> i64 {
        self.position
    }

    /// The lowest offset that is not done: what may be committed.
    pub fn lowest(&self) -> i64 {
        match self.slots.head() {
            NIL => self.position,
            head => self.slots.at(head).offset,
        }
    }

    /// Adds the record at `offset`; records come in order. The offsets that were left out since the one
    /// before have no records, and are settled with this one.
    pub fn push(&mut self, offset: i64, key: Option<&[u8]>, bytes: usize, payload: T) -> Pushed {
        self.advance(offset);
        if offset < self.position {
            return Pushed::Known;
        }
        let mut slot = Slot::new(offset, self.slots.next_start(offset));
        slot.line = self.lines.of(key);
        (slot.payload, slot.bytes) = (Some(payload), bytes);
        if let Some(attempted) = self.restored.take(offset) {
            (slot.attempts, slot.kills, slot.due) = (attempted.attempts, attempted.kills, attempted.due);
            self.budget.attempted -= 1;
            self.budget.attempts_bytes -= attempts_length(attempted.attempts, attempted.kills, false);
            self.attempted -= 1;
        }
        slot.dead = self.is_out_of_attempts(slot.attempts, slot.kills);
        slot.suspect = self.suspects.includes(offset) && !slot.dead;
        self.suspects.open += usize::from(slot.suspect);
        self.payload_bytes += bytes;
        self.position = offset.saturating_add(1);
        let index = self.slots.push(slot);
        if self.untouched == NIL {
            self.untouched = index;
        }
        if offset < self.restored.end {
            self.touch(index);
        }
        self.put(index);
        let Place { head, is_far } = self.lines.push(&mut self.slots, index);
        if head == index {
            self.lead(index);
        } else {
            let slot = self.slots.at_mut(index);
            slot.state = State::Blocked;
            // One that was attempted before may have been in hand: the order was another one then.
            slot.follows = slot.attempts == 0;
            if slot.follows && is_far {
                self.suspects.open -= usize::from(std::mem::take(&mut slot.suspect));
            }
            // One whose bytes are being fetched again fills no buffer with those behind it, either.
            if self.slots.at(head).payload.is_none() {
                self.shed(index);
            }
        }
        self.advance(self.position);
        Pushed::Open
    }

    /// Takes note that no record is left below `position`: what is fetched next comes from there on.
    pub fn skip_to(&mut self, position: i64) {
        self.advance(position);
        if position > self.position {
            self.position = position;
            self.committed.changed |= self.slots.head() == NIL;
        }
    }

    /// How many of the offsets below `position` were neither pushed nor are done.
    pub fn not_done_below(&self, position: i64) -> i64 {
        let within = |offset: i64| offset.clamp(self.position, position.max(self.position));
        let done = self.restored.ranges().map(|(start, after)| within(after) - within(start));
        within(position) - self.position - done.sum::<i64>()
    }

    /// Hands out up to `max` messages that are ready, the lowest offsets first.
    pub fn receive(&mut self, max: usize, now: u64, out: &mut Vec<Lease>) {
        self.wake(now);
        self.pause = None;
        if self.handing_over {
            self.pause = Some(Pause::HandOver);
            return;
        }
        let most = out.len().saturating_add(max);
        if out.len() < most
            && let Some(index) = self.suspects.confirmed(&self.slots)
        {
            out.push(self.lease(index, now));
        }
        while out.len() < most
            && let Some(index) = self.next_ready(Ready::pop)
        {
            out.push(self.lease(index, now));
        }
    }

    /// What was handed out with a lease; `None` for one that ran out.
    pub fn payload(&self, lease: LeaseId) -> Option<&T> {
        let index = self.leased(lease)?;
        self.slots.at(index).payload.as_ref()
    }

    /// A message that is handed out, as it was; `None` if its lease ran out.
    pub fn lease_of(&self, lease: LeaseId) -> Option<Lease> {
        self.leased(lease).map(|index| self.lease_at(index))
    }

    /// How often a message that is handed out has killed its worker; 0 for a lease that ran out.
    pub fn kills(&self, lease: LeaseId) -> u32 {
        self.leased(lease).map_or(0, |index| self.slots.at(index).kills)
    }

    /// Why [`Engine::receive`] handed out less than it was asked for, though more is ready.
    pub fn pause(&self) -> Option<Pause> {
        self.pause
    }

    /// Whether a message waits for a commit: what is ready, or a suspect whose attempt has to be committed.
    pub fn waits_for_commit(&self) -> bool {
        self.pause == Some(Pause::Commit) || self.suspects.is_unconfirmed() || !self.uncommitted.is_empty()
    }

    /// The earliest time at which a wait or a lease ends.
    pub fn next_due(&mut self) -> Option<u64> {
        let waits = self.waits.earliest(&self.slots);
        let lease = self.leases.first().map(|(due, _)| due);
        [waits, lease].into_iter().flatten().min()
    }

    /// The number of messages that are handed out.
    pub fn leased_count(&self) -> usize {
        self.leases.len()
    }

    /// The number of open messages that were pushed.
    pub fn open_count(&self) -> usize {
        self.slots.len()
    }

    /// The bytes that the open messages hold, their bookkeeping included.
    pub fn bytes(&self) -> usize {
        // Beside its slot a message has a place in its line and among those that are ready; and what grows
        // has room for more.
        const INDEXED: usize = 64;
        self.payload_bytes + self.slots.len() * (size_of::<Slot<T>>() + INDEXED)
    }

    /// The same without their bookkeeping.
    pub fn payload_bytes(&self) -> usize {
        self.payload_bytes
    }

    /// Takes note that all records before `position` were seen, and passes over what is done from there on.
    fn advance(&mut self, position: i64) {
        while let Some(after) = self.restored.pass(position.max(self.position)) {
            self.budget.ranges -= 1;
            self.slots.advance(after);
            self.position = self.position.max(after);
            self.committed.changed |= self.slots.head() == NIL;
        }
        while let Some(gone) = self.restored.pop_vanished(position.max(self.position)) {
            self.budget.attempted -= 1;
            self.budget.attempts_bytes -= attempts_length(gone.attempts, gone.kills, false);
            self.attempted -= 1;
        }
    }

    /// Makes the messages ready whose time has come.
    fn wake(&mut self, now: u64) {
        self.now = now;
        while let Some(index) = self.waits.pop(&self.slots, now) {
            self.come_due(index);
        }
    }

    /// Makes a waiting message ready, as soon as its attempts are committed.
    fn come_due(&mut self, index: u32) {
        let slot = self.slots.at(index);
        if slot.dead || self.committed.has(slot.counted_in) {
            self.make_ready(index);
        } else {
            self.uncommitted.push((index, slot.stamp));
        }
    }

    /// Lets a message go on that has become the head of its line: after a commit where too many of the line
    /// have ended since the last one, and where it is a follower.
    fn lead(&mut self, index: u32) {
        let slot = self.slots.at(index);
        if (slot.suspect && slot.follows) || self.lines.is_burst_over(slot.line) {
            let due = slot.due.max(self.now).max(1);
            let slot = self.slots.at_mut(index);
            (slot.counted_in, slot.due) = (self.committed.next_number(), due);
            self.committed.changed = true;
        }
        self.activate(index);
    }

    /// Lets the head of a line go on: at once, or at its time.
    fn activate(&mut self, index: u32) {
        let (due, dead) = (self.slots.at(index).due, self.slots.at(index).dead);
        if due == 0 || dead {
            self.make_ready(index);
        } else {
            self.wait_until(index, due);
            if due > self.now.saturating_add(self.settings.keep_waiting) {
                self.shed_line(index);
            }
        }
    }

    fn wait_until(&mut self, index: u32, due: u64) {
        self.stamp += 1;
        let slot = self.slots.at_mut(index);
        self.waiting += usize::from(slot.state != State::Waiting);
        (slot.state, slot.due, slot.stamp) = (State::Waiting, due, self.stamp);
        self.waits.push(due, self.stamp, index);
    }

    fn make_ready(&mut self, index: u32) {
        let slot = self.slots.at_mut(index);
        self.waiting -= usize::from(slot.state == State::Waiting);
        if slot.payload.is_none() {
            slot.state = State::Missing;
            self.want(index);
            return;
        }
        slot.state = State::Ready;
        match (slot.suspect, slot.follows) {
            (false, _) => self.ready.push(slot.offset, index),
            (true, false) => self.suspects.push(slot.attempts, slot.offset, index),
            (true, true) => self.suspects.push_follower(slot.offset, index),
        }
    }

    /// Takes a message that may be handed out by `pop`, which asks about those that are ready. If none may, the
    /// pause says why.
    fn next_ready(
        &mut self,
        pop: impl FnOnce(&mut Ready, &mut dyn FnMut(Entry) -> May) -> Option<u32>,
    ) -> Option<u32> {
        let mut ready = std::mem::take(&mut self.ready);
        let mut pause = None;
        let next = pop(&mut ready, &mut |(offset, index)| {
            let slot = self.slots.at(index);
            if slot.offset != offset || slot.state != State::Ready {
                return May::Stale;
            }
            let why = self.why_not(index);
            if why == Some(Pause::Commit) {
                self.committed.want(self.slots.at(index).offset);
            }
            pause = why.or(pause);
            if why.is_none() { May::Go } else { May::Stay }
        });
        self.ready = ready;
        self.pause = pause.filter(|_| next.is_none());
        next
    }

    fn why_not(&self, index: u32) -> Option<Pause> {
        let slot = self.slots.at(index);
        if slot.offset >= self.committed.reach {
            return Some(Pause::Commit);
        }
        (!self.fits(index)).then_some(Pause::Note)
    }

    fn lease(&mut self, index: u32, now: u64) -> Lease {
        self.risk(index);
        self.stamp += 1;
        let slot = self.slots.at_mut(index);
        (slot.state, slot.stamp) = (State::Leased, self.stamp);
        slot.due = now.saturating_add(self.settings.lease_time);
        self.leases.add(slot.due, index);
        self.lease_at(index)
    }

    fn lease_at(&self, index: u32) -> Lease {
        let slot = self.slots.at(index);
        let attempt = slot.attempts.saturating_add(u32::from(!slot.in_test && !slot.dead));
        let task = if slot.dead { Task::StoreDeadLetter } else { Task::Handle };
        Lease { id: LeaseId { slot: index, number: slot.stamp }, offset: slot.offset, attempt, task }
    }

    fn leased(&self, lease: LeaseId) -> Option<u32> {
        let slot = self.slots.at(lease.slot);
        (slot.state == State::Leased && slot.stamp == lease.number).then_some(lease.slot)
    }

    fn is_out_of_attempts(&self, attempts: u32, kills: u32) -> bool {
        match self.settings.max_attempts {
            0 => kills >= MAX_KILLS,
            most => attempts >= most,
        }
    }
}

#[cfg(test)]
mod tests;
