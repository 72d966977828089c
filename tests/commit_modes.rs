//! When offsets are committed, and what a consumer that is killed repeats because of it.

mod support;

use std::fs;
use std::ops::Range;

use support::kafka::Kafka;
use support::program::Program;
use support::watchdog::Folder;
use support::{EMBEDDED, NEWEST, PATIENCE, eventually, run_on, unique};

run_on! {
    mod kafka_4_3 on NEWEST {
        killed_in_the_middle_of_a_poll_it_repeats_the_poll_or_one_message,
    }
    mod embedded on EMBEDDED {
        killed_in_the_middle_of_a_poll_it_repeats_the_poll_or_one_message,
        a_stop_in_the_middle_of_a_poll_commits_what_is_handled,
    }
}

/// The messages of one partition, which one poll brings.
const MESSAGES: u64 = 40;

/// The message over which the consumer is killed, or stopped.
const LAST: u64 = 5;

/// Notes each message in the file `handled`; sends the consumer a signal, `$2`, over the message [`LAST`], once.
const SCRIPT: &str = r#"
read -r message
echo "$message" >>"$1/handled"
if [ "$message" = 5 ] && ! [ -e "$1/signalled" ]; then
    : >"$1/signalled"
    kill -s "$2" "$PPID"
fi
"#;

/// What is handled, run for run, where the first ends over [`LAST`] by `signal`.
fn handled(kafka: &Kafka, mode: &str, signal: &str) -> (Vec<u64>, Vec<u64>) {
    let (topic, group, folder) = (unique("pedidos"), unique("grupo"), Folder::new("commit"));
    kafka.assistant().create_topic(&topic, 1, 1, &[]);
    for number in 0..MESSAGES {
        kafka.assistant().put(&topic, 0, None, Some(number.to_string().as_bytes()));
    }
    let path = folder.path().display().to_string();
    let command = serde_json::to_string(&["sh", "-c", SCRIPT, "sh", &path, signal]).expect("JSON");
    let start = || {
        let start = Program::consumer_start(kafka, "consumer1", &topic, &group).set("consumer.commit", mode);
        start.set("consumer.handler", &command).set("consumer.session_timeout_ms", "6000").start()
    };
    let noted = || -> Vec<u64> {
        let text = fs::read_to_string(folder.path().join("handled")).unwrap_or_default();
        text.lines().map(|line| line.parse().expect("a number")).collect()
    };
    start().wait(PATIENCE);
    let first = noted();
    let mut second = start();
    eventually("all messages are handled", PATIENCE, || noted().ends_with(&[MESSAGES - 1]).then_some(()));
    kafka.assistant().wait_for_commits(&group, &topic);
    second.stop();
    (first.clone(), noted().split_off(first.len()))
}

fn numbers(range: Range<u64>) -> Vec<u64> {
    range.collect()
}

fn killed_in_the_middle_of_a_poll_it_repeats_the_poll_or_one_message(version: &'static str) {
    let kafka = Kafka::shared(version);
    for (mode, goes_on_at) in [("poll", 0), ("message", LAST)] {
        let (first, second) = handled(kafka, mode, "KILL");
        assert_eq!(first, numbers(0..LAST + 1), "{mode}");
        assert_eq!(second, numbers(goes_on_at..MESSAGES), "{mode}");
    }
}

fn a_stop_in_the_middle_of_a_poll_commits_what_is_handled(version: &'static str) {
    let (first, second) = handled(Kafka::shared(version), "poll", "TERM");
    assert!(first.len() as u64 > LAST, "{first:?}");
    assert_eq!([first, second].concat(), numbers(0..MESSAGES));
}
