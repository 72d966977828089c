//! The size of tests that chance has a part in: small in the daily check, the full one with TEST_FIGURES, as
//! `./test.sh long` sets it; TEST_SEEDS names the seeds, with commas.

use std::env;

/// Whether the full size is asked for.
pub fn is_full() -> bool {
    env::var_os("TEST_FIGURES").is_some()
}

/// A small number in the daily check, a large one in the full size.
pub fn sized<T>(daily: T, full: T) -> T {
    if is_full() { full } else { daily }
}

/// The seeds to run a test with.
pub fn seeds() -> Vec<u64> {
    let named = env::var("TEST_SEEDS").unwrap_or_else(|_| sized("1", "1,2,3").to_owned());
    named.split(',').map(|seed| seed.trim().parse().expect("TEST_SEEDS are numbers")).collect()
}
