//! `dead-letters replay --through`: letters are edited by programs on their way back.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::thread;
use std::time::Duration;

use super::{Ended, Scene};
use crate::support::assistant::{Header, Record};
use crate::support::kafka::Kafka;
use crate::support::{EMBEDDED, NEWEST, PATIENCE, eventually, run_on};

run_on! {
    mod kafka_4_3 on NEWEST {
        an_edited_letter_has_its_key_and_headers_and_is_handled,
        a_program_is_told_what_a_handler_is_told_and_the_error,
        what_the_program_keeps_or_fails_at_stays_and_the_rest_goes,
        a_replay_killed_while_programs_run_loses_nothing,
        a_stop_ends_the_program_and_sends_what_was_edited,
        a_program_that_vanishes_ends_the_replay,
    }
    mod embedded on EMBEDDED {
        an_edited_letter_has_its_key_and_headers_and_is_handled,
        a_program_is_told_what_a_handler_is_told_and_the_error,
        what_the_program_keeps_or_fails_at_stays_and_the_rest_goes,
        a_replay_killed_while_programs_run_loses_nothing,
        a_stop_ends_the_program_and_sends_what_was_edited,
        a_program_that_vanishes_ends_the_replay,
    }
}

/// The words for a replay through a script, which has the scene's folder as `$1`.
fn through<'a>(script: &'a str, folder: &'a str) -> Vec<&'a str> {
    vec!["replay", "--through", "sh", "--", "-c", script, "sh", folder]
}

fn folder(scene: &Scene<'_>) -> String {
    scene.folder.path().display().to_string()
}

/// The values in the topic.
fn values(scene: &Scene<'_>) -> Vec<String> {
    let value = |record: Record| String::from_utf8(record.value.unwrap_or_default()).unwrap();
    scene.messages().into_iter().map(value).collect()
}

fn an_edited_letter_has_its_key_and_headers_and_is_handled(version: &'static str) {
    let scene = Scene::new(Kafka::shared(version), 2);
    let assistant = scene.kafka.assistant();
    let own: [Header; 2] = [("h".to_owned(), Some(vec![0, 0xff])), ("nada".to_owned(), None)];
    assistant.put_with(&scene.topic, 1, Some(&[0xfe, 0]), Some(b"{\"bad\":1}"), &own);
    assistant.put_with(&scene.topic, 0, None, Some(b"{\"bad\":2}"), &[]);
    let _consumer = scene.consumer();
    scene.wait_for_commits();
    let replay = scene.run(&["replay", "--through", "sed", "--", "s/bad/good/"]);
    assert_eq!(
        (replay.code, replay.last()),
        (Some(0), "replayed 2, failed 0, kept 0, left 0"),
        "{:?} {:?}",
        replay.lines,
        replay.log
    );
    scene.wait_for_commits();
    let mut handled = scene.handled();
    handled.sort();
    assert_eq!(handled, ["{\"good\":1}", "{\"good\":2}"]);
    let again = scene.messages().into_iter().filter(|message| message.offset == 1);
    let again: BTreeMap<i32, Record> = again.map(|message| (message.partition, message)).collect();
    let replays = ("point-to-point-replays".to_owned(), Some(b"1".to_vec()));
    assert_eq!(again[&1].key.as_deref(), Some(&[0xfe, 0][..]));
    assert_eq!(again[&1].headers, [&own[..], &[replays]].concat());
    assert_eq!((&again[&0].key, again[&0].value.as_deref()), (&None, Some(&b"{\"good\":2}"[..])));
}

fn a_program_is_told_what_a_handler_is_told_and_the_error(version: &'static str) {
    let scene = Scene::new(Kafka::shared(version), 2);
    scene.kafka.assistant().put(&scene.topic, 1, Some(b"k"), Some(b"{\"id\":0}"));
    scene.kafka.assistant().put(&scene.topic, 1, Some(b"k"), Some(b"{\"bad\":1}"));
    let mut consumer = scene.consumer();
    scene.wait_for_commits();
    consumer.stop();
    let script = "printf %s \"$POINT_TO_POINT_TOPIC $POINT_TO_POINT_PARTITION:$POINT_TO_POINT_OFFSET \
                  $POINT_TO_POINT_KEY $POINT_TO_POINT_ATTEMPT $POINT_TO_POINT_HEADERS\"";
    let replay = scene.run(&through(script, &folder(&scene)));
    assert_eq!(replay.code, Some(0), "{:?} {:?}", replay.lines, replay.log);
    let told = values(&scene).pop().unwrap();
    assert!(told.starts_with(&format!("{} 1:1 k 1 [{{", scene.topic)), "{told}");
    let error =
        "{\"name\":\"kafka_dlt-exception-message\",\"value\":\"the handler ended with exit status: 1\"}";
    assert!(told.contains(error), "{told}");
}

fn what_the_program_keeps_or_fails_at_stays_and_the_rest_goes(version: &'static str) {
    const EACH: usize = 9;
    let scene = Scene::with_letters(Kafka::shared(version), 1, EACH);
    let script = "b=$(cat); case $b in *:0}) exit 65;; *:2}) exit 3;; *:4}) exit 0;; *:5}) kill -9 $$;; \
                  *:6}) sleep 600;; *:7}) head -c 2000000 /dev/zero; exit 0;; esac; printf %s \"$b\"";
    let limit = ["replay", "--set", "consumer.handler_timeout_ms=10000"];
    let replay = scene.run(&[&limit, &through(script, &folder(&scene))[1..]].concat());
    assert_eq!(
        (replay.code, replay.last()),
        (Some(1), "replayed 3, failed 5, kept 1, left 6"),
        "{:?} {:?}",
        replay.lines,
        replay.log
    );
    for line in [
        "kept: letter=0:0",
        "failed: letter=0:2: the program ended with exit status: 3",
        "failed: letter=0:4: the program ended with success, but printed nothing",
        "failed: letter=0:5: the program ended with signal: 9",
        "failed: letter=0:6: the program took longer than 10000 ms and was killed",
        "failed: letter=0:7: the broker refuses it: ",
    ] {
        assert_eq!(replay.count(line), 1, "{line}: {:?}", replay.lines);
    }
    assert_eq!(scene.listed(&[]), ["0:0", "0:2", "0:4", "0:5", "0:6", "0:7"]);
    // To keep is what was asked.
    let kept = scene.run(&through("exit 65", ""));
    assert_eq!((kept.code, kept.last()), (Some(0), "replayed 0, failed 0, kept 6, left 6"));
    let some = scene.run(&["replay", "--through", "cat", "0:4", "--max", "3"]);
    assert_eq!((some.code, some.last()), (Some(0), "replayed 1, failed 0, kept 0, left 5"));
    assert_eq!(scene.run(&["replay", "--through", "cat"]).code, Some(0));
    assert_eq!(scene.check_copies(1, EACH), 0);
}

fn a_replay_killed_while_programs_run_loses_nothing(version: &'static str) {
    const EACH: usize = 150;
    let scene = Scene::with_letters(Kafka::shared(version), 2, EACH);
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut kills = 0;
    for _ in 0..3 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mut replay = scene.start(&["replay", "--through", "cat"]).start();
        let told = 1 + (random >> 33) as usize % 40;
        eventually("so many letters are told, or all", PATIENCE, || {
            (replay.lines().len() >= told || replay.exit_status().is_some()).then_some(())
        });
        // Some way into what comes next: programs, a batch, a commit.
        thread::sleep(Duration::from_millis((random >> 20) % 300));
        if replay.exit_status().is_none() {
            replay.signal("KILL");
        }
        kills += usize::from(replay.wait(PATIENCE).is_none());
    }
    let end = scene.run(&["replay", "--through", "cat"]);
    let last = end.last().to_owned();
    assert!(end.code == Some(0) && last.ends_with("failed 0, kept 0, left 0"), "{last} {:?}", end.log);
    let repeated = scene.check_copies(2, EACH);
    assert!(kills > 0, "it was never killed");
    assert!(repeated <= kills * 100, "{repeated} after {kills} kills");
}

fn a_stop_ends_the_program_and_sends_what_was_edited(version: &'static str) {
    let scene = Scene::with_letters(Kafka::shared(version), 1, 3);
    let folder = folder(&scene);
    let script = "b=$(cat); case $b in *:1}) touch $1/running; sleep 600;; esac; printf %s \"$b\"";
    let replay = scene.start(&through(script, &folder)).start();
    eventually("the second program runs", PATIENCE, || {
        scene.folder.path().join("running").exists().then_some(())
    });
    replay.signal("TERM");
    let replay = Ended::of(replay);
    assert_eq!(
        (replay.code, replay.last()),
        (Some(1), "replayed 1, failed 0, kept 0, left 2"),
        "{:?}",
        replay.log
    );
    assert!(replay.complains("it ended early: the replay was stopped"), "{:?}", replay.log);
    assert_eq!(scene.run(&["replay", "--through", "cat"]).code, Some(0));
    assert_eq!(scene.check_copies(1, 3), 0);
}

fn a_program_that_vanishes_ends_the_replay(version: &'static str) {
    let scene = Scene::with_letters(Kafka::shared(version), 1, 3);
    let program = scene.folder.path().join("edit");
    fs::write(&program, "#!/bin/sh\nrm \"$0\"\ncat\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let words = ["replay", "--through", program.to_str().unwrap()];
    let replay = scene.run(&words);
    assert_eq!((replay.code, replay.last()), (Some(1), "replayed 1, failed 0, kept 0, left 2"));
    assert!(replay.complains("it ended early: the program cannot be started: "), "{:?}", replay.log);
    let again = scene.run(&words);
    assert_eq!((again.code, again.lines.len()), (Some(2), 0));
    assert!(again.complains("--through: there is no program"), "{:?}", again.log);
    assert_eq!(scene.listed(&[]), ["0:1", "0:2"]);
}
