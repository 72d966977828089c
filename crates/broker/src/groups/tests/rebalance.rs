//! From one generation to the next.

use super::*;
use crate::groups::group::GroupState;
use crate::groups::limits::MAX_MEMBERS;

#[test]
fn the_first_member_leads_generation_1_without_delay() {
    let mut sim = Sim::new();
    let joined = sim.join(joining("", "a"));
    assert_eq!(
        (joined.code, joined.generation, &*joined.leader, &*joined.member_id),
        (ErrorCode::NONE, 1, "m1", "m1")
    );
    assert_eq!(joined.protocol.as_deref(), Some("range"));
    assert_eq!(joined.protocol_type.as_deref(), Some("consumer"));
    assert_eq!(joined.members.len(), 1);
    assert_eq!(joined.members[0].metadata, "a");
    assert_eq!(sim.group.state(), GroupState::CompletingRebalance);
    assert_eq!(sim.heartbeat("m1", 1), ErrorCode::NONE);
    assert_eq!(sim.commit("m1", 1), ErrorCode::REBALANCE_IN_PROGRESS);
    assert_eq!(sim.sync(syncing("m1", 1, &[("m1", "all")])).assignment, "all");
    assert_eq!(sim.group.state(), GroupState::Stable);
    assert_eq!(sim.commit("m1", 1), ErrorCode::NONE);
}

#[test]
fn a_dynamic_member_comes_again_with_the_id_it_gets() {
    let mut sim = Sim::new();
    let first = sim.join(JoinRequest { requires_member_id: true, ..joining("", "a") });
    assert_eq!((first.code, &*first.member_id), (ErrorCode::MEMBER_ID_REQUIRED, "m1"));
    assert_eq!(sim.group.state(), GroupState::Empty);
    let joined = sim.join(JoinRequest { requires_member_id: true, ..joining("m1", "a") });
    assert_eq!((joined.code, joined.generation), (ErrorCode::NONE, 1));
}

#[test]
fn a_rebalance_waits_for_an_id_that_was_given_until_its_session_ends() {
    let (mut sim, one, generation) = Sim::with_one();
    assert_eq!(
        sim.join(JoinRequest { requires_member_id: true, ..joining("", "b") }).code,
        ErrorCode::MEMBER_ID_REQUIRED
    );
    let again = sim.join_waiting(joining(&one, "a"));
    sim.pass(SESSION - Duration::from_millis(1));
    assert_eq!(sim.joined(again), None);
    sim.pass(Duration::from_millis(1));
    assert_eq!(sim.joined(again).unwrap().generation, generation + 1);
}

#[test]
fn a_second_member_waits_for_the_first_and_only_the_leader_hears_of_all() {
    let (mut sim, one, generation) = Sim::with_one();
    let second = sim.join_waiting(joining("", "b"));
    assert_eq!(sim.group.state(), GroupState::PreparingRebalance);
    assert_eq!(sim.heartbeat(&one, generation), ErrorCode::REBALANCE_IN_PROGRESS);
    assert_eq!(sim.commit(&one, generation), ErrorCode::NONE, "what was handled can still be committed");
    assert_eq!(sim.sync(syncing(&one, generation, &[])).code, ErrorCode::REBALANCE_IN_PROGRESS);
    let first = sim.join(joining(&one, "a"));
    let second = sim.joined(second).unwrap();
    assert_eq!((first.generation, second.generation), (generation + 1, generation + 1));
    assert_eq!((&first.leader, &second.leader), (&one, &one));
    assert_eq!(first.members.len(), 2);
    assert!(second.members.is_empty());
    assert_eq!(sim.commit(&one, generation), ErrorCode::ILLEGAL_GENERATION);
    assert_eq!(sim.heartbeat(&one, generation), ErrorCode::ILLEGAL_GENERATION);
}

#[test]
fn followers_get_the_leaders_assignment_and_only_once_it_is_stored() {
    let (mut sim, one, _) = Sim::with_one();
    let second = sim.join_waiting(joining("", "b"));
    let generation = sim.join(joining(&one, "a")).generation;
    let two = sim.joined(second).unwrap().member_id;
    let follower = sim.sync_waiting(syncing(&two, generation, &[(&two, "a follower says nothing")]));
    let parts = [(&*one, "left"), (&*two, "right"), ("stranger", "x")];
    let Operation::Delayed(leader) = sim.group.sync(syncing(&one, generation, &parts), sim.now) else {
        panic!("answered before it was stored")
    };
    assert_eq!((sim.synced(follower), sim.synced(leader)), (None, None));
    sim.store(true);
    assert_eq!(sim.synced(follower).unwrap().assignment, "right");
    assert_eq!(sim.synced(leader).unwrap().assignment, "left");
    assert_eq!(sim.group.state(), GroupState::Stable);
    assert_eq!(
        sim.sync(syncing(&two, generation, &[])).assignment,
        "right",
        "again, as an answer may be lost"
    );
}

#[test]
fn an_assignment_that_cannot_be_stored_is_given_to_nobody() {
    let mut sim = Sim::new();
    let joined = sim.join(joining("", "a"));
    let Operation::Delayed(operation) =
        sim.group.sync(syncing("m1", joined.generation, &[("m1", "all")]), sim.now)
    else {
        panic!("answered before it was stored")
    };
    sim.store(false);
    let answer = sim.synced(operation).unwrap();
    assert_eq!((answer.code, answer.assignment), (ErrorCode::COORDINATOR_NOT_AVAILABLE, Bytes::new()));
    assert_eq!(sim.group.state(), GroupState::PreparingRebalance);
    assert_eq!(sim.disk, None);
}

#[test]
fn an_assignment_of_a_generation_that_is_over_when_it_is_stored_is_given_to_nobody() {
    let mut sim = Sim::new();
    let joined = sim.join(joining("", "a"));
    let Operation::Delayed(leader) =
        sim.group.sync(syncing("m1", joined.generation, &[("m1", "all")]), sim.now)
    else {
        panic!("answered before it was stored")
    };
    let save = sim.group.take_save().unwrap();
    assert_eq!(save, Save::Assignment(joined.generation));
    sim.join_waiting(joining("", "b"));
    assert_eq!(sim.synced(leader).unwrap().code, ErrorCode::REBALANCE_IN_PROGRESS);
    sim.group.stored(joined.generation, Ok(()), sim.now);
    assert_eq!(sim.group.state(), GroupState::PreparingRebalance);
    let again = sim.join(joining("m1", "a"));
    assert_eq!(again.generation, joined.generation + 1);
    sim.group.stored(joined.generation, Ok(()), sim.now);
    assert_eq!(sim.group.state(), GroupState::CompletingRebalance);
}

#[test]
fn who_does_not_join_again_within_the_rebalance_timeout_is_out() {
    let (mut sim, one, two, generation) = Sim::with_two();
    let third = sim.join_waiting(joining("", "c"));
    let first = sim.join_waiting(joining(&one, "a"));
    for _ in 0..5 {
        sim.pass(SESSION / 2);
        assert_eq!(
            sim.heartbeat(&two, generation),
            ErrorCode::REBALANCE_IN_PROGRESS,
            "it lives, but is busy"
        );
    }
    sim.pass(SESSION);
    let answer = sim.joined(first).unwrap();
    assert_eq!((answer.generation, answer.members.len()), (generation + 1, 2));
    assert_eq!(sim.joined(third).unwrap().generation, generation + 1);
    assert_eq!(sim.commit(&two, generation), ErrorCode::UNKNOWN_MEMBER_ID);
    assert_eq!(sim.heartbeat(&two, generation), ErrorCode::UNKNOWN_MEMBER_ID);
}

#[test]
fn another_member_leads_when_the_leader_does_not_come_back() {
    let (mut sim, one, two, generation) = Sim::with_two();
    assert_eq!(sim.leave(&one), ErrorCode::NONE);
    assert_eq!(sim.heartbeat(&two, generation), ErrorCode::REBALANCE_IN_PROGRESS);
    let answer = sim.join(joining(&two, "b"));
    assert_eq!((answer.generation, &answer.leader, answer.members.len()), (generation + 1, &two, 1));
}

#[test]
fn who_has_joined_but_never_asks_for_its_assignment_is_out() {
    let (mut sim, one, _) = Sim::with_one();
    let second = sim.join_waiting(joining("", "b"));
    let generation = sim.join(joining(&one, "a")).generation;
    let two = sim.joined(second).unwrap().member_id;
    let waiting = sim.sync_waiting(syncing(&two, generation, &[]));
    for _ in 0..5 {
        sim.pass(SESSION / 2);
        assert_eq!(sim.heartbeat(&one, generation), ErrorCode::NONE);
    }
    sim.pass(SESSION / 2);
    assert_eq!(sim.synced(waiting).unwrap().code, ErrorCode::REBALANCE_IN_PROGRESS);
    assert_eq!(sim.heartbeat(&one, generation), ErrorCode::UNKNOWN_MEMBER_ID);
    assert_eq!(sim.join(joining(&two, "b")).leader, two);
}

#[test]
fn in_a_stable_group_a_follower_that_joins_again_unchanged_moves_nobody() {
    let (mut sim, one, two, generation) = Sim::with_two();
    let again = sim.join(joining(&two, "b"));
    assert_eq!((again.generation, again.leader, again.members), (generation, one.clone(), vec![]));
    assert_eq!(sim.group.state(), GroupState::Stable);
    sim.join_waiting(joining(&one, "a"));
    assert_eq!(
        sim.group.state(),
        GroupState::PreparingRebalance,
        "the leader asks for a rebalance by joining"
    );
}

#[test]
fn changed_metadata_starts_a_rebalance() {
    let (mut sim, one, two, generation) = Sim::with_two();
    let changed = sim.join_waiting(joining(&two, "owns half"));
    assert_eq!(sim.heartbeat(&one, generation), ErrorCode::REBALANCE_IN_PROGRESS);
    let leader = sim.join(joining(&one, "a"));
    assert!(leader.members.iter().any(|member| member.id == two && member.metadata == "owns half"));
    assert_eq!(sim.joined(changed).unwrap().generation, generation + 1);
}

#[test]
fn before_the_assignment_a_lost_answer_is_given_again_and_a_change_starts_anew() {
    let mut sim = Sim::new();
    let first = sim.join(joining("", "a"));
    assert_eq!(sim.join(joining("m1", "a")), first);
    assert_eq!(sim.join(joining("m1", "changed")).generation, 2);
}

#[test]
fn a_rebalance_ends_the_waiting_for_an_assignment() {
    let (mut sim, one, two, _) = Sim::with_two();
    let second = sim.join_waiting(joining(&two, "changed"));
    let generation = sim.join(joining(&one, "a")).generation;
    assert!(sim.joined(second).is_some());
    let waiting = sim.sync_waiting(syncing(&two, generation, &[]));
    sim.join_waiting(joining("", "c"));
    assert_eq!(sim.synced(waiting).unwrap().code, ErrorCode::REBALANCE_IN_PROGRESS);
}

#[test]
fn the_protocol_with_the_most_votes_of_those_all_can_do_is_chosen() {
    let protocols = |names: &[&str]| names.iter().map(|name| (Arc::from(*name), Bytes::new())).collect();
    let mut sim = Sim::new();
    let one = sim.join(JoinRequest { protocols: protocols(&["sticky", "range", "old"]), ..joining("", "") });
    assert_eq!(one.protocol.as_deref(), Some("sticky"));
    sim.join_waiting(JoinRequest { protocols: protocols(&["range", "sticky"]), ..joining("", "") });
    sim.join_waiting(JoinRequest { protocols: protocols(&["range", "new", "sticky"]), ..joining("", "") });
    let chosen =
        sim.join(JoinRequest { protocols: protocols(&["sticky", "range", "old"]), ..joining("m1", "") });
    assert_eq!(chosen.protocol.as_deref(), Some("range"));
}

#[test]
fn joins_that_do_not_fit_are_refused() {
    let (mut sim, one, _) = Sim::with_one();
    let other = vec![("roundrobin".into(), Bytes::new())];
    let inconsistent = ErrorCode::INCONSISTENT_GROUP_PROTOCOL;
    assert_eq!(sim.join(JoinRequest { protocols: other, ..joining("", "") }).code, inconsistent);
    assert_eq!(sim.join(JoinRequest { protocols: vec![], ..joining("", "") }).code, inconsistent);
    assert_eq!(
        sim.join(JoinRequest { protocol_type: "connect".into(), ..joining("", "") }).code,
        inconsistent
    );
    assert_eq!(sim.join(joining("stranger", "a")).code, ErrorCode::UNKNOWN_MEMBER_ID);
    assert_eq!(sim.group.state(), GroupState::Stable);
    assert_eq!(sim.heartbeat(&one, 1), ErrorCode::NONE);
}

#[test]
fn syncs_that_do_not_fit_are_refused() {
    let (mut sim, one, generation) = Sim::with_one();
    assert_eq!(sim.sync(syncing("stranger", generation, &[])).code, ErrorCode::UNKNOWN_MEMBER_ID);
    assert_eq!(sim.sync(syncing(&one, generation - 1, &[])).code, ErrorCode::ILLEGAL_GENERATION);
    let inconsistent = ErrorCode::INCONSISTENT_GROUP_PROTOCOL;
    let plain = syncing(&one, generation, &[]);
    assert_eq!(sim.sync(SyncRequest { protocol: Some("sticky".into()), ..plain.clone() }).code, inconsistent);
    assert_eq!(
        sim.sync(SyncRequest { protocol_type: Some("connect".into()), ..plain.clone() }).code,
        inconsistent
    );
    let right =
        SyncRequest { protocol: Some("range".into()), protocol_type: Some("consumer".into()), ..plain };
    assert_eq!(sim.sync(right).code, ErrorCode::NONE);
}

#[test]
fn a_group_has_a_largest_size() {
    let mut sim = Sim::new();
    sim.join(joining("", "a"));
    for _ in 1..MAX_MEMBERS {
        sim.start_join(joining("", "a"));
    }
    assert_eq!(sim.join(joining("", "a")).code, ErrorCode::GROUP_MAX_SIZE_REACHED);
    let known = sim.join(joining("m1", "a"));
    assert_eq!((known.code, known.members.len()), (ErrorCode::NONE, MAX_MEMBERS));
}

#[test]
fn ids_that_were_given_and_not_used_are_bounded() {
    let mut sim = Sim::new();
    for _ in 0..MAX_MEMBERS {
        let given = sim.join(JoinRequest { requires_member_id: true, ..joining("", "a") });
        assert_eq!(given.code, ErrorCode::MEMBER_ID_REQUIRED);
    }
    let refused = sim.join(JoinRequest { requires_member_id: true, ..joining("", "a") });
    assert_eq!(refused.code, ErrorCode::GROUP_MAX_SIZE_REACHED);
    assert_eq!(sim.join(joining("m7", "a")).code, ErrorCode::NONE);
}
