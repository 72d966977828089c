//! Snapshots: the state at the beginning of a segment, without the batches.
//!
//! A snapshot is a file of frames, as a segment is, whose records are rows; the last one is the number of the
//! rows. Segments before it are needed for their batches alone.

use super::error::StorageError;
use super::files::Files;
use super::frame::{self, Found, FrameBuffer, FrameReader, Seed};
use super::names;
use super::read_state::State;
use super::record::{Record, Records, put_end, put_row};
use super::rows::{META_KEY, TopicRow, group_key, offset_key, partition_key, producer_key, topic_key};
use super::write_state::WriteState;

/// Bytes of a frame, beyond which the next one begins.
const FRAME_BYTES: usize = 1 << 20;

fn seed(number: u64) -> Seed {
    frame::seed(b's', number, 0)
}

/// Puts frames together.
struct Encoder {
    out: Vec<u8>,
    frame: FrameBuffer,
    seed: Seed,
    now: i64,
    rows: u64,
}

impl Encoder {
    fn row(&mut self, key: &[u8], value: &[u8]) {
        put_row(self.frame.payload(), key, value);
        self.rows += 1;
        if self.frame.len() >= FRAME_BYTES {
            self.end_frame();
        }
    }

    fn end_frame(&mut self) {
        let position = self.out.len() as u64;
        self.out.extend_from_slice(self.frame.seal(self.seed, position, self.now));
        self.frame.clear();
    }
}

/// Encodes the state at the beginning of segment `number`.
pub(super) fn encode(number: u64, write_state: &WriteState, state: &State, now: i64) -> Vec<u8> {
    let frame = FrameBuffer::default();
    let mut encoder = Encoder { out: Vec::new(), frame, seed: seed(number), now, rows: 0 };
    encoder.row(META_KEY, &write_state.meta.to_bytes());
    for topic in write_state.topics.values() {
        encoder.row(&topic_key(topic.number), &TopicRow::of(&topic.topic).to_bytes());
        for (partition, log) in (0..).zip(&topic.logs) {
            encoder.row(&partition_key(topic.number, partition), &log.to_bytes());
        }
    }
    for (&(number, partition, id), producer) in write_state.producers.iter() {
        encoder.row(&producer_key(number, partition, id), &producer.to_bytes());
    }
    for (name, group) in &state.groups {
        if let Some(state) = &group.state {
            encoder.row(&group_key(name), state);
        }
        for ((number, partition), committed) in &group.offsets {
            encoder.row(&offset_key(name, *number, *partition), &committed.to_bytes());
        }
    }
    put_end(encoder.frame.payload(), encoder.rows);
    encoder.end_frame();
    encoder.out
}

/// Reads a snapshot: `take` gets the rows.
///
/// # Errors
/// It is not whole, or a row is refused.
pub(super) fn read(
    files: &dyn Files,
    number: u64,
    mut take: impl FnMut(&[u8], &[u8]) -> Result<(), StorageError>,
) -> Result<(), StorageError> {
    let name = names::snapshot(number);
    let damaged = |what: &str| StorageError::Damaged(format!("{name}: {what}"));
    let mut reader = FrameReader::new(files.open(&name)?, seed(number))?;
    let (mut position, mut rows) = (0, 0);
    loop {
        let Found::Frame { payload, end, .. } = reader.at(position)? else {
            return Err(damaged("it is damaged, or cut short"));
        };
        position = end;
        for record in Records::new(payload) {
            match record? {
                Record::Row { key, value } => {
                    rows += 1;
                    take(key, value)?;
                }
                Record::End { rows: stored } if stored == rows => return Ok(()),
                _ => return Err(damaged("it holds what no snapshot does")),
            }
        }
    }
}
