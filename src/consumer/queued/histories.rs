//! The errors of open messages, for what their dead letters say. They are in memory alone: after a crash a
//! history begins anew, while the number of attempts goes on.

use std::collections::{HashMap, VecDeque};

use crate::dead_letters::Verdict;
use crate::queue::partitions::Ownership;
use crate::text::beginning;

/// The errors that are kept of a message: the first one, and the last ones.
const MOST_ERRORS: usize = 8;
/// The bytes that are kept of an error.
const LONGEST_ERROR: usize = 200;
/// The messages whose errors are kept. A note has room for fewer that were attempted; these are those that
/// were given back without an attempt, too.
const MOST_MESSAGES: usize = 10_000;

/// What went wrong with a message.
#[derive(Debug, Default)]
pub struct History {
    errors: VecDeque<String>,
    /// How often it was given back without an attempt being counted.
    pub returns: u32,
    /// An administrator has put it aside.
    is_put_aside: bool,
    /// What its dead letter says, which could not be stored so far.
    verdict: Option<Verdict>,
}

/// The histories of all open messages that have one.
#[derive(Debug, Default)]
pub struct Histories {
    messages: HashMap<(Ownership, i64), History>,
}

impl Histories {
    /// Notes the error of an attempt.
    pub fn failed(&mut self, from: Ownership, offset: i64, attempt: u32, error: &str) {
        let Some(history) = self.of(from, offset) else { return };
        if history.errors.len() >= MOST_ERRORS {
            history.errors.remove(1);
        }
        // The dead letter has a line for each.
        let line = beginning(error, LONGEST_ERROR).replace(['\n', '\r'], " ");
        history.errors.push_back(format!("{attempt}: {line}"));
    }

    /// Notes that a message was given back without an attempt; gives how often that was.
    pub fn returned(&mut self, from: Ownership, offset: i64) -> u32 {
        let Some(history) = self.of(from, offset) else { return 1 };
        history.returns = history.returns.saturating_add(1);
        history.returns
    }

    /// Notes that an administrator has put a message aside.
    pub fn put_aside(&mut self, from: Ownership, offset: i64) {
        self.of(from, offset).into_iter().for_each(|history| history.is_put_aside = true);
    }

    /// Whether an administrator has put a message aside.
    pub fn is_put_aside(&self, from: Ownership, offset: i64) -> bool {
        self.messages.get(&(from, offset)).is_some_and(|history| history.is_put_aside)
    }

    /// Notes what the dead letter of a message says that could not be stored.
    pub fn not_stored(&mut self, from: Ownership, offset: i64, verdict: &Verdict) {
        if let Some(history) = self.of(from, offset) {
            history.verdict.get_or_insert_with(|| verdict.clone());
        }
    }

    /// What the dead letter of a message says, if it could not be stored before.
    pub fn verdict(&self, from: Ownership, offset: i64) -> Option<Verdict> {
        self.messages.get(&(from, offset)).and_then(|history| history.verdict.clone())
    }

    /// The errors of a message, the oldest first, each after the number of its attempt.
    pub fn errors(&self, from: Ownership, offset: i64) -> Vec<String> {
        let history = self.messages.get(&(from, offset));
        history.map(|history| history.errors.iter().cloned().collect()).unwrap_or_default()
    }

    /// Forgets a message that is done.
    pub fn forget(&mut self, from: Ownership, offset: i64) {
        if !self.messages.is_empty() {
            self.messages.remove(&(from, offset));
        }
    }

    /// Forgets all messages of partitions that are not among `owned` any more.
    pub fn keep(&mut self, owned: impl Fn(Ownership) -> bool) {
        self.messages.retain(|(from, _), _| owned(*from));
    }

    fn of(&mut self, from: Ownership, offset: i64) -> Option<&mut History> {
        let has_room = self.messages.len() < MOST_MESSAGES;
        if has_room {
            return Some(self.messages.entry((from, offset)).or_default());
        }
        self.messages.get_mut(&(from, offset))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::note::Note;
    use crate::queue::{Engine, EngineSettings, Order, Partitions};

    fn ownership() -> Ownership {
        let settings = EngineSettings {
            owner: "consumer1".to_owned(),
            order: Order::Key,
            max_attempts: 3,
            lease_time: 1_000,
            keep_waiting: 5_000,
            concurrency: 1,
            note_limit: 4_096,
            suspects: true,
            burst: 256,
        };
        Partitions::<()>::default().own("t", 0, Engine::new(settings, 0, Note::default()))
    }

    #[test]
    fn the_first_error_and_the_last_ones_are_kept() {
        let (mut histories, from) = (Histories::default(), ownership());
        for attempt in 1..=20 {
            histories.failed(from, 7, attempt, &"x".repeat(1_000));
        }
        let errors = histories.errors(from, 7);
        let numbers: Vec<&str> = errors.iter().filter_map(|error| error.split(':').next()).collect();
        assert_eq!(numbers, ["1", "14", "15", "16", "17", "18", "19", "20"]);
        assert!(errors.iter().all(|error| error.len() <= LONGEST_ERROR + 4));
        histories.forget(from, 7);
        assert!(histories.errors(from, 7).is_empty());
    }

    #[test]
    fn an_error_of_several_lines_is_one_line() {
        let (mut histories, from) = (Histories::default(), ownership());
        histories.failed(from, 7, 1, "Traceback:\r\n  line 3\n4: forged");
        assert_eq!(histories.errors(from, 7), ["1: Traceback:    line 3 4: forged"]);
    }

    #[test]
    fn no_more_messages_are_kept_than_there_is_room_for() {
        let (mut histories, from) = (Histories::default(), ownership());
        for offset in 0..2 * MOST_MESSAGES as i64 {
            assert_eq!(histories.returned(from, offset), 1);
        }
        assert_eq!(histories.returned(from, 0), 2);
        assert_eq!(histories.messages.len(), MOST_MESSAGES);
        histories.keep(|_| false);
        assert!(histories.messages.is_empty());
    }
}
