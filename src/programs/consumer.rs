//! A consumer of the group: it prints each message, or hands it to the handler that is set, and then commits
//! it.

use std::io::{self, Write};

use super::adapter_access::AdapterAccess;
use super::lag_monitor::MetricsEndpoint;
use super::service::Service;
use super::warnings::Warnings;
use crate::cli::{Invocation, Program, SettingsOptions};
use crate::config::{self, ConsumerSection, Settings};
use crate::consumer::lines_handler::LinesHandler;
use crate::consumer::print_handler::PrintHandler;
use crate::consumer::printing::Printing;
use crate::consumer::process_handler::ProcessHandler;
use crate::consumer::push_handler::PushHandler;
use crate::consumer::push_handler::window::Window;
use crate::consumer::{BUSY_GRACE, ConsumerHandle};
use crate::consumer::{
    Consumer, ConsumerRecord, Failure, Handler, HandlerMode, QueueConsumer, Standing, receive,
};
use crate::error::Result;
use crate::metrics::ConsumerMetrics;
use crate::supervisor::parent_link::{self, StandardOutput};
use clap::Args;
use net::stop::Stop;

/// The command line.
#[derive(Debug, Args)]
#[command(about = "Prints or handles the messages that this member of the group gets")]
pub struct Arguments {
    #[command(flatten)]
    settings: SettingsOptions,
    /// The consumer's name, which Kafka's tools show as its client id
    #[arg(long, value_parser = consumer_name)]
    name: Option<String>,
    #[arg(long, hide = true)]
    supervised: bool,
}

impl Program for Arguments {
    fn settings(&self) -> &SettingsOptions {
        &self.settings
    }

    fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    fn is_supervised(&self) -> bool {
        self.supervised
    }

    fn run(&self, invocation: &Invocation) -> Result<()> {
        run(invocation)
    }
}

/// # Errors
/// A sentence with the legal names.
pub(super) fn consumer_name(name: &str) -> Result<String, String> {
    config::check_consumer_name(name).map(|()| name.to_owned())
}

/// The handler that the settings select.
pub(super) enum SelectedHandler {
    Print(PrintHandler<Box<dyn Write + Send>>),
    Run(ProcessHandler),
    Keep(Box<LinesHandler>),
    Push(PushHandler),
}

impl SelectedHandler {
    /// # Errors
    /// There is no such program, or a file for pushing cannot be used.
    fn new(settings: &Settings, stop: &Stop) -> Result<SelectedHandler> {
        if let Some(push) = settings.push_settings() {
            return PushHandler::new(push).map(SelectedHandler::Push);
        }
        let Some(process) = settings.process_settings() else {
            return Ok(SelectedHandler::Print(PrintHandler::on(Box::new(io::stdout()))));
        };
        match process.mode {
            HandlerMode::Process => ProcessHandler::new(&process, stop.clone()).map(SelectedHandler::Run),
            HandlerMode::Lines => {
                LinesHandler::new(&process, stop).map(|kept| SelectedHandler::Keep(Box::new(kept)))
            }
        }
    }

    /// The same for one of several workers.
    fn for_a_worker(&self, output: Option<StandardOutput>, metrics: &ConsumerMetrics) -> SelectedHandler {
        let out = || -> Box<dyn Write + Send> {
            match output {
                Some(output) => Box::new(output),
                None => Box::new(io::stdout()),
            }
        };
        match self {
            SelectedHandler::Run(command) => SelectedHandler::Run(command.clone()),
            SelectedHandler::Keep(kept) => {
                let kept = LinesHandler::clone(kept).counted(metrics.clone());
                SelectedHandler::Keep(Box::new(kept))
            }
            SelectedHandler::Print(_) => SelectedHandler::Print(PrintHandler::on(out())),
            SelectedHandler::Push(push) => SelectedHandler::Push(push.printing_to(out())),
        }
    }

    /// Prints whole lines to `out` instead of this program's standard output.
    fn printing_to(self, out: impl Write + Send + 'static) -> Result<SelectedHandler> {
        match self {
            SelectedHandler::Print(_) => Ok(SelectedHandler::Print(PrintHandler::on(Box::new(out)))),
            SelectedHandler::Run(command) => command.printing_to(out).map(SelectedHandler::Run),
            SelectedHandler::Keep(kept) => Ok(SelectedHandler::Keep(Box::new(kept.printing_to(out)))),
            SelectedHandler::Push(push) => Ok(SelectedHandler::Push(push.printing_to(out))),
        }
    }

    /// How many messages may be on their way, where the target of a push decides on it.
    fn window(&self) -> Option<Window> {
        match self {
            SelectedHandler::Push(push) => Some(push.window()),
            _ => None,
        }
    }

    fn selected(&mut self) -> &mut dyn Handler {
        match self {
            SelectedHandler::Print(printer) => printer,
            SelectedHandler::Run(command) => command,
            SelectedHandler::Keep(kept) => kept.as_mut(),
            SelectedHandler::Push(push) => push,
        }
    }
}

impl Handler for SelectedHandler {
    fn joined(&mut self) -> Result<()> {
        self.selected().joined()
    }

    fn handle(&mut self, message: &ConsumerRecord<'_>) -> Result<(), Failure> {
        self.selected().handle(message)
    }

    fn batch(&self) -> usize {
        match self {
            SelectedHandler::Keep(kept) => kept.batch(),
            _ => 1,
        }
    }

    fn handle_batch(&mut self, messages: &[ConsumerRecord<'_>]) -> Vec<Result<(), Failure>> {
        self.selected().handle_batch(messages)
    }

    fn not_json(&mut self, message: &ConsumerRecord<'_>) -> Result<()> {
        self.selected().not_json(message)
    }
}

/// Prints the messages of a program's own group, where none is set, with the loop `body`; or, where there is
/// a handler or more than one message at a time, works with a queue. Ends when stop is asked.
pub(super) fn run_in_group(
    invocation: &Invocation,
    group: &str,
    body: fn(&mut Consumer, &mut Printing) -> Result<()>,
) -> Result<()> {
    let stop = invocation.begin()?;
    let mut settings = invocation.settings.clone();
    settings.consumer.group.get_or_insert_with(|| group.to_owned());
    let service = Service::begin(invocation, &stop, BUSY_GRACE);
    let handler = SelectedHandler::new(&settings, &stop)?;
    let intent = settings.intent(false, Some(settings.consumer.group()));
    let adapter = AdapterAccess::find(invocation, &intent, &stop)?;
    let handler = match adapter.output() {
        Some(output) => handler.printing_to(output)?,
        None => handler,
    };
    let metrics = ConsumerMetrics::default();
    let standing = Standing::default();
    let shown = settings.has_work_queue().then(|| (standing.clone(), Warnings::new(&settings, &adapter)));
    let endpoint_of_metrics = MetricsEndpoint::start(&adapter, &settings, &invocation.name, &metrics, shown);
    let outcome = endpoint_of_metrics.and_then(|_endpoint| {
        let consumer = if settings.has_work_queue() {
            start_queue(&adapter, &settings, &invocation.name, stop, (metrics, standing), &handler)?
        } else {
            start_printing(&adapter, &settings, &invocation.name, stop, metrics, body)?
        };
        service.ready();
        let what = format!("consuming as {} of {}", invocation.name, settings.consumer.group());
        let _status = service.tell(what, adapter.cluster())?;
        // A message that is put aside while brokers are away holds up the loop for as long as it may.
        service.tolerate(settings.consumer.max_processing());
        let _watchdog = service.watch(&adapter.pulse())?;
        consumer.wait()
    });
    adapter.stop();
    outcome
}

fn start_queue(
    adapter: &AdapterAccess,
    settings: &Settings,
    name: &str,
    stop: Stop,
    (metrics, standing): (ConsumerMetrics, Standing),
    handler: &SelectedHandler,
) -> Result<ConsumerHandle> {
    let cluster = adapter.cluster().share(settings.consuming_cluster());
    let consumer_settings = settings.consumer_settings();
    let of_the_handler = settings.process_settings().map(|process| process.workers);
    let workers = of_the_handler.unwrap_or(consumer_settings.queue.concurrency);
    let workers = (0..workers).map(|_| handler.for_a_worker(adapter.output(), &metrics)).collect();
    let consumer = QueueConsumer::new(&consumer_settings, cluster, adapter.endpoint(), name, stop);
    let consumer = match adapter {
        AdapterAccess::Own(..) => consumer,
        AdapterAccess::Supervised { .. } => consumer.telling(Box::new(parent_link::send_member)),
    };
    let consumer = match handler.window() {
        Some(window) => consumer.limited_by(window),
        None => consumer,
    };
    consumer.counted(metrics).watched(standing).beating(adapter.pulse()).start(workers)
}

fn start_printing(
    adapter: &AdapterAccess,
    settings: &Settings,
    name: &str,
    stop: Stop,
    metrics: ConsumerMetrics,
    body: fn(&mut Consumer, &mut Printing) -> Result<()>,
) -> Result<ConsumerHandle> {
    let (endpoint, settings) = (adapter.endpoint(), settings.consumer_settings());
    let out: Box<dyn Write + Send> = match adapter.output() {
        Some(output) => Box::new(output),
        None => Box::new(io::stdout()),
    };
    let printing = Printing::new(&settings, endpoint.clone(), name, stop.clone(), out);
    let mut printing = printing.counted(metrics.clone());
    let consumer = Consumer::new(&settings, endpoint, name, stop)?.counted(metrics).beating(adapter.pulse());
    ConsumerHandle::start(consumer, move |consumer| body(consumer, &mut printing))
}

fn run(invocation: &Invocation) -> Result<()> {
    run_in_group(invocation, ConsumerSection::DEFAULT_GROUP, receive)
}
