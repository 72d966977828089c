//! Results of OffsetFetch requests, remembered past their connection: a consumer whose connection was idle
//! between its OffsetFetch and its first fetch comes with that fetch over a new one.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use super::members::Ambiguous;
use client::group_member::LINGER;
use net::sync::{Condvar, Mutex, lock, wait_timeout};
use protocol::TopicPartition;

/// An OffsetFetch is forgotten this long after its connection has closed.
const KEPT: Duration = Duration::from_secs(1);

/// The answer to an OffsetFetch.
#[derive(Debug, Clone)]
pub struct OffsetFetch {
    /// The group.
    pub group: String,
    /// Its committed offsets, `None` where there was none.
    pub committed: HashMap<TopicPartition, Option<i64>>,
}

impl OffsetFetch {
    /// Whether the OffsetFetch was of these topics, and perhaps of others.
    pub fn covers(&self, topics: &BTreeSet<String>) -> bool {
        topics.iter().all(|topic| self.committed.keys().any(|known| known.topic == *topic))
    }

    fn is_of(&self, partitions: &BTreeSet<TopicPartition>) -> bool {
        self.committed.len() == partitions.len() && partitions.iter().all(|p| self.committed.contains_key(p))
    }

    /// Whether a consumer that looked this up would ask for these offsets: just these partitions, and those
    /// with a committed offset from there.
    fn leads_to(&self, asked: &[(TopicPartition, i64)]) -> bool {
        asked.len() == self.committed.len()
            && asked.iter().all(|(key, offset)| {
                let committed = self.committed.get(key);
                committed.is_some_and(|committed| committed.is_none_or(|committed| committed == *offset))
            })
    }
}

struct Remembered {
    connection: u64,
    name: String,
    offset_fetch: OffsetFetch,
    closed: Option<Instant>,
}

/// The OffsetFetches of connections that have not fetched since.
#[derive(Default)]
pub struct OffsetFetches {
    recent: Mutex<Vec<Remembered>>,
    /// A connection of `recent` has been closed, or is no longer there.
    closed: Condvar,
}

impl OffsetFetches {
    /// Remembers the last OffsetFetch of a connection.
    pub fn remember(&self, connection: u64, name: &str, offset_fetch: OffsetFetch) {
        let mut recent = lock(&self.recent);
        recent.retain(|r| r.connection != connection && r.closed.is_none_or(|at| at.elapsed() < KEPT));
        recent.push(Remembered { connection, name: name.to_owned(), offset_fetch, closed: None });
    }

    /// The connection has become a consumer's.
    pub fn forget(&self, connection: u64) {
        lock(&self.recent).retain(|r| r.connection != connection);
        self.closed.notify_all();
    }

    /// The connection is closed.
    pub fn close(&self, connection: u64) {
        for remembered in lock(&self.recent).iter_mut().filter(|r| r.connection == connection) {
            remembered.closed = Some(Instant::now());
        }
        self.closed.notify_all();
    }

    /// The OffsetFetch of a connection just closed that goes on here with the offsets of the same partitions.
    pub fn continuing(&self, name: &str, partitions: &BTreeSet<TopicPartition>) -> Option<OffsetFetch> {
        let mut recent = lock(&self.recent);
        let index = recent.iter().position(|r| {
            let closed = r.closed.is_some_and(|at| at.elapsed() < KEPT);
            closed && r.name == name && r.offset_fetch.is_of(partitions)
        })?;
        Some(recent.remove(index).offset_fetch)
    }

    /// The OffsetFetch that leads to this first fetch over a new connection. The crate opens that before it
    /// closes the old one, so a fitting connection that is still open is given a moment.
    ///
    /// # Errors
    /// [`Ambiguous`] when OffsetFetches for more than one group fit.
    pub fn returning(
        &self,
        name: &str,
        asked: &[(TopicPartition, i64)],
    ) -> Result<Option<OffsetFetch>, Ambiguous> {
        let deadline = Instant::now() + LINGER;
        let mut recent = lock(&self.recent);
        loop {
            let fits = |r: &&Remembered| r.name == name && r.offset_fetch.leads_to(asked);
            let is_closed = |r: &&Remembered| r.closed.is_some_and(|at| at.elapsed() < KEPT);
            let mut closed = recent.iter().filter(fits).filter(is_closed);
            if let Some(first) = closed.next() {
                if closed.any(|other| other.offset_fetch.group != first.offset_fetch.group) {
                    return Err(Ambiguous);
                }
                let connection = first.connection;
                let found = recent.iter().position(|r| r.connection == connection);
                return Ok(found.map(|index| recent.remove(index).offset_fetch));
            }
            if !recent.iter().any(|r| fits(&r)) || Instant::now() >= deadline {
                return Ok(None);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            recent = wait_timeout(&self.closed, recent, left);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offset_fetch(group: &str, committed: Option<i64>) -> OffsetFetch {
        OffsetFetch {
            group: group.to_owned(),
            committed: HashMap::from([(TopicPartition::new("t", 0), committed)]),
        }
    }

    fn asked(offset: i64) -> Vec<(TopicPartition, i64)> {
        vec![(TopicPartition::new("t", 0), offset)]
    }

    #[test]
    fn a_first_fetch_finds_the_look_up_of_the_connection_before() {
        let offset_fetches = OffsetFetches::default();
        offset_fetches.remember(1, "c", offset_fetch("g", Some(7)));
        offset_fetches.close(1);
        assert!(offset_fetches.returning("other", &asked(7)).unwrap().is_none());
        assert!(offset_fetches.returning("c", &asked(8)).unwrap().is_none());
        assert_eq!(offset_fetches.returning("c", &asked(7)).unwrap().unwrap().group, "g");
        assert!(offset_fetches.returning("c", &asked(7)).unwrap().is_none(), "it is found once");
    }

    #[test]
    fn offset_fetches_of_two_groups_cannot_be_told_apart() {
        let offset_fetches = OffsetFetches::default();
        for (connection, group) in [(1, "g"), (2, "h")] {
            offset_fetches.remember(connection, "c", offset_fetch(group, None));
            offset_fetches.close(connection);
        }
        assert!(offset_fetches.returning("c", &asked(3)).is_err());
    }

    #[test]
    fn a_look_up_whose_connection_stays_open_belongs_to_nobody_else() {
        let offset_fetches = OffsetFetches::default();
        offset_fetches.remember(1, "c", offset_fetch("g", None));
        assert!(offset_fetches.returning("c", &asked(0)).unwrap().is_none());
    }
}
