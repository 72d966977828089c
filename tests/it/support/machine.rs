//! A virtual machine that runs Java's clients and tools (tests/kafka/Assistant.java), or a program in Python
//! in its place (tests/it/clients/assistant.py). Its commands run beside each other.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use super::java::java;
use super::python::python;
use super::watchdog::Guarded;
use super::{NEWEST, OLDEST};

/// The words of each line of an answer.
pub type Lines = Vec<Vec<String>>;

/// In place of a version: clients without Java, for the embedded broker.
pub const PYTHON: &str = "python";

/// Longer than any command: each has a limit of its own, and the first waits until the machine is up.
const LONGEST: Duration = Duration::from_secs(180);

/// Who waits for the answers, by the numbers of the commands; nobody more once the machine is gone.
type Waiters = Option<HashMap<u64, Sender<Result<Lines, String>>>>;

/// The running machine.
pub struct Machine {
    input: Mutex<(u64, ChildStdin)>,
    waiting: Arc<Mutex<Waiters>>,
    _process: Guarded,
}

impl Machine {
    /// The machine of a version, or the program [`PYTHON`], which runs until the test process ends.
    pub fn shared(version: &str) -> &'static Machine {
        static PYTHONS: OnceLock<Machine> = OnceLock::new();
        static NEWEST_ONE: OnceLock<Machine> = OnceLock::new();
        static OLDEST_ONE: OnceLock<Machine> = OnceLock::new();
        let shared = match version {
            NEWEST => &NEWEST_ONE,
            OLDEST => &OLDEST_ONE,
            PYTHON => &PYTHONS,
            other => panic!("the tests know no Kafka {other}"),
        };
        let command = if version == PYTHON { python("assistant.py") } else { javas(version) };
        shared.get_or_init(|| Machine::start(command))
    }

    fn start(mut command: Command) -> Machine {
        let mut process = Guarded::spawn(command.stdin(Stdio::piped()).stdout(Stdio::piped()));
        let input = process.child().stdin.take().expect("its standard input is a pipe");
        let output = process.child().stdout.take().expect("its standard output is a pipe");
        let waiting = Arc::new(Mutex::new(Some(HashMap::new())));
        let answers = Arc::clone(&waiting);
        thread::spawn(move || read_answers(BufReader::new(output), &answers));
        Machine { input: Mutex::new((0, input)), waiting, _process: process }
    }

    /// One command for the cluster at these addresses; its answer, or what went wrong.
    pub fn ask(&self, bootstrap: &str, words: &[&str]) -> Result<Lines, String> {
        let (sender, answer) = mpsc::channel();
        self.send(bootstrap, words, Some(sender))?;
        answer.recv_timeout(LONGEST).unwrap_or_else(|_| Err("the machine does not answer".to_owned()))
    }

    /// One command whose answer nobody waits for.
    pub fn tell(&self, bootstrap: &str, words: &[&str]) {
        let _gone = self.send(bootstrap, words, None);
    }

    /// Runs a command-line tool: its exit status and what it has printed.
    pub fn run(&self, class: &str, arguments: &[&str]) -> (i32, String) {
        let words = [&["tool", class], arguments].concat();
        let lines = self.ask("", &words).unwrap_or_else(|error| panic!("{class} {arguments:?}: {error}"));
        let mut lines = lines.into_iter().map(|words| words.join("\t"));
        let status = lines.next().and_then(|line| line.parse().ok()).expect("an exit status");
        (status, lines.map(|line| line + "\n").collect())
    }

    fn send(
        &self,
        bootstrap: &str,
        words: &[&str],
        answer: Option<Sender<Result<Lines, String>>>,
    ) -> Result<(), String> {
        let mut input = self.input.lock().unwrap_or_else(PoisonError::into_inner);
        let (number, input) = &mut *input;
        *number += 1;
        if let Some(sender) = answer {
            lock(&self.waiting).as_mut().ok_or("the machine is gone")?.insert(*number, sender);
        }
        writeln!(input, "{number}\t{bootstrap}\t{}", words.join("\t"))
            .map_err(|error| format!("the machine is gone: {error}"))
    }
}

fn javas(version: &str) -> Command {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kafka/Assistant.java");
    let mut command = java(version);
    command.arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=error").arg(source);
    command
}

fn lock(waiting: &Mutex<Waiters>) -> MutexGuard<'_, Waiters> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Gives each answer to whom it belongs, until the machine ends.
fn read_answers(output: BufReader<ChildStdout>, waiting: &Mutex<Waiters>) {
    let mut answer = Lines::new();
    for line in output.lines().map_while(Result::ok) {
        if let Some(words) = line.strip_prefix('\t') {
            answer.push(words.split('\t').map(str::to_owned).collect());
            continue;
        }
        let mut words = line.splitn(3, ' ');
        let (end, number, what) = (words.next(), words.next(), words.next().unwrap_or_default());
        let lines = std::mem::take(&mut answer);
        let result = if end == Some("ok") { Ok(lines) } else { Err(what.to_owned()) };
        let number = number.and_then(|number| number.parse().ok()).unwrap_or_default();
        if let Some(sender) = lock(waiting).as_mut().and_then(|waiting| waiting.remove(&number)) {
            let _left = sender.send(result);
        }
    }
    // Whoever still waits is told so by the end of the channel.
    *lock(waiting) = None;
}
