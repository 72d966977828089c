use std::sync::mpsc::{self, Receiver, Sender};

use super::*;
use crate::channel::sender::Delivery;
use crate::metrics::{Exposition, SenderMetrics};

const SECOND: Duration = Duration::from_secs(1);

/// A queue, a clock that stands still until told, and what became of each message by its name.
struct Bench {
    queue: Queue,
    now: Instant,
    tell: Sender<(String, Delivery)>,
    told: Receiver<(String, Delivery)>,
}

impl Bench {
    fn new(partitions: usize) -> Bench {
        Bench::with_limits(partitions, 1000, 10_000_000)
    }

    fn with_limits(partitions: usize, messages: usize, bytes: usize) -> Bench {
        let room = Room::new(messages, bytes, SenderMetrics::default());
        let mut queue = Queue::new("t".into(), room, SECOND);
        if partitions > 0 {
            queue.set_partitions(partitions);
        }
        let (tell, told) = mpsc::channel();
        Bench { queue, now: Instant::now(), tell, told }
    }

    /// Submits a message with ten seconds to live; its value is its name.
    fn push(&mut self, key: &str, name: &str) -> bool {
        self.push_for(key, name.as_bytes().to_vec(), name, 10 * SECOND)
    }

    fn push_for(&mut self, key: &str, value: Vec<u8>, name: &str, life: Duration) -> bool {
        let key = Some(key.as_bytes().to_vec()).filter(|key| !key.is_empty());
        self.push_this(Outgoing::new(key, value, self.now + life), name)
    }

    fn push_this(&mut self, message: Outgoing, name: &str) -> bool {
        let (tell, name) = (self.tell.clone(), name.to_owned());
        let done = Box::new(move |delivery| tell.send((name, delivery)).unwrap());
        self.queue.push(message, done)
    }

    fn take(&mut self, lane: usize) -> Vec<Set> {
        let mut finished = Vec::new();
        let sets = self.queue.take(self.now, lane, &mut finished);
        hand_out(finished);
        sets
    }

    fn settle(&mut self, lane: usize, mut sets: Vec<Set>, outcome: impl Fn(i32) -> SetOutcome) -> Vec<Set> {
        let outcomes: Vec<_> = sets.iter().map(|set| outcome(set.partition)).collect();
        let mut finished = Vec::new();
        self.queue.settle(self.now, lane, &mut sets, &outcomes, &mut finished);
        hand_out(finished);
        sets
    }

    /// Moves the clock as the clock thread does.
    fn pass(&mut self, time: Duration) {
        self.now += time;
        let mut finished = Vec::new();
        self.queue.age(self.now);
        self.queue.expire(self.now, &mut finished);
        hand_out(finished);
    }

    fn told(&self) -> Vec<(String, Delivery)> {
        self.told.try_iter().collect()
    }
}

fn hand_out(finished: Vec<Finished>) {
    for (done, delivery) in finished {
        done(delivery);
    }
}

fn names(sets: &[Set]) -> Vec<(i32, Vec<String>)> {
    let name = |payload: &Payload| {
        String::from_utf8_lossy(payload.value.as_deref().unwrap_or_default()).into_owned()
    };
    sets.iter().map(|set| (set.partition, set.messages.iter().map(name).collect())).collect()
}

fn stored(base: i64) -> SetOutcome {
    SetOutcome::Stored { base }
}

fn leaderless() -> SetOutcome {
    SetOutcome::NeverWritten { reason: "no leader".to_owned() }
}

fn code(delivery: &Delivery) -> (&'static str, bool) {
    match delivery {
        Delivery::NotStored { code, retry, .. } => (code, *retry),
        other => panic!("stored or unknown: {other:?}"),
    }
}

/// A key for `partition` of `partitions`.
fn key_for(partition: i32, partitions: i32) -> String {
    (0..)
        .map(|n| format!("k{n}"))
        .find(|key| partition_for_key(key.as_bytes(), partitions) == partition)
        .unwrap()
}

#[test]
fn every_message_gets_its_own_offset() {
    let mut bench = Bench::new(1);
    for name in ["a", "b", "c"] {
        assert!(bench.push("", name));
    }
    let sets = bench.take(0);
    assert_eq!(names(&sets), [(0, vec!["a".into(), "b".into(), "c".into()])]);
    bench.settle(0, sets, |_| stored(40));
    let offsets: Vec<_> = bench
        .told()
        .into_iter()
        .map(|(name, delivery)| match delivery {
            Delivery::Stored { topic, partition: 0, offset } if &*topic == "t" => (name, offset),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(offsets, [("a".into(), 40), ("b".into(), 41), ("c".into(), 42)]);
    assert_eq!(bench.queue.open(), 0);
}

#[test]
fn a_key_chooses_its_partition_and_messages_without_take_turns_call_by_call() {
    let mut bench = Bench::new(4);
    let key = key_for(2, 4);
    bench.push(&key, "keyed");
    assert_eq!(names(&bench.take(0)), [(2, vec!["keyed".into()])]);
    let mut bench = Bench::new(4);
    let mut partitions = Vec::new();
    for _ in 0..8 {
        bench.push("", "x");
        bench.push("", "y");
        let sets = bench.take(0);
        assert_eq!(sets.len(), 1);
        partitions.push(sets[0].partition);
        bench.settle(0, sets, |_| stored(0));
    }
    assert_eq!(partitions, [0, 1, 2, 3, 0, 1, 2, 3]);
}

#[test]
fn a_given_partition_goes_before_the_key_if_the_topic_has_it() {
    let mut bench = Bench::new(0);
    let key = key_for(1, 2);
    let message = |bench: &Bench, key: &str, place| {
        let key = Some(key.as_bytes().to_vec()).filter(|key| !key.is_empty());
        Outgoing { place, ..Outgoing::new(key, b"x".to_vec(), bench.now + 10 * SECOND) }
    };
    for (key, partition) in [("", 0), (&key, 0), (&key, 2), (&key, -1)] {
        let message = message(&bench, key, Place::Rather(partition));
        assert!(bench.push_this(message, "x"));
    }
    bench.queue.set_partitions(2);
    let counts =
        |sets: &[Set]| -> Vec<_> { sets.iter().map(|set| (set.partition, set.messages.len())).collect() };
    let sets = bench.take(0);
    assert_eq!(counts(&sets), [(0, 2), (1, 2)]);
    bench.settle(0, sets, |partition| if partition == 0 { leaderless() } else { stored(0) });
    bench.pass(SICK_PAUSE);
    let sets = bench.take(0);
    assert_eq!(counts(&sets), [(0, 2)], "sent again where they were sent before");
    bench.settle(0, sets, |_| stored(0));
    let stray = message(&bench, "", Place::Rather(7));
    assert!(bench.push_this(stray, "x"));
    assert_eq!(bench.take(0).len(), 1, "to any partition");
}

#[test]
fn what_may_go_to_one_partition_only_waits_until_the_topic_has_it() {
    let mut bench = Bench::new(2);
    for (name, partition) in [("there", 1), ("not there", 2), ("never there", -1)] {
        let message = Outgoing::new(None, name.as_bytes().to_vec(), bench.now + 10 * SECOND);
        assert!(bench.push_this(Outgoing { place: Place::Only(partition), ..message }, name));
    }
    let sets = bench.take(0);
    assert_eq!(names(&sets), [(1, vec!["there".to_owned()])]);
    bench.settle(0, sets, |_| stored(0));
    assert!(bench.take(0).is_empty());
    bench.queue.set_partitions(3);
    let sets = bench.take(0);
    assert_eq!(names(&sets), [(2, vec!["not there".to_owned()])]);
    bench.settle(0, sets, |_| stored(0));
    assert_eq!(bench.told().len(), 2);
    bench.pass(11 * SECOND);
    let told = bench.told();
    assert_eq!((told[0].0.as_str(), code(&told[0].1)), ("never there", ("no_partition", true)));
}

#[test]
fn queues_that_share_their_room_are_full_together_and_give_it_back() {
    let room = Room::new(2, 1_000, SenderMetrics::default());
    let message = || Outgoing::new(None, b"x".to_vec(), Instant::now() + SECOND);
    let mut queues = [0, 1].map(|_| Queue::new("t".into(), room.clone(), SECOND));
    let [one, other] = &mut queues;
    assert!(one.push(message(), Box::new(|_| ())) && other.push(message(), Box::new(|_| ())));
    assert!(!one.push(message(), Box::new(|_| ())));
    other.abandon(&mut Vec::new());
    assert!(one.push(message(), Box::new(|_| ())));
    assert!(!other.push(message(), Box::new(|_| ())));
    drop(queues);
    assert!(room.take(1_000), "a queue that is gone holds nothing");
}

#[test]
fn an_empty_key_is_a_key() {
    let mut bench = Bench::new(4);
    for _ in 0..4 {
        bench.push_this(Outgoing::new(Some(Vec::new()), Vec::new(), bench.now + SECOND), "x");
        let sets = bench.take(0);
        assert_eq!(sets[0].partition, partition_for_key(b"", 4));
        bench.settle(0, sets, |_| stored(0));
    }
}

#[test]
fn every_partition_has_its_turn_whatever_calls_come_between() {
    let mut bench = Bench::new(2);
    let mut partitions = Vec::new();
    for _ in 0..4 {
        assert!(bench.take(0).is_empty(), "a lane looks in vain");
        bench.push(&key_for(0, 2), "keyed");
        let sets = bench.take(0);
        bench.settle(0, sets, |_| stored(0));
        bench.push("", "x");
        let sets = bench.take(0);
        partitions.extend(sets.iter().map(|set| set.partition));
        bench.settle(0, sets, |_| stored(0));
    }
    assert_eq!(partitions, [0, 1, 0, 1]);
}

#[test]
fn a_full_queue_takes_no_more_until_bytes_are_freed() {
    let mut bench = Bench::with_limits(1, 2, 1000);
    assert!(bench.push("", "a") && bench.push("", "b") && !bench.push("", "c"));
    let sets = bench.take(0);
    assert!(!bench.push("", "c"), "messages under way count too");
    bench.settle(0, sets, |_| stored(0));
    assert!(
        bench.push_for("", vec![b'x'; 900], "c", SECOND) && !bench.push_for("", vec![b'x'; 101], "d", SECOND)
    );
    assert_eq!(bench.told().len(), 2, "nobody is told of a message that was not taken");
}

#[test]
fn a_queue_is_full_from_the_first_message_not_taken_until_another_leaves_it() {
    let mut bench = Bench::with_limits(1, 2, 1000);
    assert!(bench.push("", "a") && bench.push("", "b") && !bench.queue.is_full());
    assert!(!bench.push("", "c") && bench.queue.is_full());
    let sets = bench.take(0);
    assert!(bench.queue.is_full(), "what is under way counts too");
    bench.settle(0, sets, |_| stored(0));
    assert!(!bench.queue.is_full());
}

#[test]
fn what_the_queue_holds_is_counted_until_it_has_left() {
    let metrics = SenderMetrics::default();
    let held = |metrics: &SenderMetrics| {
        let text = Exposition::of(&[metrics]).text().unwrap();
        let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.parse::<i64>().ok());
        (
            value("point_to_point_queue_messages ").unwrap(),
            value("point_to_point_queue_bytes ").unwrap(),
            value("point_to_point_retries_total ").unwrap(),
        )
    };
    let mut bench = Bench::new(1);
    bench.queue = Queue::new("t".into(), Room::new(9, 1000, metrics.clone()), SECOND);
    bench.queue.set_partitions(1);
    for name in ["1", "22", "333"] {
        bench.push("", name);
    }
    assert_eq!(held(&metrics), (3, 6, 0));
    let sets = bench.take(0);
    bench.settle(0, sets, |_| SetOutcome::NeverWritten { reason: "x".to_owned() });
    assert_eq!(held(&metrics), (3, 6, 3), "all of it waits anew");
    bench.pass(11 * SECOND);
    assert_eq!(held(&metrics), (0, 0, 3));
    bench.push("", "1");
    drop(bench);
    assert_eq!(held(&metrics), (0, 0, 3), "nothing is held when the sender is gone");
}

#[test]
fn messages_wait_for_the_number_of_partitions_in_order() {
    let mut bench = Bench::new(0);
    for name in ["1", "2", "3"] {
        bench.push("k", name);
    }
    assert!(bench.take(0).is_empty() && !bench.queue.has_work(bench.now));
    bench.queue.set_partitions(3);
    let partition = partition_for_key(b"k", 3);
    assert_eq!(names(&bench.take(0)), [(partition, vec!["1".into(), "2".into(), "3".into()])]);
}

#[test]
fn without_a_broker_a_message_is_not_stored_at_its_deadline_and_can_be_sent_again() {
    let mut bench = Bench::new(0);
    bench.queue.set_trouble("nobody there");
    bench.push("k", "a");
    bench.push("", "b");
    bench.pass(10 * SECOND - Duration::from_millis(1));
    assert!(bench.told().is_empty());
    bench.pass(Duration::from_millis(1));
    let told = bench.told();
    assert_eq!(told.iter().map(|(_, delivery)| code(delivery)).collect::<Vec<_>>(), [("no_broker", true); 2]);
    assert_eq!(bench.queue.open(), 0);
    assert_eq!(bench.queue.next_deadline(), None);
}

#[test]
fn a_message_under_way_at_its_deadline_is_unknown_and_told_once() {
    let mut bench = Bench::new(1);
    bench.push("", "a");
    let sets = bench.take(0);
    bench.pass(10 * SECOND);
    assert!(matches!(bench.told().as_slice(), [(_, Delivery::Unknown { .. })]));
    assert_eq!(bench.queue.open(), 1, "its bytes are still held");
    let sets = bench.settle(0, sets, |_| stored(7));
    assert!(sets[0].messages[0].late, "the log tells the late outcome");
    assert!(bench.told().is_empty());
    assert_eq!(bench.queue.open(), 0);
}

#[test]
fn what_was_never_written_goes_again_in_order_before_what_came_later() {
    let mut bench = Bench::new(1);
    bench.push("k", "1");
    bench.push("k", "2");
    let sets = bench.take(0);
    bench.push("k", "3");
    bench.settle(0, sets, |_| leaderless());
    assert!(bench.told().is_empty());
    assert!(bench.take(0).is_empty(), "not at once: the partition had no leader a moment ago");
    bench.pass(SICK_PAUSE);
    let sets = bench.take(0);
    assert_eq!(names(&sets), [(0, vec!["1".into(), "2".into(), "3".into()])]);
    bench.settle(0, sets, |_| stored(0));
    assert_eq!(bench.told().len(), 3);
}

#[test]
fn without_a_leader_a_message_gets_a_definite_answer_before_its_deadline() {
    let mut bench = Bench::new(1);
    bench.push_for("k", b"a".to_vec(), "a", 3 * SECOND);
    let mut calls = 0;
    let told = loop {
        assert!(calls < 10);
        let sets = bench.take(0);
        let told = bench.told();
        if !told.is_empty() {
            break told;
        }
        calls += 1;
        bench.pass(SECOND);
        bench.settle(0, sets, |_| leaderless());
        bench.pass(SICK_PAUSE);
    };
    assert_eq!(code(&told[0].1), ("no_leader", true));
    assert_eq!((calls, bench.queue.open()), (2, 0));
}

#[test]
fn a_partition_in_flight_is_in_no_second_one() {
    let mut bench = Bench::new(2);
    let (zero, one) = (key_for(0, 2), key_for(1, 2));
    bench.push(&zero, "a");
    let first = bench.take(0);
    bench.push(&zero, "b");
    bench.push(&one, "c");
    assert!(bench.take(1).is_empty(), "the first call is young: what comes now goes together with more");
    bench.pass(YOUNG);
    assert!(bench.queue.has_work(bench.now));
    let second = bench.take(1);
    assert_eq!(names(&second), [(1, vec!["c".into()])]);
    bench.pass(YOUNG);
    assert!(bench.take(2).is_empty() && !bench.queue.has_work(bench.now));
    bench.settle(0, first, |_| stored(0));
    assert_eq!(names(&bench.take(0)), [(0, vec!["b".into()])]);
}

#[test]
fn messages_without_a_key_avoid_partitions_that_are_stuck_or_have_no_leader() {
    let mut bench = Bench::new(3);
    bench.push(&key_for(0, 3), "stuck");
    let stuck = bench.take(0);
    bench.pass(YOUNG);
    bench.push(&key_for(1, 3), "sick");
    let sick = bench.take(1);
    bench.settle(1, sick, |_| leaderless());
    for _ in 0..4 {
        bench.push("", "free");
        let sets = bench.take(2);
        assert_eq!(names(&sets), [(2, vec!["free".into()])]);
        bench.settle(2, sets, |_| stored(0));
    }
    bench.settle(0, stuck, |_| stored(0));
}

#[test]
fn partitions_without_a_leader_go_together_and_keep_nobody_else() {
    let mut bench = Bench::new(3);
    let keys: Vec<_> = (0..3).map(|partition| key_for(partition, 3)).collect();
    for key in &keys {
        bench.push(key, key);
    }
    let sets = bench.take(0);
    bench.settle(0, sets, |partition| if partition < 2 { leaderless() } else { stored(0) });
    bench.pass(SICK_PAUSE);
    bench.push(&keys[2], "healthy");
    let sick = bench.take(0);
    assert_eq!(names(&sick), [(0, vec![keys[0].clone()]), (1, vec![keys[1].clone()])]);
    assert!(bench.queue.has_work(bench.now));
    assert_eq!(names(&bench.take(1)), [(2, vec!["healthy".into()])]);
}

#[test]
fn a_partition_that_gave_no_answer_goes_apart_until_it_has_answered() {
    let mut bench = Bench::new(2);
    let keys = [key_for(0, 2), key_for(1, 2)];
    let push_both = |bench: &mut Bench| keys.iter().for_each(|key| assert!(bench.push(key, key)));
    push_both(&mut bench);
    let sets = bench.take(0);
    let lost = || SetOutcome::Unknown { reason: "no acknowledgement".to_owned() };
    bench.settle(0, sets, |partition| if partition == 0 { lost() } else { stored(0) });
    assert_eq!(bench.told().len(), 2, "nobody sends again what may be stored");
    push_both(&mut bench);
    let healthy = bench.take(0);
    assert_eq!(names(&healthy), [(1, vec![keys[1].clone()])]);
    bench.settle(0, healthy, |_| stored(1));
    bench.pass(SICK_PAUSE);
    bench.push(&keys[1], &keys[1]);
    let apart = bench.take(0);
    assert_eq!(names(&apart), [(0, vec![keys[0].clone()])]);
    assert!(bench.queue.has_work(bench.now), "it keeps nobody");
    bench.settle(0, apart, |_| stored(1));
    bench.push(&keys[0], &keys[0]);
    assert_eq!(bench.take(0).len(), 2, "together again");
}

#[test]
fn calls_for_partitions_without_a_leader_leave_a_lane_for_the_others() {
    let mut bench = Bench::new(5);
    let keys: Vec<_> = (0..5).map(|partition| key_for(partition, 5)).collect();
    let mut out = Vec::new();
    for (lane, key) in keys.iter().take(3).enumerate() {
        bench.push(key, key);
        out.push(bench.take(lane));
        bench.pass(YOUNG);
    }
    bench.push(&keys[3], "sick");
    let sets = bench.take(3);
    bench.settle(3, sets, |_| leaderless());
    bench.pass(SICK_PAUSE);
    assert!(bench.take(3).is_empty() && !bench.queue.has_work(bench.now));
    bench.push(&keys[4], "healthy");
    assert_eq!(names(&bench.take(3)), [(4, vec!["healthy".into()])]);
}

#[test]
fn a_partition_that_nobody_asks_for_by_key_is_probed_with_one_message() {
    let mut bench = Bench::new(2);
    bench.push(&key_for(0, 2), "a");
    let sets = bench.take(0);
    bench.settle(0, sets, |_| SetOutcome::NeverWritten { reason: "no leader".to_owned() });
    let mut finished = Vec::new();
    bench.queue.expire(bench.now + 10 * SECOND, &mut finished);
    hand_out(finished);
    bench.pass(PROBE_AFTER);
    bench.push("", "b");
    bench.push("", "c");
    let probe = bench.take(0);
    assert_eq!(names(&probe), [(0, vec!["b".into()])]);
    assert_eq!(names(&bench.take(1)), [(1, vec!["c".into()])]);
    bench.settle(0, probe, |_| stored(0));
    assert!(!bench.queue.none_healthy() && bench.queue.partitions.iter().all(|p| p.sick.is_none()));
}

#[test]
fn with_no_leader_anywhere_messages_without_a_key_are_tried_all_the_same() {
    let mut bench = Bench::new(2);
    bench.push("", "a");
    let first = bench.take(0);
    bench.settle(0, first, |_| leaderless());
    let second = bench.take(0);
    assert_eq!(names(&second), [(1, vec!["a".into()])]);
    bench.settle(0, second, |_| leaderless());
    bench.pass(SICK_PAUSE);
    assert!(bench.queue.has_work(bench.now));
    assert_eq!(names(&bench.take(0)), [(0, vec!["a".into()])]);
}

#[test]
fn the_set_of_a_partition_stays_below_a_batch_and_a_call_below_its_limit() {
    let mut bench = Bench::with_limits(8, 1000, 100_000_000);
    for _ in 0..100 {
        bench.push_for("", vec![b'x'; 100_000], "x", SECOND);
    }
    let sets = bench.take(0);
    let counts: Vec<_> = sets.iter().map(|set| set.messages.len()).collect();
    assert_eq!(counts, [8, 8, 8, 8, 8, 1, 1], "the last have what was left of the call");
    assert!(sets.iter().all(|set| set.bytes <= SET_BYTES));
    assert!(sets.iter().map(|set| set.bytes).sum::<usize>() <= CALL_BYTES + 100_100);
}

#[test]
fn of_a_set_that_is_too_large_only_the_offender_fails() {
    let mut bench = Bench::new(1);
    let limit = 1000;
    let sizes = [300, 200, 1500, 400, 100, 600, 50];
    for (name, size) in sizes.iter().enumerate() {
        bench.push_for("k", vec![b'x'; *size], &name.to_string(), 10 * SECOND);
    }
    let mut order = Vec::new();
    for _ in 0..20 {
        let sets = bench.take(0);
        let Some(set) = sets.first() else { break };
        let too_large = set.bytes > limit;
        bench.settle(0, sets, |_| if too_large { SetOutcome::TooLarge } else { stored(0) });
        order.extend(bench.told());
    }
    let names: Vec<_> = order.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["0", "1", "2", "3", "4", "5", "6"], "order is kept");
    for (name, delivery) in &order {
        match name.as_str() {
            "2" => assert_eq!(code(delivery), ("too_large", false)),
            _ => assert!(matches!(delivery, Delivery::Stored { .. })),
        }
    }
    assert_eq!(bench.queue.open(), 0);
}

#[test]
fn of_a_set_that_is_invalid_only_the_offender_fails() {
    let mut bench = Bench::new(1);
    for name in 0..64 {
        bench.push("", &name.to_string());
    }
    let (mut order, mut calls) = (Vec::new(), 0);
    while bench.queue.open() > 0 {
        calls += 1;
        assert!(calls <= 20, "the offender is found in few calls");
        let sets = bench.take(0);
        let invalid =
            sets.iter().any(|set| set.messages.iter().any(|message| message.value.as_deref() == Some(b"37")));
        let outcome = if invalid { SetOutcome::Invalid { reason: "no key".to_owned() } } else { stored(0) };
        bench.settle(0, sets, |_| outcome.clone());
        order.extend(bench.told());
        if calls == 1 {
            bench.push("", "64");
        }
    }
    let names: Vec<_> = order.iter().map(|(name, _)| name.clone()).collect();
    assert_eq!(names, (0..65).map(|name| name.to_string()).collect::<Vec<_>>(), "order is kept");
    for (name, delivery) in &order {
        match name.as_str() {
            "37" => assert_eq!(code(delivery), ("refused", false)),
            _ => assert!(matches!(delivery, Delivery::Stored { .. })),
        }
    }
}

#[test]
fn sets_grow_again_after_one_that_was_too_large() {
    let mut bench = Bench::with_limits(1, 1000, 10_000_000);
    let mut sizes = Vec::new();
    for _ in 0..3 {
        for _ in 0..9 {
            bench.push_for("", vec![b'x'; 90_000], "x", SECOND);
        }
        let sets = bench.take(0);
        sizes.push(sets.iter().map(|set| set.messages.len()).sum::<usize>());
        let first = sizes.len() == 1;
        bench.settle(0, sets, |_| if first { SetOutcome::TooLarge } else { stored(0) });
        bench.pass(if first { SECOND } else { SET_GROWS_AFTER }); // what was left is given up meanwhile
    }
    assert_eq!(sizes, [9, 4, 9]);
}

#[test]
fn a_refused_or_lost_set_tells_each_of_its_senders() {
    let mut bench = Bench::new(2);
    bench.push(&key_for(0, 2), "refused");
    bench.push(&key_for(1, 2), "lost");
    let sets = bench.take(0);
    bench.settle(0, sets, |partition| match partition {
        0 => SetOutcome::Refused { reason: "no".to_owned(), retry: false },
        _ => SetOutcome::Unknown { reason: "gone".to_owned() },
    });
    let told = bench.told();
    assert_eq!(code(&told[0].1), ("refused", false));
    assert_eq!(told[1].1, Delivery::Unknown { reason: "gone".to_owned() });
}

#[test]
fn closing_tells_waiting_messages_that_they_are_not_stored_and_flying_ones_that_nobody_knows() {
    let mut bench = Bench::new(1);
    bench.push("", "flying");
    let sets = bench.take(0);
    bench.push("", "waiting");
    let mut finished = Vec::new();
    bench.queue.abandon(&mut finished);
    hand_out(finished);
    let told = bench.told();
    assert_eq!((told[0].0.as_str(), code(&told[0].1)), ("waiting", ("closing", true)));
    assert!(told[1].0 == "flying" && matches!(told[1].1, Delivery::Unknown { .. }));
    bench.settle(0, sets, |_| stored(0));
    assert!(bench.told().is_empty());
}

#[test]
fn more_partitions_are_seen_and_keys_follow_them() {
    let mut bench = Bench::new(1);
    bench.push("a", "1");
    bench.push("a", "2");
    bench.queue.set_partitions(16);
    assert_eq!(names(&bench.take(0)), [(partition_for_key(b"a", 16), vec!["1".into(), "2".into()])]);
}
