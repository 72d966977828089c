//! Answers of the coordinator on a real store, to several threads at once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::scope;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopic;
use kafka_protocol::messages::*;

use crate::groups::{GroupCoordinator, StartError};
use crate::requests::*;
use protocol::assignment::Subscription;
use protocol::error_code::ErrorCode;
use testing::Random;

use super::fixture::*;

#[test]
fn a_group_of_two_shares_the_work_and_goes_on_when_one_leaves() {
    let broker = Broker::new();
    let mut one = broker.client(1);
    one.become_member();
    assert_eq!((one.member.generation, one.member.leads), (1, true));
    scope(|threads| {
        let two = threads.spawn(|| {
            let mut two = broker.client(2);
            two.become_member();
            two
        });
        broker.wait_for_state("PreparingRebalance");
        assert_eq!(one.heartbeat(), ErrorCode::REBALANCE_IN_PROGRESS);
        assert_eq!(one.commit(0, 17), ErrorCode::NONE);
        one.become_member();
        let two = two.join().unwrap();
        assert_eq!(one.member.generation, 2);
        assert_eq!(two.member.generation, 2);
        assert_eq!(one.heartbeat(), ErrorCode::NONE);
        assert_eq!(two.committed(0), 17);
        assert_eq!(two.leave(), ErrorCode::NONE);
        assert_eq!(two.commit(0, 18), ErrorCode::UNKNOWN_MEMBER_ID);
        one.become_member();
        assert_eq!(one.member.generation, 3);
    });
    assert_eq!(one.leave(), ErrorCode::NONE);
    assert_eq!(broker.state(GROUP), "Empty");
    assert_eq!(broker.client(3).committed(0), 17);
}

#[test]
fn a_hand_over_alone_moves_nobody_and_loses_nothing() {
    let broker = Broker::new();
    let mut one = broker.client(1);
    one.become_member();
    assert_eq!(one.commit(2, 40), ErrorCode::NONE);
    let member = one.member.clone();
    drop(one);
    let mut broker = broker.hand_over();
    for offset in [41, 42] {
        let mut one = broker.client(9);
        one.member = member.clone();
        assert_eq!(one.committed(2), offset - 1);
        assert_eq!(one.heartbeat(), ErrorCode::NONE);
        assert_eq!(one.commit(2, offset), ErrorCode::NONE);
        assert_eq!(broker.state(GROUP), "Stable");
        drop(one);
        broker = broker.hand_over();
    }
}

#[test]
fn stopping_ends_all_waiting_and_keeps_all_members() {
    let broker = Broker::new();
    let mut one = broker.client(1);
    one.become_member();
    let member = one.member.clone();
    scope(|threads| {
        let two = join_in_a_thread(threads, broker.client(2));
        broker.wait_for_state("PreparingRebalance");
        broker.groups.stop();
        assert_eq!(two.join().unwrap().1, ErrorCode::NOT_COORDINATOR);
        assert_eq!(one.heartbeat(), ErrorCode::NOT_COORDINATOR);
        assert_eq!(one.commit(0, 1), ErrorCode::NOT_COORDINATOR);
        broker.groups.connection_closed(1);
        broker.groups.connection_closed(2);
    });
    drop(one);
    let broker = broker.hand_over();
    let mut one = broker.client(1);
    one.member = member;
    assert_eq!(one.heartbeat(), ErrorCode::NONE);
}

#[test]
fn a_follower_waiting_for_its_assignment_is_released_when_the_broker_stops() {
    let broker = Broker::new();
    let mut one = broker.client(1);
    one.become_member();
    scope(|threads| {
        let two = join_in_a_thread(threads, broker.client(2));
        broker.wait_for_state("PreparingRebalance");
        assert_eq!(one.join(7), ErrorCode::NONE);
        let (mut two, code) = two.join().unwrap();
        assert_eq!(code, ErrorCode::NONE);
        let waiting = threads.spawn(move || two.sync(5));
        while broker.groups.shared.all()[0]
            .group
            .lock()
            .unwrap()
            .members
            .values()
            .all(|m| m.syncing.is_none())
        {
            std::thread::yield_now();
        }
        broker.groups.stop();
        assert_eq!(waiting.join().unwrap(), Err(ErrorCode::NOT_COORDINATOR));
    });
}

#[test]
fn a_member_whose_connection_is_gone_gives_way_long_before_its_session_ends() {
    let broker = Broker::new();
    let (mut one, mut two) = (broker.client(1), broker.client(2));
    one.session = 1_800_000;
    two.session = 1_800_000;
    let stop = AtomicBool::new(false);
    scope(|threads| {
        two.become_member();
        let survivor = threads.spawn(|| {
            one.become_member();
            one.stay_until(&stop);
            one.member.members.len()
        });
        broker.wait_for_state("PreparingRebalance");
        two.become_member();
        broker.wait_for_state("Stable");
        broker.groups.connection_closed(2);
        let deadline = Instant::now() + DEADLINE;
        while broker.members() == 2 && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        broker.wait_for_state("Stable");
        stop.store(true, Ordering::SeqCst);
        assert_eq!(survivor.join().unwrap(), 1);
    });
    assert_eq!(two.commit(0, 1), ErrorCode::UNKNOWN_MEMBER_ID);
}

#[test]
fn a_join_whose_caller_is_gone_ends_and_holds_nobody_up() {
    let broker = Broker::new();
    let mut one = broker.client(1);
    one.become_member();
    scope(|threads| {
        let mut two = broker.client(2);
        two.gone = AtomicBool::new(true);
        let two = join_in_a_thread(threads, two);
        assert_eq!(two.join().unwrap().1, ErrorCode::NOT_COORDINATOR);
        one.become_member();
        assert_eq!(one.member.members.len(), 1);
    });
}

#[test]
fn a_silent_member_is_out_without_anybody_asking() {
    let broker = Broker::new();
    let mut one = broker.client(1);
    one.session = 100;
    one.become_member();
    broker.wait_for_state("Empty");
    assert_eq!(one.heartbeat(), ErrorCode::UNKNOWN_MEMBER_ID);
    let mut two = broker.client(2);
    two.become_member();
    assert_eq!(two.member.generation, 3);
}

#[test]
fn a_commit_of_who_lost_its_partitions_never_follows_one_of_the_next_owner() {
    let broker = Broker::new();
    for round in 0..20_i64 {
        let mut old = broker.client(1);
        old.rebalance = 100;
        old.become_member();
        scope(|threads| {
            // Commits as fast as it can, without a look at heartbeats.
            let old = &old;
            let zombie = threads
                .spawn(move || (0..).find(|offset| !old.commit(0, round * 1_000_000 + offset).is_ok()));
            let mut new = broker.client(2);
            new.rebalance = 100;
            let next = threads.spawn(move || {
                new.become_member();
                assert_eq!(new.commit(0, round * 1_000_000 + 500_000), ErrorCode::NONE);
                new
            });
            let new = next.join().unwrap();
            zombie.join().unwrap();
            assert_eq!(new.committed(0), round * 1_000_000 + 500_000);
            assert_eq!(new.leave(), ErrorCode::NONE);
        });
    }
}

#[test]
fn a_crowd_that_comes_and_goes_ends_in_order() {
    let broker = Broker::new();
    scope(|threads| {
        for connection in 1..=6 {
            let broker = &broker;
            threads.spawn(move || {
                let mut random = Random::new(connection);
                for _ in 0..5 {
                    let mut client = broker.client(connection);
                    client.become_member();
                    for _ in 0..random.below(20) {
                        if !client.heartbeat().is_ok() {
                            client.become_member();
                        }
                        let _ = client.commit(random.below(4) as i32, 1);
                    }
                    if random.below(3) == 0 {
                        broker.groups.connection_closed(connection);
                    } else {
                        let _ = client.leave();
                    }
                }
            });
        }
    });
    broker.wait_for_state("Empty");
}

#[test]
fn offsets_are_committed_fetched_and_deleted_one_by_one() {
    let broker = Broker::new();
    let client = broker.client(1);
    assert_eq!(client.committed(0), -1);
    assert_eq!(client.commit_with(TOPIC, 0, 5, "a note", 2), ErrorCode::NONE);
    assert_eq!(client.commit(4, 5), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    assert_eq!(client.commit_with("otros", 0, 5, "", 8), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    let long = "x".repeat(4_097);
    assert_eq!(client.commit_with(TOPIC, 1, 5, &long, 8), ErrorCode::OFFSET_METADATA_TOO_LARGE);
    assert_eq!(client.commit_with(TOPIC, 1, 5, &long[1..], 8), ErrorCode::NONE);
    assert_eq!(client.commit(2, -5), ErrorCode::NONE);
    let request = OffsetFetchRequest::default().with_group_id(GroupId(text(GROUP))).with_topics(None);
    let all = client.call(7, offset_fetch::handle, request);
    assert_eq!((all.topics.len(), all.topics[0].partitions.len()), (1, 3));
    assert_eq!(all.topics[0].partitions[0].metadata.as_deref(), Some("a note"));

    let delete = |group: &str, topic: &str| {
        let partition = OffsetDeleteRequestPartition::default().with_partition_index(0);
        let topic = OffsetDeleteRequestTopic::default()
            .with_name(TopicName(text(topic)))
            .with_partitions(vec![partition]);
        let request =
            OffsetDeleteRequest::default().with_group_id(GroupId(text(group))).with_topics(vec![topic]);
        let answer = client.call(0, offset_delete::handle, request);
        let partition = answer.topics.first().map_or(0, |topic| topic.partitions[0].error_code);
        (ErrorCode(answer.error_code), ErrorCode(partition))
    };
    let none = ErrorCode::NONE;
    assert_eq!(delete("nobody", TOPIC), (ErrorCode::GROUP_ID_NOT_FOUND, none));
    assert_eq!(delete(GROUP, "otros"), (none, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
    let mut member = broker.client(2);
    member.become_member();
    assert_eq!(delete(GROUP, TOPIC), (none, ErrorCode::GROUP_SUBSCRIBED_TO_TOPIC));
    assert_eq!(member.leave(), none);
    assert_eq!(client.committed(0), 5);
    assert_eq!(delete(GROUP, TOPIC), (none, none));
    assert_eq!(client.committed(0), -1);
}

#[test]
fn groups_are_listed_described_and_deleted() {
    let broker = Broker::new();
    let mut client = broker.client(1);
    client.become_member();
    let list = |states: &[&str]| {
        let request =
            ListGroupsRequest::default().with_states_filter(states.iter().map(|s| text(s)).collect());
        let answer = broker.client(0).call(4, list_groups::handle, request);
        answer
            .groups
            .into_iter()
            .map(|group| (group.group_id.to_string(), group.group_state.to_string()))
            .collect()
    };
    let stable = vec![(GROUP.to_owned(), "Stable".to_owned())];
    assert_eq!((list(&[]), list(&["stable", "Empty"])), (stable.clone(), stable));
    assert_eq!(list(&["Empty"]), Vec::new());
    let names = vec![GroupId(text(GROUP)), GroupId(text("nobody"))];
    let request = DescribeGroupsRequest::default().with_groups(names.clone());
    let described = client.call(5, describe_groups::handle, request).groups;
    let member = &described[0].members[0];
    assert_eq!((&*member.client_id, &*member.client_host), ("consumer-1", "/127.0.0.1"));
    assert_eq!(member.member_assignment, format!("part of {}", client.member.id));
    assert_eq!(Subscription::decode(&member.member_metadata).unwrap().topics, [TOPIC]);
    assert_eq!((&*described[0].protocol_data, &*described[0].protocol_type), ("range", "consumer"));
    assert_eq!((described[1].error_code, &*described[1].group_state), (0, "Dead"));

    let delete = || {
        let request = DeleteGroupsRequest::default().with_groups_names(names.clone());
        let results = client.call(2, delete_groups::handle, request).results;
        results.iter().map(|result| ErrorCode(result.error_code)).collect::<Vec<_>>()
    };
    assert_eq!(delete(), [ErrorCode::NON_EMPTY_GROUP, ErrorCode::GROUP_ID_NOT_FOUND]);
    assert_eq!(client.commit(0, 3), ErrorCode::NONE);
    assert_eq!(client.leave(), ErrorCode::NONE);
    assert_eq!(delete(), [ErrorCode::NONE, ErrorCode::GROUP_ID_NOT_FOUND]);
    assert_eq!((broker.state(GROUP), client.committed(0)), ("Dead".to_owned(), -1));
    assert_eq!(broker.store.group(GROUP), None);
}

#[test]
fn every_version_that_is_served_gets_an_answer_it_can_read() {
    let broker = Broker::new();
    for version in 0..=7 {
        let mut client = broker.client(1);
        assert_eq!(client.join(version), ErrorCode::NONE, "JoinGroup {version}");
        assert!(client.sync(version.min(5)).is_ok(), "SyncGroup {version}");
        for version in 0..=4 {
            let request = HeartbeatRequest::default()
                .with_group_id(GroupId(text(GROUP)))
                .with_generation_id(client.member.generation)
                .with_member_id(text(&client.member.id));
            assert_eq!(client.call(version, heartbeat::handle, request).error_code, 0);
        }
        for version in 2..=8 {
            assert_eq!(
                client.commit_with(TOPIC, 3, 9, "", version),
                ErrorCode::NONE,
                "OffsetCommit {version}"
            );
        }
        for version in 1..=7 {
            let topic = OffsetFetchRequestTopic::default()
                .with_name(TopicName(text(TOPIC)))
                .with_partition_indexes(vec![3, 0]);
            let request = OffsetFetchRequest::default()
                .with_group_id(GroupId(text(GROUP)))
                .with_topics(Some(vec![topic]));
            let answer = client.call(version, offset_fetch::handle, request);
            let offsets: Vec<i64> = answer.topics[0].partitions.iter().map(|p| p.committed_offset).collect();
            assert_eq!(offsets, [9, -1], "OffsetFetch {version}");
        }
        for version in 0..=5 {
            let request = DescribeGroupsRequest::default().with_groups(vec![GroupId(text(GROUP))]);
            let answer = client.call(version, describe_groups::handle, request);
            assert_eq!(answer.groups[0].members.len(), 1, "DescribeGroups {version}");
        }
        for version in 0..=4 {
            let answer = client.call(version, list_groups::handle, ListGroupsRequest::default());
            assert_eq!(answer.groups.len(), 1, "ListGroups {version}");
        }
        if version <= 2 {
            let request = LeaveGroupRequest::default()
                .with_group_id(GroupId(text(GROUP)))
                .with_member_id(text(&client.member.id));
            assert_eq!(client.call(version, leave_group::handle, request).error_code, 0);
        } else {
            assert_eq!(client.leave(), ErrorCode::NONE);
        }
    }
    for version in 0..=2 {
        let request = DeleteGroupsRequest::default().with_groups_names(vec![GroupId(text("nobody"))]);
        let answer = broker.client(1).call(version, delete_groups::handle, request);
        assert_eq!(ErrorCode(answer.results[0].error_code), ErrorCode::GROUP_ID_NOT_FOUND);
    }
    for version in 0..=7 {
        let mut client = broker.client(1);
        client.member.id = "stranger".to_owned();
        assert_eq!(client.join(version), ErrorCode::UNKNOWN_MEMBER_ID, "JoinGroup {version}");
        assert_eq!(client.sync(version.min(5)), Err(ErrorCode::UNKNOWN_MEMBER_ID), "SyncGroup {version}");
    }
}

#[test]
fn the_coordinator_is_where_the_client_is_connected_and_there_are_no_transactions() {
    let broker = Broker::new();
    let client = broker.client(1);
    for version in 0..=3 {
        let request = FindCoordinatorRequest::default().with_key(text(GROUP));
        let answer = client.call(version, find_coordinator::handle, request);
        assert_eq!(
            (answer.error_code, &*answer.host, answer.port, *answer.node_id),
            (0, "127.0.0.1", 9092, 1)
        );
    }
    for version in 1..=3 {
        let request = FindCoordinatorRequest::default().with_key(text("tx")).with_key_type(1);
        let answer = client.call(version, find_coordinator::handle, request);
        assert_eq!(ErrorCode(answer.error_code), ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED);
        assert!(answer.error_message.unwrap().contains("no transactions"));
    }
}

#[test]
fn joins_outside_of_the_limits_are_refused() {
    let broker = Broker::new();
    let mut client = broker.client(1);
    for session in [-1, 0, 99, 1_800_001] {
        client.session = session;
        assert_eq!(client.join(7), ErrorCode::INVALID_SESSION_TIMEOUT, "{session}");
    }
    let join = |group: &str, metadata: usize| {
        let protocol = JoinGroupRequestProtocol::default()
            .with_name(text("range"))
            .with_metadata(vec![0; metadata].into());
        let request = JoinGroupRequest::default()
            .with_group_id(GroupId(text(group)))
            .with_session_timeout_ms(10_000)
            .with_rebalance_timeout_ms(60_000)
            .with_protocol_type(text("consumer"))
            .with_protocols(vec![protocol]);
        ErrorCode(client.call(3, join_group::handle, request).error_code)
    };
    assert_eq!(join("", 1), ErrorCode::INVALID_GROUP_ID);
    assert_eq!(join(&"g".repeat(1_025), 1), ErrorCode::INVALID_GROUP_ID);
    assert_eq!(join(GROUP, 1 << 20), ErrorCode::MESSAGE_TOO_LARGE);
    let until_full = (0..100).map(|n| join(&format!("g{n}"), 1_000_000)).find(|code| !code.is_ok());
    assert_eq!(until_full, Some(ErrorCode::GROUP_MAX_SIZE_REACHED));
}

#[test]
fn a_store_that_takes_no_more_is_the_coordinators_trouble() {
    let broker = Broker::new();
    let mut client = broker.client(1);
    client.become_member();
    assert_eq!(client.join(7), ErrorCode::NONE);
    broker.store.close();
    assert_eq!(client.sync(5), Err(ErrorCode::COORDINATOR_NOT_AVAILABLE));
    assert_eq!(broker.client(2).commit(0, 1), ErrorCode::UNKNOWN_MEMBER_ID);
    assert_eq!(client.commit(0, 1), ErrorCode::COORDINATOR_NOT_AVAILABLE);
}

#[test]
fn a_damaged_group_is_refused_at_the_start_and_named() {
    let broker = Broker::new();
    broker.store.save_group("roto", Bytes::from_static(b"no group at all")).wait().unwrap();
    broker.groups.stop();
    let Err(StartError::Damaged(damaged)) = GroupCoordinator::start(broker.store.clone(), Duration::ZERO)
    else {
        panic!("loaded")
    };
    assert_eq!(&*damaged.group, "roto");
    assert!(damaged.to_string().contains("group roto is damaged"), "{damaged}");
}
