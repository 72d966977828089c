//! The default program in the tests' hands: where its messages are, who of its children prints what, its
//! processes.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::support::kafka::Kafka;
use crate::support::ports::free_port;
use crate::support::program::{Program, RECEIVED, Start, WAITING, binary};
use crate::support::watchdog::Folder;
use crate::support::{EMBEDDED, PATIENCE, eventually, unique};

pub const CONSUMERS: [&str; 2] = ["consumer1", "consumer2"];

/// Where the messages are, for as many programs as a test wants.
pub struct Place {
    settings: Vec<(&'static str, String)>,
    /// The topic.
    pub topic: String,
    /// The group.
    pub group: String,
    folder: Folder,
}

impl Place {
    /// A topic and a group on a shared Kafka, or a broker of the programs' own.
    pub fn new(version: &'static str) -> Place {
        let folder = Folder::new("place");
        let (topic, group) = (unique("mi-topico"), unique("grupo"));
        let mut settings = vec![("kafka.topic", topic.clone()), ("consumer.group", group.clone())];
        if version == EMBEDDED {
            let data = folder.path().join("data").display().to_string();
            settings.push(("kafka.bootstrap_servers", "[]".to_owned()));
            settings.push(("embedded.listen", format!("127.0.0.1:{}", free_port())));
            settings.push(("embedded.data_dir", data));
        } else {
            settings.push(("kafka.bootstrap_servers", Kafka::shared(version).bootstrap()));
        }
        Place { settings, topic, group, folder }
    }

    /// Where its embedded broker listens.
    pub fn broker_address(&self) -> &str {
        let setting = self.settings.iter().find(|(key, _)| *key == "embedded.listen");
        setting.map(|(_, address)| address.as_str()).expect("an embedded broker")
    }

    /// The folder of that broker's store.
    pub fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The settings of a program that works there, each `key=value`.
    pub fn settings(&self) -> impl Iterator<Item = String> {
        self.settings.iter().map(|(key, value)| format!("{key}={value}"))
    }

    /// A program that works there.
    pub fn program(&self, start: Start) -> Start {
        self.settings.iter().fold(start, |start, (key, value)| start.set(key, value))
    }

    /// A subcommand of the default program.
    pub fn subcommand(&self, words: &[&str]) -> Start {
        let start = Start::command(words[words.len() - 1], Command::new(binary("point-to-point")));
        self.program(start.arguments(words).set("log.file", ""))
    }

    /// The rows of `status` about this topic or group, in words, and all of it.
    pub fn status(&self) -> (Vec<Vec<String>>, String) {
        let settings =
            self.settings.iter().flat_map(|(key, value)| ["--set".to_owned(), format!("{key}={value}")]);
        let settings: Vec<String> = settings.collect();
        // Settings may stand on both sides of the subcommand.
        let mut arguments: Vec<&str> = settings.iter().map(String::as_str).collect();
        arguments.extend(["status", "--set", "log.level=warn"]);
        let (code, printed, log) = status(&arguments);
        assert_eq!((code, log.as_str()), (Some(0), ""), "{printed}");
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let ours = |line: &&str| line.contains(&self.topic) || line.contains(&self.group);
        (printed.lines().filter(ours).map(words).collect(), printed)
    }

    /// Waits until `status` has rows that begin so.
    pub fn wait_for_status(&self, rows: &[&[&str]]) {
        eventually(&format!("status shows {rows:?}"), PATIENCE, || {
            let (found, _) = self.status();
            rows.iter().all(|row| found.iter().any(|found| begins(found, row))).then_some(())
        });
    }

    /// Waits until these are the group's members, each with so many of the four partitions.
    pub fn wait_for_members(&self, members: &[(&str, &str)]) {
        let rows: Vec<[&str; 5]> = members
            .iter()
            .map(|(name, owned)| [&*self.group, "Stable", *name, "127.0.0.1", *owned])
            .collect();
        self.wait_for_status(&rows.iter().map(|row| &row[..]).collect::<Vec<_>>());
    }
}

/// A subcommand that prints an answer and ends, leaving nothing behind where it was started.
pub fn status(arguments: &[&str]) -> (Option<i32>, String, String) {
    let folder = Folder::new("status");
    let mut command = Command::new(binary("point-to-point"));
    command.args(arguments).current_dir(folder.path()).stdin(Stdio::null());
    let output = command.output().expect("the program");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(fs::read_dir(folder.path()).expect("its folder").next().is_none(), "it leaves nothing behind");
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// The channel, once both consumers are members.
pub struct Channel {
    /// The supervisor.
    pub program: Program,
    /// Where it works.
    pub place: Place,
}

impl Channel {
    /// The channel as it is by default.
    pub fn start(version: &'static str) -> Channel {
        Channel::start_with(version, |start| start)
    }

    /// The channel with further options.
    pub fn start_with(version: &'static str, further: impl FnOnce(Start) -> Start) -> Channel {
        let place = Place::new(version);
        let start = further(place.program(Start::program("point-to-point")));
        let channel = Channel { program: Program::producer_with(start), place };
        for name in CONSUMERS {
            channel.program.wait_for_line(&format!("{name} | {WAITING}"), PATIENCE);
        }
        channel
    }

    /// Stores a message with a key; gives its partition.
    pub fn post(&self, key: &str, id: u64) -> i64 {
        let answer = self.program.post(&format!("/enviar?key={key}"), &format!("{{\"id\":{id}}}"));
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()["partition"].as_i64().expect("a partition")
    }

    /// Who has printed message `id`.
    pub fn printers(&self, id: u64) -> Vec<&'static str> {
        let lines = self.program.lines();
        let printed = |name: &&str| lines.contains(&format!("{name} | {RECEIVED}{{\"id\":{id}}}"));
        CONSUMERS.into_iter().filter(printed).collect()
    }

    /// Who prints message `id`.
    pub fn printer(&self, id: u64) -> &'static str {
        eventually(&format!("message {id} is printed"), PATIENCE, || self.printers(id).first().copied())
    }

    /// A key for each consumer whose messages it gets now, found by trying four that lie in partitions of
    /// their own.
    pub fn keys_by_consumer(&self, next_id: &mut u64) -> [String; 2] {
        let keys = self.one_key_each_partition(next_id);
        eventually("both consumers get messages", PATIENCE, || {
            let ids: Vec<u64> = keys.iter().map(|key| self.next(key, next_id)).collect();
            let printers: Vec<&str> = ids.into_iter().map(|id| self.printer(id)).collect();
            let key_of =
                |name| printers.iter().position(|printer| *printer == name).map(|at| keys[at].clone());
            Some([key_of("consumer1")?, key_of("consumer2")?])
        })
    }

    /// A key for each of the four partitions.
    pub fn one_key_each_partition(&self, next_id: &mut u64) -> Vec<String> {
        let mut found: Vec<(i64, String)> = Vec::new();
        for number in 0..1000 {
            let key = format!("k{number}");
            let partition = self.post(&key, *next_id);
            *next_id += 1;
            if found.iter().all(|(known, _)| *known != partition) {
                found.push((partition, key));
            }
            if found.len() == 4 {
                return found.into_iter().map(|(_, key)| key).collect();
            }
        }
        panic!("a thousand keys do not reach all four partitions");
    }

    /// Stores the next message with a key; gives its number.
    pub fn next(&self, key: &str, next_id: &mut u64) -> u64 {
        let id = *next_id;
        *next_id += 1;
        self.post(key, id);
        id
    }

    /// The process of a child.
    pub fn child(&self, name: &str) -> u32 {
        eventually(&format!("{name} runs"), PATIENCE, || {
            let named = |(_, words): &(u32, Vec<String>)| words.iter().any(|word| word == name);
            children(self.program.id()).into_iter().find(named).map(|(id, _)| id)
        })
    }
}

/// The child processes of a process, with their command lines.
pub fn children(parent: u32) -> Vec<(u32, Vec<String>)> {
    let processes = fs::read_dir("/proc").expect("the system's list of processes");
    let ids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let mut children: Vec<(u32, Vec<String>)> = ids
        .filter_map(|id| {
            let status = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
            // PID (COMMAND) STATE PPID; the command may hold anything.
            let mut words = status.rsplit_once(')')?.1.split_whitespace();
            let is_zombie = words.next()? == "Z";
            let is_child = words.next()?.parse() == Ok(parent);
            let line = fs::read(format!("/proc/{id}/cmdline")).ok()?;
            let line = String::from_utf8_lossy(&line);
            let words = line.split('\0').filter(|word| !word.is_empty()).map(str::to_owned);
            (is_child && !is_zombie).then(|| (id, words.collect()))
        })
        .collect();
    children.sort();
    children
}

/// Whether a process has ended.
pub fn is_gone(id: u32) -> bool {
    fs::read_to_string(format!("/proc/{id}/stat")).ok().is_none_or(|status| {
        status.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('Z'))
    })
}

/// Waits until these processes have ended.
pub fn wait_until_gone(ids: &[u32]) {
    eventually(&format!("the processes {ids:?} have ended"), PATIENCE, || {
        ids.iter().all(|id| is_gone(*id)).then_some(())
    });
}

/// Sends a signal by its name to all of these. The first one gets it; the others may have ended of that.
pub fn signal(name: &str, ids: &[u32]) {
    let ids: Vec<String> = ids.iter().map(u32::to_string).collect();
    let Some((first, others)) = ids.split_first() else { return };
    let others: String = others.iter().map(|id| format!("kill -{name} {id} 2>/dev/null; ")).collect();
    let script = format!("kill -{name} {first} || exit 1; {others} exit 0");
    let status = Command::new("sh").args(["-c", &script]).status();
    assert!(status.is_ok_and(|status| status.success()), "no signal {name} to {ids:?}");
}

/// A process that stands still until this is dropped, so that it ends with its supervisor also when the test
/// fails.
pub struct Frozen(u32);

impl Frozen {
    /// Stops it in its tracks.
    pub fn new(id: u32) -> Frozen {
        signal("STOP", &[id]);
        Frozen(id)
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        signal("CONT", &[self.0]);
    }
}

/// The ids of processes.
pub fn ids_of(children: &[(u32, Vec<String>)]) -> Vec<u32> {
    children.iter().map(|(id, _)| *id).collect()
}

/// Whether a row of `status` begins with these cells.
pub fn begins(row: &[String], cells: &[&str]) -> bool {
    row.len() >= cells.len() && row.iter().zip(cells).all(|(cell, wanted)| cell == wanted)
}
