//! What is committed, and handing over.

use super::slots::{NIL, State};
use super::{Commit, Engine};
use crate::offset_ranges::OffsetRange;
use crate::queue::note::{Attempted, MIN_LIMIT, Note};

/// The reach is not further ahead than this, in offsets.
const MAX_AHEAD: i64 = 1 << 16;
/// The reach is ahead at least so far.
const MIN_AHEAD: i64 = 16;

/// What Kafka has, and what it is to get.
#[derive(Debug)]
pub struct Committed {
    /// Nothing at or above this offset is handed out; what the last confirmed commit says.
    pub reach: i64,
    /// The highest reach that a commit has had.
    highest_reach: i64,
    /// Something is to be committed.
    pub changed: bool,
    /// The lowest message that waits for a further reach.
    wanted: Option<i64>,
    /// The highest offset that was handed out when the last commit was made.
    touched: i64,
    /// The number of the last commit that was made, and of the last one that is confirmed.
    made: u64,
    confirmed: u64,
    in_flight: Option<InFlight>,
    /// The characters of the last commit's note.
    note_length: usize,
    /// The last confirmed commit says that the partition is handed over.
    handed_over: bool,
}

/// A commit on its way.
#[derive(Debug)]
struct InFlight {
    number: u64,
    reach: i64,
    clean: bool,
    trial: Option<u64>,
}

impl Committed {
    /// Nothing by this owner; the one before had `next` and `reach`.
    pub fn new(next: i64, reach: i64) -> Committed {
        Committed {
            reach: i64::MIN,
            highest_reach: reach,
            changed: true,
            wanted: None,
            touched: next,
            made: 0,
            confirmed: 0,
            in_flight: None,
            note_length: 0,
            handed_over: false,
        }
    }

    /// The number of the next commit.
    pub fn next_number(&self) -> u64 {
        self.made + 1
    }

    /// Whether Kafka has the commit of this number, or a later one.
    pub fn has(&self, number: u64) -> bool {
        number <= self.confirmed
    }

    /// Takes note that the message at `offset` waits for a further reach.
    pub fn want(&mut self, offset: i64) {
        self.wanted = Some(self.wanted.map_or(offset, |wanted| wanted.min(offset)));
    }
}

impl<T> Engine<T> {
    /// The number of the first commit that says what is done now.
    pub fn next_commit(&self) -> u64 {
        self.committed.next_number()
    }

    /// Whether the commit of this number is confirmed, or a later one.
    pub fn has_committed(&self, number: u64) -> bool {
        self.committed.has(number)
    }

    /// What to commit now; `None` if nothing has changed, or a commit is on its way. Kafka's answer has to be
    /// told by [`Engine::committed`] or [`Engine::not_committed`].
    pub fn commit(&mut self, now: u64) -> Option<Commit> {
        self.now = now;
        let clean = self.handing_over && self.leases.len() == 0;
        let wanted = self.committed.changed
            || (self.committed.wanted.is_some() && !self.handing_over)
            || (clean && !self.committed.handed_over);
        if !wanted || self.committed.in_flight.is_some() {
            return None;
        }
        let next = self.lowest();
        let reach = if clean { self.suspects.reach(self.position) } else { self.further_reach() };
        let held_by = (!clean).then(|| self.settings.owner.clone());
        let (done, attempted) = self.settled();
        let paused = self.paused && !clean;
        let note = Note { held_by, paused, reach, done, attempted };
        let (note, whole) = note.text_within(next, now, self.settings.note_limit);
        self.committed.note_length = note.len();
        self.committed.changed = false;
        self.committed.wanted = None;
        let number = self.committed.next_number();
        self.committed.made = number;
        self.committed.in_flight = Some(InFlight { number, reach, clean, trial: self.suspects.trial() });
        Some(Commit { offset: next, note, whole })
    }

    /// The characters of the note that was made last.
    pub fn note_length(&self) -> usize {
        self.committed.note_length
    }

    /// Kafka has the commit.
    pub fn committed(&mut self) {
        let Some(commit) = self.committed.in_flight.take() else { return };
        self.committed.handed_over = commit.clean;
        self.committed.reach = if commit.clean { i64::MIN } else { commit.reach };
        self.committed.confirmed = commit.number;
        self.lines.confirm(commit.number);
        self.suspects.confirm(commit.trial);
        for (index, stamp) in std::mem::take(&mut self.uncommitted) {
            let slot = self.slots.at(index);
            if slot.state == State::Waiting && slot.stamp == stamp {
                self.come_due(index);
            }
        }
    }

    /// Kafka may not have the commit: what it says is committed again.
    pub fn not_committed(&mut self) {
        if self.committed.in_flight.take().is_some() {
            self.committed.changed = true;
        }
    }

    /// Sets the most characters of the note, when a broker turns out to take fewer.
    pub fn limit_note(&mut self, limit: usize) {
        self.settings.note_limit = limit.max(MIN_LIMIT);
        self.committed.changed = true;
    }

    /// Lets the note say whether its owner pauses.
    pub fn set_paused(&mut self, paused: bool) {
        if self.paused != paused {
            self.paused = paused;
            self.committed.changed = true;
        }
    }

    /// Hands out nothing more. When the leases have ended, the next commit says that the partition is handed
    /// over; nobody waits for waits.
    pub fn hand_over(&mut self) {
        if !self.handing_over {
            self.handing_over = true;
            self.cancel_test();
        }
    }

    /// Goes on with a partition that stays. Nothing is handed out before a commit says who holds it.
    pub fn resume(&mut self) {
        if self.handing_over {
            self.handing_over = false;
            self.committed.reach = i64::MIN;
            self.committed.changed = true;
        }
    }

    /// Whether all is committed of a partition that is handed over.
    pub fn is_handed_over(&self) -> bool {
        let committed = &self.committed;
        self.handing_over && committed.handed_over && !committed.changed && committed.in_flight.is_none()
    }

    /// The next reach: ahead of what is in hand, and of what waits for it (messages that wait for others may
    /// lie between), by twice as much as was handed out since the last commit; and never below one that was
    /// committed before, as suspects below that may be open.
    fn further_reach(&mut self) -> i64 {
        let base = self.touched_end.max(self.lowest()).max(self.committed.wanted.unwrap_or(i64::MIN));
        let since = self.touched_end.saturating_sub(self.committed.touched);
        self.committed.touched = self.touched_end;
        let least = i64::from(self.settings.concurrency).clamp(MIN_AHEAD, MAX_AHEAD);
        let ahead = since.saturating_mul(2).clamp(least, MAX_AHEAD);
        self.committed.highest_reach = self.committed.highest_reach.max(base.saturating_add(ahead));
        self.committed.highest_reach
    }

    /// What is done above the lowest open message, and the open messages that were attempted.
    fn settled(&self) -> (Vec<OffsetRange>, Vec<Attempted>) {
        let mut done = Vec::with_capacity(self.slots.ranges() + self.restored.ranges().len());
        let mut attempted = Vec::with_capacity(self.attempted + self.restored.attempted().len());
        for (index, slot) in self.slots.iter() {
            if done.len() == self.slots.ranges() && attempted.len() == self.attempted {
                break;
            }
            if slot.attempts > 0 {
                let due = match slot.state {
                    State::Waiting | State::Blocked => slot.due,
                    State::Ready | State::Missing | State::Leased | State::Free => 0,
                };
                attempted.push(Attempted {
                    offset: slot.offset,
                    attempts: slot.attempts,
                    kills: slot.kills,
                    in_test: slot.in_test,
                    due,
                });
            }
            done.extend(self.slots.gap(index, slot.after));
        }
        debug_assert!(self.slots.head() == NIL || done.len() == self.slots.ranges());
        done.extend(self.restored.ranges());
        attempted.extend(self.restored.attempted());
        (done, attempted)
    }
}
