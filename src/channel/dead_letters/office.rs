//! The dead letter office: where dead letters are looked at, replayed and discarded.
//!
//! What it reads and notes is beyond the `kafka` crate, so it speaks to the cluster itself, with connections of its
//! own for each call. Nothing here prints; any thread may call it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::filter::Filter;
use super::hold::{self, Role};
use super::letter::{Letter, Name};
use super::read::{Part, Reader};
use super::settled::Settled;
use crate::cluster::assignor::Partitions;
use crate::cluster::offsets::{self, EARLIEST, LATEST, Offsets};
use crate::cluster::{Cluster, ClusterSettings, in_time};
use crate::config::Settings;
use crate::error::{Error, Result};

/// The name that Kafka's tools show.
const CLIENT_ID: &str = "dead-letters";
/// How long finding a broker may take, ...
const FIRST_ANSWER: Duration = Duration::from_secs(5);
/// ... and how long what it is asked next.
const ALL_ANSWERS: Duration = Duration::from_secs(30);

/// The dead letters of one topic.
#[derive(Debug, Clone)]
pub struct Office {
    pub(super) settings: ClusterSettings,
    /// The topic that they came from, ...
    pub(super) source: String,
    /// ... and the one in which they are.
    pub(super) topic: String,
    group: String,
    session: Duration,
}

/// Dead letters that are not settled, the oldest first. An error, after which there is nothing more, says that a broker
/// does not answer in time, or that what it sends is damaged.
pub struct Letters {
    reader: Option<Reader>,
    filter: Filter,
}

impl Iterator for Letters {
    type Item = Result<Letter>;

    fn next(&mut self) -> Option<Result<Letter>> {
        loop {
            match self.reader.as_mut()?.next_letter() {
                Ok(Some(letter)) if !self.filter.fits(&letter) => {}
                Ok(letter) => return letter.map(Ok),
                Err(error) => {
                    self.reader = None;
                    return Some(Err(unreadable().caused_by(error)));
                }
            }
        }
    }
}

impl Office {
    /// The office for the dead letters of the topic in `settings`. Makes no connection yet.
    pub fn new(settings: &Settings) -> Office {
        let topic = settings.kafka.dead_letter_topic();
        Office {
            settings: ClusterSettings::of(settings),
            source: settings.kafka.topic.clone(),
            group: format!("{topic}-settled"),
            topic,
            session: settings.consumer.session_timeout(),
        }
    }

    /// The topic in which they are.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The group that keeps which of them are settled.
    pub fn group(&self) -> &str {
        &self.group
    }

    /// Those that are not settled and fit, up to the end that their topic has now, if there is one. What is not there
    /// by `deadline` is an error.
    ///
    /// # Errors
    /// No broker answers in time, or what was noted of them cannot be read.
    pub fn letters(&self, filter: &Filter, deadline: Option<Instant>) -> Result<Letters> {
        let cluster = self.cluster();
        let parts = self.parts(&cluster, deadline)?;
        let reader = parts.map(|parts| self.reader(&cluster, parts, filter, deadline));
        Ok(Letters { reader, filter: filter.clone() })
    }

    /// The newest `count` of those that are not settled, the oldest of them first.
    ///
    /// # Errors
    /// As [`Office::letters`] and of [`Letters`].
    pub fn newest(&self, count: usize, deadline: Instant) -> Result<Vec<Letter>> {
        let cluster = self.cluster();
        let Some(parts) = self.parts(&cluster, Some(deadline))? else { return Ok(Vec::new()) };
        let mut window = i64::try_from(count).unwrap_or(i64::MAX).saturating_mul(2).max(1);
        loop {
            let late = |part: &Part| Part { start: part.start.max(part.end - window), ..part.clone() };
            let mut reader =
                self.reader(&cluster, parts.iter().map(late).collect(), &Filter::default(), Some(deadline));
            let mut found: VecDeque<Letter> = VecDeque::new();
            let mut seen: BTreeMap<i32, usize> = BTreeMap::new();
            while let Some(letter) = reader.next_letter().map_err(|error| unreadable().caused_by(error))? {
                *seen.entry(letter.name.partition).or_default() += 1;
                found.push_back(letter);
                if found.len() > count {
                    found.pop_front();
                }
            }
            let enough = |part: &Part| {
                let begins = part.settled.open_from(part.start) >= part.end - window;
                begins || seen.get(&part.partition).is_some_and(|seen| *seen >= count)
            };
            if parts.iter().all(enough) {
                return Ok(found.into());
            }
            window = window.saturating_mul(4);
        }
    }

    /// The letter of that name, if it is there, and whether it is settled.
    ///
    /// # Errors
    /// As [`Office::letters`] and of [`Letters`].
    pub fn find(&self, name: Name, deadline: Option<Instant>) -> Result<Option<(Letter, bool)>> {
        let cluster = self.cluster();
        let parts = self.parts(&cluster, deadline)?.unwrap_or_default();
        let settled =
            parts.iter().any(|part| part.partition == name.partition && part.settled.contains(name.offset));
        let everything = parts.into_iter().map(|part| Part { settled: Settled::default(), ..part }).collect();
        let mut reader = self.reader(&cluster, everything, &Filter::named([name]), deadline);
        let letter = reader.next_letter().map_err(|error| unreadable().caused_by(error))?;
        Ok(letter.map(|letter| (letter, settled)))
    }

    pub(super) fn cluster(&self) -> Arc<Cluster> {
        Arc::new(Cluster::new(self.settings.clone()))
    }

    pub(super) fn role(&self, partitions: usize) -> Role {
        Role {
            group: self.group.clone(),
            topic: self.topic.clone(),
            partitions,
            client_id: CLIENT_ID.to_owned(),
            session: self.session,
        }
    }

    pub(super) fn reader(
        &self,
        cluster: &Arc<Cluster>,
        parts: Vec<Part>,
        filter: &Filter,
        deadline: Option<Instant>,
    ) -> Reader {
        Reader::new(cluster.clone(), &self.topic, CLIENT_ID, parts, &filter.names, deadline)
    }

    pub(super) fn resender(&self, cluster: &Arc<Cluster>) -> super::resend::Resender {
        super::resend::Resender::new(cluster.clone(), CLIENT_ID, &self.source)
    }

    /// What there is of each partition; `None` if there is no topic.
    ///
    /// # Errors
    /// No broker answers in time, or what was noted cannot be read.
    pub(super) fn parts(
        &self,
        cluster: &Arc<Cluster>,
        deadline: Option<Instant>,
    ) -> Result<Option<Vec<Part>>> {
        let within = |patience| {
            let limit = Instant::now() + patience;
            deadline.map_or(limit, |deadline| deadline.min(limit))
        };
        let deadline = within(FIRST_ANSWER);
        let unreachable = |error| Error::new("no answer about dead letters").caused_by(error);
        let topic = in_time(cluster, deadline, || cluster.topic(&self.topic, cluster.deadline(deadline)));
        let Some(topic) = topic.map_err(unreachable)? else { return Ok(None) };
        let numbers: Vec<i32> = (0..).take(topic.leaders.len()).collect();
        let deadline = within(ALL_ANSWERS);
        let mut coordinator = hold::coordinator(cluster, &self.role(numbers.len()));
        let partitions = Partitions::from([(self.topic.clone(), numbers.clone())]);
        let committed = in_time(cluster, deadline, || {
            coordinator.committed_with_metadata(&partitions, cluster.deadline(deadline))
        });
        let mut committed = committed.map_err(unreachable)?;
        let starts = self.offsets(cluster, &numbers, EARLIEST, deadline)?;
        // After what is committed, which is never beyond it.
        let ends = self.offsets(cluster, &numbers, LATEST, deadline)?;
        let part = |partition: i32| {
            let place = (self.topic.clone(), partition);
            let [start, end] = [&starts, &ends].map(|found| found.get(&place).copied().unwrap_or(0));
            let settled = match committed.remove(&place).flatten() {
                None => Settled::default(),
                // The topic was made anew since.
                Some(noted) if noted.offset > end => Settled::default(),
                Some(noted) => Settled::read(noted.offset, &noted.metadata).map_err(|error| {
                    let group = &self.group;
                    let what = format!(
                        "which dead letters are settled cannot be told: reset the offset of group {group} (then \
                         all of the partition count as not settled)"
                    );
                    Error::new(what).at(&self.topic, Some(partition), Some(noted.offset)).caused_by(error)
                })?,
            };
            Ok(Part { partition, start, end, settled })
        };
        numbers.into_iter().map(part).collect::<Result<Vec<Part>>>().map(Some)
    }

    fn offsets(
        &self,
        cluster: &Cluster,
        partitions: &[i32],
        time: i64,
        deadline: Instant,
    ) -> Result<Offsets> {
        let wanted: Vec<_> = partitions.iter().map(|number| (self.topic.clone(), *number, time)).collect();
        match offsets::list(cluster, CLIENT_ID, &wanted, deadline) {
            (found, None) => Ok(found),
            (_, Some(error)) => Err(Error::new("no answer about dead letters").caused_by(error)),
        }
    }
}

pub(super) fn unreadable() -> Error {
    Error::new("dead letters cannot be read").retriable()
}
