//! The pictures of the page in the README, from a channel at work: it takes some minutes.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{open, owned};
use crate::supervisor::channel::{Channel, Frozen};
use crate::support::EMBEDDED;
use crate::support::turn::{HEAVY, Turn};

/// How long messages are sent, ...
const MINUTES: u64 = 6;
/// ... and when a consumer stands still meanwhile, in seconds.
const STILL: std::ops::Range<u64> = 200..235;
/// The largest file that is worth its place.
const MOST_BYTES: usize = 150_000;

/// Messages per second at a time: a slow swell, and a crowd now and then.
fn rate(second: f64) -> f64 {
    let crowd = if (55.0..80.0).contains(&(second % 130.0)) { 14.0 } else { 0.0 };
    6.0 + 4.0 * (second / 23.0).sin() + crowd
}

#[test]
#[ignore = "takes minutes, and makes the pictures of the README: see CONTRIBUTING.md"]
fn of_the_readme() {
    let _turn = Turn::wait(HEAVY);
    let script = r#"case $(cat) in *'"total":0}'*) echo 'nothing to charge' >&2; exit 65;; esac; sleep 0.02"#;
    let handler = json!(["sh", "-c", script]).to_string();
    let channel = Channel::start_with(EMBEDDED, |start| {
        let names = start.set("kafka.topic", "pedidos").set("consumer.group", "almacen");
        names.set("consumer.handler", &handler)
    });
    let (begun, mut still, mut order) = (Instant::now(), None, 0_u64);
    while begun.elapsed() < Duration::from_secs(60 * MINUTES) {
        let second = begun.elapsed().as_secs();
        if STILL.contains(&second) {
            still.get_or_insert_with(|| Frozen::new(channel.child("consumer2")));
        } else {
            still = None;
        }
        order += 1;
        let customer = format!("cliente-{}", order * 7 % 23);
        let total = if order % 900 == 450 { 0 } else { 5 + order * 37 % 95 };
        let body = format!(r#"{{"pedido":{order},"cliente":"{customer}","total":{total}}}"#);
        assert_eq!(channel.program.post(&format!("/enviar?key={customer}"), &body).status, 200);
        std::thread::sleep(Duration::from_secs_f64(1.0 / rate(begun.elapsed().as_secs_f64())));
    }
    let browser = open(&channel);
    browser.wait_for(&format!(
        "{} === 2 && document.querySelectorAll('#letters .entry').length > 0",
        owned("consumer2")
    ));
    browser.wait_for("document.querySelectorAll('.chart').length === 3");
    browser.wait_for("!document.querySelector('#sent .state:not(.committed, .dead)')");
    for (name, width, height, scheme, dots, top) in
        [("readme-desk", 1280, 1230, "light", 1, "header"), ("readme-phone", 400, 860, "dark", 2, ".hour")]
    {
        browser.look_closely_as(width, height, scheme, dots);
        browser.wait_for(&format!("innerWidth === {width}"));
        browser.value(&format!("document.querySelector('{top}').scrollIntoView()"));
        let bytes = browser.screen(name);
        assert!(bytes < MOST_BYTES, "{name}: {bytes} bytes");
    }
}
