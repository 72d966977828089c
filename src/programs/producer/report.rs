//! The producer's delivery reports: a line for each message, and the counts.

use std::fmt::{self, Display};
use std::io::{self, BufWriter, Write};

use crate::producer::DeliveryReport;
use crate::text::escape_whole;

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
        self.stored + self.not_stored + self.unknown
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
    counts: Counts,
    broken: Option<io::Error>,
}

impl<W: Write> Report<W> {
    /// Reports to `out` on messages for `topic`.
    pub fn new(out: W, topic: &str) -> Report<W> {
        Report { out: BufWriter::new(out), topic: topic.to_owned(), counts: Counts::default(), broken: None }
    }

    /// The counts so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Reports the delivery of a line.
    pub fn delivery(&mut self, line: u64, delivery: &DeliveryReport) {
        match delivery {
            DeliveryReport::Stored { topic, partition, offset } => {
                self.counts.stored += 1;
                self.print(format_args!(
                    "Mensaje enviado: line={line} topic={topic} partition={partition} offset={offset}"
                ));
            }
            DeliveryReport::NotStored { reason, .. } => self.refused(line, reason),
            DeliveryReport::Unknown { reason } => {
                self.counts.unknown += 1;
                self.error(line, "unknown", reason);
            }
        }
    }

    /// Reports a line that cannot be sent.
    pub fn refused(&mut self, line: u64, reason: &str) {
        self.counts.not_stored += 1;
        self.error(line, "no", reason);
    }

    fn error(&mut self, line: u64, stored: &str, reason: &str) {
        let (topic, reason) = (self.topic.clone(), escape_whole(reason.as_bytes()));
        self.print(format_args!("error: line={line} topic={topic} stored={stored}: {reason}"));
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
        let mut report = Report::new(&mut printed, "t");
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
}
