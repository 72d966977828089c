//! A terminal that does not show what is typed.

use std::io::{self, Stdin};

use nix::sys::termios::{self, LocalFlags, SetArg, SpecialCharacterIndices, Termios};

/// Ctrl-C. While the terminal is quiet it ends the line, so that the terminal gets its echo back.
pub const INTERRUPT: u8 = 3;

/// A terminal without echo, as long as this lives.
pub struct QuietTerminal<'a> {
    terminal: &'a Stdin,
    before: Termios,
}

impl<'a> QuietTerminal<'a> {
    /// Makes the terminal quiet.
    ///
    /// # Errors
    /// The system's.
    pub fn new(terminal: &'a Stdin) -> io::Result<QuietTerminal<'a>> {
        let before = termios::tcgetattr(terminal)?;
        let mut quiet = before.clone();
        quiet.local_flags.remove(LocalFlags::ECHO | LocalFlags::ISIG);
        if let Some(end) = quiet.control_chars.get_mut(SpecialCharacterIndices::VEOL as usize) {
            *end = INTERRUPT;
        }
        termios::tcsetattr(terminal, SetArg::TCSAFLUSH, &quiet)?;
        Ok(QuietTerminal { terminal, before })
    }
}

impl Drop for QuietTerminal<'_> {
    fn drop(&mut self) {
        let _ = termios::tcsetattr(self.terminal, SetArg::TCSANOW, &self.before);
    }
}
