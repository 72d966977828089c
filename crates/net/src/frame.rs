//! Frames of the Kafka protocol on a blocking socket: a 4-byte big-endian size, then that many bytes.

use std::fmt;
use std::io::{self, Read};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use platform::sockets::LONGEST_READ;

/// How long one read waits, where an answer is waited for, before its owner is asked whether to go on.
pub const READ_SLICE: Duration = Duration::from_millis(100);

/// The bytes of a frame's size.
const SIZE_BYTES: usize = 4;

/// The most bytes read at once: memory grows with what has arrived, not with what was announced.
const AT_ONCE: usize = 128 * 1024;

/// Why no frame came.
#[derive(Debug)]
pub enum FrameError {
    /// The peer closed the connection between two frames.
    Closed,
    /// The peer closed the connection inside a frame.
    Cut,
    /// The announced size is negative or above the limit.
    BadSize {
        /// The size on the wire.
        size: i32,
        /// The largest size accepted, in bytes.
        limit: usize,
    },
    /// The owner's `proceed` said no.
    Stopped,
    /// No byte of a request came for [`RequestWaits::idle`].
    Idle,
    /// A request that had begun to arrive was not whole within [`RequestWaits::whole`].
    Stalled,
    /// The socket failed.
    Io(io::Error),
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FrameError::Closed => write!(f, "the other side closed the connection"),
            FrameError::Cut => write!(f, "the other side closed the connection within a frame"),
            FrameError::BadSize { size, limit } => match speaker(*size) {
                Some((who, begins)) => write!(f, "{who} speaks there: the frame begins with {begins:?}"),
                None => write!(f, "a frame of {size} bytes was announced; 0 to {limit} bytes are accepted"),
            },
            FrameError::Stopped => write!(f, "no frame came in time"),
            FrameError::Idle => write!(f, "the connection was idle for too long"),
            FrameError::Stalled => write!(f, "a frame that had begun to arrive was not whole in time"),
            FrameError::Io(error) => write!(f, "{error}"),
        }
    }
}

impl FrameError {
    /// Whether the bytes are the beginning of an HTTP server's answer.
    pub fn is_http_answer(&self) -> bool {
        matches!(self, FrameError::BadSize { size, .. } if size.to_be_bytes() == *HTTP_ANSWER)
    }
}

/// What an HTTP server's answer begins with.
const HTTP_ANSWER: &[u8; SIZE_BYTES] = b"HTTP";

/// What the requests of HTTP clients begin with.
const HTTP_REQUESTS: [&[u8; SIZE_BYTES]; 7] = [b"GET ", b"POST", b"PUT ", b"HEAD", b"DELE", b"OPTI", b"PATC"];

/// Who else begins with the bytes that were read as a size, and these bytes as text.
fn speaker(size: i32) -> Option<(&'static str, String)> {
    let bytes = size.to_be_bytes();
    let who = match &bytes {
        HTTP_ANSWER => "an HTTP server",
        bytes if HTTP_REQUESTS.contains(&bytes) => "an HTTP client",
        _ => return None,
    };
    Some((who, String::from_utf8_lossy(&bytes).into_owned()))
}

impl std::error::Error for FrameError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            FrameError::Io(error) => Some(error),
            _ => None,
        }
    }
}

/// How long a server waits for a request.
#[derive(Debug, Clone, Copy)]
pub struct RequestWaits {
    /// For its first byte; without an end if `None`.
    pub idle: Option<Duration>,
    /// For its size from the first byte on, and for its body from the size on.
    pub whole: Duration,
}

/// Reads frames from one socket, and keeps what has arrived of an unfinished one.
///
/// A client that waits for an answer uses [`FrameReader::next`], on a socket whose read timeout is
/// [`READ_SLICE`]. A server that waits for a request uses [`FrameReader::request_size`] and
/// [`FrameReader::request_body`], which set the read timeout themselves and sleep until bytes come, the wait
/// is over, or the socket is shut down for reading.
#[derive(Debug)]
pub struct FrameReader {
    inbox: Vec<u8>,
    /// When the owner was last asked whether to go on.
    asked: Instant,
}

impl Default for FrameReader {
    fn default() -> FrameReader {
        FrameReader { inbox: Vec::new(), asked: Instant::now() }
    }
}

/// The result of a read of the socket.
enum Step {
    Bytes,
    /// The read timeout is over, or a socket that does not block has nothing.
    Nothing,
}

impl FrameReader {
    /// The next frame without its size. `proceed` is asked every [`READ_SLICE`] while it is not there; its
    /// `false` ends the wait, after which the call can be made again.
    ///
    /// # Errors
    /// As [`FrameError`] lists them; a size outside 0..=`limit` before anything is allocated for it.
    pub fn next(
        &mut self,
        mut stream: impl Read,
        limit: usize,
        proceed: &mut dyn FnMut() -> bool,
    ) -> Result<Bytes, FrameError> {
        self.asked = Instant::now();
        self.fill_while(&mut stream, SIZE_BYTES, proceed)?;
        let size = self.announced(limit)?;
        self.fill_while(&mut stream, SIZE_BYTES + size, proceed)?;
        Ok(self.take())
    }

    /// The size of the next request, for which nothing is allocated yet.
    ///
    /// # Errors
    /// As [`FrameError`] lists them.
    pub fn request_size(
        &mut self,
        stream: &TcpStream,
        limit: usize,
        waits: RequestWaits,
    ) -> Result<usize, FrameError> {
        if self.inbox.is_empty() {
            self.await_first(stream, waits.idle)?;
        }
        self.fill_until(stream, SIZE_BYTES, Instant::now() + waits.whole)?;
        self.announced(limit)
    }

    /// The request of the `size` that [`FrameReader::request_size`] gave.
    ///
    /// # Errors
    /// As [`FrameError`] lists them.
    pub fn request_body(
        &mut self,
        stream: &TcpStream,
        size: usize,
        waits: RequestWaits,
    ) -> Result<Bytes, FrameError> {
        self.fill_until(stream, SIZE_BYTES + size, Instant::now() + waits.whole)?;
        Ok(self.take())
    }

    /// Whether the next frame has arrived, whole and with at most `most` bytes, so that it need not be waited
    /// for. Does not wait itself.
    ///
    /// # Errors
    /// As [`FrameError`] lists them.
    pub fn has_arrived(&mut self, stream: &TcpStream, limit: usize, most: usize) -> Result<bool, FrameError> {
        stream.set_nonblocking(true).map_err(FrameError::Io)?;
        let arrived = self.fill_now(stream, limit, most);
        stream.set_nonblocking(false).map_err(FrameError::Io)?;
        arrived
    }

    fn fill_now(&mut self, stream: &TcpStream, limit: usize, most: usize) -> Result<bool, FrameError> {
        let mut wanted = SIZE_BYTES;
        loop {
            while self.inbox.len() < wanted {
                if let Step::Nothing = self.read(stream, wanted)? {
                    return Ok(false);
                }
            }
            let size = self.announced(limit)?;
            if size > most {
                return Ok(false);
            }
            if wanted == SIZE_BYTES + size {
                return Ok(true);
            }
            wanted = SIZE_BYTES + size;
        }
    }

    /// Waits for the first byte.
    fn await_first(&mut self, stream: &TcpStream, idle: Option<Duration>) -> Result<(), FrameError> {
        let deadline = idle.map(|idle| Instant::now() + idle);
        let mut left = idle;
        loop {
            stream
                .set_read_timeout([LONGEST_READ, left].into_iter().flatten().min())
                .map_err(FrameError::Io)?;
            match self.read(stream, SIZE_BYTES)? {
                Step::Bytes => return Ok(()),
                Step::Nothing if LONGEST_READ.is_none() => return Err(FrameError::Idle),
                Step::Nothing => {}
            }
            left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Err(FrameError::Idle);
            }
        }
    }

    fn fill_until(&mut self, stream: &TcpStream, wanted: usize, deadline: Instant) -> Result<(), FrameError> {
        while self.inbox.len() < wanted {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(FrameError::Stalled);
            }
            let longest = LONGEST_READ.map_or(left, |longest| longest.min(left));
            stream.set_read_timeout(Some(longest)).map_err(FrameError::Io)?;
            self.read(stream, wanted)?;
        }
        Ok(())
    }

    fn fill_while(
        &mut self,
        stream: &mut impl Read,
        wanted: usize,
        proceed: &mut dyn FnMut() -> bool,
    ) -> Result<(), FrameError> {
        while self.inbox.len() < wanted {
            let step = self.read(&mut *stream, wanted)?;
            let due = matches!(step, Step::Nothing) || self.asked.elapsed() >= READ_SLICE;
            if due && self.inbox.len() < wanted {
                self.asked = Instant::now();
                if !proceed() {
                    return Err(FrameError::Stopped);
                }
            }
        }
        Ok(())
    }

    /// Reads from the socket once, for no more than `wanted` bytes in the inbox.
    fn read(&mut self, mut stream: impl Read, wanted: usize) -> Result<Step, FrameError> {
        let have = self.inbox.len();
        let missing = wanted.saturating_sub(have);
        self.inbox.resize(have + missing.min(AT_ONCE), 0);
        let read = loop {
            match stream.read(self.inbox.get_mut(have..).unwrap_or_default()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        self.inbox.truncate(have + *read.as_ref().unwrap_or(&0));
        match read {
            Ok(0) if have == 0 => Err(FrameError::Closed),
            Ok(0) => Err(FrameError::Cut),
            Ok(_) => Ok(Step::Bytes),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                Ok(Step::Nothing)
            }
            Err(error) => Err(FrameError::Io(error)),
        }
    }

    /// The size that the inbox begins with.
    fn announced(&self, limit: usize) -> Result<usize, FrameError> {
        let announced = self.inbox.first_chunk().map_or(-1, |bytes| i32::from_be_bytes(*bytes));
        let size = usize::try_from(announced).ok().filter(|&size| size <= limit);
        size.ok_or(FrameError::BadSize { size: announced, limit })
    }

    /// The frame that is whole in the inbox.
    fn take(&mut self) -> Bytes {
        let mut frame = Bytes::from(std::mem::take(&mut self.inbox));
        frame.advance(SIZE_BYTES.min(frame.len()));
        frame
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::{Shutdown, TcpListener};
    use std::thread;

    use super::*;

    const LIMIT: usize = 100;

    fn waits(idle: Option<u64>, whole: u64) -> RequestWaits {
        RequestWaits { idle: idle.map(Duration::from_millis), whole: Duration::from_millis(whole) }
    }

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (client, listener.accept().unwrap().0)
    }

    fn request(
        reader: &mut FrameReader,
        stream: &TcpStream,
        waits: RequestWaits,
    ) -> Result<Bytes, FrameError> {
        let size = reader.request_size(stream, LIMIT, waits)?;
        reader.request_body(stream, size, waits)
    }

    #[test]
    fn requests_are_read_one_after_the_other() {
        let (mut client, server) = pair();
        client.write_all(b"\0\0\0\x02ab\0\0\0\x00\0\0\0\x01c").unwrap();
        let mut reader = FrameReader::default();
        for wanted in ["ab", "", "c"] {
            assert_eq!(request(&mut reader, &server, waits(None, 30_000)).unwrap(), wanted);
        }
        assert!(!reader.has_arrived(&server, LIMIT, LIMIT).unwrap());
    }

    #[test]
    fn an_idle_connection_ends_after_its_time_and_a_request_that_has_begun_after_another() {
        let (mut client, server) = pair();
        let mut reader = FrameReader::default();
        let idle = request(&mut reader, &server, waits(Some(10), 30_000));
        assert!(matches!(idle, Err(FrameError::Idle)), "{idle:?}");
        client.write_all(b"\0\0\0\x02a").unwrap();
        let stalled = request(&mut reader, &server, waits(None, 10));
        assert!(matches!(stalled, Err(FrameError::Stalled)), "{stalled:?}");
        client.write_all(b"b").unwrap();
        assert_eq!(request(&mut reader, &server, waits(None, 30_000)).unwrap(), "ab");
    }

    #[test]
    fn a_server_that_waits_for_ever_wakes_when_its_socket_is_shut_down() {
        let (_client, server) = pair();
        thread::scope(|scope| {
            let waiting = scope.spawn(|| request(&mut FrameReader::default(), &server, waits(None, 30_000)));
            server.shutdown(Shutdown::Read).unwrap();
            assert!(matches!(waiting.join().unwrap(), Err(FrameError::Closed)));
        });
    }

    #[test]
    fn a_frame_has_arrived_when_it_is_whole_and_small_enough() {
        let (mut client, server) = pair();
        let mut reader = FrameReader::default();
        client.write_all(b"\0\0\0\x02ab").unwrap();
        server.peek(&mut [0]).unwrap();
        assert!(!reader.has_arrived(&server, LIMIT, 1).unwrap());
        assert!(reader.has_arrived(&server, LIMIT, 2).unwrap());
        client.write_all(b"\x7f\0\0\0").unwrap();
        assert_eq!(request(&mut reader, &server, waits(None, 30_000)).unwrap(), "ab");
        let oversized = request(&mut reader, &server, waits(None, 30_000));
        assert!(matches!(oversized, Err(FrameError::BadSize { size: 0x7f00_0000, limit: LIMIT })));
    }

    #[test]
    fn bytes_of_http_in_place_of_a_size_are_named() {
        for (bytes, who) in [(b"HTTP", "an HTTP server"), (b"POST", "an HTTP client")] {
            let (mut client, server) = pair();
            client.write_all(bytes).unwrap();
            let error = request(&mut FrameReader::default(), &server, waits(None, 30_000)).unwrap_err();
            assert_eq!(error.is_http_answer(), bytes == b"HTTP");
            assert!(error.to_string().starts_with(who), "{error}");
        }
        let oversized = FrameError::BadSize { size: 0x7f00_0000, limit: LIMIT };
        assert!(!oversized.is_http_answer() && oversized.to_string().contains("0 to 100 bytes"));
    }
}
