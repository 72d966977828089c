//! Sends lines to the topic, at least once, and reports what became of each.

mod input;
mod report;

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use super::base::Footing;
use crate::channel::lines::Line;
use crate::channel::outbox::{Outbox, Settled};
use crate::channel::running::BUSY_GRACE;
use crate::channel::sender::{Delivery, Sender};
use crate::cli::{Given, Program, ProgramOption};
use crate::config::Settings;
use crate::error::{Error, Result};
use crate::message::Message;
use crate::stop::Stop;
use input::{Room, Source};
use report::Report;

/// `producer`.
pub const PROGRAM: Program = Program {
    name: "producer",
    about: "Sends messages to the topic, one JSON a line, and reports each delivery",
    options: &[ProgramOption::Input],
    subcommands: &[],
    run,
};

/// How often it is looked what is due.
const TICK: Duration = Duration::from_millis(100);
/// Reports that are printed in one go.
const BURST: usize = 1000;
/// Without a delivery for so long it is said that messages wait, ...
const QUIET: Duration = Duration::from_secs(2);
/// ... and again each so long; and how far things are as often.
const SAID_EACH: Duration = Duration::from_secs(5);

/// What there is to do.
enum Event {
    /// A line was read.
    Line(Line),
    /// The input has ended, or cannot be read further.
    End(Option<io::Error>),
    /// What became of a try to send a line.
    Tried(u64, Delivery),
}

fn run(given: &Given) -> Result<()> {
    let source = Source::find(given)?;
    let stop = given.begin()?;
    let footing = Footing::find(given, &stop)?;
    let sender =
        Sender::start(&given.settings, &given.settings.kafka.topic, footing.endpoint(), PROGRAM.name);
    let outcome = sender.and_then(|sender| send(&given.settings, source, sender, stop));
    footing.stop();
    outcome
}

fn send(settings: &Settings, source: Source, sender: Sender, stop: Stop) -> Result<()> {
    let (tell, events) = mpsc::channel();
    let (room, told) = (Room::new(&settings.producer_api), tell.clone());
    let timeout = settings.kafka.delivery_timeout();
    let mut sending = Sending {
        // The main thread listens for as long as anything is open.
        outbox: Outbox::new(
            sender,
            timeout,
            Arc::new(move |line, tried| _ = told.send(Event::Tried(line, tried))),
        ),
        report: Report::new(io::stdout(), &settings.kafka.topic),
        room: room.clone(),
        stop: stop.clone(),
        timeout,
        read: 0,
        last_line: 0,
        ended: None,
        give_up_at: None,
        quiet_since: Instant::now(),
        said_quiet: None,
        said_progress: (Instant::now(), 0),
    };
    let started = source.start(room, stop, tell);
    if started.is_ok() {
        sending.work(&events);
    }
    sending.close(&events);
    started.and_then(|()| sending.verdict())
}

/// A run of the producer.
struct Sending {
    outbox: Outbox,
    report: Report<io::Stdout>,
    room: Arc<Room>,
    stop: Stop,
    timeout: Duration,
    /// Messages read, and the line of the last.
    read: u64,
    last_line: u64,
    /// How the input ended.
    ended: Option<Option<io::Error>>,
    /// Asked to stop: what is open by then is given up.
    give_up_at: Option<Instant>,
    /// Since when messages wait and none is delivered, and when that was said.
    quiet_since: Instant,
    said_quiet: Option<Instant>,
    /// When it was said how far things are, and the messages reported by then.
    said_progress: (Instant, u64),
}

impl Sending {
    /// Until every message has its report, or there is no more time for that.
    fn work(&mut self, events: &Receiver<Event>) {
        loop {
            if let Ok(event) = events.recv_timeout(TICK) {
                self.take(event);
                events.try_iter().take(BURST).for_each(|event| self.take(event));
            }
            self.report.flush();
            self.outbox.send_again();
            self.say_what_goes_on();
            if self.report.is_broken() {
                self.stop.ask();
            }
            if self.stop.is_asked() && self.give_up_at.is_none() {
                let open = self.outbox.open();
                if open > 0 {
                    log::info!("waiting up to {} s for {open} messages on their way", BUSY_GRACE.as_secs());
                }
                self.give_up_at = Some(Instant::now() + BUSY_GRACE);
            }
            let reads_no_more = self.ended.is_some() || self.give_up_at.is_some();
            let late = self.give_up_at.is_some_and(|at| Instant::now() >= at);
            if reads_no_more && self.outbox.open() == 0 || late {
                return;
            }
        }
    }

    /// Gives up what is still open.
    fn close(&mut self, events: &Receiver<Event>) {
        let now = Instant::now();
        self.give_up_at.get_or_insert(now);
        self.outbox.close(now);
        events.try_iter().for_each(|event| self.take(event));
        for (line, settled) in self.outbox.leave() {
            self.settled(line, &settled);
        }
        self.report.flush();
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Tried(line, delivery) => {
                if let Some(settled) = self.outbox.settle(line, delivery) {
                    self.settled(line, &settled);
                }
            }
            // What was read after the wish to stop was never taken up.
            Event::Line(_) | Event::End(_) if self.give_up_at.is_some() => {}
            Event::Line(line) => self.send(line),
            Event::End(how) => self.ended = Some(how),
        }
    }

    fn send(&mut self, Line { number, text }: Line) {
        (self.read, self.last_line) = (self.read + 1, number);
        let Some(text) = text else {
            self.report.refused(number, "the line is longer than a message may be");
            return self.room.free(0);
        };
        let bytes = text.len();
        match Message::from_json(text) {
            Ok(message) => self.outbox.send(number, message.into()),
            Err(error) => {
                self.report.refused(number, &error.to_string());
                self.room.free(bytes);
            }
        }
    }

    fn settled(&mut self, line: u64, settled: &Settled) {
        self.report.delivery(line, &settled.delivery);
        self.room.free(settled.value.len());
        if matches!(settled.delivery, Delivery::Stored { .. }) {
            if self.said_quiet.take().is_some() {
                log::info!("messages are delivered again after {} s", self.quiet_since.elapsed().as_secs());
            }
            self.quiet_since = Instant::now();
        }
    }

    fn say_what_goes_on(&mut self) {
        let (now, open, counts) = (Instant::now(), self.outbox.open(), self.report.counts());
        if open == 0 {
            (self.quiet_since, self.said_quiet) = (now, None);
        }
        let quiet = now - self.quiet_since;
        if quiet >= QUIET && self.said_quiet.is_none_or(|at| now - at >= SAID_EACH) {
            self.said_quiet = Some(now);
            let (quiet, tried) = (quiet.as_secs(), self.timeout.as_secs_f32());
            log::warn!(
                "nothing was delivered for {quiet} s: {open} messages wait, each is tried for {tried} s; {counts}"
            );
        }
        let (said, reported) = self.said_progress;
        if now - said >= SAID_EACH && reported < counts.reported() {
            self.said_progress = (now, counts.reported());
            log::info!("{} messages read: {counts}, {open} on their way", self.read);
        }
    }

    fn verdict(self) -> Result<()> {
        let (read, counts, last) = (self.read, self.report.counts(), self.last_line);
        let all = format!("{read} messages read, up to line {last}: {counts}");
        if let Some(error) = self.report.into_broken() {
            return Err(Error::new(format!("{all}; standard output is broken")).caused_by(error));
        }
        match self.ended {
            None => Err(Error::new(format!("stopped before the end of the input; {all}"))),
            Some(Some(error)) => {
                Err(Error::new(format!("{all}; the input cannot be read further")).caused_by(error))
            }
            Some(None) if counts.stored < read => Err(Error::new(format!("not all were delivered; {all}"))),
            Some(None) => {
                log::info!("all were delivered; {all}");
                Ok(())
            }
        }
    }
}
