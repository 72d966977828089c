//! Messages that may have killed the owner before: tried one by one.
//!
//! One that stands behind another of its line was in hand only if that one was done since the last commit. It
//! is a *follower*: it needs no trial, but is handed out only after the end of the one before it is
//! committed, and while no suspect is tried. If it kills this owner, too, it is the first of its line for the
//! next one. One further behind than [`EngineSettings::burst`](super::EngineSettings::burst) was not in hand.
//! So a key with thousands of messages costs one trial, and some commits.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::Engine;
use super::note_budget::next_attempts_length;
use super::slots::{NIL, Slots, State};

/// The suspects of a partition.
#[derive(Debug, Default)]
pub struct Suspects {
    /// Open messages below this offset are suspects when they are fetched.
    below: i64,
    /// The suspects that are open and fetched.
    pub open: usize,
    /// Those that are ready: the fewest attempts first, then the lowest offset.
    ready: BinaryHeap<Reverse<(u32, i64, u32)>>,
    /// The followers that are ready, by offset and index.
    followers: Vec<(i64, u32)>,
    test: Option<Test>,
}

/// The suspect that is being tried.
#[derive(Debug)]
struct Test {
    index: u32,
    /// No other trial has this number.
    number: u64,
    /// Its attempt is committed.
    confirmed: bool,
}

impl Suspects {
    /// Those below `offset`.
    pub fn below(offset: i64) -> Suspects {
        Suspects { below: offset, ..Suspects::default() }
    }

    /// Whether the message at `offset` is one.
    pub fn includes(&self, offset: i64) -> bool {
        offset < self.below
    }

    /// The reach for a partition that is handed over at `position`: beyond it nobody is a suspect.
    pub fn reach(&self, position: i64) -> i64 {
        if self.open > 0 || position < self.below { self.below } else { i64::MIN }
    }

    /// Adds one that is ready.
    pub fn push(&mut self, attempts: u32, offset: i64, index: u32) {
        self.ready.push(Reverse((attempts, offset, index)));
    }

    /// Adds a follower that is ready.
    pub fn push_follower(&mut self, offset: i64, index: u32) {
        self.followers.push((offset, index));
    }

    /// The one that is being tried, if its attempt is committed and it is not handed out yet.
    pub fn confirmed<T>(&self, slots: &Slots<T>) -> Option<u32> {
        let test = self.test.as_ref().filter(|test| test.confirmed)?;
        (slots.at(test.index).state == State::Ready).then_some(test.index)
    }

    /// Whether one is to be tried whose attempt is not committed.
    pub fn is_unconfirmed(&self) -> bool {
        self.test.as_ref().is_some_and(|test| !test.confirmed)
    }

    /// The trial whose attempt the next commit has.
    pub fn trial(&self) -> Option<u64> {
        self.test.as_ref().map(|test| test.number)
    }

    /// The attempt of this trial is committed.
    pub fn confirm(&mut self, trial: Option<u64>) {
        if let Some(test) = self.test.as_mut().filter(|test| Some(test.number) == trial) {
            test.confirmed = true;
        }
    }

    /// The one that was tried has passed, or is given back.
    pub fn end_test(&mut self) {
        self.test = None;
    }

    /// The one to be tried next. An entry whose message is no suspect any more is passed over.
    fn first<T>(&mut self, slots: &Slots<T>) -> Option<u32> {
        loop {
            let Reverse((_, offset, index)) = *self.ready.peek()?;
            if slots.at(index).offset == offset && self.may_be_tried(slots, index) {
                return Some(index);
            }
            self.ready.pop();
        }
    }

    fn may_be_tried<T>(&self, slots: &Slots<T>, index: u32) -> bool {
        let slot = slots.at(index);
        slot.state == State::Ready && slot.suspect && !slot.follows && !slot.in_test
    }
}

impl<T> Engine<T> {
    /// The messages that are fetched, not done, and may have killed the owner before.
    pub fn suspect_count(&self) -> usize {
        self.suspects.open
    }

    /// Whether a suspect is being tried, from [`Engine::try_suspect`] to its outcome.
    pub fn is_trying_suspect(&self) -> bool {
        self.suspects.test.is_some()
    }

    /// Lets the next suspect be tried that is ready: its attempt is counted, and it is handed out once the
    /// next commit is confirmed. No other suspect of the process may be tried until its outcome. False if
    /// there is none, or one is being tried.
    pub fn try_suspect(&mut self, now: u64) -> bool {
        self.wake(now);
        if self.handing_over || self.suspects.test.is_some() {
            return false;
        }
        let Some(index) = self.next_suspect() else { return false };
        self.stamp += 1;
        self.lift(index);
        let slot = self.slots.at_mut(index);
        slot.attempts = slot.attempts.saturating_add(1);
        (slot.in_test, slot.at_risk) = (true, true);
        self.put(index);
        self.touch(index);
        self.suspects.test = Some(Test { index, number: self.stamp, confirmed: false });
        self.committed.changed = true;
        true
    }

    /// Lets the followers be handed out that are ready, as no suspect of the process is being tried.
    pub fn release_followers(&mut self) {
        for (offset, index) in std::mem::take(&mut self.suspects.followers) {
            let slot = self.slots.at(index);
            if slot.offset == offset && slot.state == State::Ready && slot.suspect && slot.follows {
                self.ready.push(offset, index);
            }
        }
    }

    /// The suspect to be tried next: where the note has no room for it, the lowest open message, if it is
    /// one.
    fn next_suspect(&mut self) -> Option<u32> {
        let index = self.suspects.first(&self.slots)?;
        let (slot, head) = (self.slots.at(index), self.slots.head());
        let tried = next_attempts_length(slot.attempts.saturating_add(1), slot.kills, true);
        if index == head || self.fits_beside_head(slot, tried) {
            return Some(index);
        }
        self.suspects.may_be_tried(&self.slots, head).then_some(head)
    }

    /// Takes back the attempt of the message that is being tried, if that is this one.
    pub(super) fn end_test(&mut self, index: u32) {
        if !self.slots.at(index).in_test {
            return;
        }
        self.lift(index);
        let slot = self.slots.at_mut(index);
        slot.in_test = false;
        slot.attempts = slot.attempts.saturating_sub(1);
        self.put(index);
        self.suspects.end_test();
        self.committed.changed = true;
    }

    /// Gives back a suspect that is not handed out yet.
    pub(super) fn cancel_test(&mut self) {
        let index = self.suspects.test.as_ref().map_or(NIL, |test| test.index);
        if self.slots.at(index).state == State::Ready {
            self.end_test(index);
            self.lift(index);
            self.slots.at_mut(index).at_risk = false;
            self.put(index);
            self.make_ready(index);
        }
    }
}
