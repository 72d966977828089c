//! The file of users: TOML with a table for each, for its owner alone. It is always replaced as a whole, so
//! a reader sees the users before a change or those after it.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use net::secret_file;
use platform::files::{self, Owner};
use serde::{Deserialize, Serialize};

use super::{Entries, Users, check_name};
use crate::error::{Error, Result};

/// The setting that names the file.
const KEY: &str = "producer_api.users_file";

/// The largest file, in bytes: some ten thousand users.
const MAX_BYTES: u64 = 4 * 1024 * 1024;

/// The longest wait for another process that changes the file, and the interval between two attempts. Whoever
/// can read the folder can hold its lock.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);
const LOCK_INTERVAL: Duration = Duration::from_millis(20);

/// The first lines of the file.
const HEADER: &str = "# The users of the HTTP endpoint, kept by `point-to-point users`: comments are not kept.\n\
                      # Tokens and passwords are salted hashes.\n\n";

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Contents {
    #[serde(default)]
    users: Entries,
}

/// The users in the file at `path`.
///
/// # Errors
/// The file cannot be read, is readable by others than its owner, or is not as `users add` writes it. The
/// error shows neither secrets nor hashes.
pub fn load(path: &Path) -> Result<Users> {
    entries(path).map(Users::new)
}

/// Reads the entries at `path`, lets `change` change them, and replaces the file. A file that is not there
/// has no entries, and is made. Two processes do so one after the other. Owner and group stay as they are.
///
/// # Errors
/// The error of `change`, the file cannot be read or replaced, or another process changes it for seconds; it
/// is unchanged then.
pub fn change<T>(path: &Path, change: impl FnOnce(&mut Entries) -> Result<T>) -> Result<T> {
    change_within(LOCK_PATIENCE, path, change)
}

fn change_within<T>(
    patience: Duration,
    path: &Path,
    change: impl FnOnce(&mut Entries) -> Result<T>,
) -> Result<T> {
    let failed = |error: io::Error| {
        Error::new(format!("{KEY}: {} cannot be written", path.display())).caused_by(error)
    };
    // The target of a link is replaced, not the link.
    let path = &fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder_file = files::open_for_lock(folder).map_err(failed)?;
    lock(&folder_file, folder, patience)?;
    let mut known = if path.exists() { entries(path)? } else { Entries::new() };
    let outcome = change(&mut known)?;
    let text = toml::to_string(&Contents { users: known })
        .map_err(|error| Error::new("the users cannot be written as TOML").caused_by(error))?;
    let mut new = NewFile::beside(path, folder).map_err(failed)?;
    keep_owner(path, &new.file)?;
    new.file.write_all(format!("{HEADER}{text}").as_bytes()).map_err(failed)?;
    new.file.sync_all().map_err(failed)?;
    fs::rename(&new.path, path).map_err(failed)?;
    files::sync_open_folder(&folder_file).map_err(failed)?;
    Ok(outcome)
}

/// The entries in the file at `path`.
///
/// # Errors
/// Those of [`load`].
pub fn entries(path: &Path) -> Result<Entries> {
    let bytes = secret_file::read_up_to(path, MAX_BYTES)
        .map_err(|error| Error::new(format!("{KEY}: {error}")).about_settings())?;
    let shown = path.display();
    parse(&bytes).map_err(|sentence| Error::new(format!("{KEY}: {shown}: {sentence}")).about_settings())
}

fn parse(bytes: &[u8]) -> Result<Entries, String> {
    let text = str::from_utf8(bytes).map_err(|_| "it is no UTF-8".to_owned())?;
    let contents: Contents = toml::from_str(text).map_err(|error| explain(&error, text))?;
    let mut tokens = BTreeSet::new();
    for (name, entry) in &contents.users {
        check_name(name).map_err(str::to_owned)?;
        if let Some(token) = &entry.token
            && !tokens.insert(token.id())
        {
            return Err(format!("{name} has the token of another user"));
        }
    }
    Ok(contents.users)
}

/// The error without the line itself, which may hold a secret.
fn explain(error: &toml::de::Error, text: &str) -> String {
    let at = error.span().map_or(0, |span| span.start);
    let line = text.bytes().take(at).filter(|&byte| byte == b'\n').count() + 1;
    let message = error.message();
    // Such a message shows the value.
    let shows = message.starts_with("invalid type") || message.starts_with("invalid value");
    let message = if shows { "a value is not of the right type" } else { message };
    format!("line {line}: {}", message.replace('\n', " "))
}

/// Locks the folder of the file.
fn lock(folder_file: &File, folder: &Path, patience: Duration) -> Result<()> {
    let until = Instant::now() + patience;
    let refused = || format!("{KEY}: the folder {} cannot be locked", folder.display());
    loop {
        match folder_file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::Error(error)) => return Err(Error::new(refused()).caused_by(error)),
            Err(TryLockError::WouldBlock) if Instant::now() < until => thread::sleep(LOCK_INTERVAL),
            Err(TryLockError::WouldBlock) => {
                let seconds = patience.as_secs();
                let why = format!("another process has held its lock for {seconds} s; no user is changed");
                return Err(Error::new(format!("{}: {why}", refused())));
            }
        }
    }
}

/// Gives a new file the owner and the group of the one at `path`, if there is one: the endpoint may run as
/// another user than whoever changes its users, and its owner alone can read the file.
fn keep_owner(path: &Path, new: &File) -> Result<()> {
    let Ok(old) = fs::metadata(path) else { return Ok(()) };
    let owner = files::owner(&old);
    let kept = new.metadata().and_then(|made| match files::owner(&made) == owner {
        true => Ok(()),
        false => files::give(new, owner),
    });
    kept.map_err(|error| {
        let (shown, Owner { user, group }) = (path.display(), owner);
        let why = "the new file cannot be given its owner and group";
        Error::new(format!("{KEY}: {shown} stays as it was: {why} ({user}:{group})")).caused_by(error)
    })
}

/// A file that is removed in the end, unless it has got another name.
struct NewFile {
    path: PathBuf,
    file: File,
}

impl NewFile {
    /// A new file beside `path`, for its owner alone.
    fn beside(path: &Path, folder: &Path) -> io::Result<NewFile> {
        let mut name = std::ffi::OsString::from(".");
        name.push(path.file_name().unwrap_or_default());
        name.push(format!(".{}", net::random::hex::<8>()?));
        let path = folder.join(name);
        let mut options = OpenOptions::new();
        let file = files::made_private(options.write(true).create_new(true)).open(&path)?;
        Ok(NewFile { path, file })
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        let _renamed = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use super::super::{Entry, PasswordHash, Right, Token};
    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let path = std::env::temp_dir().join(format!("users-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Folder(path)
        }

        fn file(&self) -> PathBuf {
            self.0.join("users.toml")
        }

        fn write(&self, text: &str, mode: u32) {
            fs::write(self.file(), text).unwrap();
            fs::set_permissions(self.file(), fs::Permissions::from_mode(mode)).unwrap();
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _removed = fs::remove_dir_all(&self.0);
        }
    }

    fn entry() -> Entry {
        let (_, token) = Token::generate().unwrap();
        Entry {
            rights: [Right::Send, Right::Read].into(),
            topics: vec!["pedidos*".parse().unwrap()],
            token: Some(token),
            password: Some(PasswordHash::impossible()),
            certificate: true,
        }
    }

    #[test]
    fn a_written_file_is_read_again_and_is_the_owners_alone() {
        let folder = Folder::new("again");
        let (ana, file) = (entry(), folder.file());
        change(&file, |entries| Ok(entries.insert("José".to_owned(), ana.clone()))).unwrap();
        change(&file, |entries| Ok(entries.insert("luis".to_owned(), entry()))).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let entries = super::entries(&file).unwrap();
        assert_eq!((entries.len(), &entries["José"]), (2, &ana));
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.starts_with(HEADER) && text.contains("rights = [\"send\", \"read\"]"), "{text}");
        assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn a_change_that_fails_leaves_the_file_as_it_is() {
        let folder = Folder::new("fails");
        let refused = change(&folder.file(), |_| Err::<(), _>(Error::new("no")));
        assert!(refused.is_err() && !folder.file().exists());
        folder.write("[users]\n", 0o644);
        let error = change(&folder.file(), |_| Ok(())).unwrap_err().to_string();
        assert!(error.starts_with("producer_api.users_file: ") && error.contains("chmod 600"), "{error}");
    }

    #[test]
    fn a_replaced_file_keeps_its_owner_and_group() {
        let folder = Folder::new("owner");
        folder.write("", 0o600);
        let owner = || fs::metadata(folder.file()).map(|file| (file.uid(), file.gid())).unwrap();
        // Only root can give a file away.
        let _given = std::os::unix::fs::chown(folder.file(), Some(4711), Some(4712));
        let before = owner();
        change(&folder.file(), |entries| Ok(entries.insert("ana".to_owned(), entry()))).unwrap();
        assert_eq!((owner(), entries(&folder.file()).unwrap().len()), (before, 1));
        assert_eq!(fs::metadata(folder.file()).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn another_process_that_holds_the_lock_is_not_waited_for_without_end() {
        let folder = Folder::new("lock");
        let other = File::open(&folder.0).unwrap();
        other.lock().unwrap();
        let patience = Duration::from_millis(1);
        let add = |entries: &mut Entries| Ok(entries.insert("ana".to_owned(), entry()));
        let error = change_within(patience, &folder.file(), add).unwrap_err().to_string();
        assert!(error.contains("another process has held its lock"), "{error}");
        assert!(!folder.file().exists());
        other.unlock().unwrap();
        change_within(patience, &folder.file(), add).unwrap();
        assert_eq!(entries(&folder.file()).unwrap().len(), 1);
    }

    #[test]
    fn the_target_of_a_link_is_replaced() {
        let folder = Folder::new("link");
        let link = folder.0.join("link");
        folder.write("", 0o600);
        std::os::unix::fs::symlink("users.toml", &link).unwrap();
        change(&link, |entries| Ok(entries.insert("ana".to_owned(), entry()))).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(load(&folder.file()).unwrap().len(), 1);
    }

    #[test]
    fn a_broken_file_is_explained_without_what_is_in_it() {
        let line = |text: &str| parse(text.as_bytes()).unwrap_err();
        for (text, shown) in [
            ("[users.ana]\nrights = [\"geheim\"]", "line 2: unknown variant"),
            ("[users.ana]\nrights = []\npassword = \"geheim\"", "a password is no hash"),
            ("[users.ana]\nrights = []\ntoken = \"geheim\"", "a token is no hash"),
            ("[users.ana]\nrights = []\ntoken = 4711", "line 3: a value is not of the right type"),
            ("[users.ana]\nrights = \"geheim\"", "line 2: a value is not of the right type"),
            ("[users.ana]\nrights = []\npasswort = \"geheim\"", "unknown field"),
            ("[users.ana]\n", "missing field"),
            ("[user.ana]\n", "unknown field"),
            ("[users.\"a b\"]\nrights = []", "a name is 1 to 64"),
            ("[users.ana]\nrights = [] geheim", "line 2"),
            ("[users.ana]\nrights = []\ntopics = [\"a*b\"]", "a topic is a name"),
        ] {
            let line = line(text);
            assert!(line.contains(shown), "{line}");
            assert!(
                !line.contains("4711") && (!line.contains("geheim") || line.contains("variant")),
                "{line}"
            );
        }
        let one = entry();
        let twice = Contents { users: [("a".to_owned(), one.clone()), ("b".to_owned(), one)].into() };
        let error = line(&toml::to_string(&twice).unwrap());
        assert_eq!(error, "b has the token of another user");
        assert!(parse(b"\xff").is_err() && parse(b"").unwrap().is_empty());
    }
}
