//! Where consumers start and go on when the log is not as they left it, or when not every broker answers.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use client::Cluster;
use client::coordinator::{Commit, Coordinator, Membership};
use client::topic_id::TopicIds;
use point_to_point::config::Settings;

use crate::support::kafka::Kafka;
use crate::support::program::{Program, Start, WAITING};
use crate::support::scripted::{Reply, Scripted};
use crate::support::{EMBEDDED, NEWEST, PATIENCE, eventually, run_on, unique};

run_on! {
    mod kafka_4_3 on NEWEST {
        a_consumer_whose_next_messages_expired_goes_on_at_the_oldest_that_is_left,
        a_start_at_the_latest_offset_is_the_groups_and_its_next_owner_skips_nothing,
        a_silent_broker_that_is_listed_first_holds_nothing_up,
        a_topic_that_is_deleted_and_made_again_is_consumed_from_its_beginning,
        a_topic_that_is_made_anew_and_has_grown_before_it_is_noticed_is_consumed_from_its_beginning,
        what_is_committed_of_a_former_topic_of_the_name_is_no_position_in_the_new_one,
        where_records_cannot_be_asked_for_by_topic_id_a_topic_made_anew_loses_nothing,
        a_partition_that_ends_with_the_marker_of_a_transaction_is_committed_to_its_end,
    }
    mod embedded on EMBEDDED {
        a_start_at_the_latest_offset_is_the_groups_and_its_next_owner_skips_nothing,
        a_silent_broker_that_is_listed_first_holds_nothing_up,
        a_topic_that_is_deleted_and_made_again_is_consumed_from_its_beginning,
        a_topic_that_is_made_anew_and_has_grown_before_it_is_noticed_is_consumed_from_its_beginning,
        what_is_committed_of_a_former_topic_of_the_name_is_no_position_in_the_new_one,
    }
}

/// A consumer with one more setting, once it is a member.
fn consumer_with(
    kafka: &Kafka,
    name: &str,
    (topic, group): (&str, &str),
    (key, value): (&str, &str),
) -> Program {
    let consumer = Program::consumer_start(kafka, name, topic, group).set(key, value).start();
    consumer.wait_for_line(WAITING, PATIENCE);
    consumer
}

fn offsets_removed_below_the_next_message(version: &'static str, reset: &str) {
    let kafka = Kafka::shared(version);
    let (topic, group) = (unique("mi-topico"), unique("grupo"));
    kafka.assistant().create_topic(&topic, 1, 1, &[]);
    kafka.assistant().produce(&topic, "none", 0, "%d", 10);
    let reset = ("consumer.auto_offset_reset", reset);
    let mut first =
        consumer_with(kafka, "consumer1", (&topic, &group), ("consumer.auto_offset_reset", "earliest"));
    first.wait_for_messages(10, PATIENCE);
    kafka.assistant().wait_for_commits(&group, &topic);
    first.stop();
    kafka.assistant().produce(&topic, "none", 0, "1%d", 10);
    kafka.assistant().trim(&topic, 0, 15);
    let second = consumer_with(kafka, "consumer2", (&topic, &group), reset);
    second.wait_for_messages(5, PATIENCE);
    kafka.assistant().wait_for_commits(&group, &topic);
    assert_eq!(second.received(), ["15", "16", "17", "18", "19"]);
}

fn a_consumer_whose_next_messages_expired_goes_on_at_the_oldest_that_is_left(version: &'static str) {
    offsets_removed_below_the_next_message(version, "earliest");
    offsets_removed_below_the_next_message(version, "latest");
}

fn a_start_at_the_latest_offset_is_the_groups_and_its_next_owner_skips_nothing(version: &'static str) {
    let kafka = Kafka::shared(version);
    let (topic, group) = (unique("mi-topico"), unique("grupo"));
    kafka.assistant().create_topic(&topic, 2, 1, &[]);
    kafka.assistant().produce(&topic, "none", -1, "\"old %d\"", 10);
    let latest = ("consumer.auto_offset_reset", "latest");
    let mut first = consumer_with(kafka, "consumer1", (&topic, &group), latest);
    eventually("the starts are committed", PATIENCE, || {
        let committed = kafka.assistant().committed(&group, &topic);
        (committed.values().copied().collect::<Vec<_>>() == [5, 5]).then_some(())
    });
    first.stop();
    assert!(first.received().is_empty(), "what was there before is not wanted");
    kafka.assistant().produce(&topic, "none", -1, "%d", 10);
    let second = consumer_with(kafka, "consumer2", (&topic, &group), latest);
    second.wait_for_messages(10, PATIENCE);
    kafka.assistant().wait_for_commits(&group, &topic);
    let mut received: Vec<u32> =
        second.received().iter().map(|text| text.parse().expect("a number")).collect();
    received.sort_unstable();
    assert_eq!(received, (0..10).collect::<Vec<_>>());
}

/// A host that takes connections and says nothing, as one that hangs does.
fn a_silent_broker_that_is_listed_first_holds_nothing_up(version: &'static str) {
    let kafka = Kafka::shared(version);
    let (topic, group) = (unique("mi-topico"), unique("grupo"));
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let servers = format!("{},{}", silent.local_addr().expect("an address"), kafka.bootstrap());
    let on_both = |start: Start| start.set("kafka.bootstrap_servers", &servers);
    let producer = Program::producer_with(on_both(Start::program("producer_api")).set("kafka.topic", &topic));
    eventually("a post is stored", PATIENCE, || (producer.post("/enviar", "1").status == 200).then_some(()));
    let consumer = on_both(Program::consumer_start(kafka, "consumer1", &topic, &group)).start();
    consumer.wait_for_messages(1, PATIENCE);
}

fn a_topic_that_is_deleted_and_made_again_is_consumed_from_its_beginning(version: &'static str) {
    let kafka = Kafka::shared(version);
    let (topic, group) = (unique("mi-topico"), unique("grupo"));
    let producer = Program::producer(kafka, &topic);
    let consumer = Program::consumer(kafka, "consumer1", &topic, &group);
    for id in 0..20 {
        assert_eq!(producer.post("/enviar", &id.to_string()).status, 200);
    }
    consumer.wait_for_messages(20, PATIENCE);
    kafka.assistant().ask(&["delete", &topic]);
    let patience = Duration::from_secs(120);
    eventually("a post makes the topic again", patience, || {
        (producer.post("/enviar", "\"again\"").status == 200).then_some(())
    });
    eventually("the new message is printed", patience, || {
        consumer.received().contains(&"\"again\"".to_owned()).then_some(())
    });
}

/// The consumers stand still meanwhile, and start at the latest offset where nothing is committed: it is not
/// their start.
fn a_topic_that_is_made_anew_and_has_grown_before_it_is_noticed_is_consumed_from_its_beginning(
    version: &'static str,
) {
    let kafka = Kafka::shared(version);
    let topic = unique("mi-topico");
    let assistant = kafka.assistant();
    assistant.create_topic(&topic, 2, 1, &[]);
    let start = |name, group| {
        let start = Program::consumer_start(kafka, name, &topic, group);
        start.set("consumer.auto_offset_reset", "latest").set("consumer.session_timeout_ms", "60000")
    };
    let groups = [unique("grupo"), unique("grupo")];
    let queued = start("consumer2", &groups[1]).set("consumer.handler", r#"["sh", "-c", "cat; echo"]"#);
    let consumers = [start("consumer1", &groups[0]).start(), queued.set("consumer.concurrency", "4").start()];
    for group in &groups {
        eventually("the starts are committed", PATIENCE, || {
            (assistant.committed(group, &topic).len() == 2).then_some(())
        });
    }
    assistant.produce(&topic, "none", -1, "\"old %d\"", 20);
    for group in &groups {
        assistant.wait_for_commits(group, &topic);
    }
    consumers.iter().for_each(|consumer| consumer.signal("STOP"));
    assistant.ask(&["delete", &topic]);
    assistant.create_topic(&topic, 2, 1, &[]);
    assistant.produce(&topic, "none", -1, "\"new %d\"", 60);
    consumers.iter().for_each(|consumer| consumer.signal("CONT"));
    for (consumer, group) in consumers.iter().zip(&groups) {
        assistant.wait_for_commits(group, &topic);
        for number in 0..60 {
            let of_it = format!("\"new {number}\"");
            let count = consumer.lines().iter().filter(|line| line.contains(&of_it)).count();
            assert_eq!(count, 1, "{of_it} of {group}: {:?}", consumer.lines());
        }
    }
}

/// A broker as Kafka 2.8 to 3.0 are: it tells topic ids, and has no Fetch 13.
fn where_records_cannot_be_asked_for_by_topic_id_a_topic_made_anew_loses_nothing(version: &'static str) {
    const API_VERSIONS: i16 = 18;
    let without_fetch_13 = |_, answer: &[u8]| {
        let mut answer = answer.to_vec();
        // Correlation id, error and count; then each key, with its versions and no tags.
        let fetch = answer[7..].chunks_exact_mut(7).find(|offered| offered[..2] == [0, 1]).expect("Fetch");
        fetch[5] = 12;
        answer
    };
    let kafka = Kafka::shared(version);
    let broker = Scripted::before(&kafka.bootstrap(), move |request| match request.key {
        API_VERSIONS => Reply::Edited(without_fetch_13),
        _ => Reply::Pass,
    });
    let (topic, group) = (unique("mi-topico"), unique("grupo"));
    let assistant = kafka.assistant();
    assistant.create_topic(&topic, 1, 1, &[]);
    let start = Program::consumer_start(kafka, "consumer1", &topic, &group);
    let start = start.set("kafka.bootstrap_servers", &broker.bootstrap());
    let consumer = start.set("consumer.session_timeout_ms", "60000").start();
    assistant.produce(&topic, "none", 0, "\"old %d\"", 10);
    consumer.wait_for_messages(10, PATIENCE);
    assistant.wait_for_commits(&group, &topic);
    consumer.signal("STOP");
    assistant.ask(&["delete", &topic]);
    assistant.create_topic(&topic, 1, 1, &[]);
    assistant.produce(&topic, "none", 0, "\"new %d\"", 20);
    consumer.signal("CONT");
    // The topic is looked at each half a minute.
    eventually("all are printed", 2 * PATIENCE, || {
        let lines = consumer.received();
        (0..20).all(|number| lines.contains(&format!("\"new {number}\""))).then_some(())
    });
    assistant.wait_for_commits(&group, &topic);
}

fn a_partition_that_ends_with_the_marker_of_a_transaction_is_committed_to_its_end(version: &'static str) {
    let kafka = Kafka::shared(version);
    let topic = unique("mi-topico");
    let assistant = kafka.assistant();
    assistant.create_topic(&topic, 1, 1, &[]);
    let groups = [unique("grupo"), unique("grupo")];
    let printing = Program::consumer_start(kafka, "consumer1", &topic, &groups[0]);
    let queued = Program::consumer_start(kafka, "consumer2", &topic, &groups[1]);
    let queued = queued.set("consumer.concurrency", "4");
    let consumers = [printing.start(), queued.start()];
    for round in 1..=2 {
        assistant.transaction(&topic, 0, true, "%d", 5);
        for (consumer, group) in consumers.iter().zip(&groups) {
            consumer.wait_for_messages(5 * round, PATIENCE);
            assistant.wait_for_commits(group, &topic);
        }
    }
    assert!(consumers.iter().all(|consumer| consumer.received_count() == 10));
}

/// As an owner leaves it that has committed before it could see that its topic was made anew, and was killed.
fn what_is_committed_of_a_former_topic_of_the_name_is_no_position_in_the_new_one(version: &'static str) {
    let kafka = Kafka::shared(version);
    let topic = unique("mi-topico");
    let assistant = kafka.assistant();
    assistant.create_topic(&topic, 1, 1, &[]);
    assistant.produce(&topic, "none", 0, "%d", 20);
    let groups = [unique("grupo"), unique("grupo")];
    let mut settings = Settings::default();
    settings.kafka.bootstrap_servers = vec![kafka.bootstrap()];
    let cluster = Arc::new(Cluster::new(settings.cluster()));
    for (group, note) in groups.iter().zip(["", "q1 clean "]) {
        let metadata = format!("{note}topic-id=AAAAAAAAAAAAAAAAAAAAAQ");
        let commit = Commit { topic: topic.clone(), partition: 0, offset: 10, metadata };
        let deadline = Instant::now() + PATIENCE;
        let codes = Coordinator::new(cluster.clone(), group, "test").commit(
            &Membership::none(),
            &[commit],
            &TopicIds::new(),
            deadline,
        );
        assert!(codes.is_ok_and(|codes| codes.values().all(|code| code.is_ok())));
    }
    let start = |name, group| {
        let start = Program::consumer_start(kafka, name, &topic, group);
        start.set("consumer.auto_offset_reset", "latest")
    };
    let queued = start("consumer2", &groups[1]).set("consumer.concurrency", "4");
    for (index, start_first) in [start("consumer1", &groups[0]), queued].into_iter().enumerate() {
        let (group, count) = (&groups[index], 20 + index);
        let mut first = start_first.start();
        first.wait_for_messages(count, PATIENCE);
        assistant.wait_for_commits(group, &topic);
        first.stop();
        assert_eq!(first.received_count(), count);
        // Its own commits say which topic they are of.
        let next = start("consumer1", group).start();
        next.wait_for_line(WAITING, PATIENCE);
        assistant.produce(&topic, "none", 0, "\"more\"", 1);
        next.wait_for_messages(1, PATIENCE);
        assert_eq!(next.received(), ["\"more\""]);
    }
}
