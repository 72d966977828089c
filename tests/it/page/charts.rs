//! The charts of the last hour, and the links below the page.

use std::time::{Duration, Instant};

use super::{assert_it_fits, open, page};
use crate::supervisor::channel::{CONSUMERS, Channel, Frozen};
use crate::support::watchdog::Folder;

use super::webdriver::{Browser, ENTER};

/// The keys that WebDriver calls so.
const LEFT: char = '\u{e012}';
const HOME: char = '\u{e011}';

/// What a chart says beside its title.
fn numbers(chart: &str) -> String {
    format!("document.querySelector('.chart[data-name=\"{chart}\"] .numbers').textContent")
}

/// What was stored and handled while nobody looked, and the lag of consumers that stand still.
pub fn who_comes_later_sees_what_was_stored_and_handled_meanwhile(version: &'static str) {
    let channel = Channel::start(version);
    // For longer than two samples, so that what came first is told by one that nobody saw.
    let (begun, mut sent) = (Instant::now(), 0);
    while begun.elapsed() < Duration::from_secs(21) {
        sent += 1;
        channel.post("a", sent);
        std::thread::sleep(Duration::from_millis(50));
    }
    let browser = open(&channel);
    browser.wait_for("document.querySelectorAll('.chart').length === 3");
    let in_all = format!("{}.match(/([\\d,]+) in all/)[1].replace(',', '')", numbers("stored"));
    let early = browser.value(&format!("Number({in_all})"));
    assert!(early.as_u64().is_some_and(|early| early > 0 && early <= sent), "{early} of {sent}");
    // The next samples tell the rest: not one is missing or counted twice.
    for chart in ["stored", "handled"] {
        browser.wait_for(&format!("{}.endsWith(' · {sent} in all')", numbers(chart)));
    }
    let beside = "document.querySelector('.chart[data-name=\"stored\"] .numbers.beside').textContent";
    assert!(browser.text(beside).ends_with(&format!(" · {sent} in all")), "{}", browser.text(beside));
    browser.wait_for(&format!("{}.startsWith('now 0 · max ')", numbers("stored")));
    let max = browser.value(&format!("Number({}.match(/max ([\\d.]+)/)[1])", numbers("stored")));
    let max = max.as_f64().expect("a rate");
    assert!(max > 1.0 && max < 25.0, "a message each 50 ms at most, for more than a sample: {max}");
    let label = "document.querySelector('.chart[data-name=\"stored\"] svg').getAttribute('aria-label')";
    assert!(browser.text(label).contains(&format!("{sent} in all")), "{}", browser.text(label));
    assert!(browser.text("document.getElementById('charts-note').textContent").starts_with("Since "));
    // What stands still is behind, and that is the lag.
    let _still = CONSUMERS.map(|name| Frozen::new(channel.child(name)));
    for id in 1..=12 {
        channel.post("b", 1000 + id);
    }
    browser.wait_for(&format!("/^now 12 · max \\d+$/.test({})", numbers("lag")));
    // Each sample can be read with the keyboard.
    let plot = "document.querySelector('.chart[data-name=\"lag\"] svg')";
    let reading = "document.querySelector('.chart[data-name=\"lag\"] .reading').textContent";
    browser.value(&format!("{plot}.focus()"));
    browser.press(&[HOME]);
    browser.wait_for(&format!("/^\\d\\d:\\d\\d:\\d\\d: \\d+$/.test({reading})"));
    browser.press(&[LEFT, '\u{e010}']);
    browser.wait_for(&format!("/: 12$/.test({reading})"));
    assert_eq!(browser.value("document.querySelectorAll('.chart.read').length"), 1);
    assert_it_fits(&browser, "charts");
    assert_eq!(browser.log("browser"), Vec::<String>::new());
}

/// The broker stands still, and with it whatever the endpoint could ask.
pub fn where_the_cluster_was_not_seen_the_charts_have_a_gap(version: &'static str) {
    let channel = Channel::start(version);
    let browser = open(&channel);
    browser.wait_for(&format!("/^now 0 /.test({})", numbers("stored")));
    let still = Frozen::new(channel.program.id());
    browser.wait_for(&format!("/^now not known /.test({})", numbers("stored")));
    browser.wait_for(&format!("/^now not known /.test({})", numbers("lag")));
    drop(still);
    browser.wait_for(&format!("/^now 0 /.test({})", numbers("stored")));
    let plot = "document.querySelector('.chart[data-name=\"stored\"] svg')";
    let label = browser.text(&format!("{plot}.getAttribute('aria-label')"));
    assert!(label.ends_with(", with 1 gap where it is not known"), "{label}");
    let lines = format!("{plot}.querySelector('.curve').getAttribute('d').split('M').length - 1");
    assert_eq!(browser.value(&lines), 2);
}

/// A link carries no token.
pub fn the_metrics_can_be_read_where_there_is_a_token(version: &'static str) {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new("metrics-token");
    let file = folder.path().join("token");
    std::fs::write(&file, "0123456789abcdef-right\n").expect("a file");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("its mode");
    let file = file.display().to_string();
    let channel = Channel::start_with(version, |start| start.set("producer_api.token_file", &file));
    let browser = Browser::at(&page(&channel.program));
    browser.wait_for("document.getElementById('ask-token').open");
    browser.type_text("0123456789abcdef-right");
    browser.press(&[ENTER]);
    browser.wait_for("document.getElementById('connection').dataset.state === 'live'");
    let version = concat!("point-to-point ", env!("CARGO_PKG_VERSION"));
    assert_eq!(browser.text("document.getElementById('version').textContent"), version);
    browser.value("document.getElementById('metrics').focus()");
    browser.press(&[ENTER]);
    browser.go_to_other_tab();
    browser.wait_for(
        "document.body?.textContent.includes('point_to_point_messages_total{outcome=\"stored\"} 0')",
    );
    browser.wait_for("document.body.textContent.endsWith('# EOF\\n')");
}
