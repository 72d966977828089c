//! Standard output and standard error, as they are shared with other programs.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
pub use std::os::windows::io::AsHandle as AsOutput;
use std::os::windows::io::{AsHandle, BorrowedHandle, OwnedHandle};
use std::time::Duration;

use super::files;

/// A pipe takes up to so many bytes as a whole or not at all.
pub const WHOLE_IN_A_PIPE: usize = 512;

/// An output of this process, without a buffer.
#[derive(Debug)]
pub struct RawOutput {
    file: File,
    console: Option<Console>,
}

/// A console takes text and no bytes; the standard library turns it into UTF-16.
#[derive(Debug, Clone, Copy)]
enum Console {
    Output,
    Error,
}

impl RawOutput {
    /// Standard output.
    ///
    /// # Errors
    /// The system has no free handle.
    pub fn stdout() -> io::Result<RawOutput> {
        let console = io::stdout().is_terminal().then_some(Console::Output);
        Ok(RawOutput { console, ..RawOutput::of(io::stdout().as_handle().try_clone_to_owned()?) })
    }

    /// Standard error.
    ///
    /// # Errors
    /// The system has no free handle.
    pub fn stderr() -> io::Result<RawOutput> {
        let console = io::stderr().is_terminal().then_some(Console::Error);
        Ok(RawOutput { console, ..RawOutput::of(io::stderr().as_handle().try_clone_to_owned()?) })
    }

    /// Something else, such as a pipe.
    pub fn of(output: impl Into<OwnedHandle>) -> RawOutput {
        RawOutput { file: File::from(output.into()), console: None }
    }

    /// Whether it is a pipe, see [`WHOLE_IN_A_PIPE`].
    ///
    /// # Errors
    /// The system's.
    pub fn is_pipe(&self) -> io::Result<bool> {
        files::is_pipe(&self.file)
    }

    /// On Unix, waits until a write would not have to wait. Here it is always so, and the write waits.
    ///
    /// # Errors
    /// None.
    pub fn has_room(&self, _time: Option<Duration>) -> io::Result<bool> {
        Ok(true)
    }
}

impl AsHandle for RawOutput {
    fn as_handle(&self) -> BorrowedHandle<'_> {
        self.file.as_handle()
    }
}

impl Write for &RawOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        match self.console {
            None => return (&self.file).write(bytes),
            Some(Console::Output) => {
                let mut console = io::stdout().lock();
                console.write_all(text.as_bytes())?;
                console.flush()?;
            }
            Some(Console::Error) => io::stderr().lock().write_all(text.as_bytes())?,
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// On Unix, whether whoever read an output has gone. Here a write tells it.
pub fn is_unread(_output: &impl AsOutput) -> bool {
    false
}
