//! Receipts: what a worker shows to end a lease. Nobody can make one up, as each has a tag that takes the
//! endpoint's key (HMAC-SHA256).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::consumer::leases::LeaseKey;
use crate::error::{Error, Result};

/// The version of the form, its first byte.
const VERSION: u8 = 1;
/// The bytes that name the endpoint, the queue within it, and the tag.
const ENDPOINT: usize = 8;
const QUEUE: usize = 8;
const TAG: usize = 16;

/// Makes and reads the receipts of one endpoint.
pub struct Receipts {
    key: [u8; 64],
    endpoint: [u8; ENDPOINT],
}

/// What a receipt says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Receipt {
    /// A lease that this endpoint gave, of the queue with this number.
    Own(u64, LeaseKey),
    /// One of another endpoint, or of one that ran here before.
    Foreign,
}

impl Receipts {
    /// Receipts with a new key.
    ///
    /// # Errors
    /// The system gives no random bytes.
    pub fn new() -> Result<Receipts> {
        let random = |error| Error::new("no key for receipts").caused_by(error);
        Ok(Receipts {
            key: net::random::bytes().map_err(random)?,
            endpoint: net::random::bytes().map_err(random)?,
        })
    }

    /// The receipt for a lease of a queue.
    pub fn make(&self, queue: u64, lease: LeaseKey) -> String {
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&self.endpoint);
        bytes.extend_from_slice(&queue.to_be_bytes());
        bytes.extend_from_slice(&lease.to_bytes());
        let tag = self.tag(&bytes);
        bytes.extend_from_slice(&tag);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// What a receipt says; `None` if it is none.
    pub fn read(&self, receipt: &str) -> Option<Receipt> {
        let bytes = URL_SAFE_NO_PAD.decode(receipt).ok()?;
        let (said, tag) = bytes.split_at_checked(bytes.len().checked_sub(TAG)?)?;
        let (head, lease) = said.split_at_checked(1 + ENDPOINT + QUEUE)?;
        let (version, rest) = head.split_first()?;
        let (endpoint, queue) = rest.split_at_checked(ENDPOINT)?;
        let lease = LeaseKey::from_bytes(lease).filter(|_| *version == VERSION)?;
        if endpoint != self.endpoint {
            return Some(Receipt::Foreign);
        }
        self.mac(said).verify_truncated_left(tag).ok()?;
        Some(Receipt::Own(u64::from_be_bytes(queue.try_into().ok()?), lease))
    }

    fn tag(&self, said: &[u8]) -> Vec<u8> {
        let mut tag = self.mac(said).finalize().into_bytes().to_vec();
        tag.truncate(TAG);
        tag
    }

    fn mac(&self, said: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new(&self.key.into());
        mac.update(said);
        mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease() -> LeaseKey {
        LeaseKey::from_bytes(&(0..24).collect::<Vec<u8>>()).unwrap()
    }

    #[test]
    fn a_receipt_says_what_it_was_made_of_and_nobody_else_can_make_one() {
        let (mine, others) = (Receipts::new().unwrap(), Receipts::new().unwrap());
        let receipt = mine.make(7, lease());
        assert_eq!(mine.read(&receipt), Some(Receipt::Own(7, lease())));
        assert_eq!(others.read(&receipt), Some(Receipt::Foreign));
        let bytes = URL_SAFE_NO_PAD.decode(&receipt).unwrap();
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << bit;
                let read = mine.read(&URL_SAFE_NO_PAD.encode(&changed));
                assert!(!matches!(read, Some(Receipt::Own(..))), "byte {at}, bit {bit}");
            }
        }
    }

    #[test]
    fn what_is_no_receipt_is_none() {
        let receipts = Receipts::new().unwrap();
        let receipt = receipts.make(1, lease());
        for wrong in ["", "a", "%", &receipt[1..], &receipt[..receipt.len() - 2], &format!("{receipt}AA")] {
            assert_eq!(receipts.read(wrong), None, "{wrong:?}");
        }
    }
}
