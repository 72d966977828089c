//! What the integration tests share: real Kafka clusters and the embedded broker, Kafka's own tools, our
//! programs as processes, an HTTP client that sees every byte of an answer, and load with a book of what
//! became of every message.
//!
//! Every process started here dies with the test that started it, also when that test panics or is killed
//! (see [`watchdog`]). Every wait has a deadline and says what it waited for.

pub mod assistant;
pub mod authority;
pub mod embedded;
pub mod http;
pub mod java;
pub mod kafka;
pub mod kraft;
pub mod limits;
pub mod load;
pub mod log;
pub mod machine;
pub mod metrics;
pub mod node;
pub mod ports;
pub mod program;
pub mod python;
pub mod scripted;
pub mod secured;
pub mod size;
pub mod small_disk;
pub mod tools;
pub mod turn;
pub mod watchdog;

use std::fmt::Debug;
use std::thread;
use std::time::{Duration, Instant};

/// The versions of Kafka that the tests run against; test.sh fetches their jars.
pub const NEWEST: &str = "4.3.1";
/// The last version with the old request versions and the old group coordinator.
pub const OLDEST: &str = "3.9.1";
/// The broker of our own, which a process of ours hosts.
pub const EMBEDDED: &str = "embedded";

/// How long a thing may take that is merely slow on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The turn of a test that mostly waits.
pub fn my_turn() -> turn::Turn {
    turn::Turn::wait(turn::LIGHT)
}

/// Says which tests of a file run on which brokers. Each is a function of the version; it becomes a test
/// `module::function`, and takes its turn: as one of many, or, with `test as HEAVY`, as one of few (see
/// [`turn`]).
macro_rules! run_on {
    ($(mod $module:ident on $version:ident { $($test:ident $(as $weight:ident)?),* $(,)? })*) => {
        $(mod $module {
            $(#[test]
            fn $test() {
                let _turn = crate::support::turn::Turn::wait(crate::support::weight!($($weight)?));
                super::$test(super::$version);
            })*
        })*
    };
}
pub(crate) use run_on;

/// The weight of a test in [`run_on`].
macro_rules! weight {
    () => {
        crate::support::turn::LIGHT
    };
    ($weight:ident) => {
        crate::support::turn::$weight
    };
}
pub(crate) use weight;

/// Asks until there is an answer, and panics with `what` when there is none in time.
pub fn eventually<T>(what: &str, patience: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "not within {patience:?}: {what}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// Asks until the answer is the expected one; a failure shows the last answer.
pub fn eventually_equal<T: PartialEq + Debug>(what: &str, expected: &T, mut ask: impl FnMut() -> T) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = ask();
        if answer == *expected {
            return;
        }
        assert!(Instant::now() < deadline, "{what}: expected {expected:?}, but it stays {answer:?}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// A name that no other test of this run uses, for topics and groups.
pub fn unique(name: &str) -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{name}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// The last `count` lines of a text, each cut at 300 characters, for reports of failed tests.
pub fn tail(text: &str, count: usize) -> String {
    let lines: Vec<String> = text.lines().map(|line| line.chars().take(300).collect()).collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}
