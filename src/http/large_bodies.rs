//! Large bodies are taken apart by a thread of their own: a megabyte of JSON takes tens of milliseconds, and behind
//! the handlers' one thread everybody waits, health and metrics included.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use super::answer::{Answer, Refusal};
use super::routes::Reply;
use super::tickets::{Mailbox, Ticket, Visit};
use crate::error::{Error, Result};

/// A body up to this size is taken apart where it comes, in a millisecond: that is less than it takes to hand it on.
const SMALL_BYTES: usize = 64 * 1024;

/// The most that wait. The door's budget for bodies bounds their bytes.
const MAX_WAITING: usize = 1_024;

/// Whether a body of so many bytes is taken apart elsewhere.
pub(super) fn is_large(bytes: usize) -> bool {
    bytes > SMALL_BYTES
}

const TOO_LATE: Refusal =
    Refusal::new(503, "overloaded", "Too many large bodies came before this one; nothing was stored.");

struct Job {
    visit: Visit,
    deadline: Instant,
    work: Box<dyn FnOnce(Ticket) -> Reply + Send>,
}

/// The thread, which ends with this, and what waits for it.
pub(super) struct LargeBodies {
    jobs: Option<SyncSender<Job>>,
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl LargeBodies {
    /// Starts the thread, which fills in tickets for `mailbox`.
    ///
    /// # Errors
    /// The system has no thread left.
    pub(super) fn start(mailbox: &Arc<Mailbox>) -> Result<LargeBodies> {
        let (jobs, received) = sync_channel(MAX_WAITING);
        let stopping = Arc::new(AtomicBool::new(false));
        let (its_mailbox, its_stopping) = (Arc::clone(mailbox), Arc::clone(&stopping));
        let thread = thread::Builder::new()
            .name("http-bodies".to_owned())
            .spawn(move || serve(&received, &its_mailbox, &its_stopping))
            .map_err(|error| Error::new("no thread for large bodies").caused_by(error))?;
        Ok(LargeBodies { jobs: Some(jobs), stopping, thread: Some(thread) })
    }

    /// Has `work` done with a ticket for `visit`, and what it replies at once told; it is not begun any more at
    /// `deadline`.
    ///
    /// # Errors
    /// The answer, where too many wait.
    pub(super) fn hand_on(
        &self,
        visit: Visit,
        deadline: Instant,
        work: impl FnOnce(Ticket) -> Reply + Send + 'static,
    ) -> Result<(), Answer> {
        let job = Job { visit, deadline, work: Box::new(work) };
        let taken = self.jobs.as_ref().is_some_and(|jobs| jobs.try_send(job).is_ok());
        taken.then_some(()).ok_or_else(|| {
            Answer::error(503, "overloaded", "Too many large bodies are under way; nothing was stored.")
        })
    }
}

impl Drop for LargeBodies {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.jobs = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("the thread for large bodies had failed");
        }
    }
}

/// Works until there is nobody to hand on. At a stop the door has answered for what still waits.
fn serve(jobs: &Receiver<Job>, mailbox: &Arc<Mailbox>, stopping: &AtomicBool) {
    for Job { visit, deadline, work } in jobs {
        if stopping.load(Ordering::SeqCst) {
            return;
        }
        let work = || work(Ticket::new(mailbox, visit));
        let in_time = Instant::now() < deadline;
        if let Reply::Now(answer) = if in_time { Reply::of(work) } else { Reply::Now(TOO_LATE.answer()) } {
            Ticket::new(mailbox, visit).answer(answer); // the first one was not used
        }
        log::logger().flush();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::http::tickets::{Mail, mailbox};

    #[test]
    fn what_is_replied_at_once_is_told_and_a_failure_is_not_the_end() {
        let (mailbox, mut poll) = mailbox(mio::Token(0)).unwrap();
        let bodies = LargeBodies::start(&mailbox).unwrap();
        let hand_on = |turn, seconds, work: fn(Ticket) -> Reply| {
            let deadline = Instant::now() + Duration::from_secs(seconds);
            bodies.hand_on(Visit { turn, ..Visit::default() }, deadline, work).unwrap();
        };
        hand_on(0, 60, |_| panic!("on purpose"));
        hand_on(1, 60, |_| Reply::Now(Answer::json(422, Vec::new())));
        hand_on(2, 0, |_| panic!("it is too late"));
        hand_on(3, 60, |ticket| {
            ticket.answer(Answer::json(200, Vec::new()));
            Reply::Later
        });
        let (mut told, mut mail) = (Vec::new(), Vec::new());
        while told.len() < 4 {
            if mailbox.fall_asleep() {
                poll.poll(&mut mio::Events::with_capacity(8), None).unwrap();
            }
            mailbox.collect(&mut mail);
            told.extend(mail.drain(..).map(|(visit, mail)| match mail {
                Mail::Answer(answer) => (visit.turn, answer.status),
                other => panic!("{other:?}"),
            }));
        }
        assert_eq!(told, [(0, 500), (1, 422), (2, 503), (3, 200)]);
    }
}
