//! The producer program: it sends lines, or files, to the topic, at least once, and reports each delivery.

mod envelope;
mod form;
mod input;
mod progress;
mod report;

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use super::adapter_access::AdapterAccess;
use crate::cli::{Invocation, Program, SettingsOptions};
use crate::config::Settings;
use crate::consumer::{BUSY_GRACE, Payload};
use crate::error::{Error, Result};
use crate::producer::retrying_producer::{Completed, RetryingProducer};
use crate::producer::{DeliveryReport, Producer, ProducerRecord};
use clap::{Args, value_parser};
use form::{Form, FormOptions};
use input::{ReadAhead, Reader, Source};
use net::stop::Stop;
use progress::{Progress, Speed};
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
    /// Sends N generated messages instead [default on a terminal without other arguments: 10]
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..), conflicts_with = "file")]
    count: Option<u64>,
    /// Sends each of these files as one message instead
    #[arg(
        long,
        value_name = "FILE",
        num_args = 1..,
        conflicts_with_all = ["file", "count", "envelope", "key_separator"]
    )]
    file_per_message: Vec<PathBuf>,
    #[command(flatten)]
    form: FormOptions,
    /// Sends N messages a second at most; what waits through an outage is no more than N
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..))]
    rate: Option<u32>,
}

impl Program for Arguments {
    fn settings(&self) -> &SettingsOptions {
        &self.settings
    }

    fn run(&self, invocation: &Invocation) -> Result<()> {
        let needs_input = self.form.is_given() || self.rate.is_some();
        let source = Source::find(self.file.as_deref(), &self.file_per_message, self.count, needs_input)?;
        // What is typed would stand in the line of progress.
        let progress = if source.is_typed() { None } else { Progress::on_terminal() };
        let job = Job { source, form: self.form.form(), rate: self.rate };
        let outcome = run(invocation, job, progress.as_ref());
        if let Some(progress) = progress {
            progress.end();
        }
        outcome
    }
}

/// What the command line asks for.
struct Job {
    source: Source,
    form: Form,
    rate: Option<u32>,
}

/// The interval of checks for room in the queue, progress reports and time limits.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// The number of events that are handled between two flushes of the reports.
const BURST: usize = 1000;
/// The time without a delivery after which a warning is logged.
const QUIET: Duration = Duration::from_secs(2);
/// The interval between two such warnings, and between two progress reports in the log.
const REPORT_INTERVAL: Duration = Duration::from_secs(5);
/// The interval at which the line of progress is drawn.
const DRAW_INTERVAL: Duration = Duration::from_millis(200);

/// An event for the main thread.
enum Event {
    /// A message was read, or what cannot be one, and why. Lines are counted from 1 on, and so are files.
    Message(u64, std::result::Result<Box<ProducerRecord>, String>),
    /// The input has ended, or cannot be read further.
    End(Option<io::Error>),
    /// The delivery report of a message.
    Delivered(u64, DeliveryReport),
}

fn run(invocation: &Invocation, job: Job, progress: Option<&Progress>) -> Result<()> {
    let stop = invocation.begin_with(|| above(progress, io::stderr()))?;
    if takes_json(&invocation.settings) && job.form.is_text() {
        log::warn!("the channel's consumers take JSON alone (consumer.payload): other text is a dead letter");
    }
    if job.source.is_typed() {
        log::info!("type a message each line, and Ctrl-D at the end; --count N sends generated ones instead");
    }
    let intent = invocation.settings.intent(true, None);
    let adapter = AdapterAccess::find(invocation, &intent, &stop)?;
    let sender = Producer::at_least_once(
        &invocation.settings.producer_settings(),
        &invocation.settings.kafka.topic,
        adapter.endpoint(),
        NAME,
    );
    let outcome = sender.and_then(|sender| send(&invocation.settings, job, sender, stop, progress));
    adapter.stop();
    outcome
}

/// Whether the channel's consumers make dead letters of what is no JSON.
fn takes_json(settings: &Settings) -> bool {
    settings.consumer.payload == Payload::Json
}

/// Standard output or error, above the line of progress where there is one.
fn above(progress: Option<&Progress>, out: impl Write + Send + 'static) -> Box<dyn Write + Send> {
    match progress {
        Some(progress) => Box::new(progress.above(out)),
        None => Box::new(out),
    }
}

fn send(
    settings: &Settings,
    job: Job,
    sender: Producer,
    stop: Stop,
    progress: Option<&Progress>,
) -> Result<()> {
    let (events_sender, events) = mpsc::channel();
    let read_ahead = ReadAhead::new(&settings.producer_settings(), job.rate);
    let reports = events_sender.clone();
    let timeout = settings.kafka.delivery_timeout();
    let beside = progress.filter(|_| io::stdout().is_terminal());
    let mut sending = Sending {
        // The main thread receives as long as any message is open.
        producer: RetryingProducer::new(
            sender,
            timeout,
            Arc::new(move |number, report| _ = reports.send(Event::Delivered(number, report))),
        ),
        report: Report::new(above(beside, io::stdout()), &settings.kafka.topic, job.source.files()),
        read_ahead: read_ahead.clone(),
        stop: stop.clone(),
        timeout,
        read: 0,
        sent: 0,
        last: 0,
        ended: None,
        give_up_at: None,
        quiet_since: Instant::now(),
        warned_quiet: None,
        last_progress: (Instant::now(), 0),
        progress: progress.cloned(),
        last_drawn: None,
        speed: Speed::new(),
        warns_of_null: takes_json(settings),
    };
    let reader = Reader { form: job.form, rate: job.rate, read_ahead, stop, events: events_sender };
    let started = job.source.start(reader);
    if started.is_ok() {
        sending.work(&events);
    }
    sending.close(&events);
    started.and_then(|()| sending.verdict())
}

/// A run of the producer.
struct Sending {
    producer: RetryingProducer,
    report: Report<Box<dyn Write + Send>>,
    read_ahead: Arc<ReadAhead>,
    stop: Stop,
    timeout: Duration,
    /// Messages read, those of them that were sent, and the number of the last one read.
    read: u64,
    sent: u64,
    last: u64,
    /// How the input ended.
    ended: Option<Option<io::Error>>,
    /// After a stop: open messages are given up at this time.
    give_up_at: Option<Instant>,
    /// The time since which messages wait and none is delivered, and the time of the last warning.
    quiet_since: Instant,
    warned_quiet: Option<Instant>,
    /// The time of the last progress report, and the number of messages reported by then.
    last_progress: (Instant, u64),
    progress: Option<Progress>,
    last_drawn: Option<Instant>,
    speed: Speed,
    /// The next null value is warned of.
    warns_of_null: bool,
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
            self.producer.send_waiting();
            self.log_progress();
            self.draw_progress(false);
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
        for (number, completed) in self.producer.leave() {
            self.completed(number, &completed);
        }
        self.report.flush();
        self.draw_progress(true);
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Delivered(number, delivery) => {
                if let Some(completed) = self.producer.complete(number, delivery) {
                    self.completed(number, &completed);
                }
            }
            // Messages that were read after the stop are not sent.
            Event::Message(..) | Event::End(_) if self.give_up_at.is_some() => {}
            Event::Message(number, record) => self.send(number, record),
            Event::End(how) => self.ended = Some(how),
        }
    }

    fn send(&mut self, number: u64, record: std::result::Result<Box<ProducerRecord>, String>) {
        (self.read, self.last) = (self.read + 1, number);
        self.speed.read();
        match record {
            Ok(record) => {
                self.sent += 1;
                if record.value.is_none() && std::mem::take(&mut self.warns_of_null) {
                    log::warn!(
                        "null values (tombstones) are sent: the channel's consumers, which take JSON alone \
                         (consumer.payload), make dead letters of them"
                    );
                }
                self.producer.send(number, *record);
            }
            Err(reason) => {
                self.report.refused(number, &reason);
                self.read_ahead.free(0);
            }
        }
    }

    fn completed(&mut self, number: u64, completed: &Completed) {
        self.report.delivery(number, &completed.delivery);
        self.read_ahead.free(completed.bytes);
        if matches!(completed.delivery, DeliveryReport::Stored { .. }) {
            self.speed.delivered();
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
        // Where the line of progress is, it says the same.
        if self.progress.is_none() && now - said >= REPORT_INTERVAL && reported < counts.reported() {
            self.last_progress = (now, counts.reported());
            log::info!("{} messages read: {counts}, {open} on their way", self.read);
        }
    }

    /// Draws the line of progress, where there is one, if it is time, or the `last` one.
    fn draw_progress(&mut self, last: bool) {
        let Some(progress) = &self.progress else { return };
        if !last && self.last_drawn.is_some_and(|at| at.elapsed() < DRAW_INTERVAL) {
            return;
        }
        self.last_drawn = Some(Instant::now());
        let (sent, counts) = (self.sent, self.report.counts());
        let rate = self.speed.recent(counts.stored);
        let (delivered, failed) = (counts.stored, counts.failed());
        progress.show(format!("{sent} sent, {delivered} delivered, {failed} failed, {rate}/s"));
    }

    fn verdict(self) -> Result<()> {
        let (read, counts, last) = (self.read, self.report.counts(), self.last);
        let rate = self.speed.overall(counts.stored);
        let all = if self.report.is_of_files() {
            format!("{read} files read: {counts}; {rate} messages/s")
        } else {
            format!("{read} messages read, up to line {last}: {counts}; {rate} messages/s")
        };
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
