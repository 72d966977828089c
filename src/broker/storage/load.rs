//! Reading into memory what is held there.

use std::collections::{BTreeSet, HashMap};

use redb::{Database, ReadableDatabase, ReadableTable, ReadableTableMetadata};

use super::fault::Fault;
use super::ledger::{Ledger, LedgerTopic, Limits, Producers};
use super::rows::{Meta, PartitionRow, Row, STATE, TopicRow};
use super::state::{State, TopicState};
use super::transaction::row_bytes;
use super::{Bounds, Topic};

/// What the rows so far have told. They come in the order of their kinds.
#[derive(Default)]
struct Loaded {
    meta: Option<Meta>,
    topics: Vec<(u32, TopicRow)>,
    partitions: HashMap<(u32, i32), PartitionRow>,
    producers: Producers,
    emptied: BTreeSet<u32>,
    /// What offsets and groups take.
    bytes: usize,
    state: State,
}

/// Reads every row, and makes sure that they are as many as were written.
pub(super) fn load(database: &Database) -> Result<(Ledger, State), Fault> {
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
        return Err(Fault::Damaged(format!("{count} rows where {} were stored", table.len()?)));
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
                // Those of a topic that was deleted are on their way out, as are offsets below.
                if self.state.names.contains_key(&number) {
                    self.producers.put((number, partition, id), producer);
                }
            }
            Row::Emptied(number) => {
                self.emptied.insert(number);
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

    fn put_together(mut self) -> Result<(Ledger, State), Fault> {
        let mut ledger = Ledger {
            meta: self.meta.ok_or_else(|| Fault::Damaged("its first row is missing".to_owned()))?,
            topics: HashMap::new(),
            partitions: self.partitions.len(),
            producers: self.producers,
            emptied: self.emptied,
            bytes: self.bytes,
            limits: Limits::default(),
        };
        for (number, row) in self.topics {
            let logs: Option<Vec<PartitionRow>> =
                (0..row.partitions).map(|partition| self.partitions.remove(&(number, partition))).collect();
            let logs =
                logs.ok_or_else(|| Fault::Damaged(format!("topic {} has lost a partition", row.name)))?;
            let bounds = logs.iter().map(|log| Bounds { log_start: log.log_start, end: log.end }).collect();
            let topic = Topic { name: row.name.clone(), id: row.id, partitions: row.partitions };
            self.state.topics.insert(row.name.clone(), TopicState { topic, number, bounds });
            ledger.topics.insert(row.name, LedgerTopic { number, logs });
        }
        match self.partitions.is_empty() {
            true => Ok((ledger, self.state)),
            false => Err(Fault::Damaged("it has partitions of no topic".to_owned())),
        }
    }
}
