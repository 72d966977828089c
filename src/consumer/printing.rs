//! Printing one message at a time: what is no JSON is printed with a mark, and becomes a dead letter unless any
//! payload is asked for.

use std::io::Write;
use std::time::Instant;

use super::print_handler::PrintHandler;
use super::{ConsumerRecord, ConsumerSettings, Failure, FailureCause, Handler, Payload};
use crate::dead_letters::{DeadLetterStore, Verdict};
use crate::error::Result;
use crate::logging::ValueOrLength;
use crate::message;
use crate::metrics::ConsumerMetrics;
use adapter::Endpoint;
use net::stop::Stop;

/// Prints messages, with the dead letters for what is no JSON.
pub struct Printing {
    printer: PrintHandler<Box<dyn Write + Send>>,
    dead_letters: DeadLetterStore,
    settings: ConsumerSettings,
    metrics: ConsumerMetrics,
}

/// The result for a message.
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Printed {
    /// It is printed, and stored as a dead letter if it has to be: its offset may be committed.
    Finished,
    /// Its dead letter could not be stored: its offset must not be committed, and it has to come again.
    Unfinished,
}

impl Printing {
    /// Prints to `out`, one line with each write. Dead letters go through the adapter at `endpoint`; `name` is
    /// what Kafka's tools show; `stop` ends waits.
    pub fn new(
        settings: &ConsumerSettings,
        endpoint: Endpoint,
        name: &str,
        stop: Stop,
        out: Box<dyn Write + Send>,
    ) -> Printing {
        Printing {
            printer: PrintHandler::on(out),
            dead_letters: DeadLetterStore::new(&settings.dead_letters, endpoint, name, stop),
            settings: settings.clone(),
            metrics: ConsumerMetrics::default(),
        }
    }

    /// Counts outcomes in `metrics`.
    pub fn counted(self, metrics: ConsumerMetrics) -> Printing {
        Printing { metrics, ..self }
    }

    /// Says that the consumer is a member of the group.
    ///
    /// # Errors
    /// The output is broken.
    pub fn joined(&mut self) -> Result<()> {
        self.printer.joined()
    }

    /// Prints a message; one that is no JSON is stored as a dead letter, too, unless any payload is asked for.
    ///
    /// # Errors
    /// The output is broken. The message must not be committed.
    pub fn print(&mut self, message: &ConsumerRecord<'_>) -> Result<Printed> {
        let deadline = Instant::now() + self.settings.max_processing;
        let checked = match self.settings.queue.payload {
            Payload::Json => message::check_value(message.value),
            Payload::Any => Ok(()),
        };
        let cause = match checked {
            Ok(()) => match self.printer.handle(message) {
                Ok(()) => {
                    if Instant::now() >= deadline {
                        let limit = self.settings.max_processing.as_millis();
                        log::warn!(
                            "printing took longer than max_processing_ms ({limit} ms), others may have the message \
                             by now: {message}"
                        );
                    }
                    self.metrics.handled();
                    return Ok(Printed::Finished);
                }
                Err(Failure::Broken(error)) => return Err(error),
                Err(failure) => failure.cause(),
            },
            Err(error) => {
                log::error!("{error}: {message}{}", ValueOrLength(message.value));
                self.printer.not_json(message)?;
                FailureCause::of(&error)
            }
        };
        if !self.dead_letters.store(message, &Verdict::unattempted(cause), deadline) {
            return Ok(Printed::Unfinished);
        }
        self.metrics.dead_lettered();
        Ok(Printed::Finished)
    }
}
