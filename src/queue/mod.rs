//! The work queue: many messages of a partition under way at a time, in order by key, with retries that hold
//! up nobody.
//!
//! - [`engine`]: [`Engine`], one owned partition as a state machine: which message is handed out next, what
//!   an outcome makes of it, what may be committed
//! - [`partitions`]: [`Partitions`], the owned partitions of a member, which share its workers
//! - [`note`]: [`Note`](note::Note), what is committed beside the offset for the next owner
//!
//! The room does no I/O, has no threads and reads no clock.

pub mod engine;
pub mod note;
pub mod partitions;
pub mod wishes;

pub use engine::{Engine, EngineSettings, Order};
pub use partitions::Partitions;
