//! What the page shows of messages that became dead letters.

use super::webdriver::ENTER;
use super::{assert_it_fits, open};
use crate::supervisor::channel::Channel;
use crate::support::watchdog::Folder;
use crate::support::{PATIENCE, eventually};

/// The states of the messages that were sent, the newest first.
const STATES: &str = "[...document.querySelectorAll('#sent .state')].map((state) => state.textContent)";

/// Keeps what the page says of message 2, so that a state that is wrong for a moment is seen as well.
const WATCH: &str = r#"(window.seen = [], new MutationObserver(() => {
    const entries = [...document.querySelectorAll('#sent .entry')];
    const second = entries.find((entry) => entry.querySelector('.value').textContent === '{"id":2}');
    if (second) window.seen.push(second.querySelector('.state').textContent);
}).observe(document.getElementById('sent'), { childList: true, subtree: true, characterData: true }), null)"#;

pub fn what_became_a_dead_letter_is_never_called_committed(version: &'static str) {
    let folder = Folder::new("handler");
    let well = folder.path().join("well");
    let script = format!(
        "case $(cat) in *2*) test -e {} || {{ printf 'looking\\nno <b>stock</b>\\n' >&2; exit 65; }};; esac",
        well.display()
    );
    let handler = serde_json::json!(["sh", "-c", script]).to_string();
    let channel = Channel::start_with(version, |start| start.set("consumer.handler", &handler));
    let browser = open(&channel);
    browser.value(WATCH);
    channel.post("a", 1);
    channel.post("b", 2);
    browser.wait_for(&format!("{STATES}.some((state) => /^dead letter \\d:0$/.test(state))"));
    browser.wait_for(&format!("{STATES}.some((state) => /committed$/.test(state))"));
    let summary = "document.getElementById('sent-summary').textContent";
    assert_eq!(browser.text(summary), "The last 2 messages, 1 committed, 1 dead letter.");
    assert_eq!(browser.value("document.querySelectorAll('#sent .state.dead').length"), 1);
    let wrong = "window.seen.filter((state) => /committed/.test(state)).length";
    assert_eq!(browser.value(&format!("[{wrong}, window.seen.length > 0]")), serde_json::json!([0, true]));
    // What it wrote on standard error is folded, but for the last line.
    let part = "document.querySelector('#letters .stderr')";
    browser.wait_for(&format!("{part} !== null"));
    let told = browser.text(&format!("{part}.innerText"));
    assert_eq!(told.trim(), "standard error: no <b>stock</b>");
    browser.value(&format!("{part}.open = true"));
    assert!(browser.text(&format!("{part}.innerText")).contains("looking\n"));
    assert_eq!(browser.value("document.querySelectorAll('main b').length"), 0);
    assert_it_fits(&browser, "stderr");

    // That it is settled makes no difference: another message was handled.
    std::fs::write(&well, "").expect("a file");
    browser.value("document.querySelector('#letters button').click()");
    browser.wait_for("document.querySelectorAll('#letters .entry').length === 0");
    browser.go_to(&super::page(&channel.program));
    browser.wait_for(&format!(
        "{STATES}.length === 2 && {STATES}.some((state) => state.startsWith('dead letter'))"
    ));
    channel.post("c", 3);
    browser.wait_for(&format!("{STATES}.filter((state) => /committed$/.test(state)).length === 2"));
}

/// Nobody looks while it happens.
pub fn whoever_looks_later_sees_the_same(version: &'static str) {
    let handler = serde_json::json!(["sh", "-c", "exit 65"]).to_string();
    let channel = Channel::start_with(version, |start| start.set("consumer.handler", &handler));
    channel.post("a", 1);
    eventually("the letter is stored", PATIENCE, || {
        channel.program.lines().iter().any(|line| line.contains("is now at offset 0 of")).then_some(())
    });
    let replay = channel.place.subcommand(&["dead-letters", "discard", "--all"]).start();
    replay.wait_for_line("discarded 1", PATIENCE);
    let browser = open(&channel);
    browser.wait_for(&format!("{STATES}.length === 1 && {STATES}[0].startsWith('dead letter ')"));
}

/// How many letters are listed, and what is said of them.
const LISTED: &str = "document.querySelectorAll('#letters .entry').length";
const SUMMARY: &str = "document.getElementById('letters-summary').textContent";
const ANSWER: &str = "document.getElementById('replay-answer').textContent";

pub fn letters_are_found_beyond_the_newest_and_only_those_shown_are_discarded_or_replayed(
    version: &'static str,
) {
    let handler = serde_json::json!(["sh", "-c", "echo No Stock >&2; exit 65"]).to_string();
    let channel = Channel::start_with(version, |start| start.set("consumer.handler", &handler));
    for id in 1..=25 {
        channel.post(&format!("cliente-{id}"), id);
    }
    let browser = open(&channel);
    browser.wait_for(&format!("{SUMMARY} === 'The newest 20 of 25 letters.' && {LISTED} === 20"));
    let filter = |text: &str| {
        browser.value("document.getElementById('letter-filter').select()");
        browser.type_text(text);
    };
    // The oldest is not among those that are shown without a filter.
    filter("CLIENTE-1");
    browser.wait_for(&format!("{SUMMARY} === '11 of 25 letters have this text.' && {LISTED} === 11"));
    assert_it_fits(&browser, "letters-filter");
    filter("{\"id\":1}");
    browser.wait_for(&format!("{SUMMARY} === '1 of 25 letters has this text.' && {LISTED} === 1"));
    // It is discarded only if that is meant.
    let button = "document.querySelector('#letters button[aria-label^=\"Discard \"]')";
    let dialog = "document.getElementById('ask-discard').open";
    browser.value(&format!("{button}.focus()"));
    browser.press(&[ENTER]);
    browser.wait_for(&format!("{dialog} && document.activeElement.value === 'keep'"));
    assert_it_fits(&browser, "letters-discard");
    browser.press(&[ENTER]);
    browser.wait_for(&format!("!{dialog} && {button} === document.activeElement"));
    assert_eq!(browser.text(ANSWER), "");
    browser.press(&[ENTER]);
    browser.wait_for(dialog);
    browser.value("document.querySelector('#ask-discard [value=\"discard\"]').focus()");
    browser.press(&[ENTER]);
    browser.wait_for(&format!("{ANSWER} === '1 letter discarded.'"));
    browser.wait_for(&format!("{SUMMARY} === '0 of 24 letters have this text.' && {LISTED} === 0"));
    // All that the filter shows, and nothing else: cliente-2, cliente-20 to cliente-25.
    filter("cliente-2");
    browser.wait_for(&format!("{LISTED} === 7"));
    browser.value("document.getElementById('discard-all').click()");
    browser.wait_for(&format!(
        "{dialog} && document.getElementById('discard-title').textContent === 'Discard these 7 letters?'"
    ));
    browser.value("document.querySelector('#ask-discard [value=\"discard\"]').click()");
    browser.wait_for(&format!("{ANSWER} === '7 letters discarded.'"));
    browser.wait_for(&format!("{SUMMARY} === '0 of 17 letters have this text.'"));
    // What the handler wrote is searched, too, and what is replayed comes back.
    filter("no stock");
    browser.wait_for(&format!("{LISTED} === 17"));
    filter("cliente-1");
    browser.wait_for(&format!("{LISTED} === 10"));
    browser.value("document.getElementById('replay-all').click()");
    browser.wait_for(&format!("{ANSWER} === '10 letters replayed.'"));
    let again = "[...document.querySelectorAll('#letters .about')]
        .filter((e) => e.textContent.includes('replayed 1 time')).length";
    browser.wait_for(&format!("{again} === 10"));
    browser.value("document.getElementById('letter-filter').select()");
    browser.press(&['\u{e003}']);
    browser.wait_for(&format!("{SUMMARY} === '17 letters.' && {again} === 10 && {LISTED} === 17"));
    assert_eq!(browser.log("browser"), Vec::<String>::new());
}
