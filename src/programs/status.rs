//! What is in the cluster: topics and their ends, groups and their members, and what they have still to handle.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::base;
use super::table::Table;
use crate::broker::Broker;
use crate::cli::{Given, Program};
use crate::cluster::groups::{self, Group};
use crate::cluster::offsets::{self, LATEST, Offsets};
use crate::cluster::{Cluster, ClusterSettings};
use crate::config::{LogSettings, Settings};
use crate::error::{Error, Result};
use crate::logging;

/// `status`.
pub const PROGRAM: Program = Program {
    name: "status",
    about: "Shows the topics with their ends, and the groups with their members and what they have still to handle",
    options: &[],
    subcommands: &[],
    run,
};

/// How long finding a broker may take, ...
const FIRST_ANSWER: Duration = Duration::from_secs(5);
/// ... and how long everything may.
const ALL_ANSWERS: Duration = Duration::from_secs(20);
/// How long nobody may serve it between two holders.
const HAND_OVER: Duration = Duration::from_secs(2);
/// The wait before another look.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

fn run(given: &Given) -> Result<()> {
    let settings = &given.settings;
    // Its answer is on standard output; a log would only stand between.
    let level = settings.log.level.min(log::LevelFilter::Error);
    logging::start(&LogSettings { level, file: String::new() })?;
    let text = find(settings)?.text();
    // Whoever has seen enough may close the pipe.
    let _ = io::stdout().write_all(text.as_bytes());
    Ok(())
}

/// Looks, and looks again where the holder of the embedded broker may just have ended.
fn find(settings: &Settings) -> Result<View> {
    let deadline = Instant::now() + HAND_OVER;
    loop {
        let broker = serve_if_nobody_does(settings)?;
        let view = look(settings);
        broker.into_iter().for_each(Broker::stop);
        if view.is_ok() || settings.embedded_broker().is_none() || Instant::now() >= deadline {
            return view;
        }
        thread::sleep(LOOK_AGAIN);
    }
}

/// The embedded broker, if it is the one to ask and no other process serves it.
fn serve_if_nobody_does(settings: &Settings) -> Result<Option<Broker>> {
    if base::is_served(settings)? { Ok(None) } else { base::start_broker(settings) }
}

fn look(settings: &Settings) -> Result<View> {
    let cluster = Arc::new(Cluster::new(ClusterSettings::of(settings)));
    let failed = |what: &str| Error::new(format!("{what} of {}", settings.brokers().join(", ")));
    let topics = cluster.all_topics(Instant::now() + FIRST_ANSWER);
    let topics = topics.map_err(|error| failed("the topics").caused_by(error))?;
    let deadline = Instant::now() + ALL_ANSWERS;
    let groups = groups::all(&cluster, deadline).map_err(|error| failed("the groups").caused_by(error))?;
    let mut partitions: BTreeSet<(String, i32)> = BTreeSet::new();
    for (name, topic) in &topics {
        partitions.extend((0..).zip(&topic.leaders).map(|(partition, _)| (name.clone(), partition)));
    }
    let wanted: Vec<_> =
        partitions.iter().map(|(topic, partition)| (topic.clone(), *partition, LATEST)).collect();
    let ends = offsets::find(&cluster, "point-to-point", &wanted, deadline);
    Ok(View { partitions, ends, groups })
}

/// What there was to see.
struct View {
    partitions: BTreeSet<(String, i32)>,
    /// Without the partitions that have no leader now.
    ends: Offsets,
    groups: Vec<Group>,
}

impl View {
    fn text(&self) -> String {
        let tables = [self.topics(), self.members(), self.progress()];
        let tables: Vec<String> =
            tables.iter().filter(|table| table.len() > 1).map(|t| Table::default().text(t)).collect();
        if tables.is_empty() { "no topics and no groups\n".to_owned() } else { tables.join("\n") }
    }

    fn topics(&self) -> Vec<Vec<String>> {
        let mut rows = vec![words(&["TOPIC", "PARTITION", "END"])];
        for place in &self.partitions {
            rows.push(vec![shown(&place.0), place.1.to_string(), number(self.ends.get(place).copied())]);
        }
        rows
    }

    fn members(&self) -> Vec<Vec<String>> {
        let mut rows = vec![words(&["GROUP", "STATE", "MEMBER", "HOST", "PARTITIONS"])];
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
        let mut rows = vec![words(&["GROUP", "TOPIC", "PARTITION", "COMMITTED", "END", "LAG", "OWNER"])];
        for group in &self.groups {
            for progress in group.progress([], &self.ends) {
                rows.push(vec![
                    shown(&group.name),
                    shown(&progress.place.0),
                    progress.place.1.to_string(),
                    number(progress.committed),
                    number(progress.end),
                    number(progress.lag),
                    match progress.owner {
                        Some(owner) => shown(&owner.client_id),
                        None if group.members.is_none() => unknown(),
                        None => none(),
                    },
                ]);
            }
        }
        rows
    }
}

/// Names come from whoever has access to the cluster.
fn shown(name: &str) -> String {
    if name.is_empty() { none() } else { logging::escaped(name.as_bytes()).to_string() }
}

fn number(number: Option<i64>) -> String {
    number.map_or_else(none, |number| number.to_string())
}

fn none() -> String {
    "-".to_owned()
}

fn unknown() -> String {
    "?".to_owned()
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::cluster::groups::Member;

    fn place(partition: i32) -> (String, i32) {
        ("mi-topico".to_owned(), partition)
    }

    fn group(name: &str, state: &str, members: Option<Vec<Member>>, committed: &[(i32, i64)]) -> Group {
        let committed: BTreeMap<_, _> = committed.iter().map(|(p, offset)| (place(*p), *offset)).collect();
        Group { name: name.to_owned(), state: state.to_owned(), members, committed }
    }

    #[test]
    fn what_a_group_has_still_to_handle_stands_beside_who_handles_it() {
        let member = Member {
            client_id: "consumer1".to_owned(),
            member_id: "consumer1-1".to_owned(),
            host: "127.0.0.1".to_owned(),
            partitions: [place(0), place(1)].into(),
        };
        let view = View {
            partitions: [place(0), place(1), place(2)].into(),
            ends: [(place(0), 10), (place(1), 7)].into(),
            groups: vec![
                group("workers", "Stable", Some(vec![member]), &[(0, 4), (2, 5)]),
                group("a\n", "Empty", Some(vec![]), &[]),
                group("new", "Stable", None, &[(1, 7)]),
            ],
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

GROUP    TOPIC      PARTITION  COMMITTED  END  LAG  OWNER
workers  mi-topico  0          4          10   6    consumer1
workers  mi-topico  1          -          7    -    consumer1
workers  mi-topico  2          5          -    -    -
new      mi-topico  1          7          7    0    ?
";
        assert_eq!(view.text(), text);
    }

    #[test]
    fn an_empty_cluster_is_said_to_be_empty() {
        let view = View { partitions: BTreeSet::new(), ends: Offsets::new(), groups: Vec::new() };
        assert_eq!(view.text(), "no topics and no groups\n");
    }
}
