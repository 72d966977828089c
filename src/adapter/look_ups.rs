//! Look-ups of committed offsets, remembered past their connection: a consumer whose connection was idle between its
//! look-up and its first fetch comes with that fetch over a new one.

use std::collections::{BTreeSet, HashMap};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::member::LINGER;
use super::members::Unclear;
use crate::net::lock;

/// A look-up is forgotten this long after its connection has closed.
const KEPT: Duration = Duration::from_secs(1);

/// What a look-up of committed offsets said.
#[derive(Debug, Clone)]
pub struct LookUp {
    /// The group.
    pub group: String,
    /// Its committed offsets, `None` where there was none.
    pub committed: HashMap<(String, i32), Option<i64>>,
}

impl LookUp {
    /// Whether the look-up was of these topics, and perhaps of others.
    pub fn covers(&self, topics: &BTreeSet<String>) -> bool {
        topics.iter().all(|topic| self.committed.keys().any(|(known, _)| known == topic))
    }

    fn is_of(&self, partitions: &BTreeSet<(String, i32)>) -> bool {
        self.committed.len() == partitions.len() && partitions.iter().all(|p| self.committed.contains_key(p))
    }

    /// Whether a consumer that looked this up would ask for these offsets: just these partitions, and those with a
    /// committed offset from there.
    fn leads_to(&self, asked: &[(String, i32, i64)]) -> bool {
        asked.len() == self.committed.len()
            && asked.iter().all(|(topic, partition, offset)| {
                let committed = self.committed.get(&(topic.clone(), *partition));
                committed.is_some_and(|committed| committed.is_none_or(|committed| committed == *offset))
            })
    }
}

struct Remembered {
    connection: u64,
    name: String,
    look_up: LookUp,
    closed: Option<Instant>,
}

/// The look-ups of connections that have not fetched since.
#[derive(Default)]
pub struct LookUps {
    recent: Mutex<Vec<Remembered>>,
}

impl LookUps {
    /// Remembers the last look-up of a connection.
    pub fn remember(&self, connection: u64, name: &str, look_up: LookUp) {
        let mut recent = lock(&self.recent);
        recent.retain(|r| r.connection != connection && r.closed.is_none_or(|at| at.elapsed() < KEPT));
        recent.push(Remembered { connection, name: name.to_owned(), look_up, closed: None });
    }

    /// The connection has become a consumer's.
    pub fn forget(&self, connection: u64) {
        lock(&self.recent).retain(|r| r.connection != connection);
    }

    /// The connection is closed.
    pub fn close(&self, connection: u64) {
        for remembered in lock(&self.recent).iter_mut().filter(|r| r.connection == connection) {
            remembered.closed = Some(Instant::now());
        }
    }

    /// The look-up of a connection just closed that goes on here with the offsets of the same partitions.
    pub fn continuing(&self, name: &str, partitions: &BTreeSet<(String, i32)>) -> Option<LookUp> {
        let mut recent = lock(&self.recent);
        let index = recent.iter().position(|r| {
            let closed = r.closed.is_some_and(|at| at.elapsed() < KEPT);
            closed && r.name == name && r.look_up.is_of(partitions)
        })?;
        Some(recent.remove(index).look_up)
    }

    /// The look-up that leads to this first fetch over a new connection. The crate opens that before it closes the old
    /// one, so a fitting connection that is still open is given a moment.
    ///
    /// # Errors
    /// [`Unclear`] when look-ups for more than one group fit.
    pub fn returning(&self, name: &str, asked: &[(String, i32, i64)]) -> Result<Option<LookUp>, Unclear> {
        let deadline = Instant::now() + LINGER;
        loop {
            let mut recent = lock(&self.recent);
            let fits = |r: &Remembered| r.name == name && r.look_up.leads_to(asked);
            let fitting: Vec<usize> = (0..recent.len()).filter(|&i| fits(&recent[i])).collect();
            let closed =
                fitting.iter().copied().filter(|&i| recent[i].closed.is_some_and(|at| at.elapsed() < KEPT));
            let closed: Vec<usize> = closed.collect();
            if let Some(&first) = closed.first() {
                let group = recent[first].look_up.group.clone();
                if closed.iter().any(|&i| recent[i].look_up.group != group) {
                    return Err(Unclear);
                }
                return Ok(Some(recent.remove(first).look_up));
            }
            if fitting.is_empty() || Instant::now() >= deadline {
                return Ok(None);
            }
            drop(recent);
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look_up(group: &str, committed: Option<i64>) -> LookUp {
        LookUp { group: group.to_owned(), committed: HashMap::from([(("t".to_owned(), 0), committed)]) }
    }

    fn asked(offset: i64) -> Vec<(String, i32, i64)> {
        vec![("t".to_owned(), 0, offset)]
    }

    #[test]
    fn a_first_fetch_finds_the_look_up_of_the_connection_before() {
        let look_ups = LookUps::default();
        look_ups.remember(1, "c", look_up("g", Some(7)));
        look_ups.close(1);
        assert!(look_ups.returning("other", &asked(7)).unwrap().is_none());
        assert!(look_ups.returning("c", &asked(8)).unwrap().is_none());
        assert_eq!(look_ups.returning("c", &asked(7)).unwrap().unwrap().group, "g");
        assert!(look_ups.returning("c", &asked(7)).unwrap().is_none(), "it is found once");
    }

    #[test]
    fn look_ups_of_two_groups_cannot_be_told_apart() {
        let look_ups = LookUps::default();
        for (connection, group) in [(1, "g"), (2, "h")] {
            look_ups.remember(connection, "c", look_up(group, None));
            look_ups.close(connection);
        }
        assert!(look_ups.returning("c", &asked(3)).is_err());
    }

    #[test]
    fn a_look_up_whose_connection_stays_open_belongs_to_nobody_else() {
        let look_ups = LookUps::default();
        look_ups.remember(1, "c", look_up("g", None));
        assert!(look_ups.returning("c", &asked(0)).unwrap().is_none());
    }
}
