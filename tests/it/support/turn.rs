//! How many tests are at work at once. Most of a test is waiting, so that several of them share two cores
//! well; a test under load, or one that starts virtual machines, needs more of them. Each waits until there
//! is room for it, in no order: cargo starts more tests than there is room for (RUST_TEST_THREADS in
//! .cargo/config.toml).

use std::fs::File;
use std::io::Write;
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Instant;

/// A test that mostly waits.
pub const LIGHT: usize = 1;
/// A test that keeps a core busy, or starts a broker of its own that is a virtual machine.
pub const HEAVY: usize = 2;

/// Room for each core.
const OF_A_CORE: usize = 3;

/// The room that a test takes until this is dropped.
pub struct Turn {
    weight: usize,
    since: Instant,
}

impl Turn {
    /// Waits until there is room for a test of this weight.
    pub fn wait(weight: usize) -> Turn {
        let weight = weight.min(room());
        let taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken =
            FREED.wait_while(taken, |taken| *taken + weight > room()).unwrap_or_else(PoisonError::into_inner);
        *taken += weight;
        Turn { weight, since: Instant::now() }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *TAKEN.lock().unwrap_or_else(PoisonError::into_inner) -= self.weight;
        FREED.notify_all();
        self.report();
    }
}

impl Turn {
    /// Adds a line to the file that TEST_TIMES names, from which test.sh tells what each module takes: the
    /// name of the test, its weight and its seconds.
    fn report(&self) {
        let Some(path) = std::env::var_os("TEST_TIMES") else { return };
        let name = thread::current().name().unwrap_or("unknown").to_owned();
        let line = format!("{name}\t{}\t{:.1}\n", self.weight, self.since.elapsed().as_secs_f64());
        let file = File::options().create(true).append(true).open(path);
        let written = file.and_then(|mut file| file.write_all(line.as_bytes()));
        written.unwrap_or_else(|error| eprintln!("what {name} took is not noted: {error}"));
    }
}

static TAKEN: Mutex<usize> = Mutex::new(0);
static FREED: Condvar = Condvar::new();

/// All the room there is; TEST_ROOM overrules it.
fn room() -> usize {
    let asked = std::env::var("TEST_ROOM").ok().and_then(|text| text.parse().ok());
    asked.unwrap_or_else(|| thread::available_parallelism().map_or(2, usize::from) * OF_A_CORE).max(1)
}
