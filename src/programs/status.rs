//! The tables of the cluster: topics with their ends, groups with their members, and each group's lag.

use std::collections::BTreeSet;
use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::endpoint_word;
use super::open_messages::{self, OpenMessages, QueueFacts};
use super::status_json::Look;
use super::table::{Table, none, time};
use super::warnings;
use crate::cli::{Invocation, Program, SettingsOptions, printed};
use crate::config::Settings;
use crate::error::{Error, Result};
use crate::logging;
use crate::queue::wishes::is_of_wishes;
use crate::runtime::{self, Store};
use broker::Broker;
use clap::Args;
use client::describe::groups::{self, Group, Progress};
use client::offsets::{self, Offsets};
use client::{Cluster, LOOK_UPS};
use net::backoff::Backoff;
use protocol::TopicPartition;

/// The command line.
#[derive(Debug, Args)]
#[command(
    about = "Shows the topics with their ends, and the groups with their members and what they have still to handle"
)]
pub struct Arguments {
    #[command(flatten)]
    settings: SettingsOptions,
    /// Also the open messages of work queues: those that were attempted, and the lowest ones
    #[arg(long, conflicts_with = "json")]
    open: bool,
    /// One line of JSON in place of the tables
    #[arg(long)]
    json: bool,
    /// Show it again every so many seconds (2), until it is stopped
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2",
          value_parser = clap::value_parser!(u64).range(1..=3600))]
    watch: Option<u64>,
}

impl Program for Arguments {
    fn settings(&self) -> &SettingsOptions {
        &self.settings
    }

    fn run(&self, invocation: &Invocation) -> Result<()> {
        run(invocation, self)
    }
}

/// The time limit for the first answer of a broker.
const FIRST_ANSWER: Duration = Duration::from_secs(5);
/// The time limit for the answers after the first.
const ALL_ANSWERS: Duration = Duration::from_secs(20);
/// The time in which another process takes over the embedded broker from one that has ended.
const FAILOVER_TIME: Duration = Duration::from_secs(2);
/// Moves to the upper left corner and clears what is below (ECMA-48 CUP and ED).
const CLEAR: &str = "\x1b[H\x1b[J";
/// The waits before further attempts in that time.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_millis(200));

fn run(invocation: &Invocation, arguments: &Arguments) -> Result<()> {
    // On a terminal the log would stand between the tables.
    logging::start(&invocation.settings.log.of_a_look(), "status")?;
    let Some(seconds) = arguments.watch else {
        let text = look(&invocation.settings, arguments)?;
        return printed(io::stdout().write_all(text.as_bytes()));
    };
    let stop = crate::signals::stop()?;
    let is_cleared = !arguments.json && io::stdout().is_terminal();
    let mut is_first = true;
    loop {
        let mut text = match look(&invocation.settings, arguments) {
            Ok(text) => text,
            // It is told, and may be over at the next look.
            Err(error) => {
                let _ = io::stderr()
                    .write_fmt(format_args!("status: {}\n", crate::text::one_line(&error.to_string())));
                String::new()
            }
        };
        if !arguments.json && !text.is_empty() {
            let now = time(i64::try_from(open_messages::now()).ok());
            let before = if is_cleared {
                CLEAR
            } else if is_first {
                ""
            } else {
                "\n"
            };
            text = format!("{before}{now}\n{text}");
        }
        let out = &mut io::stdout();
        let is_read = out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_ok();
        is_first &= text.is_empty();
        if !is_read || stop.wait_for(Duration::from_secs(seconds)) {
            return Ok(());
        }
    }
}

/// What is seen at present.
fn look(settings: &Settings, arguments: &Arguments) -> Result<String> {
    let (described, warnings) = thread::scope(|scope| {
        let warn = thread::Builder::new().name("warnings".to_owned()).spawn_scoped(scope, || warn(settings));
        let warn =
            warn.map_err(|error| Error::new("the thread warnings cannot be started").caused_by(error))?;
        Ok((describe(settings, arguments.open), warn.join().unwrap_or_default()))
    })?;
    let view = described?;
    Ok(if arguments.json { view.json(&warnings) } else { view.text() })
}

/// Tells on standard error what is wrong, as soon as it is known: it may be why other answers take long.
fn warn(settings: &Settings) -> Vec<String> {
    let tell = |what: &String| drop(io::stderr().write_fmt(format_args!("warning: {what}\n")));
    let others = warnings::of_others(&settings.store_failure(), &settings.log.file);
    others.iter().for_each(tell);
    let own = endpoint_word::of(&settings.producer_api);
    own.iter().for_each(tell);
    others.into_iter().chain(own).collect()
}

/// Describes the cluster. Tries again for a while where the process that serves the embedded broker may just
/// have ended.
fn describe(settings: &Settings, with_open: bool) -> Result<View> {
    let mut backoff = BACKOFF;
    let deadline = Instant::now() + FAILOVER_TIME;
    loop {
        let broker = serve_if_unserved(settings, Store::Needed)?;
        let cluster = Arc::new(Cluster::new(settings.cluster()));
        let view = try_describe(&cluster, settings, with_open);
        broker.into_iter().for_each(Broker::stop);
        if view.is_ok() || settings.embedded_broker().is_none() || Instant::now() >= deadline {
            return view;
        }
        cluster.pause(backoff.next_wait());
    }
}

/// Starts the embedded broker, if the settings name no other and no other process serves it.
pub(super) fn serve_if_unserved(settings: &Settings, store: Store) -> Result<Option<Broker>> {
    let broker = settings.broker().map(|broker| runtime::serve_if_unserved(broker, store));
    broker.transpose().map(Option::flatten)
}

fn try_describe(cluster: &Arc<Cluster>, settings: &Settings, with_open: bool) -> Result<View> {
    let failed = |what: &str| Error::new(format!("{what} of {}", settings.brokers().join(", ")));
    let topics = cluster.all_topics(Instant::now() + FIRST_ANSWER);
    let topics = topics.map_err(|error| failed("the topics").caused_by(error))?;
    let deadline = Instant::now() + ALL_ANSWERS;
    let groups = groups::all(cluster, deadline).map_err(|error| failed("the groups").caused_by(error))?;
    let groups: Vec<Group> = groups.into_iter().filter(|group| !is_of_wishes(&group.name)).collect();
    let mut partitions: BTreeSet<TopicPartition> = BTreeSet::new();
    for (name, topic) in &topics {
        partitions
            .extend((0..).zip(&topic.leaders).map(|(partition, _)| TopicPartition::new(name, partition)));
    }
    let [starts, ends] = offsets::bounds(cluster, LOOK_UPS, &partitions);
    let mut open = Vec::new();
    for group in groups.iter().filter(|_| with_open) {
        let mut messages = OpenMessages::of(group, &starts, &ends);
        messages.look_up(cluster, deadline);
        open.push(messages);
    }
    Ok(View { partitions, starts, ends, groups, open, now: open_messages::now() })
}

/// The state of the cluster.
struct View {
    partitions: BTreeSet<TopicPartition>,
    /// Where the logs of the partitions begin that have a leader now.
    starts: Offsets,
    /// Where they end.
    ends: Offsets,
    groups: Vec<Group>,
    /// The open messages of each group, if they are shown.
    open: Vec<OpenMessages>,
    /// When this was so, in ms since 1970.
    now: u64,
}

impl View {
    fn text(&self) -> String {
        let tables = [self.topics(), self.members(), self.progress()];
        let mut tables: Vec<String> =
            tables.iter().filter(|table| table.len() > 1).map(|t| Table::default().text(t)).collect();
        if self.has_lost() {
            tables.last_mut().into_iter().for_each(|table| table.push_str(LAG_OF_THE_LOST));
        }
        if self.has_queue() {
            tables.last_mut().into_iter().for_each(|table| table.push_str(LAG_OF_QUEUES));
        }
        tables.extend(OpenMessages::text(&self.open));
        if tables.is_empty() { "no topics and no groups\n".to_owned() } else { tables.join("\n") }
    }

    fn json(&self, warnings: &[String]) -> String {
        let View { partitions, starts, ends, groups, now, .. } = self;
        Look { partitions, starts, ends, groups, warnings, now: *now }.line()
    }

    /// Whether a group has not handled what is there no more.
    fn has_lost(&self) -> bool {
        let mut committed = self.groups.iter().flat_map(|group| &group.committed);
        committed.any(|(place, at)| self.starts.get(place).is_some_and(|start| at.offset < *start))
    }

    fn has_queue(&self) -> bool {
        let mut committed = self.groups.iter().flat_map(|group| group.committed.values());
        committed.any(|committed| open_messages::note_of(committed).is_some())
    }

    fn topics(&self) -> Vec<Vec<String>> {
        let mut rows = vec![cells(&["TOPIC", "PARTITION", "END"])];
        for place in &self.partitions {
            rows.push(vec![
                shown(&place.topic),
                place.partition.to_string(),
                number(self.ends.get(place).copied()),
            ]);
        }
        rows
    }

    fn members(&self) -> Vec<Vec<String>> {
        let mut rows = vec![cells(&["GROUP", "STATE", "MEMBER", "HOST", "PARTITIONS"])];
        for group in &self.groups {
            let (name, state) = (shown(&group.name), shown(&group.state));
            for member in group.members.iter().flatten() {
                let owned = member.partitions.len().to_string();
                rows.push(vec![
                    name.clone(),
                    state.clone(),
                    shown(&member.client_id),
                    shown(&member.host),
                    owned,
                ]);
            }
            match &group.members {
                Some(members) if !members.is_empty() => {}
                Some(_) => rows.push(vec![name, state, none(), none(), none()]),
                None => rows.push(vec![name, state, unknown(), unknown(), unknown()]),
            }
        }
        rows
    }

    fn progress(&self) -> Vec<Vec<String>> {
        let mut rows = vec![cells(&[
            "GROUP",
            "TOPIC",
            "PARTITION",
            "COMMITTED",
            "END",
            "LAG",
            "OWNER",
            "OPEN",
            "WAITING",
            "NEXT-DUE",
            "PAUSED",
        ])];
        for group in &self.groups {
            for progress in group.progress([], &self.starts, &self.ends) {
                let mut row = vec![
                    shown(&group.name),
                    shown(&progress.place.topic),
                    progress.place.partition.to_string(),
                    number(progress.committed),
                    number(progress.end),
                    number(progress.lag),
                    match progress.owner {
                        Some(owner) => shown(&owner.client_id),
                        None if group.members.is_none() => unknown(),
                        None => none(),
                    },
                ];
                row.extend(self.queue(&progress));
                rows.push(row);
            }
        }
        rows
    }

    /// What a work queue notes of a partition: what is open, what waits until when, whether it pauses.
    fn queue(&self, progress: &Progress<'_>) -> [String; 4] {
        match QueueFacts::of(progress, self.now) {
            None => std::array::from_fn(|_| none()),
            Some(QueueFacts { open, waiting, next_due, paused, .. }) => {
                let paused = if paused { "yes" } else { "no" };
                [number(open), waiting.to_string(), time(next_due), paused.to_owned()]
            }
        }
    }
}

/// What stands under the table where retention has removed what a group has not handled.
const LAG_OF_THE_LOST: &str = "LAG counts from the first record that is kept, where COMMITTED is below it.\n";

/// What stands under the table where a work queue is in it.
const LAG_OF_QUEUES: &str =
    "LAG counts from the lowest open offset of a work queue; OPEN leaves out what is done above it.\n";

/// Names come from whoever has access to the cluster.
pub(super) fn shown(name: &str) -> String {
    if name.is_empty() { none() } else { crate::text::escape(name.as_bytes()).to_string() }
}

pub(super) fn number(number: Option<i64>) -> String {
    number.map_or_else(none, |number| number.to_string())
}

fn unknown() -> String {
    "?".to_owned()
}

pub(super) fn cells(cells: &[&str]) -> Vec<String> {
    cells.iter().map(|cell| (*cell).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::queue::note::{Attempted, Note};
    use client::coordinator::Committed;
    use client::describe::groups::Member;

    fn place(partition: i32) -> TopicPartition {
        TopicPartition::new("mi-topico", partition)
    }

    fn group(name: &str, state: &str, members: Option<Vec<Member>>, committed: &[(i32, i64)]) -> Group {
        let at = |offset| Committed::new(offset, "");
        let committed: BTreeMap<_, _> =
            committed.iter().map(|(p, offset)| (place(*p), at(*offset))).collect();
        Group { name: name.to_owned(), state: state.to_owned(), members, committed }
    }

    #[test]
    fn the_lag_of_a_group_stands_beside_the_owner_of_the_partition() {
        let member = Member {
            client_id: "consumer1".to_owned(),
            member_id: "consumer1-1".to_owned(),
            host: "127.0.0.1".to_owned(),
            partitions: [place(0), place(1)].into(),
            user_data: Vec::new(),
        };
        let view = View {
            partitions: [place(0), place(1), place(2)].into(),
            starts: [(place(0), 6), (place(1), 0)].into(),
            ends: [(place(0), 10), (place(1), 7)].into(),
            groups: vec![
                group("workers", "Stable", Some(vec![member]), &[(0, 4), (2, 5)]),
                group("a\n", "Empty", Some(vec![]), &[]),
                group("new", "Stable", None, &[(1, 7)]),
            ],
            open: Vec::new(),
            now: 0,
        };
        let text = "\
TOPIC      PARTITION  END
mi-topico  0          10
mi-topico  1          7
mi-topico  2          -

GROUP    STATE   MEMBER     HOST       PARTITIONS
workers  Stable  consumer1  127.0.0.1  2
a\\n      Empty   -          -          -
new      Stable  ?          ?          ?

GROUP    TOPIC      PARTITION  COMMITTED  END  LAG  OWNER      OPEN  WAITING  NEXT-DUE  PAUSED
workers  mi-topico  0          4          10   4    consumer1  -     -        -         -
workers  mi-topico  1          -          7    -    consumer1  -     -        -         -
workers  mi-topico  2          5          -    -    -          -     -        -         -
new      mi-topico  1          7          7    0    ?          -     -        -         -
LAG counts from the first record that is kept, where COMMITTED is below it.
";
        assert_eq!(view.text(), text);
    }

    #[test]
    fn what_a_work_queue_notes_stands_beside_its_lag() {
        let mut queue = group("workers", "Empty", Some(vec![]), &[(0, 4), (1, 7), (2, 1)]);
        let waits = |offset, due| Attempted { offset, attempts: 1, kills: 0, in_test: false, due };
        let mut note = Note {
            held_by: Some("consumer1".to_owned()),
            paused: true,
            done: vec![(5, 7)],
            attempted: vec![waits(4, 90_000), waits(7, 1_000), waits(9, 80_000)],
            ..Note::default()
        };
        for (partition, metadata) in [(0, note.text(4, 1_000)), (2, "of another".to_owned())] {
            queue.committed.get_mut(&place(partition)).expect("it").metadata = metadata;
        }
        (note.paused, note.done, note.attempted) = (false, Vec::new(), Vec::new());
        queue.committed.get_mut(&place(1)).expect("it").metadata = note.text(7, 1_000);
        let view = View {
            partitions: BTreeSet::new(),
            starts: [(place(0), 5), (place(1), 0), (place(2), 0)].into(),
            ends: [(place(0), 10), (place(1), 7), (place(2), 3)].into(),
            groups: vec![queue],
            open: Vec::new(),
            now: 60_000,
        };
        let text = "\
GROUP    STATE  MEMBER  HOST  PARTITIONS
workers  Empty  -       -     -

GROUP    TOPIC      PARTITION  COMMITTED  END  LAG  OWNER  OPEN  WAITING  NEXT-DUE                  PAUSED
workers  mi-topico  0          4          10   5    -      3     2        1970-01-01T00:01:20.008Z  yes
workers  mi-topico  1          7          7    0    -      0     0        -                         no
workers  mi-topico  2          1          3    2    -      -     -        -                         -
LAG counts from the first record that is kept, where COMMITTED is below it.
LAG counts from the lowest open offset of a work queue; OPEN leaves out what is done above it.
";
        assert_eq!(view.text(), text);
    }

    #[test]
    fn an_empty_cluster_is_reported_as_empty() {
        let view = View {
            partitions: BTreeSet::new(),
            starts: Offsets::new(),
            ends: Offsets::new(),
            groups: Vec::new(),
            open: Vec::new(),
            now: 0,
        };
        assert_eq!(view.text(), "no topics and no groups\n");
    }
}
