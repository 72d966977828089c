//! Which messages of a topic have become dead letters: each letter is read once, as it comes, also those that
//! are settled by now.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::browse::{DeadLetterBrowser, unreadable};
use super::parts::CLIENT_ID;
use super::progress::ReplayProgress;
use super::reader::PartitionRange;
use crate::dead_letters::BrowserSettings;
use crate::dead_letters::dead_letter::{DeadLetter, DeadLetterId};
use crate::dead_letters::filter::DeadLetterFilter;
use crate::error::Result;
use client::offsets::{self, LATEST};
use client::{Cluster, Error as ClientError};
use protocol::TopicPartition;

/// The letters that are remembered, for messages that are asked for after their letter was read.
const REMEMBERED: usize = 10_000;
/// Letters are looked for from so long before the time that is asked for: clocks differ.
const MARGIN: Duration = Duration::from_secs(600);
/// What came in a pause that was longer than this, and is older than what is asked for, is stepped over.
const LONG_PAUSE: Duration = Duration::from_secs(30);

/// The place of a message: partition and offset.
pub type Place = (i32, i64);

/// Follows the dead letters that a group's messages of one topic become.
#[derive(Debug)]
pub struct DeadLetterFollower {
    browser: DeadLetterBrowser,
    group: String,
    /// Where reading goes on in each partition.
    positions: BTreeMap<i32, i64>,
    /// The last letters that were read, by the places of their messages.
    read: VecDeque<(Place, DeadLetterId)>,
    /// Those of messages that were asked for, and not all of whose letters were read then.
    found: BTreeMap<Place, DeadLetterId>,
    last: Option<Instant>,
}

impl DeadLetterFollower {
    /// Follows the letters of `group`, with handles on a cluster that this process speaks to already.
    pub fn new(settings: &BrowserSettings, group: &str, cluster: &Cluster) -> DeadLetterFollower {
        DeadLetterFollower {
            browser: DeadLetterBrowser::new(settings).on(cluster),
            group: group.to_owned(),
            positions: BTreeMap::new(),
            read: VecDeque::new(),
            found: BTreeMap::new(),
            last: None,
        }
    }

    /// Which of these messages are dead letters, as far as their topic reaches now. None of the messages, nor
    /// of those that are asked for later, is older than `since`, in ms since 1970.
    ///
    /// # Errors
    /// Not all letters could be read before `deadline`: the next call goes on where this one ended.
    pub fn letters_of(
        &mut self,
        messages: &BTreeSet<Place>,
        since: i64,
        deadline: Instant,
    ) -> Result<BTreeMap<Place, DeadLetterId>> {
        self.found.retain(|place, _| messages.contains(place));
        self.found.extend(self.read.iter().filter(|(place, _)| messages.contains(place)).copied());
        self.read_on(messages, since, deadline)
            .map_err(|error| unreadable(self.browser.topic()).caused_by(error))?;
        Ok(std::mem::take(&mut self.found))
    }

    fn read_on(
        &mut self,
        messages: &BTreeSet<Place>,
        since: i64,
        deadline: Instant,
    ) -> Result<(), ClientError> {
        let cluster = self.browser.cluster();
        let Some(parts) = self.parts(&cluster, since, deadline)? else { return Ok(()) };
        let ends: BTreeMap<i32, i64> = parts.iter().map(|part| (part.partition, part.end)).collect();
        let everything = DeadLetterFilter::default();
        let mut reader = self.browser.reader(&cluster, parts, &everything, Some(deadline));
        while let Some(letter) = reader.next_letter()? {
            self.positions.insert(letter.id.partition, letter.id.offset + 1);
            self.remember(&letter, messages);
        }
        self.positions = ends;
        self.last = Some(Instant::now());
        Ok(())
    }

    /// What is still to be read of each partition; `None` if there is no topic.
    fn parts(
        &mut self,
        cluster: &Arc<Cluster>,
        since: i64,
        deadline: Instant,
    ) -> Result<Option<Vec<PartitionRange>>, ClientError> {
        let topic = self.browser.topic();
        let Some(found) = cluster.topic(topic, cluster.deadline(deadline))? else {
            self.positions.clear();
            return Ok(None);
        };
        let places = (0..).take(found.leaders.len()).map(|number| TopicPartition::new(topic, number));
        let places: Vec<TopicPartition> = places.collect();
        let ask = |time: i64| {
            let wanted: Vec<_> = places.iter().map(|place| (place.clone(), time)).collect();
            match offsets::list(cluster, CLIENT_ID, &wanted, deadline) {
                (found, None) => Ok(found),
                (_, Some(error)) => Err(error),
            }
        };
        let is_rested = self.last.is_none_or(|last| last.elapsed() >= LONG_PAUSE);
        let starts = if is_rested {
            let margin = i64::try_from(MARGIN.as_millis()).unwrap_or(i64::MAX);
            // Where nothing is so young, all that comes from now on is.
            let mut starts = ask(LATEST)?;
            starts.extend(ask(since.saturating_sub(margin).max(0))?.into_iter().filter(|(_, at)| *at >= 0));
            Some(starts)
        } else {
            None
        };
        let ends = ask(LATEST)?;
        let part = |place: &TopicPartition| {
            let end = ends.get(place).copied().unwrap_or(0);
            // A topic that was made anew is shorter than what was read.
            let read = self.positions.get(&place.partition).copied().filter(|read| *read <= end);
            let young = starts.as_ref().and_then(|starts| starts.get(place)).copied();
            let start = read.unwrap_or(0).max(young.unwrap_or(0));
            PartitionRange { partition: place.partition, start, end, progress: ReplayProgress::default() }
        };
        Ok(Some(places.iter().map(part).collect()))
    }

    fn remember(&mut self, letter: &DeadLetter, messages: &BTreeSet<Place>) {
        let is_ours = letter.topic().is_none_or(|topic| topic == self.browser.source())
            && letter.group().is_none_or(|group| group == self.group);
        let Some(place) = letter.partition().zip(letter.offset()).filter(|_| is_ours) else { return };
        if messages.contains(&place) {
            self.found.insert(place, letter.id);
        }
        if self.read.len() >= REMEMBERED {
            self.read.pop_front();
        }
        self.read.push_back((place, letter.id));
    }
}
