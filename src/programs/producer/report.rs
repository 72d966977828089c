//! The producer's delivery reports: a line for each message, and the counts.

use std::fmt::{self, Display};
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use crate::producer::DeliveryReport;
use crate::text::{escape_whole, quote_whole};

/// The numbers of messages by outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Acknowledged.
    pub stored: u64,
    /// Certainly not stored.
    pub not_stored: u64,
    /// Of unknown fate.
    pub unknown: u64,
}

impl Counts {
    /// The number of messages that have their report.
    pub fn reported(&self) -> u64 {
        self.stored + self.failed()
    }

    /// The number of messages that were not delivered, as far as is known.
    pub fn failed(&self) -> u64 {
        self.not_stored + self.unknown
    }
}

impl Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts { stored, not_stored, unknown } = self;
        write!(f, "{stored} delivered, {not_stored} not stored, {unknown} of unknown fate")
    }
}

/// Prints the reports and counts them.
pub struct Report<W: Write> {
    out: BufWriter<W>,
    topic: String,
    files: Vec<PathBuf>,
    counts: Counts,
    broken: Option<io::Error>,
}

/// Where a message came from: `line=7`, or `file="orders/7.json"`.
struct Origin {
    number: u64,
    file: Option<PathBuf>,
}

impl Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(file) => write!(f, "file={}", quote_whole(file.as_os_str().as_encoded_bytes())),
            None => write!(f, "line={}", self.number),
        }
    }
}

impl<W: Write> Report<W> {
    /// Reports to `out` on messages for `topic`, which are lines, or these files, the first of which is
    /// number 1.
    pub fn new(out: W, topic: &str, files: Vec<PathBuf>) -> Report<W> {
        let (out, topic, counts) = (BufWriter::new(out), topic.to_owned(), Counts::default());
        Report { out, topic, files, counts, broken: None }
    }

    /// Whether the messages are files.
    pub fn is_of_files(&self) -> bool {
        !self.files.is_empty()
    }

    fn origin(&self, number: u64) -> Origin {
        let index = usize::try_from(number).unwrap_or(usize::MAX).wrapping_sub(1);
        Origin { number, file: self.files.get(index).cloned() }
    }

    /// The counts so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Reports the delivery of a message.
    pub fn delivery(&mut self, number: u64, delivery: &DeliveryReport) {
        match delivery {
            DeliveryReport::Stored { topic, partition, offset } => {
                self.counts.stored += 1;
                let origin = self.origin(number);
                self.print(format_args!(
                    "Mensaje enviado: {origin} topic={topic} partition={partition} offset={offset}"
                ));
            }
            DeliveryReport::NotStored { reason, .. } => self.refused(number, reason),
            DeliveryReport::Unknown { reason } => {
                self.counts.unknown += 1;
                self.error(number, "unknown", reason);
            }
        }
    }

    /// Reports a message that cannot be sent.
    pub fn refused(&mut self, number: u64, reason: &str) {
        self.counts.not_stored += 1;
        self.error(number, "no", reason);
    }

    fn error(&mut self, number: u64, stored: &str, reason: &str) {
        let (origin, topic) = (self.origin(number), self.topic.clone());
        let reason = escape_whole(reason.as_bytes());
        self.print(format_args!("error: {origin} topic={topic} stored={stored}: {reason}"));
    }

    fn print(&mut self, line: fmt::Arguments<'_>) {
        if self.broken.is_none() {
            self.broken = writeln!(self.out, "{line}").err();
        }
    }

    /// Flushes the output.
    pub fn flush(&mut self) {
        if self.broken.is_none() {
            self.broken = self.out.flush().err();
        }
    }

    /// Whether a write failed.
    pub fn is_broken(&self) -> bool {
        self.broken.is_some()
    }

    /// The error of the write that failed.
    pub fn into_broken(self) -> Option<io::Error> {
        // The buffer is dropped: it cannot be written.
        let _ = self.out.into_parts();
        self.broken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::producer::NotStoredKind;

    #[test]
    fn each_message_has_its_line_and_its_count() {
        let mut printed = Vec::new();
        let mut report = Report::new(&mut printed, "t", Vec::new());
        report.delivery(1, &DeliveryReport::Stored { topic: "t".into(), partition: 2, offset: 41 });
        report.delivery(
            2,
            &DeliveryReport::NotStored {
                kind: NotStoredKind::Refused,
                reason: "no\nbroker".to_owned(),
                retry: true,
            },
        );
        report.delivery(3, &DeliveryReport::Unknown { reason: "no answer".to_owned() });
        report.refused(4, "not JSON");
        report.flush();
        assert_eq!(report.counts().reported(), 4);
        assert_eq!(report.counts().to_string(), "1 delivered, 2 not stored, 1 of unknown fate");
        assert!(report.into_broken().is_none());
        let lines = "Mensaje enviado: line=1 topic=t partition=2 offset=41\n\
                     error: line=2 topic=t stored=no: no\\nbroker\n\
                     error: line=3 topic=t stored=unknown: no answer\n\
                     error: line=4 topic=t stored=no: not JSON\n";
        assert_eq!(String::from_utf8(printed).unwrap(), lines);
    }

    #[test]
    fn files_are_named_whole() {
        let mut printed = Vec::new();
        let long = "folder/".repeat(200) + "\u{1b}\n";
        let files = vec!["a.json".into(), "b \"c\".json".into(), long.into()];
        let mut report = Report::new(&mut printed, "t", files);
        report.delivery(2, &DeliveryReport::Stored { topic: "t".into(), partition: 0, offset: 1 });
        report.refused(1, "not JSON");
        report.refused(3, "not JSON");
        report.flush();
        assert!(report.into_broken().is_none());
        let shown = "folder/".repeat(200);
        let lines = "Mensaje enviado: file=\"b \\\"c\\\".json\" topic=t partition=0 offset=1\n\
                     error: file=\"a.json\" topic=t stored=no: not JSON\n";
        let lines = format!("{lines}error: file=\"{shown}\\u{{1b}}\\n\" topic=t stored=no: not JSON\n");
        assert_eq!(String::from_utf8(printed).unwrap(), lines);
    }
}
