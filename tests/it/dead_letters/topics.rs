//! `dead-letters --topic`: the letters of other topics than that of the settings, and of several.

use super::Scene;
use crate::support::assistant::Header;
use crate::support::kafka::Kafka;
use crate::support::{EMBEDDED, NEWEST, run_on, unique};

run_on! {
    mod kafka_4_3 on NEWEST {
        letters_of_several_topics_are_listed_replayed_and_discarded,
    }
    mod embedded on EMBEDDED {
        letters_of_several_topics_are_listed_replayed_and_discarded,
    }
}

fn letters_of_several_topics_are_listed_replayed_and_discarded(version: &'static str) {
    let kafka = Kafka::shared(version);
    let (one, two) = (Scene::with_letters(kafka, 1, 2), Scene::with_letters(kafka, 2, 3));
    // One that says where it came from.
    let said: [Header; 3] = [
        ("kafka_dlt-original-topic".to_owned(), Some(two.topic.clone().into_bytes())),
        ("kafka_dlt-original-partition".to_owned(), Some(1_i32.to_be_bytes().to_vec())),
        ("kafka_dlt-original-offset".to_owned(), Some(41_i64.to_be_bytes().to_vec())),
    ];
    kafka.assistant().put_with(&two.dead(), 1, Some(b"k"), Some(b"{\"partition\":1,\"id\":3}"), &said);
    let none = Scene::new(kafka, 1);
    let both = format!("{},{}", one.topic, two.topic);
    assert_eq!(none.listed(&[]).len(), 0);
    assert_eq!(none.listed(&["--topic", &one.topic]), ["0:0", "0:1"]);
    let list = none.run(&["list", "--topic", &both]);
    let from: Vec<&str> = list.lines.iter().filter_map(|line| line.split_whitespace().nth(2)).collect();
    // Those that say nothing are listed with the partition that a replay sends them to.
    let unsaid = [(&one.topic, 0), (&two.topic, 0), (&two.topic, 1)].map(|(t, p)| format!("{t}:{p}:-"));
    let place = format!("{}:1:41", two.topic);
    assert_eq!((from.len(), from[0]), (10, "FROM"), "{:?}", list.lines);
    for (unsaid, count) in unsaid.iter().zip([2, 3, 3]) {
        assert_eq!(from.iter().filter(|from| **from == unsaid).count(), count, "{unsaid}: {from:?}");
    }
    assert_eq!(from.iter().filter(|from| **from == place).count(), 1, "{from:?}");
    assert_eq!(none.listed(&["--topic", &both, "--key", "k"]), ["1:3"]);
    assert_eq!(none.listed(&["--topic", &both, "--max", "3"]).len(), 3);

    let show = none.run(&["show", "--topic", &two.topic, "1:3"]);
    assert!(show.lines.contains(&format!("letter     1:3 of {}", two.dead())), "{:?}", show.lines);
    for words in [&["show", "1:0"][..], &["list", "1:0"], &["replay", "1:0"], &["discard", "1:0"]] {
        let refused = none.run(&[words, &["--topic", &both]].concat());
        assert_eq!((refused.code, refused.lines.len()), (Some(2), 0), "{words:?}");
        assert!(refused.complains("name letters of one topic only"), "{:?}", refused.log);
    }
    assert_eq!(none.run(&["discard", "--topic", &both]).code, Some(2), "not without --all");

    let some = none.run(&["replay", "--topic", &one.topic, "--topic", &two.topic, "--max", "3"]);
    assert_eq!((some.code, some.last()), (Some(0), "replayed 3, failed 0, left 6"), "{:?}", some.log);
    assert_eq!(some.count(&format!("replayed: letter=0:0 in={} topic={} ", one.dead(), one.topic)), 1);
    assert_eq!(one.check_copies(1, 2), 0);
    let more = none.run(&["replay", "--topic", &both, "--max", "1"]);
    assert_eq!((more.code, more.last()), (Some(0), "replayed 1, failed 0, left 5"), "{:?}", more.log);
    let rest = none.run(&["discard", "--topic", &both, "--all", "--key", "k"]);
    assert_eq!((rest.code, rest.last()), (Some(0), "discarded 1, left 4"), "{:?}", rest.log);
    let through = none.run(&["replay", "--topic", &both, "--through", "cat"]);
    assert_eq!((through.code, through.last()), (Some(0), "replayed 4, failed 0, kept 0, left 0"));
    assert_eq!(two.check_copies(2, 3), 0);
    let nowhere = unique("nowhere");
    for words in [&["list"][..], &["replay"], &["discard", "--all"]] {
        let refused = none.run(&[words, &["--topic", &format!("{},{nowhere}", one.topic)]].concat());
        assert_eq!((refused.code, refused.lines.len()), (Some(1), 0), "{words:?}: {:?}", refused.lines);
        assert!(refused.complains(&format!("there is no topic {nowhere} at ")), "{:?}", refused.log);
    }
    assert_eq!(none.run(&["list", "--topic", &none.topic]).lines, ["no dead letters"]);
}
