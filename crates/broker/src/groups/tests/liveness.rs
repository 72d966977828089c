//! Signs of life, and what their absence does.

use super::*;
use crate::groups::group::GroupState;
use crate::groups::limits::{DISCONNECT_GRACE, EMPTY_GROUP_RETENTION};

const MOMENT: Duration = Duration::from_millis(1);

#[test]
fn a_silent_member_is_out_after_its_session_timeout() {
    let (mut sim, one, two, generation) = Sim::with_two();
    for _ in 0..3 {
        sim.pass(SESSION / 2);
        assert_eq!(
            sim.heartbeat(&one, generation),
            if sim.group.members.len() == 2 { ErrorCode::NONE } else { ErrorCode::REBALANCE_IN_PROGRESS }
        );
    }
    assert_eq!(sim.heartbeat(&two, generation), ErrorCode::UNKNOWN_MEMBER_ID);
    let alone = sim.join(joining(&one, "a"));
    assert_eq!((alone.generation, alone.members.len()), (generation + 1, 1));
}

#[test]
fn a_commit_is_a_sign_of_life() {
    let (mut sim, one, generation) = Sim::with_one();
    for _ in 0..4 {
        sim.pass(SESSION - MOMENT);
        assert_eq!(sim.commit(&one, generation), ErrorCode::NONE);
    }
    sim.pass(SESSION);
    assert_eq!(sim.commit(&one, generation), ErrorCode::UNKNOWN_MEMBER_ID);
}

#[test]
fn who_waits_for_an_answer_is_alive() {
    let (mut sim, one, two, generation) = Sim::with_two();
    let waiting = sim.join_waiting(joining(&two, "changed"));
    for _ in 0..4 {
        sim.pass(SESSION / 2);
        assert_eq!(sim.heartbeat(&one, generation), ErrorCode::REBALANCE_IN_PROGRESS);
    }
    assert_eq!(sim.join(joining(&one, "a")).members.len(), 2);
    assert!(sim.joined(waiting).is_some());
    sim.pass(SESSION - MOMENT);
    assert_eq!(sim.group.members.len(), 2, "its session begins with the answer");
}

#[test]
fn a_dynamic_member_whose_connection_is_gone_is_out_after_a_grace() {
    let (mut sim, one, two, generation) = Sim::with_two();
    sim.group.heartbeat(&identity(&two), generation, 2, sim.now).unwrap();
    sim.group.connection_closed(2, sim.now);
    assert_eq!(sim.group.next_deadline(), Some(sim.now + DISCONNECT_GRACE));
    sim.pass(DISCONNECT_GRACE - MOMENT);
    assert_eq!(sim.group.state(), GroupState::Stable);
    sim.pass(MOMENT);
    assert_eq!(sim.group.state(), GroupState::PreparingRebalance);
    assert_eq!(sim.commit(&two, generation), ErrorCode::UNKNOWN_MEMBER_ID);
    assert_eq!(sim.join(joining(&one, "a")).members.len(), 1);
}

#[test]
fn a_member_that_is_heard_of_over_another_connection_stays() {
    let (mut sim, _, two, generation) = Sim::with_two();
    sim.group.heartbeat(&identity(&two), generation, 2, sim.now).unwrap();
    sim.group.connection_closed(2, sim.now);
    sim.pass(DISCONNECT_GRACE / 2);
    sim.group.heartbeat(&identity(&two), generation, 3, sim.now).unwrap();
    sim.pass(DISCONNECT_GRACE);
    assert_eq!(sim.group.state(), GroupState::Stable);
    sim.group.connection_closed(2, sim.now);
    sim.pass(DISCONNECT_GRACE);
    assert_eq!(sim.group.state(), GroupState::Stable, "an old connection is of no importance");
}

#[test]
fn a_connection_for_commits_counts_only_once_that_of_the_heartbeats_is_gone() {
    let (mut sim, _, two, generation) = Sim::with_two();
    sim.group.heartbeat(&identity(&two), generation, 2, sim.now).unwrap();
    sim.group.commit(&identity(&two), generation, 3, sim.now).unwrap();
    sim.group.connection_closed(3, sim.now);
    sim.pass(DISCONNECT_GRACE);
    assert_eq!(sim.group.state(), GroupState::Stable);
    sim.group.connection_closed(2, sim.now);
    sim.group.commit(&identity(&two), generation, 4, sim.now).unwrap();
    sim.pass(DISCONNECT_GRACE);
    assert_eq!(sim.group.state(), GroupState::Stable);
    sim.group.connection_closed(4, sim.now);
    sim.pass(DISCONNECT_GRACE);
    assert_eq!(sim.group.state(), GroupState::PreparingRebalance);
}

#[test]
fn an_id_that_was_given_over_a_connection_that_is_gone_holds_nobody_up() {
    let (mut sim, one, generation) = Sim::with_one();
    sim.join(JoinRequest { requires_member_id: true, connection: 2, ..joining("", "b") });
    let again = sim.join_waiting(joining(&one, "a"));
    sim.group.connection_closed(2, sim.now);
    sim.pass(DISCONNECT_GRACE);
    assert_eq!(sim.joined(again).unwrap().generation, generation + 1);
    assert_eq!(sim.join(joining("m2", "b")).code, ErrorCode::UNKNOWN_MEMBER_ID);
}

#[test]
fn a_join_whose_caller_is_gone_no_longer_counts() {
    let (mut sim, one, two, _) = Sim::with_two();
    let gone = sim.join_waiting(joining(&two, "changed"));
    sim.group.withdraw_join(gone, sim.now);
    let first = sim.join_waiting(joining(&one, "a"));
    sim.pass(DISCONNECT_GRACE - MOMENT);
    assert_eq!(sim.joined(first), None, "it has a moment to come back");
    sim.pass(MOMENT);
    assert_eq!(sim.joined(first).unwrap().members.len(), 1);
    assert_eq!(sim.joined(gone), None);
}

#[test]
fn a_sync_whose_caller_is_gone_no_longer_keeps_its_member_alive() {
    let (mut sim, one, _) = Sim::with_one();
    let second = sim.join_waiting(joining("", "b"));
    let generation = sim.join(joining(&one, "a")).generation;
    let two = sim.joined(second).unwrap().member_id;
    let gone = sim.sync_waiting(syncing(&two, generation, &[]));
    sim.group.withdraw_sync(gone, sim.now);
    sim.pass(DISCONNECT_GRACE);
    assert_eq!(sim.sync(syncing(&one, generation, &[])).code, ErrorCode::REBALANCE_IN_PROGRESS);
    assert_eq!(sim.join(joining(&one, "a")).members.len(), 1);
}

#[test]
fn a_second_request_takes_the_place_of_one_that_waits() {
    let (mut sim, one, two, _) = Sim::with_two();
    let before = sim.join_waiting(joining(&two, "changed"));
    let after = sim.join_waiting(JoinRequest { connection: 2, ..joining(&two, "changed") });
    assert_eq!(sim.joined(before).unwrap().code, ErrorCode::REBALANCE_IN_PROGRESS);
    sim.group.withdraw_join(before, sim.now);
    let generation = sim.join(joining(&one, "a")).generation;
    assert_eq!(sim.joined(after).unwrap().code, ErrorCode::NONE);
    let before = sim.sync_waiting(syncing(&two, generation, &[]));
    let after = sim.sync_waiting(syncing(&two, generation, &[]));
    assert_eq!(sim.synced(before).unwrap().code, ErrorCode::REBALANCE_IN_PROGRESS);
    sim.sync(syncing(&one, generation, &[(&two, "right")]));
    assert_eq!(sim.synced(after).unwrap().assignment, "right");
}

#[test]
fn when_the_last_member_leaves_the_group_is_empty_and_that_is_stored() {
    let (mut sim, one, generation) = Sim::with_one();
    assert_eq!(sim.leave("stranger"), ErrorCode::UNKNOWN_MEMBER_ID);
    assert_eq!(sim.leave(&one), ErrorCode::NONE);
    assert_eq!((sim.group.state(), sim.group.generation), (GroupState::Empty, generation + 1));
    sim.reload();
    assert_eq!((sim.group.state(), sim.group.generation), (GroupState::Empty, generation + 1));
    assert_eq!(sim.join(joining("", "a")).generation, generation + 2);
}

#[test]
fn an_id_that_was_given_can_leave_too() {
    let (mut sim, one, generation) = Sim::with_one();
    sim.join(JoinRequest { requires_member_id: true, ..joining("", "b") });
    let again = sim.join_waiting(joining(&one, "a"));
    assert_eq!(sim.leave("m2"), ErrorCode::NONE);
    assert_eq!(sim.joined(again).unwrap().generation, generation + 1);
}

#[test]
fn who_leaves_while_its_join_waits_hears_that_it_is_no_member() {
    let (mut sim, one, two, _) = Sim::with_two();
    let waiting = sim.join_waiting(joining(&two, "changed"));
    assert_eq!(sim.leave(&two), ErrorCode::NONE);
    assert_eq!(sim.joined(waiting).unwrap().code, ErrorCode::UNKNOWN_MEMBER_ID);
    assert_eq!(sim.join(joining(&one, "a")).members.len(), 1);
}

#[test]
fn a_group_that_nobody_uses_is_idle_after_a_while() {
    let (mut sim, one, _) = Sim::with_one();
    assert!(!sim.group.is_idle(sim.now + EMPTY_GROUP_RETENTION));
    sim.leave(&one);
    sim.pass(EMPTY_GROUP_RETENTION - MOMENT);
    assert!(!sim.group.is_idle(sim.now));
    assert_eq!(sim.commit("", -1), ErrorCode::NONE);
    sim.pass(EMPTY_GROUP_RETENTION - MOMENT);
    assert!(!sim.group.is_idle(sim.now));
    assert_eq!(sim.group.next_deadline(), Some(sim.now + MOMENT));
    sim.pass(MOMENT);
    assert!(sim.group.is_idle(sim.now));
}
