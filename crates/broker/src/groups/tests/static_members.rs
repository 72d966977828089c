//! Static members (KIP-345): those with an instance id.

use super::*;
use crate::groups::group::GroupState;
use crate::groups::limits::DISCONNECT_GRACE;

fn instance(member_id: &str, name: &str, metadata: &str) -> JoinRequest {
    JoinRequest { instance: Some(name.into()), requires_member_id: true, ..joining(member_id, metadata) }
}

fn named(member_id: &str, name: &str) -> MemberIdentity {
    MemberIdentity { instance: Some(name.into()), ..identity(member_id) }
}

/// A stable group of a dynamic leader and the static member `i`, their ids and the generation.
fn with_instance() -> (Sim, Arc<str>, Arc<str>, i32) {
    let (mut sim, one, _) = Sim::with_one();
    let second = sim.join_waiting(instance("", "i", "b"));
    let generation = sim.join(joining(&one, "a")).generation;
    let two = sim.joined(second).unwrap().member_id;
    sim.sync(syncing(&one, generation, &[(&one, "left"), (&two, "right")]));
    assert_eq!(sim.sync(syncing(&two, generation, &[])).assignment, "right");
    (sim, one, two, generation)
}

#[test]
fn a_process_that_starts_anew_gets_its_old_place_without_a_rebalance() {
    let (mut sim, one, old, generation) = with_instance();
    let joined = sim.join(instance("", "i", "b"));
    assert_eq!((joined.code, joined.generation, &joined.leader), (ErrorCode::NONE, generation, &one));
    assert_ne!(joined.member_id, old);
    assert_eq!(sim.group.state(), GroupState::Stable);
    assert_eq!(sim.sync(syncing(&joined.member_id, generation, &[])).assignment, "right");
    sim.reload();
    let identity = named(&joined.member_id, "i");
    assert_eq!(sim.group.heartbeat(&identity, generation, 1, sim.now), Ok(()), "its new id is stored");
}

#[test]
fn a_leader_that_starts_anew_is_not_asked_for_an_assignment_that_nobody_would_get() {
    let mut sim = Sim::new();
    let first = sim.join(instance("", "i", "a"));
    assert_eq!((first.code, first.members.len()), (ErrorCode::NONE, 1));
    sim.sync(syncing(&first.member_id, 1, &[(&first.member_id, "all")]));
    let again = sim.join(instance("", "i", "a"));
    assert_eq!((again.generation, &again.leader, again.members.len()), (1, &first.member_id, 0));
    assert_eq!(sim.sync(syncing(&again.member_id, 1, &[])).assignment, "all");
    assert_eq!(
        sim.join(instance(&again.member_id, "i", "a")).leader,
        again.member_id,
        "it leads all the same"
    );
}

#[test]
fn the_predecessor_is_fenced_whatever_it_does() {
    let (mut sim, _, old, generation) = with_instance();
    sim.join(instance("", "i", "b"));
    let fenced = ErrorCode::FENCED_INSTANCE_ID;
    let identity = named(&old, "i");
    assert_eq!(sim.group.heartbeat(&identity, generation, 1, sim.now), Err(fenced));
    assert_eq!(sim.group.commit(&identity, generation, 1, sim.now), Err(fenced));
    assert_eq!(sim.group.leave(&identity, sim.now), Err(fenced));
    assert_eq!(sim.join(instance(&old, "i", "b")).code, fenced);
    let sync = SyncRequest { instance: Some("i".into()), ..syncing(&old, generation, &[]) };
    assert_eq!(sim.sync(sync).code, fenced);
    assert_eq!(sim.commit(&old, generation), ErrorCode::UNKNOWN_MEMBER_ID);
}

#[test]
fn a_waiting_predecessor_is_fenced_at_once() {
    let (mut sim, _, old, _) = with_instance();
    let waiting = sim.join_waiting(instance(&old, "i", "changed"));
    let new = sim.join_waiting(instance("", "i", "b"));
    assert_eq!(sim.joined(waiting).unwrap().code, ErrorCode::FENCED_INSTANCE_ID);
    assert_eq!(sim.joined(new), None);
}

#[test]
fn taking_a_place_between_joining_and_assignment_starts_anew() {
    let (mut sim, one, old, _) = with_instance();
    let waiting = sim.join_waiting(instance(&old, "i", "changed"));
    let generation = sim.join(joining(&one, "a")).generation;
    assert!(sim.joined(waiting).is_some());
    let sync = sim.sync_waiting(syncing(&old, generation, &[]));
    sim.join_waiting(instance("", "i", "b"));
    assert_eq!(sim.synced(sync).unwrap().code, ErrorCode::FENCED_INSTANCE_ID);
    assert_eq!(sim.group.state(), GroupState::PreparingRebalance);
}

#[test]
fn a_lost_connection_does_not_end_a_static_member_but_silence_does() {
    let (mut sim, one, two, generation) = with_instance();
    sim.group.connection_closed(1, sim.now);
    sim.heartbeat(&one, generation);
    sim.pass(DISCONNECT_GRACE);
    assert_eq!(sim.group.members.len(), 2);
    for _ in 0..2 {
        sim.pass(SESSION / 2);
        sim.heartbeat(&one, generation);
    }
    assert!(!sim.group.members.contains_key(&two));
    let new = sim.join_waiting(instance("", "i", "b"));
    sim.join(joining(&one, "a"));
    assert_eq!(sim.joined(new).unwrap().code, ErrorCode::NONE);
}

#[test]
fn a_static_member_that_misses_a_rebalance_keeps_its_place() {
    let (mut sim, one, two, generation) = with_instance();
    let first = sim.join_waiting(joining(&one, "changed"));
    for _ in 0..6 {
        sim.pass(SESSION / 2);
        let identity = named(&two, "i");
        let _ = sim.group.heartbeat(&identity, generation, 1, sim.now);
    }
    let answer = sim.joined(first).unwrap();
    assert_eq!((answer.generation, answer.members.len()), (generation + 1, 2));
}

#[test]
fn an_administrator_takes_an_instance_out_by_its_name() {
    let (mut sim, one, two, generation) = with_instance();
    assert_eq!(sim.group.leave(&named("", "nobody"), sim.now), Err(ErrorCode::UNKNOWN_MEMBER_ID));
    assert_eq!(sim.group.leave(&named("", "i"), sim.now), Ok(()));
    assert_eq!(sim.heartbeat(&two, generation), ErrorCode::UNKNOWN_MEMBER_ID);
    assert_eq!(sim.join(joining(&one, "a")).members.len(), 1);
}

#[test]
fn an_unknown_instance_with_a_member_id_is_unknown() {
    let (mut sim, one, generation) = Sim::with_one();
    assert_eq!(sim.join(instance(&one, "i", "a")).code, ErrorCode::UNKNOWN_MEMBER_ID);
    let identity = named(&one, "i");
    assert_eq!(sim.group.heartbeat(&identity, generation, 1, sim.now), Err(ErrorCode::UNKNOWN_MEMBER_ID));
}

#[test]
fn after_a_hand_over_an_id_that_was_not_stored_is_asked_to_take_its_place_again() {
    let (mut sim, one, old, generation) = with_instance();
    let leader = sim.join_waiting(joining(&one, "changed"));
    let new = sim.join(instance("", "i", "b"));
    assert!(sim.joined(leader).is_some());
    sim.reload();
    let identity = named(&new.member_id, "i");
    let unknown = Err(ErrorCode::UNKNOWN_MEMBER_ID);
    assert_eq!(sim.group.heartbeat(&identity, new.generation, 1, sim.now), unknown);
    let again = sim.join(instance("", "i", "b"));
    assert_eq!((again.code, again.generation), (ErrorCode::NONE, generation));
    assert_eq!(
        sim.group.heartbeat(&named(&old, "i"), generation, 1, sim.now),
        Err(ErrorCode::FENCED_INSTANCE_ID)
    );
}
