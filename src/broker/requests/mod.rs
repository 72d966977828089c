//! The requests, a file for each: a typed request in, a typed response out.

pub mod api_versions;
pub mod create_topics;
pub mod delete_groups;
pub mod delete_topics;
pub mod describe_cluster;
pub mod describe_configs;
pub mod describe_groups;
pub mod fetch;
pub mod find_coordinator;
pub mod heartbeat;
pub mod init_producer_id;
pub mod join_group;
pub mod leave_group;
pub mod list_groups;
pub mod list_offsets;
pub mod metadata;
pub mod offset_commit;
pub mod offset_delete;
pub mod offset_fetch;
pub mod produce;
pub mod sync_group;

use std::collections::HashSet;
use std::hash::Hash;

use kafka_protocol::protocol::StrBytes;

use super::node::LEADER_EPOCH;
use crate::protocol::error_code::ErrorCode;

/// The authorized operations that a response has where nobody asked for them, or nothing is known of them.
const NO_OPERATIONS: i32 = i32::MIN;

/// The most characters of a message to a client, or of a client's own word in a log line.
const BRIEF: usize = 500;

/// What is asked for, each thing once: the size of an answer is bounded by what there is, not by how often a
/// request names it.
fn once<T, K: Eq + Hash>(asked: Vec<T>, key: impl Fn(&T) -> K) -> Vec<T> {
    let mut seen = HashSet::new();
    asked.into_iter().filter(|one| seen.insert(key(one))).collect()
}

/// A message to a client, which may hold names of any length that the client gave.
fn message(why: &str) -> StrBytes {
    text(brief(why))
}

/// The beginning of a long text.
fn brief(text: &str) -> &str {
    text.char_indices().nth(BRIEF).and_then(|(end, _)| text.get(..end)).unwrap_or(text)
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// Checks the epoch of the leader that a client knows of; -1 is none.
fn check_leader_epoch(epoch: i32) -> Result<(), ErrorCode> {
    if epoch > LEADER_EPOCH { Err(ErrorCode::UNKNOWN_LEADER_EPOCH) } else { Ok(()) }
}
