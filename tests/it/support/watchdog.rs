//! Ends what a test leaves behind. A shell of its own waits on a pipe that only this process holds open; when
//! this process ends, in whatever way, the pipe closes, and the shell kills the processes and removes the
//! folders that are still on its list. Statics are never dropped, so this is also what stops the clusters
//! that tests share.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};

/// `+ PID` and `- PID` keep the list of processes, `d FOLDER` and `r FOLDER` that of folders.
const SCRIPT: &str = r#"
trap '' INT TERM HUP
pids=' '
folders=''
while IFS= read -r line; do
    what=${line#? }
    case $line in
        '+ '*) pids="$pids$what " ;;
        '- '*) pids="${pids%% $what *} ${pids#* $what }" ;;
        'd '*) folders="$folders
$what" ;;
    esac
done
for pid in $pids; do kill -9 "$pid"; done
for attempt in 1 2 3 4 5; do
    left=
    IFS='
'
    for folder in $folders; do umount -l "$folder" 2>/dev/null; rm -rf "$folder"; [ -e "$folder" ] && left=yes; done
    [ -z "$left" ] && exit
    sleep 0.3
done
"#;

/// Starts the shell. It ends after this process, so nobody here can wait for it.
#[allow(clippy::zombie_processes)]
fn start() -> ChildStdin {
    let mut shell = Command::new("sh")
        .args(["-c", SCRIPT])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("a shell for the watchdog");
    shell.stdin.take().expect("its standard input is a pipe")
}

fn tell(line: &str) {
    static PIPE: OnceLock<Mutex<ChildStdin>> = OnceLock::new();
    let pipe = PIPE.get_or_init(|| Mutex::new(start()));
    let mut pipe = pipe.lock().unwrap_or_else(PoisonError::into_inner);
    writeln!(pipe, "{line}").expect("the watchdog listens");
}

/// A child process that never outlives this process; killed and waited for when dropped.
pub struct Guarded {
    child: Child,
    listed: bool,
}

impl Guarded {
    /// Starts the command and puts it on the watchdog's list.
    pub fn spawn(command: &mut Command) -> Guarded {
        let child = command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        tell(&format!("+ {}", child.id()));
        Guarded { child, listed: true }
    }

    /// The process itself, for its pipes and its exit status.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by its name: `TERM`, `KILL`, `STOP`, `CONT`.
    pub fn signal(&self, name: &str) {
        let status = Command::new("sh").args(["-c", &format!("kill -{name} {}", self.child.id())]).status();
        assert!(status.is_ok_and(|s| s.success()), "no signal {name} to process {}", self.child.id());
    }

    /// Kills the process, if it still runs, and waits for its end.
    pub fn kill(&mut self) {
        if self.listed {
            let _ = self.child.kill();
            let _ = self.child.wait();
            tell(&format!("- {}", self.child.id()));
            self.listed = false;
        }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A folder of this test alone; removed when dropped, at the latest when this process ends.
pub struct Folder(PathBuf);

impl Folder {
    /// Makes an empty folder below cargo's place for temporary files.
    pub fn new(name: &str) -> Folder {
        let name = super::unique(&format!("{name}-{}", std::process::id()));
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap_or_else(|error| panic!("cannot make {}: {error}", path.display()));
        tell(&format!("d {}", path.display()));
        Folder(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
