//! Sending at least once.

use super::super::partition::PAUSE;
use super::*;

fn no_answer() -> BatchOutcome {
    BatchOutcome::Unknown { reason: "no answer".to_owned() }
}

fn not_now() -> BatchOutcome {
    BatchOutcome::Refused { reason: "not now".to_owned(), retry: true }
}

fn at_least_once(partitions: usize) -> Bench {
    let mut bench = Bench::new(partitions);
    bench.accumulator.send_at_least_once();
    bench
}

#[test]
fn what_was_refused_for_now_or_got_no_answer_keeps_its_place_and_other_partitions_go_on() {
    let (one, other) = (key_for(0, 2), key_for(1, 2));
    for outcome in [no_answer(), not_now()] {
        let mut bench = at_least_once(2);
        bench.push(&one, "1");
        bench.push(&one, "2");
        let batches = bench.take(0);
        bench.push(&one, "3");
        bench.complete(0, batches, |_| outcome.clone());
        bench.push(&one, "4");
        bench.push(&other, "5");
        let batches = bench.take(0);
        assert_eq!(names(&batches), [(1, vec!["5".into()])], "nothing passes what waits to be sent again");
        bench.complete(0, batches, |_| stored(0));
        bench.pass(PAUSE);
        let batches = bench.take(0);
        assert_eq!(names(&batches), [(0, ["1", "2", "3", "4"].map(str::to_owned).to_vec())]);
        bench.complete(0, batches, |_| stored(0));
        let told: Vec<_> = bench.reports().into_iter().map(|(name, _)| name).collect();
        assert_eq!(told, ["5", "1", "2", "3", "4"], "and each is reported once");
        assert_eq!(bench.accumulator.open(), 0);
    }
}

#[test]
fn without_a_key_another_partition_takes_it() {
    let mut bench = at_least_once(2);
    bench.push("", "1");
    let batches = bench.take(0);
    let first = batches[0].partition;
    bench.complete(0, batches, |_| no_answer());
    assert_eq!(names(&bench.take(0)), [(1 - first, vec!["1".into()])]);
}

#[test]
fn what_has_no_time_left_gets_the_report_of_its_last_try() {
    for (outcome, expected) in [
        (no_answer(), DeliveryReport::Unknown { reason: "no answer".to_owned() }),
        (
            not_now(),
            DeliveryReport::NotStored {
                kind: NotStoredKind::Refused,
                reason: "not now".to_owned(),
                retry: true,
            },
        ),
    ] {
        let mut bench = at_least_once(1);
        bench.push_for("", b"late".to_vec(), "late", PAUSE + SECOND);
        let batches = bench.take(0);
        bench.complete(0, batches, |_| outcome.clone());
        assert_eq!(bench.reports(), [("late".to_owned(), expected)]);
        assert_eq!(bench.accumulator.open(), 0);
    }
}

#[test]
fn after_one_try_without_an_answer_a_later_refusal_is_no_definite_answer() {
    let mut bench = at_least_once(1);
    bench.push("", "in doubt");
    for _ in 0..2 {
        let batches = bench.take(0);
        bench.complete(0, batches, |_| no_answer());
        bench.pass(PAUSE);
    }
    let batches = bench.take(0);
    bench.complete(0, batches, |_| BatchOutcome::TooLarge { reason: "too large".to_owned() });
    let reason = "no answer came when it was sent before; the last try: too large";
    assert_eq!(
        bench.reports(),
        [("in doubt".to_owned(), DeliveryReport::Unknown { reason: reason.to_owned() })]
    );
}

#[test]
fn a_definite_refusal_and_a_producer_that_does_not_send_at_least_once_try_no_more() {
    let definite = BatchOutcome::Refused { reason: "no right".to_owned(), retry: false };
    for (mut bench, outcome) in [(at_least_once(1), definite), (Bench::new(1), no_answer())] {
        bench.push("", "once");
        let batches = bench.take(0);
        bench.complete(0, batches, |_| outcome.clone());
        assert_eq!((bench.reports().len(), bench.accumulator.open()), (1, 0));
    }
}
