//! `replay --through`: each letter goes through a program before it is sent.

use std::time::Duration;

use crate::consumer::{ConsumerRecord, Translation, Translator};
use crate::dead_letters::{DeadLetter, ReplayEdit};
use crate::error::Result;
use net::stop::Stop;

/// The option that names the program.
const OPTION: &str = "--through";

/// The program.
pub struct Editor {
    translator: Translator,
}

impl Editor {
    /// Runs the program and the arguments in `command`, for each letter for `time_limit` at most. `stop` ends
    /// a run at once.
    ///
    /// # Errors
    /// There is no such program.
    pub fn new(command: &[String], time_limit: Duration, stop: Stop) -> Result<Editor> {
        Ok(Editor { translator: Translator::new(OPTION, command, time_limit, stop)? })
    }

    /// What the program makes of a letter in the topic `place`.
    pub fn edit(&self, letter: &DeadLetter, place: &str) -> ReplayEdit {
        let topic = letter.topic();
        let origin = topic.as_deref().zip(letter.partition()).zip(letter.offset());
        let (topic, partition, offset, timestamp) = match origin {
            Some(((topic, partition), offset)) => (topic, partition, offset, letter.original_timestamp()),
            // A letter that does not say where it came from has the place that it has now.
            None => (place, letter.id.partition, letter.id.offset, letter.timestamp),
        };
        // No environment can hold NUL, and no topic's name has it.
        let topic = topic.replace('\0', "");
        let record = ConsumerRecord {
            topic: &topic,
            partition,
            offset,
            key: letter.key.as_deref(),
            value: letter.value.as_deref(),
            timestamp,
            headers: letter.headers.borrowed(),
            attempt: letter.attempts().unwrap_or(0),
        };
        match self.translator.translate(&record) {
            Translation::Done(value) => ReplayEdit::Send(Some(value)),
            Translation::Refused => ReplayEdit::Keep,
            Translation::Failed(reason) => ReplayEdit::Fail(reason),
            Translation::Unable(reason) => ReplayEdit::End(reason),
        }
    }
}
