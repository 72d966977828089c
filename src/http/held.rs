//! The memory of large responses: it is taken until they are written, as clients may read slowly.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The bytes that large responses may take at a time.
#[derive(Debug)]
pub(crate) struct ResponseBudget {
    most: usize,
    used: Arc<AtomicUsize>,
}

/// Bytes out of a [`ResponseBudget`]; dropped, they are free again.
#[derive(Debug)]
pub(crate) struct HeldBytes {
    bytes: usize,
    used: Arc<AtomicUsize>,
}

impl ResponseBudget {
    /// A budget of `most` bytes, all of them free.
    pub(crate) fn new(most: usize) -> ResponseBudget {
        ResponseBudget { most, used: Arc::default() }
    }

    /// Takes `bytes` if so many are free; more than the whole budget if none is in use.
    pub(crate) fn take(&self, bytes: usize) -> Option<Arc<HeldBytes>> {
        let fits = |used: usize| {
            let sum = used.saturating_add(bytes);
            (used == 0 || sum <= self.most).then_some(sum)
        };
        self.used.fetch_update(Ordering::AcqRel, Ordering::Acquire, fits).ok()?;
        Some(Arc::new(HeldBytes { bytes, used: Arc::clone(&self.used) }))
    }
}

impl Drop for HeldBytes {
    fn drop(&mut self) {
        self.used.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

/// As many bytes, whatever budget they are of.
impl PartialEq for HeldBytes {
    fn eq(&self, other: &HeldBytes) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for HeldBytes {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_free_again_when_it_is_dropped() {
        let budget = ResponseBudget::new(100);
        let first = budget.take(60).unwrap();
        assert!(budget.take(41).is_none());
        let second = budget.take(40).unwrap();
        drop(first);
        assert!(budget.take(61).is_none() && budget.take(60).is_some());
        drop(second);
        let large = budget.take(1_000).expect("alone");
        assert!(budget.take(1).is_none());
        drop(large);
        assert!(budget.take(100).is_some());
    }
}
