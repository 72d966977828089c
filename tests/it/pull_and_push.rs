//! The programs `consumer_pull` and `consumer_push`: each group gets every message, goes on where it was, and
//! `consumer_push` commits at its interval, when it stops and before its partitions go, never what it has not
//! handled.

use crate::support::kafka::Kafka;
use crate::support::load::numbers_of;
use crate::support::program::{Program, Start, WAITING, received_by, wait_for_messages};
use crate::support::{EMBEDDED, NEWEST, PATIENCE, eventually, run_on, unique};

run_on! {
    mod kafka_4_3 on NEWEST {
        pull_and_push_get_every_message_and_go_on_where_they_were,
        a_group_that_is_set_is_everybodys,
        push_commits_at_its_interval_and_when_it_stops,
        push_killed_repeats_what_it_handled_since_its_last_commit_and_no_more,
        push_commits_before_its_partitions_go,
        rebalances_mid_stream_cost_and_repeat_nothing,
        fetch_min_bytes_holds_messages_back_until_there_are_enough_or_the_wait_is_over,
        three_nodes_are_named_by_their_ports as HEAVY,
    }
    mod embedded on EMBEDDED {
        pull_and_push_get_every_message_and_go_on_where_they_were,
        a_group_that_is_set_is_everybodys,
        push_commits_at_its_interval_and_when_it_stops,
        push_killed_repeats_what_it_handled_since_its_last_commit_and_no_more,
        push_commits_before_its_partitions_go,
        rebalances_mid_stream_cost_and_repeat_nothing,
        fetch_min_bytes_holds_messages_back_until_there_are_enough_or_the_wait_is_over,
    }
}

/// What no test waits for: an interval at which nothing is committed meanwhile.
const NEVER: (&str, &str) = ("consumer.auto_commit_interval_ms", "86400000");

fn consumer(kafka: &Kafka, name: &str, topic: &str) -> Start {
    Start::program(name).on(kafka).set("kafka.topic", topic)
}

fn push(kafka: &Kafka, (topic, group): (&str, &str), (key, value): (&str, &str)) -> Start {
    consumer(kafka, "consumer_push", topic).set("consumer.group", group).set(key, value)
}

fn joined(start: Start) -> Program {
    let program = start.start();
    program.wait_for_line(WAITING, PATIENCE);
    program
}

/// Sends the messages with these numbers, evenly spread.
fn put(kafka: &Kafka, topic: &str, numbers: std::ops::Range<u64>) {
    for number in numbers {
        let value = format!(r#"{{"id":{number}}}"#);
        kafka.assistant().put(topic, (number % 4) as i32, None, Some(value.as_bytes()));
    }
}

fn sorted_numbers(programs: &[&Program]) -> Vec<u64> {
    programs.iter().for_each(|program| program.wait_for_outputs());
    let mut numbers = numbers_of(received_by(programs));
    numbers.sort_unstable();
    numbers
}

/// How many messages the group has committed.
fn committed(kafka: &Kafka, group: &str, topic: &str) -> i64 {
    kafka.assistant().committed(group, topic).values().sum()
}

fn pull_and_push_get_every_message_and_go_on_where_they_were(version: &'static str) {
    let kafka = Kafka::shared(version);
    let topic = unique("mi-topico");
    kafka.assistant().create_topic(&topic, 4, 1, &[]);
    for round in 0..3 {
        let numbers = round * 20..(round + 1) * 20;
        let mut pull = joined(consumer(kafka, "consumer_pull", &topic));
        let mut push = joined(consumer(kafka, "consumer_push", &topic));
        put(kafka, &topic, numbers.clone());
        pull.wait_for_messages(20, PATIENCE);
        push.wait_for_messages(20, PATIENCE);
        assert_eq!(kafka.assistant().group("grupo-pull").names(), ["consumer_pull"]);
        assert_eq!(kafka.assistant().group("grupo-push").names(), ["consumer_push"]);
        kafka.assistant().wait_for_commits("grupo-pull", &topic);
        pull.stop();
        push.stop();
        assert_eq!(sorted_numbers(&[&pull]), numbers.clone().collect::<Vec<_>>());
        assert_eq!(sorted_numbers(&[&push]), numbers.collect::<Vec<_>>());
    }
}

fn a_group_that_is_set_is_everybodys(version: &'static str) {
    let kafka = Kafka::shared(version);
    let (topic, group) = (unique("mi-topico"), unique("grupo"));
    kafka.assistant().create_topic(&topic, 4, 1, &[]);
    let start = |name| consumer(kafka, name, &topic).set("consumer.group", &group).start();
    let programs = ["consumer1", "consumer_pull", "consumer_push"].map(start);
    kafka.assistant().wait_for_members(&group, &["consumer1", "consumer_pull", "consumer_push"], 1);
    put(kafka, &topic, 0..40);
    let all = programs.each_ref();
    wait_for_messages(&all, 40, PATIENCE);
    programs.into_iter().for_each(|mut program| {
        program.stop();
        assert!(!sorted_numbers(&[&program]).is_empty());
    });
    kafka.assistant().wait_for_commits(&group, &topic);
}

fn push_commits_at_its_interval_and_when_it_stops(version: &'static str) {
    let kafka = Kafka::shared(version);
    let (topic, group) = (unique("mi-topico"), unique("grupo"));
    kafka.assistant().create_topic(&topic, 4, 1, &[]);
    let mut at_the_stop = joined(push(kafka, (&topic, &group), NEVER));
    put(kafka, &topic, 0..20);
    at_the_stop.wait_for_messages(20, PATIENCE);
    assert_eq!(committed(kafka, &group, &topic), 0, "it is not time yet");
    at_the_stop.stop();
    assert_eq!(committed(kafka, &group, &topic), 20);
    let often = ("consumer.auto_commit_interval_ms", "100");
    let mut at_intervals = joined(push(kafka, (&topic, &group), often));
    put(kafka, &topic, 20..40);
    eventually("it commits while it runs", PATIENCE, || {
        (committed(kafka, &group, &topic) == 40).then_some(())
    });
    at_intervals.stop();
    assert_eq!(sorted_numbers(&[&at_the_stop, &at_intervals]), (0..40).collect::<Vec<_>>());
}

fn push_killed_repeats_what_it_handled_since_its_last_commit_and_no_more(version: &'static str) {
    let kafka = Kafka::shared(version);
    let (topic, group) = (unique("mi-topico"), unique("grupo"));
    kafka.assistant().create_topic(&topic, 4, 1, &[]);
    let mut first = joined(push(kafka, (&topic, &group), NEVER));
    put(kafka, &topic, 0..20);
    first.wait_for_messages(20, PATIENCE);
    first.stop();
    let mut killed = joined(push(kafka, (&topic, &group), NEVER));
    put(kafka, &topic, 20..40);
    killed.wait_for_messages(20, PATIENCE);
    killed.signal("KILL");
    assert_eq!(killed.wait(PATIENCE), None, "it ends by the signal");
    let mut next = joined(push(kafka, (&topic, &group), NEVER));
    next.wait_for_messages(20, PATIENCE);
    put(kafka, &topic, 40..60);
    next.wait_for_messages(40, PATIENCE);
    next.stop();
    assert_eq!(sorted_numbers(&[&killed]), (20..40).collect::<Vec<_>>());
    assert_eq!(sorted_numbers(&[&next]), (20..60).collect::<Vec<_>>());
}

fn push_commits_before_its_partitions_go(version: &'static str) {
    let kafka = Kafka::shared(version);
    let (topic, group) = (unique("mi-topico"), unique("grupo"));
    kafka.assistant().create_topic(&topic, 4, 1, &[]);
    let named = |name: &str| push(kafka, (&topic, &group), NEVER).arguments(&["--name", name]);
    let mut first = joined(named("first"));
    put(kafka, &topic, 0..40);
    first.wait_for_messages(40, PATIENCE);
    assert_eq!(committed(kafka, &group, &topic), 0, "it is not time yet");
    let mut second = joined(named("second"));
    kafka.assistant().wait_for_members(&group, &["first", "second"], 2);
    assert_eq!(committed(kafka, &group, &topic), 40);
    put(kafka, &topic, 40..80);
    wait_for_messages(&[&first, &second], 80, PATIENCE);
    first.stop();
    second.stop();
    assert_eq!(sorted_numbers(&[&first, &second]), (0..80).collect::<Vec<_>>());
    assert_eq!(sorted_numbers(&[&second]).len(), 20);
    assert_eq!(committed(kafka, &group, &topic), 80);
}

fn rebalances_mid_stream_cost_and_repeat_nothing(version: &'static str) {
    let kafka = Kafka::shared(version);
    let (topic, group) = (unique("mi-topico"), unique("grupo"));
    let interval = ("consumer.auto_commit_interval_ms", "500");
    let named = |name: &str| joined(push(kafka, (&topic, &group), interval).arguments(&["--name", name]));
    let mut first = named("first");
    let start = Start::program("producer").on(kafka).set("kafka.topic", &topic);
    let mut producer =
        start.set("producer_api.queue_messages", "20").arguments(&["--count", "10000"]).start();
    first.wait_for_messages(500, PATIENCE);
    let mut second = named("second");
    second.wait_for_messages(200, PATIENCE);
    second.stop();
    let mut third = named("third");
    assert_eq!(producer.wait(3 * PATIENCE), Some(0));
    wait_for_messages(&[&first, &second, &third], 10_000, PATIENCE);
    first.stop();
    third.stop();
    assert_eq!(sorted_numbers(&[&first, &second, &third]), (1..=10_000).collect::<Vec<_>>());
    assert_eq!(committed(kafka, &group, &topic), 10_000);
}

/// What one consumer prints at once, another waits for: until enough bytes are there, or the wait is over.
fn fetch_min_bytes_holds_messages_back_until_there_are_enough_or_the_wait_is_over(version: &'static str) {
    let kafka = Kafka::shared(version);
    let topic = unique("mi-topico");
    kafka.assistant().create_topic(&topic, 4, 1, &[]);
    let start = |min_bytes: &str, wait: &str| {
        let start = consumer(kafka, "consumer_pull", &topic).set("consumer.group", &unique("grupo"));
        joined(start.set("consumer.fetch_min_bytes", min_bytes).set("consumer.fetch_max_wait_ms", wait))
    };
    let (at_once, short_wait) = (start("1", "30000"), start("100000", "1000"));
    let enough_alone = start("100000", "30000");
    put(kafka, &topic, 0..1);
    at_once.wait_for_messages(1, PATIENCE);
    short_wait.wait_for_messages(1, PATIENCE);
    assert_eq!(enough_alone.received_count(), 0, "it still waits for more");
    let large = format!(r#"{{"id":1,"contenido":"{}"}}"#, "x".repeat(150_000));
    kafka.assistant().put(&topic, 1, None, Some(large.as_bytes()));
    enough_alone.wait_for_messages(2, PATIENCE);
    at_once.wait_for_messages(2, PATIENCE);
    short_wait.wait_for_messages(2, PATIENCE);
}

fn three_nodes_are_named_by_their_ports(version: &'static str) {
    let kafka = Kafka::start(version, 3);
    let topic = unique("mi-topico");
    let [first, second, third] = [0, 1, 2].map(|index| kafka.node(index).port);
    let servers = format!("localhost:{first},{second},{third}");
    let on_three =
        |name: &str| Start::program(name).set("kafka.bootstrap_servers", &servers).set("kafka.topic", &topic);
    let mut producer = on_three("producer").arguments(&["--count", "100"]).start();
    assert_eq!(producer.wait(PATIENCE), Some(0));
    let (pull, push) = (joined(on_three("consumer_pull")), joined(on_three("consumer_push")));
    pull.wait_for_messages(100, PATIENCE);
    push.wait_for_messages(100, PATIENCE);
    kafka.kill_node(0);
    let timeout = ("kafka.delivery_timeout_ms", "100000");
    let mut producer = on_three("producer").set(timeout.0, timeout.1).arguments(&["--count", "50"]).start();
    assert_eq!(producer.wait(2 * PATIENCE), Some(0), "two of three are enough");
    pull.wait_for_messages(150, PATIENCE);
    push.wait_for_messages(150, PATIENCE);
}
