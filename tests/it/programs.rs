//! The programs' outer manners, for which no Kafka is needed: help, settings and where they come from, exit
//! codes.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Output};

use crate::support::ports::free_port;
use crate::support::program::{Start, binary};
use crate::support::watchdog::Folder;
use crate::support::{PATIENCE, eventually};

const PROGRAMS: [&str; 8] = [
    "point-to-point",
    "producer_api",
    "producer",
    "consumer1",
    "consumer2",
    "consumer_pull",
    "consumer_push",
    "adapter",
];

/// The address of a broker that is not there.
fn nobody() -> String {
    format!("127.0.0.1:{}", free_port())
}

/// Runs a program that ends by itself, in an empty folder.
fn run(name: &str, arguments: &[&str], variables: &[(&str, &str)], folder: &Folder) -> Output {
    let mut command = Command::new(binary(name));
    command.args(arguments).envs(variables.iter().copied()).current_dir(folder.path());
    command.output().unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The one line of a complaint about usage or settings, which goes with exit code 2.
fn complaint(name: &str, arguments: &[&str], variables: &[(&str, &str)], folder: &Folder) -> String {
    let output = run(name, arguments, variables, folder);
    let printed = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{name} {arguments:?}: {printed}");
    assert!(output.stdout.is_empty(), "{name} {arguments:?} printed to standard output");
    printed
}

#[test]
fn help_and_version_succeed_and_name_the_program() {
    let folder = Folder::new("help");
    for name in PROGRAMS {
        let help = run(name, &["--help"], &[], &folder);
        let text = String::from_utf8_lossy(&help.stdout).into_owned();
        assert_eq!(help.status.code(), Some(0), "{name} --help");
        for option in ["--config", "--set", "--version", name] {
            assert!(text.contains(option), "{name} --help does not speak of {option}:\n{text}");
        }
        let version = run(name, &["--version"], &[], &folder);
        assert_eq!(version.status.code(), Some(0), "{name} --version");
        assert!(
            String::from_utf8_lossy(&version.stdout).contains(env!("CARGO_PKG_VERSION")),
            "{name} --version"
        );
    }
}

#[test]
fn a_wrong_option_ends_with_2() {
    let folder = Folder::new("option");
    for name in PROGRAMS {
        assert!(complaint(name, &["--sett", "a=b"], &[], &folder).contains("--sett"));
        complaint(name, &["unasked"], &[], &folder);
    }
}

#[test]
fn a_wrong_setting_in_the_file_is_named_with_its_key_and_line() {
    let folder = Folder::new("file");
    let cases = [
        ("[kafka]\ntopic = \"a\"\nbrokers = 1\n", "kafka.brokers", "3"),
        ("[producer_api]\nlisten = 5000\n", "producer_api.listen", "2"),
        ("[consumer]\n\nsession_timeout_ms = \"long\"\n", "consumer.session_timeout_ms", "3"),
        ("[nonsense]\na = 1\n", "nonsense", "1"),
    ];
    for (text, key, line) in cases {
        fs::write(folder.path().join("mine.toml"), text).expect("a file");
        let printed = complaint("consumer1", &["--config", "mine.toml"], &[], &folder);
        assert_eq!(printed.trim_end().lines().count(), 1, "one line: {printed}");
        assert!(
            printed.contains(key) && printed.contains(line) && printed.contains("mine.toml"),
            "{key}: {printed}"
        );
    }
    fs::write(folder.path().join("mine.toml"), "[kafka\n").expect("a file");
    let printed = complaint("adapter", &["--config", "mine.toml"], &[], &folder);
    assert!(printed.contains("mine.toml") && printed.contains('1'), "{printed}");
}

#[test]
fn a_wrong_setting_from_elsewhere_is_named_with_its_source() {
    let folder = Folder::new("sources");
    let printed = complaint("consumer1", &["--set", "kafka.nonsense=1"], &[], &folder);
    assert!(printed.contains("kafka.nonsense") && printed.contains("--set"), "{printed}");
    let printed = complaint("consumer1", &["--set", "kafka.partitions=many"], &[], &folder);
    assert!(printed.contains("kafka.partitions"), "{printed}");
    let printed = complaint("consumer1", &["--set", "nonsense"], &[], &folder);
    assert!(printed.contains("--set"), "{printed}");
    let variable = "POINT_TO_POINT__CONSUMER__SESSION_TIMEOUT_MS";
    let printed = complaint("consumer1", &[], &[(variable, "soon")], &folder);
    assert!(printed.contains(variable), "{printed}");
    let unknown = "POINT_TO_POINT__CONSUMER__COLOUR";
    assert!(complaint("consumer1", &[], &[(unknown, "red")], &folder).contains(unknown));
}

#[test]
fn a_file_named_with_config_must_exist() {
    let folder = Folder::new("absent");
    for name in PROGRAMS {
        assert!(complaint(name, &["--config", "absent.toml"], &[], &folder).contains("absent.toml"));
    }
}

/// Which of these addresses a `producer_api` listens on that was started with these sources of settings.
fn listens_on(file: Option<u16>, variable: Option<u16>, option: Option<u16>, expected: u16) {
    let folder = Folder::new("order");
    let at = |port: u16| format!("127.0.0.1:{port}");
    let mut command = Command::new(binary("producer_api"));
    command.env("POINT_TO_POINT__KAFKA__BOOTSTRAP_SERVERS", nobody());
    if let Some(port) = file {
        let path = folder.path().join("mine.toml");
        fs::write(&path, format!("[producer_api]\nlisten = \"{}\"\n", at(port))).expect("a file");
        command.arg("--config").arg(path);
    }
    if let Some(port) = variable {
        command.env("POINT_TO_POINT__PRODUCER_API__LISTEN", at(port));
    }
    if let Some(port) = option {
        command.args(["--set", &format!("producer_api.listen={}", at(port))]);
    }
    let mut program = Start::command("order", command).set("log.file", "").start();
    eventually("it listens", PATIENCE, || {
        assert!(program.exit_status().is_none(), "it ended");
        TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], expected))).ok()
    });
    program.stop();
}

#[test]
fn an_option_goes_over_a_variable_and_a_variable_over_the_file() {
    let (file, variable, option) = (free_port(), free_port(), free_port());
    listens_on(Some(file), None, None, file);
    listens_on(Some(file), Some(variable), None, variable);
    listens_on(Some(file), Some(variable), Some(option), option);
}

#[test]
fn config_toml_in_the_working_directory_is_the_default_file() {
    let port = free_port();
    let folder = Folder::new("default");
    let text = format!(
        "[kafka]\nbootstrap_servers = \"{}\"\n[producer_api]\nlisten = \"127.0.0.1:{port}\"\n\
         [log]\nfile = \"mine.log\"\n",
        nobody()
    );
    fs::write(folder.path().join("config.toml"), text).expect("a file");
    let mut command = Command::new("sh");
    let (place, program) = (folder.path().display(), binary("producer_api"));
    command.args(["-c", &format!("cd '{place}' && exec '{program}'")]);
    let mut program = Start::command("default", command).start();
    eventually("it listens", PATIENCE, || TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).ok());
    program.stop();
    let log =
        fs::read_to_string(folder.path().join("mine.log")).expect("the log file that the settings name");
    assert!(!log.is_empty(), "the log goes to the file too");
}

#[test]
fn the_config_toml_of_the_repository_holds_the_defaults() {
    let folder = Folder::new("own");
    let own = concat!(env!("CARGO_MANIFEST_DIR"), "/config.toml");
    // Accepted as it is: the complaint is about the option alone.
    let printed = complaint("adapter", &["--config", own, "--set", "kafka.nonsense=1"], &[], &folder);
    assert!(printed.contains("kafka.nonsense"), "{printed}");
}

#[test]
fn an_address_in_use_ends_with_1_and_a_sentence() {
    let holder = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = holder.local_addr().expect("its address").to_string();
    for (name, key) in [("producer_api", "producer_api.listen"), ("adapter", "adapter.listen")] {
        let start = Start::program(name).set("kafka.bootstrap_servers", &nobody());
        let mut program = start.set(key, &address).start();
        assert_eq!(program.wait(PATIENCE), Some(1), "{name}");
        program.wait_for_log(&[&address], PATIENCE);
    }
}

#[test]
fn ctrl_c_and_sigterm_end_every_program_cleanly_even_without_a_broker() {
    for signal in ["INT", "TERM"] {
        // The end of the producer is told in tests/delivery.rs: it runs for as long as there is input.
        for name in PROGRAMS.into_iter().filter(|name| *name != "producer") {
            let server = match name {
                "producer_api" | "point-to-point" => Some("producer_api.listen"),
                "adapter" => Some("adapter.listen"),
                _ => None,
            };
            let mut start = Start::program(name).set("kafka.bootstrap_servers", &nobody());
            if let Some(key) = server {
                start = start.set(key, "127.0.0.1:0");
            }
            let mut program = start.start();
            // Its first line comes after the handler of the signals is in place.
            eventually(&format!("{name} says something"), PATIENCE, || {
                (!program.log().is_empty() || !program.lines().is_empty()).then_some(())
            });
            program.signal(signal);
            assert_eq!(program.wait(PATIENCE), Some(0), "{name} after SIG{signal}");
        }
    }
}

#[test]
fn certificates_that_are_not_checked_are_told_of_once_at_the_start() {
    let later = "no broker answers";
    for (name, then) in [("consumer1", later), ("adapter", "listening"), ("point-to-point", later)] {
        let mut start = Start::program(name)
            .set("kafka.bootstrap_servers", &nobody())
            .set("kafka.security", "tls")
            .set("kafka.tls_insecure", "I accept that anyone may read and change my messages");
        for key in ["producer_api.listen", "adapter.listen"] {
            start = start.set(key, "127.0.0.1:0");
        }
        let mut program = start.start();
        // The default program writes its log to standard output.
        let said = |words: &str| {
            let said = [program.lines(), program.log()].concat();
            said.iter().filter(|line| line.contains(words)).count()
        };
        eventually("it has begun", PATIENCE, || (said(then) > 0).then_some(()));
        assert_eq!(
            said("[WARN ] kafka.tls_insecure: certificates of the brokers are not checked"),
            1,
            "{name}"
        );
        program.stop();
    }
}
