//! The handler that prints each message as one line.

use std::borrow::Cow;
use std::io::{self, Write};

use super::ConsumerRecord;
use super::handler::{Failure, Handler};
use crate::error::{Error, Result, Stored};
use crate::message::Message;
use crate::text::escape_whole;

/// The line that a consumer prints when it has joined its group.
pub(super) const WAITING: &[u8] = b"Esperando mensajes...\n";

/// Prints each message as one line, with one write.
pub struct PrintHandler<W> {
    out: W,
}

impl PrintHandler<io::Stdout> {
    /// Prints on standard output.
    pub fn on_stdout() -> PrintHandler<io::Stdout> {
        PrintHandler::on(io::stdout())
    }
}

impl<W: Write> PrintHandler<W> {
    /// Prints to `out`, one line with each write.
    pub fn on(out: W) -> PrintHandler<W> {
        PrintHandler { out }
    }

    fn print(&mut self, line: &[u8]) -> io::Result<()> {
        self.out.write_all(line)?;
        self.out.flush()
    }

    fn print_message(&mut self, message: &ConsumerRecord<'_>, line: &str) -> Result<()> {
        self.print(line.as_bytes()).map_err(|error| broken("standard output", message, error))
    }
}

/// The result of printing [`WAITING`].
pub(super) fn waiting(printed: io::Result<()>) -> Result<()> {
    printed.map_err(|e| Error::new("standard output is broken").caused_by(e))
}

/// The error of a message whose line cannot be written to `output`.
pub(super) fn broken(output: &str, message: &ConsumerRecord<'_>, why: io::Error) -> Error {
    let error = Error::new(format!("{output} is broken, the message is not committed")).caused_by(why);
    error.at(message.topic, Some(message.partition), Some(message.offset)).stored(Stored::Yes)
}

impl<W: Write> Handler for PrintHandler<W> {
    fn joined(&mut self) -> Result<()> {
        waiting(self.print(WAITING))
    }

    /// Prints the message's JSON; what is none, which comes only where any payload is asked for, with its mark.
    fn handle(&mut self, message: &ConsumerRecord<'_>) -> Result<(), Failure> {
        let Ok(json) = Message::from_json(message.value.unwrap_or_default()) else {
            return self.not_json(message).map_err(Failure::Broken);
        };
        let line = format!("Mensaje recibido: {}\n", without_controls(&json.one_line()));
        self.print_message(message, &line).map_err(Failure::Broken)
    }

    /// Prints the value escaped, with a mark that it is not JSON. A null value is printed as an empty one.
    fn not_json(&mut self, message: &ConsumerRecord<'_>) -> Result<()> {
        let value = escape_whole(message.value.unwrap_or_default());
        self.print_message(message, &format!("Mensaje recibido (no es JSON): {value}\n"))
    }
}

/// The JSON with characters escaped that could be a terminal's command or a line's end; the value is the
/// same. RFC 8259 has C0 escaped already; DEL, C1 and the separators U+2028 and U+2029 may stand for
/// themselves, in strings alone.
fn without_controls(json: &str) -> Cow<'_, str> {
    let escapes = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    if !json.contains(escapes) {
        return Cow::Borrowed(json);
    }
    let mut safe = String::with_capacity(json.len() + 16);
    for character in json.chars() {
        if escapes(character) {
            safe.push_str(&format!("\\u{:04x}", u32::from(character)));
        } else {
            safe.push(character);
        }
    }
    Cow::Owned(safe)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Headers;

    fn received(value: &[u8]) -> ConsumerRecord<'_> {
        of(Some(value))
    }

    fn of(value: Option<&[u8]>) -> ConsumerRecord<'_> {
        let headers = Headers::default();
        let (topic, partition, offset, attempt) = ("t", 1, 2, 1);
        ConsumerRecord { topic, partition, offset, key: None, value, timestamp: None, headers, attempt }
    }

    #[test]
    fn each_message_is_one_line() {
        let mut printer = PrintHandler { out: Vec::new() };
        printer.joined().unwrap();
        printer.handle(&received(b"{\n  \"id\": 1,\n  \"contenido\": \"Hola desde Kafka\"\n}")).unwrap();
        printer.not_json(&received(b"\x1b[2J\nhola")).unwrap();
        printer.not_json(&received(b"")).unwrap();
        printer.not_json(&of(None)).unwrap();
        printer.handle(&received(b"hola")).unwrap();
        let lines = "Esperando mensajes...\n\
                     Mensaje recibido: {\"id\":1,\"contenido\":\"Hola desde Kafka\"}\n\
                     Mensaje recibido (no es JSON): \\u{1b}[2J\\nhola\n\
                     Mensaje recibido (no es JSON): \n\
                     Mensaje recibido (no es JSON): \n\
                     Mensaje recibido (no es JSON): hola\n";
        assert_eq!(String::from_utf8(printer.out).unwrap(), lines);
    }

    #[test]
    fn json_cannot_move_the_cursor_or_end_its_line() {
        let mut printer = PrintHandler { out: Vec::new() };
        let json = "[\"\u{7f}a\u{80}\u{9b}2J\u{9f}\u{a0}\u{2028}ñ\u{2029}\\u001b\"]";
        printer.handle(&received(json.as_bytes())).unwrap();
        let line = String::from_utf8(printer.out).unwrap();
        let shown = r#"["\u007fa\u0080\u009b2J\u009f_\u2028ñ\u2029\u001b"]"#.replace('_', "\u{a0}");
        assert_eq!(line, format!("Mensaje recibido: {shown}\n"));
        let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(value(&shown), value(json));
    }

    #[test]
    fn a_broken_pipe_fails_and_names_the_message() {
        struct Broken;
        impl Write for Broken {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let Err(Failure::Broken(error)) = PrintHandler { out: Broken }.handle(&received(b"1")) else {
            panic!("it must fail for good");
        };
        let error = error.to_string();
        assert!(error.contains("not committed (topic t, partition 1, offset 2)"), "{error}");
    }
}
