//! The pictures of the page in the README, from a channel at work: it takes some minutes.

use std::time::{Duration, Instant};

use serde_json::json;

use super::open;
use crate::supervisor::channel::Channel;
use crate::support::EMBEDDED;
use crate::support::turn::{HEAVY, Turn};

/// How long messages are sent.
const MINUTES: u64 = 6;
/// The largest file that is worth its place.
const MOST_BYTES: usize = 150_000;

/// Messages per second at a time: a slow swell, and now and then more than the handlers can take.
fn rate(second: f64) -> f64 {
    let crowd = if (55.0..80.0).contains(&(second % 130.0)) { 14.0 } else { 0.0 };
    5.0 + 3.0 * (second / 23.0).sin() + crowd
}

#[test]
#[ignore = "takes minutes, and makes the pictures of the README: see CONTRIBUTING.md"]
fn of_the_readme() {
    let _turn = Turn::wait(HEAVY);
    let script = r#"case $(cat) in *'"total":0}'*) echo 'nothing to charge' >&2; exit 65;; esac; sleep 0.15"#;
    let handler = json!(["sh", "-c", script]).to_string();
    let channel = Channel::start_with(EMBEDDED, |start| {
        let names = start.set("kafka.topic", "pedidos").set("consumer.group", "almacen");
        names.set("consumer.handler", &handler)
    });
    let mut order = 0_u64;
    let mut send = || {
        order += 1;
        let customer = format!("cliente-{}", order * 7 % 23);
        let total = if order % 900 == 450 { 0 } else { 5 + order * 37 % 95 };
        let body = format!(r#"{{"pedido":{order},"cliente":"{customer}","total":{total}}}"#);
        assert_eq!(channel.program.post(&format!("/enviar?key={customer}"), &body).status, 200);
    };
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(60 * MINUTES) {
        send();
        std::thread::sleep(Duration::from_secs_f64(1.0 / rate(begun.elapsed().as_secs_f64())));
    }
    let browser = open(&channel);
    browser.wait_for("document.querySelectorAll('#letters .entry').length > 1");
    browser.wait_for("document.querySelectorAll('.chart').length === 3");
    // Who watches sees which consumer has handled a message.
    for _ in 0..12 {
        let shown = browser.text("document.querySelector('#sent .value').textContent");
        send();
        browser.wait_for(&format!("document.querySelector('#sent .value').textContent !== {}", json!(shown)));
        browser.wait_for("!document.querySelector('#sent .state:not(.committed, .dead)')");
    }
    send();
    for (name, width, height, scheme, dots, top) in
        [("readme-desk", 1280, 1490, "light", 1, "header"), ("readme-phone", 400, 860, "dark", 2, ".hour")]
    {
        // A screen that is touched has no scroll bars.
        let metrics = json!({"width": width, "height": height, "deviceScaleFactor": dots, "mobile": true});
        browser.look_on(&metrics, scheme);
        browser.wait_for(&format!("innerWidth === {width}"));
        browser.value(&format!("document.querySelector('{top}').scrollIntoView()"));
        let bytes = browser.screen(name);
        assert!(bytes < MOST_BYTES, "{name}: {bytes} bytes");
    }
}
