//! Limits of a process that runs already, and what it has used of them.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;

use super::{PATIENCE, eventually};

/// Runs a program of the system, which has to succeed.
fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("the program {program}: {error}"));
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Sets a soft limit of a process, like `nofile`.
fn limit(process: u32, name: &str, soft: &str) {
    run("prlimit", &["--pid", &process.to_string(), &format!("--{name}={soft}:")]);
}

/// The descriptors that a process has open.
fn descriptors(process: u32) -> Vec<u64> {
    let entries = fs::read_dir(format!("/proc/{process}/fd")).expect("the descriptors of a process");
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

/// Where a process listens on loopback, at one port alone.
pub fn listening_at(process: u32) -> SocketAddr {
    let links = descriptors(process).into_iter();
    let links = links.filter_map(|number| fs::read_link(format!("/proc/{process}/fd/{number}")).ok());
    let sockets: Vec<String> = links.map(|link| link.display().to_string()).collect();
    let table =
        fs::read_to_string(format!("/proc/{process}/net/tcp")).expect("the connections of the system");
    // Number, own address, other address, state; the tenth column is the inode (proc_net(5)).
    let ports = table.lines().filter_map(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let is_listening = *columns.get(3)? == "0A";
        let is_own = sockets.contains(&format!("socket:[{}]", columns.get(9)?));
        let port = u16::from_str_radix(columns.get(1)?.split_once(':')?.1, 16).ok()?;
        (is_listening && is_own).then_some(port)
    });
    let ports: Vec<u16> = ports.collect();
    let [port] = ports.as_slice() else { panic!("process {process} listens at {ports:?}") };
    SocketAddr::from(([127, 0, 0, 1], *port))
}

/// Takes all descriptors of a server by connections to `address` that do nothing, until `is_told`; they are
/// there as long as what this returns.
pub fn use_up_descriptors(
    process: u32,
    address: SocketAddr,
    mut is_told: impl FnMut() -> bool,
) -> Vec<TcpStream> {
    let highest = descriptors(process).into_iter().max().expect("a descriptor");
    limit(process, "nofile", &(highest + 4).to_string());
    let mut crowd = Vec::new();
    eventually("it is told that no descriptor is left", PATIENCE, || {
        if (descriptors(process).len() as u64) < highest + 4 {
            let connected = TcpStream::connect_timeout(&address, PATIENCE);
            crowd.push(connected.expect("who waits for a descriptor is connected"));
        }
        is_told().then_some(())
    });
    crowd
}

/// A folder in which a running process can write nothing: a read-only file system, whose files that are open
/// cannot be written either. So it is when the kernel has met an error on its disk.
pub struct ReadOnly<'a> {
    folder: &'a Path,
    writes: FailingWrites,
}

impl ReadOnly<'_> {
    /// Makes it so; the process has to ignore SIGXFSZ.
    pub fn make(folder: &Path, process: u32) -> ReadOnly<'_> {
        let path = folder.to_str().expect("a path");
        run("mount", &["--bind", path, path]);
        run("mount", &["-o", "remount,bind,ro", path]);
        ReadOnly { folder, writes: FailingWrites::of(process) }
    }

    /// As after a repair.
    pub fn end(self) {
        run("umount", &["-l", self.folder.to_str().expect("a path")]);
        self.writes.end();
    }
}

/// Every write of a process to any file fails; it has to ignore SIGXFSZ.
pub struct FailingWrites(u32);

impl FailingWrites {
    pub fn of(process: u32) -> FailingWrites {
        limit(process, "fsize", "0");
        FailingWrites(process)
    }

    pub fn end(self) {
        limit(self.0, "fsize", "unlimited");
    }
}
