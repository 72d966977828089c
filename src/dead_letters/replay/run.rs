//! Replay and discard: letters are settled (see [`progress`](super::progress)) a few at a time, and then
//! committed as settled.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::browse::{DeadLetterBrowser, unreadable};
use super::edit::{Edited, Editor, ReplayEdit};
use super::gaps::{self, Gap};
use super::lock::ReplayLock;
use super::parts::Parts;
use super::progress::ReplayProgress;
use super::reader::{DeadLetterReader, PartitionRange};
use super::resend::{ReplayOutcome, Resender};
use crate::dead_letters::dead_letter::{DeadLetter, DeadLetterId};
use crate::dead_letters::filter::DeadLetterFilter;
use crate::error::{Error, Result};
use client::Cluster;
use client::coordinator::Commit;
use net::stop::Stop;
use net::sync::Worker;

/// The most letters, and bytes of them, that are settled with one commit. They may come again after a crash.
const TOGETHER: usize = 100;
const TOGETHER_BYTES: usize = 512 * 1024;
/// The longest wait for what is left to be counted.
const COUNT: Duration = Duration::from_secs(10);
/// The time that requests in flight have after a stop, or after the deadline.
const GRACE: Duration = Duration::from_secs(3);

/// An action on dead letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplayAction {
    /// Each dead letter is sent to the topic that it came from.
    Replay,
    /// Each dead letter is committed as settled, and sent nowhere.
    Discard,
}

impl fmt::Display for ReplayAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ReplayAction::Replay => "replay",
            ReplayAction::Discard => "discard",
        })
    }
}

/// A replay or discard: the letters, and the time limit.
#[derive(Debug, Clone, Default)]
pub struct ReplayRequest {
    /// The dead letters that are replayed or discarded.
    pub filter: DeadLetterFilter,
    /// The most dead letters that are replayed or discarded, the oldest first; `None`: all.
    pub max: Option<u64>,
    /// The time after which no further dead letter is begun.
    pub deadline: Option<Instant>,
}

/// The reason why a dead letter that the filter names was not settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// It is replayed or discarded already.
    AlreadyReplayed,
    /// There is no dead letter with that id, or no longer, or it does not fit the rest of the filter.
    NotThere,
    /// The leader of its partition does not answer.
    Away,
}

/// The result of a [`ReplayRequest`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReplaySummary {
    /// Letters that were settled.
    pub done: u64,
    /// Letters that were certainly not replayed.
    pub failed: u64,
    /// Letters that were kept, as [`ReplayEdit::Keep`] asks.
    pub kept: u64,
    /// Letters that may have been replayed, and are still dead letters.
    pub unknown: u64,
    /// Dead letters that are still unsettled, the failed and the kept ones included, whether they fit the
    /// filter or not; without those that came meanwhile, and those that were left out.
    pub left: u64,
    /// The ids in the filter without a dead letter to settle. Empty if the request ended early.
    pub missing: Vec<(DeadLetterId, Missing)>,
    /// The reason why the request ended early; `None` if it did not.
    pub stopped: Option<String>,
    /// Which partitions were left out, and why: their leaders do not answer. `None` also where only letters
    /// in others are named.
    pub left_out: Option<String>,
}

impl ReplaySummary {
    /// Letters that were begun.
    pub fn begun(&self) -> u64 {
        self.done + self.failed + self.kept + self.unknown
    }

    /// Whether all that was asked is done. A kept letter is what was asked.
    pub fn is_complete(&self) -> bool {
        let is_whole = self.stopped.is_none() && self.left_out.is_none();
        is_whole && self.failed == 0 && self.unknown == 0 && self.missing.is_empty()
    }
}

impl DeadLetterBrowser {
    /// Settles dead letters: the oldest first, up to the end that their topic has now. `on_outcome` is called
    /// for each after its outcome is committed. `stop` ends the request after the letters in hand. Partitions
    /// whose leaders do not answer are left out.
    ///
    /// A letter is committed as settled only after it is stored. An interruption at any time may cause a
    /// second replay, but loses no letter.
    ///
    /// # Errors
    /// Nothing was done: another replay or discard is running, no broker answers, or the committed progress
    /// cannot be read.
    pub fn replay(
        &self,
        action: ReplayAction,
        request: &ReplayRequest,
        stop: &Stop,
        on_outcome: &mut dyn FnMut(&DeadLetter, &ReplayOutcome),
    ) -> Result<ReplaySummary> {
        self.settle(action, None, request, stop, on_outcome)
    }

    /// As [`DeadLetterBrowser::replay`] with [`ReplayAction::Replay`], but `edit` says for each letter which
    /// value is sent, or that it stays. A letter that stays holds up none behind it, not even one with its
    /// key. `edit` is called for one letter after the other, for up to a hundred before they are sent
    /// together, and again for letters that come again. `on_outcome` gets the letters with the values that
    /// were sent.
    ///
    /// # Errors
    /// Those of [`DeadLetterBrowser::replay`].
    pub fn replay_through(
        &self,
        request: &ReplayRequest,
        stop: &Stop,
        edit: &mut dyn FnMut(&DeadLetter) -> ReplayEdit,
        on_outcome: &mut dyn FnMut(&DeadLetter, &ReplayOutcome),
    ) -> Result<ReplaySummary> {
        self.settle(ReplayAction::Replay, Some(edit), request, stop, on_outcome)
    }

    fn settle<'a>(
        &'a self,
        action: ReplayAction,
        edit: Option<Editor<'a>>,
        request: &'a ReplayRequest,
        stop: &'a Stop,
        on_outcome: &mut dyn FnMut(&DeadLetter, &ReplayOutcome),
    ) -> Result<ReplaySummary> {
        let cluster = self.cluster();
        let _watch = watch(&cluster, stop, request.deadline)?;
        let missing = |missing: Missing| request.filter.ids.iter().map(move |id| (*id, missing)).collect();
        let Some(parts) = self.parts(&cluster, request.deadline)? else {
            return Ok(ReplaySummary { missing: missing(Missing::NotThere), ..ReplaySummary::default() });
        };
        if request.max == Some(0) {
            let left = self.left(&cluster, &parts, request);
            return Ok(ReplaySummary { left, ..ReplaySummary::default() });
        }
        if parts.open() == 0 {
            let missing = explained(missing(Missing::NotThere), &parts);
            let left_out = parts.left_out_of(request.filter.ids.iter()).map(|error| error.to_string());
            return Ok(ReplaySummary { missing, left_out, ..ReplaySummary::default() });
        }
        let lock = ReplayLock::take(&cluster, self.lock_settings())?;
        // Another replay may have settled letters before the lock was taken.
        let mut parts = self.parts(&cluster, request.deadline)?.unwrap_or_default();
        let reader = self.reader(&cluster, parts.ranges.clone(), &request.filter, request.deadline);
        let mut run = ReplayRun {
            action,
            edit,
            request,
            stop,
            lock,
            topic: self.topic(),
            patience: self.settings.delivery_timeout,
            resender: self.resender(&cluster),
            reader: reader.with_gaps(),
            gaps: BTreeMap::new(),
            next: VecDeque::new(),
            ids: request.filter.ids.clone(),
            parts: parts.ranges.iter().map(|part| (part.partition, part.clone())).collect(),
            summary: ReplaySummary::default(),
        };
        let ended = run.all(on_outcome);
        let summary = run.summary(ended, &mut parts);
        let left =
            if summary.stopped.is_none() { self.left(&cluster, &parts, request) } else { parts.open() };
        Ok(ReplaySummary { left, ..summary })
    }

    /// The number of letters that are not settled; that of their offsets where they cannot be counted.
    fn left(&self, cluster: &Arc<Cluster>, parts: &Parts, request: &ReplayRequest) -> u64 {
        let limit = Instant::now() + COUNT;
        let limit = request.deadline.map_or(limit, |deadline| deadline.min(limit));
        match self.newest_of(cluster, &parts.ranges, 0, limit) {
            Ok((_, open)) => open,
            Err(error) => {
                log::debug!("what is left is not counted: {error}");
                parts.open()
            }
        }
    }
}

/// A request being carried out.
struct ReplayRun<'a> {
    action: ReplayAction,
    edit: Option<Editor<'a>>,
    request: &'a ReplayRequest,
    stop: &'a Stop,
    lock: ReplayLock,
    topic: &'a str,
    /// The longest wait for the confirmation of the lock, and for a commit.
    patience: Duration,
    resender: Resender,
    reader: DeadLetterReader,
    /// Where there are no letters, of what was read and is not settled.
    gaps: BTreeMap<i32, Vec<Gap>>,
    /// Letters that were read, but did not go with the letters before them.
    next: VecDeque<DeadLetter>,
    /// The ids in the filter of which no letter was seen.
    ids: BTreeSet<DeadLetterId>,
    parts: BTreeMap<i32, PartitionRange>,
    summary: ReplaySummary,
}

impl ReplayRun<'_> {
    /// Settles letters until there are no more.
    ///
    /// # Errors
    /// The reason why the request ended early.
    fn all(&mut self, on_outcome: &mut dyn FnMut(&DeadLetter, &ReplayOutcome)) -> Result<()> {
        loop {
            let letters = self.some()?;
            if letters.is_empty() {
                // For the markers behind the last letters, with which none will be settled.
                if let Err(error) = self.note(&[], &[]) {
                    log::debug!("{error}");
                }
                return Ok(());
            }
            let Edited { letters, decided, ended } = self.edited(letters);
            self.lock.confirm(Instant::now() + self.patience)?;
            let outcomes = match self.action {
                ReplayAction::Replay => self.send(&letters, decided),
                ReplayAction::Discard => vec![ReplayOutcome::Discarded; letters.len()],
            };
            let noted = self.note(&letters, &outcomes);
            for (letter, outcome) in letters.iter().zip(&outcomes) {
                self.ids.remove(&letter.id);
                // A discard is done when it is committed.
                if self.action == ReplayAction::Replay || noted.is_ok() {
                    self.count(outcome);
                    on_outcome(letter, outcome);
                }
            }
            noted?;
            if let Some(failed) = outcomes.iter().find(|outcome| !outcome.concerns_it_alone()) {
                return Err(Error::new(match failed {
                    ReplayOutcome::Failed { reason, .. } | ReplayOutcome::Unknown { reason } => {
                        reason.clone()
                    }
                    ReplayOutcome::Replayed { .. } | ReplayOutcome::Discarded | ReplayOutcome::Kept => {
                        String::new()
                    }
                }));
            }
            if let Some(reason) = ended {
                self.check_time()?;
                return Err(Error::new(reason));
            }
        }
    }

    /// What is to be sent of these letters; those that were not edited in time are the next ones.
    fn edited(&mut self, letters: Vec<DeadLetter>) -> Edited {
        let Some(edit) = self.edit.as_mut() else { return Edited::unchanged(letters) };
        let (stop, deadline) = (self.stop, self.request.deadline);
        let enough = || stop.is_asked() || deadline.is_some_and(|deadline| Instant::now() >= deadline);
        Edited::by(edit, letters, TOGETHER_BYTES, &enough, &mut self.next)
    }

    /// Sends the letters whose outcome is not decided.
    fn send(&mut self, letters: &[DeadLetter], decided: Vec<Option<ReplayOutcome>>) -> Vec<ReplayOutcome> {
        let open = letters.iter().zip(&decided).filter(|(_, decided)| decided.is_none());
        let open: Vec<&DeadLetter> = open.map(|(letter, _)| letter).collect();
        let mut sent = self.resender.send(&open).into_iter();
        decided.into_iter().filter_map(|decided| decided.or_else(|| sent.next())).collect()
    }

    /// The letters to settle next; none at the end.
    fn some(&mut self) -> Result<Vec<DeadLetter>> {
        let mut letters: Vec<DeadLetter> = Vec::new();
        let (mut bytes, mut taken) = (0, BTreeMap::<i32, usize>::new());
        let begun = self.summary.begun();
        let most =
            self.request.max.map_or(TOGETHER as u64, |max| max.saturating_sub(begun).min(TOGETHER as u64));
        let rooms: BTreeMap<i32, usize> =
            self.parts.iter().map(|(p, part)| (*p, part.progress.room())).collect();
        while (letters.len() as u64) < most {
            let Some(letter) = self.following()? else { break };
            let partition = letter.id.partition;
            let taken = taken.entry(partition).or_insert(0);
            let room = rooms.get(&partition).copied().unwrap_or(0);
            if room == 0 && letters.is_empty() {
                self.check_room(&letter)?;
                letters.push(letter);
                break;
            }
            bytes += letter.bytes();
            if *taken >= room || (bytes > TOGETHER_BYTES && !letters.is_empty()) {
                self.next.push_front(letter);
                break;
            }
            *taken += 1;
            letters.push(letter);
        }
        Ok(letters)
    }

    /// The next letter that fits.
    fn following(&mut self) -> Result<Option<DeadLetter>> {
        loop {
            self.check_time()?;
            if let Some(letter) = self.next.pop_front() {
                return Ok(Some(letter));
            }
            match self.reader.next_letter().map_err(|error| unreadable(self.topic).caused_by(error))? {
                Some(letter) if !self.request.filter.fits(&letter) => {}
                letter => return Ok(letter),
            }
        }
    }

    /// # Errors
    /// The request is to end: a stop is asked, or its deadline has come.
    fn check_time(&self) -> Result<()> {
        if self.stop.is_asked() {
            return Err(Error::new(format!("the {} was stopped", self.action)));
        }
        if self.request.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            let what = format!("the {} did not end before its deadline; run it again", self.action);
            return Err(Error::new(what).retriable());
        }
        Ok(())
    }

    /// # Errors
    /// The note that this letter is settled would be too long.
    fn check_room(&self, letter: &DeadLetter) -> Result<()> {
        let Some(part) = self.parts.get(&letter.id.partition) else { return Ok(()) };
        let mut progress = part.progress.clone();
        progress.insert(letter.after, letter.id.offset + 1);
        if progress.fits() {
            return Ok(());
        }
        let what = format!(
            "too many letters are settled with older ones between them that are not, more than Kafka takes note of: \
             replay or discard the oldest of partition {} first, from {}:{} on",
            part.partition,
            part.partition,
            part.progress.next().max(part.start)
        );
        Err(Error::new(what))
    }

    /// Commits which of these letters are settled.
    fn note(&mut self, letters: &[DeadLetter], outcomes: &[ReplayOutcome]) -> Result<()> {
        let mut changed: BTreeMap<i32, ReplayProgress> = BTreeMap::new();
        for (letter, _) in letters.iter().zip(outcomes).filter(|(_, outcome)| outcome.is_settled()) {
            let partition = letter.id.partition;
            let Some(part) = self.parts.get(&partition) else { continue };
            let progress = changed.entry(partition).or_insert_with(|| {
                let mut progress = part.progress.clone();
                // The records before the first one are gone.
                progress.insert(0, part.start);
                progress
            });
            progress.insert(letter.after, letter.id.offset + 1);
        }
        for (partition, gaps) in self.reader.take_gaps() {
            self.gaps.entry(partition).or_default().extend(gaps);
        }
        for (partition, passed) in &mut self.gaps {
            let Some(part) = self.parts.get(partition) else { continue };
            let progress = changed.get(partition).unwrap_or(&part.progress);
            let wider = gaps::over(passed, part.start, progress);
            changed.extend(wider.map(|wider| (*partition, wider)));
        }
        if changed.is_empty() {
            return Ok(());
        }
        let commit = |(partition, progress): (&i32, &ReplayProgress)| Commit {
            topic: self.topic.to_owned(),
            partition: *partition,
            offset: progress.next(),
            metadata: progress.note(),
        };
        let commits: Vec<Commit> = changed.iter().map(commit).collect();
        self.lock.commit(&commits, Instant::now() + self.patience)?;
        for (partition, progress) in changed {
            if let Some(part) = self.parts.get_mut(&partition) {
                part.progress = progress;
            }
        }
        Ok(())
    }

    fn count(&mut self, outcome: &ReplayOutcome) {
        let summary = &mut self.summary;
        let count = match outcome {
            ReplayOutcome::Replayed { .. } | ReplayOutcome::Discarded => &mut summary.done,
            ReplayOutcome::Kept => &mut summary.kept,
            ReplayOutcome::Failed { .. } => &mut summary.failed,
            ReplayOutcome::Unknown { .. } => &mut summary.unknown,
        };
        *count += 1;
    }

    /// The result without what is left; `parts` are as at the beginning, and become what they are now.
    fn summary(self, ended: Result<()>, parts: &mut Parts) -> ReplaySummary {
        let left_out = parts.left_out_of(self.request.filter.ids.iter()).map(|error| error.to_string());
        parts.ranges = self.parts.into_values().collect();
        let mut summary = ReplaySummary { left_out, ..self.summary };
        match ended {
            Ok(()) if self.request.max.is_none_or(|max| summary.begun() < max) => {
                let missing = self.ids.into_iter().map(|id| (id, Missing::NotThere)).collect();
                summary.missing = explained(missing, parts);
            }
            Ok(()) => {}
            Err(error) => summary.stopped = Some(error.to_string()),
        }
        summary
    }
}

/// Gives each missing id its reason: settled already, away, or not there.
fn explained(mut missing: Vec<(DeadLetterId, Missing)>, parts: &Parts) -> Vec<(DeadLetterId, Missing)> {
    for (id, why) in &mut missing {
        if parts.is_away(id.partition) {
            *why = Missing::Away;
        }
        let part = parts.ranges.iter().find(|part| part.partition == id.partition);
        if part.is_some_and(|part| id.offset < part.end && part.progress.contains(id.offset)) {
            *why = Missing::AlreadyReplayed;
        }
    }
    missing
}

/// Starts a thread that ends every wait in the cluster [`GRACE`] after a stop or a deadline, unless it is
/// dropped before.
fn watch(cluster: &Arc<Cluster>, stop: &Stop, deadline: Option<Instant>) -> Result<Worker> {
    let (cluster, stop) = (cluster.clone(), stop.clone());
    let body = move |dropped: &Stop| {
        // Asked at the stop, and when the watch is dropped.
        let woken = Stop::new();
        let wake = || {
            let woken = woken.clone();
            move || woken.ask()
        };
        let _hooks = [stop.on_ask(wake()), dropped.on_ask(wake())];
        match deadline {
            Some(deadline) => _ = woken.wait_for(deadline.saturating_duration_since(Instant::now())),
            None => woken.wait(),
        }
        if !dropped.wait_for(GRACE) {
            cluster.stop();
        }
    };
    Worker::start("dead-letters-watch", body)
        .map_err(|error| Error::new("the thread dead-letters-watch cannot be started").caused_by(error))
}
