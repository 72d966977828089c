//! What an administrator does with messages that wait for their next attempt: list them, have them attempted
//! now, or put them aside to the dead letters. The owner of the partition does it, on a wish
//! ([`crate::queue::wishes`]), so that nothing happens behind its back.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::message_name::{Message, MessageName};
use super::open_messages::{self, OpenMessages};
use super::status::serve_if_unserved;
use crate::cli::{AFTER_HELP, Invocation, Program, SettingsOptions};
use crate::config::Settings;
use crate::error::{Error, Result};
use crate::logging;
use crate::queue::note::{Attempted, Note};
use crate::queue::wishes::{self, Wish};
use crate::runtime::Store;
use broker::Broker;
use clap::{Args, Subcommand};
use client::assignor;
use client::coordinator::{Commit, Committed, Coordinator, Membership};
use client::describe::groups::{self, Group};
use client::topic_id::TopicIds;
use client::{Cluster, LOOK_UPS, RequestContext};
use protocol::TopicPartition;

/// The command line.
#[derive(Debug, Args)]
#[command(
    about = "Lists the messages that wait for their next attempt, attempts them now, or puts them aside"
)]
pub struct Arguments {
    #[command(flatten)]
    settings: SettingsOptions,
    #[command(subcommand)]
    subcommand: Option<Task>,
}

#[derive(Debug, Subcommand)]
enum Task {
    #[command(after_help = AFTER_HELP)]
    List(List),
    #[command(after_help = AFTER_HELP)]
    RetryNow(RetryNow),
    #[command(after_help = AFTER_HELP)]
    PutAside(PutAside),
}

impl Program for Arguments {
    fn settings(&self) -> &SettingsOptions {
        &self.settings
    }

    fn subcommand(&self) -> Option<(&'static str, &dyn Program)> {
        self.subcommand.as_ref().map(|task| -> (_, &dyn Program) {
            match task {
                Task::List(list) => ("list", list),
                Task::RetryNow(retry) => ("retry-now", retry),
                Task::PutAside(aside) => ("put-aside", aside),
            }
        })
    }

    fn run(&self, _: &Invocation) -> Result<()> {
        let what = "what shall be done? list, retry-now or put-aside; see --help";
        Err(Error::new(what).about_settings())
    }
}

#[derive(Debug, Args)]
#[command(about = "Lists the messages of the group that wait for their next attempt")]
struct List {
    #[command(flatten)]
    settings: SettingsOptions,
}

impl Program for List {
    fn settings(&self) -> &SettingsOptions {
        &self.settings
    }

    fn run(&self, invocation: &Invocation) -> Result<()> {
        with_cluster(&invocation.settings, list)
    }
}

const NAME_HELP: &str =
    "Its name, <partition>:<offset>, as `list` shows it; of several topics <topic>:<partition>:<offset>";

#[derive(Debug, Args)]
struct Names {
    #[arg(value_name = "MESSAGE", required = true, num_args = 1.., help = NAME_HELP)]
    messages: Vec<MessageName>,
}

#[derive(Debug, Args)]
#[command(about = "Has messages attempted now that wait for their next attempt")]
struct RetryNow {
    #[command(flatten)]
    settings: SettingsOptions,
    #[command(flatten)]
    names: Names,
}

impl Program for RetryNow {
    fn settings(&self) -> &SettingsOptions {
        &self.settings
    }

    fn run(&self, invocation: &Invocation) -> Result<()> {
        ask(&invocation.settings, Action::RetryNow, &self.names.messages)
    }
}

#[derive(Debug, Args)]
#[command(about = "Stores messages as dead letters now that wait for their next attempt")]
struct PutAside {
    #[command(flatten)]
    settings: SettingsOptions,
    #[command(flatten)]
    names: Names,
}

impl Program for PutAside {
    fn settings(&self) -> &SettingsOptions {
        &self.settings
    }

    fn run(&self, invocation: &Invocation) -> Result<()> {
        ask(&invocation.settings, Action::PutAside, &self.names.messages)
    }
}

/// What is asked of the owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    RetryNow,
    PutAside,
}

/// The time limit for what is asked before and beside the wish.
const ANSWERS: Duration = Duration::from_secs(10);
/// How long it is waited for the owner.
const PATIENCE: Duration = Duration::from_secs(10);
/// The pause between two looks at the group.
const INTERVAL: Duration = Duration::from_millis(250);

fn with_cluster<T>(
    settings: &Settings,
    work: impl FnOnce(&Arc<Cluster>, &Settings) -> Result<T>,
) -> Result<T> {
    logging::start(&settings.log.of_a_look(), "queue")?;
    let broker = serve_if_unserved(settings, Store::Needed)?;
    let outcome = work(&Arc::new(Cluster::new(settings.cluster())), settings);
    broker.into_iter().for_each(Broker::stop);
    outcome
}

fn described(cluster: &Arc<Cluster>, settings: &Settings) -> Result<Group> {
    let deadline = Instant::now() + ANSWERS;
    let failed = |error| Error::new(format!("the group {}", settings.consumer.group())).caused_by(error);
    let topics = settings.kafka.consumed();
    let topics: Vec<&str> = topics.named().iter().map(String::as_str).collect();
    let looked_up = if topics.is_empty() {
        cluster.all_topics(deadline).map(drop)
    } else {
        cluster.refresh(&topics, deadline)
    };
    looked_up.map_err(failed)?;
    groups::one(cluster, settings.consumer.group(), deadline).map_err(failed)
}

fn list(cluster: &Arc<Cluster>, settings: &Settings) -> Result<()> {
    let group = described(cluster, settings)?;
    let mut waiting = OpenMessages::waiting(&group, &settings.kafka.consumed(), open_messages::now());
    waiting.look_up(cluster, Instant::now() + ANSWERS);
    let text = OpenMessages::text(&[waiting]).unwrap_or_else(|| "no message waits\n".to_owned());
    // A reader such as `head` may close the pipe early.
    let _ = io::stdout().write_all(text.as_bytes());
    Ok(())
}

fn ask(settings: &Settings, action: Action, names: &[MessageName]) -> Result<()> {
    let consumed = settings.kafka.consumed();
    let messages = names.iter().map(|name| name.of(&consumed)).collect::<Result<Vec<Message>>>()?;
    let outcomes = with_cluster(settings, |cluster, settings| {
        let group = described(cluster, settings)?;
        Asked::new(cluster, settings, action).run(&group, messages)
    })?;
    let mut text = String::new();
    for (name, outcome) in &outcomes {
        text += &match (outcome, action) {
            (Ok(()), Action::RetryNow) => format!("attempted: message={name}\n"),
            (Ok(()), Action::PutAside) => format!("put aside: message={name}\n"),
            (Err(why), _) => format!("failed: message={name}: {why}\n"),
        };
    }
    let _ = io::stdout().write_all(text.as_bytes());
    match outcomes.values().all(|outcome| outcome.is_ok()) {
        true => Ok(()),
        false => Err(Error::new("not all that was asked is done")),
    }
}

/// What became of each message, or why nothing did.
type Outcomes = BTreeMap<Message, Result<(), String>>;

/// What is asked of the owners of partitions.
struct Asked<'a> {
    cluster: &'a Arc<Cluster>,
    action: Action,
    /// The group of the consumers.
    group: Coordinator,
    /// That of the wishes, and its name.
    wishes: Coordinator,
    wishes_name: String,
}

impl<'a> Asked<'a> {
    fn new(cluster: &'a Arc<Cluster>, settings: &Settings, action: Action) -> Asked<'a> {
        let name = settings.consumer.group();
        Asked {
            cluster,
            action,
            group: Coordinator::looking_on(cluster.clone(), name, LOOK_UPS),
            wishes: Coordinator::new(cluster.clone(), &wishes::group_of(name), LOOK_UPS),
            wishes_name: wishes::group_of(name),
        }
    }

    /// Asks, and waits until the group's notes show that it is done.
    fn run(mut self, group: &Group, messages: Vec<Message>) -> Result<Outcomes> {
        let mut outcomes = Outcomes::new();
        let mut open: BTreeMap<Message, Attempted> = BTreeMap::new();
        for message in messages {
            match waiting(group, &message, open_messages::now()) {
                Ok(attempted) => drop(open.insert(message, attempted)),
                Err(why) => drop(outcomes.insert(message, Err(why))),
            }
        }
        let mut counts: BTreeMap<&TopicPartition, usize> = BTreeMap::new();
        open.keys().for_each(|message| *counts.entry(&message.place).or_default() += 1);
        if let Some((place, _)) = counts.iter().find(|(_, count)| **count > wishes::MOST) {
            let what = format!("more than {} messages of partition {}", wishes::MOST, place.partition);
            return Err(Error::new(what).about_settings());
        }
        let end = Instant::now() + PATIENCE;
        let mut texts: BTreeMap<TopicPartition, String> = BTreeMap::new();
        while !open.is_empty() {
            self.wish(&open, &mut texts, end)?;
            self.cluster.pause(INTERVAL);
            let now = open_messages::now();
            let notes = self.notes(&open, end)?;
            open.retain(|message, before| {
                let done = notes.get(&message.place).is_some_and(|(next, note)| {
                    is_done(self.action, message.offset, before, (*next, note), now)
                });
                if done {
                    outcomes.insert(message.clone(), Ok(()));
                }
                !done
            });
            if Instant::now() >= end {
                break;
            }
        }
        let late = "nothing of it has shown in 10 s: its consumer is busy, pauses, or is gone; it may still \
                    be done";
        outcomes.extend(open.into_keys().map(|message| (message, Err(late.to_owned()))));
        Ok(outcomes)
    }

    /// Commits the wishes about `open`, unless they stand there. That of another command, which may have
    /// replaced them, is left there until its owner has seen it.
    fn wish(
        &mut self,
        open: &BTreeMap<Message, Attempted>,
        texts: &mut BTreeMap<TopicPartition, String>,
        end: Instant,
    ) -> Result<()> {
        let failed = |error| Error::new("the wish cannot be told to the consumers").caused_by(error);
        let places = places(open);
        let standing = self.wishes.committed_in_time(&assignor::by_topic(places.iter().copied()), end);
        let standing = standing.map_err(failed)?;
        let mut commits = Vec::new();
        for place in places {
            let found = standing.get(place).and_then(Option::as_ref);
            let stands = found.map(|found| found.metadata.as_str());
            let at = open_messages::now();
            let is_ours = stands.is_some() && stands == texts.get(place).map(String::as_str);
            if is_ours || stands.and_then(Wish::read).is_some_and(|other| other.is_fresh(at)) {
                continue;
            }
            let offsets = open.keys().filter(|message| message.place == *place);
            let offsets = offsets.map(|message| message.offset).collect();
            let wish = match self.action {
                Action::RetryNow => Wish { at, retry: offsets, aside: Vec::new() },
                Action::PutAside => Wish { at, retry: Vec::new(), aside: offsets },
            };
            let (offset, metadata) = (wish.offset(), wish.text());
            texts.insert(place.clone(), metadata.clone());
            let TopicPartition { topic, partition } = place.clone();
            commits.push(Commit { topic, partition, offset, metadata });
        }
        if commits.is_empty() {
            return Ok(());
        }
        let codes =
            self.wishes.commit(&Membership::none(), &commits, &TopicIds::new(), self.cluster.deadline(end));
        let codes = codes.map_err(failed)?;
        match codes.values().find(|code| !code.is_ok()) {
            Some(code) => {
                let request = RequestContext::offset_commit(&self.wishes_name);
                Err(failed(client::Error::refused(request, *code)))
            }
            None => Ok(()),
        }
    }

    /// What the group notes now of the partitions of `open`, each with what it was committed with.
    fn notes(
        &mut self,
        open: &BTreeMap<Message, Attempted>,
        end: Instant,
    ) -> Result<BTreeMap<TopicPartition, (i64, Note)>> {
        let places = assignor::by_topic(places(open));
        let committed = self.group.committed_in_time(&places, end + INTERVAL);
        let committed =
            committed.map_err(|error| Error::new("what the group has committed").caused_by(error))?;
        let note = |(place, found): (TopicPartition, Option<Committed>)| {
            let found = found?;
            Some((place, (found.offset, open_messages::note_of(&found)?)))
        };
        Ok(committed.into_iter().filter_map(note).collect())
    }
}

fn places(open: &BTreeMap<Message, Attempted>) -> BTreeSet<&TopicPartition> {
    open.keys().map(|message| &message.place).collect()
}

/// What the group notes of a message that waits and that somebody can attempt.
///
/// # Errors
/// Why nobody can do anything about it.
fn waiting(group: &Group, message: &Message, now: u64) -> Result<Attempted, String> {
    let Message { place, offset, .. } = message;
    let committed = group.committed.get(place);
    let note = committed.and_then(open_messages::note_of);
    let attempted = note.as_ref().and_then(|note| note.attempted_at(*offset)).copied();
    let attempted = attempted.filter(|attempted| attempted.due > now);
    let attempted = attempted.ok_or_else(|| "it does not wait for an attempt".to_owned())?;
    let members = || group.members.iter().flatten();
    let is_owned = members().any(|member| member.partitions.contains(place));
    // While the group rebalances its coordinator does not tell who owns what.
    let is_settled = matches!(group.state.as_str(), "Stable" | "Empty" | "Dead");
    match is_settled && !is_owned {
        true => Err(format!("no consumer of {} owns partition {}", group.name, place.partition)),
        false => Ok(attempted),
    }
}

/// Whether a note shows that a message which was noted as `before` was attempted or put aside.
fn is_done(action: Action, offset: i64, before: &Attempted, (next, note): (i64, &Note), now: u64) -> bool {
    if note.is_done(next, offset) {
        return true;
    }
    let attempted = || {
        let after = note.attempted_at(offset);
        after.is_none_or(|after| after.attempts != before.attempts || after.due <= now)
    };
    action == Action::RetryNow && attempted()
}

#[cfg(test)]
mod tests {
    use super::*;
    use client::describe::groups::Member;

    fn message(topic: &str) -> Message {
        Message { place: TopicPartition::new(topic, 1), offset: 17, with_topic: false }
    }

    fn waits(attempts: u32, due: u64) -> Attempted {
        Attempted { offset: 17, attempts, kills: 0, in_test: false, due }
    }

    #[test]
    fn a_wish_is_done_when_the_note_shows_it() {
        let note = |attempted: &[Attempted]| Note { attempted: attempted.to_vec(), ..Note::default() };
        let before = waits(2, 9_000);
        let retried = |note: &Note| is_done(Action::RetryNow, 17, &before, (10, note), 1_000);
        assert!(!retried(&note(&[waits(2, 9_000)])));
        // Rounding lets the time move a little.
        assert!(!retried(&note(&[waits(2, 9_004)])));
        assert!(
            retried(&note(&[waits(2, 900)])) && retried(&note(&[waits(3, 60_000)])) && retried(&note(&[]))
        );
        let aside = |note: &Note, next| is_done(Action::PutAside, 17, &before, (next, note), 1_000);
        assert!(!aside(&note(&[waits(2, 900)]), 10) && !aside(&note(&[]), 17));
        assert!(aside(&note(&[]), 18));
        assert!(aside(&Note { done: vec![(15, 18)], ..Note::default() }, 10));
    }

    #[test]
    fn who_cannot_be_helped_is_told_why() {
        let place = TopicPartition::new("t", 1);
        let note = Note { attempted: vec![waits(2, 9_000)], ..Note::default() };
        let committed = Committed::new(10, &note.text(10, 1_000));
        let mut group = Group {
            name: "g".to_owned(),
            state: "Stable".to_owned(),
            members: Some(Vec::new()),
            committed: [(place.clone(), committed)].into(),
        };
        let said = |group: &Group, now| waiting(group, &message("t"), now).map(|found| found.attempts);
        assert_eq!(said(&group, 1_000), Err("no consumer of g owns partition 1".to_owned()));
        group.state = "PreparingRebalance".to_owned();
        assert_eq!(said(&group, 1_000), Ok(2));
        group.state = "Stable".to_owned();
        let name = "consumer1".to_owned();
        group.members = Some(vec![Member {
            client_id: name.clone(),
            member_id: name.clone(),
            host: name,
            partitions: [place].into(),
            user_data: Vec::new(),
        }]);
        assert_eq!(said(&group, 1_000), Ok(2));
        let why = Err("it does not wait for an attempt".to_owned());
        assert_eq!((said(&group, 10_000), waiting(&group, &message("u"), 1).map(|_| 0)), (why.clone(), why));
    }
}
