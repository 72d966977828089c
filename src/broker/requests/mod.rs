//! The requests, a file for each: a typed request in, a typed response out.

pub mod delete_groups;
pub mod describe_groups;
pub mod find_coordinator;
pub mod heartbeat;
pub mod join_group;
pub mod leave_group;
pub mod list_groups;
pub mod offset_commit;
pub mod offset_delete;
pub mod offset_fetch;
pub mod sync_group;

use kafka_protocol::protocol::StrBytes;

/// The authorized operations that a response has where nobody asked for them, or nothing is known of them.
const NO_OPERATIONS: i32 = i32::MIN;

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}
