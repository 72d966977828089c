//! `point-to-point dead-letters`: what could not be handled is listed, shown, replayed and discarded, and no
//! letter is lost, whatever dies when.

mod places;
mod search;
mod stderr;
mod through;
mod topics;
mod trouble;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::assistant::{Header, Record};
use crate::support::kafka::Kafka;
use crate::support::ports::free_port;
use crate::support::program::{Program, Start, WAITING, binary};
use crate::support::watchdog::Folder;
use crate::support::{EMBEDDED, NEWEST, OLDEST, PATIENCE, eventually, eventually_equal, run_on, unique};
use point_to_point::config::Settings;
use point_to_point::dead_letters::{DeadLetterBrowser, DeadLetterId};

run_on! {
    mod kafka_4_3 on NEWEST {
        what_failed_is_listed_shown_and_replayed_until_it_is_handled,
        a_replayed_message_is_what_it_was,
        a_letter_that_fails_again_comes_back_with_its_count_and_the_replay_ends,
        a_replay_killed_anywhere_loses_nothing,
        a_replay_that_is_stopped_leaves_the_rest_and_the_next_one_repeats_nothing,
        a_replay_outlasts_an_outage as HEAVY,
        of_two_replays_one_is_refused,
        a_frozen_replay_settles_nothing_when_it_thaws,
        what_cannot_go_back_is_told_and_stays,
        what_is_discarded_goes_nowhere,
        more_settled_out_of_order_than_fits_is_refused_and_nothing_is_lost,
        what_is_gone_or_no_letter_is_stepped_over,
        without_dead_letters_there_is_nothing_to_do,
        the_newest_are_found_behind_what_is_settled,
    }
    mod kafka_3_9 on OLDEST {
        of_two_replays_one_is_refused,
        a_frozen_replay_settles_nothing_when_it_thaws,
        a_replay_outlasts_an_outage as HEAVY,
    }
    mod embedded on EMBEDDED {
        what_failed_is_listed_shown_and_replayed_until_it_is_handled,
        a_replayed_message_is_what_it_was,
        a_letter_that_fails_again_comes_back_with_its_count_and_the_replay_ends,
        a_replay_killed_anywhere_loses_nothing,
        a_replay_that_is_stopped_leaves_the_rest_and_the_next_one_repeats_nothing,
        a_replay_outlasts_an_outage as HEAVY,
        of_two_replays_one_is_refused,
        a_frozen_replay_settles_nothing_when_it_thaws,
        what_cannot_go_back_is_told_and_stays,
        what_is_discarded_goes_nowhere,
        more_settled_out_of_order_than_fits_is_refused_and_nothing_is_lost,
        without_dead_letters_there_is_nothing_to_do,
        the_newest_are_found_behind_what_is_settled,
        where_nobody_serves_the_broker_the_letters_are_there_all_the_same,
    }
}

/// The seconds after which a member that died is out; no less on a Kafka as it comes.
const SESSION_MS: &str = "6000";

/// A topic and that of its dead letters.
struct Scene<'a> {
    kafka: &'a Kafka,
    topic: String,
    group: String,
    folder: Folder,
}

/// What a program that has ended printed.
struct Ended {
    code: Option<i32>,
    lines: Vec<String>,
    log: Vec<String>,
}

impl Ended {
    fn of(mut program: Program) -> Ended {
        let code = program.wait(PATIENCE);
        program.wait_for_outputs();
        Ended { code, lines: program.lines(), log: program.log() }
    }

    fn last(&self) -> &str {
        self.lines.last().map(String::as_str).unwrap_or_default()
    }

    fn count(&self, beginning: &str) -> usize {
        self.lines.iter().filter(|line| line.starts_with(beginning)).count()
    }

    fn complains(&self, text: &str) -> bool {
        self.log.iter().any(|line| line.contains(text))
    }
}

impl Scene<'_> {
    fn new(kafka: &Kafka, partitions: u32) -> Scene<'_> {
        let (topic, group) = (unique("pedidos"), unique("grupo"));
        kafka.assistant().create_topic(&topic, partitions, 1, &[]);
        Scene { kafka, topic, group, folder: Folder::new("letters") }
    }

    /// With so many dead letters, numbered in each partition, that say nothing of where they came from.
    fn with_letters(kafka: &Kafka, partitions: u32, each: usize) -> Scene<'_> {
        let scene = Scene::new(kafka, partitions);
        kafka.assistant().create_topic(&scene.dead(), partitions, 1, &[]);
        for partition in 0..partitions {
            let template = format!("{{\"partition\":{partition},\"id\":%d}}");
            kafka.assistant().produce(&scene.dead(), "none", partition as i32, &template, each);
        }
        scene
    }

    fn dead(&self) -> String {
        format!("{}-dlt", self.topic)
    }

    fn start(&self, words: &[&str]) -> Start {
        let command = Command::new(binary("point-to-point"));
        let start = Start::command("dead-letters", command).arguments(&["dead-letters"]).on(self.kafka);
        let start = start.set("kafka.topic", &self.topic).set("log.file", "");
        // The words may end with arguments of a program.
        start.set("consumer.session_timeout_ms", SESSION_MS).arguments(words)
    }

    fn run(&self, words: &[&str]) -> Ended {
        Ended::of(self.start(words).start())
    }

    /// The names of the letters that are listed.
    fn listed(&self, words: &[&str]) -> Vec<String> {
        let list = self.run(&[&["list"], words].concat());
        assert_eq!((list.code, list.log.len()), (Some(0), 0), "{:?}", list.log);
        let rows = list.lines.iter().filter(|line| !line.starts_with("LETTER") && !line.starts_with("no "));
        rows.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
    }

    /// A consumer whose handler fails on what has "bad" in it, until the file "well" is there.
    fn consumer(&self) -> Program {
        let script = "b=$(cat); echo $POINT_TO_POINT_PARTITION:$POINT_TO_POINT_OFFSET $b >> $1/tried; \
                      case $b in *bad*) test -e $1/well || exit 1;; esac; echo $b >> $1/handled";
        let folder = self.folder.path().display().to_string();
        let command = serde_json::to_string(&["sh", "-c", script, "sh", &folder]).unwrap();
        let start = Program::consumer_start(self.kafka, "consumer1", &self.topic, &self.group);
        let consumer = start.set("consumer.handler", &command).set("retry.max_attempts", "1").start();
        consumer.wait_for_line(WAITING, PATIENCE);
        consumer
    }

    fn wait_for_commits(&self) {
        self.kafka.assistant().wait_for_commits(&self.group, &self.topic);
    }

    fn well(&self) {
        fs::write(self.folder.path().join("well"), "").unwrap();
    }

    fn handled(&self) -> Vec<String> {
        let text = fs::read_to_string(self.folder.path().join("handled")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn messages(&self) -> Vec<Record> {
        self.kafka.assistant().read(&self.topic, false)
    }

    /// How often each message of [`Scene::with_letters`] is in the topic.
    fn copies(&self) -> BTreeMap<(i32, Vec<u8>), usize> {
        let mut copies = BTreeMap::new();
        for message in self.messages() {
            *copies.entry((message.partition, message.value.unwrap_or_default())).or_default() += 1;
        }
        copies
    }

    /// All of the letters are in the topic, in their partitions; gives how many more than that there are.
    fn check_copies(&self, partitions: i32, each: usize) -> usize {
        let copies = self.copies();
        for (partition, id) in (0..partitions).flat_map(|p| (0..each).map(move |id| (p, id))) {
            let value = format!("{{\"partition\":{partition},\"id\":{id}}}").into_bytes();
            assert!(copies.contains_key(&(partition, value)), "letter {id} of {partition} is lost");
        }
        assert_eq!(copies.len(), partitions as usize * each);
        copies.values().sum::<usize>() - copies.len()
    }

    fn settled(&self) -> BTreeMap<i32, i64> {
        self.kafka.assistant().committed(&format!("{}-settled", self.dead()), &self.dead())
    }
}

fn texts<T: ToString>(texts: &[T]) -> Vec<String> {
    texts.iter().map(T::to_string).collect()
}

fn what_failed_is_listed_shown_and_replayed_until_it_is_handled(version: &'static str) {
    let scene = Scene::new(Kafka::shared(version), 3);
    let assistant = scene.kafka.assistant();
    for (partition, value) in
        [(0, "{\"id\":0}"), (0, "{\"bad\":1}"), (2, "{\"bad\":2}"), (2, "{\"bad\":\"\u{9b}2J\"}")]
    {
        assistant.put(&scene.topic, partition, Some(b"k"), Some(value.as_bytes()));
    }
    assistant.put(&scene.topic, 1, None, Some(b"no JSON"));
    let _consumer = scene.consumer();
    scene.wait_for_commits();

    let list = scene.run(&["list"]);
    assert_eq!((list.code, list.lines.len()), (Some(0), 5), "{:?}", list.lines);
    let row = |name: &str| list.lines.iter().find(|line| line.starts_with(name)).cloned().unwrap_or_default();
    for text in
        [" 0:1 ", &scene.group, " 0 ", "HandlerFailed: the handler ended with exit status: 1", "{\"bad\":1}"]
    {
        assert!(row("0:0").contains(text), "{text}: {:?}", list.lines);
    }
    assert!(row("1:0").contains("NotJson: ") && row("1:0").contains("no JSON"), "{:?}", list.lines);
    assert!(row("2:1").contains("{\"bad\":\"\\u{9b}2J\"}"), "{:?}", list.lines);
    assert_eq!(scene.listed(&["--partition", "2"]), ["2:0", "2:1"]);
    assert_eq!(scene.listed(&["--error", "NotJson"]), ["1:0"]);
    assert_eq!(scene.listed(&["--key", "k", "--max", "2"]).len(), 2);
    assert_eq!(scene.listed(&["--group", "other"]).len(), 0);
    assert_eq!(scene.listed(&["--since", "1h"]).len(), 4);
    assert_eq!(scene.listed(&["--since", "2100-01-01"]).len(), 0);
    let show = scene.run(&["show", "2:0"]);
    let from = format!("from       topic={} partition=2 offset=0 time=", scene.topic);
    assert!(show.lines.iter().any(|line| line.starts_with(&from)), "{:?}", show.lines);
    for line in [
        "settled    no",
        "attempts   1",
        "deaths     0",
        "error      1: the handler ended with exit status: 1",
        "key        \"k\"",
        "value      {\"bad\":2}",
    ] {
        assert!(show.lines.iter().any(|shown| shown == line), "{line}: {:?}", show.lines);
    }
    assert_eq!(scene.run(&["show", "2:7"]).code, Some(1));

    scene.well();
    let some = scene.run(&["replay", "--partition", "2"]);
    assert_eq!(
        (some.code, some.last(), some.count("replayed: ")),
        (Some(0), "replayed 2, failed 0, left 2", 2)
    );
    let listed: BTreeSet<String> = scene.listed(&[]).into_iter().collect();
    assert!(listed.iter().eq(["0:0", "1:0"]), "{listed:?}");
    let again = scene.run(&["replay", "2:0", "0:0", "2:9"]);
    assert_eq!((again.code, again.last()), (Some(1), "replayed 1, failed 0, left 1"));
    let missing = "missing: letter=2:0: it is replayed or discarded already";
    assert!(again.lines.iter().any(|line| line == missing), "{:?}", again.lines);
    assert_eq!(again.count("missing: letter=2:9: "), 1);
    assert!(scene.run(&["show", "2:0"]).lines.iter().any(|line| line == "settled    yes"));
    scene.wait_for_commits();
    let mut handled = scene.handled();
    handled.sort();
    assert_eq!(handled, ["{\"bad\":\"\u{9b}2J\"}", "{\"bad\":1}", "{\"bad\":2}", "{\"id\":0}"]);
    assert_eq!(scene.listed(&[]), ["1:0"]);
}

fn a_replayed_message_is_what_it_was(version: &'static str) {
    let scene = Scene::new(Kafka::shared(version), 2);
    let assistant = scene.kafka.assistant();
    let own: [Header; 4] = [
        ("h".to_owned(), Some(vec![0, 0xff])),
        ("nada".to_owned(), None),
        ("h".to_owned(), Some(Vec::new())),
        ("ñ".to_owned(), Some(b"x".to_vec())),
    ];
    // None of them is JSON, so each is a dead letter at once.
    type Given<'a> = (i32, Option<&'a [u8]>, Option<&'a [u8]>, &'a [Header]);
    let given: [Given<'_>; 4] = [
        (1, Some(&[0xfe, 0]), None, &own),
        (0, None, Some(b"\xff \n"), &[]),
        (1, Some(b""), Some(b""), &own[..1]),
        (0, Some(b"k"), Some(&[b'x'; 900_000]), &own),
    ];
    for (partition, key, value, headers) in given {
        assistant.put_with(&scene.topic, partition, key, value, headers);
    }
    let mut consumer = Program::consumer(scene.kafka, "consumer1", &scene.topic, &scene.group);
    scene.wait_for_commits();
    consumer.stop();
    let replay = scene.run(&["replay"]);
    assert_eq!((replay.code, replay.last()), (Some(0), "replayed 4, failed 0, left 0"), "{:?}", replay.log);
    let all = scene.messages();
    for partition in 0..2 {
        let of_partition: Vec<&Record> =
            all.iter().filter(|message| message.partition == partition).collect();
        assert_eq!(of_partition.len(), 4);
        for (before, again) in of_partition[..2].iter().zip(&of_partition[2..]) {
            assert!((&before.key, &before.value) == (&again.key, &again.value));
            let replays = ("point-to-point-replays".to_owned(), Some(b"1".to_vec()));
            assert_eq!(again.headers, [before.headers.clone(), vec![replays]].concat());
            assert!(again.timestamp >= before.timestamp);
        }
    }
}

fn a_letter_that_fails_again_comes_back_with_its_count_and_the_replay_ends(version: &'static str) {
    let scene = Scene::new(Kafka::shared(version), 1);
    scene.kafka.assistant().put(&scene.topic, 0, None, Some(b"{\"bad\":1}"));
    let _consumer = scene.consumer();
    for replays in ["1", "2"] {
        scene.wait_for_commits();
        let replay = scene.run(&["replay"]);
        assert_eq!((replay.code, replay.last()), (Some(0), "replayed 1, failed 0, left 0"));
        scene.wait_for_commits();
        assert_eq!(scene.listed(&[]), [format!("0:{replays}")]);
        let show = scene.run(&["show", &format!("0:{replays}")]);
        assert!(show.lines.iter().any(|line| *line == format!("replays    {replays}")), "{:?}", show.lines);
        assert_eq!(show.lines.iter().filter(|line| line.contains("kafka_dlt-original-topic")).count(), 1);
    }
    scene.well();
    assert_eq!(scene.run(&["replay"]).code, Some(0));
    scene.wait_for_commits();
    assert_eq!(scene.handled(), ["{\"bad\":1}"]);
}

/// Killed before, within and after the commit of what was sent.
fn a_replay_killed_anywhere_loses_nothing(version: &'static str) {
    const EACH: usize = 800;
    let scene = Scene::with_letters(Kafka::shared(version), 3, EACH);
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut kills = 0;
    for _ in 0..4 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mut replay = scene.start(&["replay"]).start();
        let told = 1 + (random >> 33) as usize % 150;
        eventually("so many letters are told, or all", PATIENCE, || {
            (replay.lines().len() >= told || replay.exit_status().is_some()).then_some(())
        });
        // Some way into what comes next, wherever that is.
        thread::sleep(Duration::from_millis((random >> 20) % 15));
        if replay.exit_status().is_none() {
            replay.signal("KILL");
        }
        kills += usize::from(replay.wait(PATIENCE).is_none());
    }
    let end = eventually("a replay to the end", PATIENCE, || Some(scene.run(&["replay"])));
    assert_eq!((end.code, end.last().ends_with("failed 0, left 0")), (Some(0), true), "{:?}", end.log);
    let repeated = scene.check_copies(3, EACH);
    assert!(kills > 0, "it was never killed");
    assert!(repeated <= kills * 100, "{repeated} after {kills} kills");
    assert_eq!(scene.settled(), BTreeMap::from([(0, 800), (1, 800), (2, 800)]));
    assert_eq!(scene.listed(&[]).len(), 0);
}

fn a_replay_that_is_stopped_leaves_the_rest_and_the_next_one_repeats_nothing(version: &'static str) {
    const EACH: usize = 2_000;
    let scene = Scene::with_letters(Kafka::shared(version), 1, EACH);
    // It stands still when the pipe is full.
    let mut replay = scene.start(&["replay"]).held().start();
    eventually("some letters are replayed", PATIENCE, || {
        scene.settled().get(&0).filter(|done| **done > 0).copied()
    });
    replay.signal("TERM");
    replay.wait_for_log(&["stopping"], PATIENCE);
    replay.release();
    let replay = Ended::of(replay);
    assert_eq!(replay.code, Some(1));
    assert!(replay.complains("it ended early: the replay was stopped"), "{:?}", replay.log);
    let done = replay.count("replayed: ");
    assert!((1..EACH).contains(&done), "{done}");
    assert_eq!(replay.last(), format!("replayed {done}, failed 0, left {}", EACH - done));
    let rest = scene.run(&["replay"]);
    assert_eq!((rest.code, rest.last()), (Some(0), &*format!("replayed {}, failed 0, left 0", EACH - done)));
    assert_eq!(scene.check_copies(1, EACH), 0);
    let values: Vec<_> = scene.messages().into_iter().map(|message| message.value).collect();
    let expected = (0..EACH).map(|id| Some(format!("{{\"partition\":0,\"id\":{id}}}").into_bytes()));
    assert!(values.into_iter().eq(expected), "in their order");
}

fn a_replay_outlasts_an_outage(version: &'static str) {
    const EACH: usize = 1_500;
    let kafka = Kafka::start(version, 1);
    let scene = Scene::with_letters(&kafka, 1, EACH);
    // Longer than any outage: a broker that comes back starts to count when it loads the group, not when it
    // answers.
    let mut replay = scene.start(&["replay"]).set("consumer.session_timeout_ms", "120000").held().start();
    eventually("some letters are replayed", PATIENCE, || {
        scene.settled().get(&0).filter(|done| **done > 0).copied()
    });
    kafka.kill_node(0);
    replay.release();
    replay.wait_for_log(&["no broker answers"], PATIENCE);
    kafka.start_node(0);
    let replay = Ended::of(replay);
    assert_eq!(
        (replay.code, replay.last()),
        (Some(0), "replayed 1500, failed 0, left 0"),
        "{:?}",
        replay.log
    );
    assert_eq!(scene.check_copies(1, EACH), 0);
}

fn of_two_replays_one_is_refused(version: &'static str) {
    const EACH: usize = 2_000;
    let scene = Scene::with_letters(Kafka::shared(version), 2, EACH);
    let mut first = scene.start(&["replay"]).held().start();
    eventually("some letters are replayed", PATIENCE, || (!scene.settled().is_empty()).then_some(()));
    for words in [&["replay"][..], &["discard", "--all"]] {
        let second = scene.run(words);
        assert_eq!((second.code, second.lines.len()), (Some(1), 0), "{:?}", second.lines);
        assert!(second.complains("another replay or discard is running"), "{:?}", second.log);
    }
    assert!(!scene.listed(&["--max", "1"]).is_empty(), "who only looks is not refused");
    first.release();
    let first = Ended::of(first);
    assert_eq!((first.code, first.last()), (Some(0), "replayed 4000, failed 0, left 0"), "{:?}", first.log);
    assert_eq!(scene.check_copies(2, EACH), 0);
}

fn a_frozen_replay_settles_nothing_when_it_thaws(version: &'static str) {
    const EACH: usize = 2_000;
    let scene = Scene::with_letters(Kafka::shared(version), 1, EACH);
    let mut frozen = scene.start(&["replay"]).held().start();
    // A full pipe stops it between two batches.
    let (mut before, mut looks) = (0, 0);
    eventually("it stands still", PATIENCE, || {
        let settled = scene.settled().get(&0).copied().unwrap_or(0);
        looks = if settled > 0 && before == settled { looks + 1 } else { 0 };
        before = settled;
        (looks > 5).then_some(())
    });
    frozen.signal("STOP");
    let next = scene.run(&["replay"]);
    assert!(
        next.code == Some(0) && next.last().ends_with("failed 0, left 0"),
        "{:?} {:?}",
        next.last(),
        next.log
    );
    frozen.signal("CONT");
    frozen.release();
    let frozen = Ended::of(frozen);
    assert_eq!(frozen.code, Some(1));
    assert!(frozen.complains("another may be settling dead letters by now"), "{:?}", frozen.log);
    let repeated = scene.check_copies(1, EACH);
    assert_eq!(repeated, 0, "it sends nothing more");
}

fn what_cannot_go_back_is_told_and_stays(version: &'static str) {
    let scene = Scene::with_letters(Kafka::shared(version), 1, 2);
    let assistant = scene.kafka.assistant();
    let gone = unique("gone");
    let header: [Header; 1] = [("kafka_dlt-original-topic".to_owned(), Some(gone.clone().into_bytes()))];
    assistant.put_with(&scene.dead(), 0, None, Some(b"1"), &header);
    // What nobody would call a topic.
    for name in [&b""[..], &[b'x'; 40_000], b"\xff /"] {
        let header = [("kafka_dlt-original-topic".to_owned(), Some(name.to_vec()))];
        assistant.put_with(&scene.dead(), 0, None, Some(b"1"), &header);
    }
    assistant.put(&scene.dead(), 0, None, Some(b"{\"partition\":0,\"id\":2}"));
    for done in ["replayed 3, failed 4, left 4", "replayed 0, failed 4, left 4"] {
        let replay = scene.run(&["replay"]);
        assert_eq!((replay.code, replay.last()), (Some(1), done));
        let failed = format!("failed: letter=0:2: there is no topic {gone}");
        assert!(replay.lines.contains(&failed), "{:?}", replay.lines);
    }
    assert_eq!(scene.check_copies(1, 3), 0);
    assistant.create_topic(&gone, 2, 1, &[]);
    assert_eq!(scene.run(&["replay", "0:2"]).code, Some(0));
    assert_eq!(scene.run(&["discard", "--all"]).last(), "discarded 3, left 0");
    assert_eq!(assistant.read(&gone, false).len(), 1);
}

fn what_is_discarded_goes_nowhere(version: &'static str) {
    let scene = Scene::with_letters(Kafka::shared(version), 2, 10);
    let unclear = scene.run(&["discard"]);
    assert_eq!((unclear.code, scene.listed(&[]).len()), (Some(2), 20));
    assert!(unclear.complains("--all"), "{:?}", unclear.log);
    let two = scene.run(&["discard", "1:3", "0:0"]);
    assert_eq!((two.code, two.last()), (Some(0), "discarded 2, left 18"), "{:?}", two.log);
    let listed: BTreeSet<String> = scene.listed(&[]).into_iter().collect();
    assert!(listed.len() == 18 && !listed.contains("1:3") && !listed.contains("0:0"));
    let some = scene.run(&["discard", "--all", "--max", "5"]);
    assert_eq!((some.code, some.last()), (Some(0), "discarded 5, left 13"));
    let rest = scene.run(&["replay"]);
    assert_eq!((rest.code, rest.last()), (Some(0), "replayed 13, failed 0, left 0"));
    assert_eq!(scene.messages().len(), 13);
}

fn more_settled_out_of_order_than_fits_is_refused_and_nothing_is_lost(version: &'static str) {
    const LETTERS: usize = 5_000;
    let scene = Scene::with_letters(Kafka::shared(version), 1, LETTERS);
    let odd: Vec<String> = (0..LETTERS).filter(|id| id % 2 == 1).map(|id| format!("0:{id}")).collect();
    let words: Vec<&str> = std::iter::once("replay").chain(odd.iter().map(String::as_str)).collect();
    let replay = scene.run(&words);
    let done = replay.count("replayed: ");
    assert_eq!(replay.code, Some(1));
    assert!((1_000..odd.len()).contains(&done), "{done}");
    assert_eq!(replay.last(), format!("replayed {done}, failed 0, left {}", LETTERS - done));
    assert!(
        replay.complains("replay or discard the oldest of partition 0 first, from 0:0 on"),
        "{:?}",
        replay.log
    );
    let rest = scene.run(&["replay"]);
    assert_eq!(
        (rest.code, rest.last()),
        (Some(0), &*format!("replayed {}, failed 0, left 0", LETTERS - done))
    );
    assert_eq!(scene.check_copies(1, LETTERS), 0);
}

/// Dead letters that were removed as too old, and the markers of transactions.
fn what_is_gone_or_no_letter_is_stepped_over(version: &'static str) {
    let scene = Scene::with_letters(Kafka::shared(version), 1, 5);
    let assistant = scene.kafka.assistant();
    assistant.transaction(&scene.dead(), 0, true, "{\"partition\":0,\"id\":%d}", 5);
    assistant.trim(&scene.dead(), 0, 3);
    assert_eq!(scene.listed(&[]), ["0:3", "0:4", "0:5", "0:6", "0:7", "0:8", "0:9"]);
    let gone = scene.run(&["replay", "0:1", "0:4"]);
    assert_eq!((gone.code, gone.count("missing: letter=0:1")), (Some(1), 1));
    assistant.put(&scene.dead(), 0, None, Some(b"{\"partition\":0,\"id\":9}"));
    let rest = scene.run(&["replay"]);
    assert_eq!((rest.code, rest.last()), (Some(0), "replayed 7, failed 0, left 0"), "{:?}", rest.log);
    assert_eq!(scene.settled(), BTreeMap::from([(0, 12)]), "over the marker");
}

fn without_dead_letters_there_is_nothing_to_do(version: &'static str) {
    let scene = Scene::new(Kafka::shared(version), 1);
    let list = scene.run(&["list"]);
    assert_eq!((list.code, list.lines), (Some(0), texts(&["no dead letters"])));
    let replay = scene.run(&["replay"]);
    assert_eq!((replay.code, replay.last()), (Some(0), "replayed 0, failed 0, left 0"));
    assert_eq!(scene.run(&["replay", "0:0"]).code, Some(1));
    assert_eq!(scene.run(&[]).code, Some(2));
    let topics = scene.kafka.assistant().ask(&["topics"]);
    assert!(topics.iter().all(|words| words[0] != scene.dead()), "who looks creates nothing");
}

fn the_newest_are_found_behind_what_is_settled(version: &'static str) {
    let scene = Scene::with_letters(Kafka::shared(version), 2, 50);
    let mut settings = Settings::default();
    settings.kafka.bootstrap_servers = vec![scene.kafka.bootstrap()];
    settings.kafka.topic = scene.topic.clone();
    let browser = DeadLetterBrowser::new(&settings.dead_letter_browser());
    let newest = |count| -> Vec<DeadLetterId> {
        let letters = browser.newest(count, Instant::now() + PATIENCE).unwrap();
        letters.iter().map(|letter| letter.id).collect()
    };
    assert_eq!(texts(&newest(2)), ["1:48", "1:49"], "they came last");
    let late: Vec<String> = (5..50).map(|offset| format!("1:{offset}")).collect();
    let words: Vec<&str> = std::iter::once("discard").chain(late.iter().map(String::as_str)).collect();
    assert_eq!(scene.run(&words).code, Some(0));
    assert_eq!(texts(&newest(2)), ["1:3", "1:4"]);
    assert_eq!(newest(100).len(), 55);
    assert!(newest(0).is_empty());
}

fn where_nobody_serves_the_broker_the_letters_are_there_all_the_same(_: &'static str) {
    let folder = Folder::new("alone");
    let data = folder.path().join("data").display().to_string();
    let listen = format!("127.0.0.1:{}", free_port());
    let place = |start: Start| {
        let start = start.set("embedded.listen", &listen).set("embedded.data_dir", &data);
        start.set("log.file", "").set("kafka.bootstrap_servers", "[]")
    };
    let run = |words: &[&str]| {
        let command = Command::new(binary("point-to-point"));
        Ended::of(place(Start::command("dead-letters", command).arguments(words)).start())
    };
    let nothing = run(&["dead-letters", "list"]);
    assert_eq!(nothing.code, Some(1));
    assert!(nothing.complains("nothing is stored yet"), "{:?}", nothing.log);
    let mut producer = place(Start::program("producer")).with_input().start();
    producer.write_line("{\"id\":1}");
    producer.close_input();
    assert_eq!(producer.wait(PATIENCE), Some(0));
    let failing = place(Start::program("consumer1")).set("consumer.handler", "[\"false\"]");
    let mut consumer = failing.set("retry.max_attempts", "1").start();
    consumer.wait_for_log(&["dead letter", "is now at offset 0"], PATIENCE);
    consumer.stop();
    assert_eq!(run(&["dead-letters", "list"]).lines.len(), 2);
    assert_eq!(run(&["dead-letters", "replay"]).last(), "replayed 1, failed 0, left 0");
    let mut consumer = place(Start::program("consumer1")).start();
    consumer.wait_for_messages(1, PATIENCE);
    consumer.stop();
    eventually_equal("nothing is left", &texts(&["no dead letters"]), || {
        run(&["dead-letters", "list"]).lines
    });
}
