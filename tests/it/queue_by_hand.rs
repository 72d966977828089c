//! What waits in a work queue is seen from another process, attempted when an administrator says so, or put
//! aside; and a consumer that pauses says so.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use client::Cluster;
use client::coordinator::{Commit, Coordinator, Membership};
use client::topic_id::TopicIds;
use point_to_point::config::Settings;
use point_to_point::queue::wishes::{LIFETIME, Wish, group_of};

use crate::support::kafka::Kafka;
use crate::support::metrics::{Scrape, get};
use crate::support::ports::free_port;
use crate::support::program::{Program, Start, WAITING, binary};
use crate::support::watchdog::Folder;
use crate::support::{EMBEDDED, NEWEST, PATIENCE, eventually, eventually_equal, run_on, unique};

run_on! {
    mod kafka_4_3 on NEWEST {
        what_waits_is_seen_and_attempted_by_hand,
        what_waits_is_put_aside_by_hand,
        nobody_takes_a_wish_that_has_no_owner_or_is_old,
        a_consumer_that_pauses_says_so_everywhere,
        a_consumer_whose_handler_vanished_says_so_everywhere_until_it_is_back,
    }
    mod embedded on EMBEDDED {
        what_waits_is_seen_and_attempted_by_hand,
        what_waits_is_put_aside_by_hand,
        nobody_takes_a_wish_that_has_no_owner_or_is_old,
        a_consumer_that_pauses_says_so_everywhere,
        a_consumer_whose_handler_vanished_says_so_everywhere_until_it_is_back,
    }
}

/// A topic with a consumer whose waits are longer than any test.
struct Scene {
    kafka: &'static Kafka,
    topic: String,
    group: String,
    folder: Folder,
    metrics: SocketAddr,
}

impl Scene {
    fn new(version: &'static str, partitions: u32) -> Scene {
        let (kafka, topic, group) = (Kafka::shared(version), unique("espera"), unique("grupo"));
        kafka.assistant().create_topic(&topic, partitions, 1, &[]);
        let metrics = SocketAddr::from(([127, 0, 0, 1], free_port()));
        Scene { kafka, topic, group, folder: Folder::new("by-hand"), metrics }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn put(&self, partition: i32, key: &str, value: &str) {
        self.kafka.assistant().put(&self.topic, partition, Some(key.as_bytes()), Some(value.as_bytes()));
    }

    /// Writes the handler, a program that fails at what has "bad" in it until there is a file "well".
    fn write_handler(&self) {
        let folder = self.folder.path().display().to_string();
        let script = format!(
            "#!/bin/sh\nb=$(cat)\ncase $b in *bad*) test -e {folder}/well || exit 1;; esac\n\
             echo $b >> {folder}/handled\n"
        );
        // Complete when it gets its name.
        fs::write(self.path("new"), script).unwrap();
        fs::set_permissions(self.path("new"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(self.path("new"), self.path("handler")).unwrap();
    }

    fn consumer(&self) -> Program {
        self.consumer_with(&[])
    }

    fn consumer_with(&self, settings: &[(&str, &str)]) -> Program {
        self.write_handler();
        let handler = serde_json::to_string(&[self.path("handler").display().to_string()]).unwrap();
        let start = Program::consumer_start(self.kafka, "consumer1", &self.topic, &self.group);
        let start = start.set("consumer.handler", &handler).set("consumer.concurrency", "4");
        let start = start.set("retry.initial_backoff_ms", "600000").set("retry.max_backoff_ms", "600000");
        let start = start.set("consumer.metrics_listen", &self.metrics.to_string());
        let consumer = settings.iter().fold(start, |start, (key, value)| start.set(key, value)).start();
        consumer.wait_for_line(WAITING, PATIENCE);
        consumer
    }

    fn handled(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path("handled")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Runs a subcommand of the default program: its exit status, and the lines on its standard output.
    fn run(&self, words: &[&str]) -> (Option<i32>, Vec<String>) {
        let command = Start::command(words[0], Command::new(binary("point-to-point"))).arguments(words);
        let command = command.on(self.kafka).set("kafka.topic", &self.topic).set("log.file", "");
        let mut program = command.set("consumer.group", &self.group).start();
        let code = program.wait(PATIENCE);
        program.wait_for_outputs();
        (code, program.lines())
    }

    /// The last cells of the group's row of a partition: OPEN, WAITING, NEXT-DUE, PAUSED.
    fn status(&self, partition: i32) -> Option<Vec<String>> {
        let (code, lines) = self.run(&["status"]);
        assert_eq!(code, Some(0), "{lines:?}");
        let rows = lines.iter().map(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
        let is_ours = |row: &Vec<String>| {
            row.len() == 11 && row[..3] == [self.group.clone(), self.topic.clone(), partition.to_string()]
        };
        rows.into_iter().find(is_ours).map(|row| row[7..].to_vec())
    }

    fn wait_for_waiting(&self, partition: i32, open: &str, waiting: &str) -> String {
        eventually(&format!("{waiting} waiting of {open} open"), PATIENCE, || {
            let row = self.status(partition)?;
            (row[0] == open && row[1] == waiting).then(|| row[2].clone())
        })
    }

    fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        Scrape::of(self.metrics).value(&format!("point_to_point_consumer_{name}"), labels)
    }
}

fn what_waits_is_seen_and_attempted_by_hand(version: &'static str) {
    let scene = Scene::new(version, 1);
    let _consumer = scene.consumer();
    for (key, value) in [("a", "1"), ("b", "\"bad\""), ("c", "3")] {
        scene.put(0, key, value);
    }
    let due = scene.wait_for_waiting(0, "1", "1");
    assert!(due.len() == 24 && due.ends_with('Z'), "{due}");
    eventually_equal("the others are handled", &vec!["1".to_owned(), "3".to_owned()], || {
        let mut handled = scene.handled();
        handled.sort();
        handled
    });
    let (_, lines) = scene.run(&["status", "--open"]);
    let explained = |line: &String| line.starts_with("LAG counts from the lowest open offset");
    assert_eq!(lines.iter().filter(|line| explained(line)).count(), 1, "{lines:?}");
    let row: Vec<&str> = vec![&scene.group, &scene.topic, "0:1", "1", "0", &due, "b", "\"bad\""];
    for words in [&["status", "--open"][..], &["queue", "list"]] {
        let (code, lines) = scene.run(words);
        let found = lines.iter().any(|line| line.split_whitespace().eq(row.iter().copied()));
        assert!(code == Some(0) && found, "no {row:?} in {lines:?}");
    }
    let of_topic = [("topic", scene.topic.as_str())];
    eventually_equal("the gauges follow", &[1.0, 0.0, 1.0], || {
        ["messages_open", "messages_leased", "messages_waiting"].map(|name| scene.metric(name, &of_topic))
    });
    assert!(scene.metric("note_characters", &of_topic) > 0.0);
    assert_eq!(scene.metric("outcomes_total", &[("outcome", "handled")]), 2.0);
    assert_eq!(scene.metric("outcomes_total", &[("outcome", "failed")]), 1.0);
    eventually("it grows old", PATIENCE, || {
        (scene.metric("oldest_open_message_age_seconds", &of_topic) > 1.0).then_some(())
    });

    fs::write(scene.path("well"), "").unwrap();
    let asked = scene.run(&["queue", "retry-now", "0:1"]);
    assert_eq!(asked, (Some(0), vec!["attempted: message=0:1".to_owned()]));
    eventually("it is handled", PATIENCE, || (scene.handled().len() == 3).then_some(()));
    scene.kafka.assistant().wait_for_commits(&scene.group, &scene.topic);
    assert_eq!(scene.run(&["queue", "list"]), (Some(0), vec!["no message waits".to_owned()]));
    let again = scene.run(&["queue", "retry-now", "0:1", "0:7"]);
    let failed = |name| format!("failed: message={name}: it does not wait for an attempt");
    assert_eq!(again, (Some(1), vec![failed("0:1"), failed("0:7")]));
}

fn what_waits_is_put_aside_by_hand(version: &'static str) {
    let scene = Scene::new(version, 1);
    let _consumer = scene.consumer();
    // The second has to wait for the first.
    for (key, value) in [("k", "\"bad\""), ("k", "2"), ("l", "\"bad\""), ("m", "\"bad\"")] {
        scene.put(0, key, value);
    }
    scene.wait_for_waiting(0, "4", "3");
    // Commands at the same time do not undo each other's wishes.
    thread::scope(|scope| {
        for name in ["0:0", "0:2", "0:3"] {
            let scene = &scene;
            let ask = move || scene.run(&["queue", "put-aside", name]);
            let asked = scope.spawn(ask);
            let told = format!("put aside: message={name}");
            scope.spawn(move || assert_eq!(asked.join().expect("it ran"), (Some(0), vec![told])));
        }
    });
    scene.kafka.assistant().wait_for_commits(&scene.group, &scene.topic);
    assert_eq!(scene.handled(), ["2"]);
    let (_, letters) = scene.run(&["dead-letters", "list"]);
    let told = letters.iter().filter(|line| line.contains("put aside by hand")).count();
    assert_eq!((letters.len(), told), (4, 3), "{letters:?}");
    let (_, status) = scene.run(&["status"]);
    assert!(!status.iter().any(|line| line.contains(&group_of(&scene.group))), "{status:?}");
}

fn nobody_takes_a_wish_that_has_no_owner_or_is_old(version: &'static str) {
    let scene = Scene::new(version, 2);
    let mut consumer = scene.consumer();
    for partition in [0, 1] {
        scene.put(partition, "k", "\"bad\"");
        scene.wait_for_waiting(partition, "1", "1");
    }
    consumer.stop();
    let asked = scene.run(&["queue", "put-aside", "1:0"]);
    let nobody = format!("failed: message=1:0: no consumer of {} owns partition 1", scene.group);
    assert_eq!(asked, (Some(1), vec![nobody]));

    let now = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap();
    let wish = |at| Wish { at, retry: Vec::new(), aside: vec![0] }.text();
    let commit = |partition, metadata| Commit { topic: scene.topic.clone(), partition, offset: 0, metadata };
    let commits = [commit(0, wish(now - LIFETIME - 10_000)), commit(1, wish(now))];
    let mut settings = Settings::default();
    settings.kafka.bootstrap_servers = vec![scene.kafka.bootstrap()];
    let cluster = Arc::new(Cluster::new(settings.cluster()));
    let mut wishes = Coordinator::new(cluster, &group_of(&scene.group), "test");
    let deadline = Instant::now() + Duration::from_secs(20);
    let codes = wishes.commit(&Membership::none(), &commits, &TopicIds::new(), deadline).unwrap();
    assert!(codes.values().all(|code| code.is_ok()), "{codes:?}");
    let _next = scene.consumer();
    // Both are seen in one look.
    scene.wait_for_waiting(1, "0", "0");
    scene.wait_for_waiting(0, "1", "1");
}

fn a_consumer_that_pauses_says_so_everywhere(version: &'static str) {
    let scene = Scene::new(version, 1);
    let _consumer = scene.consumer_with(&[("consumer.circuit_failures", "1")]);
    let ready = || get(scene.metrics, "/readyz").status;
    eventually_equal("it is ready", &200, ready);
    scene.put(0, "a", "\"bad\"");
    eventually_equal("it is not ready", &503, ready);
    let said = get(scene.metrics, "/readyz").json()["message"].as_str().unwrap_or_default().to_owned();
    assert!(said.starts_with("The consumer pauses: the handler ended with exit status: 1"), "{said}");
    let paused = || scene.status(0).map(|row| row[3].clone());
    eventually_equal("status says so", &Some("yes".to_owned()), paused);
    let reasons = || ["handler", "failures"].map(|reason| scene.metric("paused", &[("reason", reason)]));
    assert_eq!(reasons(), [0.0, 1.0]);
    // What is put aside in a pause is no try of the handler.
    let asked = scene.run(&["queue", "put-aside", "0:0"]);
    assert_eq!(asked, (Some(0), vec!["put aside: message=0:0".to_owned()]));
    assert_eq!(ready(), 503);
    scene.put(0, "a", "2");
    eventually_equal("it is ready again", &200, ready);
    eventually_equal("status says so", &Some("no".to_owned()), paused);
    assert_eq!((scene.handled(), reasons()), (vec!["2".to_owned()], [0.0, 0.0]));
}

fn a_consumer_whose_handler_vanished_says_so_everywhere_until_it_is_back(version: &'static str) {
    let scene = Scene::new(version, 1);
    let consumer = scene.consumer();
    let ready = || get(scene.metrics, "/readyz").status;
    let paused = || scene.status(0).map(|row| row[3].clone());
    let reasons = || ["handler", "failures"].map(|reason| scene.metric("paused", &[("reason", reason)]));
    eventually_equal("it is ready", &200, ready);
    fs::rename(scene.path("handler"), scene.path("gone")).unwrap();
    scene.put(0, "a", "1");
    eventually_equal("it is not ready", &503, ready);
    let said = get(scene.metrics, "/readyz").json()["message"].as_str().unwrap_or_default().to_owned();
    assert!(said.starts_with("The consumer pauses: the handler cannot be started: No such file"), "{said}");
    eventually_equal("status says so", &Some("yes".to_owned()), paused);
    assert_eq!(reasons(), [1.0, 0.0]);
    consumer.wait_for_log(&["consumer1 pauses: the handler cannot be started: No such file"], PATIENCE);
    fs::rename(scene.path("gone"), scene.path("handler")).unwrap();
    consumer.wait_for_log(&["consumer1 goes on"], PATIENCE);
    eventually_equal("it is ready again", &200, ready);
    eventually_equal("status says so", &Some("no".to_owned()), paused);
    assert_eq!((scene.handled(), reasons()), (vec!["1".to_owned()], [0.0, 0.0]));
}
