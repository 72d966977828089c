//! One process of a broker: started, stopped, killed, frozen, and asked by hand over its port.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::watchdog::Guarded;
use super::{PATIENCE, eventually, tail};

/// A node of a cluster: its address, its folder, the command that starts it, and its process while it runs.
pub struct Node {
    /// From 1 on.
    pub id: usize,
    /// Where it serves clients, on the loopback address.
    pub port: u16,
    folder: PathBuf,
    command: Box<dyn Fn() -> Command + Send + Sync>,
    process: Mutex<Option<Guarded>>,
    /// How long the log was when it was started last.
    logged: AtomicUsize,
}

impl Node {
    /// A node that does not run yet, with a folder of its own for what it prints.
    pub fn new(
        id: usize,
        port: u16,
        folder: &Path,
        command: impl Fn() -> Command + Send + Sync + 'static,
    ) -> Node {
        fs::create_dir_all(folder).expect("a folder for a node");
        Node {
            id,
            port,
            folder: folder.to_owned(),
            command: Box::new(command),
            process: Mutex::new(None),
            logged: AtomicUsize::new(0),
        }
    }

    /// Starts it.
    pub fn launch(&self) {
        self.launch_as((self.command)());
    }

    /// Starts it by a shell that does something first, like setting a limit: `exec "$@"` stands for the node.
    pub fn launch_by(&self, script: &str) {
        let own = (self.command)();
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh"]).arg(own.get_program()).args(own.get_args());
        own.get_current_dir().into_iter().for_each(|folder| _ = command.current_dir(folder));
        self.launch_as(command);
    }

    fn launch_as(&self, command: Command) {
        let mut process = self.process();
        assert!(process.is_none(), "node {} runs already", self.id);
        self.logged.store(self.log().len(), Ordering::Relaxed);
        *process = Some(self.spawn(command));
    }

    /// Waits for a line with all of these words in what it has printed since it was started.
    pub fn wait_for_log(&self, words: &[&str]) -> String {
        eventually(&format!("node {} logs {words:?}", self.id), PATIENCE, || {
            let log = self.log();
            let mut new = log.get(self.logged.load(Ordering::Relaxed)..)?.lines();
            new.find(|line| words.iter().all(|word| line.contains(word))).map(str::to_owned)
        })
    }

    /// Whether it answers a request, at once.
    pub fn answers(&self) -> bool {
        self.known_brokers().is_ok()
    }

    /// Starts any command that prints into this node's log.
    pub fn spawn(&self, mut command: Command) -> Guarded {
        let log = || -> File {
            let file = File::options().create(true).append(true).open(self.folder.join("node.log"));
            file.expect("a log file for a node")
        };
        Guarded::spawn(command.stdin(Stdio::null()).stdout(log()).stderr(log()))
    }

    /// Whether it was started and not stopped since.
    pub fn is_running(&self) -> bool {
        self.process().is_some()
    }

    /// Waits until it answers a request and counts this many brokers among the living.
    pub fn wait_ready(&self, brokers: usize) {
        eventually("a node answers", Duration::from_secs(90), || {
            let status =
                self.process().as_mut().and_then(|process| process.child().try_wait().ok().flatten());
            if let Some(status) = status {
                panic!("node {} ended with {status}:\n{}", self.id, self.log_tail());
            }
            (self.known_brokers().ok()? >= brokers).then_some(())
        });
    }

    /// Stops it in an orderly way.
    pub fn stop(&self) {
        let Some(mut process) = self.process().take() else { return };
        process.signal("TERM");
        eventually("a node stops", PATIENCE, || process.child().try_wait().expect("its status"));
    }

    /// Kills it as a power cut would.
    pub fn kill(&self) {
        if let Some(mut process) = self.process().take() {
            process.kill();
        }
    }

    /// Sends a signal by its name.
    pub fn signal(&self, name: &str) {
        self.process().as_ref().expect("a running node").signal(name);
    }

    /// Everything that it has printed.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("node.log")).unwrap_or_default()
    }

    /// The last lines that it has printed.
    pub fn log_tail(&self) -> String {
        tail(&self.log(), 15)
    }

    /// How many brokers it counts among the living: Metadata, version 1, with no topics asked for.
    fn known_brokers(&self) -> io::Result<usize> {
        let answer = self.ask(3, 1, &[0, 0, 0, 0])?;
        Ok(Reader(&answer).int() as usize)
    }

    /// The codecs of a partition's batches as they are stored: the attributes in what one Fetch, version 4,
    /// gives of its beginning. 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd.
    pub fn codecs(&self, topic: &str, partition: i32) -> Vec<u8> {
        // Replica -1, no waiting, one byte at least, a mebibyte at most, uncommitted; one topic, one
        // partition from 0.
        let mut body =
            [&[0xff; 4][..], &[0; 4], &[0, 0, 0, 1], &[0, 0x10, 0, 0], &[0], &[0, 0, 0, 1]].concat();
        body.extend_from_slice(&(topic.len() as u16).to_be_bytes());
        body.extend_from_slice(topic.as_bytes());
        body.extend_from_slice(&[0, 0, 0, 1]);
        body.extend_from_slice(&partition.to_be_bytes());
        body.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10, 0, 0]);
        let answer = self.ask(1, 4, &body).unwrap_or_else(|error| panic!("no records of {topic}: {error}"));
        let mut answer = Reader(&answer);
        // Throttle time, topics; name; partitions, number; error; high watermark, last stable offset; aborted
        // transactions (none), size of the records.
        answer.skip(8);
        let name = answer.short();
        answer.skip(name as usize + 8);
        assert_eq!(answer.short(), 0, "error of {topic} {partition}");
        answer.skip(16 + 8);
        let mut codecs = Vec::new();
        while !answer.0.is_empty() {
            // Base offset 8, length 4; leader epoch 4, magic 1, checksum 4, attributes 2.
            answer.skip(8);
            let length = answer.int() as usize;
            let mut batch = Reader(answer.0);
            batch.skip(9);
            codecs.push((batch.short() & 7) as u8);
            answer.skip(length);
        }
        codecs
    }

    /// One request with a null client id; gives the answer's body.
    fn ask(&self, key: u8, version: u8, body: &[u8]) -> io::Result<Vec<u8>> {
        let address = format!("127.0.0.1:{}", self.port).parse().map_err(io::Error::other)?;
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(2))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        let mut request = (body.len() as u32 + 10).to_be_bytes().to_vec();
        // Key, version, correlation id 7, no client id.
        request.extend_from_slice(&[0, key, 0, version, 0, 0, 0, 7, 0xff, 0xff]);
        request.extend_from_slice(body);
        stream.write_all(&request)?;
        let mut size = [0; 4];
        stream.read_exact(&mut size)?;
        let mut answer = vec![0; u32::from_be_bytes(size) as usize];
        stream.read_exact(&mut answer)?;
        Ok(answer.split_off(4))
    }

    fn process(&self) -> MutexGuard<'_, Option<Guarded>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- node {}:\n{}", self.id, self.log_tail());
        }
    }
}

/// Numbers of an answer, one after another.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn skip(&mut self, count: usize) {
        self.0 = self.0.get(count..).expect("an answer that is long enough");
    }

    fn short(&mut self) -> i16 {
        let number = i16::from_be_bytes([self.0[0], self.0[1]]);
        self.skip(2);
        number
    }

    fn int(&mut self) -> i32 {
        let number = i32::from_be_bytes([self.0[0], self.0[1], self.0[2], self.0[3]]);
        self.skip(4);
        number
    }
}
