//! The language in which schemas are written, and the walk over a message by its schema.

use std::ops::RangeInclusive;

use crate::wire::{Malformed, Reader};

/// The schema of a request or response, over a range of its versions.
#[derive(Debug)]
pub(super) struct Schema {
    pub api_key: i16,
    /// The versions that `fields` describes.
    pub versions: RangeInclusive<i16>,
    /// The first version with compact lengths and tagged fields (KIP-482).
    pub flexible: i16,
    pub fields: &'static [Field],
}

/// A field, or several of fixed size in a row. Lengths are compact from the first flexible version on.
#[derive(Debug)]
pub(super) enum Field {
    /// Numbers, booleans and ids: so many bytes.
    Fixed(usize),
    /// STRING (an INT16 length) or COMPACT_STRING, null or not.
    Text,
    /// BYTES (an INT32 length) or COMPACT_BYTES, null or not.
    Bytes,
    /// ARRAY or COMPACT_ARRAY of numbers that take so many bytes each.
    Numbers(usize),
    /// ARRAY or COMPACT_ARRAY of what these fields make up, null or not.
    Array(&'static [Field]),
    /// A structure that may be null: an INT8, which is 1 before one that is there.
    Nullable(&'static [Field]),
    /// Fields that are there from this version on.
    Since(i16, &'static [Field]),
    /// Fields that are there up to this version.
    Until(i16, &'static [Field]),
    /// The tagged fields at the end of a structure, which only flexible versions have, with the fields of the
    /// tags that the decoder knows.
    Tags(&'static [(u32, &'static [Field])]),
}

/// Tagged fields of which the decoder knows none.
pub(super) const TAGS: Field = Field::Tags(&[]);

/// The memory counted for an element of an array, or a tag that the decoder does not know, besides its bytes.
pub(super) const ELEMENT_BYTES: usize = 512;

impl Schema {
    /// Checks that `body` begins with this schema's `version`, and that what is decoded from it takes no more
    /// than `budget` bytes, by the estimate of [`ELEMENT_BYTES`], besides the bytes themselves. What comes
    /// after is left in the reader.
    pub fn check<'b>(
        &'static self,
        version: i16,
        body: &'b [u8],
        budget: usize,
    ) -> Result<Reader<'b>, Malformed> {
        let mut reader = Reader::new(body);
        Walker { version, flexible: version >= self.flexible, budget }.walk(&mut reader, self.fields)?;
        Ok(reader)
    }
}

/// Goes over a message once and keeps count of what it will take in memory.
pub(super) struct Walker {
    pub version: i16,
    pub flexible: bool,
    pub budget: usize,
}

impl Walker {
    fn walk(&mut self, reader: &mut Reader<'_>, fields: &'static [Field]) -> Result<(), Malformed> {
        for field in fields {
            match field {
                Field::Fixed(bytes) => drop(reader.take(*bytes)?),
                Field::Text | Field::Bytes => {
                    let length = self.length(reader, field)?;
                    reader.take(length)?;
                }
                Field::Numbers(width) => {
                    let count = self.length(reader, field)?;
                    let count = reader.checked_count(count, *width)?;
                    self.spend(reader, count, *width)?;
                    reader.take(count * width)?;
                }
                Field::Array(element) => self.elements(reader, field, element)?,
                Field::Nullable(fields) => {
                    if reader.i8()? == 1 {
                        self.walk(reader, fields)?;
                    }
                }
                Field::Since(..) | Field::Until(..) => self.walk(reader, self.versioned(field))?,
                Field::Tags(known) if self.flexible => self.tags(reader, known)?,
                Field::Tags(_) => {}
            }
        }
        Ok(())
    }

    /// The fields that depend on the version, if it has them.
    pub fn versioned(&self, field: &'static Field) -> &'static [Field] {
        match field {
            Field::Since(first, fields) if self.version >= *first => fields,
            Field::Until(last, fields) if self.version <= *last => fields,
            _ => &[],
        }
    }

    /// A length or a count; null counts as 0, since nothing follows it either.
    pub fn length(&self, reader: &mut Reader<'_>, field: &Field) -> Result<usize, Malformed> {
        let length = match field {
            _ if self.flexible => return Ok((reader.unsigned_varint()? as usize).saturating_sub(1)),
            Field::Text => i32::from(reader.i16()?),
            _ => reader.i32()?,
        };
        if length == -1 {
            return Ok(0);
        }
        usize::try_from(length).map_err(|_| reader.malformed("a negative length"))
    }

    fn elements(
        &mut self,
        reader: &mut Reader<'_>,
        array: &Field,
        fields: &'static [Field],
    ) -> Result<(), Malformed> {
        let count = self.length(reader, array)?;
        let count = reader.checked_count(count, self.least_bytes(fields))?;
        self.spend(reader, count, ELEMENT_BYTES)?;
        for _ in 0..count {
            self.walk(reader, fields)?;
        }
        Ok(())
    }

    /// The fewest bytes that `fields` can take.
    fn least_bytes(&self, fields: &'static [Field]) -> usize {
        let least = |field: &'static Field| match field {
            Field::Fixed(bytes) => *bytes,
            Field::Nullable(_) => 1,
            Field::Since(..) | Field::Until(..) => self.least_bytes(self.versioned(field)),
            Field::Tags(_) => usize::from(self.flexible),
            _ if self.flexible => 1,
            Field::Text => 2,
            Field::Bytes | Field::Numbers(_) | Field::Array(_) => 4,
        };
        fields.iter().map(least).sum()
    }

    /// The decoder reads a tag that it knows without regard to its size: the two must agree.
    pub fn tags(
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
            .ok_or_else(|| reader.malformed("more elements than a message may have"))?;
        Ok(())
    }
}
