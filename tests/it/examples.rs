//! The examples of the library: each does what its first line says, and README.md shows the very text of two
//! of them.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use crate::support::ports::free_port;
use crate::support::program::{Program, Start};
use crate::support::watchdog::Folder;
use crate::support::{PATIENCE, my_turn};

/// The examples' folder, after all of them are built: cargo builds them for some selections of tests alone.
pub fn examples() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--locked", "--examples"]).current_dir(env!("CARGO_MANIFEST_DIR"));
        let built = cargo.output().expect("cargo");
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        let programs = Path::new(env!("CARGO_BIN_EXE_consumer1")).parent().expect("a folder");
        programs.join("examples")
    })
}

/// A database for examples that run one after the other or beside each other.
struct Stage {
    folder: Folder,
    address: String,
}

impl Stage {
    fn new() -> Stage {
        Stage { folder: Folder::new("examples"), address: format!("127.0.0.1:{}", free_port()) }
    }

    fn start(&self, name: &str) -> Program {
        let mut command = Command::new(examples().join(name));
        command.env("POINT_TO_POINT__EMBEDDED__DATA_DIR", self.folder.path().join("data"));
        command.env("POINT_TO_POINT__EMBEDDED__LISTEN", &self.address);
        Start::command(name, command).start()
    }

    /// Runs an example to its end, and gives what it printed.
    fn run(&self, name: &str) -> Vec<String> {
        let mut example = self.start(name);
        assert_eq!(example.wait(PATIENCE), Some(0), "{name}: {:?}", example.log());
        example.lines()
    }
}

#[test]
fn what_one_example_produces_another_consumes() {
    let _turn = my_turn();
    let stage = Stage::new();
    let stored = stage.run("produce");
    assert!(stored[0].starts_with("stored at orders-") && stored[0].ends_with(", offset 0"), "{stored:?}");
    let mut consumer = stage.start("consume");
    consumer.wait_for_line(r#"attempt 1: {"id":1}"#, PATIENCE);
    consumer.signal("TERM");
    assert_eq!(consumer.wait(PATIENCE), Some(0), "{:?}", consumer.log());
}

#[test]
fn the_handler_in_sh_finds_the_id_of_the_order_itself() {
    let handler = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/handle-order");
    let status_and_id = |order: &str| {
        let mut command = Command::new(&handler);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("sh");
        child.stdin.take().expect("its input").write_all(order.as_bytes()).expect("it reads");
        let output = child.wait_with_output().expect("its end");
        let printed = String::from_utf8(output.stdout).expect("UTF-8");
        (output.status.code(), printed.split(' ').nth(1).map(str::to_owned))
    };
    for (order, id) in [
        (r#"{"id":1}"#, "1"),
        (r#"{"customer":{"id":9},"id": "a-2" ,"lines":[{"id":3}]}"#, "a-2"),
        ("{\"kinds\":[\"id\"],\n  \"id\" : 7\n}\n", "7"),
        (r#"{"note":"{ \"id\":5","id":6}"#, "6"),
        (r#"{"id":4,"before":{"id":3}}"#, "4"),
    ] {
        assert_eq!(status_and_id(order), (Some(0), Some(id.to_owned())), "{order}");
    }
    for order in ["{}", r#"{"id":null,"lines":[{"id":3}]}"#, r#"{"id":""}"#, r#"{"note":"\"id\":5"}"#, "[1]"]
    {
        assert_eq!(status_and_id(order), (Some(65), None), "{order}");
    }
}

#[test]
fn what_a_handler_fails_at_is_a_dead_letter_that_goes_back() {
    let _turn = my_turn();
    let stage = Stage::new();
    stage.run("produce");
    let mut handler = stage.start("handler");
    handler.wait_for_line(r#"attempt 2 at offset 0: {"id":1}"#, PATIENCE);
    // The next message comes after the dead letter is stored and the offset committed.
    stage.run("produce");
    handler.wait_for_lines(4, PATIENCE);
    handler.signal("TERM");
    assert_eq!(handler.wait(PATIENCE), Some(0), "{:?}", handler.log());
    let letters = stage.run("dead_letters");
    assert!(letters[0].ends_with(r#"nobody paid for {"id":1}"#), "{letters:?}");
    assert!(letters.last().unwrap().starts_with("replayed "), "{letters:?}");
}

#[test]
fn an_embedded_broker_serves_a_test() {
    let _turn = my_turn();
    let printed = Stage::new().run("embedded_broker");
    assert!(printed[0].starts_with("127.0.0.1:") && printed[0].contains(" is ready after "), "{printed:?}");
}

#[test]
fn a_program_with_the_kafka_crate_works_through_the_adapter() {
    let _turn = my_turn();
    assert_eq!(Stage::new().run("kafka_crate"), [r#"offset 0: {"id":2}"#]);
}

#[test]
fn the_readme_shows_the_text_of_the_examples() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let plain = |text: &str| text.split_whitespace().collect::<String>();
    let read = |file: &str| fs::read_to_string(root.join(file)).expect(file);
    let sources = ["examples/produce.rs", "examples/consume.rs"].map(|file| plain(&read(file)));
    let readme = read("README.md");
    let blocks: Vec<&str> =
        readme.split("```rust\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert_eq!(blocks.len(), sources.len());
    for (block, source) in blocks.iter().zip(sources) {
        assert!(source.contains(&plain(block)), "README.md differs from its example:\n{block}");
    }
}
