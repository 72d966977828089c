//! The state of the cluster for the endpoint's page.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use net::sync::{Mutex, lock};

use super::lease_queues::LeaseQueues;
use super::open_messages::{self, QueueFacts};
use super::warnings::Warnings;
use crate::config::Settings;
use crate::dead_letters::{
    BrowserSettings, DeadLetter, DeadLetterBrowser, DeadLetterFilter, DeadLetterFollower, DeadLetterId,
    FoundLetters, Missing, ReplayAction, ReplayOutcome, ReplayRequest, ReplayTargets, dead_letter_topic,
};
use crate::error::{Error, Result};
use crate::http::{
    AttemptedState, DeadLetterView, DeadLettersView, Excerpt, GroupState, LeasedQueueState, MemberState,
    MessagePlace, PartitionState, QueueState, Settled,
};
use crate::queue::note::Attempted;
use crate::runtime::StoreFailure;
use client::describe::groups::{self, Group, Progress};
use client::group_member::OffsetReset;
use client::offsets::{self, EARLIEST, LATEST, Offsets};
use client::{Cluster, LOOK_UPS};
use net::stop::Stop;
use protocol::TopicPartition;

/// The bytes of a handler's standard error that the page shows with a dead letter.
const MAX_STDERR: usize = 4 * 1024;
/// The largest number of partitions that the page shows.
const MAX_PARTITIONS: usize = 500;
/// The largest number of attempted messages that the page lists of a partition, ...
const MAX_ATTEMPTED: usize = 20;
/// ... and of all of them, as they go to each viewer with every change.
const MAX_ATTEMPTED_IN_ALL: usize = 500;

/// The topics whose dead letters are followed at a time, but for those of the messages that are asked for.
const MAX_FOLLOWED: usize = 50;

/// A client of the cluster with connections of its own.
pub struct DashboardSource {
    cluster: Arc<Cluster>,
    topic: String,
    group: String,
    /// Where a consumer of the group begins before the first commit.
    reset: OffsetReset,
    queues: Arc<LeaseQueues>,
    browser: DeadLetterBrowser,
    browser_settings: BrowserSettings,
    /// What the messages of each topic became, of those that were sent lately.
    followers: Mutex<BTreeMap<Arc<str>, DeadLetterFollower>>,
    store: StoreFailure,
    warnings: Warnings,
    stop: Stop,
}

impl DashboardSource {
    /// The source for the consumers' group and the topic, and for the endpoint's queues.
    pub fn new(
        cluster: &Cluster,
        settings: &Settings,
        queues: Arc<LeaseQueues>,
        warnings: Warnings,
    ) -> DashboardSource {
        let browser_settings = settings.dead_letter_browser();
        DashboardSource {
            queues,
            warnings,
            // It looks now and then also while nobody watches; of outages the producers tell.
            cluster: Arc::new(cluster.share(settings.cluster()).quiet()),
            topic: settings.kafka.topic.clone(),
            group: settings.consumer.group().to_owned(),
            reset: settings.consumer.auto_offset_reset,
            browser: DeadLetterBrowser::new(&browser_settings).on(cluster),
            browser_settings,
            followers: Mutex::default(),
            store: settings.store_failure(),
            stop: Stop::new(),
        }
    }

    /// The topic's partitions; none while it does not exist.
    fn partitions(&self, deadline: Instant) -> Result<Vec<TopicPartition>> {
        let topic = self.cluster.topic(&self.topic, deadline);
        let topic = topic.map_err(|error| Error::new("no broker answers").caused_by(error))?;
        let leaders = topic.map(|topic| topic.leaders.len()).unwrap_or_default();
        Ok((0..).take(leaders).map(|partition| TopicPartition::new(&self.topic, partition)).collect())
    }

    fn follower(&self, topic: &str) -> DeadLetterFollower {
        let (source, topic) = (topic.to_owned(), dead_letter_topic(topic));
        let settings = BrowserSettings { source, topic, ..self.browser_settings.clone() };
        DeadLetterFollower::new(&settings, &self.group, &self.cluster)
    }

    /// Where the logs of these partitions begin and end.
    fn bounds(&self, places: &BTreeSet<TopicPartition>, deadline: Instant) -> [Offsets; 2] {
        let [starts, ends] = [EARLIEST, LATEST].map(|time| {
            let wanted: Vec<_> = places.iter().map(|place| (place.clone(), time)).collect();
            offsets::find(&self.cluster, LOOK_UPS, &wanted, deadline)
        });
        if ends.len() < places.len() || starts.len() < places.len() {
            // A leader may have changed: the next call asks the new one.
            let topics: BTreeSet<&str> = places.iter().map(|place| place.topic.as_str()).collect();
            let topics: Vec<&str> = topics.into_iter().collect();
            if let Err(error) = self.cluster.refresh(&topics, self.cluster.deadline(deadline)) {
                log::debug!("the page: {error}");
            }
        }
        [starts, ends]
    }
}

impl crate::http::DashboardSource for DashboardSource {
    fn group(&self, deadline: Instant) -> Result<GroupState> {
        if let Some(failure) = self.store.read() {
            return Err(Error::new(failure));
        }
        let partitions = self.partitions(deadline)?;
        let group = groups::one(&self.cluster, &self.group, deadline);
        let group = group.map_err(|error| Error::new("the group cannot be seen").caused_by(error))?;
        let places = group.progress(&partitions, &Offsets::new(), &Offsets::new());
        let places = places.iter().take(MAX_PARTITIONS).map(|progress| progress.place.clone()).collect();
        let [starts, ends] = self.bounds(&places, deadline);
        Ok(shown(&group, &places, &starts, &ends, self.reset))
    }

    fn dead_letters(
        &self,
        filter: &DeadLetterFilter,
        most: usize,
        deadline: Instant,
    ) -> Result<DeadLettersView> {
        let found = self.browser.search(filter, most, deadline, &self.stop)?;
        let FoundLetters { letters, fit, looked_at, open, is_complete: complete, trouble } = found;
        let mut targets = self.browser.targets(Some(deadline));
        let shown = |letter| dead_letter(self.browser.topic(), letter, &mut targets);
        let letters = letters.iter().rev().map(shown).collect();
        Ok(DeadLettersView { letters, fit, looked_at, open, complete, trouble })
    }

    fn letters_of(
        &self,
        messages: &BTreeSet<MessagePlace>,
        since: i64,
        deadline: Instant,
    ) -> BTreeMap<MessagePlace, Option<DeadLetterId>> {
        let mut places: BTreeMap<Arc<str>, BTreeSet<(i32, i64)>> = BTreeMap::new();
        for MessagePlace { topic, partition, offset } in messages {
            places.entry(topic.clone()).or_default().insert((*partition, *offset));
        }
        let mut followers = lock(&self.followers);
        if followers.len() > MAX_FOLLOWED {
            followers.retain(|topic, _| places.contains_key(topic));
        }
        let mut letters = BTreeMap::new();
        for (left, (topic, places)) in (1..=places.len()).rev().zip(places) {
            let follower = followers.entry(topic.clone()).or_insert_with(|| self.follower(&topic));
            // A topic that cannot be read leaves the others their time.
            let share =
                deadline.saturating_duration_since(Instant::now()) / u32::try_from(left).unwrap_or(u32::MAX);
            let found = match follower.letters_of(&places, since, Instant::now() + share) {
                Ok(found) => found,
                Err(error) => {
                    log::debug!("which messages of {topic} are dead letters is not known now: {error}");
                    continue;
                }
            };
            letters.extend(places.into_iter().map(|(partition, offset)| {
                let letter = found.get(&(partition, offset)).copied();
                (MessagePlace { topic: topic.clone(), partition, offset }, letter)
            }));
        }
        letters
    }

    fn settle(
        &self,
        action: ReplayAction,
        letters: &[DeadLetterId],
        deadline: Instant,
    ) -> Result<Vec<Settled>> {
        let filter = DeadLetterFilter::with_ids(letters.iter().copied());
        let order = ReplayRequest { filter, max: None, deadline: Some(deadline) };
        let mut errors: BTreeMap<DeadLetterId, Option<String>> = BTreeMap::new();
        let summary = self.browser.replay(action, &order, &self.stop, &mut |letter, outcome| {
            errors.insert(letter.id, failure(outcome));
        })?;
        for (name, missing) in summary.missing {
            let what = match missing {
                Missing::AlreadyReplayed => "it is replayed or discarded already",
                Missing::NotThere => "there is no such dead letter",
                Missing::Away => "the leader of its partition does not answer",
            };
            errors.insert(name, Some(what.to_owned()));
        }
        let ended_early = summary.stopped.unwrap_or_else(|| "its turn did not come".to_owned());
        let outcome = |name: &DeadLetterId| {
            let error = errors.remove(name).unwrap_or_else(|| Some(ended_early.clone()));
            Settled { letter: *name, error }
        };
        Ok(letters.iter().map(outcome).collect())
    }

    fn leased_queues(&self) -> Vec<LeasedQueueState> {
        self.queues.shown()
    }

    fn warnings(&self) -> Vec<String> {
        self.warnings.current()
    }

    fn stop(&self) {
        self.cluster.stop();
        self.stop.ask();
    }
}

/// Why a letter is not settled; `None` if it is.
fn failure(outcome: &ReplayOutcome) -> Option<String> {
    match outcome {
        ReplayOutcome::Replayed { .. } | ReplayOutcome::Discarded => None,
        ReplayOutcome::Kept => Some("it was kept".to_owned()),
        ReplayOutcome::Failed { reason, .. } => Some(reason.clone()),
        ReplayOutcome::Unknown { reason } => {
            Some(format!("it may have been replayed all the same: {reason}"))
        }
    }
}

fn dead_letter(topic: &str, letter: &DeadLetter, targets: &mut ReplayTargets) -> DeadLetterView {
    let number = |number: Option<i64>| number.map_or_else(|| "?".to_owned(), |number| number.to_string());
    let partition = number(targets.partition(letter).map(i64::from));
    let (source, offset) = (targets.topic(letter), number(letter.offset()));
    let error = letter.message().or_else(|| letter.exception()).unwrap_or_default();
    DeadLetterView {
        letter: letter.id,
        topic: topic.to_owned(),
        at: letter.timestamp,
        from: format!("{source} {partition} · offset {offset}"),
        error: Excerpt::of(error.as_bytes()).text,
        stderr: letter.stderr().map(shown_stderr),
        stderr_messages: letter.stderr_messages(),
        replays: letter.replays(),
        attempts: letter.attempts(),
        key: letter.key.as_deref().map(Excerpt::of),
        value: letter.value.as_deref().map(Excerpt::of),
    }
}

/// The last 4 KiB of what a program wrote, as a header from outside may be longer. Control characters would
/// each take six bytes in JSON.
fn shown_stderr(bytes: &[u8]) -> String {
    let last = bytes.get(bytes.len().saturating_sub(MAX_STDERR)..).unwrap_or(bytes);
    let text = String::from_utf8_lossy(last);
    let shown = |c: char| if c.is_control() && !matches!(c, '\n' | '\t') { '\u{fffd}' } else { c };
    text.chars().filter(|c| *c != '\r').map(shown).collect()
}

fn shown(
    group: &Group,
    places: &BTreeSet<TopicPartition>,
    starts: &Offsets,
    ends: &Offsets,
    reset: OffsetReset,
) -> GroupState {
    let member = |member: &groups::Member| MemberState {
        id: member.member_id.clone(),
        name: member.client_id.clone(),
        host: member.host.clone(),
    };
    let now = open_messages::now();
    let listed = (MAX_ATTEMPTED_IN_ALL / places.len().max(1)).min(MAX_ATTEMPTED);
    let partition = |progress: Progress<'_>| {
        let queue = QueueFacts::of(&progress, now).map(|facts| queue(facts, listed, now));
        let open = queue.as_ref().map(|queue| queue.open);
        PartitionState {
            topic: progress.place.topic.clone(),
            partition: progress.place.partition,
            committed: progress.committed,
            end: progress.end,
            lag: progress.lag,
            start: progress.start,
            done: done(&progress, open, reset),
            owner: progress.owner.map(|owner| owner.member_id.clone()),
            queue,
        }
    };
    GroupState {
        group: group.name.clone(),
        state: group.state.clone(),
        members: group.members.as_ref().map(|members| members.iter().map(member).collect()),
        partitions: group
            .progress(places, starts, ends)
            .into_iter()
            .take(MAX_PARTITIONS)
            .map(partition)
            .collect(),
    }
}

/// What [`PartitionState::done`] says; `open` is what a work queue has open, where there is one.
fn done(progress: &Progress<'_>, open: Option<Option<i64>>, reset: OffsetReset) -> Option<i64> {
    match (open, progress.committed, reset) {
        (Some(open), ..) => Some(progress.end?.saturating_sub(open?)),
        (None, Some(committed), _) => Some(committed),
        (None, None, OffsetReset::Earliest) => progress.start,
        (None, None, OffsetReset::Latest) => None,
    }
}

/// A work queue with `most` of its attempted messages, those that are due first.
fn queue(facts: QueueFacts, most: usize, now: u64) -> QueueState {
    let QueueFacts { open, waiting, next_due, paused, mut attempted } = facts;
    let unlisted = attempted.len().saturating_sub(most);
    attempted.sort_by_key(|message| message.due);
    attempted.truncate(most);
    attempted.sort_by_key(|message| message.offset);
    let state = |message: &Attempted| AttemptedState {
        offset: message.offset,
        attempts: message.attempts,
        deaths: message.kills,
        due: i64::try_from(message.due).ok().filter(|_| message.due > now),
        suspect: message.in_test,
    };
    QueueState { open, waiting, next_due, paused, attempted: attempted.iter().map(state).collect(), unlisted }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::note::Note;
    use client::coordinator::Committed;

    /// A group whose `partitions` have `attempted` messages each that wait, the lowest for longest, and one
    /// that is being tried as a suspect.
    fn group(partitions: i32, attempted: i64) -> Group {
        let now = open_messages::now();
        let waits = |offset| Attempted {
            offset,
            attempts: 2,
            kills: 1,
            in_test: false,
            due: now + 60_000 * (1 + attempted.abs_diff(offset)),
        };
        let suspect = Attempted { offset: attempted, attempts: 3, kills: 0, in_test: true, due: 0 };
        let attempted = (0..attempted).map(waits).chain([suspect]).collect();
        let note = Note { held_by: Some("a".to_owned()), paused: true, attempted, ..Note::default() };
        let committed = Committed::new(0, &note.text(0, now));
        Group {
            name: "g".to_owned(),
            state: "Stable".to_owned(),
            members: None,
            committed: (0..partitions).map(|n| (TopicPartition::new("t", n), committed.clone())).collect(),
        }
    }

    fn queues(group: &Group) -> Vec<QueueState> {
        let places = group.committed.keys().cloned().collect();
        let all_at = |offset| group.committed.keys().map(|place| (place.clone(), offset)).collect();
        shown(group, &places, &all_at(0), &all_at(1_000), OffsetReset::Latest)
            .partitions
            .into_iter()
            .filter_map(|state| state.queue)
            .collect()
    }

    #[test]
    fn what_a_program_wrote_is_shown_without_what_could_bloat_it() {
        assert_eq!(shown_stderr(b"a\tb\r\n\x1b[1mc\xff"), "a\tb\n\u{fffd}[1mc\u{fffd}");
        assert_eq!(shown_stderr(&[b"x".repeat(9_000), b"end".to_vec()].concat()).len(), MAX_STDERR);
    }

    #[test]
    fn what_is_done_counts_what_a_work_queue_has_done_above_its_commit() {
        let place = TopicPartition::new("t", 0);
        let (start, end, metadata) = (Some(2), Some(10), "");
        let progress =
            |committed| Progress { place: &place, committed, metadata, start, end, lag: None, owner: None };
        let (earliest, latest) = (OffsetReset::Earliest, OffsetReset::Latest);
        assert_eq!(done(&progress(Some(4)), Some(Some(3)), latest), Some(7));
        assert_eq!(done(&progress(Some(4)), Some(None), latest), None);
        assert_eq!(done(&progress(Some(4)), None, latest), Some(4));
        assert_eq!(done(&progress(None), None, earliest), Some(2));
        assert_eq!(done(&progress(None), None, latest), None);
    }

    #[test]
    fn attempted_messages_are_listed_with_their_waits_in_order_of_offset() {
        let queues = queues(&group(1, 2));
        let [QueueState { open: Some(1_000), waiting: 2, paused: true, attempted, unlisted: 0, .. }] =
            queues.as_slice()
        else {
            panic!("{queues:?}");
        };
        let seen = attempted.iter().map(|m| (m.offset, m.attempts, m.deaths, m.due.is_some(), m.suspect));
        assert!(
            seen.eq([(0, 2, 1, true, false), (1, 2, 1, true, false), (2, 3, 0, false, true)]),
            "{attempted:?}"
        );
        assert!(attempted[0].due > attempted[1].due);
    }

    #[test]
    fn those_that_are_due_first_are_listed_and_no_more_than_a_viewer_can_take() {
        let few = queues(&group(1, 300));
        let offsets: Vec<i64> = few[0].attempted.iter().map(|message| message.offset).collect();
        assert_eq!(offsets, (281..=300).collect::<Vec<i64>>());
        assert_eq!(few[0].unlisted, 281);
        let many = queues(&group(MAX_PARTITIONS as i32, 300));
        assert_eq!(many.len(), MAX_PARTITIONS);
        assert!(many.iter().all(|queue| queue.attempted.len() == 1 && queue.attempted[0].suspect));
        let bytes = serde_json::to_string(&many).unwrap().len();
        assert!(bytes < 128 * 1024, "{bytes}");
    }
}
