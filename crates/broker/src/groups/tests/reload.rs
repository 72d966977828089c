//! Members and generations outlive the process that serves them.

use super::*;
use crate::groups::group::GroupState;
use crate::groups::limits::DISCONNECT_GRACE;
use crate::groups::snapshot::DamagedSnapshot;
use net::own_connections;
use testing::Random;

#[test]
fn a_hand_over_alone_moves_nobody() {
    let (mut sim, one, two, generation) = Sim::with_two();
    let bytes = sim.group.bytes();
    sim.reload();
    assert_eq!((sim.group.state(), sim.group.bytes()), (GroupState::Stable, bytes));
    for id in [&one, &two] {
        assert_eq!(sim.heartbeat(id, generation), ErrorCode::NONE);
        assert_eq!(sim.commit(id, generation), ErrorCode::NONE);
    }
    assert_eq!(sim.sync(syncing(&two, generation, &[])).assignment, "right");
    let again = sim.join(joining(&two, "b"));
    assert_eq!((again.generation, again.leader), (generation, one));
}

#[test]
fn members_have_their_whole_session_after_a_hand_over_whatever_connections_close() {
    let (mut sim, one, generation) = Sim::with_one();
    sim.pass(SESSION - Duration::from_millis(1));
    sim.reload();
    sim.group.connection_closed(1, sim.now);
    sim.pass(SESSION - Duration::from_millis(1));
    assert_eq!(sim.heartbeat(&one, generation), ErrorCode::NONE);
    sim.reload();
    sim.pass(SESSION);
    assert_eq!(sim.group.state(), GroupState::Empty);
}

#[test]
fn a_member_that_lived_in_the_process_that_served_goes_soon_after_its_death() {
    let (mut sim, one, two, generation) = Sim::with_two();
    sim.group.note_host_process(&one, Some(own_connections::process()));
    sim.group.note_host_process(&two, Some(!own_connections::process()));
    sim.store(true);
    sim.reload();
    sim.pass(DISCONNECT_GRACE);
    assert_eq!(sim.heartbeat(&one, generation), ErrorCode::REBALANCE_IN_PROGRESS);
    assert_eq!(sim.heartbeat(&two, generation), ErrorCode::UNKNOWN_MEMBER_ID);
}

#[test]
fn a_member_that_lives_on_in_another_process_stays() {
    let (mut sim, one, two, generation) = Sim::with_two();
    sim.group.note_host_process(&two, Some(!own_connections::process()));
    sim.store(true);
    sim.reload();
    assert_eq!(sim.heartbeat(&two, generation), ErrorCode::NONE);
    sim.group.note_host_process(&two, None);
    sim.store(true);
    sim.reload();
    sim.pass(DISCONNECT_GRACE);
    for id in [&one, &two] {
        assert_eq!(sim.heartbeat(id, generation), ErrorCode::NONE);
    }
}

#[test]
fn a_group_that_was_rebalancing_is_in_the_generation_stored_last() {
    let (mut sim, one, two, generation) = Sim::with_two();
    sim.join_waiting(joining("", "c"));
    sim.reload();
    assert_eq!(sim.commit(&two, generation), ErrorCode::NONE);
    let third = sim.join_waiting(joining("", "c"));
    sim.join_waiting(joining(&one, "a"));
    sim.join(joining(&two, "b"));
    assert_eq!(sim.joined(third).unwrap().generation, generation + 1);
    sim.reload();
    assert_eq!(sim.heartbeat(&two, generation + 1), ErrorCode::ILLEGAL_GENERATION);
    assert_eq!(sim.heartbeat(&two, generation), ErrorCode::NONE);
}

#[test]
fn everything_about_a_member_is_kept() {
    let mut sim = Sim::new();
    let join =
        JoinRequest { instance: Some("número-1".into()), client_id: "c".into(), ..joining("", "metadata") };
    let id = sim.join(join).member_id;
    sim.sync(syncing(&id, 1, &[(&id, "part")]));
    let before = sim.group.members.get(&id).unwrap().clone();
    sim.reload();
    let after = sim.group.members.get(&id).unwrap();
    assert_eq!(
        (&after.instance, &after.client_id, &after.host),
        (&before.instance, &before.client_id, &before.host)
    );
    assert_eq!((after.session_timeout, after.rebalance_timeout), (SESSION, SESSION * 3));
    assert_eq!((&after.protocols, &after.assignment), (&before.protocols, &before.assignment));
    assert_eq!(after.deadline(), Some(sim.now + SESSION));
    assert_eq!(sim.group.instances.get("número-1"), Some(&id));
}

#[test]
fn a_damaged_record_is_refused_and_names_its_group() {
    let (sim, ..) = Sim::with_two();
    let record = sim.disk.clone().unwrap();
    let name: Arc<str> = "pedidos".into();
    let mut random = Random::new(4);
    for _ in 0..20_000 {
        let damaged = random.damage(&record);
        if damaged == record {
            continue;
        }
        let DamagedSnapshot { group, what } = snapshot::decode(&name, &damaged, sim.now).unwrap_err();
        assert!(group == name && !what.is_empty());
    }
}

#[test]
fn a_record_whose_fields_make_no_group_is_refused_without_a_panic() {
    let (sim, ..) = Sim::with_two();
    let record = sim.disk.clone().unwrap();
    let name: Arc<str> = "pedidos".into();
    let mut random = Random::new(5);
    let (mut read, mut refused) = (0, 0);
    for _ in 0..20_000 {
        let mut damaged = random.damage(&record[..record.len() - 4]);
        damaged.extend_from_slice(&crc32c::crc32c(&damaged).to_be_bytes());
        match snapshot::decode(&name, &damaged, sim.now) {
            Ok(_) => read += 1,
            Err(_) => refused += 1,
        }
    }
    assert!(read > 0 && refused > read, "{read} read, {refused} refused");
}

#[test]
fn a_record_of_a_later_version_is_refused() {
    let (sim, ..) = Sim::with_one();
    let mut record = sim.disk.unwrap().to_vec();
    record.truncate(record.len() - 4);
    record[0] = 9;
    record.extend_from_slice(&crc32c::crc32c(&record).to_be_bytes());
    let damaged = snapshot::decode(&"pedidos".into(), &record, sim.now).unwrap_err();
    assert!(damaged.to_string().contains("a version that this program does not know"), "{damaged}");
}
