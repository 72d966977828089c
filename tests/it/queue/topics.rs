//! Consumers of several topics, named or by a pattern: one group, one window, dead letters of each apart.

use std::net::SocketAddr;
use std::process::Command;

use super::scene::Scene;
use crate::support::metrics::Scrape;
use crate::support::ports::free_port;
use crate::support::program::{Program, Start, WAITING, binary};
use crate::support::{EMBEDDED, NEWEST, PATIENCE, eventually, eventually_equal, run_on};

run_on! {
    mod kafka_4_3 on NEWEST {
        each_message_of_two_topics_is_handled_once_and_their_commits_are_kept,
        what_waits_of_one_of_two_topics_keeps_its_attempts_and_is_seen_and_put_aside_by_its_name,
        the_dead_letters_of_each_topic_go_to_its_own,
        a_full_topic_holds_up_no_small_one as HEAVY,
        rebalances_with_two_topics_lose_and_repeat_nothing as HEAVY,
        a_pattern_finds_new_topics_and_leaves_dead_letters_alone,
    }
    mod embedded on EMBEDDED {
        each_message_of_two_topics_is_handled_once_and_their_commits_are_kept,
        what_waits_of_one_of_two_topics_keeps_its_attempts_and_is_seen_and_put_aside_by_its_name,
        the_dead_letters_of_each_topic_go_to_its_own,
        a_full_topic_holds_up_no_small_one as HEAVY,
        rebalances_with_two_topics_lose_and_repeat_nothing as HEAVY,
        a_pattern_finds_new_topics_and_leaves_dead_letters_alone,
        without_a_handler_the_messages_of_all_topics_are_printed,
        topics_that_are_named_and_missing_are_created,
        the_whole_channel_is_refused_where_its_consumers_would_miss_what_it_takes,
    }
}

/// Writes down the topic and the value of each message.
const SCRIPT: &str = r#"read -r v; echo "$POINT_TO_POINT_TOPIC $v" >>$1/done"#;

/// Another topic, whose name begins as that of the scene.
fn another(scene: &Scene<'_>, partitions: u32) -> String {
    let topic = format!("{}-b", scene.topic);
    scene.kafka.assistant().create_topic(&topic, partitions, 1, &[]);
    topic
}

fn of_both(start: Start, scene: &Scene<'_>, other: &str) -> Start {
    start.set("kafka.topics", &format!("[\"{}\", \"{other}\"]", scene.topic))
}

/// A consumer of both topics, once it is a member.
fn begun(start: Start) -> Program {
    let consumer = start.start();
    consumer.wait_for_line(WAITING, PATIENCE);
    consumer
}

/// What is written down, in order of the topics and values.
fn done(scene: &Scene<'_>) -> Vec<(String, usize)> {
    let read = |line: &String| {
        let (topic, value) = line.split_once(' ').expect("two words");
        (topic.to_owned(), value.parse().expect("a number"))
    };
    let mut done: Vec<_> = scene.lines("done").iter().map(read).collect();
    done.sort();
    done
}

/// These numbers, of both topics.
fn both(scene: &Scene<'_>, other: &str, numbers: usize) -> Vec<(String, usize)> {
    let of = |topic: &str| (0..numbers).map(|number| (topic.to_owned(), number)).collect::<Vec<_>>();
    [of(&scene.topic), of(other)].concat()
}

fn wait_for_commits(scene: &Scene<'_>, other: &str) {
    scene.wait_for_commits();
    scene.kafka.assistant().wait_for_commits(&scene.group, other);
}

fn each_message_of_two_topics_is_handled_once_and_their_commits_are_kept(version: &'static str) {
    let scene = Scene::new(version, 2);
    let other = another(&scene, 3);
    let assistant = scene.kafka.assistant();
    let start = || of_both(scene.consumer(SCRIPT), &scene, &other).set("consumer.concurrency", "8");
    for topic in [&scene.topic, &other] {
        assistant.produce(topic, "none", -1, "%d", 40);
    }
    let mut first = begun(start());
    wait_for_commits(&scene, &other);
    first.stop();
    assert_eq!(done(&scene), both(&scene, &other, 40));
    for partition in 0..3 {
        let note = assistant.commit_of(&scene.group, &other, partition).expect("a commit").1;
        assert_eq!(note, "q1 clean", "{partition}");
    }
    for topic in [&scene.topic, &other] {
        assistant.put(topic, 0, None, Some(b"40"));
    }
    let mut second = begun(start());
    wait_for_commits(&scene, &other);
    second.stop();
    assert_eq!(done(&scene), both(&scene, &other, 41), "what was done is not done again");
}

fn what_waits_of_one_of_two_topics_keeps_its_attempts_and_is_seen_and_put_aside_by_its_name(
    version: &'static str,
) {
    let scene = Scene::new(version, 1);
    let other = another(&scene, 1);
    let assistant = scene.kafka.assistant();
    let script = format!("[ $POINT_TO_POINT_TOPIC = {other} ] && exit 1; {SCRIPT}");
    let start = || {
        let start = of_both(scene.consumer(&script), &scene, &other);
        start.set("retry.initial_backoff_ms", "600000").set("retry.max_backoff_ms", "600000")
    };
    scene.put(0, None, "0");
    assistant.put(&other, 0, None, Some(b"0"));
    let waits = |name: &str| {
        eventually("what fails waits, and is noted beside its own topic's offset", PATIENCE, || {
            let (next, note) = assistant.commit_of(&scene.group, &other, 0)?;
            (next == 0 && note.contains("attempts=1@")).then_some(())
        });
        eventually_equal(name, &Some(1), || scene.commit().map(|(next, _)| next));
    };
    let mut first = begun(start());
    waits("the other topic is done");
    first.signal("KILL");
    first.wait(PATIENCE);
    let mut second = begun(start());
    waits("the attempts are kept");
    let run = |words: &[&str]| {
        let command = Start::command(words[0], Command::new(binary("point-to-point"))).arguments(words);
        let command = of_both(command.on(scene.kafka), &scene, &other).set("kafka.topic", &scene.topic);
        let mut program = command.set("log.file", "").set("consumer.group", &scene.group).start();
        let code = program.wait(PATIENCE);
        program.wait_for_outputs();
        (code, program.lines())
    };
    let (code, lines) = run(&["queue", "list"]);
    assert_eq!((code, lines.len()), (Some(0), 2), "{lines:?}");
    let row: Vec<&str> = lines[1].split_whitespace().collect();
    assert_eq!(row[..4], [&scene.group, &other, "0:0", "1"]);
    assert_eq!(run(&["queue", "put-aside", "0:0"]).0, Some(2), "of which topic?");
    let name = format!("{other}:0:0");
    let (code, lines) = run(&["queue", "put-aside", &name]);
    assert_eq!((code, lines), (Some(0), vec![format!("put aside: message={name}")]));
    wait_for_commits(&scene, &other);
    assert_eq!(assistant.read(&format!("{other}-dlt"), false).len(), 1);
    let (_, lines) = run(&["dead-letters", "list"]);
    assert!(lines.iter().any(|line| line.contains(&format!("{other}:0:0"))), "{lines:?}");
    second.stop();
    assert_eq!(done(&scene), [(scene.topic.clone(), 0)]);
}

fn the_dead_letters_of_each_topic_go_to_its_own(version: &'static str) {
    let scene = Scene::new(version, 2);
    let other = another(&scene, 3);
    let mut consumer = begun(of_both(scene.consumer("exit 65"), &scene, &other));
    scene.put(1, None, "\"one\"");
    scene.kafka.assistant().put(&other, 2, None, Some(b"\"two\""));
    wait_for_commits(&scene, &other);
    consumer.stop();
    for (topic, value, partitions) in [(&scene.topic, "\"one\"", 2), (&other, "\"two\"", 3)] {
        let letters = format!("{topic}-dlt");
        let found = scene.kafka.assistant().read(&letters, false);
        assert_eq!(found.len(), 1, "{letters}");
        assert_eq!(found[0].value.as_deref(), Some(value.as_bytes()));
        assert_eq!(found[0].header("kafka_dlt-original-topic"), Some(topic.as_bytes()));
        let ends = scene.kafka.assistant().end_offsets(&letters).expect("the topic");
        assert_eq!(ends.len(), partitions, "as many partitions as {topic}");
    }
}

fn a_full_topic_holds_up_no_small_one(version: &'static str) {
    let scene = Scene::new(version, 4);
    let small = another(&scene, 1);
    let assistant = scene.kafka.assistant();
    // More than is kept in memory.
    let filler = format!("{{\"n\":%d,\"filler\":\"{}\"}}", "x".repeat(4_000));
    assistant.produce(&scene.topic, "none", -1, &filler, 1_000);
    assistant.produce(&small, "none", -1, "%d", 10);
    let metrics = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let script = r#"cat >/dev/null; wait_for $1 go; echo "$POINT_TO_POINT_TOPIC" >>$1/done"#;
    let start = of_both(scene.consumer(script), &scene, &small).set("consumer.buffer_bytes", "1048576");
    let start = start.set("consumer.concurrency", "2").set("consumer.metrics_listen", &metrics.to_string());
    let _consumer = begun(start);
    let open = |topic: &str| {
        let labels = [("topic", topic)];
        Scrape::of(metrics).value("point_to_point_consumer_messages_open", &labels)
    };
    eventually("the small topic is read beside the full one", PATIENCE, || {
        (open(&small) == 10.0 && open(&scene.topic) > 10.0).then_some(())
    });
    assert!(open(&scene.topic) < 1_000.0, "all of it fits");
    scene.touch("go");
    scene.wait_for_lines("done", 100);
    let lines = scene.lines("done");
    assert_eq!(lines.iter().take(100).filter(|line| **line == small).count(), 10, "{lines:?}");
}

fn rebalances_with_two_topics_lose_and_repeat_nothing(version: &'static str) {
    const MESSAGES: usize = 500;
    let scene = Scene::new(version, 3);
    let other = another(&scene, 2);
    for topic in [&scene.topic, &other] {
        scene.kafka.assistant().produce(topic, "none", -1, "%d", MESSAGES);
    }
    let script = format!("{SCRIPT}; echo >>$1/$2; sleep 0.05");
    let start = |name: &str| {
        let start = of_both(scene.named(name, &script), &scene, &other);
        begun(start.set("consumer.concurrency", "8"))
    };
    let mut first = start("consumer1");
    scene.wait_for_lines("consumer1", 50);
    let mut second = start("consumer2");
    scene.wait_for_lines("consumer2", 50);
    second.stop();
    let so_far = scene.lines("consumer1").len();
    scene.wait_for_lines("consumer1", so_far + 50);
    assert!(scene.lines("done").len() < 2 * MESSAGES, "the load lasts");
    wait_for_commits(&scene, &other);
    first.stop();
    assert_eq!(done(&scene), both(&scene, &other, MESSAGES));
}

fn a_pattern_finds_new_topics_and_leaves_dead_letters_alone(version: &'static str) {
    let scene = Scene::new(version, 1);
    let script = format!("{SCRIPT}; case $v in \\\"bad\\\") exit 65;; esac");
    let pattern = format!("^{}(-|$)", scene.topic);
    let consumer = begun(scene.consumer(&script).set("kafka.topics", &pattern));
    scene.put(0, None, "\"bad\"");
    scene.wait_for_commits();
    let letters = format!("{}-dlt", scene.topic);
    assert_eq!(scene.kafka.assistant().read(&letters, false).len(), 1);
    let later = another(&scene, 1);
    scene.kafka.assistant().put(&later, 0, None, Some(b"1"));
    scene.wait_for_lines("done", 2);
    scene.kafka.assistant().wait_for_commits(&scene.group, &later);
    let lines = scene.lines("done");
    assert_eq!(lines, [format!("{} \"bad\"", scene.topic), format!("{later} 1")]);
    let member = &scene.kafka.assistant().group(&scene.group).members[0];
    assert_eq!(member.partitions.len(), 2, "{member:?}");
    scene.kafka.assistant().ask(&["delete", &later]);
    consumer.wait_for_log(&["there are other topics to consume"], PATIENCE);
    eventually("the topic that is gone is given up", PATIENCE, || {
        let group = scene.kafka.assistant().group(&scene.group);
        (group.members.first()?.partitions.len() == 1).then_some(())
    });
    scene.put(0, None, "2");
    scene.wait_for_lines("done", 3);
}

fn without_a_handler_the_messages_of_all_topics_are_printed(version: &'static str) {
    let scene = Scene::new(version, 1);
    let other = another(&scene, 1);
    scene.put(0, None, "{\"id\": 1}");
    scene.kafka.assistant().put(&other, 0, None, Some(b"no JSON"));
    let mut consumer = begun(of_both(scene.printing("consumer1"), &scene, &other));
    wait_for_commits(&scene, &other);
    consumer.stop();
    let mut lines = consumer.lines();
    assert_eq!(lines.remove(0), WAITING);
    lines.sort();
    assert_eq!(lines, ["Mensaje recibido (no es JSON): no JSON", "Mensaje recibido: {\"id\":1}"]);
    assert_eq!(scene.kafka.assistant().read(&format!("{other}-dlt"), false).len(), 1);
}

fn topics_that_are_named_and_missing_are_created(version: &'static str) {
    let scene = Scene::new(version, 1);
    let missing = format!("{}-b", scene.topic);
    let start = of_both(scene.consumer(SCRIPT), &scene, &missing).set("kafka.partitions", "3");
    let _consumer = begun(start);
    scene.kafka.assistant().put(&missing, 2, None, Some(b"7"));
    scene.wait_for_lines("done", 1);
    assert_eq!(done(&scene), [(missing, 7)]);
}

fn the_whole_channel_is_refused_where_its_consumers_would_miss_what_it_takes(version: &'static str) {
    let scene = Scene::new(version, 1);
    let start = Start::program("point-to-point").on(scene.kafka).set("kafka.topics", "orders, bills");
    let mut program = start.start();
    assert_eq!(program.wait(PATIENCE), Some(2));
    let why =
        program.wait_for_log(&["kafka.topics: orders, bills is without kafka.topic (mi-topico)"], PATIENCE);
    assert!(why.contains("start a consumer alone"), "{why}");
}
