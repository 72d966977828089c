//! Members and clients that may commit, and those that may not.

use super::*;
use crate::groups::group::GroupState;

#[test]
fn a_client_that_is_no_member_commits_to_an_empty_group_only() {
    let mut sim = Sim::new();
    assert_eq!(sim.commit("", -1), ErrorCode::NONE);
    assert_eq!(sim.commit("", 0), ErrorCode::UNKNOWN_MEMBER_ID);
    let (mut sim, one, generation) = Sim::with_one();
    assert_eq!(sim.commit("", -1), ErrorCode::UNKNOWN_MEMBER_ID);
    assert_eq!(sim.commit(&one, -1), ErrorCode::ILLEGAL_GENERATION);
    sim.leave(&one);
    assert_eq!(sim.commit("", -1), ErrorCode::NONE);
    assert_eq!(sim.commit(&one, generation), ErrorCode::UNKNOWN_MEMBER_ID);
}

#[test]
fn a_member_commits_in_its_own_generation_until_the_next_begins() {
    let (mut sim, one, two, generation) = Sim::with_two();
    assert_eq!(sim.commit(&two, generation), ErrorCode::NONE);
    assert_eq!(sim.commit(&two, generation + 1), ErrorCode::ILLEGAL_GENERATION);
    sim.join_waiting(joining(&one, "a"));
    assert_eq!(sim.group.state(), GroupState::PreparingRebalance);
    assert_eq!(sim.commit(&two, generation), ErrorCode::NONE);
    sim.join(joining(&two, "b"));
    assert_eq!(sim.commit(&two, generation), ErrorCode::ILLEGAL_GENERATION);
    assert_eq!(sim.commit(&two, generation + 1), ErrorCode::REBALANCE_IN_PROGRESS);
}
