mod again;

use std::sync::mpsc::{self, Receiver, Sender};

use super::partition::{PROBE_AFTER, RETRY_BACKOFF};
use super::refusal::{COMES_BACK, OUTAGE_GRACE};
use super::*;
use crate::metrics::{Exposition, ProducerMetrics};
use crate::producer::outage::KnownOutage;

const SECOND: Duration = Duration::from_secs(1);

/// An accumulator, a clock that the test moves, and the outcome of each record by its name.
struct Bench {
    accumulator: Accumulator,
    now: Instant,
    tell: Sender<(String, DeliveryReport)>,
    received: Receiver<(String, DeliveryReport)>,
}

impl Bench {
    fn new(partitions: usize) -> Bench {
        Bench::with_limits(partitions, 1000, 10_000_000)
    }

    fn with_limits(partitions: usize, messages: usize, bytes: usize) -> Bench {
        let limits = Limits::new(messages, bytes, ProducerMetrics::default());
        let mut accumulator = Accumulator::new("t".into(), limits, SECOND);
        if partitions > 0 {
            accumulator.set_partitions(partitions);
        }
        let (tell, received) = mpsc::channel();
        Bench { accumulator, now: Instant::now(), tell, received }
    }

    /// Submits a message with ten seconds to live; its value is its name.
    fn push(&mut self, key: &str, name: &str) -> bool {
        self.push_for(key, name.as_bytes().to_vec(), name, 10 * SECOND)
    }

    fn push_for(&mut self, key: &str, value: Vec<u8>, name: &str, life: Duration) -> bool {
        let key = Some(key.as_bytes().to_vec()).filter(|key| !key.is_empty());
        self.push_this(ProducerRecord::new(key, value, self.now + life), name)
    }

    fn push_this(&mut self, message: ProducerRecord, name: &str) -> bool {
        let (tell, name) = (self.tell.clone(), name.to_owned());
        let done = Box::new(move |delivery| tell.send((name, delivery)).unwrap());
        self.accumulator.push(self.now, message, done)
    }

    fn take(&mut self, sender: usize) -> Vec<Batch> {
        let mut finished = Vec::new();
        let batches = self.accumulator.take(self.now, sender, &mut finished);
        hand_out(finished);
        batches
    }

    fn complete(
        &mut self,
        sender: usize,
        mut batches: Vec<Batch>,
        outcome: impl Fn(i32) -> BatchOutcome,
    ) -> Vec<Batch> {
        let outcomes: Vec<_> = batches.iter().map(|batch| outcome(batch.partition)).collect();
        let mut finished = Vec::new();
        self.accumulator.complete(self.now, sender, &mut batches, &outcomes, &mut finished);
        hand_out(finished);
        batches
    }

    /// Moves the clock as the clock thread does.
    fn pass(&mut self, time: Duration) {
        self.now += time;
        let mut finished = Vec::new();
        self.accumulator.age(self.now);
        self.accumulator.expire(self.now, &mut finished);
        hand_out(finished);
    }

    fn reports(&self) -> Vec<(String, DeliveryReport)> {
        self.received.try_iter().collect()
    }
}

fn hand_out(finished: Vec<Finished>) {
    for (done, delivery) in finished {
        done(delivery);
    }
}

fn names(batches: &[Batch]) -> Vec<(i32, Vec<String>)> {
    let name = |record: &BatchRecord| {
        String::from_utf8_lossy(record.value.as_deref().unwrap_or_default()).into_owned()
    };
    batches.iter().map(|batch| (batch.partition, batch.records.iter().map(name).collect())).collect()
}

fn stored(base: i64) -> BatchOutcome {
    BatchOutcome::Stored { base }
}

fn leaderless() -> BatchOutcome {
    BatchOutcome::NeverWritten { kind: NotStoredKind::NoLeader, reason: "no leader".to_owned() }
}

fn too_large_for_topic() -> BatchOutcome {
    BatchOutcome::TooLarge { reason: "1000 bytes at most".to_owned() }
}

fn code(delivery: &DeliveryReport) -> (&'static str, bool) {
    match delivery {
        DeliveryReport::NotStored { kind, retry, .. } => (kind.code(), *retry),
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
    let batches = bench.take(0);
    assert_eq!(names(&batches), [(0, vec!["a".into(), "b".into(), "c".into()])]);
    bench.complete(0, batches, |_| stored(40));
    let offsets: Vec<_> = bench
        .reports()
        .into_iter()
        .map(|(name, delivery)| match delivery {
            DeliveryReport::Stored { topic, partition: 0, offset } if &*topic == "t" => (name, offset),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(offsets, [("a".into(), 40), ("b".into(), 41), ("c".into(), 42)]);
    assert_eq!(bench.accumulator.open(), 0);
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
        let batches = bench.take(0);
        assert_eq!(batches.len(), 1);
        partitions.push(batches[0].partition);
        bench.complete(0, batches, |_| stored(0));
    }
    assert_eq!(partitions, [0, 1, 2, 3, 0, 1, 2, 3]);
}

#[test]
fn messages_without_a_key_begin_with_the_given_partition_also_beyond_the_last() {
    for (start, expected) in [(2, [2, 3, 0, 1]), (5, [1, 2, 3, 0]), (usize::MAX, [3, 0, 1, 2])] {
        let mut bench = Bench::new(0);
        bench.accumulator.begin_with(start);
        bench.accumulator.set_partitions(4);
        let chosen = expected.map(|_| {
            bench.push("", "x");
            let batches = bench.take(0);
            let partition = batches[0].partition;
            bench.complete(0, batches, |_| stored(0));
            partition
        });
        assert_eq!(chosen, expected, "from {start}");
    }
}

#[test]
fn a_given_partition_goes_before_the_key_if_the_topic_has_it() {
    let mut bench = Bench::new(0);
    let key = key_for(1, 2);
    let message = |bench: &Bench, key: &str, partition| {
        let key = Some(key.as_bytes().to_vec()).filter(|key| !key.is_empty());
        ProducerRecord { partition, ..ProducerRecord::new(key, b"x".to_vec(), bench.now + 10 * SECOND) }
    };
    for (key, partition) in [("", 0), (&key, 0), (&key, 2), (&key, -1)] {
        let message = message(&bench, key, PartitionChoice::Preferred(partition));
        assert!(bench.push_this(message, "x"));
    }
    bench.accumulator.set_partitions(2);
    let counts = |batches: &[Batch]| -> Vec<_> {
        batches.iter().map(|batch| (batch.partition, batch.records.len())).collect()
    };
    let batches = bench.take(0);
    assert_eq!(counts(&batches), [(0, 2), (1, 2)]);
    bench.complete(0, batches, |partition| if partition == 0 { leaderless() } else { stored(0) });
    bench.pass(RETRY_BACKOFF);
    let batches = bench.take(0);
    assert_eq!(counts(&batches), [(0, 2)], "sent again where they were sent before");
    bench.complete(0, batches, |_| stored(0));
    let stray = message(&bench, "", PartitionChoice::Preferred(7));
    assert!(bench.push_this(stray, "x"));
    assert_eq!(bench.take(0).len(), 1, "to any partition");
}

#[test]
fn what_may_go_to_one_partition_only_waits_until_the_topic_has_it() {
    let mut bench = Bench::new(2);
    for (name, partition) in [("there", 1), ("not there", 2), ("never there", -1)] {
        let message = ProducerRecord::new(None, name.as_bytes().to_vec(), bench.now + 10 * SECOND);
        assert!(
            bench.push_this(ProducerRecord { partition: PartitionChoice::Only(partition), ..message }, name)
        );
    }
    let batches = bench.take(0);
    assert_eq!(names(&batches), [(1, vec!["there".to_owned()])]);
    bench.complete(0, batches, |_| stored(0));
    assert!(bench.take(0).is_empty());
    bench.accumulator.set_partitions(3);
    let batches = bench.take(0);
    assert_eq!(names(&batches), [(2, vec!["not there".to_owned()])]);
    bench.complete(0, batches, |_| stored(0));
    assert_eq!(bench.reports().len(), 2);
    bench.pass(11 * SECOND);
    let reports = bench.reports();
    assert_eq!((reports[0].0.as_str(), code(&reports[0].1)), ("never there", ("no_partition", true)));
}

#[test]
fn queues_that_share_their_room_are_full_together_and_give_it_back() {
    let limits = Limits::new(2, 1_000, ProducerMetrics::default());
    let message = || ProducerRecord::new(None, b"x".to_vec(), Instant::now() + SECOND);
    let now = Instant::now();
    let mut queues = [0, 1].map(|_| Accumulator::new("t".into(), limits.clone(), SECOND));
    let [one, other] = &mut queues;
    assert!(one.push(now, message(), Box::new(|_| ())) && other.push(now, message(), Box::new(|_| ())));
    assert!(!one.push(now, message(), Box::new(|_| ())));
    other.abandon(&mut Vec::new());
    assert!(one.push(now, message(), Box::new(|_| ())));
    assert!(!other.push(now, message(), Box::new(|_| ())));
    drop(queues);
    assert!(limits.take(1_000), "a accumulator that is released holds nothing");
}

#[test]
fn an_empty_key_is_a_key() {
    let mut bench = Bench::new(4);
    for _ in 0..4 {
        bench.push_this(ProducerRecord::new(Some(Vec::new()), Vec::new(), bench.now + SECOND), "x");
        let batches = bench.take(0);
        assert_eq!(batches[0].partition, partition_for_key(b"", 4));
        bench.complete(0, batches, |_| stored(0));
    }
}

#[test]
fn every_partition_has_its_turn_whatever_calls_come_between() {
    let mut bench = Bench::new(2);
    let mut partitions = Vec::new();
    for _ in 0..4 {
        assert!(bench.take(0).is_empty(), "there is nothing to take");
        bench.push(&key_for(0, 2), "keyed");
        let batches = bench.take(0);
        bench.complete(0, batches, |_| stored(0));
        bench.push("", "x");
        let batches = bench.take(0);
        partitions.extend(batches.iter().map(|batch| batch.partition));
        bench.complete(0, batches, |_| stored(0));
    }
    assert_eq!(partitions, [0, 1, 0, 1]);
}

#[test]
fn a_full_queue_takes_no_more_until_bytes_are_freed() {
    let mut bench = Bench::with_limits(1, 2, 1000);
    assert!(bench.push("", "a") && bench.push("", "b") && !bench.push("", "c"));
    let batches = bench.take(0);
    assert!(!bench.push("", "c"), "messages under way count too");
    bench.complete(0, batches, |_| stored(0));
    assert!(
        bench.push_for("", vec![b'x'; 900], "c", SECOND) && !bench.push_for("", vec![b'x'; 101], "d", SECOND)
    );
    assert_eq!(bench.reports().len(), 2, "a record that was not taken has no report");
}

#[test]
fn a_queue_is_full_from_the_first_message_not_taken_until_another_leaves_it() {
    let mut bench = Bench::with_limits(1, 2, 1000);
    assert!(bench.push("", "a") && bench.push("", "b") && !bench.accumulator.is_full());
    assert!(!bench.push("", "c") && bench.accumulator.is_full());
    let batches = bench.take(0);
    assert!(bench.accumulator.is_full(), "what is under way counts too");
    bench.complete(0, batches, |_| stored(0));
    assert!(!bench.accumulator.is_full());
}

#[test]
fn what_the_queue_holds_is_counted_until_it_has_left() {
    let metrics = ProducerMetrics::default();
    let held = |metrics: &ProducerMetrics| {
        let text = Exposition::of(&[metrics]).text().unwrap();
        let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.parse::<i64>().ok());
        (
            value("point_to_point_queue_messages ").unwrap(),
            value("point_to_point_queue_bytes ").unwrap(),
            value("point_to_point_retries_total ").unwrap(),
        )
    };
    let mut bench = Bench::new(1);
    bench.accumulator = Accumulator::new("t".into(), Limits::new(9, 1000, metrics.clone()), SECOND);
    bench.accumulator.set_partitions(1);
    for name in ["1", "22", "333"] {
        bench.push("", name);
    }
    assert_eq!(held(&metrics), (3, 6, 0));
    let batches = bench.take(0);
    bench.complete(0, batches, |_| BatchOutcome::NeverWritten {
        kind: NotStoredKind::NoLeader,
        reason: "x".to_owned(),
    });
    assert_eq!(held(&metrics), (3, 6, 3), "all of it waits anew");
    bench.pass(11 * SECOND);
    assert_eq!(held(&metrics), (0, 0, 3));
    bench.push("", "1");
    drop(bench);
    assert_eq!(held(&metrics), (0, 0, 3), "nothing is held when the producer is released");
}

#[test]
fn messages_wait_for_the_number_of_partitions_in_order() {
    let mut bench = Bench::new(0);
    for name in ["1", "2", "3"] {
        bench.push("k", name);
    }
    assert!(bench.take(0).is_empty() && !bench.accumulator.has_work(bench.now));
    bench.accumulator.set_partitions(3);
    let partition = partition_for_key(b"k", 3);
    assert_eq!(names(&bench.take(0)), [(partition, vec!["1".into(), "2".into(), "3".into()])]);
}

#[test]
fn without_a_broker_a_message_is_not_stored_at_its_deadline_and_can_be_sent_again() {
    let mut bench = Bench::new(0);
    bench.accumulator.set_unreachable(bench.now, NotStoredKind::NoBroker, "nobody there");
    bench.push("k", "a");
    bench.push("", "b");
    bench.pass(10 * SECOND - Duration::from_millis(1));
    assert!(bench.reports().is_empty());
    bench.pass(Duration::from_millis(1));
    let reports = bench.reports();
    assert_eq!(
        reports.iter().map(|(_, delivery)| code(delivery)).collect::<Vec<_>>(),
        [("no_broker", true); 2]
    );
    assert_eq!(bench.accumulator.open(), 0);
    assert_eq!(bench.accumulator.next_deadline(), None);
}

#[test]
fn a_message_under_way_at_its_deadline_is_unknown_and_told_once() {
    let mut bench = Bench::new(1);
    bench.push("", "a");
    let batches = bench.take(0);
    bench.pass(10 * SECOND);
    assert!(matches!(bench.reports().as_slice(), [(_, DeliveryReport::Unknown { .. })]));
    assert_eq!(bench.accumulator.open(), 1, "its bytes are still held");
    let batches = bench.complete(0, batches, |_| stored(7));
    assert!(batches[0].records[0].reported_unknown, "the log tells the late outcome");
    assert!(bench.reports().is_empty());
    assert_eq!(bench.accumulator.open(), 0);
}

#[test]
fn what_was_never_written_goes_again_in_order_before_what_came_later() {
    let mut bench = Bench::new(1);
    bench.push("k", "1");
    bench.push("k", "2");
    let batches = bench.take(0);
    bench.push("k", "3");
    bench.complete(0, batches, |_| leaderless());
    assert!(bench.reports().is_empty());
    assert!(bench.take(0).is_empty(), "not at once: the partition had no leader a moment ago");
    bench.pass(RETRY_BACKOFF);
    let batches = bench.take(0);
    assert_eq!(names(&batches), [(0, vec!["1".into(), "2".into(), "3".into()])]);
    bench.complete(0, batches, |_| stored(0));
    assert_eq!(bench.reports().len(), 3);
}

#[test]
fn without_a_leader_a_message_gets_a_definite_answer_before_its_deadline() {
    let mut bench = Bench::new(1);
    bench.push_for("k", b"a".to_vec(), "a", 3 * SECOND);
    let mut calls = 0;
    let reports = loop {
        assert!(calls < 10);
        let batches = bench.take(0);
        let reports = bench.reports();
        if !reports.is_empty() {
            break reports;
        }
        calls += 1;
        bench.pass(SECOND);
        bench.complete(0, batches, |_| leaderless());
        bench.pass(RETRY_BACKOFF);
    };
    assert_eq!(code(&reports[0].1), ("no_leader", true));
    assert_eq!((calls, bench.accumulator.open()), (2, 0));
}

#[test]
fn a_message_that_is_refused_by_one_partition_after_the_other_gets_a_definite_answer_too() {
    let mut bench = Bench::new(4);
    bench.push_for("", b"a".to_vec(), "a", 7 * SECOND / 2);
    let mut tried = Vec::new();
    let reports = loop {
        let batches = bench.take(0);
        tried.extend(batches.iter().map(|batch| batch.partition));
        bench.pass(SECOND);
        bench.complete(0, batches, |_| leaderless());
        let reports = bench.reports();
        if !reports.is_empty() {
            break reports;
        }
        assert!(tried.len() < 10);
    };
    assert_eq!(code(&reports[0].1), ("no_leader", true));
    assert_eq!((tried.len(), bench.accumulator.open()), (3, 0), "a fourth try could end too late");
}

#[test]
fn a_partition_in_flight_is_in_no_second_one() {
    let mut bench = Bench::new(2);
    let (zero, one) = (key_for(0, 2), key_for(1, 2));
    bench.push(&zero, "a");
    let first = bench.take(0);
    bench.push(&zero, "b");
    bench.push(&one, "c");
    assert!(bench.take(1).is_empty(), "the first call is recent: what comes now goes together with more");
    bench.pass(RECENT);
    assert!(bench.accumulator.has_work(bench.now));
    let second = bench.take(1);
    assert_eq!(names(&second), [(1, vec!["c".into()])]);
    bench.pass(RECENT);
    assert!(bench.take(2).is_empty() && !bench.accumulator.has_work(bench.now));
    bench.complete(0, first, |_| stored(0));
    assert_eq!(names(&bench.take(0)), [(0, vec!["b".into()])]);
}

#[test]
fn messages_without_a_key_avoid_partitions_that_are_stuck_or_have_no_leader() {
    let mut bench = Bench::new(3);
    bench.push(&key_for(0, 3), "stuck");
    let stuck = bench.take(0);
    bench.pass(RECENT);
    bench.push(&key_for(1, 3), "backing_off");
    let backing_off = bench.take(1);
    bench.complete(1, backing_off, |_| leaderless());
    for _ in 0..4 {
        bench.push("", "free");
        let batches = bench.take(2);
        assert_eq!(names(&batches), [(2, vec!["free".into()])]);
        bench.complete(2, batches, |_| stored(0));
    }
    bench.complete(0, stuck, |_| stored(0));
}

#[test]
fn partitions_without_a_leader_go_together_and_keep_nobody_else() {
    let mut bench = Bench::new(3);
    let keys: Vec<_> = (0..3).map(|partition| key_for(partition, 3)).collect();
    for key in &keys {
        bench.push(key, key);
    }
    let batches = bench.take(0);
    bench.complete(0, batches, |partition| if partition < 2 { leaderless() } else { stored(0) });
    bench.pass(RETRY_BACKOFF);
    bench.push(&keys[2], "healthy");
    let backing_off = bench.take(0);
    assert_eq!(names(&backing_off), [(0, vec![keys[0].clone()]), (1, vec![keys[1].clone()])]);
    assert!(bench.accumulator.has_work(bench.now));
    assert_eq!(names(&bench.take(1)), [(2, vec!["healthy".into()])]);
}

#[test]
fn a_partition_that_gave_no_answer_goes_apart_until_it_has_answered() {
    let mut bench = Bench::new(2);
    let keys = [key_for(0, 2), key_for(1, 2)];
    let push_both = |bench: &mut Bench| keys.iter().for_each(|key| assert!(bench.push(key, key)));
    push_both(&mut bench);
    let batches = bench.take(0);
    let lost = || BatchOutcome::Unknown { reason: "no acknowledgement".to_owned() };
    bench.complete(0, batches, |partition| if partition == 0 { lost() } else { stored(0) });
    assert_eq!(bench.reports().len(), 2, "nobody sends again what may be stored");
    push_both(&mut bench);
    let healthy = bench.take(0);
    assert_eq!(names(&healthy), [(1, vec![keys[1].clone()])]);
    bench.complete(0, healthy, |_| stored(1));
    bench.pass(RETRY_BACKOFF);
    bench.push(&keys[1], &keys[1]);
    let apart = bench.take(0);
    assert_eq!(names(&apart), [(0, vec![keys[0].clone()])]);
    assert!(bench.accumulator.has_work(bench.now), "it keeps nobody");
    bench.complete(0, apart, |_| stored(1));
    bench.push(&keys[0], &keys[0]);
    assert_eq!(bench.take(0).len(), 2, "together again");
}

#[test]
fn calls_for_partitions_without_a_leader_leave_a_lane_for_the_others() {
    let mut bench = Bench::new(5);
    let keys: Vec<_> = (0..5).map(|partition| key_for(partition, 5)).collect();
    let mut out = Vec::new();
    for (sender, key) in keys.iter().take(3).enumerate() {
        bench.push(key, key);
        out.push(bench.take(sender));
        bench.pass(RECENT);
    }
    bench.push(&keys[3], "backing_off");
    let batches = bench.take(3);
    bench.complete(3, batches, |_| leaderless());
    bench.pass(RETRY_BACKOFF);
    assert!(bench.take(3).is_empty() && !bench.accumulator.has_work(bench.now));
    bench.push(&keys[4], "healthy");
    assert_eq!(names(&bench.take(3)), [(4, vec!["healthy".into()])]);
}

#[test]
fn a_partition_that_nobody_asks_for_by_key_is_probed_with_one_message() {
    let mut bench = Bench::new(2);
    bench.push(&key_for(0, 2), "a");
    let batches = bench.take(0);
    bench.complete(0, batches, |_| BatchOutcome::NeverWritten {
        kind: NotStoredKind::NoLeader,
        reason: "no leader".to_owned(),
    });
    let mut finished = Vec::new();
    bench.accumulator.expire(bench.now + 10 * SECOND, &mut finished);
    hand_out(finished);
    bench.pass(PROBE_AFTER);
    bench.push("", "b");
    bench.push("", "c");
    let probe = bench.take(0);
    assert_eq!(names(&probe), [(0, vec!["b".into()])]);
    assert_eq!(names(&bench.take(1)), [(1, vec!["c".into()])]);
    bench.complete(0, probe, |_| stored(0));
    assert!(
        !bench.accumulator.none_healthy()
            && bench.accumulator.partitions.iter().all(|p| p.backing_off.is_none())
    );
}

#[test]
fn with_no_leader_anywhere_messages_without_a_key_are_tried_all_the_same() {
    let mut bench = Bench::new(2);
    bench.push("", "a");
    let first = bench.take(0);
    bench.complete(0, first, |_| leaderless());
    let second = bench.take(0);
    assert_eq!(names(&second), [(1, vec!["a".into()])]);
    bench.complete(0, second, |_| leaderless());
    bench.pass(RETRY_BACKOFF);
    assert!(bench.accumulator.has_work(bench.now));
    assert_eq!(names(&bench.take(0)), [(0, vec!["a".into()])]);
}

#[test]
fn the_set_of_a_partition_stays_below_a_batch_and_a_call_below_its_limit() {
    let mut bench = Bench::with_limits(8, 1000, 100_000_000);
    for _ in 0..100 {
        bench.push_for("", vec![b'x'; 100_000], "x", SECOND);
    }
    let batches = bench.take(0);
    let counts: Vec<_> = batches.iter().map(|batch| batch.records.len()).collect();
    assert_eq!(counts, [8, 8, 8, 8, 8, 1, 1], "the last have what was left of the call");
    assert!(batches.iter().all(|batch| batch.bytes <= BATCH_BYTES));
    assert!(batches.iter().map(|batch| batch.bytes).sum::<usize>() <= CALL_BYTES + 100_100);
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
        let batches = bench.take(0);
        let Some(batch) = batches.first() else { break };
        let too_large = batch.bytes > limit;
        bench.complete(0, batches, |_| if too_large { too_large_for_topic() } else { stored(0) });
        order.extend(bench.reports());
    }
    let names: Vec<_> = order.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["0", "1", "2", "3", "4", "5", "6"], "order is kept");
    for (name, delivery) in &order {
        match name.as_str() {
            "2" => assert_eq!(code(delivery), ("too_large", false)),
            _ => assert!(matches!(delivery, DeliveryReport::Stored { .. })),
        }
    }
    assert_eq!(bench.accumulator.open(), 0);
}

#[test]
fn of_a_set_that_is_invalid_only_the_offender_fails() {
    let mut bench = Bench::new(1);
    for name in 0..64 {
        bench.push("", &name.to_string());
    }
    let (mut order, mut calls) = (Vec::new(), 0);
    while bench.accumulator.open() > 0 {
        calls += 1;
        assert!(calls <= 20, "the offender is found in few calls");
        let batches = bench.take(0);
        let invalid = batches
            .iter()
            .any(|batch| batch.records.iter().any(|message| message.value.as_deref() == Some(b"37")));
        let outcome = if invalid { BatchOutcome::Invalid { reason: "no key".to_owned() } } else { stored(0) };
        bench.complete(0, batches, |_| outcome.clone());
        order.extend(bench.reports());
        if calls == 1 {
            bench.push("", "64");
        }
    }
    let names: Vec<_> = order.iter().map(|(name, _)| name.clone()).collect();
    assert_eq!(names, (0..65).map(|name| name.to_string()).collect::<Vec<_>>(), "order is kept");
    for (name, delivery) in &order {
        match name.as_str() {
            "37" => assert_eq!(code(delivery), ("refused", false)),
            _ => assert!(matches!(delivery, DeliveryReport::Stored { .. })),
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
        let batches = bench.take(0);
        sizes.push(batches.iter().map(|batch| batch.records.len()).sum::<usize>());
        let first = sizes.len() == 1;
        bench.complete(0, batches, |_| if first { too_large_for_topic() } else { stored(0) });
        bench.pass(if first { SECOND } else { BATCH_GROWS_AFTER }); // what was left is given up meanwhile
    }
    assert_eq!(sizes, [9, 4, 9]);
}

#[test]
fn a_refused_or_lost_batch_is_reported_for_each_of_its_records() {
    let mut bench = Bench::new(2);
    bench.push(&key_for(0, 2), "refused");
    bench.push(&key_for(1, 2), "lost");
    let batches = bench.take(0);
    bench.complete(0, batches, |partition| match partition {
        0 => BatchOutcome::Refused { reason: "no".to_owned(), retry: false },
        _ => BatchOutcome::Unknown { reason: "released".to_owned() },
    });
    let reports = bench.reports();
    assert_eq!(code(&reports[0].1), ("refused", false));
    assert_eq!(reports[1].1, DeliveryReport::Unknown { reason: "released".to_owned() });
}

#[test]
fn closing_tells_waiting_messages_that_they_are_not_stored_and_flying_ones_that_nobody_knows() {
    let mut bench = Bench::new(1);
    bench.push("", "flying");
    let batches = bench.take(0);
    bench.push("", "waiting");
    let mut finished = Vec::new();
    bench.accumulator.abandon(&mut finished);
    hand_out(finished);
    let reports = bench.reports();
    assert_eq!((reports[0].0.as_str(), code(&reports[0].1)), ("waiting", ("closing", true)));
    assert!(reports[1].0 == "flying" && matches!(reports[1].1, DeliveryReport::Unknown { .. }));
    bench.complete(0, batches, |_| stored(0));
    assert!(bench.reports().is_empty());
}

#[test]
fn more_partitions_are_seen_and_keys_follow_them() {
    let mut bench = Bench::new(1);
    bench.push("a", "1");
    bench.push("a", "2");
    bench.accumulator.set_partitions(16);
    assert_eq!(names(&bench.take(0)), [(partition_for_key(b"a", 16), vec!["1".into(), "2".into()])]);
}

#[test]
fn what_waits_is_refused_when_nothing_can_be_stored_and_what_is_under_way_has_a_while() {
    let mut bench = Bench::new(2);
    assert!(bench.push("", "out"));
    let batches = bench.take(0);
    assert!(bench.push("", "any") && bench.push("k", "keyed"));
    let refuse = |bench: &mut Bench| {
        let mut finished = Vec::new();
        bench.accumulator.refuse(bench.now, "the disk is full", &mut finished);
        hand_out(finished);
        bench.reports()
    };
    let mut reports = refuse(&mut bench);
    reports.sort_by(|a, b| a.0.cmp(&b.0));
    let refused = DeliveryReport::NotStored {
        kind: NotStoredKind::StoreFailed,
        reason: "the disk is full".to_owned(),
        retry: true,
    };
    assert_eq!(reports, [("any".to_owned(), refused.clone()), ("keyed".to_owned(), refused)]);
    assert_eq!(bench.accumulator.open(), 1);
    bench.pass(COMES_BACK);
    let unknown = DeliveryReport::Unknown { reason: "the disk is full".to_owned() };
    assert_eq!(refuse(&mut bench), [("out".to_owned(), unknown)]);
    bench.complete(0, batches, |_| BatchOutcome::Stored { base: 7 });
    assert_eq!((bench.reports(), bench.accumulator.open()), (Vec::new(), 0));
}

#[test]
fn the_last_refusal_is_that_of_all_partitions_and_is_not_told_for_long() {
    let mut bench = Bench::new(2);
    let never = |_| BatchOutcome::NeverWritten {
        kind: NotStoredKind::NoLeader,
        reason: "too few replicas".to_owned(),
    };
    assert!(bench.push("", "a"));
    let batches = bench.take(0);
    bench.complete(0, batches, never);
    assert_eq!(bench.accumulator.last_refusal(bench.now), None, "the other partition may take it");
    let batches = bench.take(0);
    bench.complete(0, batches, never);
    assert_eq!(bench.accumulator.last_refusal(bench.now).as_deref(), Some("too few replicas"));
    bench.pass(PROBE_AFTER);
    assert_eq!(bench.accumulator.last_refusal(bench.now), None);
}

#[test]
fn in_a_known_outage_what_comes_is_refused_after_a_moment_and_what_came_before_waits_for_its_end() {
    let mut bench = Bench::new(2);
    let refuse = |bench: &mut Bench, since: Instant| {
        let known =
            KnownOutage { since, why: NotStoredReason::new(NotStoredKind::NoBroker, "nobody answers") };
        let mut finished = Vec::new();
        bench.accumulator.refuse_in_outage(bench.now, &known, &mut finished);
        hand_out(finished);
        bench.reports().iter().map(|(name, report)| (name.clone(), code(report))).collect::<Vec<_>>()
    };
    assert!(bench.push("", "before"));
    bench.pass(2 * SECOND);
    let known = bench.now;
    assert!(bench.push("", "after") && bench.push("k", "keyed"));
    assert_eq!(refuse(&mut bench, known), []);
    bench.pass(OUTAGE_GRACE);
    let mut refused = refuse(&mut bench, known);
    refused.sort();
    assert_eq!(refused, ["after", "keyed"].map(|name| (name.to_owned(), ("no_broker", true))));
    assert_eq!(names(&bench.take(0)), [(0, vec!["before".into()])]);
}

#[test]
fn a_failure_lasts_from_its_first_sight_until_a_broker_has_answered_and_an_election_never_does() {
    let mut bench = Bench::new(2);
    let start = bench.now;
    let since = |bench: &Bench| bench.accumulator.lasting_failure().map(|(since, _)| since);
    for kind in [NotStoredKind::NoLeader, NotStoredKind::NoBroker] {
        bench.accumulator.set_unreachable(start, kind, "an election");
        assert_eq!(since(&bench), None);
    }
    bench.pass(SECOND);
    for text in ["there is no topic", "it cannot be created"] {
        bench.accumulator.set_unreachable(bench.now, NotStoredKind::NoTopic, text);
        assert_eq!(since(&bench), Some(start + SECOND), "the words may change");
        bench.pass(SECOND);
    }
    bench.accumulator.renew_unreachable(bench.now);
    assert_eq!(since(&bench), Some(bench.now), "it may have been an outage");
    bench.push("", "a");
    let batches = bench.take(0);
    bench.complete(0, batches, |_| leaderless());
    assert!(since(&bench).is_some());
    bench.pass(RETRY_BACKOFF);
    let batches = bench.take(0);
    bench.complete(0, batches, |_| stored(0));
    assert_eq!(since(&bench), None, "another connection has stored something");
}
