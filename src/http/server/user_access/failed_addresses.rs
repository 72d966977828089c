//! The addresses from which wrong passwords came, and how long each has to wait.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// The wait after the first wrong password; each further one doubles it, up to the longest.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(4);

/// An address is forgotten so long after its wait.
const FORGET_AFTER: Duration = Duration::from_secs(600);

/// The most addresses that are kept; the one whose wait ended first makes room for another.
const MAX_ADDRESSES: usize = 4096;

/// The address of a client as far as one client cannot choose it: of IPv6, the first 56 bits, as customers
/// get networks of that size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in super::super) struct ClientAddress(IpAddr);

impl From<IpAddr> for ClientAddress {
    fn from(address: IpAddr) -> ClientAddress {
        ClientAddress(match address.to_canonical() {
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                IpAddr::V6(Ipv6Addr::new(a, b, c, d & 0xff00, 0, 0, 0, 0))
            }
            v4 => v4,
        })
    }
}

#[derive(Debug, Clone, Copy)]
struct Failed {
    count: u32,
    wait_until: Instant,
}

/// The addresses from which wrong passwords came.
#[derive(Debug, Default)]
pub(super) struct FailedAddresses(HashMap<ClientAddress, Failed>);

impl FailedAddresses {
    /// How many wrong passwords came from an address since the last right one, and the end of its wait.
    pub(super) fn of(&self, address: ClientAddress) -> (u32, Option<Instant>) {
        self.0.get(&address).map_or((0, None), |failed| (failed.count, Some(failed.wait_until)))
    }

    /// A wrong password came from this address.
    pub(super) fn failed(&mut self, address: ClientAddress, now: Instant) {
        if !self.0.contains_key(&address) && self.0.len() >= MAX_ADDRESSES {
            self.make_room(now);
        }
        let failed = self.0.entry(address).or_insert(Failed { count: 0, wait_until: now });
        let doubled = FIRST_WAIT.saturating_mul(1 << failed.count.min(16));
        failed.count = failed.count.saturating_add(1);
        failed.wait_until = now + doubled.min(LONGEST_WAIT);
    }

    /// A right password came from this address.
    pub(super) fn succeeded(&mut self, address: ClientAddress) {
        self.0.remove(&address);
    }

    fn make_room(&mut self, now: Instant) {
        self.0.retain(|_, failed| now < failed.wait_until + FORGET_AFTER);
        if self.0.len() >= MAX_ADDRESSES {
            let first =
                self.0.iter().min_by_key(|(_, failed)| failed.wait_until).map(|(address, _)| *address);
            first.map(|address| self.0.remove(&address));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> ClientAddress {
        text.parse::<IpAddr>().unwrap().into()
    }

    #[test]
    fn the_wait_doubles_up_to_the_longest_and_ends_with_a_right_password() {
        let (mut addresses, now, ana) = (FailedAddresses::default(), Instant::now(), address("10.0.0.1"));
        for due in [100, 200, 400, 800, 1600, 3200, 4000, 4000] {
            addresses.failed(ana, now);
            assert_eq!(addresses.of(ana).1, Some(now + Duration::from_millis(due)));
        }
        assert_eq!(addresses.of(address("10.0.0.2")), (0, None));
        addresses.succeeded(ana);
        assert_eq!(addresses.of(ana), (0, None));
    }

    #[test]
    fn a_client_cannot_choose_another_address() {
        assert_eq!(address("2001:db8::1"), address("2001:db8::ffff:1:2:3"));
        assert_eq!(address("2001:db8::1"), address("2001:db8:0:ff::1"));
        assert_ne!(address("2001:db8::1"), address("2001:db8:0:100::1"));
        assert_eq!(address("::ffff:10.0.0.1"), address("10.0.0.1"));
    }

    #[test]
    fn the_table_is_bounded_and_forgets() {
        let (mut addresses, start) = (FailedAddresses::default(), Instant::now());
        for number in 0..5000u32 {
            let at = start + Duration::from_millis(u64::from(number));
            addresses.failed(IpAddr::from(number.to_be_bytes()).into(), at);
        }
        assert_eq!(addresses.0.len(), MAX_ADDRESSES);
        let (first, last) = (IpAddr::from([0, 0, 0, 0]), IpAddr::from(4999u32.to_be_bytes()));
        assert_eq!((addresses.of(first.into()).0, addresses.of(last.into()).0), (0, 1));
        addresses.failed(address("192.0.2.1"), start + 2 * FORGET_AFTER);
        assert_eq!(addresses.0.len(), 1);
    }
}
