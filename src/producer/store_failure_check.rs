//! The check why nothing can be stored: the store of the embedded broker has failed, or Kafka refuses this
//! client.

use std::fmt;
use std::sync::Arc;

/// Finds a sentence without its full stop, if there is anything to say.
type Finder = Arc<dyn Fn() -> Option<String> + Send + Sync>;

/// The check whether it is known that nothing can be stored now: then records that wait are refused at once.
#[derive(Clone)]
pub struct StoreFailureCheck {
    failure: Finder,
    trouble: Finder,
}

impl StoreFailureCheck {
    /// A check that calls `failure`, which must be quick, forty times a second while records are open.
    pub fn new(failure: impl Fn() -> Option<String> + Send + Sync + 'static) -> StoreFailureCheck {
        StoreFailureCheck { failure: Arc::new(failure), trouble: Arc::new(|| None) }
    }

    /// The same; where a broker cannot be used, `trouble` says why, which the answer of the `kafka` crate
    /// does not: a code is all that it has.
    #[must_use]
    pub fn explained_by(
        self,
        trouble: impl Fn() -> Option<String> + Send + Sync + 'static,
    ) -> StoreFailureCheck {
        StoreFailureCheck { trouble: Arc::new(trouble), ..self }
    }

    /// The reason why nothing can be stored, a sentence without its full stop; `None` if none is known.
    pub(super) fn failure(&self) -> Option<String> {
        (self.failure)()
    }

    /// `reason`, with the trouble behind it if that is known.
    pub(super) fn explained(&self, reason: String) -> String {
        match (self.trouble)() {
            Some(trouble) => format!("{reason}: {trouble}"),
            None => reason,
        }
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
