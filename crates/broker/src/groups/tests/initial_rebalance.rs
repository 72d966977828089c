//! The first rebalance of an empty group, which waits for more members where it is told to.

use super::fixture::{Broker, Folder};
use super::*;
use crate::groups::group::GroupState;

/// The delay of the groups here.
const DELAY: Duration = Duration::from_millis(1_500);

impl Sim {
    fn with_delay(delay: Duration) -> Sim {
        let sim = Sim::new();
        Sim { group: sim.group.with_initial_delay(delay), ..sim }
    }

    /// Joins with this rebalance timeout, and waits.
    fn join_within(&mut self, rebalance_timeout: Duration) -> OperationId {
        self.join_waiting(JoinRequest { rebalance_timeout, ..joining("", "a") })
    }

    /// Members join after these times; the generation that follows begins at the time that is returned, and
    /// has so many members.
    fn begins(&mut self, rebalance_timeout: Duration, joins: &[u64]) -> (Duration, usize) {
        let start = self.now;
        let mut joins = joins.iter().map(|millis| start + Duration::from_millis(*millis)).peekable();
        let mut first = None;
        loop {
            while joins.next_if(|at| *at == self.now).is_some() {
                first = first.or(Some(self.join_within(rebalance_timeout)));
            }
            if let Some(answer) = first.and_then(|operation| self.joined(operation)) {
                assert_eq!(answer.code, ErrorCode::NONE);
                return (self.now - start, answer.members.len());
            }
            let due = self.group.next_deadline().into_iter().chain(joins.peek().copied()).min().unwrap();
            self.pass(due - self.now);
        }
    }
}

#[test]
fn the_first_member_waits_for_the_delay() {
    let mut sim = Sim::with_delay(DELAY);
    let operation = sim.join_within(SESSION);
    assert_eq!(sim.group.state(), GroupState::PreparingRebalance);
    assert_eq!(sim.heartbeat("m1", 0), ErrorCode::REBALANCE_IN_PROGRESS);
    sim.pass(DELAY - Duration::from_millis(1));
    assert_eq!(sim.joined(operation), None);
    sim.pass(Duration::from_millis(1));
    let joined = sim.joined(operation).unwrap();
    assert_eq!((joined.code, joined.generation, joined.members.len()), (ErrorCode::NONE, 1, 1));
    assert_eq!(sim.sync(syncing("m1", 1, &[("m1", "all")])).assignment, "all");
}

#[test]
fn members_that_come_prolong_the_delay_up_to_the_rebalance_timeout() {
    let begins = |timeout, joins: &[u64]| {
        let (after, members) = Sim::with_delay(DELAY).begins(Duration::from_millis(timeout), joins);
        (after.as_millis(), members)
    };
    // As measured with Kafka 4.3.1.
    assert_eq!(begins(5_000, &[0]), (1_500, 1));
    assert_eq!(begins(5_000, &[0, 1_000]), (3_000, 2));
    assert_eq!(begins(5_000, &[0, 1_000, 2_500]), (4_500, 3));
    assert_eq!(begins(4_000, &[0, 1_000, 2_000, 3_000]), (4_000, 4));
    assert_eq!(begins(1_000, &[0, 500]), (1_500, 2));
    // A part of the delay is left, and nothing.
    assert_eq!(begins(2_000, &[0, 1_000, 1_600]), (2_000, 3));
    assert_eq!(begins(1_500, &[0, 1_000]), (1_500, 2));
}

#[test]
fn a_delay_longer_than_the_session_costs_no_member() {
    let (after, members) = Sim::with_delay(SESSION * 2).begins(SESSION, &[0, 1_000]);
    assert_eq!((after, members), (SESSION * 2, 2));
}

#[test]
fn a_group_that_has_become_empty_waits_again() {
    let mut sim = Sim::with_delay(DELAY);
    sim.begins(SESSION, &[0]);
    assert_eq!(sim.leave("m1"), ErrorCode::NONE);
    assert_eq!((sim.group.state(), sim.group.generation), (GroupState::Empty, 2));
    let (after, members) = sim.begins(SESSION, &[0, 1_000]);
    assert_eq!((after, members, sim.group.generation), (DELAY * 2, 2, 3));
}

#[test]
fn a_group_with_members_does_not_wait() {
    let mut sim = Sim::with_delay(DELAY);
    sim.begins(SESSION, &[0]);
    sim.sync(syncing("m1", 1, &[("m1", "all")]));
    let second = sim.join_within(SESSION);
    let first = sim.join(joining("m1", "a"));
    assert_eq!((first.generation, first.members.len()), (2, 2));
    assert_eq!(sim.joined(second).unwrap().generation, 2);
}

#[test]
fn who_leaves_in_the_delay_does_not_end_it() {
    let mut sim = Sim::with_delay(DELAY);
    let (one, two) = (sim.join_within(SESSION), sim.join_within(SESSION));
    assert_eq!(sim.leave("m1"), ErrorCode::NONE);
    assert_eq!(sim.joined(one).unwrap().code, ErrorCode::UNKNOWN_MEMBER_ID);
    assert_eq!(sim.joined(two), None);
    sim.pass(DELAY);
    assert_eq!(sim.joined(two), None, "the second one has prolonged it");
    sim.pass(DELAY);
    let joined = sim.joined(two).unwrap();
    assert_eq!((joined.generation, joined.members.len(), &*joined.leader), (1, 1, "m2"));
}

#[test]
fn a_group_that_all_leave_in_the_delay_is_empty_at_its_end() {
    let mut sim = Sim::with_delay(DELAY);
    sim.join_within(SESSION);
    assert_eq!(sim.leave("m1"), ErrorCode::NONE);
    assert_eq!(sim.group.state(), GroupState::PreparingRebalance);
    sim.pass(DELAY);
    assert_eq!((sim.group.state(), sim.group.generation), (GroupState::Empty, 1));
    assert_eq!(sim.begins(SESSION, &[0]), (DELAY, 1));
}

#[test]
fn an_id_that_was_given_does_not_prolong_the_delay() {
    let mut sim = Sim::with_delay(DELAY);
    let operation = sim.join_within(SESSION);
    let given = sim.join(JoinRequest { requires_member_id: true, ..joining("", "b") });
    assert_eq!(given.code, ErrorCode::MEMBER_ID_REQUIRED);
    sim.pass(DELAY);
    assert_eq!(sim.joined(operation).unwrap().generation, 1);
}

#[test]
fn the_coordinator_waits_in_real_time_and_so_does_the_next_holder() {
    const REAL: Duration = Duration::from_millis(200);
    let mut broker = Broker::open_with(std::sync::Arc::new(Folder::new()), REAL);
    for generation in [1, 3] {
        let mut client = broker.client(generation);
        let began = Instant::now();
        assert_eq!(client.join(7), ErrorCode::NONE);
        assert!(began.elapsed() >= REAL, "{:?}", began.elapsed());
        assert_eq!(u64::try_from(client.member.generation), Ok(generation));
        assert_eq!(client.leave(), ErrorCode::NONE);
        let folder = broker.folder.clone();
        broker.groups.stop();
        broker.store.close();
        broker = Broker::open_with(folder, REAL);
    }
}
