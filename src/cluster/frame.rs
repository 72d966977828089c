//! Frames of the Kafka protocol on a blocking socket: a 4-byte big-endian size, then that many bytes.

use std::io::{self, Read};
use std::net::TcpStream;
use std::time::Duration;

use bytes::{Buf, Bytes};

/// How long one read of the socket waits before the reader looks at its deadline and its owner's wishes.
pub const READ_SLICE: Duration = Duration::from_millis(100);

/// Memory set aside before any of a frame's bytes arrived; a larger frame grows as it comes in.
const FIRST_RESERVE: usize = 64 * 1024;

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
#[derive(Debug, Default)]
pub struct FrameReader {
    inbox: Vec<u8>,
}

impl FrameReader {
    /// The next frame without its size. `proceed` is asked whenever nothing arrived for [`READ_SLICE`], and told
    /// whether a part of the frame has; its `false` ends the wait, after which the call can be made again.
    ///
    /// # Errors
    /// As [`FrameError`] lists them; a size outside 0..=`limit` before anything is allocated for it.
    pub fn next(
        &mut self,
        stream: &TcpStream,
        limit: usize,
        proceed: &mut dyn FnMut(bool) -> bool,
    ) -> Result<Bytes, FrameError> {
        self.fill(stream, 4, proceed)?;
        let mut prefix = [0; 4];
        prefix.copy_from_slice(&self.inbox[..4]);
        let announced = i32::from_be_bytes(prefix);
        let size = usize::try_from(announced).ok().filter(|&size| size <= limit);
        let size = size.ok_or(FrameError::BadSize { size: announced, limit })?;
        self.fill(stream, 4 + size, proceed)?;
        let mut frame = Bytes::from(std::mem::take(&mut self.inbox));
        frame.advance(4);
        Ok(frame)
    }

    fn fill(
        &mut self,
        stream: &TcpStream,
        wanted: usize,
        proceed: &mut dyn FnMut(bool) -> bool,
    ) -> Result<(), FrameError> {
        while self.inbox.len() < wanted {
            let missing = wanted - self.inbox.len();
            self.inbox.reserve(missing.min(FIRST_RESERVE));
            match stream.take(missing as u64).read_to_end(&mut self.inbox) {
                Ok(n) if n < missing && self.inbox.is_empty() => return Err(FrameError::Closed),
                Ok(n) if n < missing => return Err(FrameError::Cut),
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    if !proceed(!self.inbox.is_empty()) {
                        return Err(FrameError::Stopped);
                    }
                }
                Err(e) => return Err(FrameError::Io(e)),
            }
        }
        Ok(())
    }
}
