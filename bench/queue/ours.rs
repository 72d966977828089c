//! Our side of the work queue's figures: a closure that sleeps, in a consumer with many messages under way.
//!
//! `BOOTSTRAP TOPIC GROUP MESSAGES CONCURRENCY ORDER MILLISECONDS FAILS HISTORY`: consumes until so many
//! messages are handled, each with so many milliseconds of work, prints `first` and `done` at the first and
//! at the last, and ends when its standard input does. FAILS is `fails` or `-`; with `fails`, messages whose
//! key is from 1,000,000 on fail once, with 30 seconds until their next attempt, the one with 2,000,000 is
//! worked on for ten minutes, and none of them counts. HISTORY is appended to: 32 bytes a message, as
//! `history.py` says.

use std::error::Error;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use point_to_point::{Channel, Consumer, ConsumerBuilder, ConsumerRecord, Handler};

const FAILING: u32 = 1_000_000;
const STUCK: u32 = 2_000_000;
const RECORD: usize = 32;
const RECORDS_IN_A_BLOCK: usize = 64;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [bootstrap, topic, group, messages, concurrency, order, work, fails, history] = arguments.as_slice()
    else {
        return Err("BOOTSTRAP TOPIC GROUP MESSAGES CONCURRENCY ORDER MILLISECONDS FAILS HISTORY".into());
    };
    let (messages, work) = (messages.parse::<u64>()?, Duration::from_millis(work.parse()?));
    let fails = fails == "fails";
    let history = History::append_to(history)?;
    let handled = Arc::new(AtomicU64::new(0));

    let channel = Channel::builder()
        .topic(topic)
        .bootstrap_servers(bootstrap)
        .set("consumer.concurrency", concurrency)
        .set("consumer.order", &format!("{order:?}"))
        .set("consumer.max_processing_ms", "900000")
        .set("retry.initial_backoff_ms", "30000")
        .set("retry.jitter", "0")
        .open()?;
    let (counter, recorder) = (Arc::clone(&handled), history.recorder());
    let consumer = start(channel.consumer(group), move |record: &ConsumerRecord<'_>| {
        let begun = Instant::now();
        let key = number_of(record.key).ok_or("a key of another kind")?;
        if fails && key == STUCK {
            thread::sleep(Duration::from_secs(600));
        }
        if fails && key >= FAILING && record.attempt == 1 {
            return Err("fails at its first attempt");
        }
        if !work.is_zero() {
            thread::sleep(work);
        }
        recorder.add(record, key, begun);
        if key < FAILING {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    })?;

    tell_when(&handled, 1, "first")?;
    tell_when(&handled, messages, "done")?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    let stopped = consumer.stop();
    history.finish();
    Ok(stopped?)
}

/// Starts the consumer with as many messages under way as `consumer.concurrency` says.
fn start(
    consumer: ConsumerBuilder,
    handler: impl Handler + Clone + Send + 'static,
) -> point_to_point::Result<Consumer> {
    // One at a time, until there is `start_concurrently`.
    consumer.start_concurrently(handler)
}

fn tell_when(handled: &AtomicU64, count: u64, word: &str) -> std::io::Result<()> {
    while handled.load(Ordering::Relaxed) < count {
        thread::sleep(Duration::from_millis(1));
    }
    writeln!(std::io::stdout(), "{word}")
}

/// The number in `key-0000123`.
fn number_of(key: Option<&[u8]>) -> Option<u32> {
    std::str::from_utf8(key?.strip_prefix(b"key-")?).ok()?.parse().ok()
}

/// What was handled, and when, in a file.
struct History {
    file: File,
    began: Instant,
    blocks: Mutex<Vec<Block>>,
}

/// What one worker has not written yet.
type Block = Arc<Mutex<Vec<u8>>>;

impl History {
    fn append_to(path: &str) -> std::io::Result<Arc<History>> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(Arc::new(History { file, began: Instant::now(), blocks: Mutex::default() }))
    }

    fn recorder(self: &Arc<Self>) -> Recorder {
        let block = Block::default();
        lock(&self.blocks).push(Arc::clone(&block));
        Recorder { history: Arc::clone(self), block }
    }

    fn nanoseconds(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.began).as_nanos()).unwrap_or(u64::MAX)
    }

    fn write(&self, block: &mut Vec<u8>) {
        if let Err(error) = (&self.file).write_all(block) {
            eprintln!("no history: {error}");
            std::process::exit(1);
        }
        block.clear();
    }

    /// Writes what the workers have not.
    fn finish(&self) {
        for block in lock(&self.blocks).iter() {
            self.write(&mut lock(block));
        }
    }
}

/// One worker's part of the history, which goes to the file in blocks.
struct Recorder {
    history: Arc<History>,
    block: Block,
}

impl Recorder {
    fn add(&self, record: &ConsumerRecord<'_>, key: u32, begun: Instant) {
        let mut block = lock(&self.block);
        block.extend_from_slice(&record.partition.to_le_bytes());
        block.extend_from_slice(&key.to_le_bytes());
        block.extend_from_slice(&record.offset.to_le_bytes());
        block.extend_from_slice(&self.history.nanoseconds(begun).to_le_bytes());
        block.extend_from_slice(&self.history.nanoseconds(Instant::now()).to_le_bytes());
        if block.len() >= RECORDS_IN_A_BLOCK * RECORD {
            self.history.write(&mut block);
        }
    }
}

/// A clone is another worker's.
impl Clone for Recorder {
    fn clone(&self) -> Recorder {
        self.history.recorder()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
