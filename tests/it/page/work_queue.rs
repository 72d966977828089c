//! What the page shows of messages that are open in a work queue.

use std::fs;

use super::webdriver::{Browser, ENTER};
use super::{assert_it_fits, open};
use crate::supervisor::channel::Channel;
use crate::support::program::Start;
use crate::support::watchdog::Folder;

/// What stands beside the partitions, of all of them.
const QUEUES: &str =
    "[...document.querySelectorAll('.partition .queue')].map((queue) => queue.textContent).join('')";
/// The lists of attempted messages that can be seen, line by line.
const ATTEMPTED: &str = "[...document.querySelectorAll('.attempted li')]
    .filter((line) => line.checkVisibility()).map((line) => line.textContent)";

fn wait_for_attempted(browser: &Browser, pattern: &str) {
    browser.wait_for(&format!("{ATTEMPTED}.some((line) => /{pattern}/.test(line))"));
}

fn script(start: Start, script: &str) -> Start {
    start.set("consumer.handler", &serde_json::json!(["sh", "-c", script]).to_string())
}

/// The next attempt is not in this test's time.
fn waiting_long(start: Start) -> Start {
    start.set("retry.initial_backoff_ms", "600000").set("retry.max_backoff_ms", "600000")
}

/// A kept handler dies of each message.
pub fn what_waits_in_a_work_queue_is_listed_with_its_failures_and_its_time(version: &'static str) {
    let channel = Channel::start_with(version, |start| {
        script(waiting_long(start), "read line; exit 1").set("consumer.handler_mode", "lines")
    });
    let browser = open(&channel);
    let lag_note = "document.getElementById('lag-note').checkVisibility()";
    let another = (channel.post("a", 1) + 1) % 4;
    browser.wait_for(&format!("/^1 open · 1 waiting, the next at .+$/.test({QUEUES})"));
    wait_for_attempted(&browser, r"^offset 0 · failed 1 time \(1 death\) · waits until .*\d:\d\d$");
    assert_eq!(browser.text("document.getElementById('group-lag').textContent"), "1 message to handle.");
    assert_eq!(browser.value(lag_note), true);
    assert_eq!(browser.value(&format!("{ATTEMPTED}.length")), 1);
    // The list of many ends.
    let records: Vec<_> = (0..30).map(|id| serde_json::json!({ "value": id })).collect();
    let records = serde_json::json!({ "records": records }).to_string();
    let path = format!("/topics/{}/partitions/{another}", channel.place.topic);
    assert_eq!(channel.program.post(&path, &records).status, 200);
    browser.wait_for("document.body.innerText.includes('30 open messages attempted')");
    browser.wait_for(&format!("{ATTEMPTED}.includes('and 10 more')"));
    let places = "[...document.querySelectorAll('.attempted ul')].map((list) => list.children.length)";
    assert_eq!(browser.value(&format!("Math.max(...{places})")), 21);
    assert_it_fits(&browser, "work-queue");
    // It is folded by keyboard, and stays so.
    for place in 0..2 {
        browser.value(&format!(
            "document.querySelectorAll('.attempted:not([hidden]) summary')[{place}].focus()"
        ));
        browser.press(&[ENTER]);
    }
    browser.wait_for(&format!("{ATTEMPTED}.length === 0"));
    channel.post("a", 2);
    browser.wait_for("document.getElementById('group-lag').textContent === '32 messages to handle.'");
    assert_eq!(browser.value(&format!("{ATTEMPTED}.length")), 0);
}

pub fn a_pause_of_a_work_queue_and_its_end_are_shown(version: &'static str) {
    let folder = Folder::new("pause");
    let repaired = folder.path().join("repaired");
    let channel = Channel::start_with(version, |start| {
        let start = script(start, &format!("test -e {}", repaired.display()));
        let start = start.set("consumer.circuit_failures", "1").set("retry.max_attempts", "0");
        start.set("retry.initial_backoff_ms", "100").set("retry.max_backoff_ms", "100")
    });
    let browser = open(&channel);
    assert_eq!(browser.text(QUEUES), "");
    channel.post("a", 1);
    let paused = "paused: the handler cannot be started, or too many attempts failed";
    browser.wait_for(&format!("{QUEUES}.includes('{paused} · 1 open')"));
    wait_for_attempted(&browser, r"^offset 0 · failed \d+ times? · waits for the end of the pause$");
    fs::write(&repaired, "").expect("a file");
    browser.wait_for(&format!("{QUEUES} === '' && {ATTEMPTED}.length === 0"));
    browser.wait_for("document.getElementById('group-lag').textContent === '0 messages to handle.'");
}

pub fn a_message_that_is_tried_after_a_death_is_shown_as_that(version: &'static str) {
    let folder = Folder::new("death");
    let [begun, goes_on] = ["begun", "goes-on"].map(|name| folder.path().join(name));
    let (begun, wait) = (begun.display(), goes_on.display());
    let kills = format!("[ -e {begun} ] || {{ : >{begun}; kill -9 $PPID; }}");
    // The first one outlives its consumer, and is to outlive no test.
    let waits = format!("n=0; until [ -e {wait} ] || [ $n = 1000 ]; do sleep 0.05; n=$((n + 1)); done");
    let channel = Channel::start_with(version, |start| script(start, &format!("{kills}; {waits}")));
    let browser = open(&channel);
    channel.post("a", 1);
    wait_for_attempted(&browser, "^offset 0 · being tried alone after a death, attempt 1$");
    fs::write(&goes_on, "").expect("a file");
    browser.wait_for(&format!("{ATTEMPTED}.length === 0 && {QUEUES} === ''"));
}
