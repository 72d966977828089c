//! A password from the terminal, which does not show it, or from standard input.

use std::io::{self, BufRead, IsTerminal, Read, Stdin, Write};

use platform::terminal::{INTERRUPT, QuietTerminal};

use crate::error::{Error, Result};
use crate::users::MAX_PASSWORD_BYTES;

/// Reads a password: from a terminal, where it is asked for twice, or as the first line of standard input.
///
/// # Errors
/// There is none, the two differ, or the terminal fails.
pub fn read() -> Result<String> {
    let input = io::stdin();
    if !input.is_terminal() {
        return line(&mut input.lock());
    }
    let quiet = QuietTerminal::new(&input).map_err(unreadable)?;
    let first = ask(&input, "Password: ")?;
    let again = ask(&input, "The same again: ")?;
    drop(quiet);
    if first == again { Ok(first) } else { Err(Error::new("the two passwords differ")) }
}

fn ask(input: &Stdin, question: &str) -> Result<String> {
    let mut output = io::stderr();
    let _ = output.write_all(question.as_bytes());
    let answer = line(&mut input.lock());
    let _ = output.write_all(b"\n");
    answer
}

/// The next line, without its end.
fn line(input: &mut impl BufRead) -> Result<String> {
    let mut bytes = Vec::new();
    // One byte more than a password may have with its line end shows that it is too long.
    let most = MAX_PASSWORD_BYTES as u64 + 3;
    let mut input = input.take(most);
    loop {
        let mut byte = [0];
        match input.read(&mut byte).map_err(unreadable)? {
            0 => break,
            _ if byte == *b"\n" => break,
            _ if byte == [INTERRUPT] => return Err(Error::new("no password was given")),
            _ => bytes.extend(byte),
        }
    }
    if bytes.last() == Some(&b'\r') {
        bytes.pop();
    }
    if bytes.is_empty() {
        return Err(Error::new("standard input has no password").about_settings());
    }
    String::from_utf8(bytes).map_err(|_| Error::new("the password is no UTF-8").about_settings())
}

fn unreadable(error: impl Into<io::Error>) -> Error {
    Error::new("the password cannot be read").caused_by(error.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_is_the_password_without_its_end() {
        for text in ["clave ñ", "clave ñ\n", "clave ñ\r\n", "clave ñ\nmore\n"] {
            assert_eq!(line(&mut text.as_bytes()).unwrap(), "clave ñ", "{text:?}");
        }
        for bytes in [&b""[..], b"\n", b"\r\n", b"\xff\n", b"geheim\x03"] {
            let error = line(&mut &bytes[..]).unwrap_err().to_string();
            assert!(!error.contains("geheim"), "{error}");
        }
        let long = "x".repeat(1000);
        assert!(line(&mut long.as_bytes()).unwrap().len() > MAX_PASSWORD_BYTES, "too long to be taken");
    }
}
