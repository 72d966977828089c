//! Folders, batches and stores for the tests.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use bytes::{Bytes, BytesMut};
use kafka_protocol::records as other;

use super::super::write_state::Limits;
use super::super::{Append, Appended, CommittedOffset, OpenError, Retention, Store, open};
use protocol::compression::Compression;
use protocol::error_code::ErrorCode;
use protocol::records::{Batches, encode_batch};

/// A folder that is removed with what is in it.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Folder {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("store-{}-{number}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Folder(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The file of the first segment.
    pub fn log(&self) -> PathBuf {
        self.0.join("00000000000000000001.0.log")
    }

    pub fn open(&self) -> Store {
        Store::open(self.path(), Retention::default()).unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A store that removes things only when [`Store::apply_retention_now`] is called, with a clock that stands.
pub struct Standing {
    pub store: Store,
    pub now: Arc<AtomicI64>,
}

impl Standing {
    pub fn open(folder: &Folder, retention: Retention, now: i64) -> Standing {
        Standing::with_limits(folder, retention, now, Limits::default())
    }

    pub fn with_limits(folder: &Folder, retention: Retention, now: i64, limits: Limits) -> Standing {
        let (opened, name) = open::open_folder(folder.path(), open::Check::Used, limits).unwrap();
        let now = Arc::new(AtomicI64::new(now));
        let clock = now.clone();
        let clock = Arc::new(move || clock.load(Ordering::Relaxed));
        Standing { store: Store::start(opened, name, retention, clock, None).unwrap(), now }
    }

    /// Until there is no more to remove.
    pub fn apply_retention(&self) {
        for _ in 0..1000 {
            if !self.store.apply_retention_now().wait().unwrap() {
                return;
            }
        }
        panic!("there is always more to remove");
    }
}

/// A batch of one record for each value.
pub fn batch(values: &[&str], timestamp: i64) -> Bytes {
    sequenced_batch(values, timestamp, -1, -1, -1)
}

/// A batch of an idempotent producer.
pub fn sequenced_batch(values: &[&str], timestamp: i64, producer: i64, epoch: i16, sequence: i32) -> Bytes {
    let records = values.iter().map(|value| (None, Some(value.as_bytes())));
    encode_batch(records, timestamp, producer, epoch, sequence, Compression::None).unwrap().into()
}

/// A batch of one record for each timestamp, which an encoder of others made.
pub fn batch_of_times(times: &[i64]) -> Bytes {
    let record = |(index, timestamp): (usize, &i64)| other::Record {
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: -1,
        producer_id: -1,
        producer_epoch: -1,
        timestamp_type: other::TimestampType::Creation,
        offset: index as i64,
        sequence: index as i32,
        timestamp: *timestamp,
        key: None,
        value: None,
        headers: Default::default(),
    };
    let records: Vec<_> = times.iter().enumerate().map(record).collect();
    let mut bytes = BytesMut::new();
    let options = other::RecordEncodeOptions { version: 2, compression: other::Compression::None };
    other::RecordBatchEncoder::encode(&mut bytes, &records, &options).unwrap();
    bytes.freeze()
}

pub fn append(store: &Store, topic: &str, partition: i32, batch: Bytes) -> Result<Appended, ErrorCode> {
    let batch = Append { topic: topic.into(), partition, batch };
    store.append(vec![batch]).remove(0).wait()
}

pub fn committed(offset: i64) -> CommittedOffset {
    CommittedOffset { offset, leader_epoch: -1, metadata: "".into() }
}

/// Offsets and values from an offset on, read in as many steps as it takes.
pub fn values(
    store: &Store,
    topic: &str,
    partition: i32,
    from: i64,
) -> Result<Vec<(i64, String)>, ErrorCode> {
    let (mut offset, mut values) = (from, Vec::new());
    loop {
        let (bytes, bounds) = store.read(topic, partition, offset, 10_000, true)?;
        if bytes.is_empty() {
            assert_eq!(offset, bounds.log_end_offset);
            return Ok(values);
        }
        for batch in Batches::new(&bytes) {
            let records = batch.unwrap().unpack(1 << 20).unwrap();
            for record in &records {
                let record = record.unwrap();
                if record.offset >= offset {
                    let value = String::from_utf8(record.value.unwrap_or_default().to_vec()).unwrap();
                    assert_eq!(record.offset, offset);
                    values.push((record.offset, value));
                    offset += 1;
                }
            }
        }
    }
}

/// `start..` with these values.
pub fn at(start: i64, values: &[&str]) -> Vec<(i64, String)> {
    (start..).zip(values.iter().map(|value| (*value).to_owned())).collect()
}

/// Why a folder cannot be opened.
pub fn refusal(folder: &Folder) -> OpenError {
    match Store::open(folder.path(), Retention::default()) {
        Ok(_) => panic!("it was opened"),
        Err(error) => error,
    }
}
