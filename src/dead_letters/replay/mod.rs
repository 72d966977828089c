//! The administrator's tool for dead letters: list, show, replay, discard.
//!
//! - [`browse`]: [`DeadLetterBrowser`], which finds them; [`parts`]: in which partitions, as far as these
//!   have leaders; [`reader`]: the fetches below it, the oldest first
//! - [`search`]: those that fit a filter, from the newest on backwards; [`newest`]: as many as may be told
//! - [`follow`]: which messages have become dead letters
//! - [`run`]: a replay or a discard; [`edit`]: letters that are changed on their way back; [`resend`]: the
//!   produce requests of a replay
//! - [`progress`]: the offsets that are replayed or discarded, as they are committed; [`gaps`]: those without
//!   a letter
//! - [`lock`]: one replay or discard at a time

pub mod browse;
pub mod edit;
pub mod follow;
mod gaps;
pub mod lock;
mod newest;
mod parts;
pub mod progress;
pub mod reader;
pub mod resend;
pub mod run;
pub mod search;

pub use browse::{DeadLetterBrowser, DeadLetterIter};
pub use edit::ReplayEdit;
pub use follow::DeadLetterFollower;
pub use resend::{ReplayOutcome, ReplayTargets};
pub use run::{Missing, ReplayAction, ReplayRequest, ReplaySummary};
pub use search::FoundLetters;
