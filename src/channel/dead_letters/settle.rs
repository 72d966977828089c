//! Replaying and discarding: letters are settled a few at a time, and only what is done is noted as settled.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::filter::Filter;
use super::hold::{self, Hold};
use super::letter::{Letter, Name};
use super::office::{Office, unreadable};
use super::read::{Part, Reader};
use super::resend::{Outcome, Resender};
use super::settled::Settled;
use crate::cluster::Cluster;
use crate::cluster::coordinator::{Commit, Coordinator};
use crate::error::{Error, Result};
use crate::stop::Stop;

/// Letters, and bytes of them, that are settled with one commit: so many may come again after a crash.
const TOGETHER: usize = 100;
const TOGETHER_BYTES: usize = 512 * 1024;
/// How long what is under way may take after a stop, or after the deadline.
const GRACE: Duration = Duration::from_secs(3);
/// How often it is looked whether stop is asked.
const LOOK: Duration = Duration::from_millis(50);

/// What to do with letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Send them to the topic that they came from.
    Replay,
    /// Nothing.
    Discard,
}

/// Which letters to settle, and for how long.
#[derive(Debug, Clone, Default)]
pub struct Order {
    /// Which.
    pub filter: Filter,
    /// So many at most, the oldest first.
    pub max: Option<u64>,
    /// No letter is begun after this.
    pub deadline: Option<Instant>,
}

/// Why a letter was not settled that was named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// It is replayed or discarded already.
    Settled,
    /// There is none of that name, or none any more, or it does not fit the rest of the filter.
    NotThere,
}

/// What became of an order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Letters that were settled.
    pub done: u64,
    /// Letters that were certainly not replayed.
    pub failed: u64,
    /// Letters of which nobody knows.
    pub unknown: u64,
    /// Letters that are still unsettled, these included, whether they fit or not; without those that came
    /// meanwhile.
    pub left: u64,
    /// Names that had no letter. Empty where it ended early.
    pub missing: Vec<(Name, Missing)>,
    /// Why it ended early, if it did.
    pub stopped: Option<String>,
}

impl Summary {
    /// Whether all that was asked is done.
    pub fn is_complete(&self) -> bool {
        self.failed == 0 && self.unknown == 0 && self.missing.is_empty() && self.stopped.is_none()
    }
}

impl Office {
    /// Settles letters: the oldest first, up to the end that their topic has now. `told` hears of each when what
    /// became of it is noted. `stop` ends it after the letters in hand.
    ///
    /// A letter is noted as settled only after it is stored. So one may be replayed again, but none is lost, when
    /// this is interrupted at any time.
    ///
    /// # Errors
    /// Nothing was done: another settles letters now, or no broker answers, or what was noted cannot be read.
    pub fn settle(
        &self,
        action: Action,
        order: &Order,
        stop: &Stop,
        told: &mut dyn FnMut(&Letter, &Outcome),
    ) -> Result<Summary> {
        let cluster = self.cluster();
        let _watch = Watch::start(&cluster, stop, order.deadline)?;
        let missing =
            |missing: Missing| order.filter.names.iter().map(move |name| (*name, missing)).collect();
        let Some(parts) = self.parts(&cluster, order.deadline)? else {
            return Ok(Summary { missing: missing(Missing::NotThere), ..Summary::default() });
        };
        if parts.iter().all(|part| part.settled.open_within(part.start, part.end) == 0) {
            let missing = missing(Missing::NotThere);
            return Ok(Summary { missing: explained(missing, &parts), ..Summary::default() });
        }
        let hold = Hold::take(&cluster, self.role(parts.len()))?;
        // Somebody may have settled some before.
        let parts = self.parts(&cluster, order.deadline)?.unwrap_or_default();
        let reader = self.reader(&cluster, parts.clone(), &order.filter, order.deadline);
        let mut run = Run {
            action,
            order,
            stop,
            hold,
            coordinator: hold::coordinator(&cluster, &self.role(parts.len())),
            topic: self.topic(),
            patience: self.settings.delivery_timeout,
            resender: self.resender(&cluster),
            reader,
            next: None,
            names: order.filter.names.clone(),
            parts: parts.into_iter().map(|part| (part.partition, part)).collect(),
            summary: Summary::default(),
        };
        let ended = run.all(told);
        Ok(run.summary(ended))
    }
}

/// An order being carried out.
struct Run<'a> {
    action: Action,
    order: &'a Order,
    stop: &'a Stop,
    hold: Hold,
    coordinator: Coordinator,
    topic: &'a str,
    /// How long it may take to become certain that nobody else settles, and to note what is settled.
    patience: Duration,
    resender: Resender,
    reader: Reader,
    /// One that was read, but did not go with the others.
    next: Option<Letter>,
    /// Names of which no letter was seen.
    names: BTreeSet<Name>,
    parts: BTreeMap<i32, Part>,
    summary: Summary,
}

impl Run<'_> {
    /// # Errors
    /// Why it ended early.
    fn all(&mut self, told: &mut dyn FnMut(&Letter, &Outcome)) -> Result<()> {
        loop {
            let letters = self.some()?;
            if letters.is_empty() {
                return Ok(());
            }
            self.hold.confirm(Instant::now() + self.patience)?;
            let outcomes = match self.action {
                Action::Replay => self.resender.send(&letters),
                Action::Discard => vec![Outcome::Discarded; letters.len()],
            };
            let noted = self.note(&letters, &outcomes);
            for (letter, outcome) in letters.iter().zip(&outcomes) {
                self.names.remove(&letter.name);
                // A discard is nothing but its note.
                if self.action == Action::Replay || noted.is_ok() {
                    self.count(outcome);
                    told(letter, outcome);
                }
            }
            noted?;
            if let Some(trouble) = outcomes.iter().find(|outcome| !outcome.concerns_it_alone()) {
                return Err(Error::new(match trouble {
                    Outcome::Failed { reason, .. } | Outcome::Unknown { reason } => reason.clone(),
                    Outcome::Replayed { .. } | Outcome::Discarded => String::new(),
                }));
            }
        }
    }

    /// The letters to settle next; none at the end.
    fn some(&mut self) -> Result<Vec<Letter>> {
        let mut letters: Vec<Letter> = Vec::new();
        let (mut bytes, mut taken) = (0, BTreeMap::<i32, usize>::new());
        let begun = self.summary.done + self.summary.failed + self.summary.unknown;
        let most =
            self.order.max.map_or(TOGETHER as u64, |max| max.saturating_sub(begun).min(TOGETHER as u64));
        let rooms: BTreeMap<i32, usize> =
            self.parts.iter().map(|(p, part)| (*p, part.settled.room())).collect();
        while (letters.len() as u64) < most {
            let Some(letter) = self.following()? else { break };
            let partition = letter.name.partition;
            let taken = taken.entry(partition).or_insert(0);
            let room = rooms.get(&partition).copied().unwrap_or(0);
            if room == 0 && letters.is_empty() {
                self.check_room(&letter)?;
                letters.push(letter);
                break;
            }
            bytes += letter.bytes();
            if *taken >= room || (bytes > TOGETHER_BYTES && !letters.is_empty()) {
                self.next = Some(letter);
                break;
            }
            *taken += 1;
            letters.push(letter);
        }
        Ok(letters)
    }

    /// The next letter that fits.
    fn following(&mut self) -> Result<Option<Letter>> {
        if let Some(letter) = self.next.take() {
            return Ok(Some(letter));
        }
        loop {
            if self.stop.is_asked() {
                return Err(Error::new("stopped"));
            }
            if self.order.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Err(Error::new("the time is up"));
            }
            match self.reader.next_letter().map_err(|error| unreadable().caused_by(error))? {
                Some(letter) if !self.order.filter.fits(&letter) => {}
                letter => return Ok(letter),
            }
        }
    }

    /// # Errors
    /// The note that this letter is settled would be too long.
    fn check_room(&self, letter: &Letter) -> Result<()> {
        let Some(part) = self.parts.get(&letter.name.partition) else { return Ok(()) };
        let mut settled = part.settled.clone();
        settled.insert(letter.after, letter.name.offset + 1);
        if settled.fits() {
            return Ok(());
        }
        let what = format!(
            "too many letters are settled with older ones between them that are not, more than Kafka takes note of: \
             replay or discard the oldest of partition {} first, from {}:{} on",
            part.partition,
            part.partition,
            part.settled.next().max(part.start)
        );
        Err(Error::new(what))
    }

    /// Commits which of these letters are settled.
    fn note(&mut self, letters: &[Letter], outcomes: &[Outcome]) -> Result<()> {
        let mut changed: BTreeMap<i32, Settled> = BTreeMap::new();
        for (letter, _) in letters.iter().zip(outcomes).filter(|(_, outcome)| outcome.is_settled()) {
            let partition = letter.name.partition;
            let Some(part) = self.parts.get(&partition) else { continue };
            let settled = changed.entry(partition).or_insert_with(|| {
                let mut settled = part.settled.clone();
                // What was before the first record is gone.
                settled.insert(0, part.start);
                settled
            });
            settled.insert(letter.after, letter.name.offset + 1);
        }
        if changed.is_empty() {
            return Ok(());
        }
        let commit = |(partition, settled): (&i32, &Settled)| Commit {
            topic: self.topic.to_owned(),
            partition: *partition,
            offset: settled.next(),
            metadata: settled.note(),
        };
        let commits: Vec<Commit> = changed.iter().map(commit).collect();
        self.hold.commit(&mut self.coordinator, &commits, Instant::now() + self.patience)?;
        for (partition, settled) in changed {
            if let Some(part) = self.parts.get_mut(&partition) {
                part.settled = settled;
            }
        }
        Ok(())
    }

    fn count(&mut self, outcome: &Outcome) {
        let summary = &mut self.summary;
        let count = match outcome {
            Outcome::Replayed { .. } | Outcome::Discarded => &mut summary.done,
            Outcome::Failed { .. } => &mut summary.failed,
            Outcome::Unknown { .. } => &mut summary.unknown,
        };
        *count += 1;
    }

    fn summary(self, ended: Result<()>) -> Summary {
        let left = self.parts.values().map(|part| part.settled.open_within(part.start, part.end)).sum();
        let mut summary = Summary { left, ..self.summary };
        match ended {
            Ok(()) if self.order.max.is_none_or(|max| summary.done + summary.failed < max) => {
                let missing = self.names.into_iter().map(|name| (name, Missing::NotThere)).collect();
                let parts: Vec<Part> = self.parts.into_values().collect();
                summary.missing = explained(missing, &parts);
            }
            Ok(()) => {}
            Err(error) => summary.stopped = Some(error.to_string()),
        }
        summary
    }
}

/// Tells those that are settled from those that never were.
fn explained(mut missing: Vec<(Name, Missing)>, parts: &[Part]) -> Vec<(Name, Missing)> {
    for (name, why) in &mut missing {
        let part = parts.iter().find(|part| part.partition == name.partition);
        if part.is_some_and(|part| name.offset < part.end && part.settled.contains(name.offset)) {
            *why = Missing::Settled;
        }
    }
    missing
}

/// Ends every wait in the cluster some time after a stop or a deadline.
struct Watch {
    over: Stop,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    fn start(cluster: &Arc<Cluster>, stop: &Stop, deadline: Option<Instant>) -> Result<Watch> {
        let over = Stop::new();
        let (cluster, stop, ended) = (cluster.clone(), stop.clone(), over.clone());
        let body = move || {
            let due = || stop.is_asked() || deadline.is_some_and(|deadline| Instant::now() >= deadline);
            while !due() {
                if ended.wait_for(LOOK) {
                    return;
                }
            }
            if !ended.wait_for(GRACE) {
                cluster.stop();
            }
        };
        let thread = std::thread::Builder::new().name("dead-letters-watch".to_owned()).spawn(body);
        let thread = thread.map_err(|error| Error::new("a thread cannot be started").caused_by(error))?;
        Ok(Watch { over, thread: Some(thread) })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.over.ask();
        if let Some(thread) = self.thread.take() {
            // A panic was told where it happened.
            let _ = thread.join();
        }
    }
}
