//! The formats in which connections get records: a message of format 0, or one whose value is the whole
//! record.

use client::group_member::RecordFormat;
use protocol::v0::message_set;

/// Key and value alone: what the `kafka` crate knows.
pub const MESSAGE: RecordFormat = RecordFormat {
    name: "message",
    append: |out, record| message_set::append(out, record.offset, record.key, record.value),
};

/// An [envelope](protocol::envelope), for our own programs.
pub const ENVELOPE: RecordFormat = RecordFormat {
    name: "envelope",
    append: |out, record| message_set::append_envelope(out, record.offset, &record.content()),
};
