//! Supervision of this project's programs as child processes: the supervisor restarts a child that crashes,
//! and no child outlives its supervisor, however that ends.
//!
//! - [`child`]: one process, its socket and its pipe; [`parent_link`]: the child's end of both
//! - [`messages`]: the messages between the two
//! - [`shared_output`]: standard output, to which all processes write whole lines
//! - [`output`]: the lines of the logs on standard output
//! - [`backoff`]: the wait before a restart; [`watchdog`]: signs of life for a service manager
//!
//! Children write to the standard output of their supervisor themselves. So a line that a child has printed
//! does not depend on the supervisor any more.

pub mod backoff;
pub mod child;
pub mod messages;
pub mod output;
pub mod parent_link;
pub mod shared_output;
pub mod watchdog;

use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use backoff::RestartBackoff;
use child::{ChildProcess, Role};
use net::stop::Stop;
use output::Output;
use watchdog::Watchdog;

/// The interval of checks for a child that has ended while another process keeps its socket open. Nothing
/// reports such an end: without an async runtime, a wait for one process hears no other event.
const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// Ctrl-C goes to the child and the supervisor. The supervisor may receive it this much later than the child
/// ends.
const SIGNAL_DELAY: Duration = Duration::from_millis(100);
/// While children stop, it is looked so often whether they still may take their time.
const STOP_POLL: Duration = Duration::from_millis(50);
/// Children that are to end at once may take this long to end what they have started.
const AT_ONCE: Duration = Duration::from_millis(300);

/// An event for the supervisor.
#[derive(Debug)]
pub enum Event {
    /// The socket of this child, in the process with this id, is closed: the child has ended.
    Closed(usize, u32),
    /// The child accepts connections at this address.
    Ready(usize, SocketAddr),
    /// The child is this member of its group.
    Member(usize, String),
    /// The child's loop, in the process with this id, goes round.
    Alive(usize, u32),
    /// How a child is, a sentence for people.
    Status(String),
    /// The supervisor is asked to stop.
    StopAsked,
}

/// The children to run.
pub struct Plan {
    /// The program that plays all the roles.
    pub program: PathBuf,
    /// The roles, in the order of their start. The other roles start when all servers were ready once.
    pub roles: Vec<Role>,
    /// Options for all roles.
    pub options: Vec<OsString>,
    /// A text that each child receives in its start message: the place for secrets, which must not be on a
    /// command line.
    pub parameters: String,
    /// The exit code of a child that cannot work with its settings, so that a restart is useless.
    pub usage_exit_code: u8,
    /// The time that children may take to stop before they are killed.
    pub stop_timeout: Duration,
    /// The silence after which a service manager takes this process for dead, if one watches.
    pub watchdog: Option<Duration>,
}

/// The supervisor's callbacks.
pub struct Callbacks<'a> {
    /// Called when the child of this name has ended. The member that it was is given where it has not ended in
    /// good order.
    pub on_exit: &'a dyn Fn(&str, Option<&str>),
    /// Called when a server is ready at this address.
    pub on_ready: &'a dyn Fn(SocketAddr),
    /// Called twice a second or more often: what is wrong with this process, for the children to tell.
    pub warning: &'a dyn Fn() -> Option<String>,
    /// Called when a child tells how it is.
    pub on_status: &'a dyn Fn(&str),
    /// Called four times in the time of [`Plan::watchdog`] while this process and its servers are alive.
    pub alive: &'a dyn Fn(),
}

/// Runs the children until `stop` is asked or a restart is useless. All children have ended when this
/// returns.
///
/// # Errors
/// A child cannot work with its settings, a server could not even start, or children were killed as `stop`
/// was hurried.
pub fn run(plan: Plan, output: &Output, stop: &Stop, callbacks: &Callbacks<'_>) -> Result<()> {
    let (events, received) = mpsc::channel();
    let stop_event = events.clone();
    let _hook = stop.on_ask(move || drop(stop_event.send(Event::StopAsked)));
    let children = plan.roles.iter().map(|_| Child::new()).collect();
    let watchdog = Watchdog::new(plan.watchdog);
    let mut supervisor = Supervisor { plan, output, stop, callbacks, events, children, watchdog };
    let outcome = supervisor.watch(&received);
    stop.ask();
    let stopped = supervisor.stop_all(&received);
    outcome.and(stopped)
}

struct Supervisor<'a> {
    plan: Plan,
    output: &'a Output,
    stop: &'a Stop,
    callbacks: &'a Callbacks<'a>,
    events: mpsc::Sender<Event>,
    children: Vec<Child>,
    watchdog: Watchdog,
}

struct Child {
    state: ChildState,
    backoff: RestartBackoff,
    /// Whether the server was ready at least once.
    was_ready: bool,
    /// The member of its group that the child is.
    member: Option<String>,
    /// What the running child was told is wrong with this process.
    warned: Option<String>,
}

enum ChildState {
    /// Not running until this time.
    Waiting(Instant),
    Running(ChildProcess),
}

impl Child {
    fn new() -> Child {
        Child {
            state: ChildState::Waiting(Instant::now()),
            backoff: RestartBackoff::default(),
            was_ready: false,
            member: None,
            warned: None,
        }
    }
}

impl Supervisor<'_> {
    /// Keeps the children running until the stop.
    fn watch(&mut self, received: &mpsc::Receiver<Event>) -> Result<()> {
        loop {
            self.start_due();
            self.tell_warning();
            self.show_life();
            match received.recv_timeout(self.next_due()) {
                Ok(Event::StopAsked) => return Ok(()),
                Ok(Event::Ready(index, address)) => {
                    if let Some(child) = self.children.get_mut(index) {
                        child.was_ready = true;
                        child.running().into_iter().for_each(|running| running.life.ready());
                    }
                    (self.callbacks.on_ready)(address);
                }
                Ok(Event::Member(index, id)) => {
                    if let Some(child) = self.children.get_mut(index) {
                        child.member = Some(id);
                    }
                }
                Ok(Event::Alive(index, process)) => {
                    let running = self.children.get_mut(index).and_then(Child::running);
                    let running = running.filter(|running| running.id() == process);
                    running.into_iter().for_each(|running| running.life.answered());
                }
                Ok(Event::Status(status)) => (self.callbacks.on_status)(&status),
                Ok(Event::Closed(index, process)) => self.reap(index, Some(process))?,
                Err(_) => (0..self.children.len()).try_for_each(|index| self.reap(index, None))?,
            }
        }
    }

    /// The time until the next child is to be started, at most [`POLL_INTERVAL`].
    fn next_due(&self) -> Duration {
        let now = Instant::now();
        let no_server_yet = self.waits_for_a_server();
        let wait = |(child, role): (&Child, &Role)| match &child.state {
            ChildState::Waiting(until) if role.is_server || !no_server_yet => {
                until.saturating_duration_since(now)
            }
            _ => POLL_INTERVAL,
        };
        let children = self.children.iter().zip(&self.plan.roles).map(wait);
        children.chain(self.watchdog.wait()).min().unwrap_or(POLL_INTERVAL).min(POLL_INTERVAL)
    }

    /// Whether a server was never ready yet. Until then the other roles are not started: beside another
    /// supervisor with the same address the server cannot work, and the others would only disturb that
    /// supervisor's group.
    fn waits_for_a_server(&self) -> bool {
        self.children.iter().zip(&self.plan.roles).any(|(child, role)| role.is_server && !child.was_ready)
    }

    fn start_due(&mut self) {
        let no_server_yet = self.waits_for_a_server();
        for (index, (child, role)) in self.children.iter_mut().zip(&self.plan.roles).enumerate() {
            let due = matches!(&child.state, ChildState::Waiting(until) if *until <= Instant::now());
            if !due || no_server_yet && !role.is_server {
                continue;
            }
            let program = (self.plan.program.as_path(), self.plan.options.as_slice());
            let started =
                ChildProcess::start((index, role), program, &self.plan.parameters, self.output, &self.events);
            match started {
                Ok(running) => {
                    log::debug!("started {}: process {}", role.name, running.id());
                    child.state = ChildState::Running(running);
                    child.warned = None;
                }
                Err(error) => {
                    let wait = child.backoff.next_wait(Duration::ZERO);
                    log::error!(
                        "{} cannot be started: {error}; trying again in {} ms",
                        role.name,
                        wait.as_millis()
                    );
                    child.state = ChildState::Waiting(Instant::now() + wait);
                }
            }
        }
    }

    /// Tells the children what is wrong with this process, if that has changed.
    fn tell_warning(&mut self) {
        let warning = (self.callbacks.warning)();
        for child in &mut self.children {
            if let ChildState::Running(running) = &mut child.state
                && child.warned != warning
            {
                running.warn(warning.as_deref());
                child.warned.clone_from(&warning);
            }
        }
    }

    /// Shows life where all servers that run have shown it, and asks them anew.
    fn show_life(&mut self) {
        if !self.watchdog.is_due() {
            return;
        }
        let mut are_alive = true;
        for (child, role) in self.children.iter_mut().zip(&self.plan.roles) {
            if let (ChildState::Running(running), true) = (&mut child.state, role.is_server) {
                are_alive &= running.life.is_shown(self.watchdog.patience());
                running.ask_whether_alive();
            }
        }
        if are_alive {
            (self.callbacks.alive)();
        }
    }

    /// Schedules the restart of a child that has ended. `closed` is a process that has closed its socket,
    /// which only its end does.
    fn reap(&mut self, index: usize, closed: Option<u32>) -> Result<()> {
        let (Some(child), Some(role)) = (self.children.get_mut(index), self.plan.roles.get(index)) else {
            return Ok(());
        };
        let Some(status) = child.exit_status(closed, false) else { return Ok(()) };
        let member = child.member.take().filter(|_| !status.success());
        (self.callbacks.on_exit)(role.name, member.as_deref());
        let ChildState::Running(running) = &child.state else { return Ok(()) };
        let wait = child.backoff.next_wait(running.uptime());
        child.state = ChildState::Waiting(Instant::now() + wait);
        if self.stop.wait_for(SIGNAL_DELAY) {
            return Ok(());
        }
        if status.code() == Some(i32::from(self.plan.usage_exit_code)) {
            let error =
                format!("{} cannot work with these settings; its line before this says why", role.name);
            return Err(Error::new(error).about_settings());
        }
        if role.is_server && !child.was_ready && status.code().is_some() {
            let error = format!("{} cannot start ({status}); its line before this says why", role.name);
            return Err(Error::new(error));
        }
        if role.is_server {
            (self.callbacks.on_status)(&format!("{} ended and is started again", role.name));
        }
        log::warn!("{} ended ({status}); starting it again in {} ms", role.name, wait.as_millis());
        Ok(())
    }

    /// Asks all children to stop, waits for them, and kills those that take too long.
    ///
    /// # Errors
    /// The stop was hurried.
    fn stop_all(&mut self, received: &mpsc::Receiver<Event>) -> Result<()> {
        self.children.iter_mut().for_each(|child| child.ask_to_stop(false));
        self.tell_what_is_waited_for();
        let mut deadline = Instant::now() + self.plan.stop_timeout;
        let mut is_hurried = false;
        let mut closed = None;
        loop {
            if self.stop.is_hurried() && !std::mem::replace(&mut is_hurried, true) {
                self.children.iter_mut().for_each(|child| child.ask_to_stop(true));
                deadline = deadline.min(Instant::now() + AT_ONCE);
            }
            let late = Instant::now() >= deadline;
            let mut running = 0;
            for (child, role) in self.children.iter_mut().zip(&self.plan.roles) {
                if late && child.is_running() {
                    log::warn!("{} does not stop: killing it", role.name);
                }
                if child.exit_status(closed, late).is_some() {
                    child.state = ChildState::Waiting(deadline);
                    (self.callbacks.on_exit)(role.name, None);
                }
                running += usize::from(child.is_running());
            }
            if running == 0 || late {
                return if is_hurried {
                    Err(Error::new("ended at once, without what was in hand"))
                } else {
                    Ok(())
                };
            }
            // A stop has an end of its own.
            if self.watchdog.is_due() {
                (self.callbacks.alive)();
            }
            let left = deadline.saturating_duration_since(Instant::now()).min(STOP_POLL);
            closed = match received.recv_timeout(left) {
                Ok(Event::Closed(_, process)) => Some(process),
                _ => None,
            };
        }
    }

    fn tell_what_is_waited_for(&self) {
        let running = self.children.iter().zip(&self.plan.roles).filter(|(child, _)| child.is_running());
        let names: Vec<&str> = running.map(|(_, role)| role.name).collect();
        if !names.is_empty() {
            let patience = self.plan.stop_timeout.as_secs_f32();
            log::info!("waiting up to {patience} s for {}", names.join(", "));
        }
    }
}

impl Child {
    fn is_running(&self) -> bool {
        matches!(self.state, ChildState::Running(_))
    }

    fn running(&mut self) -> Option<&mut ChildProcess> {
        match &mut self.state {
            ChildState::Running(running) => Some(running),
            ChildState::Waiting(_) => None,
        }
    }

    fn ask_to_stop(&mut self, at_once: bool) {
        if let ChildState::Running(running) = &mut self.state {
            running.ask_to_stop(at_once);
        }
    }

    /// The exit status of a child that has ended. The child is killed first if `force` is set, or if its
    /// process is `closed`, which ends at once anyway.
    fn exit_status(&mut self, closed: Option<u32>, force: bool) -> Option<ExitStatus> {
        let ChildState::Running(running) = &mut self.state else { return None };
        match running.exit_status() {
            None if force || closed == Some(running.id()) => running
                .kill()
                .map_err(|error: io::Error| log::error!("a child process cannot be killed: {error}"))
                .ok(),
            status => status,
        }
    }
}
