//! Loads topics, log ends, producers, offsets and groups into memory when the database is opened.

use std::collections::{BTreeSet, HashMap};

use redb::{Database, ReadableDatabase, ReadableTable, ReadableTableMetadata};

use super::error::StorageError;
use super::read_state::{State, TopicState};
use super::schema::{Meta, PartitionRow, Row, STATE, TopicRow};
use super::transaction::row_bytes;
use super::write_state::{Limits, ProducerStates, TopicLogs, WriteState};
use super::{LogBounds, Topic};

/// The rows read so far. They come in the order of their kinds.
#[derive(Default)]
struct Loaded {
    meta: Option<Meta>,
    topics: Vec<(u32, TopicRow)>,
    partitions: HashMap<(u32, i32), PartitionRow>,
    producers: ProducerStates,
    deleted_topics: BTreeSet<u32>,
    /// Bytes of offsets and groups.
    bytes: usize,
    state: State,
}

/// Reads every row, and checks their number.
pub(super) fn load(database: &Database) -> Result<(WriteState, State), StorageError> {
    let transaction = database.begin_read()?;
    let table = transaction.open_table(STATE)?;
    let (mut loaded, mut count) = (Loaded::default(), 0);
    for row in table.iter()? {
        let (key, value) = row?;
        let (key, value) = (key.value(), value.value());
        count += 1;
        loaded.take(Row::read(key, value)?, row_bytes(key, value));
    }
    if count != table.len()? {
        return Err(StorageError::Damaged(format!("{count} rows are found, {} were stored", table.len()?)));
    }
    loaded.put_together()
}

impl Loaded {
    fn take(&mut self, row: Row<'_>, bytes: usize) {
        match row {
            Row::Meta(meta) => self.meta = Some(meta),
            Row::Topic(number, topic) => {
                self.state.names.insert(number, topic.name.clone());
                self.topics.push((number, topic));
            }
            Row::Partition(number, partition, row) => {
                self.partitions.insert((number, partition), row);
            }
            Row::Producer(number, partition, id, producer) => {
                // Retention removes producers of deleted topics, and offsets, below.
                if self.state.names.contains_key(&number) {
                    self.producers.put((number, partition, id), producer);
                }
            }
            Row::DeletedTopic(number) => {
                self.deleted_topics.insert(number);
            }
            Row::Offset(group, number, partition, committed) => {
                self.bytes += bytes;
                if self.state.names.contains_key(&number) {
                    self.state.change_group(group, |group| {
                        group.offsets.insert((number, partition), committed);
                    });
                }
            }
            Row::Group(group, state) => {
                self.bytes += bytes;
                self.state.change_group(group, |group| group.state = Some(state));
            }
        }
    }

    fn put_together(mut self) -> Result<(WriteState, State), StorageError> {
        let mut write_state = WriteState {
            meta: self.meta.ok_or_else(|| StorageError::Damaged("its first row is missing".to_owned()))?,
            topics: HashMap::new(),
            partitions: self.partitions.len(),
            producers: self.producers,
            deleted_topics: self.deleted_topics,
            bytes: self.bytes,
            limits: Limits::default(),
        };
        for (number, row) in self.topics {
            let logs: Option<Vec<PartitionRow>> =
                (0..row.partitions).map(|partition| self.partitions.remove(&(number, partition))).collect();
            let logs = logs
                .ok_or_else(|| StorageError::Damaged(format!("topic {} has lost a partition", row.name)))?;
            let bounds = logs
                .iter()
                .map(|log| LogBounds {
                    log_start_offset: log.log_start_offset,
                    log_end_offset: log.log_end_offset,
                })
                .collect();
            let topic = Topic { name: row.name.clone(), id: row.id, partitions: row.partitions };
            self.state.topics.insert(row.name.clone(), TopicState { topic, number, bounds });
            write_state.topics.insert(row.name, TopicLogs { number, logs });
        }
        match self.partitions.is_empty() {
            true => Ok((write_state, self.state)),
            false => Err(StorageError::Damaged("it has partitions of no topic".to_owned())),
        }
    }
}
