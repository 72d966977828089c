//! Where letters of other programs came from: by text, by half, by nothing, and in topics of other names.

use super::Scene;
use crate::support::assistant::Header;
use crate::support::kafka::Kafka;
use crate::support::{EMBEDDED, NEWEST, run_on, unique};

run_on! {
    mod kafka_4_3 on NEWEST {
        a_letter_is_listed_where_a_replay_sends_it,
        letters_in_a_topic_of_another_name_are_listed_and_replayed,
        letters_of_all_topics_that_a_pattern_matches_are_listed,
    }
    mod embedded on EMBEDDED {
        a_letter_is_listed_where_a_replay_sends_it,
        letters_in_a_topic_of_another_name_are_listed_and_replayed,
        letters_of_all_topics_that_a_pattern_matches_are_listed,
    }
}

fn header(name: &str, value: &[u8]) -> Header {
    (format!("kafka_dlt-original-{name}"), Some(value.to_vec()))
}

/// The column FROM of a list.
fn from(lines: &[String]) -> Vec<&str> {
    lines.iter().skip(1).filter_map(|line| line.split_whitespace().nth(2)).collect()
}

fn a_letter_is_listed_where_a_replay_sends_it(version: &'static str) {
    let scene = Scene::new(Kafka::shared(version), 3);
    let (assistant, dead, other) = (scene.kafka.assistant(), scene.dead(), unique("otro"));
    assistant.create_topic(&dead, 3, 1, &[]);
    assistant.create_topic(&other, 4, 1, &[]);
    let binary = [
        header("topic", scene.topic.as_bytes()),
        header("partition", &1_i32.to_be_bytes()),
        header("offset", &41_i64.to_be_bytes()),
        header("timestamp", &1_700_000_000_000_i64.to_be_bytes()),
    ];
    let as_text = [header("topic", other.as_bytes()), header("partition", b"3"), header("offset", b"17")];
    let without_partition = [header("topic", other.as_bytes())];
    let nowhere = [header("topic", b"nowhere"), header("offset", b"5")];
    let letters: [(&[Header], String); 5] = [
        (&binary, "1:41".to_owned()),
        (&as_text, format!("{other}:3:17")),
        (&without_partition, format!("{other}:2:-")),
        (&[], "2:-".to_owned()),
        (&nowhere, "nowhere:-:5".to_owned()),
    ];
    for (headers, _) in &letters {
        assistant.put_with(&dead, 2, Some(b"k"), Some(b"1"), headers);
    }
    let list = scene.run(&["list"]);
    let expected: Vec<&str> = letters.iter().map(|(_, place)| place.as_str()).collect();
    assert_eq!(from(&list.lines), expected, "{:?}", list.lines);

    let shown = scene.run(&["show", "2:0", "2:2"]).lines;
    for line in [
        "header     kafka_dlt-original-partition=1",
        "header     kafka_dlt-original-offset=41",
        "header     kafka_dlt-original-timestamp=1700000000000",
        &format!("to         topic={other} partition=2"),
    ] {
        assert!(shown.iter().any(|shown| shown == line), "{line}: {shown:?}");
    }

    let replay = scene.run(&["replay"]);
    assert_eq!((replay.code, replay.last()), (Some(1), "replayed 4, failed 1, left 1"), "{:?}", replay.log);
    for (letter, topic, partition) in
        [("2:0", &scene.topic, 1), ("2:1", &other, 3), ("2:2", &other, 2), ("2:3", &scene.topic, 2)]
    {
        let line = format!("replayed: letter={letter} topic={topic} partition={partition} offset=0");
        assert!(replay.lines.contains(&line), "{line}: {:?}", replay.lines);
    }
    assert_eq!(replay.count("failed: letter=2:4: there is no topic nowhere"), 1);
}

/// As older versions of Spring name it.
fn letters_in_a_topic_of_another_name_are_listed_and_replayed(version: &'static str) {
    let scene = Scene::new(Kafka::shared(version), 2);
    let (assistant, dead) = (scene.kafka.assistant(), format!("{}.DLT", scene.topic));
    assistant.create_topic(&dead, 2, 1, &[]);
    let place = [header("topic", scene.topic.as_bytes()), header("partition", &0_i32.to_be_bytes())];
    assistant.put_with(&dead, 1, Some(b"k"), Some(b"1"), &place);
    assistant.put(&dead, 1, Some(b"k"), Some(b"2"));
    assert!(scene.listed(&[]).is_empty(), "they are in no topic of ours");
    let elsewhere = Scene::new(scene.kafka, 1);
    let list = elsewhere.run(&["list", "--dlt", &dead]);
    assert_eq!(from(&list.lines), ["0:-", "1:-"], "{:?}", list.lines);
    let show = elsewhere.run(&["show", "--dlt", &dead, "1:1"]);
    assert!(show.lines.contains(&format!("letter     1:1 of {dead}")), "{:?}", show.lines);
    let replay = elsewhere.run(&["replay", "--dlt", &dead]);
    assert_eq!((replay.code, replay.last()), (Some(0), "replayed 2, failed 0, left 0"), "{:?}", replay.log);
    let partitions: Vec<i32> = scene.messages().iter().map(|message| message.partition).collect();
    assert_eq!(partitions, [0, 1]);
    assert!(elsewhere.listed(&["--dlt", &dead]).is_empty());

    for words in [&["list", "--dlt", "failed"][..], &["replay", "--dlt", &dead, "--topic", "a,b"]] {
        let refused = elsewhere.run(words);
        assert_eq!((refused.code, refused.complains("--topic")), (Some(2), true), "{:?}", refused.log);
    }
    let no_letters = elsewhere.run(&["list", "--dlt", "failed", "--topic", &elsewhere.topic]);
    assert_eq!(no_letters.lines, ["no dead letters"]);
    let nowhere = elsewhere.run(&["list", "--dlt", "failed", "--topic", "a"]);
    assert_eq!((nowhere.code, nowhere.complains("nor failed")), (Some(1), true), "{:?}", nowhere.log);
}

fn letters_of_all_topics_that_a_pattern_matches_are_listed(version: &'static str) {
    let kafka = Kafka::shared(version);
    let (one, two) = (Scene::with_letters(kafka, 1, 2), Scene::with_letters(kafka, 1, 1));
    let none = Scene::new(kafka, 1);
    let pattern = format!("^({}|{}|{})$", one.topic, two.topic, none.topic);
    let run = |words: &[&str]| super::Ended::of(none.start(words).set("kafka.topics", &pattern).start());
    let list = run(&["list"]);
    let mut found = from(&list.lines);
    found.sort_unstable();
    let mut expected = [&one.topic, &one.topic, &two.topic].map(|topic| format!("{topic}:0:-"));
    expected.sort_unstable();
    assert_eq!(found, expected, "{:?}", list.lines);
    let refused = run(&["show", "0:0"]);
    assert_eq!(refused.code, Some(2));
    assert!(refused.complains("name letters of one topic only"), "{:?}", refused.log);
    let replay = run(&["replay"]);
    assert_eq!((replay.code, replay.last()), (Some(0), "replayed 3, failed 0, left 0"), "{:?}", replay.log);
    assert_eq!((one.check_copies(1, 2), two.check_copies(1, 1)), (0, 0));
    assert_eq!(run(&["list"]).lines, ["no dead letters"]);
}
