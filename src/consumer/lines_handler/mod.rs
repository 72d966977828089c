//! The handler that keeps its program: it is started once, gets a line of JSON for each message, and answers
//! with a line. `docs/consuming.md` has the format for users.
//!
//! - [`answer`]: one answer
//! - [`kept_process`]: the program and its pipes
//! - [`stop_signal`]: how long an exchange may take
//! - [`failed`]: how it fails
//!
//! A value of [`LinesHandler`] has one process at most, and belongs to one thread. With a batch the program
//! gets a JSON array in one line and answers each message in a line of its own, in any order: an array of
//! answers would have to fit into the limit of one answer, and would lose them all with the process.

mod answer;
mod failed;
mod kept_process;
mod stop_signal;
#[cfg(test)]
mod tests;

use std::io::{self, Write};
use std::slice;
use std::sync::Arc;
use std::time::Duration;

use net::sync::{Mutex, lock};

use super::BUSY_GRACE;
use super::handler::{Failure, FailureCause, Handler};
use super::handler_stderr::HandlerStderr;
use super::print_handler::{self, PrintHandler};
use super::program::{self, Program};
use super::{ConsumerRecord, ProcessSettings};
use crate::error::{Error, Result};
use crate::metrics::ConsumerMetrics;
use crate::record_json;
use failed::{HandlerFailed, Trouble};
use kept_process::KeptProcess;
use net::stop::Stop;
use platform::outputs;
use stop_signal::{Limits, StopSignal};

/// After a stop, a program that has not answered is killed this long before the consumer's own time limit.
const LAST_MOMENT: Duration = Duration::from_secs(1);
/// A program whose input is closed has so long to end.
const END_GRACE: Duration = Duration::from_secs(2);
/// The memory that is kept between messages for the line of the next one.
const USUAL_LINE: usize = 16 * 1024;

type Output = Box<dyn Write + Send>;

/// Hands messages to a program that is kept. Its clones are for other threads: each starts a process of its
/// own with its first message.
pub struct LinesHandler {
    shared: Arc<Shared>,
    /// Where the consumer prints; else on standard output.
    output: Option<Arc<Mutex<Output>>>,
    process: Option<KeptProcess>,
    /// The last number that named a message to the program. None is used twice, so that no late answer can be
    /// taken for that to another attempt.
    last_id: u64,
    line: Vec<u8>,
    /// A process was started before.
    was_started: bool,
    metrics: ConsumerMetrics,
}

struct Shared {
    program: Program,
    time_limit: Duration,
    batch: usize,
    signal: StopSignal,
    stderr: HandlerStderr,
}

impl LinesHandler {
    /// Keeps what `consumer.handler` names. `stop` cuts its work short.
    ///
    /// # Errors
    /// There is no such program, or the system gives no pipe.
    pub fn new(settings: &ProcessSettings, stop: &Stop) -> Result<LinesHandler> {
        let program = Program::find(program::SETTING, &settings.command)?;
        let signal = StopSignal::of(stop);
        let signal = signal.map_err(|e| Error::new("the handler's stop has no pipe").caused_by(e))?;
        let (time_limit, batch) = (settings.timeout, settings.batch.max(1));
        let stderr = HandlerStderr::start()?;
        Ok(LinesHandler::of(Arc::new(Shared { program, time_limit, batch, signal, stderr }), None))
    }

    fn of(shared: Arc<Shared>, output: Option<Arc<Mutex<Output>>>) -> LinesHandler {
        LinesHandler {
            shared,
            output,
            process: None,
            last_id: 0,
            line: Vec::new(),
            was_started: false,
            metrics: ConsumerMetrics::default(),
        }
    }

    /// Counts in `metrics` how often its process is started anew.
    pub fn counted(mut self, metrics: ConsumerMetrics) -> LinesHandler {
        self.metrics = metrics;
        self
    }

    /// Prints to `out` instead of this program's standard output. That is only the line that says that the
    /// consumer waits: what the program prints are its answers.
    pub fn printing_to(self, out: impl Write + Send + 'static) -> LinesHandler {
        LinesHandler::of(self.shared.clone(), Some(Arc::new(Mutex::new(Box::new(out)))))
    }

    /// Has messages handled that go to the program in one line.
    fn work(&mut self, messages: &[ConsumerRecord<'_>]) -> Vec<Result<(), Failure>> {
        let Some(message) = messages.first() else { return Vec::new() };
        let first = self.last_id + 1;
        self.last_id += messages.len() as u64;
        self.write_line(first, messages);
        let mut process = match self.idle_process() {
            Ok(process) => process,
            Err(error) => {
                let cause = FailureCause::of(&HandlerFailed::NotStarted(error));
                return messages.iter().map(|_| Err(Failure::NotStarted(cause.clone()))).collect();
            }
        };
        let mut answers = Answers::to(first, messages.len());
        let mut limits = Limits::new(&self.shared.signal, self.shared.time_limit, BUSY_GRACE - LAST_MOMENT);
        let outcome = process.exchange(&self.line, &mut limits, |line| answers.take(line));
        let stderr = process.stderr();
        let outcomes = match outcome {
            Ok(()) => {
                self.process = Some(process);
                answers.complete(|| Failure::Interrupted)
            }
            Err(trouble) => {
                let failure = self.give_up(process, trouble, message);
                answers.complete(after(failure))
            }
        };
        // Which of several messages the program wrote about cannot be known.
        let wrote = outcomes.iter().any(Result::is_err).then(|| stderr?.last(messages.len())).flatten();
        let tell =
            |outcome: Result<(), Failure>| outcome.map_err(|failure| failure.with_stderr(wrote.clone()));
        outcomes.into_iter().map(tell).collect()
    }

    /// A process that waits for a line: the one that is kept, or a new one. What it did while it had no
    /// message is no message's fault.
    fn idle_process(&mut self) -> io::Result<KeptProcess> {
        if let Some(mut process) = self.process.take() {
            let id = process.id();
            match process.check_idle() {
                Ok(()) => return Ok(process),
                Err(Trouble::Ended(status)) => log::info!("the kept handler {id} has ended with {status}"),
                Err(trouble) => log::warn!("{} ({id})", self.failed(process, trouble)),
            }
        }
        let process = KeptProcess::start(&self.shared.program, &self.shared.stderr)?;
        log::debug!("the kept handler {} is started", process.id());
        if std::mem::replace(&mut self.was_started, true) {
            self.metrics.queue().worker_restarted();
        }
        Ok(process)
    }

    /// Ends a process that is of no more use, and says what that means for its message.
    fn give_up(&self, process: KeptProcess, trouble: Trouble, message: &ConsumerRecord<'_>) -> Failure {
        let id = process.id();
        if matches!(trouble, Trouble::Interrupted) {
            process.kill();
            log::warn!("the kept handler {id} did not answer and was killed, as the consumer stops");
            return Failure::Interrupted;
        }
        let failed = self.failed(process, trouble);
        log::warn!("the kept handler {id} is started anew with the next message: {failed}");
        let cause = FailureCause::of(&failed);
        match failed {
            // A program that logs ends at every message once the reader of its standard error is gone.
            HandlerFailed::Ended(_) if outputs::is_unread(&io::stderr()) => {
                let why = io::ErrorKind::BrokenPipe.into();
                Failure::Broken(print_handler::broken("standard error", message, why))
            }
            HandlerFailed::Ended(status) => program::failure(status, cause, Failure::WorkerDied),
            _ => Failure::Failed(cause),
        }
    }

    /// Ends a process that is of no more use, if it has not ended by itself, and puts that into words.
    fn failed(&self, process: KeptProcess, trouble: Trouble) -> HandlerFailed {
        let failed = match trouble {
            Trouble::Ended(status) => return HandlerFailed::Ended(status),
            Trouble::OutputClosed => HandlerFailed::OutputClosed,
            Trouble::Silent | Trouble::Interrupted => HandlerFailed::Silent(self.shared.time_limit),
            Trouble::Misanswered(what) => HandlerFailed::Misanswered(what),
            Trouble::Lost(error) => HandlerFailed::Lost(error),
        };
        process.kill();
        failed
    }

    /// Puts the line for the messages into the buffer: an object, or an array where the program gets batches,
    /// also for one message, so that it meets one form alone.
    fn write_line(&mut self, first: u64, messages: &[ConsumerRecord<'_>]) {
        self.line.clear();
        self.line.shrink_to(USUAL_LINE);
        let in_array = self.shared.batch > 1;
        for (id, message) in (first..).zip(messages) {
            if in_array {
                self.line.push(if id == first { b'[' } else { b',' });
            }
            record_json::write(&mut self.line, &id.to_string(), message);
        }
        self.line.extend_from_slice(if in_array { b"]\n" } else { b"\n" });
    }
}

/// The answers to the messages of one line.
struct Answers {
    first: u64,
    outcomes: Vec<Option<Result<(), Failure>>>,
    missing: usize,
}

impl Answers {
    fn to(first: u64, messages: usize) -> Answers {
        Answers { first, outcomes: (0..messages).map(|_| None).collect(), missing: messages }
    }

    /// Takes an answer. Returns whether it was the last one.
    ///
    /// # Errors
    /// What is wrong with it.
    fn take(&mut self, line: &[u8]) -> Result<bool, String> {
        let (id, outcome) = answer::read(line)?;
        // Ids are written without a sign and without leading zeros, and none is 0.
        let number = id.parse::<u64>().ok().filter(|_| !id.starts_with(['+', '0']));
        let index = number.and_then(|number| usize::try_from(number.checked_sub(self.first)?).ok());
        match index.and_then(|index| self.outcomes.get_mut(index)) {
            None => Err(format!("it answered to an id that it was not asked for: {}", answer::shown(line))),
            Some(Some(_)) => Err(format!("it answered to an id twice: {}", answer::shown(line))),
            Some(slot) => {
                *slot = Some(outcome);
                self.missing -= 1;
                Ok(self.missing == 0)
            }
        }
    }

    /// The outcomes in the order of the messages; those that were not answered have failed as `failure` says
    /// of one after the other.
    fn complete(self, mut failure: impl FnMut() -> Failure) -> Vec<Result<(), Failure>> {
        self.outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(|| Err(failure()))).collect()
    }
}

/// How the messages without an answer have failed when their program is of no more use. It works on them in
/// their order, so the first of them is the one that it was at: it has `failure`. The others were not begun.
/// To count an attempt for them would make dead letters of the neighbours of a message that kills its program;
/// they are to be tried again at once, without the one that waits for its next attempt.
fn after(failure: Failure) -> impl FnMut() -> Failure {
    let is_a_stop = matches!(failure, Failure::Interrupted | Failure::Broken(_));
    let mut first = Some(failure);
    move || {
        let other = || match is_a_stop {
            true => Failure::Interrupted,
            false => Failure::TryLater {
                cause: FailureCause::of(&HandlerFailed::NotReached),
                wait: Some(Duration::ZERO),
            },
        };
        first.take().unwrap_or_else(other)
    }
}

/// A handler for another thread, without a process.
impl Clone for LinesHandler {
    fn clone(&self) -> LinesHandler {
        LinesHandler::of(self.shared.clone(), self.output.clone())
    }
}

/// Closes the input of the program and waits a limited time for its end.
impl Drop for LinesHandler {
    fn drop(&mut self) {
        if let Some(process) = self.process.take() {
            process.finish(END_GRACE);
        }
    }
}

impl Handler for LinesHandler {
    fn joined(&mut self) -> Result<()> {
        match &self.output {
            Some(output) => PrintHandler::on(&mut *lock(output)).joined(),
            None => PrintHandler::on_stdout().joined(),
        }
    }

    fn handle(&mut self, message: &ConsumerRecord<'_>) -> Result<(), Failure> {
        self.work(slice::from_ref(message)).pop().unwrap_or(Err(Failure::Interrupted))
    }

    fn batch(&self) -> usize {
        self.shared.batch
    }

    fn handle_batch(&mut self, messages: &[ConsumerRecord<'_>]) -> Vec<Result<(), Failure>> {
        self.work(messages)
    }
}
