//! What the page shows of the queues that workers receive from over HTTP.

use std::thread;

use serde_json::json;

use super::{assert_it_fits, open};
use crate::leases::scene::{Message, Worker};
use crate::supervisor::channel::Channel;
use crate::support::{PATIENCE, eventually};

/// What is counted of the queue.
const COUNTS: &str = "document.querySelector('#queues .counts')?.textContent";
/// The lines of the leases that can be seen.
const LEASES: &str = "[...document.querySelectorAll('#queues .leases li')]
    .filter((line) => line.checkVisibility()).map((line) => line.textContent)";
const NO_QUEUES: &str = "document.getElementById('no-queues').checkVisibility()";

pub fn workers_and_their_leases_are_listed_while_somebody_receives(version: &'static str) {
    let channel = Channel::start_with(version, |start| start.set("queue.idle_ms", "1000"));
    let browser = open(&channel);
    browser.wait_for(NO_QUEUES);
    let long = "x".repeat(300);
    for (key, id) in [("%3Ci%3Ecliente%3C/i%3E", 0), (&long, 1)] {
        channel.post(key, id);
    }
    for id in 2..25 {
        channel.post(&format!("cliente-{id}"), id);
    }
    let mut worker = Worker::of(&channel.program);
    let mut received: Vec<Message> = Vec::new();
    eventually("all messages are received", PATIENCE, || {
        received.extend(worker.receive("group=obreros&max=30&wait_ms=1000&lease_ms=240000"));
        (received.len() == 25).then_some(())
    });
    browser.wait_for(&format!("{COUNTS} === '25 open · 25 leased · 0 waiting · 0 workers receiving now'"));
    let title = browser.text("document.querySelector('#queues h3').textContent");
    assert_eq!(title, format!("{}as obreros", channel.place.topic));
    browser.wait_for("document.querySelector('#queues .oldest').textContent.startsWith('the oldest open')");
    browser.wait_for(&format!("{LEASES}.length === 21 && {LEASES}[20] === 'and 5 more'"));
    // Those that run out first are listed first; what a key says stays text.
    let (partition, offset) = received[0].place();
    let line = format!("partition {partition} · offset {offset} · key ");
    browser.wait_for(&format!("{LEASES}.some((line) => line.startsWith('{line}'))"));
    let longer = json!({"lease_ms": 290_000});
    assert_eq!(worker.settle("prorrogar", &[received[0].receipt()], &longer).status, 200);
    browser.wait_for(&format!("!{LEASES}.some((line) => line.startsWith('{line}'))"));
    browser.wait_for(&format!(
        "{LEASES}.slice(0, 20).every((line) => /attempt 1 · until .*\\d:\\d\\d$/.test(line))"
    ));
    assert_eq!(browser.value("document.querySelectorAll('main i').length"), 0);
    assert_it_fits(&browser, "queues");

    assert_eq!(worker.give_back(&received[0], &json!({"delay_ms": 600_000})), 200);
    let receipts: Vec<&str> = received[1..].iter().map(Message::receipt).collect();
    assert_eq!(worker.settle("confirmar", &receipts, &json!({})).status, 200);
    thread::scope(|scope| {
        scope.spawn(|| Worker::of(&channel.program).receive("group=obreros&wait_ms=60000"));
        browser.wait_for(&format!("{COUNTS} === '1 open · 0 leased · 1 waiting · 1 worker receiving now'"));
        assert_eq!(browser.value(&format!("{LEASES}.length")), 0);
        channel.post("a", 25);
    });
    browser.wait_for(&format!("{COUNTS} === '2 open · 1 leased · 1 waiting · 0 workers receiving now'"));
    browser.wait_for(&format!("{LEASES}.length === 1 && {LEASES}[0].includes('key a · attempt 1')"));
}

pub fn a_queue_that_nobody_receives_from_is_listed_no_more(version: &'static str) {
    let channel = Channel::start_with(version, |start| start.set("queue.idle_ms", "1000"));
    let browser = open(&channel);
    channel.post("a", 1);
    let mut worker = Worker::of(&channel.program);
    let message = eventually("the message is received", PATIENCE, || {
        worker.receive("group=obreros&wait_ms=1000").pop()
    });
    browser.wait_for(&format!("{LEASES}.length === 1 && !{NO_QUEUES}"));
    assert_eq!(worker.acknowledge(&message), 200);
    browser.wait_for(&format!("{NO_QUEUES} && document.querySelectorAll('#queues li').length === 0"));
}
