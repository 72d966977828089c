//! The open messages of work queues, as rows of a table: those that were attempted, of which the notes speak,
//! and the lowest ones. They are read from the topic by their offsets.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::table::{Table, none, time};
use crate::config::Subscription;
use crate::queue::note::{Attempted, Note};
use crate::text::{escape, escape_beginning};
use client::connection::Connection;
use client::coordinator::Committed;
use client::describe::groups::{Group, Progress};
use client::fetch::{self, Fetched, Position};
use client::offsets::Offsets;
use client::{Cluster, LOOK_UPS, in_time};
use protocol::TopicPartition;
use protocol::error_code::ErrorCode;
use protocol::records::{Batches, MAX_UNPACKED_BYTES, RecordsError};

/// The most messages of a group that are shown.
const MOST: usize = 100;
/// The bytes that a row shows of a key, and of a value.
const SHOWN_BYTES: usize = 60;
/// The bytes that are fetched at a time; a larger batch comes whole.
const FETCH_BYTES: i32 = 64 * 1024;

/// The open messages of a group, as many as are shown.
#[derive(Debug, Default)]
pub struct OpenMessages {
    group: String,
    messages: Vec<OpenMessage>,
    /// How many open offsets are not shown.
    left: i64,
    /// Why messages of a partition could not be read.
    unread: Vec<String>,
}

/// An open message.
#[derive(Debug)]
struct OpenMessage {
    place: TopicPartition,
    offset: i64,
    attempted: Option<Attempted>,
    content: Content,
}

/// What is known of a message's record.
#[derive(Debug, PartialEq, Eq)]
enum Content {
    Unknown,
    /// The topic has none at its offset.
    Gone,
    /// The beginnings of its key and its value.
    Found {
        key: Option<String>,
        value: Option<String>,
    },
}

/// A note, with the place and the offset that it was committed with.
struct Noted<'a> {
    place: &'a TopicPartition,
    next: i64,
    note: Note,
}

impl OpenMessages {
    /// The attempted and the lowest open messages of a group, of those partitions that a queue has noted.
    pub fn of(group: &Group, starts: &Offsets, ends: &Offsets) -> OpenMessages {
        let noted = noted(group);
        let mut chosen = attempted(&noted);
        first_due(&mut chosen);
        let start = |at: &Noted<'_>| starts.get(at.place).copied().unwrap_or_default();
        let untried = |at| untried(at, start(at), ends.get(at.place).copied());
        let mut others: Vec<_> = noted.iter().map(untried).collect();
        while chosen.len() < MOST {
            let before = chosen.len();
            for partition in &mut others {
                chosen.extend(partition.next().filter(|_| chosen.len() < MOST));
            }
            if chosen.len() == before {
                break;
            }
        }
        let open = |at: &Noted<'_>| {
            ends.get(at.place).map_or(0, |end| at.note.open_count(at.next.max(start(at)), *end))
        };
        OpenMessages::new(group, chosen, noted.iter().map(open).sum())
    }

    /// The messages of a group that wait for their next attempt at `now`, in ms since 1970; no topics but
    /// `topics`.
    pub fn waiting(group: &Group, topics: &Subscription, now: u64) -> OpenMessages {
        let mut chosen = attempted(&noted(group));
        let waits = |message: &OpenMessage| message.attempted.is_some_and(|attempted| attempted.due > now);
        chosen.retain(|message| topics.has(&message.place.topic) && waits(message));
        let all = i64::try_from(chosen.len()).unwrap_or(i64::MAX);
        first_due(&mut chosen);
        OpenMessages::new(group, chosen, all)
    }

    fn new(group: &Group, mut messages: Vec<OpenMessage>, all: i64) -> OpenMessages {
        messages.sort_by(|a, b| (&a.place, a.offset).cmp(&(&b.place, b.offset)));
        let shown = i64::try_from(messages.len()).unwrap_or(i64::MAX);
        let left = all.saturating_sub(shown).max(0);
        OpenMessages { group: group.name.clone(), messages, left, unread: Vec::new() }
    }

    /// Reads the messages' keys and values.
    pub fn look_up(&mut self, cluster: &Arc<Cluster>, deadline: Instant) {
        let mut connection = None;
        for messages in self.messages.chunk_by_mut(|a, b| a.place == b.place) {
            if let Err(why) = look_up(cluster, messages, &mut connection, deadline) {
                self.unread.push(why);
            }
        }
        // A topic also has offsets without a record, which nobody will attempt.
        self.messages.retain(|message| message.attempted.is_some() || message.content != Content::Gone);
    }

    /// The table of these groups with what could not be shown; `None` if there is nothing to tell.
    pub fn text(groups: &[OpenMessages]) -> Option<String> {
        let mut rows = vec![
            ["GROUP", "TOPIC", "MESSAGE", "ATTEMPTS", "DEATHS", "DUE", "KEY", "VALUE"]
                .map(str::to_owned)
                .to_vec(),
        ];
        rows.extend(
            groups.iter().flat_map(|group| group.messages.iter().map(|message| message.row(&group.group))),
        );
        let mut text = if rows.len() > 1 { Table::default().text(&rows) } else { String::new() };
        for group in groups {
            if group.left > 0 {
                let name = escape(group.group.as_bytes());
                text.push_str(&format!("and up to {} more open messages of {name}\n", group.left));
            }
            group.unread.iter().for_each(|why| text.push_str(&format!("not read: {why}\n")));
        }
        (!text.is_empty()).then_some(text)
    }
}

impl OpenMessage {
    fn row(&self, group: &str) -> Vec<String> {
        let due = self.attempted.and_then(|attempted| i64::try_from(attempted.due).ok());
        let count = |count: fn(Attempted) -> u32| self.attempted.map_or(0, count).to_string();
        let (key, value) = match &self.content {
            Content::Unknown => ("?".to_owned(), "?".to_owned()),
            Content::Gone => ("gone".to_owned(), none()),
            Content::Found { key, value } => {
                (key.clone().unwrap_or_else(none), value.clone().unwrap_or_else(none))
            }
        };
        vec![
            escape(group.as_bytes()).to_string(),
            escape(self.place.topic.as_bytes()).to_string(),
            format!("{}:{}", self.place.partition, self.offset),
            count(|attempted| attempted.attempts),
            count(|attempted| attempted.kills),
            time(due),
            key,
            value,
        ]
    }
}

/// The note of a work queue in what was committed; `None` if there is none that can be read.
pub fn note_of(committed: &Committed) -> Option<Note> {
    let text = Some(committed.metadata.as_str()).filter(|text| !text.is_empty())?;
    Note::read(committed.offset, text).ok()
}

/// What the note of a partition says of its queue as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueFacts {
    /// The offsets that are not done, where the end is known.
    pub open: Option<i64>,
    /// The messages that wait for their next attempt.
    pub waiting: usize,
    /// When the first of them is due, in ms since 1970.
    pub next_due: Option<i64>,
    /// Whether the owner hands out nothing.
    pub paused: bool,
    /// The open messages that were attempted, in order.
    pub attempted: Vec<Attempted>,
}

impl QueueFacts {
    /// What a note says at `now`, in ms since 1970; `None` if there is none that can be read.
    pub fn of(progress: &Progress<'_>, now: u64) -> Option<QueueFacts> {
        let metadata = Some(progress.metadata).filter(|metadata| !metadata.is_empty())?;
        let next = progress.committed?;
        let note = Note::read(next, metadata).ok()?;
        let dues = note.attempted.iter().map(|message| message.due).filter(|due| *due > now);
        Some(QueueFacts {
            open: progress.start.zip(progress.end).map(|(start, end)| note.open_count(next.max(start), end)),
            waiting: dues.clone().count(),
            next_due: dues.min().and_then(|due| i64::try_from(due).ok()),
            paused: note.paused,
            attempted: note.attempted,
        })
    }
}

/// The time in ms since 1970.
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn noted(group: &Group) -> Vec<Noted<'_>> {
    let noted = |(place, committed): (_, &Committed)| {
        Some(Noted { place, next: committed.offset, note: note_of(committed)? })
    };
    group.committed.iter().filter_map(noted).collect()
}

fn attempted(noted: &[Noted<'_>]) -> Vec<OpenMessage> {
    let of = |at: &Noted<'_>| {
        let place = at.place.clone();
        let message = move |attempted: Attempted| OpenMessage {
            place: place.clone(),
            offset: attempted.offset,
            attempted: Some(attempted),
            content: Content::Unknown,
        };
        at.note.attempted.clone().into_iter().map(message)
    };
    noted.iter().flat_map(of).collect()
}

/// Keeps those that are attempted first.
fn first_due(messages: &mut Vec<OpenMessage>) {
    messages.sort_by_key(|message| message.attempted.map(|attempted| attempted.due));
    messages.truncate(MOST);
}

/// The open messages of a partition from `log_start` on that were not attempted, the lowest first.
fn untried<'a>(
    at: &'a Noted<'_>,
    log_start: i64,
    end: Option<i64>,
) -> impl Iterator<Item = OpenMessage> + 'a {
    let end = end.unwrap_or(at.next);
    let after_last = at.note.done.last().map_or(at.next, |(_, after)| *after);
    let starts = std::iter::once(at.next).chain(at.note.done.iter().map(|(_, after)| *after));
    let stops = at.note.done.iter().map(|(start, _)| *start).chain([end.max(after_last)]);
    let open = starts.zip(stops).flat_map(move |(start, stop)| start.max(log_start)..stop);
    open.filter(|offset| at.note.attempted_at(*offset).is_none()).map(|offset| OpenMessage {
        place: at.place.clone(),
        offset,
        attempted: None,
        content: Content::Unknown,
    })
}

/// Reads messages of one partition, which are in order.
fn look_up(
    cluster: &Arc<Cluster>,
    messages: &mut [OpenMessage],
    connection: &mut Option<(i32, Connection)>,
    deadline: Instant,
) -> Result<(), String> {
    let mut seen = 0;
    while let Some(first) = messages.get(seen) {
        let (place, offset) = (first.place.clone(), first.offset);
        let position = Position::new(&place, offset, FETCH_BYTES);
        let fetched = in_time(cluster, deadline, || {
            fetch::from_leader(cluster, LOOK_UPS, connection, &position, cluster.deadline(deadline))
        });
        let fetched = fetched.map_err(|error| error.to_string())?;
        let after = take(&fetched, messages).map_err(|error| format!("{place}: {error}"))?;
        let after = after.max(offset.saturating_add(1));
        for message in messages.iter_mut().skip(seen).take_while(|message| message.offset < after) {
            seen += 1;
            if message.content == Content::Unknown {
                message.content = Content::Gone;
            }
        }
    }
    Ok(())
}

/// Takes what was fetched; gives the offset after it.
fn take(fetched: &Fetched, messages: &mut [OpenMessage]) -> Result<i64, RecordsError> {
    let mut after = 0;
    if fetched.error == ErrorCode::OFFSET_OUT_OF_RANGE {
        return Ok(fetched.log_start);
    }
    let mut wanted: BTreeMap<i64, &mut OpenMessage> =
        messages.iter_mut().map(|message| (message.offset, message)).collect();
    for batch in Batches::new(&fetched.records) {
        let batch = batch?;
        after = batch.header.last_offset().saturating_add(1);
        if batch.header.is_control() {
            continue;
        }
        for record in &batch.unpack(MAX_UNPACKED_BYTES)? {
            let record = record?;
            let Some(message) = wanted.get_mut(&record.offset) else { continue };
            let shown = |bytes: &[u8]| escape_beginning(bytes, SHOWN_BYTES).to_string();
            message.content = Content::Found { key: record.key.map(shown), value: record.value.map(shown) };
        }
    }
    Ok(after)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(notes: &[(i32, i64, &Note)]) -> Group {
        let at = |(partition, next, note): &(i32, i64, &Note)| {
            let metadata = note.text(*next, 1_000);
            (TopicPartition::new("t", *partition), Committed::new(*next, &metadata))
        };
        let committed = notes.iter().map(at).collect();
        Group { name: "g\n".to_owned(), state: "Empty".to_owned(), members: None, committed }
    }

    fn waits(offset: i64, due: u64) -> Attempted {
        Attempted { offset, attempts: 2, kills: 1, in_test: false, due }
    }

    fn only(topic: &str) -> Subscription {
        Subscription::Topics(vec![topic.to_owned()])
    }

    fn names(open: &OpenMessages) -> Vec<String> {
        open.messages
            .iter()
            .map(|message| format!("{}:{}", message.place.partition, message.offset))
            .collect()
    }

    #[test]
    fn the_attempted_messages_are_shown_and_the_lowest_of_those_that_are_open() {
        let note = Note { done: vec![(6, 8), (9, 12)], attempted: vec![waits(8, 9_000)], ..Note::default() };
        let (empty, ends) = (Note::default(), |end| [(TopicPartition::new("t", 0), end)].into());
        let all = Offsets::new();
        let open = OpenMessages::of(&group(&[(0, 5, &note), (1, 3, &empty)]), &all, &ends(14));
        assert_eq!(
            (names(&open), open.left),
            (["0:5", "0:8", "0:12", "0:13"].map(str::to_owned).to_vec(), 0)
        );
        let removed = [(TopicPartition::new("t", 0), 13)].into();
        let left = OpenMessages::of(&group(&[(0, 5, &note)]), &removed, &ends(14));
        assert_eq!((names(&left), left.left), (["0:8", "0:13"].map(str::to_owned).to_vec(), 0));
        let many = OpenMessages::of(&group(&[(0, 5, &note)]), &all, &ends(1_000_012));
        assert_eq!((many.messages.len(), many.left), (MOST, 1_000_002 - MOST as i64));
        assert!(names(&many).contains(&"0:8".to_owned()));
    }

    #[test]
    fn those_that_wait_are_the_attempted_ones_whose_time_has_not_come() {
        let note = Note { attempted: vec![waits(5, 2_000), waits(8, 9_000)], ..Note::default() };
        let open = OpenMessages::waiting(&group(&[(0, 5, &note)]), &only("t"), 2_000);
        assert_eq!((names(&open), open.left), (vec!["0:8".to_owned()], 0));
        assert!(names(&OpenMessages::waiting(&group(&[(0, 5, &note)]), &only("u"), 2_000)).is_empty());
    }

    #[test]
    fn a_row_shows_what_is_known_and_nothing_that_could_forge_another() {
        let note = Note { attempted: vec![waits(5, 3_000), waits(6, 3_000)], ..Note::default() };
        let mut open = OpenMessages::waiting(&group(&[(0, 5, &note)]), &only("t"), 0);
        let shown = |text: &str| Some(escape_beginning(text.as_bytes(), SHOWN_BYTES).to_string());
        open.messages[0].content = Content::Found { key: None, value: shown("a\nb") };
        open.messages[1].content = Content::Gone;
        (open.left, open.unread) = (3, vec!["t-1: why".to_owned()]);
        let text = "\
GROUP  TOPIC  MESSAGE  ATTEMPTS  DEATHS  DUE                       KEY   VALUE
g\\n    t      0:5      2         1       1970-01-01T00:00:03.000Z  -     a\\nb
g\\n    t      0:6      2         1       1970-01-01T00:00:03.000Z  gone  -
and up to 3 more open messages of g\\n
not read: t-1: why
";
        assert_eq!(OpenMessages::text(&[open]).as_deref(), Some(text));
        assert_eq!(OpenMessages::text(&[]), None);
    }
}
