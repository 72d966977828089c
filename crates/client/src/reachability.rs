//! Which addresses of a cluster could not be reached of late, why, and which of them are left alone for a
//! while.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::error::Error;
use net::backoff::Backoff;

/// How long an address is left alone whose error does not heal by waiting; a broker that refuses a password
/// should not be asked by every thread in turn.
const HOLD: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(10));

/// What is known of the addresses that failed.
#[derive(Debug, Default)]
pub(crate) struct Reachability {
    troubles: HashMap<String, Trouble>,
    /// When an address was reached last.
    reached: HashMap<String, Instant>,
}

#[derive(Debug)]
struct Trouble {
    /// When it failed first and last.
    since: Instant,
    at: Instant,
    error: Error,
    hold: Backoff,
    held_until: Option<Instant>,
    /// It was logged.
    told: bool,
}

impl Reachability {
    /// When the address failed last, if it has not been reached since.
    pub(crate) fn failed_at(&self, address: &str) -> Option<Instant> {
        self.troubles.get(address).map(|trouble| trouble.at)
    }

    /// The error of an address that is to be left alone now.
    pub(crate) fn held(&self, address: &str, now: Instant) -> Option<Error> {
        let trouble = self.troubles.get(address)?;
        trouble.held_until.filter(|until| now < *until).map(|_| trouble.error.clone())
    }

    /// The address could not be reached by an attempt that `began` then. It is old news where another one has
    /// succeeded meanwhile.
    pub(crate) fn failed(&mut self, address: &str, error: &Error, began: Instant, now: Instant) {
        if self.reached.get(address).is_some_and(|reached| *reached > began) {
            return;
        }
        let trouble = self.troubles.entry(address.to_owned()).or_insert_with(|| Trouble {
            since: now,
            at: now,
            error: error.clone(),
            hold: HOLD,
            held_until: None,
            told: false,
        });
        trouble.at = now;
        trouble.error = error.clone();
        trouble.held_until = if error.needs_mending() {
            Some(now + trouble.hold.next_wait())
        } else {
            trouble.hold.reset();
            None
        };
    }

    /// The address was reached; whether its trouble was logged.
    pub(crate) fn reached(&mut self, address: &str, now: Instant) -> bool {
        match self.reached.get_mut(address) {
            Some(at) => *at = now,
            None => drop(self.reached.insert(address.to_owned(), now)),
        }
        self.troubles.remove(address).is_some_and(|trouble| trouble.told)
    }

    /// Whether the trouble of the address is to be logged now: only the first time.
    pub(crate) fn tell(&mut self, address: &str) -> bool {
        self.troubles.get_mut(address).is_some_and(|trouble| !std::mem::replace(&mut trouble.told, true))
    }

    /// Whether the troubles of all these addresses were logged.
    pub(crate) fn are_told(&self, addresses: &[String]) -> bool {
        addresses.iter().all(|address| self.troubles.get(address).is_some_and(|trouble| trouble.told))
    }

    /// Why the first of these addresses that failed did so.
    pub(crate) fn trouble<'a>(&self, addresses: impl Iterator<Item = &'a str>) -> Option<Error> {
        addresses.filter_map(|address| self.troubles.get(address)).map(|trouble| trouble.error.clone()).next()
    }

    /// Since when none of these addresses can be reached; `None` where one may be.
    pub(crate) fn outage<'a>(&self, mut addresses: impl Iterator<Item = &'a str>) -> Option<Instant> {
        let first = self.troubles.get(addresses.next()?)?.since;
        addresses.try_fold(first, |last, address| Some(last.max(self.troubles.get(address)?.since)))
    }

    /// Forgets all addresses but these.
    pub(crate) fn keep(&mut self, addresses: &[String]) {
        self.troubles.retain(|address, _| addresses.contains(address));
        self.reached.retain(|address, _| addresses.contains(address));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Cause;

    fn away(broker: &str) -> Error {
        Error::Unreachable { broker: broker.to_owned(), cause: Cause::NoAddress }
    }

    fn refuses(broker: &str) -> Error {
        let api = kafka_protocol::messages::ApiKey::Produce;
        Error::Unsupported { broker: broker.to_owned(), api, version: 9, offered: None }
    }

    #[test]
    fn an_address_whose_error_lasts_is_left_alone_for_growing_times() {
        let mut reachability = Reachability::default();
        let mut now = Instant::now();
        let mut waits = Vec::new();
        for _ in 0..8 {
            reachability.failed("a:1", &refuses("a:1"), now, now);
            let begun = now;
            while reachability.held("a:1", now).is_some() {
                now += Duration::from_millis(10);
            }
            waits.push(now - begun);
        }
        assert!(waits[0] <= Duration::from_millis(510) && waits[7] >= Duration::from_secs(5), "{waits:?}");
        assert!(waits.iter().all(|wait| *wait <= Duration::from_millis(10_010)), "{waits:?}");
        reachability.failed("a:1", &away("a:1"), now, now);
        assert!(reachability.held("a:1", now).is_none(), "a broker that is away may be back at any time");
        assert!(reachability.failed_at("a:1") == Some(now) && reachability.failed_at("b:1").is_none());
    }

    #[test]
    fn a_trouble_is_told_once_until_the_address_is_reached() {
        let mut reachability = Reachability::default();
        let now = Instant::now();
        assert!(!reachability.tell("a:1") && !reachability.reached("a:1", now));
        for told in [true, false] {
            reachability.failed("a:1", &away("a:1"), now, now);
            assert_eq!(reachability.tell("a:1"), told);
        }
        assert!(reachability.trouble(["b:1", "a:1"].into_iter()).is_some());
        assert!(reachability.reached("a:1", now) && !reachability.reached("a:1", now));
        reachability.failed("a:1", &away("a:1"), now, now);
        reachability.keep(&["b:1".to_owned()]);
        assert!(reachability.trouble(["a:1"].into_iter()).is_none());
    }

    #[test]
    fn an_outage_has_begun_when_the_last_address_failed_first_and_ends_with_one_that_is_reached() {
        let mut reachability = Reachability::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let outage = |reachability: &Reachability| reachability.outage(["a:1", "b:1"].into_iter());
        reachability.failed("a:1", &away("a:1"), start, at(1));
        assert_eq!(outage(&reachability), None);
        reachability.failed("b:1", &away("b:1"), start, at(2));
        reachability.failed("a:1", &away("a:1"), start, at(3));
        assert_eq!(outage(&reachability), Some(at(2)));
        reachability.reached("b:1", at(4));
        assert_eq!(outage(&reachability), None);
        assert_eq!(reachability.outage(std::iter::empty()), None);
    }

    #[test]
    fn a_failure_of_an_attempt_that_began_before_a_success_is_old_news() {
        let mut reachability = Reachability::default();
        let began = Instant::now();
        let later = began + Duration::from_secs(1);
        reachability.reached("a:1", later);
        reachability.failed("a:1", &refuses("a:1"), began, later);
        assert!(reachability.failed_at("a:1").is_none() && !reachability.tell("a:1"));
        reachability.failed("a:1", &refuses("a:1"), later, later);
        assert!(reachability.tell("a:1"));
    }
}
