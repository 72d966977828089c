//! A console that does not show what is typed.

use std::io::{self, Stdin};

use winapi_util::{HandleRef, console};

/// Ctrl-C, where it is typed as a character. A console ends the program at it, and whoever reads the console
/// next sets its mode.
pub const INTERRUPT: u8 = 3;

/// `ENABLE_ECHO_INPUT` of a console's mode.
const ECHO: u32 = 4;

/// A console without echo, as long as this lives.
pub struct QuietTerminal<'a> {
    _terminal: &'a Stdin,
    before: u32,
}

impl<'a> QuietTerminal<'a> {
    /// Makes the console quiet.
    ///
    /// # Errors
    /// The system's. Standard input is no console, but a terminal of another kind (MSYS2, Cygwin).
    pub fn new(terminal: &'a Stdin) -> io::Result<QuietTerminal<'a>> {
        let no_console = |error: io::Error| {
            let why = format!(
                "this terminal is no Windows console ({error}): use one, or send the password to standard \
                 input"
            );
            io::Error::new(error.kind(), why)
        };
        let before = console::mode(HandleRef::stdin()).map_err(no_console)?;
        console::set_mode(HandleRef::stdin(), before & !ECHO)?;
        Ok(QuietTerminal { _terminal: terminal, before })
    }
}

impl Drop for QuietTerminal<'_> {
    fn drop(&mut self) {
        let _ = console::set_mode(HandleRef::stdin(), self.before);
    }
}
