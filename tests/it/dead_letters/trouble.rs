//! Letters whose partition has no leader, and topics of letters that other programs wrote in transactions.

use super::{Ended, Scene};
use crate::support::http::Connection;
use crate::support::kafka::Kafka;
use crate::support::program::Program;
use crate::support::{EMBEDDED, NEWEST, PATIENCE, eventually, run_on};
use serde_json::{Value, json};

run_on! {
    mod kafka_4_3 on NEWEST {
        letters_without_a_leader_are_told_and_the_others_are_listed_and_settled as HEAVY,
        the_markers_of_transactions_count_for_nothing,
        a_body_with_a_field_that_is_not_known_settles_nothing,
    }
    mod embedded on EMBEDDED {
        a_body_with_a_field_that_is_not_known_settles_nothing,
    }
}

/// An endpoint for the topic of a scene.
fn endpoint(scene: &Scene<'_>) -> Program {
    Program::producer(scene.kafka, &scene.topic)
}

/// What `GET /dead-letters` finds.
fn found(program: &Program, query: &str) -> Value {
    let mut connection = Connection::open(program.address()).expect("a connection");
    connection.limit(PATIENCE);
    let answer = connection.get(&format!("/dead-letters{query}")).expect("an answer");
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

fn count(found: &Value) -> usize {
    found["letters"].as_array().expect("a list").len()
}

fn letters_without_a_leader_are_told_and_the_others_are_listed_and_settled(version: &'static str) {
    let kafka = Kafka::start(version, 3);
    let scene = Scene::new(&kafka, 1);
    let (assistant, dead) = (kafka.assistant(), scene.dead());
    // What is replayed finds a leader, whichever node is gone.
    let source = format!("{}-fuente", scene.topic);
    assistant.create_topic(&source, 3, 3, &[]);
    assistant.create_topic(&dead, 3, 1, &[]);
    for partition in 0..3 {
        assistant.produce(&dead, "none", partition, &format!("{{\"partition\":{partition},\"id\":%d}}"), 2);
    }
    let run = |words: &[&str]| {
        let words = [words, &["--topic", &source, "--dlt", &dead]].concat();
        Ended::of(scene.start(&words).start())
    };
    let program = endpoint(&scene);
    assert_eq!(count(&found(&program, "")), 6);
    let gone = assistant.leader(&dead, 1).expect("a leader");
    kafka.kill_node(gone - 1);
    eventually("nobody leads it", PATIENCE, || assistant.leader(&dead, 1).is_none().then_some(()));
    let place = format!("no letters are read of {dead}-1: ");

    for (words, rows) in
        [(&["list"][..], 4), (&["list", "--max", "1"], 1), (&["list", "--text", "\"id\":0"], 2)]
    {
        let list = run(words);
        assert_eq!((list.code, list.lines.len()), (Some(1), 1 + rows), "{:?} {:?}", list.lines, list.log);
        assert!(list.complains(&place) && list.log.len() == 1, "{:?}", list.log);
    }
    let show = run(&["show", "1:0"]);
    assert_eq!((show.code, show.complains(&place)), (Some(1), true), "{:?}", show.log);
    assert_eq!(run(&["show", "0:0"]).code, Some(0));
    for (query, fit) in [("", 4), ("?text=%22id%22:0", 2)] {
        let page = found(&program, query);
        assert_eq!((count(&page), &page["fit"], &page["open"]), (fit, &json!(fit), &json!(4)), "{page}");
        let trouble = page["trouble"].as_str().expect("why");
        assert!(trouble.starts_with(&place) && page["complete"] == false, "{page}");
    }

    let answer = program.post("/dead-letters/discard", r#"{"letters":["0:0","1:0"]}"#);
    let settled = answer.json();
    assert_eq!((answer.status, &settled["letters"][0]["error"]), (207, &Value::Null), "{settled}");
    assert_eq!(settled["letters"][1]["error"], json!("the leader of its partition does not answer"));
    let one = run(&["discard", "2:0"]);
    assert_eq!((one.code, one.last()), (Some(0), "discarded 1, left 2"), "{:?}", one.log);
    let missing = run(&["replay", "1:0"]);
    assert_eq!(
        (missing.code, missing.last()),
        (Some(1), "replayed 0, failed 0, left 2"),
        "{:?}",
        missing.log
    );
    let told = "missing: letter=1:0: the leader of its partition does not answer";
    assert!(missing.lines.iter().any(|line| line == told), "{:?}", missing.lines);
    let rest = run(&["replay"]);
    assert_eq!((rest.code, rest.last()), (Some(1), "replayed 2, failed 0, left 0"), "{:?}", rest.log);
    assert!(rest.complains(&place) && rest.complains("not all that was asked is done"), "{:?}", rest.log);
    let none = run(&["list"]);
    assert_eq!((none.code, none.lines.len(), none.complains(&place)), (Some(1), 0, true), "{:?}", none.lines);

    kafka.start_node(gone - 1);
    eventually("it is led again", PATIENCE, || assistant.leader(&dead, 1));
    let last = run(&["replay"]);
    assert_eq!((last.code, last.last()), (Some(0), "replayed 2, failed 0, left 0"), "{:?}", last.log);
    eventually("the endpoint finds the leader", PATIENCE, || {
        found(&program, "")["trouble"].is_null().then_some(())
    });
}

fn a_body_with_a_field_that_is_not_known_settles_nothing(version: &'static str) {
    let scene = Scene::with_letters(Kafka::shared(version), 1, 2);
    let program = endpoint(&scene);
    for action in ["replay", "discard"] {
        let answer = program.post(&format!("/dead-letters/{action}"), r#"{"letters":["0:0"],"pratition":1}"#);
        let refusal = answer.json();
        assert_eq!((answer.status, &refusal["error"]["code"]), (400, &json!("bad_letters")), "{refusal}");
        assert!(refusal["message"].as_str().is_some_and(|why| why.contains("\"pratition\"")), "{refusal}");
    }
    assert_eq!(scene.listed(&[]), ["0:0", "0:1"]);
    assert!(scene.messages().is_empty());
    assert_eq!(program.post("/dead-letters/discard", r#"{"letters":["0:0"]}"#).status, 200);
}

fn the_markers_of_transactions_count_for_nothing(version: &'static str) {
    let scene = Scene::new(Kafka::shared(version), 1);
    let (assistant, dead) = (scene.kafka.assistant(), scene.dead());
    assistant.create_topic(&dead, 1, 1, &[]);
    // Markers at 3 and 6.
    assistant.transaction(&dead, 0, true, "{\"id\":%d}", 3);
    assistant.transaction(&dead, 0, false, "{\"aborted\":%d}", 2);
    let program = endpoint(&scene);
    let open = |query: &str| {
        let page = found(&program, query);
        assert_eq!((&page["complete"], &page["looked_at"]), (&json!(true), &page["open"]), "{page}");
        (count(&page), page["open"].as_u64().expect("a number"))
    };
    assert_eq!(scene.listed(&[]), ["0:0", "0:1", "0:2", "0:4", "0:5"], "as consumers read them");
    assert_eq!((open(""), open("?text=aborted")), ((5, 5), (2, 5)));
    assert_eq!(program.post("/dead-letters/discard", r#"{"letters":["0:0"]}"#).status, 200);
    assert_eq!(open(""), (4, 4));
    let named = scene.run(&["discard", "0:1", "0:2"]);
    assert_eq!((named.code, named.last()), (Some(0), "discarded 2, left 2"), "{:?}", named.log);
    let rest = scene.run(&["replay"]);
    assert_eq!((rest.code, rest.last()), (Some(0), "replayed 2, failed 0, left 0"), "{:?}", rest.log);
    assert_eq!((open(""), scene.settled().get(&0)), ((0, 0), Some(&7)), "over the last marker");

    // What is named leaves the marker behind it unread.
    assistant.transaction(&dead, 0, true, "{\"id\":%d}", 1);
    assert_eq!(program.post("/dead-letters/discard", r#"{"letters":["0:7"]}"#).status, 200);
    assert_eq!((open(""), open("?text=id")), ((0, 0), (0, 0)));
    let none = scene.run(&["replay"]);
    assert_eq!((none.code, none.last()), (Some(0), "replayed 0, failed 0, left 0"), "{:?}", none.log);
    assert_eq!(scene.settled().get(&0), Some(&9));

    for _ in 0..25 {
        assistant.transaction(&dead, 0, true, "{\"id\":%d}", 1);
    }
    assert_eq!((open("?max=3"), open("?text=id")), ((3, 25), (20, 25)));
    let some = scene.run(&["replay", "--max", "5"]);
    assert_eq!((some.code, some.last()), (Some(0), "replayed 5, failed 0, left 20"), "{:?}", some.log);
}
