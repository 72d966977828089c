//! Reads any topic without a group: it joins none and commits nothing.
//!
//! - [`place`]: the topic
//! - [`range`]: which offsets of which partitions there are, and which are looked at
//! - [`reader`]: reads them, in the order of time
//! - [`search`]: reads in either direction until enough messages fit, or the time is over

mod place;
mod range;
mod reader;
mod search;

pub use place::{PartitionRange, Place};
pub use range::{Beginning, NoRange};
pub use reader::{Reader, damaged, is_final};
pub use search::{Direction, Lane, Search};
