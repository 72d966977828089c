//! The connection between a supervisor and its child: over loopback, as no socket can be the standard input
//! of a program here. Address and secret come over standard input, which nobody else can read. The end of the
//! connection tells each side that the other has ended.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

/// The time in which a child connects, and that between two looks for it.
const PATIENCE: Duration = Duration::from_secs(10);
const LOOK_INTERVAL: Duration = Duration::from_millis(5);
/// The time in which a connection has to send its secret: a stranger's does not hold up the child's for long.
const SECRET_TIMEOUT: Duration = Duration::from_millis(500);
/// The bytes of a secret.
const SECRET: usize = 32;

/// The child's connection to its supervisor.
static TO_SUPERVISOR: OnceLock<TcpStream> = OnceLock::new();

/// A connection for a child that is not started yet.
#[derive(Debug)]
pub struct Offer {
    listener: TcpListener,
    secret: [u8; SECRET],
}

/// The supervisor's end; `None` for a child that has ended before it connected.
#[derive(Debug)]
pub struct Link(Option<TcpStream>);

impl Offer {
    /// A connection for the process that `command` starts.
    ///
    /// # Errors
    /// The system gives no socket, or no random bytes.
    pub fn to(command: &mut Command) -> io::Result<Offer> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let mut secret = [0; SECRET];
        getrandom::fill(&mut secret).map_err(|error| io::Error::other(error.to_string()))?;
        command.stdin(Stdio::piped());
        Ok(Offer { listener, secret })
    }

    /// The connection, once the child is started. The child is waited for, for ten seconds at most.
    ///
    /// # Errors
    /// The child does not connect, or the system's. A child that has ended is none: the connection has ended
    /// then, too.
    pub fn accepted_by(self, child: &mut Child) -> io::Result<Link> {
        let missing = || io::Error::other("the child has no pipe for its standard input");
        let mut input = child.stdin.take().ok_or_else(missing)?;
        let secret: String = self.secret.iter().map(|byte| format!("{byte:02x}")).collect();
        let line = format!("{} {secret}\n", self.listener.local_addr()?);
        // A child that has ended is noticed below.
        let _ = input.write_all(line.as_bytes());
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => match verified(stream, secret.as_bytes()) {
                    Ok(stream) => return Ok(Link(Some(stream))),
                    Err(error) => log::debug!("a connection that is not the child's: {error}"),
                },
                Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(LOOK_INTERVAL),
                Err(error) => return Err(error),
            }
            if child.try_wait()?.is_some() {
                return Ok(Link(None));
            }
            if Instant::now() >= deadline {
                return Err(io::Error::new(ErrorKind::TimedOut, "the child does not connect"));
            }
        }
    }
}

/// A connection that begins with the secret.
fn verified(mut stream: TcpStream, secret: &[u8]) -> io::Result<TcpStream> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(SECRET_TIMEOUT))?;
    let mut sent = [0; 2 * SECRET];
    stream.read_exact(&mut sent)?;
    // In a time that tells nothing of where they differ.
    let differing = sent.iter().zip(secret).fold(0, |all, (one, other)| all | (one ^ other));
    if differing != 0 || sent.len() != secret.len() {
        return Err(ErrorKind::PermissionDenied.into());
    }
    stream.set_read_timeout(None)?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

impl Link {
    /// Another handle on the same connection.
    ///
    /// # Errors
    /// The system's.
    pub fn try_clone(&self) -> io::Result<Link> {
        self.0.as_ref().map(TcpStream::try_clone).transpose().map(Link)
    }
}

impl Read for Link {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.as_mut().map_or(Ok(0), |stream| stream.read(buffer))
    }
}

impl Write for Link {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let gone = || Err(ErrorKind::BrokenPipe.into());
        self.0.as_mut().map_or_else(gone, |stream| stream.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What the supervisor sends to this process, its child. To be called once.
pub fn from_supervisor() -> impl Read {
    let connected = connect();
    connected.unwrap_or_else(|error| {
        log::debug!("no connection to a supervisor: {error}");
        Box::new(io::empty())
    })
}

fn connect() -> io::Result<Box<dyn Read>> {
    let mut line = String::new();
    io::stdin().read_line(&mut line)?;
    let (address, secret) = line.trim_end().split_once(' ').ok_or(ErrorKind::InvalidData)?;
    let address: SocketAddr = address.parse().map_err(io::Error::other)?;
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_nodelay(true)?;
    stream.write_all(secret.as_bytes())?;
    let reader = stream.try_clone()?;
    let _connected_once = TO_SUPERVISOR.set(stream);
    Ok(Box::new(reader))
}

/// Sends to the supervisor of this process.
///
/// # Errors
/// It is gone, or there is none.
pub fn send_to_supervisor(bytes: &[u8]) -> io::Result<()> {
    let mut stream = TO_SUPERVISOR.get().ok_or(ErrorKind::NotConnected)?;
    stream.write_all(bytes)
}
