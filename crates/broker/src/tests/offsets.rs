//! The offsets that ListOffsets looks up and OffsetCommit takes, and the groups that ListGroups lists.

use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopic;
use kafka_protocol::messages::*;

use super::Fixture;
use super::client::{Client, batch, text, topic_name};
use protocol::error_code::ErrorCode;

/// The time of all records here.
const TIME: i64 = 1_700_000_000_000;

/// Asks for partitions and times of a topic.
fn asked(topic: &str, partitions: &[(i32, i64)]) -> ListOffsetsTopic {
    let partition = |(index, time): &(i32, i64)| {
        ListOffsetsPartition::default()
            .with_partition_index(*index)
            .with_timestamp(*time)
            .with_current_leader_epoch(-1)
    };
    ListOffsetsTopic::default()
        .with_name(topic_name(topic))
        .with_partitions(partitions.iter().map(partition).collect())
}

/// Error, offset, time and epoch of each partition.
fn found(
    client: &mut Client,
    version: i16,
    topics: Vec<ListOffsetsTopic>,
) -> Vec<(ErrorCode, i64, i64, i32)> {
    let request = ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(topics);
    let answer = client.call(version, &request);
    let partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
    partitions.map(|one| (ErrorCode(one.error_code), one.offset, one.timestamp, one.leader_epoch)).collect()
}

#[test]
fn the_special_times_are_answered_from_the_version_on_that_has_them() {
    let broker = Fixture::new();
    let mut client = broker.client();
    client.create_topic("t");
    client.produce("t", 0, batch(&["a", "b", "c"]));
    // The latest, the earliest, the largest timestamp, the earliest on this disk, the latest in tiers.
    let specials = [(-1, 1, 3, -1), (-2, 1, 0, -1), (-3, 7, 2, TIME), (-4, 8, 0, -1), (-5, 9, -1, -1)];
    for version in 1..=10 {
        let mut answer = |time| found(&mut client, version, vec![asked("t", &[(0, time)])]).remove(0);
        for (time, first_version, offset, timestamp) in specials {
            let answer = answer(time);
            let name = format!("time {time} in version {version}");
            if version < first_version {
                assert_eq!(answer, (ErrorCode::UNSUPPORTED_VERSION, -1, -1, -1), "{name}");
                continue;
            }
            let epoch = if version >= 4 && offset >= 0 { 0 } else { -1 };
            assert_eq!((answer.0, answer.2, answer.3), (ErrorCode::NONE, timestamp, epoch), "{name}");
            // Which of several records with the largest timestamp is found is not said.
            assert!(answer.1 == offset || time == -3 && (0..3).contains(&answer.1), "{name}: {answer:?}");
        }
        for time in [-6, -7, i64::MIN] {
            assert_eq!(answer(time).0, ErrorCode::UNSUPPORTED_VERSION);
        }
        assert_eq!(answer(TIME).1, 0);
        assert_eq!(answer(TIME + 1).1, -1);
        assert_eq!(answer(i64::MAX).1, -1);
    }
}

#[test]
fn an_empty_partition_has_ends_and_nothing_between() {
    let broker = Fixture::new();
    let mut client = broker.client();
    client.create_topic("t");
    let ok = ErrorCode::NONE;
    let mut answer = |time| found(&mut client, 10, vec![asked("t", &[(0, time)])]).remove(0);
    assert_eq!([-1, -2, -4].map(&mut answer), [(ok, 0, -1, 0); 3]);
    assert_eq!([-3, -5, 0].map(&mut answer), [(ok, -1, -1, -1); 3]);
}

#[test]
fn a_time_that_is_none_is_refused_before_a_topic_that_is_none() {
    let broker = Fixture::new();
    let mut client = broker.client();
    let answer = found(&mut client, 10, vec![asked("none", &[(0, -77), (1, -1)])]);
    let codes: Vec<_> = answer.iter().map(|one| one.0).collect();
    assert_eq!(codes, [ErrorCode::UNSUPPORTED_VERSION, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION]);
}

#[test]
fn a_partition_that_is_asked_for_twice_is_refused_once() {
    let broker = Fixture::new();
    let mut client = broker.client();
    client.create_topic("t");
    let topics = vec![asked("t", &[(0, -1), (1, -1), (0, -2)]), asked("t", &[(0, -1)])];
    let answer = found(&mut client, 10, topics);
    assert_eq!(answer, [(ErrorCode::INVALID_REQUEST, -1, -1, -1), (ErrorCode::NONE, 0, -1, 0)]);
}

fn commit(client: &mut Client, group: &str, offset: i64, metadata: &str) -> ErrorCode {
    let partition = OffsetCommitRequestPartition::default()
        .with_committed_offset(offset)
        .with_committed_leader_epoch(-1)
        .with_committed_metadata(Some(text(metadata)));
    let topic =
        OffsetCommitRequestTopic::default().with_name(topic_name("t")).with_partitions(vec![partition]);
    let request = OffsetCommitRequest::default()
        .with_group_id(GroupId(text(group)))
        .with_generation_id_or_member_epoch(-1)
        .with_topics(vec![topic]);
    ErrorCode(client.call(8, &request).topics[0].partitions[0].error_code)
}

/// What is committed for partition 0, asked for by its number, and by asking for everything.
fn committed(client: &mut Client, group: &str) -> [Vec<(i64, String)>; 2] {
    let topic = OffsetFetchRequestTopic::default().with_name(topic_name("t")).with_partition_indexes(vec![0]);
    [Some(vec![topic]), None].map(|topics| {
        let request = OffsetFetchRequest::default().with_group_id(GroupId(text(group))).with_topics(topics);
        let answer = client.call(7, &request);
        assert_eq!(answer.error_code, 0);
        let partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
        partitions
            .map(|one| (one.committed_offset, one.metadata.as_deref().unwrap_or_default().to_owned()))
            .collect()
    })
}

#[test]
fn negative_offsets_are_committed_and_fetched_as_they_are() {
    let broker = Fixture::new();
    let mut client = broker.client();
    client.create_topic("t");
    for offset in [-1, -2, -100, i64::MIN, 0, i64::MAX] {
        let metadata = format!("m{offset}");
        assert_eq!(commit(&mut client, "g", offset, &metadata), ErrorCode::NONE);
        let expected = vec![(offset, metadata)];
        assert_eq!(committed(&mut client, "g"), [expected.clone(), expected]);
    }
    assert_eq!(committed(&mut client, "none"), [vec![(-1, String::new())], vec![]]);
}

fn listed(client: &mut Client, states: &[&str], types: &[&str]) -> Vec<(String, String, String)> {
    let texts = |all: &[&str]| all.iter().map(|one| text(one)).collect();
    let request =
        ListGroupsRequest::default().with_states_filter(texts(states)).with_types_filter(texts(types));
    let answer = client.call(5, &request);
    let row = |group: &list_groups_response::ListedGroup| {
        (group.group_id.to_string(), group.group_state.to_string(), group.group_type.to_string())
    };
    answer.groups.iter().map(row).collect()
}

#[test]
fn every_group_is_of_the_classic_type() {
    let broker = Fixture::new();
    let mut client = broker.client();
    client.create_topic("t");
    commit(&mut client, "g", 1, "");
    let group = [("g".to_owned(), "Empty".to_owned(), "classic".to_owned())];
    for types in [&[][..], &["classic"], &["CLASSIC"], &["consumer", "Classic"]] {
        assert_eq!(listed(&mut client, &[], types), group, "{types:?}");
        assert_eq!(listed(&mut client, &["empty"], types), group, "{types:?}");
        assert_eq!(listed(&mut client, &["Stable"], types), [], "{types:?}");
    }
    for types in [&["consumer"][..], &["share", "streams"], &["bogus"], &[""]] {
        assert_eq!(listed(&mut client, &[], types), [], "{types:?}");
    }
}
