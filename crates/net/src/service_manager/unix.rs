//! The Unix socket of a service manager.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// How long a manager that reads nothing is waited for; what it then did not take is lost.
const PATIENCE: Duration = Duration::from_millis(500);

/// The address of a manager's socket.
#[derive(Debug, Clone)]
pub struct Socket(SocketAddr);

impl Socket {
    /// The socket of this name: an absolute path, or on Linux `@` and an abstract name.
    ///
    /// # Errors
    /// It is no such name.
    pub fn new(name: &OsStr) -> io::Result<Socket> {
        match name.as_bytes() {
            [b'/', ..] => SocketAddr::from_pathname(name).map(Socket),
            [b'@', name @ ..] => of_abstract_name(name).map(Socket),
            _ => Err(io::Error::new(io::ErrorKind::Unsupported, "it is neither a path nor an abstract name")),
        }
    }

    /// Sends a datagram.
    ///
    /// # Errors
    /// Nobody has the socket, or its owner does not read.
    pub fn send(&self, bytes: &[u8]) -> io::Result<()> {
        // A socket for each message: the manager may come back with another one behind the same name.
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(PATIENCE))?;
        socket.send_to_addr(bytes, &self.0).map(drop)
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn of_abstract_name(name: &[u8]) -> io::Result<SocketAddr> {
    #[cfg(target_os = "android")]
    use std::os::android::net::SocketAddrExt;
    #[cfg(target_os = "linux")]
    use std::os::linux::net::SocketAddrExt;
    SocketAddr::from_abstract_name(name)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn of_abstract_name(_: &[u8]) -> io::Result<SocketAddr> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "this system has no abstract names"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_an_absolute_path_or_an_abstract_name() {
        assert!(Socket::new(OsStr::new("/run/systemd/notify")).is_ok());
        for name in ["run/notify", "vsock:2:1234", ""] {
            assert!(Socket::new(OsStr::new(name)).is_err(), "{name}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_is_sent_arrives_at_an_abstract_name() {
        let name = format!("point-to-point-test-{}", std::process::id());
        let manager = UnixDatagram::bind_addr(&of_abstract_name(name.as_bytes()).unwrap()).unwrap();
        manager.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        Socket::new(OsStr::new(&format!("@{name}"))).unwrap().send(b"READY=1\n").unwrap();
        let mut bytes = [0; 64];
        let length = manager.recv(&mut bytes).unwrap();
        assert_eq!(bytes.get(..length), Some(&b"READY=1\n"[..]));
    }
}
