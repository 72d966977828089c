//! The Dead Letter Channel: messages that could not be handled, stored in a topic of their own with the error
//! in headers.
//!
//! - [`store`]: a consumer stores them; [`headers`]: the headers that it writes
//! - [`dead_letter`]: a dead letter as it is read; [`filter`]: a choice among dead letters
//! - [`replay`]: the administrator's tool: list, show, replay, discard

mod cause;
pub mod dead_letter;
pub mod filter;
pub mod headers;
pub mod replay;
mod settings;
pub mod store;

pub use cause::{FailureCause, StderrTail, Verdict};
pub use dead_letter::{DeadLetter, DeadLetterId};
pub use filter::DeadLetterFilter;
pub use replay::{
    DeadLetterBrowser, DeadLetterFollower, DeadLetterIter, FoundLetters, Missing, ReplayAction, ReplayEdit,
    ReplayOutcome, ReplayRequest, ReplaySummary, ReplayTargets,
};
pub use settings::{BrowserSettings, StoreSettings, dead_letter_topic, source_of_any, source_topic};
pub use store::DeadLetterStore;
