//! The handler of `consumer1` and `consumer2`: each message becomes one line.

use std::borrow::Cow;
use std::io::{self, Write};

use super::puller::Received;
use super::receiver::Handler;
use crate::error::{Error, Result, Stored};
use crate::logging::{Value, escaped_whole};
use crate::message::Message;

/// Prints messages, a line each, and each line at once.
pub struct Printer<W> {
    out: W,
}

impl Printer<io::Stdout> {
    /// Prints on standard output.
    pub fn on_stdout() -> Printer<io::Stdout> {
        Printer { out: io::stdout() }
    }
}

impl<W: Write> Printer<W> {
    fn print(&mut self, line: &str) -> io::Result<()> {
        self.out.write_all(line.as_bytes())?;
        self.out.flush()
    }
}

impl<W: Write> Handler for Printer<W> {
    fn joined(&mut self) -> Result<()> {
        self.print("Esperando mensajes...\n")
            .map_err(|e| Error::new("standard output is broken").caused_by(e))
    }

    /// Prints the message's JSON. What is no JSON is logged as an error and printed escaped, marked as such; a null
    /// value is printed as an empty one.
    fn handle(&mut self, message: &Received<'_>) -> Result<()> {
        let Received { topic, partition, offset, value, .. } = *message;
        let bytes = value.unwrap_or_default();
        let line = match Message::from_json(bytes) {
            Ok(json) => format!("Mensaje recibido: {}\n", without_controls(&json.one_line())),
            Err(error) => {
                let shown = Value(value);
                log::error!("{error}: topic={topic} partition={partition} offset={offset} value={shown}");
                format!("Mensaje recibido (no es JSON): {}\n", escaped_whole(bytes))
            }
        };
        self.print(&line).map_err(|e| {
            let error = Error::new("standard output is broken, the message is not committed").caused_by(e);
            error.at(topic, Some(partition), Some(offset)).stored(Stored::Yes)
        })
    }
}

/// JSON in which what a terminal could take for a command or a line's end is escaped; the value is the same.
/// RFC 8259 has C0 escaped already; DEL, C1 and the separators U+2028 and U+2029 may stand for themselves, in
/// strings alone.
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
    use crate::channel::puller::Headers;

    fn received(value: &[u8]) -> Received<'_> {
        of(Some(value))
    }

    fn of(value: Option<&[u8]>) -> Received<'_> {
        let headers = Headers::default();
        Received { topic: "t", partition: 1, offset: 2, key: None, value, timestamp: None, headers }
    }

    #[test]
    fn each_message_is_one_line() {
        let mut printer = Printer { out: Vec::new() };
        printer.joined().unwrap();
        printer.handle(&received(b"{\n  \"id\": 1,\n  \"contenido\": \"Hola desde Kafka\"\n}")).unwrap();
        printer.handle(&received(b"\x1b[2J\nhola")).unwrap();
        printer.handle(&received(b"")).unwrap();
        printer.handle(&of(None)).unwrap();
        let lines = "Esperando mensajes...\n\
                     Mensaje recibido: {\"id\":1,\"contenido\":\"Hola desde Kafka\"}\n\
                     Mensaje recibido (no es JSON): \\u{1b}[2J\\nhola\n\
                     Mensaje recibido (no es JSON): \n\
                     Mensaje recibido (no es JSON): \n";
        assert_eq!(String::from_utf8(printer.out).unwrap(), lines);
    }

    #[test]
    fn json_cannot_move_the_cursor_or_end_its_line() {
        let mut printer = Printer { out: Vec::new() };
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
        let error = Printer { out: Broken }.handle(&received(b"1")).unwrap_err().to_string();
        assert!(error.contains("not committed (topic t, partition 1, offset 2)"), "{error}");
    }
}
