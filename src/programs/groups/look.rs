//! The tables of groups, and the same as JSON.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};

use super::Describe;
use crate::error::{Error, Result};
use crate::programs::administration::{deadline, described, lines, missing, print_whole};
use crate::programs::status::{cells, number, shown};
use crate::programs::table::{Table, none};
use crate::queue::wishes::is_of_wishes;
use client::describe::groups::{self, Group, Member, Progress};
use client::offsets::{self, Offsets};
use client::{Cluster, LOOK_UPS};
use protocol::TopicPartition;

/// Prints the groups by name.
///
/// # Errors
/// The brokers do not answer.
pub(super) fn list(cluster: &Arc<Cluster>, as_json: bool) -> Result<()> {
    let deadline = deadline();
    let groups = these(cluster, names(cluster, deadline)?, deadline)?;
    print_whole(&match as_json {
        true => lines(groups.iter().map(listed_json)),
        false if groups.is_empty() => "no groups\n".to_owned(),
        false => listed(&groups),
    })
}

/// Prints how far some groups are, or all.
///
/// # Errors
/// One of them is not there, or the brokers do not answer.
pub(super) fn describe(cluster: &Arc<Cluster>, asked: &Describe) -> Result<()> {
    let deadline = deadline();
    let mut groups = names(cluster, deadline)?;
    if let Some(name) = asked.names.iter().find(|name| !groups.contains_key(*name)) {
        return Err(missing("group", name, groups.keys().map(String::as_str)));
    }
    // A group that is not asked for may be one that cannot be described now.
    groups.retain(|name, _| asked.names.is_empty() || asked.names.contains(name));
    let view = View::of(cluster, these(cluster, groups, deadline)?);
    print_whole(&match asked.json {
        true => lines(view.groups.iter().map(|group| view.json(group))),
        false if view.groups.is_empty() => "no groups\n".to_owned(),
        false => view.text(),
    })
}

/// The groups of others, with their states: those by which wishes are told to the owners of partitions are
/// our own.
fn names(cluster: &Cluster, deadline: Instant) -> Result<BTreeMap<String, String>> {
    described(cluster)?;
    let mut names = groups::names(cluster, deadline).map_err(unanswered)?;
    names.retain(|name, _| !is_of_wishes(name));
    Ok(names)
}

fn these(cluster: &Arc<Cluster>, names: BTreeMap<String, String>, deadline: Instant) -> Result<Vec<Group>> {
    groups::these(cluster, names, deadline).map_err(unanswered)
}

fn unanswered(error: client::Error) -> Error {
    Error::new("no answer about the groups").caused_by(error)
}

/// The number of members, where it is told.
fn members(group: &Group) -> Option<usize> {
    group.members.as_ref().map(Vec::len)
}

fn topics(group: &Group) -> BTreeSet<&str> {
    group.committed.keys().map(|place| place.topic.as_str()).collect()
}

fn listed(groups: &[Group]) -> String {
    let mut rows = vec![cells(&["GROUP", "STATE", "MEMBERS", "TOPICS"])];
    rows.extend(groups.iter().map(|group| {
        let topics = topics(group).into_iter().map(shown).collect::<Vec<_>>().join(",");
        vec![
            shown(&group.name),
            shown(&group.state),
            members(group).map_or_else(|| "?".to_owned(), |members| members.to_string()),
            if topics.is_empty() { none() } else { topics },
        ]
    }));
    Table::default().text(&rows)
}

fn listed_json(group: &Group) -> Value {
    json!({
        "group": group.name,
        "state": group.state,
        "members": members(group),
        "topics": topics(group),
    })
}

struct View {
    groups: Vec<Group>,
    /// The first and the next offsets of the partitions, where they are known.
    starts: Offsets,
    ends: Offsets,
}

impl View {
    fn of(cluster: &Cluster, groups: Vec<Group>) -> View {
        let progress = groups.iter().flat_map(|group| group.progress([], &Offsets::new(), &Offsets::new()));
        let places: BTreeSet<TopicPartition> = progress.map(|progress| progress.place.clone()).collect();
        let [starts, ends] = offsets::bounds(cluster, LOOK_UPS, &places);
        View { groups, starts, ends }
    }

    fn text(&self) -> String {
        let mut states = vec![cells(&["GROUP", "STATE", "MEMBERS"])];
        let titles = ["GROUP", "TOPIC", "PARTITION", "COMMITTED", "END", "LAG", "MEMBER", "HOST"];
        let mut rows = vec![cells(&titles)];
        for group in &self.groups {
            let count = members(group).map_or_else(|| "?".to_owned(), |members| members.to_string());
            states.push(vec![shown(&group.name), shown(&group.state), count]);
            rows.extend(
                group.progress([], &self.starts, &self.ends).iter().map(|progress| self.row(group, progress)),
            );
        }
        let tables = [states, rows];
        let tables = tables.iter().filter(|table| table.len() > 1).map(|table| Table::default().text(table));
        tables.collect::<Vec<_>>().join("\n")
    }

    fn row(&self, group: &Group, progress: &Progress<'_>) -> Vec<String> {
        let of_owner =
            |text: fn(&Member) -> &str| progress.owner.map_or_else(none, |owner| shown(text(owner)));
        vec![
            shown(&group.name),
            shown(&progress.place.topic),
            progress.place.partition.to_string(),
            number(progress.committed),
            number(progress.end),
            number(progress.lag),
            of_owner(|owner| &owner.client_id),
            of_owner(|owner| &owner.host),
        ]
    }

    fn json(&self, group: &Group) -> Value {
        let partition = |progress: &Progress<'_>| {
            json!({
                "topic": progress.place.topic,
                "partition": progress.place.partition,
                "committed": progress.committed,
                "end": progress.end,
                "lag": progress.lag,
                "member": progress.owner.map(|owner| &owner.member_id),
            })
        };
        let member = |member: &Member| {
            let Member { member_id, client_id, host, .. } = member;
            json!({ "id": member_id, "client_id": client_id, "host": host })
        };
        let progress = group.progress([], &self.starts, &self.ends);
        let members = group.members.as_ref().map(|all| all.iter().map(member).collect::<Vec<_>>());
        json!({
            "group": group.name,
            "state": group.state,
            "members": members,
            "partitions": progress.iter().map(partition).collect::<Vec<_>>(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use client::coordinator::Committed;

    fn place(partition: i32) -> TopicPartition {
        TopicPartition::new("orders", partition)
    }

    fn workers() -> Group {
        let member = Member {
            client_id: "consumer1".to_owned(),
            member_id: "consumer1-1".to_owned(),
            host: "127.0.0.1".to_owned(),
            partitions: [place(0)].into(),
            user_data: Vec::new(),
        };
        let at = |offset| Committed::new(offset, "");
        Group {
            name: "workers".to_owned(),
            state: "Stable".to_owned(),
            members: Some(vec![member]),
            committed: [(place(0), at(4)), (place(1), at(2))].into(),
        }
    }

    #[test]
    fn groups_are_listed_with_what_they_consume() {
        let other =
            Group { name: "new".to_owned(), state: "Stable".to_owned(), members: None, committed: [].into() };
        let groups = [workers(), other];
        let text = "\
GROUP    STATE   MEMBERS  TOPICS
workers  Stable  1        orders
new      Stable  ?        -
";
        assert_eq!(listed(&groups), text);
        let expected = json!({"group": "workers", "state": "Stable", "members": 1, "topics": ["orders"]});
        assert_eq!(listed_json(&groups[0]), expected);
    }

    #[test]
    fn what_was_removed_before_it_was_handled_is_not_left() {
        let starts = [(place(0), 0), (place(1), 6)].into();
        let view = View { groups: vec![workers()], starts, ends: [(place(0), 10), (place(1), 9)].into() };
        let text = "\
GROUP    STATE   MEMBERS
workers  Stable  1

GROUP    TOPIC   PARTITION  COMMITTED  END  LAG  MEMBER     HOST
workers  orders  0          4          10   6    consumer1  127.0.0.1
workers  orders  1          2          9    3    -          -
";
        assert_eq!(view.text(), text);
        let value = view.json(&view.groups[0]);
        assert_eq!(value["members"][0]["id"], "consumer1-1");
        let second = json!({"topic": "orders", "partition": 1, "committed": 2, "end": 9, "lag": 3,
            "member": null});
        assert_eq!(value["partitions"][1], second);
    }
}
