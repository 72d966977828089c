//! The service manager that started this process, as systemd does with `Type=notify`: it hears when the
//! process is ready, how it is, that it stops, and that it is alive.
//!
//! The protocol is `sd_notify(3)`: lines of `NAME=value` in one datagram to the Unix socket that
//! `NOTIFY_SOCKET` names. It is so little that a crate for it would be more.

#[cfg(unix)]
#[path = "service_manager/unix.rs"]
mod socket;
#[cfg(not(unix))]
#[path = "service_manager/none.rs"]
mod socket;

use std::process::Command;
use std::time::Duration;

use socket::Socket;

/// The variables by which a service manager speaks to the process that it started, and to no other.
const VARIABLES: [&str; 3] = [SOCKET, WATCHDOG, WATCHDOG_PROCESS];
const SOCKET: &str = "NOTIFY_SOCKET";
const WATCHDOG: &str = "WATCHDOG_USEC";
const WATCHDOG_PROCESS: &str = "WATCHDOG_PID";

/// A service manager. It is told of things, and never waited for longer than a moment.
#[derive(Debug, Clone)]
pub struct ServiceManager {
    socket: Socket,
    watchdog: Option<Duration>,
}

impl ServiceManager {
    /// The one that the environment names; `None` where there is none. A name that cannot be used is told in
    /// the log.
    pub fn of_environment() -> Option<ServiceManager> {
        let name = std::env::var_os(SOCKET).filter(|name| !name.is_empty())?;
        let socket = Socket::new(&name).inspect_err(|error| {
            log::warn!("the service manager at {SOCKET}={} hears nothing: {error}", name.display());
        });
        let variable = |name| std::env::var(name).ok();
        let watchdog = watchdog(variable(WATCHDOG).as_deref(), variable(WATCHDOG_PROCESS).as_deref());
        Some(ServiceManager { socket: socket.ok()?, watchdog })
    }

    /// After how long a silence the manager takes the process for dead, and restarts it; `None` where it does
    /// not watch.
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// From now on the process is taken for dead after such a silence.
    pub fn watch_for(&self, silence: Duration) {
        self.tell(&format!("WATCHDOG_USEC={}\n", silence.as_micros()));
    }

    /// The process does what it is there for.
    pub fn ready(&self) {
        self.tell("READY=1\n");
    }

    /// How it is now, a sentence for people.
    pub fn status(&self, status: &str) {
        self.tell(&status_line(status));
    }

    /// The process stops, and may take so long for it, whatever time the manager gives otherwise.
    pub fn stopping(&self, patience: Duration) {
        let patience = patience.as_micros();
        self.tell(&format!("STOPPING=1\nEXTEND_TIMEOUT_USEC={patience}\n{}", status_line("stopping")));
    }

    /// The process is alive.
    pub fn alive(&self) {
        self.tell("WATCHDOG=1\n");
    }

    fn tell(&self, lines: &str) {
        if let Err(error) = self.socket.send(lines.as_bytes()) {
            log::debug!("the service manager does not hear: {error}");
        }
    }
}

/// Keeps the variables of the service manager from `command`: what it starts speaks for itself alone.
pub fn withhold(command: &mut Command) {
    for name in VARIABLES {
        command.env_remove(name);
    }
}

/// A status is one line.
fn status_line(status: &str) -> String {
    format!("STATUS={}\n", status.replace(['\n', '\r'], " "))
}

/// The time of the watchdog, if it is for this process.
fn watchdog(microseconds: Option<&str>, process: Option<&str>) -> Option<Duration> {
    let is_for_another = process.is_some_and(|id| id.parse() != Ok(std::process::id()));
    let time = microseconds?.parse().ok().filter(|time| *time > 0)?;
    (!is_for_another).then(|| Duration::from_micros(time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watchdog_has_a_time_and_watches_the_process_that_it_names() {
        let own = std::process::id().to_string();
        let second = Some(Duration::from_secs(1));
        assert_eq!(watchdog(Some("1000000"), None), second);
        assert_eq!(watchdog(Some("1000000"), Some(&own)), second);
        for (time, process) in [
            (None, None),
            (Some("0"), None),
            (Some("soon"), None),
            (Some("1000000"), Some("1")),
            (Some("1000000"), Some("x")),
        ] {
            assert_eq!(watchdog(time, process), None, "{time:?} {process:?}");
        }
    }

    #[test]
    fn a_status_is_one_line_whatever_is_in_it() {
        assert_eq!(status_line("not ready:\nREADY=1\r"), "STATUS=not ready: READY=1 \n");
    }

    #[test]
    fn a_command_does_not_inherit_the_variables_of_the_manager() {
        let mut command = Command::new("true");
        command.env(SOCKET, "/run/notify").env(WATCHDOG, "1").env(WATCHDOG_PROCESS, "1").env("OTHER", "1");
        withhold(&mut command);
        let kept: Vec<_> = command.get_envs().filter(|(_, value)| value.is_some()).collect();
        assert_eq!(kept.len(), 1);
    }
}
