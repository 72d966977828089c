//! The users of the endpoint, in the programs: `point-to-point users`, and an endpoint that serves them.

use std::fs::{self, Permissions};
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::guard::{complaint, post, settings_in, starts};
use crate::support::ports::free_port;
use crate::support::program::binary;
use crate::support::watchdog::Folder;
use crate::support::{PATIENCE, eventually};

const PASSWORD: &str = "contraseña muy secreta";

/// A folder with a file of users.
struct UsersFile(Folder);

impl UsersFile {
    fn new() -> UsersFile {
        UsersFile(Folder::new("users-program"))
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("users.toml")
    }

    /// Puts another file in its place, at once: an endpoint may read it at any time.
    fn replace(&self, bytes: impl AsRef<[u8]>) {
        let next = self.0.path().join("users.next");
        fs::write(&next, bytes).expect("a file");
        let mode = fs::metadata(self.path()).expect("the file").permissions();
        fs::set_permissions(&next, mode).expect("its mode");
        fs::rename(&next, self.path()).expect("the file in its place");
    }

    /// The setting that names it.
    fn setting(&self) -> String {
        format!("producer_api.users_file={}", self.path().display())
    }

    /// Runs `point-to-point users` with this standard input.
    fn run(&self, arguments: &[&str], input: &str) -> Output {
        let mut command = Command::new(binary("point-to-point"));
        command.arg("users").args(arguments).args(["--set", &self.setting()]).current_dir(self.0.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program runs");
        // It may have ended without reading.
        let _ended = child.stdin.take().expect("a pipe").write_all(input.as_bytes());
        child.wait_with_output().expect("its output")
    }

    /// The output of a run, which has to succeed.
    fn done(&self, arguments: &[&str], input: &str) -> String {
        let output = self.run(arguments, input);
        let printed = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {printed}");
        assert!(!printed.contains(PASSWORD), "{printed}");
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// The error of a run, which has to fail with this exit code.
    fn refused(&self, arguments: &[&str], input: &str, code: i32) -> String {
        let output = self.run(arguments, input);
        let printed = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(code), &b""[..]), "{printed}");
        assert_eq!(printed.lines().count(), 1, "{printed}");
        printed
    }
}

fn basic(name: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{name}:{password}")))
}

#[test]
fn users_are_added_listed_and_removed() {
    let file = UsersFile::new();
    let token =
        file.done(&["add", "ana", "--rights", "send,read", "--topics", "pedidos*", "--topics", "otro"], "");
    assert_eq!((token.trim_end().len(), token.lines().count()), (64, 1), "{token:?}");
    let nothing = file.done(&["add", "José", "--rights", "admin", "--password"], &format!("{PASSWORD}\n"));
    assert_eq!(nothing, "");
    file.done(&["add", "both", "--rights", "receive", "--password", "--token"], PASSWORD);
    file.done(&["add", "cert.example.org", "--rights", "send", "--certificate"], "");
    let table = "NAME              RIGHTS     TOPICS         SECRETS\n\
                 José              admin      -              password\n\
                 ana               send,read  pedidos*,otro  token\n\
                 both              receive    -              token,password\n\
                 cert.example.org  send       -              certificate\n";
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(&file.done(&["list"], "")), sorted(table));
    assert_eq!(fs::metadata(file.path()).unwrap().permissions().mode() & 0o777, 0o600);
    let kept = fs::read_to_string(file.path()).unwrap();
    assert!(!kept.contains(PASSWORD) && !kept.contains(token.trim_end()), "{kept}");
    let again = file.refused(&["add", "ana", "--rights", "send"], "", 1);
    assert!(again.contains("there is a user ana already"), "{again}");
    let other = file.done(&["add", "ana", "--rights", "send", "--replace"], "");
    assert_ne!(other, token);
    let missing = file.refused(&["remove", "ana", "nobody"], "", 1);
    assert!(missing.contains("there is no user nobody"), "{missing}");
    assert!(file.done(&["list"], "").contains("\nana "), "none is removed then");
    file.done(&["remove", "ana", "José", "both", "cert.example.org"], "");
    assert_eq!(file.done(&["list"], ""), "no users\n");
}

#[test]
fn wrong_usage_says_what_is_right_and_shows_no_secret() {
    let file = UsersFile::new();
    let add = ["add", "ana", "--rights", "send", "--password"];
    for (arguments, input, words) in [
        (&["add", "a b", "--rights", "send"][..], "", "a name is 1 to 64 letters"),
        (&["add", "ana"], "", "--rights"),
        (&["add", "ana", "--rights", "send,write"], "", "the rights are send, receive, read and admin"),
        (&["add", "ana", "--rights", "send", "--topics", "a*b"], "", "a topic is a name"),
        (&["add", "ana", "--rights", "send", "--certificate", "--token"], "", "--token"),
        (&add, "", "standard input has no password"),
        (&add, "geheim\n", "a password has 8 characters at least"),
        (&[], "", "the command is add, remove or list"),
        (&["remove"], "", "NAME"),
    ] {
        let printed = file.refused(arguments, input, 2);
        assert!(printed.contains(words) && !printed.contains("geheim"), "{printed}");
    }
    assert!(!file.path().exists());
    let mut command = Command::new(binary("point-to-point"));
    let output = command.args(["users", "list"]).current_dir(file.0.path()).output().unwrap();
    let printed = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{printed}");
    assert!(printed.contains("producer_api.users_file names no file"), "{printed}");
}

/// Types a password twice at a terminal of its own, and prints the terminal's output.
const TYPE: &str = r#"
import os, pty, sys
child, terminal = pty.fork()
if child == 0:
    os.execv(sys.argv[2], sys.argv[2:])
shown = b''
def until(text):
    global shown
    while text not in shown:
        shown += os.read(terminal, 1000)
for question in (b'Password: ', b'The same again: '):
    until(question)
    os.write(terminal, sys.argv[1].encode() + b'\n')
try:
    while more := os.read(terminal, 1000):
        shown += more
except OSError:
    pass
sys.stdout.buffer.write(shown)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"#;

#[test]
fn a_terminal_does_not_show_the_password_that_it_asks_for_twice() {
    let file = UsersFile::new();
    let mut command = Command::new("python3");
    command.args(["-c", TYPE, PASSWORD, binary("point-to-point")]);
    command.args(["users", "add", "ana", "--rights", "send", "--password", "--set", &file.setting()]);
    let output = command.current_dir(file.0.path()).output().expect("python3 runs");
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{shown} {}", String::from_utf8_lossy(&output.stderr));
    assert!(shown.contains("The same again: ") && !shown.contains("contrase"), "{shown}");
    assert!(file.done(&["list"], "").contains("ana   send    -       password"));
}

#[test]
fn a_file_that_cannot_be_used_is_refused_at_the_start() {
    let file = UsersFile::new();
    let settings = settings_in(&file.0, "127.0.0.1:0", "");
    let refused = |words: &str| {
        let printed = complaint(&settings, &["--set", &file.setting()]);
        assert!(printed.contains("producer_api.users_file: ") && printed.contains(words), "{printed}");
        assert!(!printed.contains("geheim"), "{printed}");
    };
    refused("cannot be read");
    fs::write(file.path(), "[users.ana]\nrights = [\"send\"]\npassword = \"geheim\"\n").unwrap();
    fs::set_permissions(file.path(), Permissions::from_mode(0o640)).unwrap();
    refused("chmod 600");
    fs::set_permissions(file.path(), Permissions::from_mode(0o600)).unwrap();
    refused("a password is no hash");
    let open = settings_in(&file.0, &format!("0.0.0.0:{}", free_port()), "");
    assert!(complaint(&open, &["--set", &file.setting()]).contains("producer_api.users_file"));
}

#[test]
fn an_endpoint_serves_its_users_names_them_in_the_access_log_and_shows_no_secret() {
    let file = UsersFile::new();
    let token = file.done(&["add", "ana", "--rights", "send"], "");
    file.done(&["add", "José", "--rights", "read", "--password"], PASSWORD);
    let port = free_port();
    let more = format!("access_log = true\nusers_file = {:?}\n", file.path());
    let settings = settings_in(&file.0, &format!("127.0.0.1:{port}"), &more);
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut program = starts("producer_api", &settings, &[], address);
    let (ana, jose) = (format!("Bearer {}", token.trim_end()), basic("José", PASSWORD));
    let sent = eventually("a message is stored", PATIENCE, || {
        Some(post(address, Some(&ana))).filter(|answer| answer.status == 200)
    });
    let id = sent.header("x-request-id").expect("an id").to_owned();
    let line = program.wait_for_log(&["answered status=200", &id], PATIENCE);
    assert!(line.contains(&format!(" user=ana request={id} ")), "{line}");
    let refused = post(address, Some(&jose));
    assert_eq!((refused.status, refused.json()["error"]["code"].as_str()), (403, Some("missing_right")));
    program.wait_for_log(&["answered status=403", " user=José request="], PATIENCE);
    assert_eq!(post(address, Some(&basic("José", "wrong-wrong"))).status, 401);
    assert_eq!(post(address, None).status, 401);
    let whole = fs::read(file.path()).unwrap();
    file.replace("[users.ana]\ntoken = \"geheim\"");
    program.wait_for_log(&["ERROR", "the users stay as they were: "], PATIENCE);
    assert_eq!(post(address, Some(&ana)).status, 200);
    file.replace(whole);
    file.done(&["remove", "ana"], "");
    eventually("its token is refused", PATIENCE, || (post(address, Some(&ana)).status == 401).then_some(()));
    program.stop();
    program.wait_for_outputs();
    let hash = fs::read_to_string(file.path()).unwrap();
    let hash = hash.rsplit('$').next().unwrap().trim_end().trim_end_matches('"').to_owned();
    let secrets = [token.trim_end(), PASSWORD, "wrong-wrong", "geheim", &jose["Basic ".len()..], &hash];
    for line in program.lines().iter().chain(&program.log()) {
        assert!(!secrets.iter().any(|secret| line.contains(secret)), "{line}");
    }
    let broken = program.log().into_iter().filter(|line| line.contains("the users stay as they were"));
    assert_eq!(broken.count(), 1);
}
