//! A disk that is full for a moment: what is posted meanwhile is refused with the reason, everybody says it,
//! and messages are taken again as soon as there is room, by whichever process is first. Nothing that was
//! acknowledged is lost.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::support::http::{Answer, RawClient};
use crate::support::load::{Book, Load, number_of};
use crate::support::metrics::get;
use crate::support::ports::free_port;
use crate::support::program::{Program, RECEIVED, Start, WAITING, binary};
use crate::support::small_disk::SmallDisk;
use crate::support::{PATIENCE, eventually, eventually_equal, my_turn};

/// What the system says.
const NO_ROOM: &str = "No space left on device";

fn says_why(sentence: &str) -> bool {
    sentence.contains(NO_ROOM)
}

/// The embedded broker's database on a disk of its own, and its address.
pub struct Place {
    pub disk: SmallDisk,
    port: u16,
    /// `embedded.min_free_bytes`, where it is set.
    min_free_bytes: Option<u64>,
}

impl Place {
    /// One where messages are stored until the disk is full.
    pub fn new() -> Place {
        Place { min_free_bytes: Some(0), ..Place::watched() }
    }

    /// One where as much is kept free as is usual.
    pub fn watched() -> Place {
        Place { disk: SmallDisk::new(16), port: free_port(), min_free_bytes: None }
    }

    /// Where its broker listens.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    fn settings(&self) -> Vec<String> {
        let mut settings = vec![
            "kafka.bootstrap_servers=[]".to_owned(),
            format!("embedded.listen=127.0.0.1:{}", self.port),
            format!("embedded.data_dir={}", self.disk.path().join("data").display()),
        ];
        settings.extend(self.min_free_bytes.map(|bytes| format!("embedded.min_free_bytes={bytes}")));
        settings.into_iter().flat_map(|setting| ["--set".to_owned(), setting]).collect()
    }

    pub fn program(&self, name: &str) -> Start {
        let settings = self.settings();
        Start::program(name).arguments(&settings.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// What `status` ends with, and prints on both outputs.
    pub fn status(&self) -> (Option<i32>, String) {
        let mut command = Command::new(binary("point-to-point"));
        command.arg("status").args(self.settings()).args(["--set", "log.file="]).stdin(Stdio::null());
        let output = command.output().expect("status runs");
        let texts = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&texts).into_owned())
    }
}

/// Waits until the page is told why the cluster cannot be seen.
fn wait_for_trouble_on_the_page(api: &Program) {
    wait_for_page(api, NO_ROOM);
}

/// Waits until the page is told this.
pub fn wait_for_page(api: &Program, what: &str) {
    let mut stream = TcpStream::connect(api.address()).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.write_all(b"GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").expect("it reads");
    let text = RawClient::new(stream).read_until(what).expect("the reason");
    assert!(text.lines().last().is_some_and(|line| line.starts_with("data: ")), "no event tells it: {text}");
}

/// The numbers that these programs have printed, whoever of their children did.
fn printed(programs: &[&Program]) -> Vec<u64> {
    let lines = programs.iter().flat_map(|program| program.lines());
    lines.filter_map(|line| Some(number_of(line.split_once(RECEIVED)?.1))).collect()
}

/// Every stored message is printed, no refused one is, and at most `repeats` are printed again: those in
/// hand, whose commits a failure may swallow.
pub fn check(book: &Book, programs: &[&Program], repeats: usize) {
    eventually("all that is stored is printed", PATIENCE, || {
        let printed: BTreeSet<u64> = printed(programs).into_iter().collect();
        book.stored.keys().all(|number| printed.contains(number)).then_some(())
    });
    book.check(&printed(programs), repeats);
}

/// The numbers of messages that no load sends.
const OWN_NUMBERS: u64 = 1 << 40;

/// Posts one message, and notes in the book what became of it.
fn post(api: &Program, number: u64, filler: &str, book: &mut Book) -> Answer {
    let answer = api.post("/enviar", &format!(r#"{{"id":{number},"contenido":"{filler}"}}"#));
    book.note(number, &answer);
    assert!(book.odd.is_empty(), "{:?}", book.odd);
    answer
}

/// Posts a message that is none of a load's, and notes in the book what became of it.
fn post_own(api: &Program, book: &mut Book) -> Answer {
    post(api, OWN_NUMBERS + book.total() as u64, "", book)
}

/// Fills the disk under load, sees that everybody says so, makes room, and sees that messages are taken
/// again; twice.
fn outlast_a_full_disk(place: &Place, api: &Program, mut own: Book) -> Book {
    let load = Load::start(api.address(), 8, u64::MAX);
    for _ in 0..2 {
        load.wait_for_progress(100);
        eventually_equal("ready", &200, || get(api.address(), "/readyz").status);
        place.disk.fill();
        let filled = Instant::now();
        let refused = eventually("a message is refused for want of room", PATIENCE, || {
            let answer = post_own(api, &mut own);
            (answer.status == 503 && answer.json()["error"]["code"] == "store_failed").then_some(answer)
        });
        println!("refused after {:?}", filled.elapsed());
        let refused = refused.json();
        let why = refused["message"].as_str().unwrap_or_default();
        assert!(why.contains("not stored") && why.contains(NO_ROOM), "{refused}");
        eventually("not ready, with the reason", PATIENCE, || {
            let answer = get(api.address(), "/readyz");
            (answer.status == 503 && answer.json()["message"].as_str().is_some_and(says_why)).then_some(())
        });
        // The store may find a little room within its own file, and fail again when that is used up.
        for _ in 0..5 {
            eventually("messages are refused", PATIENCE, || {
                (post_own(api, &mut own).json()["error"]["code"] == "store_failed").then_some(())
            });
        }
        let records = r#"{"records":[{"value":1}]}"#;
        eventually("records for any topic are refused with the reason", PATIENCE, || {
            let refused = api.post("/topics/otro", records);
            (refused.status == 503 && refused.json()["message"].as_str().is_some_and(says_why)).then_some(())
        });
        eventually("status tells the reason", PATIENCE, || {
            let (code, said) = place.status();
            (code == Some(1) && said.contains(NO_ROOM)).then_some(())
        });
        wait_for_trouble_on_the_page(api);
        place.disk.empty();
        let emptied = Instant::now();
        load.wait_for_progress(1);
        println!("stored after {:?}", emptied.elapsed());
    }
    load.wait_for_progress(100);
    eventually_equal("ready again", &200, || get(api.address(), "/readyz").status);
    eventually("status shows the topic", PATIENCE, || {
        let (code, said) = place.status();
        (code == Some(0) && said.contains("mi-topico")).then_some(())
    });
    let mut book = load.finish();
    println!("{} stored, {} refused, {} unknown", book.stored.len(), book.refused.len(), book.unknown.len());
    book.stored.append(&mut own.stored);
    book.refused.append(&mut own.refused);
    book.unknown.append(&mut own.unknown);
    book
}

#[test]
fn the_default_program_outlasts_a_full_disk() {
    let _turn = my_turn();
    let place = Place::new();
    let program = Program::producer_with(place.program("point-to-point"));
    let book = outlast_a_full_disk(&place, &program, Book::default());
    check(&book, &[&program], 4);
}

#[test]
fn stand_alone_programs_outlast_a_full_disk() {
    let _turn = my_turn();
    let place = Place::new();
    let first = place.program("consumer1").start();
    first.wait_for_line(WAITING, PATIENCE);
    let second = place.program("consumer2").start();
    let api = Program::producer_with(place.program("producer_api"));
    second.wait_for_line(WAITING, PATIENCE);
    let book = outlast_a_full_disk(&place, &api, Book::default());
    check(&book, &[&first, &second], 4);
}

#[test]
fn a_program_without_standbys_outlasts_a_full_disk() {
    let _turn = my_turn();
    let place = Place::new();
    let api = Program::producer_with(place.program("producer_api"));
    let mut own = Book::default();
    eventually_equal("a message is stored", &200, || post_own(&api, &mut own).status);
    place.disk.fill();
    // What the log has room for is stored.
    let filler = "x".repeat(100_000);
    let refused = eventually("a message is refused", PATIENCE, || {
        let answer = post(&api, OWN_NUMBERS + own.total() as u64, &filler, &mut own);
        (answer.status != 200).then_some(answer)
    });
    assert!(refused.status == 504 || refused.json()["error"]["code"] == "store_failed", "{refused:?}");
    // One after the other: none is refused together with others. Whether the one is stored whose sync fails
    // may be unknown.
    for number in 0..5 {
        let answer = post_own(&api, &mut own);
        let is_unknown = number == 0 && answer.status == 504;
        assert!(is_unknown || answer.json()["error"]["code"] == "store_failed", "{number}: {answer:?}");
    }
    place.disk.empty();
    eventually_equal("a message is stored again", &200, || post_own(&api, &mut own).status);
    let book = outlast_a_full_disk(&place, &api, own);
    let consumer = place.program("consumer1").start();
    check(&book, &[&consumer], 0);
}

/// A limit on the size of its files is a full disk for the holder alone: 512-byte blocks, so 4 MiB.
const OWN_LIMIT: &str = r#"trap '' XFSZ; ulimit -f 8192; exec "$@""#;

#[test]
fn a_healthy_standby_takes_over_from_a_holder_whose_store_fails() {
    let _turn = my_turn();
    let place = Place::new();
    let holder = place.program("consumer1").by(OWN_LIMIT).start();
    holder.wait_for_line(WAITING, PATIENCE);
    let api = Program::producer_with(place.program("producer_api"));
    let filler = "x".repeat(50_000);
    let mut book = Book::default();
    eventually("more is stored than the holder can", PATIENCE, || {
        post(&api, book.total() as u64, &filler, &mut book);
        (book.stored.len() >= 150).then_some(())
    });
    api.wait_for_log(&["takes over"], PATIENCE);
    let second = place.program("consumer2").start();
    check(&book, &[&holder, &second], 2);
}
