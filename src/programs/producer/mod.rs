//! The producer program: it sends lines to the topic, at least once, and reports each delivery.

mod input;
mod report;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use super::adapter_access::AdapterAccess;
use crate::cli::{Invocation, Program, SettingsOptions};
use crate::config::Settings;
use crate::consumer::BUSY_GRACE;
use crate::error::{Error, Result};
use crate::lines::Line;
use crate::message::Message;
use crate::producer::retrying_producer::{Completed, RetryingProducer};
use crate::producer::{DeliveryReport, Producer};
use clap::{Args, value_parser};
use input::{ReadAhead, Source};
use net::stop::Stop;
use report::Report;

/// The client id, which Kafka's tools show.
const NAME: &str = "producer";

/// The command line.
#[derive(Debug, Args)]
#[command(about = "Sends messages to the topic, one JSON a line, and reports each delivery")]
pub struct Arguments {
    #[command(flatten)]
    settings: SettingsOptions,
    /// The file to send, one JSON a line [default: standard input]
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Sends N generated messages instead [default on a terminal: 10]
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..), conflicts_with = "file")]
    count: Option<u64>,
}

impl Program for Arguments {
    fn settings(&self) -> &SettingsOptions {
        &self.settings
    }

    fn run(&self, invocation: &Invocation) -> Result<()> {
        run(invocation, Source::find(self.file.as_deref(), self.count)?)
    }
}

/// The interval of checks for due retries, progress reports and time limits.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// The number of events that are handled between two flushes of the reports.
const BURST: usize = 1000;
/// The time without a delivery after which a warning is logged.
const QUIET: Duration = Duration::from_secs(2);
/// The interval between two such warnings, and between two progress reports.
const REPORT_INTERVAL: Duration = Duration::from_secs(5);

/// An event for the main thread.
enum Event {
    /// A line was read.
    Line(Line),
    /// The input has ended, or cannot be read further.
    End(Option<io::Error>),
    /// The delivery report of an attempt to send a line.
    Attempted(u64, DeliveryReport),
}

fn run(invocation: &Invocation, source: Source) -> Result<()> {
    let stop = invocation.begin()?;
    let intent = invocation.settings.intent(true, None);
    let adapter = AdapterAccess::find(invocation, &intent, &stop)?;
    let sender = Producer::start(
        &invocation.settings.producer_settings(),
        &invocation.settings.kafka.topic,
        adapter.endpoint(),
        NAME,
    );
    let outcome = sender.and_then(|sender| send(&invocation.settings, source, sender, stop));
    adapter.stop();
    outcome
}

fn send(settings: &Settings, source: Source, sender: Producer, stop: Stop) -> Result<()> {
    let (events_sender, events) = mpsc::channel();
    let (read_ahead, reports) = (ReadAhead::new(&settings.producer_settings()), events_sender.clone());
    let timeout = settings.kafka.delivery_timeout();
    let mut sending = Sending {
        // The main thread receives as long as any message is open.
        producer: RetryingProducer::new(
            sender,
            timeout,
            Arc::new(move |line, report| _ = reports.send(Event::Attempted(line, report))),
        ),
        report: Report::new(io::stdout(), &settings.kafka.topic),
        read_ahead: read_ahead.clone(),
        stop: stop.clone(),
        timeout,
        read: 0,
        last_line: 0,
        ended: None,
        give_up_at: None,
        quiet_since: Instant::now(),
        warned_quiet: None,
        last_progress: (Instant::now(), 0),
    };
    let started = source.start(read_ahead, stop, events_sender);
    if started.is_ok() {
        sending.work(&events);
    }
    sending.close(&events);
    started.and_then(|()| sending.verdict())
}

/// A run of the producer.
struct Sending {
    producer: RetryingProducer,
    report: Report<io::Stdout>,
    read_ahead: Arc<ReadAhead>,
    stop: Stop,
    timeout: Duration,
    /// Messages read, and the line of the last.
    read: u64,
    last_line: u64,
    /// How the input ended.
    ended: Option<Option<io::Error>>,
    /// After a stop: open messages are given up at this time.
    give_up_at: Option<Instant>,
    /// The time since which messages wait and none is delivered, and the time of the last warning.
    quiet_since: Instant,
    warned_quiet: Option<Instant>,
    /// The time of the last progress report, and the number of messages reported by then.
    last_progress: (Instant, u64),
}

impl Sending {
    /// Works until every message has its report, or the time for that is up.
    fn work(&mut self, events: &Receiver<Event>) {
        loop {
            if let Ok(event) = events.recv_timeout(POLL_INTERVAL) {
                self.take(event);
                events.try_iter().take(BURST).for_each(|event| self.take(event));
            }
            self.report.flush();
            self.producer.send_again();
            self.log_progress();
            if self.report.is_broken() {
                self.stop.ask();
            }
            if self.stop.is_asked() && self.give_up_at.is_none() {
                let open = self.producer.open();
                if open > 0 {
                    log::info!("waiting up to {} s for {open} messages on their way", BUSY_GRACE.as_secs());
                }
                self.give_up_at = Some(Instant::now() + BUSY_GRACE);
            }
            let reads_no_more = self.ended.is_some() || self.give_up_at.is_some();
            let late = self.give_up_at.is_some_and(|at| Instant::now() >= at);
            if reads_no_more && self.producer.open() == 0 || late {
                return;
            }
        }
    }

    /// Gives up the open messages.
    fn close(&mut self, events: &Receiver<Event>) {
        let now = Instant::now();
        self.give_up_at.get_or_insert(now);
        self.producer.close(now);
        events.try_iter().for_each(|event| self.take(event));
        for (line, completed) in self.producer.leave() {
            self.completed(line, &completed);
        }
        self.report.flush();
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Attempted(line, delivery) => {
                if let Some(completed) = self.producer.complete(line, delivery) {
                    self.completed(line, &completed);
                }
            }
            // Lines that were read after the stop are not sent.
            Event::Line(_) | Event::End(_) if self.give_up_at.is_some() => {}
            Event::Line(line) => self.send(line),
            Event::End(how) => self.ended = Some(how),
        }
    }

    fn send(&mut self, Line { number, text, .. }: Line) {
        (self.read, self.last_line) = (self.read + 1, number);
        let Some(text) = text else {
            self.report.refused(number, "the line is longer than a message may be");
            return self.read_ahead.free(0);
        };
        let bytes = text.len();
        match Message::from_json(text) {
            Ok(message) => self.producer.send(number, message.into()),
            Err(error) => {
                self.report.refused(number, &error.to_string());
                self.read_ahead.free(bytes);
            }
        }
    }

    fn completed(&mut self, line: u64, completed: &Completed) {
        self.report.delivery(line, &completed.delivery);
        self.read_ahead.free(completed.value.len());
        if matches!(completed.delivery, DeliveryReport::Stored { .. }) {
            if self.warned_quiet.take().is_some() {
                log::info!("messages are delivered again after {} s", self.quiet_since.elapsed().as_secs());
            }
            self.quiet_since = Instant::now();
        }
    }

    fn log_progress(&mut self) {
        let (now, open, counts) = (Instant::now(), self.producer.open(), self.report.counts());
        if open == 0 {
            (self.quiet_since, self.warned_quiet) = (now, None);
        }
        let quiet = now - self.quiet_since;
        if quiet >= QUIET && self.warned_quiet.is_none_or(|at| now - at >= REPORT_INTERVAL) {
            self.warned_quiet = Some(now);
            let (quiet, tried) = (quiet.as_secs(), self.timeout.as_secs_f32());
            log::warn!(
                "nothing was delivered for {quiet} s: {open} messages wait, each is tried for {tried} s; {counts}"
            );
        }
        let (said, reported) = self.last_progress;
        if now - said >= REPORT_INTERVAL && reported < counts.reported() {
            self.last_progress = (now, counts.reported());
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
