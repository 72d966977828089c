//! The guard in front of `kafka-protocol`: its decoders allocate for whatever count stands on the wire, so
//! every response is walked here first, and only one whose every length is true is handed to them.
//!
//! The layouts are those of the versions that the cluster layer asks for. Source: the Kafka protocol guide,
//! "The Messages"; compact lengths and tagged fields are KIP-482, the versions of ApiVersions KIP-35 and
//! KIP-511.

mod responses;
#[cfg(test)]
mod tests;

use super::wire::{Malformed, Reader};

/// One field, or several of fixed size in a row.
#[derive(Debug)]
enum Field {
    /// Numbers, booleans and ids: so many bytes.
    Fixed(usize),
    /// COMPACT_STRING or COMPACT_BYTES, null or not.
    Bytes,
    /// COMPACT_ARRAY of numbers that take so many bytes each.
    Numbers(usize),
    /// COMPACT_ARRAY of structures with these fields.
    Array(&'static [Field]),
    /// ARRAY (of a version without compact lengths) of structures with these fields.
    OldArray(&'static [Field]),
    /// The tagged fields at the end of a structure, with the fields of the tags that the decoder knows.
    Tags(&'static [(u32, &'static [Field])]),
}

impl Field {
    /// The fewest bytes that it can take.
    fn least_bytes(&self) -> usize {
        match self {
            Field::Fixed(bytes) => *bytes,
            Field::OldArray(_) => 4,
            Field::Bytes | Field::Numbers(_) | Field::Array(_) | Field::Tags(_) => 1,
        }
    }
}

/// What a structure in an array, or a tag that the decoder does not know, may take in memory besides its
/// bytes.
const ELEMENT_BYTES: usize = 512;

/// What the elements of one response may take in memory in all.
const BUDGET_BYTES: usize = 64 * 1024 * 1024;

/// Checks the body of a response, which is what follows its header, in the version that is asked for:
/// ApiVersions 3 (or the version 0 that carries error 35), Produce 9, Fetch 12, ListOffsets 6, Metadata 9,
/// FindCoordinator 3, JoinGroup 7, SyncGroup 5, Heartbeat 4, LeaveGroup 4, OffsetFetch 7, OffsetCommit 8,
/// InitProducerId 4, CreateTopics 7.
///
/// Returns that version: decoded in it, and in no other, `body` makes nobody allocate more than a small
/// multiple of its size and 64 MiB.
///
/// # Errors
/// [`Malformed`] for a length beyond the end, bytes after the end, more elements than any answer to our
/// requests has, and for another `api_key`.
pub fn check_response(api_key: i16, body: &[u8]) -> Result<i16, Malformed> {
    let mut reader = Reader::new(body);
    let Some((version, fields)) = responses::fields(api_key, body) else {
        return Err(reader.malformed("a response of a kind that is never asked for"));
    };
    Walker { budget: BUDGET_BYTES }.walk(&mut reader, fields)?;
    if !reader.is_empty() {
        return Err(reader.malformed("bytes after the end of the response"));
    }
    Ok(version)
}

/// Goes over a response once and keeps count of what it will take in memory.
struct Walker {
    budget: usize,
}

impl Walker {
    fn walk(&mut self, reader: &mut Reader<'_>, fields: &'static [Field]) -> Result<(), Malformed> {
        for field in fields {
            match field {
                Field::Fixed(bytes) => drop(reader.take(*bytes)?),
                Field::Bytes => {
                    let length = compact_length(reader)?;
                    reader.take(length)?;
                }
                Field::Numbers(width) => {
                    let count = compact_length(reader)?;
                    let count = reader.checked_count(count, *width)?;
                    self.spend(reader, count, *width)?;
                    reader.take(count * width)?;
                }
                Field::Array(element) => {
                    let count = compact_length(reader)?;
                    self.elements(reader, count, element)?;
                }
                Field::OldArray(element) => {
                    let count = reader.array_len(1)?;
                    self.elements(reader, count, element)?;
                }
                Field::Tags(known) => self.tags(reader, known)?,
            }
        }
        Ok(())
    }

    fn elements(
        &mut self,
        reader: &mut Reader<'_>,
        count: usize,
        fields: &'static [Field],
    ) -> Result<(), Malformed> {
        let least = fields.iter().map(Field::least_bytes).sum();
        self.spend(reader, reader.checked_count(count, least)?, ELEMENT_BYTES)?;
        for _ in 0..count {
            self.walk(reader, fields)?;
        }
        Ok(())
    }

    /// The decoder reads a tag that it knows without regard to its size: the two must agree.
    fn tags(
        &mut self,
        reader: &mut Reader<'_>,
        known: &'static [(u32, &'static [Field])],
    ) -> Result<(), Malformed> {
        let count = reader.unsigned_varint()? as usize;
        self.spend(reader, reader.checked_count(count, 2)?, ELEMENT_BYTES)?;
        for _ in 0..count {
            let tag = reader.unsigned_varint()?;
            let size = reader.unsigned_varint()? as usize;
            let start = reader.position();
            let mut value = Reader::new(reader.take(size)?);
            let Some((_, fields)) = known.iter().find(|(number, _)| *number == tag) else { continue };
            self.walk(&mut value, fields).map_err(|error| Malformed { at: start + error.at, ..error })?;
            if !value.is_empty() {
                return Err(reader.malformed("a tagged field smaller than its size"));
            }
        }
        Ok(())
    }

    fn spend(&mut self, reader: &Reader<'_>, count: usize, each: usize) -> Result<(), Malformed> {
        let cost = count.saturating_mul(each);
        self.budget = self
            .budget
            .checked_sub(cost)
            .ok_or_else(|| reader.malformed("more elements than an answer may have"))?;
        Ok(())
    }
}

/// A compact length: one more than the length, 0 for null, which has nothing after it either.
fn compact_length(reader: &mut Reader<'_>) -> Result<usize, Malformed> {
    Ok((reader.unsigned_varint()? as usize).saturating_sub(1))
}
