//! The line of progress at the bottom of a terminal, and how fast messages are delivered.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use net::sync::{Mutex, lock};

/// Goes to the line's beginning and clears it.
const CLEAR: &[u8] = b"\r\x1b[K";

/// The line of progress; a clone is the same line. What else goes to the terminal has to go through
/// [`Progress::above`].
#[derive(Clone)]
pub struct Progress {
    line: Arc<Mutex<Line>>,
}

struct Line {
    terminal: Box<dyn Write + Send>,
    /// What is shown; empty: nothing.
    text: String,
}

impl Progress {
    /// The line where standard error is a terminal that can clear a line.
    pub fn on_terminal() -> Option<Progress> {
        let dumb = std::env::var_os("TERM").is_none_or(|terminal| terminal == "dumb");
        (io::stderr().is_terminal() && !dumb).then(|| Progress::on(Box::new(io::stderr())))
    }

    fn on(terminal: Box<dyn Write + Send>) -> Progress {
        Progress { line: Arc::new(Mutex::new(Line { terminal, text: String::new() })) }
    }

    /// Shows this text instead of the one before.
    pub fn show(&self, text: String) {
        let mut line = lock(&self.line);
        line.text = text;
        line.draw();
    }

    /// Clears the line.
    pub fn end(&self) {
        let mut line = lock(&self.line);
        line.clear();
        line.text.clear();
    }

    /// An output whose lines stand above the line.
    pub fn above<W: Write>(&self, out: W) -> Above<W> {
        Above { line: self.line.clone(), out }
    }
}

/// A terminal that fails to show progress costs nothing else.
impl Line {
    fn draw(&mut self) {
        if !self.text.is_empty() {
            let _ = self.terminal.write_all(&[CLEAR, self.text.as_bytes()].concat());
            let _ = self.terminal.flush();
        }
    }

    fn clear(&mut self) {
        if !self.text.is_empty() {
            let _ = self.terminal.write_all(CLEAR);
            let _ = self.terminal.flush();
        }
    }
}

/// See [`Progress::above`].
pub struct Above<W> {
    line: Arc<Mutex<Line>>,
    out: W,
}

impl<W: Write> Write for Above<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut line = lock(&self.line);
        line.clear();
        let written = self.out.write(bytes)?;
        // Behind the beginning of a line it would stand in its middle.
        if bytes.get(..written).is_some_and(|bytes| bytes.ends_with(b"\n")) {
            self.out.flush()?;
            line.draw();
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// How fast messages are delivered.
pub struct Speed {
    /// When the first message was read, and the last one delivered.
    began: Option<Instant>,
    last: Option<Instant>,
    /// When the recent rate was measured, the messages delivered by then, and the rate.
    recent: (Instant, u64, u64),
}

/// The time over which the recent rate is measured.
const RECENT: Duration = Duration::from_secs(1);

impl Speed {
    /// Of a run that begins.
    pub fn new() -> Speed {
        Speed { began: None, last: None, recent: (Instant::now(), 0, 0) }
    }

    /// A message was read.
    pub fn read(&mut self) {
        self.began.get_or_insert_with(Instant::now);
    }

    /// A message was delivered.
    pub fn delivered(&mut self) {
        self.last = Some(Instant::now());
    }

    /// The messages a second of the last second or so.
    pub fn recent(&mut self, delivered: u64) -> u64 {
        let (since, before, rate) = self.recent;
        let time = since.elapsed();
        if time < RECENT {
            // In the first second there is none yet but that so far.
            return if before == 0 { per_second(delivered, time) } else { rate };
        }
        let rate = per_second(delivered.saturating_sub(before), time);
        self.recent = (Instant::now(), delivered, rate);
        rate
    }

    /// The messages a second from the first that was read to the last delivery.
    pub fn overall(&self, delivered: u64) -> u64 {
        let time = self.began.zip(self.last).map(|(began, last)| last - began);
        time.map_or(0, |time| per_second(delivered, time))
    }
}

fn per_second(messages: u64, time: Duration) -> u64 {
    let milliseconds = time.as_millis().max(1);
    u64::try_from(u128::from(messages) * 1_000 / milliseconds).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use testing::Kept;

    use super::*;

    #[test]
    fn other_lines_stand_above_the_line_of_progress() {
        let screen = Kept::default();
        let progress = Progress::on(Box::new(screen.clone()));
        let mut above = progress.above(screen.clone());
        writeln!(above, "first").unwrap();
        assert_eq!(screen.take_text(), "first\n", "nothing is shown yet");
        progress.show("1 sent".to_owned());
        assert_eq!(screen.take_text(), "\r\x1b[K1 sent");
        above.write_all(b"second\n").unwrap();
        assert_eq!(screen.take_text(), "\r\x1b[Ksecond\n\r\x1b[K1 sent");
        above.write_all(b"the beg").unwrap();
        assert_eq!(screen.take_text(), "\r\x1b[Kthe beg", "and not in the middle of a line");
        progress.end();
        screen.take_text();
        above.write_all(b"last\n").unwrap();
        assert_eq!(screen.take_text(), "last\n");
    }

    #[test]
    fn a_rate_is_messages_by_time() {
        assert_eq!(per_second(500, Duration::from_millis(250)), 2_000);
        assert_eq!(per_second(3, Duration::ZERO), 3_000, "a millisecond at least");
        let mut speed = Speed::new();
        assert_eq!(speed.overall(0), 0);
        let now = Instant::now();
        (speed.began, speed.last) = (now.checked_sub(Duration::from_secs(4)), Some(now));
        assert_eq!(speed.overall(400), 100);
        speed.recent = (now.checked_sub(Duration::from_secs(2)).unwrap(), 100, 7);
        assert!((90..=100).contains(&speed.recent(300)));
        assert!((90..=100).contains(&speed.recent(999)), "until another second went by");
    }
}
