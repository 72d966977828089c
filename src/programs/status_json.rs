//! The state of the cluster as JSON, for programs that read `status`.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::open_messages::QueueFacts;
use super::table;
use crate::text::safe_json;
use client::describe::groups::{Group, Member, Progress};
use client::offsets::Offsets;
use protocol::TopicPartition;

/// What is shown.
pub(super) struct Look<'a> {
    /// All partitions.
    pub partitions: &'a BTreeSet<TopicPartition>,
    /// The offsets of the first records that they keep.
    pub starts: &'a Offsets,
    /// Their ends.
    pub ends: &'a Offsets,
    pub groups: &'a [Group],
    /// What is wrong, as sentences without full stops.
    pub warnings: &'a [String],
    /// When this was so, in ms since 1970.
    pub now: u64,
}

impl Look<'_> {
    /// One line. What is not known is null.
    pub fn line(&self) -> String {
        let partition = |place: &TopicPartition| {
            json!({
                "topic": place.topic,
                "partition": place.partition,
                "start": self.starts.get(place),
                "end": self.ends.get(place),
            })
        };
        let at = table::time(i64::try_from(self.now).ok());
        let partitions: Vec<Value> = self.partitions.iter().map(partition).collect();
        let groups: Vec<Value> = self.groups.iter().map(|group| self.group(group)).collect();
        let look = json!({"at": at, "partitions": partitions, "groups": groups, "warnings": self.warnings});
        format!("{}\n", safe_json(&look.to_string()))
    }

    fn group(&self, group: &Group) -> Value {
        let progress = group.progress([], self.starts, self.ends);
        json!({
            "group": group.name,
            "state": group.state,
            "members": group.members.as_ref().map(|all| all.iter().map(member).collect::<Vec<_>>()),
            "partitions": progress.iter().map(|progress| self.progress(progress)).collect::<Vec<_>>(),
        })
    }

    fn progress(&self, progress: &Progress<'_>) -> Value {
        let queue = QueueFacts::of(progress, self.now).map(|facts| {
            json!({
                "open": facts.open,
                "waiting": facts.waiting,
                "next_due": facts.next_due.map(|due| table::time(Some(due))),
                "paused": facts.paused,
            })
        });
        json!({
            "topic": progress.place.topic,
            "partition": progress.place.partition,
            "committed": progress.committed,
            "start": progress.start,
            "end": progress.end,
            "lag": progress.lag,
            "owner": progress.owner.map(|owner| &owner.member_id),
            "queue": queue,
        })
    }
}

fn member(member: &Member) -> Value {
    let place = |place: &TopicPartition| json!({"topic": place.topic, "partition": place.partition});
    json!({
        "member_id": member.member_id,
        "client_id": member.client_id,
        "host": member.host,
        "partitions": member.partitions.iter().map(place).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use client::coordinator::Committed;

    #[test]
    fn what_is_not_known_is_null_and_names_stand_as_they_are() {
        let place = |partition| TopicPartition::new("t", partition);
        let member = Member {
            client_id: "a\nb".to_owned(),
            member_id: "a-1".to_owned(),
            host: "127.0.0.1".to_owned(),
            partitions: [place(0)].into(),
            user_data: Vec::new(),
        };
        let at = |offset| Committed::new(offset, "");
        let group = |name: &str, members| Group {
            name: name.to_owned(),
            state: "Stable".to_owned(),
            members,
            committed: [(place(0), at(4))].into(),
        };
        let look = Look {
            partitions: &[place(0), place(1)].into(),
            starts: &[(place(0), 6)].into(),
            ends: &[(place(0), 10)].into(),
            groups: &[group("g", Some(vec![member])), group("unseen", None)],
            warnings: &["no room".to_owned()],
            now: 1_000,
        };
        let line = look.line();
        assert_eq!(line.find('\n'), Some(line.len() - 1));
        let read: Value = serde_json::from_str(&line).unwrap();
        let of_partition = |owner: Value| {
            json!([{"topic": "t", "partition": 0, "committed": 4, "start": 6, "end": 10, "lag": 4,
                    "owner": owner, "queue": null}])
        };
        let member = json!({"member_id": "a-1", "client_id": "a\nb", "host": "127.0.0.1",
                            "partitions": [{"topic": "t", "partition": 0}]});
        let expected = json!({
            "at": "1970-01-01T00:00:01.000Z",
            "partitions": [
                {"topic": "t", "partition": 0, "start": 6, "end": 10},
                {"topic": "t", "partition": 1, "start": null, "end": null},
            ],
            "groups": [
                {"group": "g", "state": "Stable", "members": [member], "partitions": of_partition(json!("a-1"))},
                {"group": "unseen", "state": "Stable", "members": null, "partitions": of_partition(Value::Null)},
            ],
            "warnings": ["no room"],
        });
        assert_eq!(read, expected);
    }
}
