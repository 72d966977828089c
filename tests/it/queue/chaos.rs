//! Whatever ends, freezes, comes and goes while messages are handled: the history shows that none is lost,
//! each key keeps its order, attempts never go down, nothing is committed that was not done, and little is
//! done twice.

use std::fs;
use std::time::{Duration, Instant};

use super::load::{CONCURRENCY, Keys, Load, OF_A_KILL, Plan};
use crate::supervisor::channel::{CONSUMERS, children, ids_of, signal, wait_until_gone};
use crate::support::kafka::Kafka;
use crate::support::program::Program;
use crate::support::size::{is_full, seeds, sized};
use crate::support::{EMBEDDED, NEWEST, OLDEST, PATIENCE, eventually, run_on};

run_on! {
    mod kafka_4_3 on NEWEST {
        consumers_that_are_killed_again_and_again as HEAVY,
        consumers_killed_over_messages_that_fail_at_once as HEAVY,
        a_supervisor_that_is_killed as HEAVY,
        a_broker_that_restarts as HEAVY,
        a_coordinator_of_three_that_is_killed as HEAVY,
        a_consumer_frozen_for_longer_than_its_session as HEAVY,
        members_that_come_and_go as HEAVY,
        handlers_that_fail_hang_die_and_wait_by_chance as HEAVY,
        a_downstream_that_is_away as HEAVY,
    }
    mod kafka_3_9 on OLDEST {
        consumers_that_are_killed_again_and_again as HEAVY,
        members_that_come_and_go as HEAVY,
        handlers_that_fail_hang_die_and_wait_by_chance as HEAVY,
        handlers_that_kill_their_consumers_by_chance as HEAVY,
    }
    mod embedded on EMBEDDED {
        consumers_that_are_killed_again_and_again as HEAVY,
        consumers_killed_over_messages_that_fail_at_once as HEAVY,
        a_supervisor_that_is_killed as HEAVY,
        a_broker_that_restarts as HEAVY,
        a_consumer_frozen_for_longer_than_its_session as HEAVY,
        members_that_come_and_go as HEAVY,
        handlers_that_fail_hang_die_and_wait_by_chance as HEAVY,
        handlers_that_kill_their_consumers_by_chance as HEAVY,
        a_downstream_that_is_away as HEAVY,
    }
}

/// How long a commit is on its way at most, with the machine as busy as here.
const LONGEST_COMMIT: Duration = Duration::from_millis(250);

/// Runs a test with each seed.
fn with_seeds(test: impl Fn(u64)) {
    seeds().into_iter().for_each(test);
}

/// A number of messages between two disturbances.
fn pause(load: &mut Load<'_>, messages: usize) {
    let some = messages / 2 + load.random.below(messages);
    load.until_further(some);
}

fn kill_child(program: &Program, name: &str) {
    let named = |(_, words): &(u32, Vec<String>)| words.iter().any(|word| word == name);
    let child =
        eventually(&format!("{name} runs"), PATIENCE, || children(program.id()).into_iter().find(named));
    signal("KILL", &[child.0]);
}

/// Under the default program, which starts them again; some attempts fail as well. In the full size the first
/// seed has a million messages of even keys, and as many of uneven ones.
fn consumers_that_are_killed_again_and_again(version: &'static str) {
    let kinds: &[Keys] = if is_full() { &[Keys::Even, Keys::Zipf] } else { &[Keys::Zipf] };
    with_seeds(|seed| {
        for keys in kinds {
            let is_first = seeds().first() == Some(&seed);
            let (messages, kills) = sized((2_000, 3), (if is_first { 1_000_000 } else { 100_000 }, 20));
            let plan = Plan { fates: "fail=20", work_ms: sized(6, 0), ..Plan::of(messages, *keys) };
            let plan = Plan { keys: (sized(100, 10_000), *keys), ..plan };
            let mut load = Load::new(Kafka::shared(version), seed, plan);
            let (mut program, began) = (load.supervisor(), Instant::now());
            for _ in 0..kills {
                pause(&mut load, messages / (2 * kills));
                let victim = load.random.below(2);
                kill_child(&program, CONSUMERS[victim]);
            }
            load.until_further(messages);
            // Handlers that have nothing to do handle more than OF_A_KILL says while a commit is on its way.
            let rate = load.history.successes as f64 / began.elapsed().as_secs_f64();
            let during_a_commit = (rate * LONGEST_COMMIT.as_secs_f64()) as usize;
            let dead = load.finish(kills * OF_A_KILL.max(CONCURRENCY + during_a_commit));
            assert!(dead.is_empty(), "{dead:?}");
            program.stop();
            load.look();
        }
    });
}

/// Each attempt is tried again at once: what was not committed of it would be forgotten.
fn consumers_killed_over_messages_that_fail_at_once(version: &'static str) {
    with_seeds(|seed| {
        let (messages, kills) = sized((1_000, 4), (100_000, 20));
        let plan = Plan { fates: "fail=600", work_ms: 0, backoff_ms: 0, ..Plan::of(messages, Keys::Even) };
        let mut load = Load::new(Kafka::shared(version), seed, plan);
        let mut program = load.supervisor();
        for kill in 0..kills {
            pause(&mut load, messages / (2 * kills));
            kill_child(&program, CONSUMERS[kill % 2]);
        }
        let dead = load.finish(kills * OF_A_KILL);
        assert!(dead.is_empty(), "{dead:?}");
        program.stop();
        load.look();
    });
}

fn a_supervisor_that_is_killed(version: &'static str) {
    with_seeds(|seed| {
        let (messages, kills) = sized((1_500, 2), (50_000, 6));
        let mut load = Load::new(Kafka::shared(version), seed, Plan::of(messages, Keys::Even));
        let mut program = load.supervisor();
        for _ in 0..kills {
            pause(&mut load, messages / (2 * kills));
            let children = ids_of(&children(program.id()));
            program.signal("KILL");
            program.wait(PATIENCE);
            wait_until_gone(&children);
            program = load.supervisor();
        }
        // Each kill is that of both consumers.
        let dead = load.finish(2 * kills * OF_A_KILL);
        assert!(dead.is_empty(), "{dead:?}");
        program.stop();
        load.look();
    });
}

/// Killed, and started on what it has on its disk.
fn a_broker_that_restarts(version: &'static str) {
    with_seeds(|seed| {
        let (messages, kills) = sized((1_500, 2), (50_000, 6));
        let kafka = Kafka::start(version, 1);
        let mut load = Load::new(&kafka, seed, Plan::of(messages, Keys::Even));
        let consumers = CONSUMERS.map(|name| load.consumer(name));
        for _ in 0..kills {
            pause(&mut load, messages / (2 * kills));
            kafka.kill_node(0);
            kafka.start_node(0);
        }
        // Whoever cannot commit for longer than its session begins anew.
        let dead = load.finish(2 * kills * OF_A_KILL);
        assert!(dead.is_empty(), "{dead:?}");
        consumers.into_iter().for_each(|mut consumer| consumer.stop());
        load.look();
    });
}

/// The partition of `__consumer_offsets` that has a group, as Java's `String.hashCode` chooses it.
fn offsets_partition(group: &str) -> i32 {
    let hash = group.bytes().fold(0_i32, |hash, byte| hash.wrapping_mul(31).wrapping_add(i32::from(byte)));
    (hash & i32::MAX) % 5
}

fn a_coordinator_of_three_that_is_killed(version: &'static str) {
    with_seeds(|seed| {
        let (messages, kills) = sized((2_000, 1), (50_000, 4));
        let kafka = Kafka::start(version, 3);
        let mut load = Load::new(&kafka, seed, Plan::of(messages, Keys::Even));
        let consumers = CONSUMERS.map(|name| load.consumer(name));
        for _ in 0..kills {
            pause(&mut load, messages / (2 * kills));
            let partition = offsets_partition(&load.scene.group);
            let coordinator =
                kafka.assistant().leader("__consumer_offsets", partition).expect("a leader") - 1;
            kafka.kill_node(coordinator);
            pause(&mut load, messages / (4 * kills));
            kafka.start_node(coordinator);
        }
        let dead = load.finish(2 * kills * OF_A_KILL);
        assert!(dead.is_empty(), "{dead:?}");
        consumers.into_iter().for_each(|mut consumer| consumer.stop());
        load.look();
    });
}

/// It thaws when another has gone on with its partitions, and commits nothing of what it had.
fn a_consumer_frozen_for_longer_than_its_session(version: &'static str) {
    with_seeds(|seed| {
        let (messages, freezes) = sized((3_000, 1), (50_000, 6));
        let mut load = Load::new(Kafka::shared(version), seed, Plan::of(messages, Keys::Even));
        let consumers = CONSUMERS.map(|name| load.consumer(name));
        for _ in 0..freezes {
            pause(&mut load, messages / (4 * freezes));
            let (victim, other) = if load.random.below(2) == 0 { (0, 1) } else { (1, 0) };
            consumers[victim].signal("STOP");
            load.until("the other one holds all", |load| load.commits.holders() == [CONSUMERS[other]; 4]);
            load.until_further(100);
            consumers[victim].signal("CONT");
        }
        let dead = load.finish(freezes * OF_A_KILL);
        assert!(dead.is_empty(), "{dead:?}");
        consumers.into_iter().for_each(|mut consumer| consumer.stop());
        load.look();
    });
}

/// From two members to three, and back to two by a clean stop: nothing is done twice.
fn members_that_come_and_go(version: &'static str) {
    with_seeds(|seed| {
        let (messages, rounds) = sized((2_000, 2), (100_000, 10));
        let mut load = Load::new(Kafka::shared(version), seed, Plan::of(messages, Keys::Zipf));
        let mut consumers: Vec<Program> = CONSUMERS.iter().map(|name| load.consumer(name)).collect();
        for _ in 0..rounds {
            pause(&mut load, messages / (4 * rounds));
            consumers.push(load.consumer("consumer3"));
            pause(&mut load, messages / (4 * rounds));
            let leaves = load.random.below(3);
            consumers[leaves].stop();
            let name = ["consumer1", "consumer2", "consumer3"][leaves];
            if leaves < 2 {
                consumers[leaves] = load.consumer(name);
                consumers[2].stop();
            }
            consumers.truncate(2);
        }
        let dead = load.finish(0);
        assert!(dead.is_empty(), "{dead:?}");
        consumers.iter_mut().for_each(Program::stop);
        load.look();
    });
}

/// What fails is tried again, what waits costs no attempt, and what is a dead letter had its attempts.
fn handlers_that_fail_hang_die_and_wait_by_chance(version: &'static str) {
    const FATES: &str = "fail=150 die=10 hang=3 dead=2 later=50 gone=10";
    with_seeds(|seed| {
        let plan = Plan::of(sized(1_000, 50_000), Keys::Even);
        let plan = Plan { fates: FATES, max_attempts: 3, timeout_ms: 3_000, ..plan };
        let mut load = Load::new(Kafka::shared(version), seed, plan);
        let mut consumer = load.consumer("consumer1");
        let dead = load.finish(0);
        for fate in ["fail", "die", "hang", "dead", "later", "gone"] {
            assert!(load.history.fates.contains_key(fate), "no {fate}: {:?}", load.history.fates);
        }
        assert!(!dead.is_empty());
        let attempts = load.history.messages.values().map(|message| message.attempt).max();
        assert_eq!(attempts, Some(3));
        consumer.stop();
        load.look();
    });
}

/// A message kills its consumer each time that it has this attempt, and with it whatever else is in hand.
fn handlers_that_kill_their_consumers_by_chance(version: &'static str) {
    with_seeds(|seed| {
        let messages = sized(1_000, 20_000);
        let plan = Plan { fates: "kill=3 fail=20", ..Plan::of(messages, Keys::Even) };
        let mut load = Load::new(Kafka::shared(version), seed, plan);
        let mut program = load.supervisor();
        load.until_further(messages);
        let kills = load.history.fates.get("kill").copied().unwrap_or_default();
        assert!(kills > 0, "{:?}", load.history.fates);
        let dead = load.finish(kills * OF_A_KILL);
        assert!(dead.is_empty(), "{dead:?}");
        program.stop();
        load.look();
    });
}

/// Everything fails for no fault of its own for a while: nothing becomes a dead letter, however few attempts
/// there are.
fn a_downstream_that_is_away(version: &'static str) {
    with_seeds(|seed| {
        let plan = Plan { max_attempts: 2, ..Plan::of(sized(1_000, 20_000), Keys::Even) };
        let mut load = Load::new(Kafka::shared(version), seed, plan);
        let mut consumer = load.consumer("consumer1");
        pause(&mut load, 200);
        load.scene.touch("away");
        let (begin, long) = (Instant::now(), Duration::from_secs(sized(3, 60)));
        let later = |load: &Load<'_>| load.history.fates.get("later").copied().unwrap_or_default();
        load.until("it is away for long enough", |load| {
            begin.elapsed() > long && later(load) > 2 * CONCURRENCY
        });
        fs::remove_file(load.scene.file("away")).expect("it is there");
        let dead = load.finish(0);
        assert!(dead.is_empty(), "{dead:?}");
        assert_eq!(load.history.messages.values().map(|message| message.attempt).max(), Some(1));
        consumer.stop();
        load.look();
    });
}
