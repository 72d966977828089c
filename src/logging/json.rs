//! A line of the log as a JSON object.

use std::fmt::{self, Write};

use log::Record;
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use crate::text::{is_safe, write_escaped, write_json_escape};

/// What each line begins with.
pub const JSON_START: &str = "{\"time\":\"";

const TIME: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");

/// Makes lines of JSON.
pub struct JsonLine;

impl JsonLine {
    /// The line of a record, with its end. `is_members`: its text is members of the object already.
    pub fn of(record: &Record<'_>, name: &str, is_members: bool, with_target: bool) -> String {
        let mut line = String::with_capacity(256);
        line.push_str(JSON_START);
        line.push_str(&OffsetDateTime::now_utc().format(TIME).unwrap_or_default());
        // Writing to a string cannot fail.
        let _ = write!(line, "\",\"level\":\"{}\",\"name\":{}", record.level(), JsonText(name));
        if with_target {
            let _ = write!(line, ",\"target\":{}", JsonText(record.target()));
        }
        let _ = match is_members {
            true => write!(line, ",{}", record.args()),
            false => write!(line, ",\"message\":{}", JsonText(record.args())),
        };
        line.push_str("}\n");
        line
    }
}

/// A text as a string of JSON. What could move a terminal's cursor or turn its text around is escaped, too.
pub struct JsonText<T>(pub T);

impl<T: fmt::Display> fmt::Display for JsonText<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        write!(Escaping(f), "{}", self.0)?;
        f.write_char('"')
    }
}

struct Escaping<'a, 'b>(&'a mut fmt::Formatter<'b>);

impl Write for Escaping<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let is_plain = |character| is_safe(character) && character != '"';
        write_escaped(self.0, text, is_plain, |out, character| match character {
            '"' => out.write_str("\\\""),
            '\\' => out.write_str("\\\\"),
            '\n' => out.write_str("\\n"),
            other => write_json_escape(out, other),
        })
    }
}
