//! Receipts: what a worker shows to end a lease. Nobody can make one up, as each has a tag that takes the
//! endpoint's key (HMAC-SHA256).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::consumer::leases::LeaseKey;
use crate::error::{Error, Result};

/// The version of the form, its first byte.
const VERSION: u8 = 2;
/// The bytes of the queue's number within its endpoint, and of the tag.
const QUEUE: usize = 8;
const TAG: usize = 16;
/// The most bytes of a group.
const LONGEST_GROUP: usize = 4 * 255;

/// Which endpoint: it has another one each time it starts.
pub type EndpointId = [u8; 8];

/// Makes and reads the receipts of one endpoint.
pub struct Receipts {
    key: [u8; 64],
    endpoint: EndpointId,
}

/// What a receipt says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Receipt {
    /// A lease that this endpoint gave, of the queue with this number.
    Own(u64, LeaseKey),
    /// One that says that this endpoint gave it, as a member of this group: nobody but that endpoint can tell
    /// whether it did.
    Foreign(EndpointId, String),
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

    /// Which endpoint gives them.
    pub fn endpoint(&self) -> EndpointId {
        self.endpoint
    }

    /// The receipt for a lease of a queue, which is one of `group`.
    pub fn make(&self, queue: u64, group: &str, lease: LeaseKey) -> String {
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&self.endpoint);
        bytes.extend_from_slice(&queue.to_be_bytes());
        bytes.extend_from_slice(&lease.to_bytes());
        bytes.extend_from_slice(group.as_bytes());
        let tag = self.tag(&bytes);
        bytes.extend_from_slice(&tag);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// What a receipt says; `None` if it is none.
    pub fn read(&self, receipt: &str) -> Option<Receipt> {
        let bytes = URL_SAFE_NO_PAD.decode(receipt).ok()?;
        let (said, tag) = bytes.split_at_checked(bytes.len().checked_sub(TAG)?)?;
        let rest = said.strip_prefix(&[VERSION])?;
        let (endpoint, rest) = rest.split_first_chunk()?;
        let (queue, rest) = rest.split_first_chunk::<QUEUE>()?;
        let (lease, group) = rest.split_at_checked(LeaseKey::BYTES)?;
        let lease = LeaseKey::from_bytes(lease)?;
        let group = str::from_utf8(group).ok().filter(|group| (1..=LONGEST_GROUP).contains(&group.len()))?;
        if *endpoint != self.endpoint {
            return Some(Receipt::Foreign(*endpoint, group.to_owned()));
        }
        self.mac(said).verify_truncated_left(tag).ok()?;
        Some(Receipt::Own(u64::from_be_bytes(*queue), lease))
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
        LeaseKey::from_bytes(&(0..28).collect::<Vec<u8>>()).unwrap()
    }

    #[test]
    fn a_receipt_says_what_it_was_made_of_and_nobody_else_can_make_one() {
        let (mine, others) = (Receipts::new().unwrap(), Receipts::new().unwrap());
        let receipt = mine.make(7, "grupo", lease());
        assert_eq!(mine.read(&receipt), Some(Receipt::Own(7, lease())));
        assert_eq!(others.read(&receipt), Some(Receipt::Foreign(mine.endpoint(), "grupo".to_owned())));
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
        let receipt = receipts.make(1, "g", lease());
        let without_group = receipts.make(1, "", lease());
        let (no_start, no_end) = (&receipt[1..], &receipt[..receipt.len() - 2]);
        for wrong in ["", "a", "%", no_start, no_end, &format!("{receipt}AA"), &without_group] {
            assert_eq!(receipts.read(wrong), None, "{wrong:?}");
        }
    }
}
