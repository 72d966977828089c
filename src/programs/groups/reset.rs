//! The reset of what a group has committed. Without `--execute` it is only shown.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Reset;
use crate::error::{Error, Result};
use crate::programs::administration::{counted, deadline, described, print, topic};
use crate::programs::status::{cells, number, shown};
use crate::programs::table::Table;
use client::coordinator::{Commit, Coordinator, Membership};
use client::describe::groups::{self, Group};
use client::offsets::{self, EARLIEST, LATEST, Offsets};
use client::topic_id::TopicIds;
use client::{Cluster, Error as ClientError, LOOK_UPS, RequestContext};
use protocol::TopicPartition;
use protocol::error_code::ErrorCode;

/// The states of a group whose offsets anybody may commit: it has no members, or it is not there yet.
const WITHOUT_MEMBERS: [&str; 2] = ["Empty", "Dead"];

/// A time as RFC 3339 has it, in ms since 1970.
///
/// # Errors
/// It is none.
pub(super) fn time(text: &str) -> Result<i64, String> {
    let parsed = OffsetDateTime::parse(text, &Rfc3339).ok();
    let ms = parsed.and_then(|time| i64::try_from(time.unix_timestamp_nanos().div_euclid(1_000_000)).ok());
    ms.filter(|ms| *ms >= 0)
        .ok_or_else(|| "a time is 2026-05-01T10:00:00Z or 2026-05-01T12:00:00+02:00".to_owned())
}

/// How long it is waited for members that have ended without a word, and how often it is looked.
const SESSIONS: Duration = Duration::from_secs(60);
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// Shows the reset, and carries it out if that is asked for. Where the embedded broker was started for it, no
/// member can have said that it has ended: the reset waits until their sessions end.
///
/// # Errors
/// There is no such topic or partition, the brokers do not answer, or the group has members.
pub(super) fn run(cluster: &Arc<Cluster>, is_ours: bool, asked: &Reset) -> Result<()> {
    let places = places(cluster, asked)?;
    let mut group = look(cluster, asked)?;
    if is_ours && asked.execute {
        group = without_dead_members(cluster, group, asked)?;
    }
    let deadline = deadline();
    let obstacle = obstacle(&group);
    if let Some(obstacle) = obstacle.as_ref().filter(|_| asked.execute) {
        return Err(Error::new(format!("nothing is reset: {obstacle}")));
    }
    let moves = moves(&group, targets(cluster, asked, places, deadline)?);
    print(&Table::default().text(&rows(&moves)));
    if asked.execute {
        commit(cluster, &group.name, &moves, deadline)?;
        print(&format!("reset {} of group {}\n", counted(moves.len(), "partition"), shown(&group.name)));
        return Ok(());
    }
    print(&match obstacle {
        Some(obstacle) => format!("nothing is reset, and --execute would be refused: {obstacle}\n"),
        None => "nothing is reset: --execute does it\n".to_owned(),
    });
    Ok(())
}

fn look(cluster: &Arc<Cluster>, asked: &Reset) -> Result<Group> {
    groups::one(cluster, &asked.group, deadline()).map_err(|error| {
        Error::new(format!("no answer about group {}", shown(&asked.group))).caused_by(error)
    })
}

/// The group once the sessions of its members have ended, or as it is when that takes too long.
fn without_dead_members(cluster: &Arc<Cluster>, mut group: Group, asked: &Reset) -> Result<Group> {
    let end = Instant::now() + SESSIONS;
    if let Some(obstacle) = obstacle(&group) {
        let wait = SESSIONS.as_secs();
        let said = format!("{obstacle}, or their sessions have to end: waiting up to {wait} s\n");
        // Whoever does not read it has the result all the same.
        let _ = io::stderr().write_all(said.as_bytes());
    }
    while obstacle(&group).is_some() && Instant::now() < end && !cluster.pause(LOOK_INTERVAL) {
        group = look(cluster, asked)?;
    }
    Ok(group)
}

/// The partitions that are meant.
fn places(cluster: &Cluster, asked: &Reset) -> Result<BTreeSet<TopicPartition>> {
    let description = described(cluster)?;
    let mut places = BTreeSet::new();
    for name in &asked.topic {
        let numbers: BTreeSet<i32> =
            topic(&description, name)?.partitions.iter().map(|partition| partition.number).collect();
        if let Some(missing) = asked.partition.iter().find(|number| !numbers.contains(number)) {
            let has = counted(numbers.len(), "partition");
            return Err(Error::new(format!(
                "topic {name} has no partition {missing}: it has {has}, from 0 on"
            )));
        }
        let meant = numbers.iter().filter(|n| asked.partition.is_empty() || asked.partition.contains(n));
        places.extend(meant.map(|number| TopicPartition::new(name.as_str(), *number)));
    }
    Ok(places)
}

/// Why what the group has committed may not be reset now: its members would go on from where they are, and
/// commit over it.
fn obstacle(group: &Group) -> Option<String> {
    let name = shown(&group.name);
    match group.members.as_deref() {
        Some(members) if !members.is_empty() => {
            let names: BTreeSet<String> = members.iter().map(|member| shown(&member.client_id)).collect();
            let names = names.into_iter().collect::<Vec<_>>().join(", ");
            Some(format!("group {name} has {} ({names}): stop them first", counted(members.len(), "member")))
        }
        _ if WITHOUT_MEMBERS.contains(&group.state.as_str()) => None,
        _ => {
            let state = shown(&group.state);
            Some(format!("group {name} is {state}, so that it has members: stop them first"))
        }
    }
}

/// Where each partition is reset to.
fn targets(
    cluster: &Cluster,
    asked: &Reset,
    places: BTreeSet<TopicPartition>,
    deadline: Instant,
) -> Result<BTreeMap<TopicPartition, i64>> {
    let at = |timestamp: i64| -> Result<Offsets> {
        let wanted: Vec<_> = places.iter().map(|place| (place.clone(), timestamp)).collect();
        match offsets::list(cluster, LOOK_UPS, &wanted, deadline) {
            (found, None) => Ok(found),
            (_, Some(error)) => Err(Error::new("no answer about the offsets").caused_by(error)),
        }
    };
    let (starts, ends) = (at(EARLIEST)?, at(LATEST)?);
    let since = asked.to_time.map(at).transpose()?;
    let target = |place: TopicPartition| {
        let (start, end) = (*starts.get(&place)?, *ends.get(&place)?);
        let found = match (&since, asked.to_offset) {
            (Some(since), _) => *since.get(&place)?,
            (None, Some(offset)) => offset,
            (None, None) if asked.to_earliest => start,
            (None, None) => end,
        };
        Some((place, within(found, start, end)))
    };
    Ok(places.clone().into_iter().filter_map(target).collect())
}

/// An offset that is there, or the end: no message since a time is told as -1.
fn within(offset: i64, start: i64, end: i64) -> i64 {
    if offset < 0 { end } else { offset.max(start).min(end.max(start)) }
}

/// What a partition's committed offset becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Move {
    place: TopicPartition,
    from: Option<i64>,
    to: i64,
}

fn moves(group: &Group, targets: BTreeMap<TopicPartition, i64>) -> Vec<Move> {
    let from = |place: &TopicPartition| group.committed.get(place).map(|committed| committed.offset);
    targets.into_iter().map(|(place, to)| Move { from: from(&place), place, to }).collect()
}

fn rows(moves: &[Move]) -> Vec<Vec<String>> {
    let mut rows = vec![cells(&["TOPIC", "PARTITION", "COMMITTED", "NEW", "CHANGE"])];
    rows.extend(moves.iter().map(|Move { place, from, to }| {
        let change = from.map_or_else(|| "-".to_owned(), |from| format!("{:+}", to.saturating_sub(from)));
        vec![shown(&place.topic), place.partition.to_string(), number(*from), to.to_string(), change]
    }));
    rows
}

/// Commits from outside of the group, which a coordinator allows while it has no members. What a work queue
/// has noted beside an offset goes: it is about messages from there on, which all come again.
fn commit(cluster: &Arc<Cluster>, group: &str, moves: &[Move], deadline: Instant) -> Result<()> {
    let failed = |error: ClientError| {
        Error::new(format!("group {} cannot be reset, or not all of it", shown(group))).caused_by(error)
    };
    let commit = |Move { place, to, .. }: &Move| Commit {
        topic: place.topic.clone(),
        partition: place.partition,
        offset: *to,
        metadata: String::new(),
    };
    let commits: Vec<Commit> = moves.iter().map(commit).collect();
    let mut coordinator = Coordinator::new(cluster.clone(), group, LOOK_UPS);
    // The same offsets again change nothing.
    client::in_time(cluster, deadline, || {
        let results = coordinator.commit(&Membership::none(), &commits, &TopicIds::new(), deadline)?;
        let refused = results.iter().find(|(_, code)| !code.is_ok());
        let refused = refused.map(|(place, code)| {
            ClientError::refused(RequestContext::offset_commit(group).for_partition(place), *code)
        });
        refused.map_or(Ok(()), Err)
    })
    .map_err(|error| match error {
        ClientError::Refused { code: ErrorCode::UNKNOWN_MEMBER_ID, .. } => {
            Error::new(format!("nothing is reset: group {} has got members meanwhile", shown(group)))
        }
        error => failed(error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use client::coordinator::Committed;
    use client::describe::groups::Member;

    fn group(state: &str, members: Option<Vec<Member>>) -> Group {
        let committed = Committed::new(5, "");
        let committed = [(TopicPartition::new("orders", 0), committed)].into();
        Group { name: "workers".to_owned(), state: state.to_owned(), members, committed }
    }

    fn member(client_id: &str) -> Member {
        Member {
            client_id: client_id.to_owned(),
            member_id: format!("{client_id}-1"),
            host: String::new(),
            partitions: [].into(),
            user_data: Vec::new(),
        }
    }

    #[test]
    fn a_group_with_members_is_not_reset_and_its_members_are_named() {
        let two = group("Stable", Some(vec![member("b"), member("a")]));
        assert_eq!(obstacle(&two).unwrap(), "group workers has 2 members (a, b): stop them first");
        let untold = obstacle(&group("Stable", None)).unwrap();
        assert_eq!(untold, "group workers is Stable, so that it has members: stop them first");
        assert!(obstacle(&group("PreparingRebalance", Some(vec![]))).is_some());
        for (state, members) in [("Empty", Some(vec![])), ("Dead", Some(vec![])), ("Empty", None)] {
            assert_eq!(obstacle(&group(state, members)), None, "{state}");
        }
    }

    #[test]
    fn an_offset_that_is_not_there_becomes_the_nearest_one() {
        assert_eq!([3, 4, 9, 10].map(|offset| within(offset, 4, 9)), [4, 4, 9, 9]);
        assert_eq!(within(-1, 4, 9), 9, "no message since then");
    }

    #[test]
    fn what_would_be_is_shown_beside_what_is() {
        let targets = [(TopicPartition::new("orders", 0), 2), (TopicPartition::new("orders", 1), 7)].into();
        let text = "\
TOPIC   PARTITION  COMMITTED  NEW  CHANGE
orders  0          5          2    -3
orders  1          -          7    -
";
        assert_eq!(Table::default().text(&rows(&moves(&group("Empty", Some(vec![])), targets))), text);
    }

    #[test]
    fn a_time_is_one_of_rfc_3339() {
        assert_eq!(time("1970-01-01T00:00:01.5Z"), Ok(1_500));
        assert_eq!(time("1970-01-01T01:00:00+01:00"), Ok(0));
        assert!(time("1970-01-01").is_err() && time("1969-12-31T23:59:59Z").is_err() && time("x").is_err());
    }
}
