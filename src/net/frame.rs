//! Frames of the Kafka protocol on a blocking socket: a 4-byte big-endian size, then that many bytes.

use std::io::{self, Read};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};

/// How long one read of the socket waits before the reader looks at its deadline and its owner's wishes.
pub const READ_SLICE: Duration = Duration::from_millis(100);

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
    /// The socket failed.
    Io(io::Error),
}

impl std::fmt::Display for FrameError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            FrameError::Closed => write!(f, "closed by the other side"),
            FrameError::Cut => write!(f, "closed by the other side within a frame"),
            FrameError::BadSize { size, limit } => {
                write!(f, "a frame of {size} bytes announced, 0 to {limit} are accepted")
            }
            FrameError::Stopped => write!(f, "no answer in time"),
            FrameError::Io(e) => write!(f, "{e}"),
        }
    }
}

/// Reads frames from one socket whose read timeout is [`READ_SLICE`]; keeps what arrived of an unfinished one.
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

impl FrameReader {
    /// The next frame without its size. `proceed` is asked every [`READ_SLICE`] while it is not there, and told
    /// whether a part of it is; its `false` ends the wait, after which the call can be made again.
    ///
    /// # Errors
    /// As [`FrameError`] lists them; a size outside 0..=`limit` before anything is allocated for it.
    pub fn next(
        &mut self,
        stream: &TcpStream,
        limit: usize,
        proceed: &mut dyn FnMut(bool) -> bool,
    ) -> Result<Bytes, FrameError> {
        let size = self.size(stream, limit, proceed)?;
        self.body(stream, size, proceed)
    }

    /// The first half of [`FrameReader::next`]: the size of the next frame, for which nothing is allocated yet.
    ///
    /// # Errors
    /// As [`FrameReader::next`].
    pub fn size(
        &mut self,
        stream: &TcpStream,
        limit: usize,
        proceed: &mut dyn FnMut(bool) -> bool,
    ) -> Result<usize, FrameError> {
        self.asked = Instant::now();
        self.fill(stream, 4, proceed)?;
        let mut prefix = [0; 4];
        prefix.copy_from_slice(&self.inbox[..4]);
        let announced = i32::from_be_bytes(prefix);
        let size = usize::try_from(announced).ok().filter(|&size| size <= limit);
        size.ok_or(FrameError::BadSize { size: announced, limit })
    }

    /// The second half: the frame of the `size` that [`FrameReader::size`] gave.
    ///
    /// # Errors
    /// As [`FrameReader::next`].
    pub fn body(
        &mut self,
        stream: &TcpStream,
        size: usize,
        proceed: &mut dyn FnMut(bool) -> bool,
    ) -> Result<Bytes, FrameError> {
        self.fill(stream, 4 + size, proceed)?;
        let mut frame = Bytes::from(std::mem::take(&mut self.inbox));
        frame.advance(4);
        Ok(frame)
    }

    /// Whether the next frame has arrived, whole and with at most `most` bytes, so that [`FrameReader::next`] need
    /// not wait for it. Does not wait itself.
    ///
    /// # Errors
    /// As [`FrameReader::next`].
    pub fn has_arrived(&mut self, stream: &TcpStream, limit: usize, most: usize) -> Result<bool, FrameError> {
        stream.set_nonblocking(true).map_err(FrameError::Io)?;
        let size = self.size(stream, limit, &mut |_| false);
        let arrived = size.and_then(|size| {
            if size <= most {
                self.fill(stream, 4 + size, &mut |_| false)?;
            }
            Ok(size <= most)
        });
        stream.set_nonblocking(false).map_err(FrameError::Io)?;
        match arrived {
            Err(FrameError::Stopped) => Ok(false),
            arrived => arrived,
        }
    }

    fn fill(
        &mut self,
        stream: &TcpStream,
        wanted: usize,
        proceed: &mut dyn FnMut(bool) -> bool,
    ) -> Result<(), FrameError> {
        while self.inbox.len() < wanted {
            let (have, missing) = (self.inbox.len(), wanted - self.inbox.len());
            self.inbox.resize(have + missing.min(AT_ONCE), 0);
            let read = (&mut &*stream).read(&mut self.inbox[have..]);
            self.inbox.truncate(have + *read.as_ref().unwrap_or(&0));
            let mut ask = self.asked.elapsed() >= READ_SLICE;
            match read {
                Ok(0) if have == 0 => return Err(FrameError::Closed),
                Ok(0) => return Err(FrameError::Cut),
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    ask = true
                }
                Err(e) => return Err(FrameError::Io(e)),
            }
            if ask && self.inbox.len() < wanted {
                self.asked = Instant::now();
                if !proceed(!self.inbox.is_empty()) {
                    return Err(FrameError::Stopped);
                }
            }
        }
        Ok(())
    }
}
