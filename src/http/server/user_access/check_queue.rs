//! The passwords that wait to be checked: plain data, without threads and without a clock.
//!
//! A check costs tens of milliseconds of computing. So there are few at a time; one answers all requests with
//! the same name and password; after a wrong one nothing is checked for nineteen times as long as it took, so
//! that wrong ones can take a twentieth of a processor at most; and an address that sends wrong ones waits,
//! longer each time, behind the others. Where the queue is full, the address with the most in it, or one that
//! has sent wrong ones, makes room for another.

use std::time::{Duration, Instant};

use super::credentials::{Credentials, MAX_CHECK};
use super::failed_addresses::{ClientAddress, FailedAddresses};
use super::remembered::CredentialKey;
use crate::http::response::ErrorResponse;

/// The most passwords that wait.
const MAX_CHECKS: usize = 64;
/// The most of one address, and of one from which a wrong one has come.
const MAX_OF_ADDRESS: usize = 32;
const MAX_OF_FAILED_ADDRESS: usize = 2;
/// The most requests that wait for one check.
const MAX_WAITERS: usize = 65_536;
/// The pause after a wrong password, in multiples of the time that its check took.
const PAUSE_FACTOR: u32 = 19;

const TOO_MANY: ErrorResponse = ErrorResponse::new(
    503,
    "too_many_checks",
    "Too many passwords wait to be checked; the message was not stored.",
);
pub(super) const TOO_MANY_OF_ADDRESS: ErrorResponse = ErrorResponse::new(
    429,
    "too_many_attempts",
    "Too many passwords of this address wait to be checked, or were wrong; the message was not stored.",
);

/// A request that waits for a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Waiter {
    /// The index of its connection.
    pub(in super::super) connection: usize,
    /// The number of the check: another request may have the connection's index later.
    pub(in super::super) check: u64,
}

/// A password to be checked.
#[derive(Debug)]
pub(super) struct Check {
    /// The keyed hash of name and password.
    pub(super) key: CredentialKey,
    /// Name and password.
    pub(super) credentials: Credentials,
    /// The address that it came from: of several, the one with the fewest wrong ones.
    pub(super) address: ClientAddress,
    /// The requests that wait for it, each with the end of its wait.
    waiters: Vec<(Waiter, Instant)>,
    is_running: bool,
}

impl Check {
    /// The requests that wait for it.
    pub(super) fn into_waiters(self) -> Vec<Waiter> {
        self.waiters.into_iter().map(|(waiter, _)| waiter).collect()
    }
}

/// The next check.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// This, now.
    Now(CredentialKey, Credentials),
    /// Something, at this time.
    At(Instant),
    /// Nothing.
    Nothing,
}

/// The passwords that wait to be checked.
#[derive(Debug, Default)]
pub(super) struct CheckQueue {
    checks: Vec<Check>,
    failures: FailedAddresses,
    pause_until: Option<Instant>,
}

impl CheckQueue {
    /// Adds a password, or a waiter for one that waits already. Returns the password that makes room for it.
    ///
    /// # Errors
    /// 429: too many of this address wait, or its own wait has not ended. 503: too many wait.
    pub(super) fn add(
        &mut self,
        key: CredentialKey,
        credentials: Credentials,
        address: ClientAddress,
        waiter: Waiter,
        now: Instant,
    ) -> Result<Option<Check>, ErrorResponse> {
        self.forget_answered(now);
        let (failed, wait_until) = self.failures.of(address);
        let waiter = (waiter, now + MAX_CHECK);
        if let Some(check) = self.checks.iter_mut().find(|check| check.key == key) {
            if check.waiters.len() >= MAX_WAITERS {
                return Err(TOO_MANY);
            }
            check.waiters.push(waiter);
            if !check.is_running && failed < self.failures.of(check.address).0 {
                check.address = address;
            }
            return Ok(None);
        }
        let (most, own) =
            (if failed > 0 { MAX_OF_FAILED_ADDRESS } else { MAX_OF_ADDRESS }, self.count(address));
        if own >= most || wait_until.is_some_and(|at| now < at) {
            return Err(TOO_MANY_OF_ADDRESS);
        }
        let evicted = match self.checks.len() {
            MAX_CHECKS.. => Some(self.make_room(failed, own).ok_or(TOO_MANY)?),
            _ => None,
        };
        self.checks.push(Check { key, credentials, address, waiters: vec![waiter], is_running: false });
        Ok(evicted)
    }

    /// The number of passwords of an address.
    fn count(&self, address: ClientAddress) -> usize {
        self.checks.iter().filter(|check| check.address == address).count()
    }

    /// Takes out a password for one of an address that has `own` and has `failed` so often: the newest of the
    /// address with the most wrong ones, and among those with the most that wait. `None`: no address is
    /// worse.
    fn make_room(&mut self, failed: u32, own: usize) -> Option<Check> {
        let rank = |check: &Check| (self.failures.of(check.address).0, self.count(check.address));
        let waiting = self.checks.iter().enumerate().filter(|(_, check)| !check.is_running);
        let (worst, place) = waiting.map(|(place, check)| (rank(check), place)).max()?;
        (worst > (failed, own + 1)).then(|| self.checks.remove(place))
    }

    /// Drops the waiters that have been answered because their time was up, and passwords without waiters.
    fn forget_answered(&mut self, now: Instant) {
        for check in &mut self.checks {
            let answered = check.waiters.partition_point(|(_, until)| *until <= now);
            check.waiters.drain(..answered);
        }
        self.checks.retain(|check| check.is_running || !check.waiters.is_empty());
    }

    /// The next password to check; it stays in the queue until [`CheckQueue::end`]. Of those that may be
    /// checked now it is the first of the address with the fewest wrong ones, and among those with the fewest
    /// that wait.
    pub(super) fn next(&mut self, now: Instant) -> Next {
        self.forget_answered(now);
        let (pause_until, failures) = (self.pause_until, &self.failures);
        let due = |check: &Check| failures.of(check.address).1.max(pause_until).filter(|at| now < *at);
        let waiting = || self.checks.iter().filter(|check| !check.is_running);
        let ready = waiting().filter(|check| due(check).is_none());
        if let Some(check) =
            ready.min_by_key(|check| (failures.of(check.address).0, self.count(check.address)))
        {
            let (key, credentials) = (check.key, check.credentials.clone());
            if let Some(check) = self.checks.iter_mut().find(|check| check.key == key) {
                check.is_running = true;
            }
            return Next::Now(key, credentials);
        }
        waiting().filter_map(due).min().map_or(Next::Nothing, Next::At)
    }

    /// Takes out a password that was checked.
    pub(super) fn end(
        &mut self,
        key: CredentialKey,
        is_right: bool,
        took: Duration,
        now: Instant,
    ) -> Option<Check> {
        let place = self.checks.iter().position(|check| check.key == key)?;
        let check = self.checks.remove(place);
        if is_right {
            self.failures.succeeded(check.address);
        } else {
            self.failures.failed(check.address, now);
            self.pause_until = Some(now + took * PAUSE_FACTOR);
        }
        Some(check)
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::super::remembered::CredentialKeys;
    use super::*;

    const TOOK: Duration = Duration::from_millis(5);

    struct Bench {
        queue: CheckQueue,
        keys: CredentialKeys,
        now: Instant,
    }

    impl Bench {
        fn new() -> Bench {
            Bench { queue: CheckQueue::default(), keys: CredentialKeys::new().unwrap(), now: Instant::now() }
        }

        /// Adds a password, and returns the one that makes room for it.
        fn add(
            &mut self,
            password: &str,
            address: [u8; 4],
            check: u64,
        ) -> Result<Option<String>, ErrorResponse> {
            let credentials = Credentials { name: "ana".to_owned(), password: password.to_owned() };
            let waiter = Waiter { connection: 0, check };
            let (key, address) = (self.keys.of(&credentials), IpAddr::from(address).into());
            let added = self.queue.add(key, credentials, address, waiter, self.now)?;
            Ok(added.map(|evicted| evicted.credentials.password))
        }

        fn next(&mut self) -> Option<(CredentialKey, String)> {
            match self.queue.next(self.now) {
                Next::Now(key, credentials) => Some((key, credentials.password)),
                _ => None,
            }
        }

        /// Waits until the next one may be checked, and ends it.
        fn end_next(&mut self, is_right: bool) -> (String, Vec<u64>) {
            let (key, password) = self.next().unwrap_or_else(|| {
                let Next::At(at) = self.queue.next(self.now) else { panic!("nothing waits") };
                self.now = at;
                self.next().unwrap()
            });
            let check = self.queue.end(key, is_right, TOOK, self.now).unwrap();
            (password, check.into_waiters().iter().map(|waiter| waiter.check).collect())
        }

        /// Sends a wrong password from each of these addresses, and waits until they may send more.
        fn fail(&mut self, addresses: impl Iterator<Item = [u8; 4]>) {
            for address in addresses {
                self.add("wrong", address, 0).unwrap();
                self.end_next(false);
            }
            self.now += Duration::from_secs(1);
        }
    }

    fn refused<T>(result: Result<T, ErrorResponse>) -> Option<u16> {
        result.err().map(|refusal| refusal.status)
    }

    #[test]
    fn who_waits_with_the_same_password_is_answered_by_one_check() {
        let mut bench = Bench::new();
        for check in 0..100 {
            bench.add("same", [10, 0, 0, check as u8], check).unwrap();
        }
        let (key, _) = bench.next().unwrap();
        bench.add("same", [10, 0, 1, 1], 100).unwrap();
        assert_eq!(bench.next(), None, "it is being checked");
        let check = bench.queue.end(key, true, TOOK, bench.now).unwrap();
        assert_eq!(check.waiters.len(), 101);
        assert_eq!(bench.queue.next(bench.now), Next::Nothing);
    }

    #[test]
    fn after_a_wrong_password_there_is_a_pause_and_its_address_waits_longer_and_last() {
        let mut bench = Bench::new();
        let (bad, good) = ([10, 0, 0, 1], [10, 0, 0, 2]);
        bench.add("wrong", bad, 0).unwrap();
        bench.add("wrong too", bad, 1).unwrap();
        bench.end_next(false);
        let failed_at = bench.now;
        assert_eq!(refused(bench.add("more", bad, 9)), Some(429), "its wait has not ended");
        bench.add("right", good, 2).unwrap();
        assert_eq!(bench.queue.next(bench.now), Next::At(failed_at + TOOK * PAUSE_FACTOR));
        assert_eq!(bench.end_next(true), ("right".to_owned(), vec![2]), "it comes before");
        assert_eq!(bench.end_next(false), ("wrong too".to_owned(), vec![1]));
        assert_eq!(bench.now, failed_at + Duration::from_millis(100), "the first wait of the address");
        bench.now += Duration::from_millis(199);
        assert_eq!(refused(bench.add("wrong again", bad, 3)), Some(429));
        bench.now += Duration::from_millis(1);
        bench.add("wrong again", bad, 3).unwrap();
        assert_eq!(bench.end_next(false), ("wrong again".to_owned(), vec![3]));
    }

    #[test]
    fn the_numbers_are_bounded_for_each_address_and_in_all() {
        let mut bench = Bench::new();
        for number in 0..MAX_OF_ADDRESS {
            bench.add(&number.to_string(), [10, 0, 0, 1], 0).unwrap();
        }
        assert_eq!(refused(bench.add("more", [10, 0, 0, 1], 0)), Some(429));
        bench.end_next(false);
        bench.now += MAX_CHECK;
        assert_eq!(bench.queue.next(bench.now), Next::Nothing, "nobody waits any more");
        for number in 0..MAX_OF_FAILED_ADDRESS {
            bench.add(&number.to_string(), [10, 0, 0, 1], 0).unwrap();
        }
        assert_eq!(refused(bench.add("more", [10, 0, 0, 1], 0)), Some(429), "it has failed before");
        for number in MAX_OF_FAILED_ADDRESS..MAX_CHECKS {
            bench.add(&number.to_string(), [10, 0, 1, number as u8], 0).unwrap();
        }
        assert_eq!(bench.add("good", [10, 0, 0, 2], 0), Ok(Some("1".to_owned())), "the newest that failed");
        assert_eq!(bench.add("better", [10, 0, 0, 3], 0), Ok(Some("0".to_owned())));
        assert_eq!(refused(bench.add("more", [10, 0, 0, 4], 0)), Some(503), "each address has one");
        assert_eq!(bench.queue.checks.len(), MAX_CHECKS);
    }

    #[test]
    fn a_queue_full_of_addresses_that_failed_makes_room_for_one_that_did_not() {
        let mut bench = Bench::new();
        let bad = |number: usize| [10, 0, 0, number as u8];
        bench.fail((0..40).map(bad));
        for number in 0..MAX_CHECKS {
            bench.add(&format!("wrong {number}"), bad(number / 2), 0).unwrap();
        }
        assert_eq!(bench.add("more", bad(39), 0), Ok(Some("wrong 63".to_owned())), "each has its share");
        assert_eq!(bench.add("right", [10, 0, 1, 1], 7), Ok(Some("wrong 61".to_owned())));
        assert_eq!(bench.end_next(true), ("right".to_owned(), vec![7]), "it is the first");
    }

    #[test]
    fn the_address_with_most_passwords_in_a_full_queue_makes_room_until_others_have_as_many() {
        let mut bench = Bench::new();
        for number in 0..MAX_CHECKS {
            bench.add(&format!("wrong {number}"), [10, 0, 0, (number % 2) as u8], 0).unwrap();
        }
        assert_eq!(bench.add("right", [10, 0, 1, 1], 7), Ok(Some("wrong 63".to_owned())));
        let taken = (0..MAX_OF_ADDRESS).take_while(|number| {
            let added = bench.add(&format!("more {number}"), [10, 0, 1, 1], 0);
            added.is_ok_and(|evicted| evicted.is_some_and(|password| password.starts_with("wrong")))
        });
        assert_eq!(taken.count(), 20, "21 of each");
        assert_eq!(bench.end_next(false).0, "wrong 1");
        assert_eq!(bench.end_next(true), ("right".to_owned(), vec![7]), "the third address has 22");
    }

    #[test]
    fn who_waits_with_an_old_check_waits_as_long_as_any_other() {
        let mut bench = Bench::new();
        bench.add("same", [10, 0, 0, 1], 1).unwrap();
        bench.now += MAX_CHECK - Duration::from_secs(1);
        bench.add("same", [10, 0, 0, 2], 2).unwrap();
        bench.now += Duration::from_secs(2);
        assert_eq!(bench.end_next(true), ("same".to_owned(), vec![2]), "the first has been answered");
        bench.add("same", [10, 0, 0, 1], 3).unwrap();
        bench.now += MAX_CHECK;
        assert_eq!(bench.queue.next(bench.now), Next::Nothing);
    }

    #[test]
    fn a_better_address_with_the_same_password_need_not_wait_for_a_worse_one() {
        let mut bench = Bench::new();
        let (bad, good) = ([10, 0, 0, 1], [10, 0, 0, 2]);
        bench.fail([bad; 1].into_iter());
        bench.add("wrong", bad, 1).unwrap();
        bench.add("right", bad, 2).unwrap();
        bench.end_next(false);
        let pause = TOOK * PAUSE_FACTOR;
        bench.add("right", good, 3).unwrap();
        assert_eq!(bench.queue.next(bench.now), Next::At(bench.now + pause), "not the wait of the other");
        assert_eq!(bench.end_next(true), ("right".to_owned(), vec![2, 3]));
    }
}
