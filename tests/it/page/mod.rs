//! The page of the endpoint in a real browser, before the whole channel.

mod browse;
mod charts;
mod letters;
mod other_origins;
mod pictures;
mod queues;
mod small_png;
mod webdriver;
mod work_queue;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use point_to_point::users::{self, Entry, PasswordHash, Right};

use crate::supervisor::channel::{CONSUMERS, Channel, Frozen, Place};
use crate::support::program::{Program, Start, WAITING};
use crate::support::small_disk::SmallDisk;
use crate::support::watchdog::Folder;
use crate::support::{EMBEDDED, NEWEST, PATIENCE, run_on};
use browse::{
    a_message_is_opened_whole_whatever_it_is_made_of, a_search_in_vain_says_how_far_it_has_looked,
    a_topic_is_browsed_from_either_end_and_searched, a_value_is_copied_with_and_without_the_clipboard,
    what_was_sent_and_what_became_a_dead_letter_can_be_opened,
};
use charts::{
    the_metrics_can_be_read_where_there_is_a_token, where_the_cluster_was_not_seen_the_charts_have_a_gap,
    who_comes_later_sees_what_was_stored_and_handled_meanwhile,
};
use letters::{
    letters_are_found_beyond_the_newest_and_only_those_shown_are_discarded_or_replayed,
    what_became_a_dead_letter_is_never_called_committed, whoever_looks_later_sees_the_same,
};
use other_origins::a_page_of_another_origin_sends_where_that_origin_is_allowed;
use queues::{
    a_queue_that_nobody_receives_from_is_listed_no_more,
    workers_and_their_leases_are_listed_while_somebody_receives,
};
use webdriver::{Browser, CONTROL, ENTER, TAB};
use work_queue::{
    a_message_that_is_tried_after_a_death_is_shown_as_that, a_pause_of_a_work_queue_and_its_end_are_shown,
    what_waits_in_a_work_queue_is_listed_with_its_failures_and_its_time,
};

run_on! {
    mod kafka_4_3 on NEWEST {
        a_message_sent_by_keyboard_alone_is_listed_and_committed_by_a_consumer as HEAVY,
        the_partitions_of_a_killed_consumer_move_before_the_eyes as HEAVY,
        a_dead_letter_appears_and_is_handled_when_it_is_replayed as HEAVY,
        what_became_a_dead_letter_is_never_called_committed as HEAVY,
        a_topic_is_browsed_from_either_end_and_searched as HEAVY,
    }
    mod embedded on EMBEDDED {
        a_message_sent_by_keyboard_alone_is_listed_and_committed_by_a_consumer as HEAVY,
        the_partitions_of_a_killed_consumer_move_before_the_eyes as HEAVY,
        what_a_message_says_stays_text as HEAVY,
        a_dead_letter_appears_and_is_handled_when_it_is_replayed as HEAVY,
        what_became_a_dead_letter_is_never_called_committed as HEAVY,
        whoever_looks_later_sees_the_same as HEAVY,
        letters_are_found_beyond_the_newest_and_only_those_shown_are_discarded_or_replayed as HEAVY,
        who_comes_later_sees_what_was_stored_and_handled_meanwhile as HEAVY,
        where_the_cluster_was_not_seen_the_charts_have_a_gap as HEAVY,
        the_metrics_can_be_read_where_there_is_a_token as HEAVY,
        a_topic_is_browsed_from_either_end_and_searched as HEAVY,
        a_message_is_opened_whole_whatever_it_is_made_of as HEAVY,
        a_value_is_copied_with_and_without_the_clipboard as HEAVY,
        what_was_sent_and_what_became_a_dead_letter_can_be_opened as HEAVY,
        a_search_in_vain_says_how_far_it_has_looked as HEAVY,
        what_waits_in_a_work_queue_is_listed_with_its_failures_and_its_time as HEAVY,
        a_pause_of_a_work_queue_and_its_end_are_shown as HEAVY,
        a_message_that_is_tried_after_a_death_is_shown_as_that as HEAVY,
        workers_and_their_leases_are_listed_while_somebody_receives as HEAVY,
        a_queue_that_nobody_receives_from_is_listed_no_more as HEAVY,
        a_token_is_asked_for_until_it_is_right_and_kept_while_the_tab_is_open as HEAVY,
        name_and_password_are_asked_for_where_users_have_them as HEAVY,
        it_fits_phone_and_desk_in_light_and_dark_and_every_control_has_a_name as HEAVY,
        it_asks_no_other_host_for_anything as HEAVY,
        a_page_of_another_origin_sends_where_that_origin_is_allowed as HEAVY,
        without_consumers_it_says_how_to_start_one_and_what_the_endpoint_forgot_is_not_listed as HEAVY,
        what_is_wrong_besides_is_shown_as_long_as_it_is_so as HEAVY,
        it_says_when_the_cluster_or_the_endpoint_is_gone_and_comes_back_with_it as HEAVY,
    }
}

/// The page, once it shows both consumers.
fn open(channel: &Channel) -> Browser {
    let browser = Browser::at(&page(&channel.program));
    for name in CONSUMERS {
        browser.wait_for(&format!("{} === 2", owned(name)));
    }
    browser
}

fn page(program: &Program) -> String {
    format!("http://{}/", program.address())
}

/// How many partitions the page shows with a member.
fn owned(name: &str) -> String {
    format!("document.querySelectorAll('.member[data-name=\"{name}\"] .partition').length")
}

fn a_message_sent_by_keyboard_alone_is_listed_and_committed_by_a_consumer(version: &'static str) {
    let channel = Channel::start(version);
    let browser = open(&channel);
    assert_eq!(browser.text("document.getElementById('connection').textContent"), "live");
    let advice = "document.getElementById('nothing-sent').checkVisibility()";
    assert_eq!(browser.value(advice), true);
    // Tab leads to the message, the key, the button; the focus can be seen.
    for id in ["message", "key"] {
        browser.press(&[TAB]);
        assert_eq!(browser.text("document.activeElement.id"), id);
        assert_ne!(browser.text("getComputedStyle(document.activeElement).outlineStyle"), "none");
    }
    browser.type_text("cliente-7");
    browser.press(&[TAB, ENTER]);
    browser.wait_for("document.getElementById('answer').textContent.startsWith('Mensaje enviado: ')");
    browser.wait_for("/^consumer[12] · committed$/.test(document.querySelector('#sent .state').textContent)");
    let entry = browser.text("document.querySelector('#sent .entry').innerText");
    assert!(entry.contains(r#"{"id":1,"contenido":"Hola desde Kafka"}"#), "{entry}");
    assert!(entry.contains("cliente-7") && entry.contains("offset 0"), "{entry}");
    assert_eq!(browser.value(advice), false);
    assert_eq!(browser.text("document.activeElement.textContent"), "Send", "the focus stays");
    channel.program.wait_for_line("consumer", PATIENCE);
    // What is no JSON is refused in words, and Ctrl + Enter sends too.
    browser.value("document.getElementById('message').focus()");
    browser.press(&[CONTROL, 'a']);
    browser.type_text("{");
    browser.press(&[CONTROL, ENTER]);
    browser.wait_for("document.getElementById('answer').dataset.kind === 'bad'");
    assert_eq!(browser.value("document.querySelectorAll('#sent .entry').length"), 1);
    // What comes by another route is listed as well.
    let records = r#"{"records":[{"value":{"by":"REST"}}]}"#;
    assert_eq!(channel.program.post(&format!("/topics/{}", channel.place.topic), records).status, 200);
    browser.wait_for("document.querySelector('#sent .value').textContent === '{\"by\":\"REST\"}'");
}

fn the_partitions_of_a_killed_consumer_move_before_the_eyes(version: &'static str) {
    let channel = Channel::start(version);
    let browser = open(&channel);
    let third = channel.place.subcommand(&["consumer", "--name", "consumer3"]).start();
    third.wait_for_line(WAITING, PATIENCE);
    browser.wait_for(&format!("{} === 1", owned("consumer3")));
    assert!(browser.text("document.getElementById('group-summary').textContent").contains("3 members"));
    third.signal("KILL");
    browser.wait_for("!document.querySelector('.member[data-name=\"consumer3\"]')");
    for name in CONSUMERS {
        browser.wait_for(&format!("{} === 2", owned(name)));
    }
    channel.post("a", 1);
    browser.wait_for("document.querySelector('#sent .state.committed') !== null");
}

fn what_a_message_says_stays_text(version: &'static str) {
    let channel = Channel::start(version);
    let browser = open(&channel);
    let evil =
        r#"</p><script>window.hit=1;alert(1)</script><img src=x onerror='window.hit=1;alert(2)'><b id=evil>"#;
    let body = serde_json::json!({ "text": evil }).to_string();
    let key: String = evil.bytes().map(|byte| format!("%{byte:02x}")).collect();
    assert_eq!(channel.program.post(&format!("/enviar?key={key}"), &body).status, 200);
    browser.wait_for("document.querySelector('#sent .state.committed') !== null");
    let entry = browser.text("document.querySelector('#sent .entry').textContent");
    assert!(entry.contains(&body) && entry.contains(evil), "{entry}");
    // And after a reload, when it comes with everything else.
    browser.go_to(&page(&channel.program));
    browser.wait_for("document.querySelector('#sent .entry') !== null");
    let made = "document.querySelectorAll('main script, main img, #evil').length + Number(window.hit ?? 0)";
    assert_eq!(browser.value(made), 0);
    // Were markup put in all the same, the policy would keep it from running.
    browser.value("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.hit=1\">')");
    browser.value(
        "document.body.append(Object.assign(document.createElement('script'), { textContent: 'window.hit=1' }))",
    );
    browser.wait_for("document.images.length === 1 && document.images[0].complete");
    assert_eq!(browser.value("window.hit ?? null"), serde_json::Value::Null);
}

fn a_dead_letter_appears_and_is_handled_when_it_is_replayed(version: &'static str) {
    let folder = Folder::new("handler");
    let (repaired, handled) = (folder.path().join("repaired"), folder.path().join("handled"));
    let script = format!("test -e {} && cat >>{}", repaired.display(), handled.display());
    let handler = serde_json::json!(["sh", "-c", script]).to_string();
    let channel = Channel::start_with(version, |start| {
        start.set("consumer.handler", &handler).set("retry.max_attempts", "1")
    });
    let browser = open(&channel);
    channel.post("<i>cliente</i>", 1);
    channel.post("b", 2);
    browser.wait_for("document.querySelectorAll('#letters .entry').length === 2");
    let letters = browser.text("document.getElementById('letters').innerText");
    assert!(letters.contains("<i>cliente</i>") && letters.contains(r#"{"id":1}"#), "{letters}");
    assert!(
        letters.contains(&format!("{} ", channel.place.topic)) && letters.contains("offset 0"),
        "{letters}"
    );
    // Still broken: it comes back, with its count.
    browser.value("document.querySelector('#letters button').focus()");
    browser.press(&[ENTER]);
    browser.wait_for("document.getElementById('replay-answer').textContent === '1 letter replayed.'");
    browser.wait_for("document.getElementById('letters').innerText.includes('replayed 1 time')");
    // Whose button is gone does not begin at the top again.
    browser.wait_for("document.activeElement.id === 'letters-title'");
    browser.look_as(1280, 900, "light");
    browser.picture("dead-letters");
    fs::write(&repaired, "").expect("a file");
    browser.value("document.getElementById('replay-all').focus()");
    browser.press(&[ENTER]);
    browser.wait_for("document.getElementById('replay-answer').textContent === '2 letters replayed.'");
    browser.wait_for("document.querySelectorAll('#letters .entry').length === 0");
    browser.wait_for("document.activeElement.id === 'letters-title'");
    browser.wait_for("document.getElementById('group-lag').textContent === '0 messages to handle.'");
    let text = fs::read_to_string(&handled).expect("what was handled");
    assert!(text.contains(r#"{"id":1}"#) && text.contains(r#"{"id":2}"#), "{text}");
    assert_eq!(browser.value("document.querySelectorAll('main i').length"), 0);
}

fn a_token_is_asked_for_until_it_is_right_and_kept_while_the_tab_is_open(version: &'static str) {
    let folder = Folder::new("token");
    let file = folder.path().join("token");
    fs::write(&file, "0123456789abcdef-right\n").expect("a file");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("its mode");
    let file = file.display().to_string();
    let channel = Channel::start_with(version, |start| start.set("producer_api.token_file", &file));
    let browser = Browser::at(&page(&channel.program));
    browser.wait_for("document.getElementById('ask-token').open");
    browser.type_text("0123456789abcdef-wrong");
    browser.press(&[ENTER]);
    let refused = "Object.values(sessionStorage)[0] === '0123456789abcdef-wrong'";
    browser.wait_for(&format!("{refused} && document.getElementById('ask-token').open"));
    assert_eq!(browser.text("document.activeElement.id"), "token");
    browser.wait_for("document.getElementById('token-refused').checkVisibility()");
    // What no header can carry is not taken as a token.
    browser.type_text("0123456789abcdef-ñ");
    browser.press(&[ENTER]);
    browser.wait_for(
        "document.activeElement.matches('#token:invalid') && document.getElementById('ask-token').open",
    );
    browser.value("document.getElementById('token').select()");
    browser.type_text("0123456789abcdef-right");
    browser.press(&[ENTER]);
    browser.wait_for(&format!("{} === 2", owned("consumer1")));
    browser.go_to(&page(&channel.program));
    browser.wait_for("document.getElementById('connection').dataset.state === 'live'");
    browser.value("document.getElementById('send').requestSubmit()");
    browser.wait_for("document.getElementById('answer').textContent.startsWith('Mensaje enviado: ')");
    assert_eq!(browser.value("document.getElementById('ask-token').open"), false);
}

fn name_and_password_are_asked_for_where_users_have_them(version: &'static str) {
    let folder = Folder::new("page-users");
    let file = folder.path().join("users.toml");
    let password = PasswordHash::new("contraseña ñ").expect("a hash");
    let rights = [Right::Send, Right::Read].into();
    let entry =
        Entry { rights, topics: Vec::new(), token: None, password: Some(password), certificate: false };
    users::change(&file, |entries| Ok(entries.insert("José".to_owned(), entry))).expect("a file");
    let file = file.display().to_string();
    let channel = Channel::start_with(version, |start| start.set("producer_api.users_file", &file));
    let browser = Browser::at(&page(&channel.program));
    browser.wait_for("document.getElementById('ask-token').open");
    browser.wait_for("document.getElementById('user').checkVisibility()");
    browser.look_as(360, 780, "light");
    browser.picture("users");
    for (password, refused) in [("contraseña n", true), ("contraseña ñ", false)] {
        browser.value("document.getElementById('user').select()");
        browser.type_text("José");
        browser.value("document.getElementById('token').focus()");
        browser.type_text(password);
        browser.press(&[ENTER]);
        if refused {
            browser.wait_for("document.getElementById('token-refused').checkVisibility()");
            let said = browser.text("document.getElementById('token-refused').textContent");
            assert_eq!(said, "The endpoint has refused that password.");
        }
    }
    browser.wait_for(&format!("{} === 2", owned("consumer1")));
    browser.value("document.getElementById('send').requestSubmit()");
    browser.wait_for("document.getElementById('answer').textContent.startsWith('Mensaje enviado: ')");
    assert_eq!(browser.value("document.getElementById('ask-token').open"), false);
}

fn it_fits_phone_and_desk_in_light_and_dark_and_every_control_has_a_name(version: &'static str) {
    let channel = Channel::start(version);
    let browser = open(&channel);
    let long = "x".repeat(400);
    for (key, id) in [("cliente-1", 1), ("cliente-2", 2), (&long, 3), ("cliente-4", 4)] {
        channel.post(key, id);
    }
    assert_eq!(channel.program.post("/enviar", &format!("\"{long}\"")).status, 200);
    browser.wait_for("document.querySelectorAll('#sent .state.committed').length === 5");
    // A consumer that stands still is behind.
    let _still = Frozen::new(channel.child("consumer2"));
    for id in 6..20 {
        channel.post(&format!("cliente-{id}"), id);
    }
    browser.wait_for("document.querySelectorAll('.partition.behind').length === 2");
    assert_it_fits(&browser, "");
    assert_eq!(
        browser.value("[document.documentElement.lang, document.querySelectorAll('h1').length]"),
        serde_json::json!(["en", 1])
    );
}

/// What the page shows now has room on phone and desk, can be read in light and dark, and has names.
fn assert_it_fits(browser: &Browser, what: &str) {
    for (name, width, height) in [("small-phone", 360, 780), ("phone", 400, 800), ("desk", 1280, 900)] {
        for scheme in ["light", "dark"] {
            browser.look_as(width, height, scheme);
            let dark = format!("matchMedia('(prefers-color-scheme: dark)').matches === {}", scheme == "dark");
            browser.wait_for(&format!("innerWidth === {width} && {dark}"));
            assert_eq!(browser.value(TOO_WIDE), serde_json::json!([]), "{name}: scrolls sideways");
            assert_eq!(browser.value(LOW_CONTRAST), serde_json::json!([]), "{name}, {scheme}");
            let picture = [what, name, scheme].into_iter().filter(|part| !part.is_empty());
            browser.picture(&picture.collect::<Vec<_>>().join("-"));
        }
    }
    assert_eq!(browser.value(WITHOUT_NAME), serde_json::json!([]));
}

/// What is wider than there is room for, be it the page or a part of it that scrolls.
const TOO_WIDE: &str = "[...document.querySelectorAll('html, body, main, section, form, #sent, #members')]
    .filter((e) => e.scrollWidth > e.clientWidth).map((e) => e.outerHTML.slice(0, 80))";

/// Texts whose contrast with what is behind them is below 4.5 (WCAG 2.2, 1.4.3).
const LOW_CONTRAST: &str = r#"(() => {
    const light = (color) => {
        const [r, g, b] = color.match(/[\d.]+/g).slice(0, 3)
            .map((c) => c / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const behind = (e) => {
        const color = getComputedStyle(e).backgroundColor;
        return color === 'rgba(0, 0, 0, 0)' && e.parentElement ? behind(e.parentElement) : color;
    };
    const texts = [...document.querySelectorAll('body *')].filter((e) =>
        e.checkVisibility() && !e.disabled && [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()));
    return texts.filter((e) => {
        e.getAnimations().forEach((a) => a.finish());
        const [a, b] = [light(getComputedStyle(e).color), light(behind(e))].sort((x, y) => y - x);
        return (a + 0.05) / (b + 0.05) < 4.5;
    }).map((e) => e.outerHTML.slice(0, 80));
})()"#;

/// Controls without a label or a text, ids that are there twice, and pictures without a description.
const WITHOUT_NAME: &str = r#"(() => {
    const nameless = [...document.querySelectorAll('input, textarea, select, button')].filter((e) =>
        !e.getAttribute('aria-label') && !e.textContent.trim() && !(e.labels?.length > 0));
    const ids = [...document.querySelectorAll('[id]')].map((e) => e.id);
    const twice = ids.filter((id, place) => ids.indexOf(id) !== place);
    const dangling = [...document.querySelectorAll('[aria-labelledby]')]
        .filter((e) => !document.getElementById(e.getAttribute('aria-labelledby')));
    const pictures = [...document.querySelectorAll('img:not([alt])')];
    return [...nameless, ...dangling, ...pictures].map((e) => e.outerHTML).concat(twice);
})()"#;

fn it_asks_no_other_host_for_anything(version: &'static str) {
    let channel = Channel::start(version);
    let browser = open(&channel);
    channel.post("a", 1);
    browser.wait_for("document.querySelector('#sent .state.committed') !== null");
    let requested = browser.requested();
    let address = page(&channel.program);
    assert!(requested.iter().any(|url| *url == format!("{address}events")), "{requested:?}");
    // The browser's own first page is chrome://.
    let others: Vec<&String> = requested
        .iter()
        .filter(|url| !["chrome:", "data:", &address].iter().any(|start| url.starts_with(start)))
        .collect();
    assert!(others.is_empty(), "{others:?}");
    let complaints = browser.log("browser");
    assert!(complaints.is_empty(), "{complaints:?}");
}

fn without_consumers_it_says_how_to_start_one_and_what_the_endpoint_forgot_is_not_listed(
    version: &'static str,
) {
    let place = Place::new(version);
    let start = || place.program(Start::program("producer_api"));
    let program = Program::producer_with(start());
    let address = program.address();
    let browser = Browser::at(&page(&program));
    browser.wait_for("document.getElementById('no-members').checkVisibility()");
    browser.value("document.getElementById('send').requestSubmit()");
    browser.wait_for("document.querySelectorAll('#sent .entry').length === 1");
    drop(program);
    browser.wait_for("document.getElementById('connection').dataset.state === 'lost'");
    let _again = start().set("producer_api.listen", &address.to_string()).start();
    browser.wait_for("document.getElementById('nothing-sent').checkVisibility()");
}

fn it_says_when_the_cluster_or_the_endpoint_is_gone_and_comes_back_with_it(_version: &'static str) {
    let nobody = format!("127.0.0.1:{}", crate::support::ports::free_port());
    let start = || Start::program("producer_api").set("kafka.bootstrap_servers", &nobody);
    let program = Program::producer_with(start());
    let address = program.address();
    let browser = Browser::at(&page(&program));
    browser.wait_for("document.getElementById('trouble').innerText.startsWith('The cluster cannot be seen')");
    browser.value("document.getElementById('send').requestSubmit()");
    browser.wait_for("document.getElementById('answer').dataset.kind === 'bad'");
    drop(program);
    browser.wait_for("document.getElementById('connection').dataset.state === 'lost'");
    let _again = start().set("producer_api.listen", &address.to_string()).start();
    browser.wait_for("document.getElementById('connection').dataset.state === 'live'");
}

fn what_is_wrong_besides_is_shown_as_long_as_it_is_so(version: &'static str) {
    let (place, disk) = (Place::new(version), SmallDisk::new(1));
    let log_file = disk.path().join("some.log").display().to_string();
    let start = Start::program("producer_api").set("log.file", &log_file).set("log.level", "debug");
    let program = Program::producer_with(place.program(start));
    let browser = Browser::at(&page(&program));
    browser.wait_for("document.getElementById('connection').dataset.state === 'live'");
    browser.wait_for("!document.getElementById('warnings').checkVisibility()");
    disk.fill();
    // As much as fits into what the file has already, and more.
    (0..100).for_each(|id| assert_eq!(program.post("/enviar", &format!("{{\"id\":{id}}}")).status, 200));
    browser.wait_for("document.getElementById('warnings').checkVisibility()");
    browser.wait_for(
        "document.getElementById('warnings').innerText.includes('cannot be written: No space left')",
    );
    disk.empty();
    assert_eq!(program.post("/enviar", "{\"id\":100}").status, 200);
    browser.wait_for("!document.getElementById('warnings').checkVisibility()");
}
