//! What the library logs where it works in this process: warnings and errors, of all tests.

use std::sync::{Mutex, Once, PoisonError};

use log::{Level, LevelFilter, Log, Metadata, Record};

use super::{PATIENCE, eventually};

static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Kept;

impl Log for Kept {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= Level::Warn
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            LINES.lock().unwrap_or_else(PoisonError::into_inner).push(record.args().to_string());
        }
    }

    fn flush(&self) {}
}

/// From now on lines are kept.
pub fn keep() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        log::set_logger(&Kept).expect("no other logger");
        log::set_max_level(LevelFilter::Warn);
    });
}

/// Waits for a line with all of these words; one of them should name something that no other test has.
pub fn wait_for(words: &[&str]) {
    eventually(&format!("a line with {words:?} is logged"), PATIENCE, || {
        let lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().any(|line| words.iter().all(|word| line.contains(word))).then_some(())
    });
}
