//! What a look shows of a message: a row of a table, all of it, or JSON.

use std::borrow::Cow;
use std::io::{self, Write};

use crate::dead_letters::headers::as_number;
use crate::programs::table::{Table, none, time};
use crate::record_json;
use crate::text::{SHOWN_BYTES, escape_beginning, quote_beginning, safe_json};
use protocol::records::{Headers, Record};

/// The rows that are aligned and printed together.
const ROWS: usize = 100;
/// The bytes that a row shows of a key, a header's name and a header's value.
const SHOWN_OF_KEY: usize = 60;
/// No further header is shown in a row after so many bytes.
const SHOWN_OF_HEADERS: usize = 120;
/// Lines are gathered up to so many bytes.
const GATHERED: usize = 64 * 1024;

const TITLES: [&str; 6] = ["PARTITION", "OFFSET", "TIME", "KEY", "HEADERS", "VALUE"];

/// How messages are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A row of a table each, long texts cut.
    Rows,
    /// A line each, with everything.
    Whole,
    /// A JSON object each.
    Json,
}

impl Shape {
    /// What is shown of a record.
    pub fn show(self, topic: &str, partition: i32, record: &Record<'_>) -> Shown {
        match self {
            Shape::Rows => {
                let limits = Limits { key: SHOWN_OF_KEY, headers: SHOWN_OF_HEADERS, value: SHOWN_BYTES };
                Shown::Row(cells(partition, record, &limits))
            }
            Shape::Whole => {
                let limits = Limits { key: usize::MAX, headers: usize::MAX, value: usize::MAX };
                Shown::Line(cells(partition, record, &limits).join("  ").into_bytes())
            }
            Shape::Json => {
                let mut line = Vec::new();
                record_json::write_stored(&mut line, topic, partition, record);
                Shown::Line(match str::from_utf8(&line).map(safe_json) {
                    Ok(Cow::Owned(safe)) => safe.into_bytes(),
                    _ => line,
                })
            }
        }
    }
}

/// What is shown of one message.
#[derive(Debug, PartialEq, Eq)]
pub enum Shown {
    /// The cells of a row.
    Row(Vec<String>),
    /// A line without its end.
    Line(Vec<u8>),
}

impl Shown {
    /// The bytes that it takes, about.
    pub fn bytes(&self) -> usize {
        match self {
            Shown::Row(cells) => cells.iter().map(|cell| size_of::<String>() + cell.len()).sum(),
            Shown::Line(line) => line.len(),
        }
    }
}

/// The bytes that are shown.
struct Limits {
    key: usize,
    headers: usize,
    value: usize,
}

fn cells(partition: i32, record: &Record<'_>, limits: &Limits) -> Vec<String> {
    vec![
        partition.to_string(),
        record.offset.to_string(),
        time(record.content().timestamp),
        record.key.map_or_else(none, |key| quote_beginning(key, limits.key)),
        headers(record.headers, limits),
        record.value.map_or_else(none, |value| escape_beginning(value, limits.value).to_string()),
    ]
}

/// The headers in their order, `a="b" c=null`. The binary numbers of Spring's dead letters are numbers.
fn headers(headers: Headers<'_>, limits: &Limits) -> String {
    if headers.is_empty() {
        return none();
    }
    let mut text = String::new();
    for (index, (name, value)) in headers.iter().enumerate() {
        if text.len() >= limits.headers {
            return format!("{text} … ({} headers)", headers.len());
        }
        if index > 0 {
            text.push(' ');
        }
        text += &escape_beginning(name.as_bytes(), limits.key).to_string();
        text.push('=');
        text += &match value {
            None => "null".to_owned(),
            Some(value) => match as_number(&name, value) {
                Some(number) => number.into_owned(),
                None => quote_beginning(value, limits.key),
            },
        };
    }
    text
}

/// Prints what is shown, and counts it.
pub struct Printer<W> {
    out: W,
    shape: Shape,
    table: Table,
    rows: Vec<Vec<String>>,
    gathered: Vec<u8>,
    /// How many are still to be printed.
    left: u64,
    /// Whether any was.
    any: bool,
}

impl<W: Write> Printer<W> {
    /// A printer of `most` messages.
    pub fn new(out: W, shape: Shape, most: u64) -> Printer<W> {
        let (table, rows, gathered) = (Table::default(), Vec::new(), Vec::new());
        Printer { out, shape, table, rows, gathered, left: most, any: false }
    }

    /// Whether all that were wanted are printed.
    pub fn is_done(&self) -> bool {
        self.left == 0
    }

    /// Whether nothing was printed.
    pub fn is_empty(&self) -> bool {
        !self.any
    }

    /// Prints a message, now or with those that come next; nothing after the last that is wanted.
    ///
    /// # Errors
    /// The output fails.
    pub fn print(&mut self, shown: Shown) -> io::Result<()> {
        if self.is_done() {
            return Ok(());
        }
        if !self.any && self.shape != Shape::Json {
            match self.shape {
                Shape::Rows => self.rows.push(TITLES.map(str::to_owned).to_vec()),
                _ => self.gathered.extend_from_slice(format!("{}\n", TITLES.join("  ")).as_bytes()),
            }
        }
        self.any = true;
        self.left -= 1;
        match shown {
            Shown::Row(cells) => self.rows.push(cells),
            Shown::Line(line) => {
                self.gathered.extend_from_slice(&line);
                self.gathered.push(b'\n');
            }
        }
        if self.rows.len() >= ROWS || self.gathered.len() >= GATHERED { self.flush() } else { Ok(()) }
    }

    /// Prints what was gathered.
    ///
    /// # Errors
    /// The output fails.
    pub fn flush(&mut self) -> io::Result<()> {
        if !self.rows.is_empty() {
            self.gathered.extend_from_slice(self.table.text(&std::mem::take(&mut self.rows)).as_bytes());
        }
        // A long line is not kept room for.
        let gathered = std::mem::take(&mut self.gathered);
        self.out.write_all(&gathered)?;
        self.out.flush()
    }

    /// Prints a line that is no message.
    ///
    /// # Errors
    /// The output fails.
    pub fn say(&mut self, line: &str) -> io::Result<()> {
        self.gathered.extend_from_slice(line.as_bytes());
        self.gathered.push(b'\n');
        self.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::records::OwnHeaders;

    fn printed(shape: Shape, most: u64, records: &[Record<'_>]) -> String {
        let mut out = Vec::new();
        let mut printer = Printer::new(&mut out, shape, most);
        for record in records {
            printer.print(shape.show("pedidos", 2, record)).unwrap();
        }
        printer.flush().unwrap();
        String::from_utf8(out).unwrap()
    }

    fn record<'a>(offset: i64, key: Option<&'a [u8]>, value: Option<&'a [u8]>) -> Record<'a> {
        Record { offset, timestamp: 1_000, key, value, headers: Headers::default() }
    }

    #[test]
    fn a_message_is_a_row_in_which_nothing_can_move_the_cursor() {
        let own = OwnHeaders::new([
            ("a", Some(&b"b\n"[..])),
            ("c", None),
            ("kafka_dlt-original-partition", Some(&[0, 0, 0, 2])),
        ]);
        let records = [
            Record { headers: own.borrowed(), ..record(7, Some(b"k\""), Some(b"{\"a\":1}\x1b\xff")) },
            Record { timestamp: -1, ..record(1_042, None, None) },
        ];
        let headers = "a=\"b\\n\" c=null kafka_dlt-original-partition=2";
        let time = "1970-01-01T00:00:01.000Z";
        let expected = [
            format!("PARTITION  OFFSET  {:24}  KEY    {:45}  VALUE\n", "TIME", "HEADERS"),
            format!("2          7       {time}  \"k\\\"\"  {headers}  {{\"a\":1}}\\u{{1b}}\\xff\n"),
            format!("2          1042    {:24}  -      {:45}  -\n", "-", "-"),
        ];
        assert_eq!(printed(Shape::Rows, 9, &records), expected.concat());
    }

    #[test]
    fn long_texts_are_cut_unless_all_is_wanted() {
        let (key, value) = ("k".repeat(61), "v".repeat(513));
        let long = record(0, Some(key.as_bytes()), Some(value.as_bytes()));
        let row = printed(Shape::Rows, 1, &[long]);
        assert!(row.contains(&format!("\"{}… (61 bytes)\"", "k".repeat(60))), "{row}");
        assert!(row.ends_with(&format!("  {}… (513 bytes)\n", "v".repeat(512))), "{row}");
        let whole = printed(Shape::Whole, 1, &[long]);
        assert!(whole.ends_with(&format!("  \"{key}\"  -  {value}\n")), "{whole}");
    }

    #[test]
    fn of_many_headers_a_row_shows_the_first_and_tells_how_many_there_are() {
        let many = OwnHeaders::new((0..50).map(|_| ("name", Some(&b"value"[..]))));
        let record = Record { headers: many.borrowed(), ..record(0, None, None) };
        let row = printed(Shape::Rows, 1, &[record]);
        assert!(row.contains(" … (50 headers)") && row.matches("name=").count() == 10, "{row}");
        assert_eq!(printed(Shape::Whole, 1, &[record]).matches("name=").count(), 50);
    }

    #[test]
    fn json_has_a_line_each_and_no_title() {
        let records = [record(0, Some(b"k"), Some(b"1")), record(1, None, Some(b"hola"))];
        let lines = printed(Shape::Json, 9, &records);
        assert_eq!(lines.lines().count(), 2);
        assert!(lines.lines().all(|line| line.starts_with("{\"topic\":\"pedidos\",\"partition\":2,")));
    }

    #[test]
    fn no_more_is_printed_than_is_wanted() {
        let records: Vec<_> = (0..250).map(|offset| record(offset, None, None)).collect();
        assert_eq!(printed(Shape::Rows, 201, &records).lines().count(), 202);
        assert_eq!(printed(Shape::Json, 3, &records).lines().count(), 3);
    }
}
