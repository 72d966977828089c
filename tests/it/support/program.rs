//! Our programs as processes: started with settings, read line by line, signalled, and always ended.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write as _};
use std::net::SocketAddr;
use std::process::{ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::http::{self, Answer};
use super::kafka::Kafka;
use super::ports::free_port;
use super::watchdog::{Folder, Guarded};
use super::{PATIENCE, eventually};

/// What a consumer prints once it is a member of its group.
pub const WAITING: &str = "Esperando mensajes...";
/// What a consumer prints before each message.
pub const RECEIVED: &str = "Mensaje recibido: ";

/// Waits until these consumers together have printed `count` messages.
pub fn wait_for_messages(consumers: &[&Program], count: usize, patience: Duration) {
    let printed = || consumers.iter().map(|consumer| consumer.received_count()).sum::<usize>();
    eventually(&format!("{count} messages are printed"), patience, || (printed() >= count).then_some(()));
}

/// All that these consumers have printed.
pub fn received_by(consumers: &[&Program]) -> Vec<String> {
    consumers.iter().flat_map(|consumer| consumer.received()).collect()
}

/// The path of one of this package's programs.
pub fn binary(name: &str) -> &'static str {
    match name {
        "producer_api" => env!("CARGO_BIN_EXE_producer_api"),
        "consumer1" => env!("CARGO_BIN_EXE_consumer1"),
        "consumer2" => env!("CARGO_BIN_EXE_consumer2"),
        "producer" => env!("CARGO_BIN_EXE_producer"),
        "consumer_pull" => env!("CARGO_BIN_EXE_consumer_pull"),
        "consumer_push" => env!("CARGO_BIN_EXE_consumer_push"),
        "adapter" => env!("CARGO_BIN_EXE_adapter"),
        "point-to-point" => env!("CARGO_BIN_EXE_point-to-point"),
        other => panic!("there is no program {other}"),
    }
}

/// The lines of one output so far; `closed` when there will be no more.
#[derive(Default)]
struct Lines {
    state: Mutex<(Vec<String>, bool)>,
    more: Condvar,
}

impl Lines {
    fn lock(&self) -> MutexGuard<'_, (Vec<String>, bool)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads to the end on a thread of its own, which ends when the process closes the pipe.
    fn read_from(self: &Arc<Self>, pipe: impl Read + Send + 'static) {
        let lines = Arc::clone(self);
        thread::spawn(move || {
            for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
                lines.lock().0.push(String::from_utf8_lossy(&line).into_owned());
                lines.more.notify_all();
            }
            lines.lock().1 = true;
            lines.more.notify_all();
        });
    }

    /// Waits until `found` says yes to all the lines so far.
    fn wait<T>(
        &self,
        patience: Duration,
        mut found: impl FnMut(&[String]) -> Option<T>,
    ) -> Result<T, &'static str> {
        let deadline = Instant::now() + patience;
        let mut state = self.lock();
        loop {
            if let Some(answer) = found(&state.0) {
                return Ok(answer);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if state.1 || left.is_zero() {
                return Err(if state.1 { "the output ended" } else { "time is up" });
            }
            state = self.more.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// How to start a program.
pub struct Start {
    label: String,
    command: Command,
    hold: bool,
    input: bool,
    folder: Option<Folder>,
}

impl Start {
    /// One of this package's programs, in a folder of its own, without a log file.
    pub fn program(name: &str) -> Start {
        Start::command(name, Command::new(binary(name))).set("log.file", "")
    }

    /// Any other command.
    pub fn command(label: &str, mut command: Command) -> Start {
        let folder = Folder::new(label);
        command.current_dir(folder.path());
        Start { label: label.to_owned(), command, hold: false, input: false, folder: Some(folder) }
    }

    /// `--set key=value`.
    pub fn set(self, key: &str, value: &str) -> Start {
        self.arguments(&["--set", &format!("{key}={value}")])
    }

    /// Further arguments.
    pub fn arguments(mut self, arguments: &[&str]) -> Start {
        self.command.args(arguments);
        self
    }

    /// A variable of its environment.
    pub fn environment(mut self, name: &str, value: &str) -> Start {
        self.command.env(name, value);
        self
    }

    /// By a shell that does something first, like setting a limit: `exec "$@"` stands for the program.
    pub fn by(mut self, script: &str) -> Start {
        let own = std::mem::replace(&mut self.command, Command::new("sh"));
        self.command.args(["-c", script, "sh"]).arg(own.get_program()).args(own.get_args());
        own.get_current_dir().into_iter().for_each(|folder| _ = self.command.current_dir(folder));
        self
    }

    /// Which cluster it works with.
    pub fn on(self, kafka: &Kafka) -> Start {
        self.set("kafka.bootstrap_servers", &kafka.bootstrap())
    }

    /// Reads nothing from its standard output until [`Program::release`]: it stands still as soon as it has
    /// printed more than a pipe holds (64 KiB on Linux).
    pub fn held(mut self) -> Start {
        self.hold = true;
        self
    }

    /// Gives it a standard input for [`Program::write_line`] and [`Program::close_input`].
    pub fn with_input(mut self) -> Start {
        self.input = true;
        self
    }

    /// Starts it.
    pub fn start(mut self) -> Program {
        let stdin = if self.input { Stdio::piped() } else { Stdio::null() };
        self.command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = Guarded::spawn(&mut self.command);
        let errors = Arc::new(Lines::default());
        errors.read_from(process.child().stderr.take().expect("its standard error is a pipe"));
        let mut program = Program {
            label: self.label,
            process,
            output: Arc::new(Lines::default()),
            errors,
            address: None,
            _folder: self.folder,
        };
        if !self.hold {
            program.release();
        }
        program
    }
}

/// A running program. Killed when dropped; if the test failed, its last lines are shown.
pub struct Program {
    label: String,
    process: Guarded,
    output: Arc<Lines>,
    errors: Arc<Lines>,
    address: Option<SocketAddr>,
    _folder: Option<Folder>,
}

impl Program {
    /// `producer_api` for a topic, on a free port, ready to answer requests.
    pub fn producer(kafka: &Kafka, topic: &str) -> Program {
        Program::producer_with(Start::program("producer_api").on(kafka).set("kafka.topic", topic))
    }

    /// `producer_api` with settings of the test, on a free port, ready to answer requests.
    pub fn producer_with(start: Start) -> Program {
        Program::server(start, "producer_api.listen")
    }

    /// The same, which listens at all addresses of this machine, or at others than usual.
    pub fn producer_with_at(start: Start, host: &str) -> Program {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        Program::server_at(start, "producer_api.listen", &format!("{host}:{}", address.port()), address)
    }

    /// `adapter` with settings of the test, on a free port, ready to accept connections.
    pub fn adapter_with(start: Start) -> Program {
        Program::server(start, "adapter.listen")
    }

    fn server(start: Start, listen: &str) -> Program {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        Program::server_at(start, listen, &address.to_string(), address)
    }

    fn server_at(start: Start, key: &str, listen: &str, address: SocketAddr) -> Program {
        let mut program = start.set(key, listen).start();
        program.address = Some(address);
        eventually(&format!("{} listens on {address}", program.label), PATIENCE, || {
            assert!(program.exit_status().is_none(), "{} ended at once", program.label);
            std::net::TcpStream::connect(address).ok()
        });
        program
    }

    /// `consumer1` or `consumer2` of a group, once it is a member.
    pub fn consumer(kafka: &Kafka, name: &str, topic: &str, group: &str) -> Program {
        let consumer = Program::consumer_start(kafka, name, topic, group).start();
        consumer.wait_for_line(WAITING, PATIENCE);
        consumer
    }

    /// How to start a consumer with a test's name: `consumer1` with `--name`.
    pub fn consumer_start(kafka: &Kafka, name: &str, topic: &str, group: &str) -> Start {
        let program = if name == "consumer2" { "consumer2" } else { "consumer1" };
        let start = Start::program(program).on(kafka).set("kafka.topic", topic).set("consumer.group", group);
        if name == program { start } else { start.arguments(&["--name", name]) }
    }

    /// Where a server listens.
    pub fn address(&self) -> SocketAddr {
        self.address.expect("a program that listens")
    }

    /// Posts one body on a connection of its own.
    pub fn post(&self, path: &str, body: &str) -> Answer {
        http::post(self.address(), path, body.as_bytes())
            .unwrap_or_else(|error| panic!("POST {path}: {error}"))
    }

    /// Begins to read the standard output of a program that was started [`Start::held`].
    pub fn release(&mut self) {
        if let Some(pipe) = self.process.child().stdout.take() {
            self.output.read_from(pipe);
        }
    }

    /// The standard output of a program that was started [`Start::held`], for the test to read as it likes.
    pub fn take_output(&mut self) -> ChildStdout {
        self.process.child().stdout.take().expect("an output that is held")
    }

    /// Closes the standard output of a program that was started [`Start::held`].
    pub fn close_output(&mut self) {
        drop(self.process.child().stdout.take());
    }

    /// Writes one line to its standard input.
    pub fn write_line(&mut self, line: &str) {
        let input = self.process.child().stdin.as_mut().expect("a program started with input");
        writeln!(input, "{line}").unwrap_or_else(|error| panic!("{} does not read: {error}", self.label));
    }

    /// Closes its standard input.
    pub fn close_input(&mut self) {
        drop(self.process.child().stdin.take());
    }

    /// All lines of the standard output so far.
    pub fn lines(&self) -> Vec<String> {
        self.output.lock().0.clone()
    }

    /// All lines of the standard error (the log) so far.
    pub fn log(&self) -> Vec<String> {
        self.errors.lock().0.clone()
    }

    /// The messages printed so far.
    pub fn received(&self) -> Vec<String> {
        let lines = self.lines();
        lines.iter().filter_map(|line| line.strip_prefix(RECEIVED)).map(str::to_owned).collect()
    }

    /// How many messages were printed so far.
    pub fn received_count(&self) -> usize {
        self.output.lock().0.iter().filter(|line| line.starts_with(RECEIVED)).count()
    }

    /// Waits until the standard output has at least `count` lines.
    pub fn wait_for_lines(&self, count: usize, patience: Duration) {
        let enough = |lines: &[String]| (lines.len() >= count).then_some(());
        self.output.wait(patience, enough).unwrap_or_else(|why| {
            panic!("{} printed {} of {count} lines: {why}", self.label, self.lines().len());
        });
    }

    /// Waits for a line of the standard output that starts with `text`.
    pub fn wait_for_line(&self, text: &str, patience: Duration) -> String {
        let find = |lines: &[String]| lines.iter().find(|line| line.starts_with(text)).cloned();
        self.output
            .wait(patience, find)
            .unwrap_or_else(|why| panic!("{} printed no {text:?}: {why}", self.label))
    }

    /// Waits until `count` messages were printed.
    pub fn wait_for_messages(&self, count: usize, patience: Duration) {
        let enough = |lines: &[String]| {
            (lines.iter().filter(|line| line.starts_with(RECEIVED)).count() >= count).then_some(())
        };
        self.output.wait(patience, enough).unwrap_or_else(|why| {
            panic!("{} printed {} of {count} messages: {why}", self.label, self.received_count())
        });
    }

    /// Waits for a line of the log that contains all of these words, in any case.
    pub fn wait_for_log(&self, words: &[&str], patience: Duration) -> String {
        let fits = |line: &&String| {
            let line = line.to_lowercase();
            words.iter().all(|word| line.contains(&word.to_lowercase()))
        };
        let find = |lines: &[String]| lines.iter().find(fits).cloned();
        self.errors
            .wait(patience, find)
            .unwrap_or_else(|why| panic!("{} logged no {words:?}: {why}", self.label))
    }

    /// Sends a signal by its name: `TERM`, `KILL`, `STOP`, `CONT`.
    pub fn signal(&self, name: &str) {
        self.process.signal(name);
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Its exit status, if it has ended.
    pub fn exit_status(&mut self) -> Option<ExitStatus> {
        self.process.child().try_wait().expect("the status of a child")
    }

    /// Waits for its end and gives the exit code (`None` for a signal).
    pub fn wait(&mut self, patience: Duration) -> Option<i32> {
        let label = self.label.clone();
        eventually(&format!("{label} ends"), patience, || self.exit_status()).code()
    }

    /// Ends it as Ctrl-C would and expects a clean exit.
    pub fn stop(&mut self) {
        self.signal("TERM");
        assert_eq!(self.wait(PATIENCE), Some(0), "{} did not end cleanly", self.label);
    }

    /// Waits until both outputs are closed, so that [`Program::lines`] and [`Program::log`] are complete.
    pub fn wait_for_outputs(&self) {
        for lines in [&self.output, &self.errors] {
            let _ = lines.wait(PATIENCE, |_| None::<()>);
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.process.kill();
        if thread::panicking() {
            let mut report = String::new();
            for (name, lines, events) in [("output", &self.output, 0), ("log", &self.errors, 60)] {
                let state = lines.lock();
                let _ = writeln!(report, "--- {} {name}, {} lines:", self.label, state.0.len());
                for line in worth_showing(&state.0, events) {
                    let _ = writeln!(report, "{}", line.chars().take(400).collect::<String>());
                }
            }
            eprintln!("{report}");
        }
    }
}

/// The last five lines, and before them the last `count` of those that are not about single messages.
fn worth_showing(lines: &[String], count: usize) -> impl Iterator<Item = &String> {
    let (before, last) = lines.split_at(lines.len().saturating_sub(5));
    let event = |line: &&String| !line.contains(" sent ") && !line.contains(" received ");
    let events: Vec<&String> = before.iter().filter(event).collect();
    let skip = events.len().saturating_sub(count);
    events.into_iter().skip(skip).chain(last)
}
