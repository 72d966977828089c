//! Browsing topics on the page, and opening messages.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::webdriver::{Browser, ENTER};
use super::{assert_it_fits, open, page};
use crate::supervisor::channel::Channel;
use crate::support::http::Connection;
use crate::support::watchdog::Folder;
use crate::support::{PATIENCE, eventually};

/// The values that are listed.
const FOUND: &str = "[...document.querySelectorAll('#found .value')].map((value) => value.textContent)";
const ANSWER: &str = "document.getElementById('browse-answer').textContent";
/// Whether the button of what was sent last begins above the end of the text before it.
const ON_ONE_LINE: &str = "(([text, button]) => button.top < text.bottom)(['span', 'button']
    .map((name) => document.querySelector(`#sent .line > ${name}`).getBoundingClientRect()))";
const OPENED: &str = "document.getElementById('opened-whole').checkVisibility()";
const VALUE: &str = "document.getElementById('opened-value').textContent";

/// Stores records of any bytes in a topic.
fn put(channel: &Channel, topic: &str, records: &[Value]) {
    let body = json!({ "records": records }).to_string();
    let head = format!(
        "POST /topics/{topic} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\
         Content-Type: application/vnd.kafka.binary.v2+json\r\n\r\n",
        body.len()
    );
    let answer = eventually("the records are stored", PATIENCE, || {
        let mut connection = Connection::open(channel.program.address()).ok()?;
        connection.send(format!("{head}{body}").as_bytes());
        connection.answer().ok().filter(|answer| !matches!(answer.status, 404 | 503))
    });
    assert_eq!(answer.status, 200, "{answer:?}");
}

fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Fills in fields of the form, and looks.
fn look(browser: &Browser, fields: &[(&str, &str)]) {
    for (field, value) in fields {
        let field = format!("document.getElementById('browse-{field}')");
        browser.value(&format!(
            "({field}.value = {}, {field}.dispatchEvent(new Event('change')), null)",
            json!(value)
        ));
    }
    browser.value("document.getElementById('browse').requestSubmit()");
    browser.wait_for(&format!("!['', 'Looking …'].includes({ANSWER})"));
}

/// Opens the message of this number in a list.
fn open_message(browser: &Browser, list: &str, number: usize) {
    browser.value(&format!("document.querySelectorAll('#{list} [aria-label^=Open]')[{number}].click()"));
    browser.wait_for(OPENED);
}

fn close(browser: &Browser) {
    browser.value("document.getElementById('opened-close').click()");
    browser.wait_for("!document.getElementById('opened').open");
}

pub fn a_topic_is_browsed_from_either_end_and_searched(version: &'static str) {
    let channel = Channel::start(version);
    let topic = &channel.place.topic;
    let browser = open(&channel);
    let partitions: Vec<i64> = (0..60).map(|id| channel.post(&format!("cliente-{}", id % 3), id)).collect();
    // By keyboard alone; the topics are offered.
    browser.value("document.getElementById('browse-topic').focus()");
    browser.wait_for(&format!(
        "[...document.getElementById('topic-names').options].some((option) => option.value === '{topic}')"
    ));
    browser.type_text(topic);
    browser.press(&[ENTER]);
    browser.wait_for(&format!("{ANSWER} === '25 messages.'"));
    assert_eq!(browser.text(&format!("{FOUND}[0]")), r#"{"id":59}"#);
    let pages = "document.getElementById('browse-pages').checkVisibility()";
    assert_eq!(browser.value(pages), true);
    let next = "document.getElementById('browse-next').click()";
    browser.value(next);
    browser.wait_for(&format!("{FOUND}[0] === '{{\"id\":34}}'"));
    browser.value(next);
    browser.wait_for(&format!("{ANSWER} === '10 messages.'"));
    browser.wait_for("!document.getElementById('browse-next').checkVisibility()");
    browser.value("document.getElementById('browse-back').click()");
    browser.wait_for(&format!("{FOUND}[0] === '{{\"id\":34}}'"));

    look(&browser, &[("from", "oldest"), ("key", "cliente-1"), ("text", "\"ID\":1")]);
    assert_eq!(
        browser.value(FOUND),
        json!([r#"{"id":1}"#, r#"{"id":10}"#, r#"{"id":13}"#, r#"{"id":16}"#, r#"{"id":19}"#])
    );
    assert_eq!(browser.text(ANSWER), "5 messages fit among 60 messages looked at.");
    look(&browser, &[("text", "nowhere")]);
    assert_eq!(browser.text(ANSWER), "No message fits among 60 messages looked at.");
    let partition = partitions[0].to_string();
    look(
        &browser,
        &[("key", ""), ("text", ""), ("from", "offset"), ("partition", &partition), ("offset", "900")],
    );
    let said = browser.text(ANSWER);
    let beginning = format!("No messages there. Partition {partition} has the offsets 0 to ");
    assert!(said.starts_with(&beginning), "{said}");
    look(&browser, &[("from", "time"), ("time", "2000-01-01T00:00:00"), ("partition", "")]);
    assert_eq!(browser.text(&format!("{FOUND}[0]")), r#"{"id":0}"#);
    look(&browser, &[("topic", "no-existe"), ("from", "newest")]);
    assert_eq!(browser.text(ANSWER), "There is no such topic.");
    assert_eq!(browser.value("document.querySelectorAll('#found > *').length"), 0);
    look(&browser, &[("topic", topic), ("partition", "99")]);
    assert_eq!(browser.text(ANSWER), "The topic does not have this partition.");
    // Of nothing that was done the browser has complained, but for what was not found.
    let complaints = browser.log("browser");
    assert!(complaints.iter().all(|line| line.contains("404")), "{complaints:#?}");
}

pub fn a_message_is_opened_whole_whatever_it_is_made_of(version: &'static str) {
    let channel = Channel::start(version);
    let browser = open(&channel);
    let (topic, evil) = (
        format!("{}-2", channel.place.topic),
        "<script>window.hit=1</script><img src=x onerror='window.hit=1'>",
    );
    channel
        .place
        .subcommand(&["topics", "create", &topic, "--partitions", "1"])
        .start()
        .wait_for_line("created", PATIENCE);
    let header = |name: &str, value: &[u8]| json!({"key": name, "value": base64(value)});
    let long = format!("\"{}\"", "x".repeat(700_000));
    let stored = r#"{"n":12345678901234567890,"a":[1,{"b":[]}],"s":"a\"{b"}"#;
    let many: Vec<Value> = (0..450).map(|id| header(&format!("h{id}"), b"v")).collect();
    let few = [header("origen", b"web"), header(evil, evil.as_bytes()), header("bytes", &[0xff, 0])];
    put(
        &channel,
        &topic,
        &[
            json!({"key": base64("clave-ñ".as_bytes()), "value": base64(stored.as_bytes()), "headers": few}),
            json!({"key": base64(&[0xfe]), "value": base64(&[0xff, 0, 1])}),
            json!({"value": null}),
            json!({"value": base64("مرحبا \u{202e}txet desrever".as_bytes())}),
            json!({"value": base64(evil.as_bytes()), "headers": many}),
        ],
    );
    put(&channel, &topic, &[json!({"value": base64(long.as_bytes())})]);
    look(&browser, &[("topic", &topic), ("from", "oldest")]);
    assert_eq!(browser.text(ANSWER), "6 messages.");
    assert_it_fits(&browser, "browse");

    browser.look_as(1280, 900, "light");
    browser.value("document.querySelector('#found button').focus()");
    browser.press(&[ENTER]);
    browser.wait_for(OPENED);
    // Numbers keep their digits.
    let lines = [
        "{",
        "  \"n\": 12345678901234567890,",
        "  \"a\": [",
        "    1,",
        "    {",
        "      \"b\": []",
        "    }",
        "  ],",
        "  \"s\": \"a\\\"{b\"",
        "}",
    ];
    assert_eq!(browser.text(VALUE), lines.join("\n"));
    let facts = browser.text("document.getElementById('opened-facts').innerText");
    assert!(facts.contains("clave-ñ") && facts.contains("8 bytes"), "{facts}");
    assert_eq!(
        browser.text("document.getElementById('opened-place').textContent"),
        format!("{topic}, partition 0, offset 0")
    );
    let table = browser.text("document.getElementById('opened-headers').innerText");
    assert!(table.contains("origen") && table.contains(evil) && table.contains("/wA="), "{table}");
    for (name, width, height) in [("phone", 400, 800), ("desk", 1280, 900)] {
        for scheme in ["light", "dark"] {
            browser.look_as(width, height, scheme);
            browser.wait_for(&format!("innerWidth === {width}"));
            let sideways = "['opened', 'opened-value'].filter((id) =>
                document.getElementById(id).scrollWidth > document.getElementById(id).clientWidth)";
            assert_eq!(browser.value(sideways), json!([]), "{name}");
            browser.picture(&format!("opened-{name}-{scheme}"));
        }
    }
    browser.value("document.getElementById('opened-format').click()");
    assert_eq!(browser.text(VALUE), stored);
    close(&browser);
    assert_eq!(
        browser.text("document.activeElement.getAttribute('aria-label')"),
        format!("Open {topic} 0, offset 0")
    );

    open_message(&browser, "found", 1);
    assert_eq!(browser.text(VALUE), base64(&[0xff, 0, 1]));
    let size = "document.getElementById('opened-size').textContent";
    assert_eq!(browser.text(size), "3 bytes that are no text, in base64");
    close(&browser);
    open_message(&browser, "found", 2);
    let copy = "document.getElementById('opened-copy').checkVisibility()";
    assert_eq!(browser.value(&format!("[{VALUE}, {copy}]")), json!(["null", false]));
    close(&browser);
    open_message(&browser, "found", 3);
    assert_eq!(browser.text("getComputedStyle(document.getElementById('opened-value')).direction"), "rtl");
    browser.picture("opened-rtl");
    close(&browser);
    open_message(&browser, "found", 4);
    let rows = "document.querySelectorAll('#opened-headers tbody tr').length";
    assert_eq!(browser.value(rows), 200);
    browser.value(
        "(document.getElementById('opened-more').click(), document.getElementById('opened-more').click())",
    );
    assert_eq!(
        browser.value(&format!("[{rows}, document.getElementById('opened-more').checkVisibility()]")),
        json!([450, false])
    );
    assert_eq!(browser.text(VALUE), evil);
    close(&browser);
    open_message(&browser, "found", 5);
    assert_eq!(browser.value(&format!("{VALUE}.length")), long.len());
    close(&browser);
    let made =
        "document.querySelectorAll('main script, main img, dialog img').length + Number(window.hit ?? 0)";
    assert_eq!(browser.value(made), 0);
}

pub fn a_value_is_copied_with_and_without_the_clipboard(version: &'static str) {
    let channel = Channel::start(version);
    let browser = open(&channel);
    channel.post("a", 7);
    browser.wait_for("document.querySelectorAll('#sent .entry').length === 1");
    open_message(&browser, "sent", 0);
    let origin = page(&channel.program);
    browser.devtools(
        "Browser.grantPermissions",
        &json!({"origin": origin.trim_end_matches('/'),
        "permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]}),
    );
    let said = "document.getElementById('opened-answer').textContent";
    // Browsers let a page copy when somebody has pressed something.
    let copy = || {
        browser.value(&format!("({said} = '', document.getElementById('opened-copy').focus())"));
        browser.press(&[ENTER]);
        browser.wait_for(&format!("{said} === 'The value is copied.'"));
    };
    copy();
    // As where the page came without TLS from another machine; what is copied is seen on its way.
    browser.value(
        "(document.addEventListener('copy', () => { window.copied = document.activeElement.value; }),
        Object.defineProperty(navigator, 'clipboard', { value: undefined }), null)",
    );
    copy();
    assert_eq!(browser.text("window.copied"), r#"{"id":7}"#);
    assert_eq!(browser.text("document.activeElement.id"), "opened-copy");
    assert_eq!(browser.value("document.querySelectorAll('.unseen').length"), 0);
}

pub fn what_was_sent_and_what_became_a_dead_letter_can_be_opened(version: &'static str) {
    let folder = Folder::new("handler");
    let handler = json!(["sh", "-c", "exit 65"]).to_string();
    let channel = Channel::start_with(version, |start| start.set("consumer.handler", &handler));
    let browser = open(&channel);
    channel.post("cliente-1", 1);
    browser.wait_for("document.querySelectorAll('#letters .entry').length === 1");
    browser.value("document.querySelector('#sent .state').textContent = 'committed by somebody '.repeat(9)");
    assert_eq!(browser.value(ON_ONE_LINE), true, "on a desk the button stands beside a long state");
    open_message(&browser, "sent", 0);
    let place = "document.getElementById('opened-place').textContent";
    assert!(browser.text(place).starts_with(&format!("{}, partition", channel.place.topic)));
    close(&browser);
    open_message(&browser, "letters", 0);
    assert!(browser.text(place).starts_with(&format!("{}-dlt, partition", channel.place.topic)));
    let table = browser.text("document.getElementById('opened-headers').innerText");
    assert!(table.contains("kafka_dlt-original-topic") && table.contains(&channel.place.topic), "{table}");
    drop(folder);
}

pub fn a_search_in_vain_says_how_far_it_has_looked(version: &'static str) {
    let channel = Channel::start(version);
    let browser = open(&channel);
    let topic = format!("{}-2", channel.place.topic);
    channel
        .place
        .subcommand(&["topics", "create", &topic, "--partitions", "2"])
        .start()
        .wait_for_line("created", PATIENCE);
    let records: Vec<Value> =
        (0..10_000).map(|id| json!({"value": base64(format!("{{\"id\":{id}}}").as_bytes())})).collect();
    for _ in 0..20 {
        put(&channel, &topic, &records);
    }
    look(&browser, &[("topic", &topic), ("text", "nowhere")]);
    // Where it takes longer than a look may, it goes on where it was.
    while browser.text(ANSWER).contains("so far") {
        let before = browser.text(ANSWER);
        assert!(
            before.starts_with("0 messages among the ") && before.ends_with("The time of a look was over."),
            "{before}"
        );
        assert_eq!(browser.text("document.getElementById('browse-next').textContent"), "Go on");
        browser.picture("browse-so-far");
        browser.value("document.getElementById('browse-next').click()");
        browser.wait_for(&format!("!['Looking …', {}].includes({ANSWER})", json!(before)));
    }
    assert_eq!(browser.text(ANSWER), "No message fits among 200,000 messages looked at.");
}
