//! Guarding the endpoint, in the programs: where it may listen, where its token may come from and where it
//! must not be seen.

use std::fs::{self, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

use crate::support::http::{Answer, Connection};
use crate::support::ports::free_port;
use crate::support::program::{Program, Start, binary};
use crate::support::watchdog::Folder;
use crate::support::{PATIENCE, eventually};

const TOKEN: &str = "very-secret-0123456789";
const VARIABLE: &str = "POINT_TO_POINT__PRODUCER_API__TOKEN";

/// A settings file for an endpoint with a broker of its own in this folder, at this address.
pub fn settings_in(folder: &Folder, listen: &str, more: &str) -> String {
    let path = folder.path().join("mine.toml");
    let text = format!(
        "[embedded]\nlisten = \"127.0.0.1:{}\"\ndata_dir = \"{}\"\n[log]\nfile = \"\"\n\
         [producer_api]\nlisten = \"{listen}\"\n{more}",
        free_port(),
        folder.path().join("data").display(),
    );
    fs::write(&path, text).expect("a file");
    path.display().to_string()
}

/// Runs an endpoint that ends by itself.
pub fn ends(settings: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(binary("producer_api"));
    command.args(["--config", settings]).args(arguments).output().expect("the program runs")
}

/// What it says about settings that it cannot work with.
pub fn complaint(settings: &str, arguments: &[&str]) -> String {
    let output = ends(settings, arguments);
    let printed = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{printed}");
    printed
}

/// A token in a file with this mode.
fn token_file(folder: &Folder, text: &str, mode: u32) -> String {
    let path = folder.path().join("token");
    fs::write(&path, text).expect("a file");
    fs::set_permissions(&path, Permissions::from_mode(mode)).expect("its mode");
    path.display().to_string()
}

/// Posts a message, with an `Authorization` or without.
pub fn post(address: SocketAddr, authorization: Option<&str>) -> Answer {
    let line = authorization.map(|value| format!("Authorization: {value}\r\n")).unwrap_or_default();
    Connection::open(address).and_then(|mut link| link.post_with("/enviar", &line, b"{}")).expect("an answer")
}

/// Starts a program of these settings, which listens at `listen`, with all it has to log.
pub fn starts(program: &str, settings: &str, variables: &[(&str, &str)], listen: SocketAddr) -> Program {
    let mut command = Command::new(binary(program));
    command.args(["--config", settings, "--set", "log.level=trace"]).envs(variables.iter().copied());
    let mut program = Start::command(program, command).start();
    eventually("it listens", PATIENCE, || {
        assert!(program.exit_status().is_none(), "it ended");
        std::net::TcpStream::connect(listen).ok()
    });
    program
}

#[test]
fn an_address_that_others_reach_is_refused_with_what_it_takes() {
    let folder = Folder::new("open");
    let listen = format!("0.0.0.0:{}", free_port());
    let settings = settings_in(&folder, &listen, "");
    let token = format!("producer_api.token_file={}", token_file(&folder, TOKEN, 0o600));
    for arguments in [&[][..], &["--set", &token]] {
        let printed = complaint(&settings, arguments);
        for word in [&listen, "token_file", VARIABLE, "tls_certificate", "tls_key", "anyone_may_send = true"]
        {
            assert!(printed.contains(word), "{word} in {printed}");
        }
    }
}

#[test]
fn anyone_may_send_where_the_settings_say_so() {
    let folder = Folder::new("anyone");
    let port = free_port();
    let settings = settings_in(&folder, &format!("0.0.0.0:{port}"), "anyone_may_send = true\n");
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut program = starts("producer_api", &settings, &[], address);
    assert_eq!(post(address, None).status, 200);
    program.stop();
}

#[test]
fn a_token_file_is_used_only_where_its_owner_alone_can_read_it() {
    let folder = Folder::new("file");
    let port = free_port();
    let settings = settings_in(&folder, &format!("127.0.0.1:{port}"), "");
    for (text, mode, what) in [
        (TOKEN, 0o644, "chmod 600"),
        ("too-short", 0o600, "must be 16 to 256 visible ASCII characters"),
        ("very-secret 0123456789", 0o600, "must be 16 to 256 visible ASCII characters"),
    ] {
        let file = format!("producer_api.token_file={}", token_file(&folder, text, mode));
        let printed = complaint(&settings, &["--set", &file]);
        assert!(printed.contains("producer_api.token_file: ") && printed.contains(what), "{printed}");
        assert!(!printed.contains(text), "{printed}");
    }
    let more = format!("token_file = {:?}\n", token_file(&folder, &format!("{TOKEN}\n"), 0o600));
    let settings = settings_in(&folder, &format!("127.0.0.1:{port}"), &more);
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut program = starts("producer_api", &settings, &[], address);
    assert_eq!(post(address, None).status, 401);
    assert_eq!(post(address, Some(&format!("Bearer {TOKEN}"))).status, 200);
    program.stop();
}

#[test]
fn a_token_on_the_command_line_is_refused() {
    let folder = Folder::new("option");
    let settings = settings_in(&folder, "127.0.0.1:0", "");
    let printed = complaint(&settings, &["--set", &format!("producer_api.token={TOKEN}")]);
    assert!(printed.contains("--set") && printed.contains(VARIABLE), "{printed}");
    assert!(!printed.contains(TOKEN), "{printed}");
}

#[test]
fn a_token_of_the_environment_reaches_the_supervised_endpoint_and_is_seen_nowhere() {
    let folder = Folder::new("supervised");
    let port = free_port();
    let settings = settings_in(&folder, &format!("127.0.0.1:{port}"), "");
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut program = starts("point-to-point", &settings, &[(VARIABLE, TOKEN)], address);
    let right = format!("Bearer {TOKEN}");
    assert_eq!(post(address, None).status, 401);
    assert_eq!(post(address, Some("Bearer wrong-wrong-wrong-wrong")).status, 401);
    assert_eq!(post(address, Some(&right)).status, 200);
    program.wait_for_lines(5, PATIENCE);
    let lines = fs::read_dir("/proc").expect("/proc").flatten();
    let lines = lines.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    let shown = lines.filter(|line| line.windows(TOKEN.len()).any(|part| part == TOKEN.as_bytes())).count();
    assert_eq!(shown, 0, "command lines with the token");
    program.stop();
    program.wait_for_outputs();
    for line in program.lines().iter().chain(&program.log()) {
        assert!(!line.contains(TOKEN) && !line.contains("wrong-wrong"), "{line}");
    }
}
