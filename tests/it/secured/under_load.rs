//! Authentication that ends again and again, tokens and certificates that are exchanged, brokers that
//! restart, all under load: nothing lost, nothing doubled.

use std::env;
use std::fs;
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use super::{consumer, joined, post_to};
use crate::support::authority::{Authority, write_secret};
use crate::support::load::{Load, numbers_of};
use crate::support::program::received_by;
use crate::support::secured::{MECHANISMS, Secured, USER, Way};
use crate::support::unique;
use crate::support::watchdog::Folder;

/// How long authentication ends each five seconds; `./test.sh long` takes two minutes.
fn duration() -> Duration {
    Duration::from_secs(if env::var_os("TEST_FIGURES").is_some() { 120 } else { 20 })
}

/// The load's own clock.
const ROUND: Duration = Duration::from_secs(4);

/// How often a connection of the listener with short authentication has authenticated anew.
fn renewals(kafka: &Secured) -> usize {
    kafka.kafka.node(0).log().matches("Beginning re-authentication").count()
}

pub fn authentication_that_ends_each_five_seconds_costs_and_doubles_nothing(version: &'static str) {
    let kafka = Secured::shared(version);
    let (topic, group) = (unique("seguro"), unique("grupo"));
    let assistant = kafka.kafka.assistant();
    assistant.create_topic(&topic, 4, 1, &[]);
    let [plain, scram, _, token] = MECHANISMS.map(|mechanism| kafka.sasl("BRIEF", mechanism));
    let token = token.token(&Authority::shared().token(USER, 15));
    let endpoint = post_to(&plain, &topic);
    let first = joined(consumer(&scram, "consumer1", &topic, &group));
    let second = joined(consumer(&token, "consumer2", &topic, &group));
    let other = post_to(&token, &topic);
    assistant.wait_for_members(&group, &["consumer1", "consumer2"], 2);
    let (load, before, end) =
        (Load::start(endpoint.address(), 8, u64::MAX), renewals(kafka), Instant::now() + duration());
    let file = token.secret_path("kafka.oauth_token_file");
    // Until all is committed: on a busy machine the consumers take longer than the load.
    let (no_more, renewing) = mpsc::channel::<()>();
    let renewing = thread::spawn(move || {
        // Each token lives for three of these rounds.
        while renewing.recv_timeout(ROUND) == Err(RecvTimeoutError::Timeout) {
            write_secret(&file, &Authority::shared().token(USER, 15));
        }
    });
    let mut extra = 0;
    while Instant::now() < end {
        thread::sleep(ROUND);
        assert_eq!(other.post("/enviar", &format!(r#"{{"id":{}}}"#, u64::MAX - extra)).status, 200);
        extra += 1;
    }
    let mut book = load.finish();
    assert_eq!((book.refused.len(), book.unknown.len()), (0, 0), "{:?}", book.odd.first());
    let ours = book.stored.len();
    assistant.wait_for_commits(&group, &topic);
    drop(no_more);
    renewing.join().expect("tokens until then");
    let printed = numbers_of(received_by(&[&first, &second]));
    let of_the_load: Vec<u64> = printed.iter().copied().filter(|number| *number < 1 << 60).collect();
    assert_eq!((of_the_load.len(), printed.len()), (ours, ours + extra as usize), "each is printed once");
    book.odd.clear();
    book.check(&of_the_load, 0);
    // Each program has one connection at least, and authenticates on it before its five seconds are over.
    let rounds = duration().as_secs() as usize / 5;
    let renewed = renewals(kafka) - before;
    println!("{ours} messages, {renewed} renewals");
    assert!(renewed >= 4 * (rounds - 1), "{renewed} renewals");
}

/// Puts certificates of a set in the place of those that programs use: the authority's and a client's.
fn take(from: &Path, to: &Path) {
    for (source, target) in
        [("ca.pem", "ca.pem"), ("adela-p256.crt", "client.crt"), ("adela-p256.sec1", "client.key")]
    {
        write_secret(&to.join(target), &fs::read_to_string(from.join(source)).expect("a certificate"));
    }
}

/// The way with files of this folder.
fn with_files_of(folder: &Path, way: Way, client: bool) -> Way {
    let file = |name: &str| folder.join(name).display().to_string();
    let way = way.set("kafka.tls_ca", &file("ca.pem"));
    if !client {
        return way;
    }
    way.set("kafka.tls_certificate", &file("client.crt")).set("kafka.tls_key", &file("client.key"))
}

/// The authority itself is exchanged: programs that trust the old one alone cannot work with the new one.
pub fn exchanged_certificates_and_restarted_brokers_cost_and_double_nothing(version: &'static str) {
    let kafka = Secured::start(version);
    let (topic, group) = (unique("seguro"), unique("grupo"));
    kafka.kafka.assistant().create_topic(&topic, 4, 1, &[]);
    let (files, newer) = (Folder::new("files"), Folder::new("newer"));
    take(&Authority::shared().file(""), files.path());
    Authority::shared().make_certificates(newer.path());
    let mutual = with_files_of(files.path(), kafka.tls("MTLS"), true);
    let scram = with_files_of(files.path(), kafka.sasl("SASLTLS", "SCRAM-SHA-512"), false);
    let endpoint = post_to(&scram, &topic);
    let first = joined(consumer(&mutual, "consumer1", &topic, &group));
    let second = joined(consumer(&scram, "consumer2", &topic, &group));
    let load = Load::start(endpoint.address(), 8, u64::MAX);
    load.wait_for_progress(300);
    kafka.exchange_certificates(newer.path());
    take(newer.path(), files.path());
    // What is connected goes on with what it has.
    load.wait_for_progress(300);
    let book = load.outlast_a_stop_and_a_kill(&kafka.kafka);
    println!("{} stored, {} refused, {} unknown", book.stored.len(), book.refused.len(), book.unknown.len());
    book.check_topic(&kafka.kafka, &topic);
    book.check_consumers(&[&first, &second], 2);
    kafka.kafka.assistant().wait_for_commits(&group, &topic);
}
