//! The check why nothing can be stored: the store of the embedded broker has failed, or no broker can be
//! reached.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

/// Finds something, if it is there.
type Finder<T> = Arc<dyn Fn() -> Option<T> + Send + Sync>;

/// The check whether it is known that nothing can be stored now: then records that wait are refused at once.
#[derive(Clone)]
pub struct StoreFailureCheck {
    failure: Finder<String>,
    outage: Option<Finder<(Instant, String)>>,
}

impl StoreFailureCheck {
    /// A check that calls `failure`, which must be quick, forty times a second while records are open; it
    /// gives a sentence without its full stop.
    pub fn new(failure: impl Fn() -> Option<String> + Send + Sync + 'static) -> StoreFailureCheck {
        StoreFailureCheck { failure: Arc::new(failure), outage: None }
    }

    /// The same, for records whose senders wait for an answer. `outage` says since when no broker can be
    /// reached, and why, and must be quick, too: once that, or that there is no topic, has lasted for half of
    /// the answer timeout, records that come are refused after a moment instead of waiting for theirs.
    #[must_use]
    pub fn with_outages(
        self,
        outage: impl Fn() -> Option<(Instant, String)> + Send + Sync + 'static,
    ) -> StoreFailureCheck {
        StoreFailureCheck { outage: Some(Arc::new(outage)), ..self }
    }

    /// The reason why nothing can be stored, a sentence without its full stop; `None` if none is known.
    pub(super) fn failure(&self) -> Option<String> {
        (self.failure)()
    }

    /// Since when no broker can be reached, and why: `None` where records wait for as long as they may,
    /// `Some(None)` where that is not known to be so.
    pub(super) fn outage(&self) -> Option<Option<(Instant, String)>> {
        self.outage.as_ref().map(|outage| outage())
    }
}

impl Default for StoreFailureCheck {
    /// A check that never finds a failure.
    fn default() -> StoreFailureCheck {
        StoreFailureCheck::new(|| None)
    }
}

impl fmt::Debug for StoreFailureCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoreFailureCheck")
    }
}
