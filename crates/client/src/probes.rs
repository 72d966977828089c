//! The ports that were asked of late in another way than the settings say.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use net::sync::{Mutex, lock};

/// What was found out about a port holds for so long: tries that follow each other closely ask once, while an
/// error about a listener that has been changed is wrong for a moment alone. Either finding can change, so
/// both hold as long.
const MEMORY: Duration = Duration::from_secs(5);

/// The ports remembered at most.
const MOST: usize = 256;

/// The ports that were asked of late in the other way, and whether they answered.
#[derive(Debug, Default)]
pub(crate) struct Probes(Mutex<HashMap<String, (Instant, bool)>>);

impl Probes {
    /// Whether the port answers to `ask`, by what is remembered or by asking it now.
    pub(crate) fn answers(&self, address: &str, ask: impl FnOnce() -> bool) -> bool {
        self.answers_at(Instant::now(), address, ask)
    }

    fn answers_at(&self, now: Instant, address: &str, ask: impl FnOnce() -> bool) -> bool {
        let holds = |at: &Instant| now.saturating_duration_since(*at) < MEMORY;
        if let Some((at, answered)) = lock(&self.0).get(address)
            && holds(at)
        {
            return *answered;
        }
        let answered = ask();
        let mut probes = lock(&self.0);
        probes.retain(|_, (at, _)| holds(at));
        if probes.len() < MOST {
            probes.insert(address.to_owned(), (now, answered));
        }
        answered
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_asked_in_the_other_way_only_once_in_a_while() {
        let probes = Probes::default();
        let start = Instant::now();
        let mut asked = 0;
        for after in [0, 1, 4] {
            let answered = probes.answers_at(start + Duration::from_secs(after), "a:1", || {
                asked += 1;
                true
            });
            assert!(answered);
        }
        assert_eq!(asked, 1);
    }

    #[test]
    fn a_listener_that_was_changed_is_asked_anew_after_five_seconds() {
        for before in [true, false] {
            let probes = Probes::default();
            let start = Instant::now();
            assert_eq!(probes.answers_at(start, "a:1", || before), before);
            assert_eq!(probes.answers_at(start + Duration::from_secs(4), "a:1", || !before), before);
            assert_eq!(probes.answers_at(start + Duration::from_secs(5), "a:1", || !before), !before);
        }
    }
}
