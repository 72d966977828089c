//! Running programs of ours as child processes: named, watched, started again when they crash, and ended with their
//! supervisor, however that ends.
//!
//! - [`child`]: one process and its pipes; [`supervised`]: the child's end of them
//! - [`lines`], [`output`]: what all of them print, line by line on one standard output
//! - [`backoff`]: when a child that has ended is started again
//!
//! Between the two sides stand three words: the supervisor writes a first line of its choice to the child's standard
//! input, and `stop`; a server says `ready` and its address on standard output.

pub mod backoff;
pub mod child;
pub mod lines;
pub mod output;
pub mod supervised;

use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::cli::USAGE;
use crate::error::{Error, Result};
use crate::stop::Stop;
use backoff::Backoff;
use child::{Role, Running};
use output::Output;

/// The line that asks a child to stop.
const STOP: &str = "stop";
/// What a server's line starts with that says that it accepts connections; the address follows.
const READY: &str = "ready ";

/// How often it is looked whether a child has ended whose output is held up.
const LOOK: Duration = Duration::from_millis(500);
/// A child that ends has perhaps met the same Ctrl-C as the supervisor, which may hear of it so much later.
const SAME_SIGNAL: Duration = Duration::from_millis(100);

/// What children tell their supervisor.
#[derive(Debug)]
pub enum Event {
    /// The output of this child, in the process with this id, is closed: it has ended.
    Closed(usize, u32),
    /// The child accepts connections.
    Ready(usize, SocketAddr),
    /// Somebody wants all of it to stop.
    StopAsked,
}

/// What to run, and how.
pub struct Plan {
    /// The program that plays all the roles.
    pub program: PathBuf,
    /// The roles, in the order in which they are started; those that say when they are ready go first.
    pub roles: Vec<Role>,
    /// Options for each of them.
    pub options: Vec<OsString>,
    /// What each reads first on its standard input: the place for what must not be seen on a command line.
    pub first_line: String,
    /// How long children may take to stop before they are killed.
    pub grace: Duration,
}

/// Who is told what happens.
pub struct Watchers<'a> {
    /// A child of this name has ended.
    pub ended: &'a dyn Fn(&str),
    /// A server is ready at this address.
    pub ready: &'a dyn Fn(SocketAddr),
}

/// Runs the children until `stop` is asked or it makes no sense to go on; all have ended when this returns.
///
/// # Errors
/// A child cannot work with its settings, or a server could not even start.
pub fn run(plan: Plan, output: &Output, stop: &Stop, watchers: &Watchers<'_>) -> Result<()> {
    let (events, heard) = mpsc::channel();
    let (asked, tell) = (stop.clone(), events.clone());
    let watch = thread::Builder::new().name("stop".to_owned()).spawn(move || {
        asked.wait();
        drop(tell.send(Event::StopAsked));
    });
    let watch = watch.map_err(|e| Error::new("no thread to wait for the wish to stop").caused_by(e))?;
    let children = plan.roles.iter().map(|_| Child::new()).collect();
    let mut supervisor = Supervisor { plan, output, stop, watchers, events, children };
    let outcome = supervisor.watch(&heard);
    stop.ask();
    let _ = watch.join();
    supervisor.stop_all(&heard);
    outcome
}

struct Supervisor<'a> {
    plan: Plan,
    output: &'a Output,
    stop: &'a Stop,
    watchers: &'a Watchers<'a>,
    events: mpsc::Sender<Event>,
    children: Vec<Child>,
}

struct Child {
    life: Life,
    backoff: Backoff,
    /// It was ready once.
    worked: bool,
}

enum Life {
    Waiting(Instant),
    Running(Running),
}

impl Child {
    fn new() -> Child {
        Child { life: Life::Waiting(Instant::now()), backoff: Backoff::default(), worked: false }
    }
}

impl Supervisor<'_> {
    /// Keeps the children running until the stop.
    fn watch(&mut self, heard: &mpsc::Receiver<Event>) -> Result<()> {
        loop {
            self.start_due();
            match heard.recv_timeout(self.next_due()) {
                Ok(Event::StopAsked) => return Ok(()),
                Ok(Event::Ready(index, address)) => {
                    if let Some(child) = self.children.get_mut(index) {
                        child.worked = true;
                    }
                    (self.watchers.ready)(address);
                }
                Ok(Event::Closed(index, process)) => self.reap(index, Some(process))?,
                Err(_) => (0..self.children.len()).try_for_each(|index| self.reap(index, None))?,
            }
        }
    }

    /// Until the next child is to be started, at most [`LOOK`].
    fn next_due(&self) -> Duration {
        let now = Instant::now();
        let no_server_yet = self.waits_for_a_server();
        let wait = |(child, role): (&Child, &Role)| match &child.life {
            Life::Waiting(until) if role.says_ready || !no_server_yet => until.saturating_duration_since(now),
            _ => LOOK,
        };
        self.children.iter().zip(&self.plan.roles).map(wait).min().unwrap_or(LOOK).min(LOOK)
    }

    /// Whether a server has still to be ready for the first time. Until then the others are not started: where it
    /// cannot work, as beside another supervisor with its address, they would only disturb those that do.
    fn waits_for_a_server(&self) -> bool {
        self.children.iter().zip(&self.plan.roles).any(|(child, role)| role.says_ready && !child.worked)
    }

    fn start_due(&mut self) {
        let no_server_yet = self.waits_for_a_server();
        for (index, (child, role)) in self.children.iter_mut().zip(&self.plan.roles).enumerate() {
            let due = matches!(&child.life, Life::Waiting(until) if *until <= Instant::now());
            if !due || no_server_yet && !role.says_ready {
                continue;
            }
            let program = (self.plan.program.as_path(), self.plan.options.as_slice());
            let started =
                Running::start((index, role), program, &self.plan.first_line, self.output, &self.events);
            match started {
                Ok(running) => {
                    log::debug!("started {}: process {}", role.name, running.id());
                    child.life = Life::Running(running);
                }
                Err(error) => {
                    let wait = child.backoff.wait(Duration::ZERO);
                    log::error!(
                        "{} cannot be started: {error}; trying again in {} ms",
                        role.name,
                        wait.as_millis()
                    );
                    child.life = Life::Waiting(Instant::now() + wait);
                }
            }
        }
    }

    /// Sees to a child that has ended; `closed` is the process whose output is closed, which only its end does.
    fn reap(&mut self, index: usize, closed: Option<u32>) -> Result<()> {
        let (Some(child), Some(role)) = (self.children.get_mut(index), self.plan.roles.get(index)) else {
            return Ok(());
        };
        let Some(status) = child.status(closed, false) else { return Ok(()) };
        (self.watchers.ended)(role.name);
        let Life::Running(running) = &child.life else { return Ok(()) };
        let wait = child.backoff.wait(running.ran());
        child.life = Life::Waiting(Instant::now() + wait);
        if self.stop.wait_for(SAME_SIGNAL) {
            return Ok(());
        }
        if status.code() == Some(i32::from(USAGE)) {
            let error =
                format!("{} cannot work with these settings; its line before this says why", role.name);
            return Err(Error::new(error).about_settings());
        }
        if role.says_ready && !child.worked && status.code().is_some() {
            let error = format!("{} cannot start ({status}); its line before this says why", role.name);
            return Err(Error::new(error));
        }
        log::warn!("{} ended ({status}); starting it again in {} ms", role.name, wait.as_millis());
        Ok(())
    }

    /// Asks all children to stop, waits for them, and kills those that take too long.
    fn stop_all(&mut self, heard: &mpsc::Receiver<Event>) {
        self.children.iter_mut().for_each(Child::ask_to_stop);
        let deadline = Instant::now() + self.plan.grace;
        let mut closed = None;
        loop {
            let late = Instant::now() >= deadline;
            let mut running = 0;
            for (child, role) in self.children.iter_mut().zip(&self.plan.roles) {
                if late && child.is_running() {
                    log::warn!("{} does not stop: killing it", role.name);
                }
                if child.status(closed, late).is_some() {
                    child.life = Life::Waiting(deadline);
                    (self.watchers.ended)(role.name);
                }
                running += usize::from(child.is_running());
            }
            if running == 0 || late {
                return;
            }
            let left = deadline.saturating_duration_since(Instant::now()).min(LOOK);
            closed = match heard.recv_timeout(left) {
                Ok(Event::Closed(_, process)) => Some(process),
                _ => None,
            };
        }
    }
}

impl Child {
    fn is_running(&self) -> bool {
        matches!(self.life, Life::Running(_))
    }

    fn ask_to_stop(&mut self) {
        if let Life::Running(running) = &mut self.life {
            running.ask_to_stop();
        }
    }

    /// How it ended: if it has, or if its process is the one `closed` (so that it takes no time), or with `force`.
    fn status(&mut self, closed: Option<u32>, force: bool) -> Option<ExitStatus> {
        let Life::Running(running) = &mut self.life else { return None };
        match running.ended() {
            None if force || closed == Some(running.id()) => {
                running.kill().map_err(|error: io::Error| log::error!("a child: {error}")).ok()
            }
            status => status,
        }
    }
}
