//! The dead letter browser: it lists, shows, replays and discards dead letters.
//!
//! The `kafka` crate reads no headers and commits no metadata, so this speaks to the cluster itself. Each
//! call has a handle of its own on the cluster: on the one that the process speaks to already
//! ([`DeadLetterBrowser::on`]), or on a new one. Nothing here prints; any thread may call it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::lock::LockSettings;
use super::newest::Newest;
use super::parts::{CLIENT_ID, Parts};
use super::progress::ReplayProgress;
use super::reader::{DeadLetterReader, PartitionRange};
use super::resend::ReplayTargets;
use crate::dead_letters::BrowserSettings;
use crate::dead_letters::dead_letter::{DeadLetter, DeadLetterId};
use crate::dead_letters::filter::DeadLetterFilter;
use crate::error::{Error, Result};
use client::{Cluster, ClusterSettings};

/// Behind so many offsets of a partition, or bytes of letters, no more are read for a count to be right.
const COUNTED: i64 = 2_000;
const COUNTED_BYTES: usize = 4 * 1024 * 1024;

/// The dead letters of one topic.
#[derive(Debug, Clone)]
pub struct DeadLetterBrowser {
    pub(super) settings: ClusterSettings,
    /// The cluster that this process speaks to already.
    shared: Option<Arc<Cluster>>,
    /// The topic that they came from.
    pub(super) source: String,
    /// The topic in which they are.
    pub(super) topic: String,
    group: String,
    session: Duration,
}

/// Dead letters that are not settled, the oldest first. The last item may be an error: a broker does not
/// answer in time, its answer is damaged, or letters are [left out](DeadLetterIter::take_left_out).
pub struct DeadLetterIter {
    topic: String,
    reader: Option<DeadLetterReader>,
    filter: DeadLetterFilter,
    left_out: Option<Error>,
}

impl DeadLetterIter {
    /// Which partitions are left out, and why: their leaders do not answer. Who takes it does not get it as
    /// the last item.
    pub fn take_left_out(&mut self) -> Option<Error> {
        self.left_out.take()
    }
}

impl Iterator for DeadLetterIter {
    type Item = Result<DeadLetter>;

    fn next(&mut self) -> Option<Result<DeadLetter>> {
        loop {
            match self.reader.as_mut()?.next_letter() {
                Ok(Some(letter)) if !self.filter.fits(&letter) => {}
                Ok(Some(letter)) => return Some(Ok(letter)),
                Ok(None) => {
                    self.reader = None;
                    return self.left_out.take().map(Err);
                }
                Err(error) => {
                    self.reader = None;
                    return Some(Err(unreadable(&self.topic).caused_by(error)));
                }
            }
        }
    }
}

impl DeadLetterBrowser {
    /// The browser for the dead letters of the topic in `settings`. Makes no connection yet.
    pub fn new(settings: &BrowserSettings) -> DeadLetterBrowser {
        let topic = settings.topic.clone();
        DeadLetterBrowser {
            settings: settings.cluster.clone(),
            shared: None,
            source: settings.source.clone(),
            group: format!("{topic}-settled"),
            topic,
            session: settings.session_timeout,
        }
    }

    /// The same browser, with handles of its own on a cluster that this process speaks to already.
    #[must_use]
    pub fn on(self, cluster: &Cluster) -> DeadLetterBrowser {
        let shared = Some(Arc::new(cluster.share(self.settings.clone())));
        DeadLetterBrowser { shared, ..self }
    }

    /// The topic in which they are.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The topic that they came from.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The group that keeps which of them are settled.
    pub fn group(&self) -> &str {
        &self.group
    }

    /// The dead letters that are not settled and fit `filter`, up to the end that their topic has now; none
    /// without the topic. Partitions whose leaders do not answer are left out, which the iterator tells. It
    /// fails after `deadline`.
    ///
    /// # Errors
    /// No broker answers in time, or the committed progress cannot be read.
    pub fn letters(&self, filter: &DeadLetterFilter, deadline: Option<Instant>) -> Result<DeadLetterIter> {
        let cluster = self.cluster();
        let parts = self.parts(&cluster, deadline)?;
        let left_out = parts.as_ref().and_then(Parts::left_out);
        let reader = parts.map(|parts| self.reader(&cluster, parts.ranges, filter, deadline));
        Ok(DeadLetterIter { topic: self.topic.clone(), reader, filter: filter.clone(), left_out })
    }

    /// The newest `count` dead letters that are not settled, the oldest of them first.
    ///
    /// # Errors
    /// The errors of [`DeadLetterBrowser::letters`] and of [`DeadLetterIter`]; or a leader does not answer.
    pub fn newest(&self, count: usize, deadline: Instant) -> Result<Vec<DeadLetter>> {
        let cluster = self.cluster();
        let parts = self.parts(&cluster, Some(deadline))?.unwrap_or_default();
        match parts.left_out() {
            Some(error) => Err(error),
            None => Ok(self.newest_of(&cluster, &parts.ranges, count, deadline)?.0),
        }
    }

    /// The newest `count` letters in `parts`, the oldest of them first, and how many are not settled. Offsets
    /// without a letter, as the markers of transactions leave them, do not count: where there are some among
    /// the newest, more are read for that, until these are [`COUNTED`] of a partition or [`COUNTED_BYTES`].
    pub(super) fn newest_of(
        &self,
        cluster: &Arc<Cluster>,
        parts: &[PartitionRange],
        count: usize,
        deadline: Instant,
    ) -> Result<(Vec<DeadLetter>, u64)> {
        let mut window = i64::try_from(count).unwrap_or(i64::MAX).saturating_mul(2).max(1);
        loop {
            let late = |part: &PartitionRange| PartitionRange {
                start: part.start.max(part.end.saturating_sub(window)),
                ..part.clone()
            };
            let late: Vec<PartitionRange> = parts.iter().map(late).collect();
            let mut reader = self.reader(cluster, late.clone(), &DeadLetterFilter::default(), Some(deadline));
            let mut found = Newest::new(count);
            let (mut seen, mut bytes) = (BTreeMap::<i32, usize>::new(), 0_usize);
            while let Some(letter) =
                reader.next_letter().map_err(|error| unreadable(&self.topic).caused_by(error))?
            {
                *seen.entry(letter.id.partition).or_default() += 1;
                bytes = bytes.saturating_add(letter.bytes());
                found.push(letter);
            }
            let seen = |part: &PartitionRange| seen.get(&part.partition).copied().unwrap_or(0);
            let may_count = window < COUNTED && bytes < COUNTED_BYTES;
            let enough = |(part, late): (&PartitionRange, &PartitionRange)| {
                let begins = part.progress.open_from(part.start) >= late.start;
                let has_gaps = (seen(late) as u64) < late.open();
                begins || (seen(late) >= count && !(has_gaps && may_count))
            };
            if parts.iter().zip(&late).all(enough) {
                let older = |part: &PartitionRange, late: &PartitionRange| {
                    part.progress.open_within(part.start, late.start)
                };
                let counted =
                    parts.iter().zip(&late).map(|(part, late)| older(part, late) + seen(late) as u64);
                return Ok((found.into_letters(), counted.sum()));
            }
            window = window.saturating_mul(4);
        }
    }

    /// The dead letter with that id, if it is there, and whether it is settled.
    ///
    /// # Errors
    /// The errors of [`DeadLetterBrowser::letters`] and of [`DeadLetterIter`]; or its leader does not answer.
    pub fn find(&self, id: DeadLetterId, deadline: Option<Instant>) -> Result<Option<(DeadLetter, bool)>> {
        let cluster = self.cluster();
        let parts = self.parts(&cluster, deadline)?.unwrap_or_default();
        if let Some(error) = parts.left_out().filter(|_| parts.is_away(id.partition)) {
            return Err(error);
        }
        let parts = parts.ranges;
        let settled =
            parts.iter().any(|part| part.partition == id.partition && part.progress.contains(id.offset));
        let everything = parts
            .into_iter()
            .map(|part| PartitionRange { progress: ReplayProgress::default(), ..part })
            .collect();
        let mut reader = self.reader(&cluster, everything, &DeadLetterFilter::with_ids([id]), deadline);
        let letter = reader.next_letter().map_err(|error| unreadable(&self.topic).caused_by(error))?;
        Ok(letter.map(|letter| (letter, settled)))
    }

    /// A handle on the cluster for one call. Stopping it ends the waits of that call alone.
    pub(super) fn cluster(&self) -> Arc<Cluster> {
        let settings = self.settings.clone();
        Arc::new(match &self.shared {
            Some(cluster) => cluster.share(settings),
            None => Cluster::new(settings),
        })
    }

    /// The partitions with dead letters; `None` if there is no topic.
    ///
    /// # Errors
    /// No broker answers in time, or the committed progress cannot be read.
    pub(super) fn parts(&self, cluster: &Arc<Cluster>, deadline: Option<Instant>) -> Result<Option<Parts>> {
        Parts::look(cluster, &self.topic, &self.group, deadline)
    }

    pub(super) fn lock_settings(&self) -> LockSettings {
        LockSettings {
            group: self.group.clone(),
            topic: self.topic.clone(),
            client_id: CLIENT_ID.to_owned(),
            session: self.session,
        }
    }

    pub(super) fn reader(
        &self,
        cluster: &Arc<Cluster>,
        parts: Vec<PartitionRange>,
        filter: &DeadLetterFilter,
        deadline: Option<Instant>,
    ) -> DeadLetterReader {
        DeadLetterReader::new(cluster.clone(), &self.topic, CLIENT_ID, parts, &filter.ids, deadline)
    }

    /// Where a replay would send letters; it looks up topics until `deadline`.
    pub fn targets(&self, deadline: Option<Instant>) -> ReplayTargets {
        ReplayTargets::new(self.cluster(), &self.source, deadline)
    }

    pub(super) fn resender(&self, cluster: &Arc<Cluster>) -> super::resend::Resender {
        super::resend::Resender::new(cluster.clone(), CLIENT_ID, &self.source)
    }
}

pub(super) fn unreadable(topic: &str) -> Error {
    Error::new("dead letters cannot be read").at(topic, None, None).retriable()
}
