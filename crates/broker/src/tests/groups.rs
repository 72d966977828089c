//! Requests to the group coordinator whose newer versions say more than the older ones.

use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::*;

use super::Fixture;
use super::client::{Client, text, topic_name};
use super::produce::new_producer;
use protocol::error_code::ErrorCode;

fn group(id: &str) -> GroupId {
    GroupId(text(id))
}

/// Commits an offset of `t` as somebody without a group, or as a member.
pub fn commit(client: &mut Client, version: i16, id: &str, generation: i32, offset: i64) -> ErrorCode {
    let partition = OffsetCommitRequestPartition::default()
        .with_committed_offset(offset)
        .with_committed_leader_epoch(-1)
        .with_committed_metadata(Some(text("note")));
    let topic =
        OffsetCommitRequestTopic::default().with_name(topic_name("t")).with_partitions(vec![partition]);
    let request = OffsetCommitRequest::default()
        .with_group_id(group(id))
        .with_generation_id_or_member_epoch(generation)
        .with_member_id(text(if generation < 0 { "" } else { "member" }))
        .with_topics(vec![topic]);
    ErrorCode(client.call(version, &request).topics[0].partitions[0].error_code)
}

#[test]
fn coordinators_of_several_keys_are_found_from_version_4_on() {
    let broker = Fixture::new();
    let mut client = broker.client();
    let address = client.stream.peer_addr().unwrap();
    let mut find = |version, kind| {
        let request = FindCoordinatorRequest::default()
            .with_key_type(kind)
            .with_coordinator_keys(vec![text("a"), text("b")]);
        client.call(version, &request).coordinators
    };
    for version in 4..=6 {
        let found = find(version, 0);
        let expected = |key| {
            Coordinator::default()
                .with_key(text(key))
                .with_node_id(BrokerId(1))
                .with_host(text(&address.ip().to_string()))
                .with_port(i32::from(address.port()))
                .with_error_message(Some(text("")))
        };
        assert_eq!(found, [expected("a"), expected("b")], "{version}");
        // Transactions, share groups, and what nobody knows.
        for (kind, code) in [
            (1, ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED),
            (2, ErrorCode::INVALID_REQUEST),
            (99, ErrorCode::INVALID_REQUEST),
        ] {
            for refused in find(version, kind) {
                assert_eq!((ErrorCode(refused.error_code), refused.node_id), (code, BrokerId(-1)));
                assert!(refused.error_message.is_some_and(|why| !why.is_empty()));
            }
        }
    }
}

/// What OffsetFetch answers for a group: its code, and topic, partition and offset of each.
type Fetched = (String, ErrorCode, Vec<(String, i32, i64)>);

fn offsets(client: &mut Client, version: i16, groups: Vec<OffsetFetchRequestGroup>) -> Vec<Fetched> {
    let answer = client.call(version, &OffsetFetchRequest::default().with_groups(groups));
    let mut rows = Vec::new();
    for group in answer.groups {
        let mut offsets = Vec::new();
        for topic in &group.topics {
            for partition in &topic.partitions {
                assert_eq!((partition.error_code, partition.committed_leader_epoch), (0, -1));
                let note = if partition.committed_offset >= 0 { "note" } else { "" };
                assert_eq!(partition.metadata.as_deref(), Some(note));
                offsets.push((topic.name.to_string(), partition.partition_index, partition.committed_offset));
            }
        }
        rows.push((group.group_id.to_string(), ErrorCode(group.error_code), offsets));
    }
    rows
}

#[test]
fn offsets_of_several_groups_are_fetched_from_version_8_on() {
    let broker = Fixture::new();
    let mut client = broker.client();
    client.create_topic("t");
    assert_eq!(commit(&mut client, 8, "one", -1, 11), ErrorCode::NONE);
    assert_eq!(commit(&mut client, 9, "two", -1, 22), ErrorCode::NONE);
    let asked = |id, partitions: &[i32]| {
        let topic = OffsetFetchRequestTopics::default()
            .with_name(topic_name("t"))
            .with_partition_indexes(partitions.into());
        OffsetFetchRequestGroup::default().with_group_id(group(id)).with_topics(Some(vec![topic]))
    };
    let all = |id| OffsetFetchRequestGroup::default().with_group_id(group(id)).with_topics(None);
    let row = |id: &str, offsets: &[(i32, i64)]| {
        let offsets = offsets.iter().map(|(index, offset)| ("t".to_owned(), *index, *offset)).collect();
        (id.to_owned(), ErrorCode::NONE, offsets)
    };
    for version in [8, 9] {
        let groups = vec![asked("one", &[0, 1]), all("two"), asked("none", &[0]), all("none")];
        let expected = [
            row("one", &[(0, 11), (1, -1)]),
            row("two", &[(0, 22)]),
            row("none", &[(0, -1)]),
            row("none", &[]),
        ];
        assert_eq!(offsets(&mut client, version, groups), expected, "{version}");
    }
    // Member and epoch are those of another kind of group: for this one they count for nothing.
    let stale = asked("one", &[0]).with_member_id(Some(text("member"))).with_member_epoch(77);
    assert_eq!(offsets(&mut client, 9, vec![stale]), [row("one", &[(0, 11)])]);
    assert_eq!(offsets(&mut client, 9, Vec::new()), []);
}

#[test]
fn a_commit_of_a_member_to_no_group_is_told_so_from_version_9_on() {
    let broker = Fixture::new();
    let mut client = broker.client();
    client.create_topic("t");
    assert_eq!(commit(&mut client, 8, "none", 3, 1), ErrorCode::ILLEGAL_GENERATION);
    assert_eq!(commit(&mut client, 9, "none", 3, 1), ErrorCode::GROUP_ID_NOT_FOUND);
    assert_eq!(commit(&mut client, 9, "some", -1, 1), ErrorCode::NONE);
    assert_eq!(commit(&mut client, 9, "some", 3, 1), ErrorCode::UNKNOWN_MEMBER_ID);
}

#[test]
fn a_group_that_does_not_exist_is_an_error_from_version_6_on() {
    let broker = Fixture::new();
    let mut client = broker.client();
    let request = DescribeGroupsRequest::default().with_groups(vec![group("none")]);
    for (version, code) in [(5, ErrorCode::NONE), (6, ErrorCode::GROUP_ID_NOT_FOUND)] {
        let asked = request.clone().with_include_authorized_operations(true);
        let described = &client.call(version, &asked).groups[0];
        assert_eq!((ErrorCode(described.error_code), described.group_state.as_str()), (code, "Dead"));
        let told = described.error_message.as_deref();
        assert_eq!(told, (version >= 6).then_some("Group none not found."));
    }
}

/// Joins a group of which the static member `i` is the only one.
fn join(client: &mut Client, version: i16, id: &str) -> JoinGroupResponse {
    let protocol = JoinGroupRequestProtocol::default().with_name(text("range"));
    let request = JoinGroupRequest::default()
        .with_group_id(group(id))
        .with_session_timeout_ms(10_000)
        .with_rebalance_timeout_ms(10_000)
        .with_group_instance_id(Some(text("i")))
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![protocol])
        .with_reason((version >= 8).then(|| text("it starts")));
    let joined = client.call(version, &request);
    assert_eq!(joined.error_code, 0);
    joined
}

fn sync(client: &mut Client, id: &str, joined: &JoinGroupResponse, assignment: &'static str) -> String {
    let assignments = match assignment {
        "" => Vec::new(),
        _ => {
            let own = SyncGroupRequestAssignment::default().with_member_id(joined.member_id.clone());
            vec![own.with_assignment(assignment.into())]
        }
    };
    let request = SyncGroupRequest::default()
        .with_group_id(group(id))
        .with_generation_id(joined.generation_id)
        .with_member_id(joined.member_id.clone())
        .with_group_instance_id(Some(text("i")))
        .with_protocol_type(Some(text("consumer")))
        .with_protocol_name(Some(text("range")))
        .with_assignments(assignments);
    let synced = client.call(5, &request);
    assert_eq!(synced.error_code, 0);
    String::from_utf8(synced.assignment.to_vec()).unwrap()
}

#[test]
fn a_static_leader_that_starts_anew_is_told_to_skip_the_assignment_from_version_9_on() {
    let broker = Fixture::new();
    let mut client = broker.client();
    for (version, skips) in [(8, false), (9, true)] {
        let id = format!("g{version}");
        let first = join(&mut client, version, &id);
        assert_eq!((first.members.len(), first.skip_assignment), (1, false));
        assert_eq!(sync(&mut client, &id, &first, "all"), "all");
        let again = join(&mut client, version, &id);
        assert_ne!(again.member_id, first.member_id);
        assert_eq!((again.generation_id, again.skip_assignment), (first.generation_id, skips));
        // Who cannot be told is not told either that it leads.
        assert_eq!(again.leader, if skips { again.member_id.clone() } else { first.member_id });
        assert_eq!(again.members.len(), usize::from(skips));
        assert_eq!(sync(&mut client, &id, &again, ""), "all");
    }
}

#[test]
fn a_member_that_leaves_may_say_why() {
    let broker = Fixture::new();
    let mut client = broker.client();
    let joined = join(&mut client, 9, "g");
    let member = MemberIdentity::default()
        .with_member_id(joined.member_id.clone())
        .with_group_instance_id(Some(text("i")))
        .with_reason(Some(text("it is enough")));
    let request = LeaveGroupRequest::default().with_group_id(group("g")).with_members(vec![member]);
    let left = client.call(5, &request);
    assert_eq!((left.error_code, left.members[0].error_code), (0, 0));
    let again = client.call(5, &request);
    assert_eq!(ErrorCode(again.members[0].error_code), ErrorCode::UNKNOWN_MEMBER_ID);
}

#[test]
fn the_cluster_has_one_broker_that_is_not_fenced() {
    let broker = Fixture::new();
    let mut client = broker.client();
    for fenced in [false, true] {
        let answer = client.call(2, &DescribeClusterRequest::default().with_include_fenced_brokers(fenced));
        assert_eq!((answer.error_code, answer.endpoint_type, answer.brokers.len()), (0, 1, 1));
        assert!(!answer.brokers[0].is_fenced);
    }
}

#[test]
fn producer_ids_are_given_out_in_version_5_too() {
    let broker = Fixture::new();
    let mut client = broker.client();
    let (one, other) = (client.call(5, &new_producer()), client.call(5, &new_producer()));
    assert_eq!((one.error_code, one.producer_epoch, other.error_code), (0, 0, 0));
    assert_ne!(one.producer_id, other.producer_id);
}
