//! The Unix socket of a service manager.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

/// How long a manager that reads nothing is waited for; what it then did not take is lost.
const PATIENCE: Duration = Duration::from_millis(500);

/// The way to a manager's socket. It is opened once: a program that has no descriptor left is alive.
#[derive(Debug, Clone)]
pub struct Socket {
    own: Arc<UnixDatagram>,
    address: SocketAddr,
}

impl Socket {
    /// The socket of this name: an absolute path, or on Linux `@` and an abstract name.
    ///
    /// # Errors
    /// It is no such name, or the system gives no socket.
    pub fn new(name: &OsStr) -> io::Result<Socket> {
        let address = match name.as_bytes() {
            [b'/', ..] => SocketAddr::from_pathname(name),
            [b'@', name @ ..] => of_abstract_name(name),
            _ => Err(io::Error::new(io::ErrorKind::Unsupported, "it is neither a path nor an abstract name")),
        }?;
        let own = UnixDatagram::unbound()?;
        own.set_write_timeout(Some(PATIENCE))?;
        Ok(Socket { own: Arc::new(own), address })
    }

    /// Sends a datagram.
    ///
    /// # Errors
    /// Nobody has the socket, or its owner does not read.
    pub fn send(&self, bytes: &[u8]) -> io::Result<()> {
        // Each finds the manager anew, which may have come back with another socket behind the same name.
        self.own.send_to_addr(bytes, &self.address).map(drop)
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
