//! `replay` and `discard`.

use super::through::Editor;
use super::{Meant, print, with_browsers};
use crate::cli::{DeadLetterChoice, DeadLetterTopics, Invocation};
use crate::dead_letters::{
    DeadLetter, DeadLetterBrowser, Missing, ReplayAction, ReplayOutcome, ReplayRequest, ReplaySummary,
};
use crate::error::{Error, Result};
use crate::text::escape;
use net::stop::Stop;

/// What is to be done.
pub struct Order<'a> {
    /// The action.
    pub action: ReplayAction,
    /// The topics that the letters came from.
    pub topics: &'a DeadLetterTopics,
    /// The letters.
    pub choice: &'a DeadLetterChoice,
    /// The program and its arguments through which each letter goes.
    pub program: Option<Vec<String>>,
}

/// Settles letters, topic after topic. Each has a line on standard output, and the last line counts.
pub fn run(invocation: &Invocation, order: &Order<'_>) -> Result<()> {
    let settings = &invocation.settings;
    let filter = order.choice.filter();
    let consumed = settings.kafka.consumed();
    let meant = Meant::new(order.topics, &consumed, filter.ids.iter().copied())?;
    let stop = invocation.begin()?;
    let editor = order.program.as_ref().map(|command| {
        let time_limit = settings.consumer.handler_timeout();
        Editor::new(command, time_limit, stop.clone())
    });
    let editor = editor.transpose()?;
    let request = ReplayRequest { filter, max: order.choice.max, deadline: None };
    let mut total = ReplaySummary::default();
    let ended = with_browsers(settings, &meant, |browsers| {
        for browser in browsers {
            let max = request.max.map(|max| max.saturating_sub(total.begun()));
            let request = ReplayRequest { max, ..request.clone() };
            // Names are the letters' own only where there is one topic.
            let place = (browsers.len() > 1).then(|| browser.topic());
            let one = settle(browser, order.action, &request, editor.as_ref(), &stop, place);
            let one = one.map_err(|error| match place {
                Some(place) => Error::new(format!("the letters in {place} stay")).caused_by(error),
                None => error,
            })?;
            if let Some(why) = &one.left_out {
                log::warn!("{why}");
            }
            add(&mut total, one);
            if total.stopped.is_some() {
                break;
            }
        }
        Ok(())
    });
    if ended.is_ok() || total.begun() > 0 {
        print(&summed_up(order, &total));
    }
    ended?;
    match total.stopped {
        Some(why) => Err(Error::new("it ended early").caused_by(why)),
        None if total.is_complete() => Ok(()),
        None => Err(Error::new("not all that was asked is done")),
    }
}

/// Settles letters of one topic. Their lines name the topic in which they are, if `place` does.
fn settle(
    browser: &DeadLetterBrowser,
    action: ReplayAction,
    request: &ReplayRequest,
    editor: Option<&Editor>,
    stop: &Stop,
    place: Option<&str>,
) -> Result<ReplaySummary> {
    // A reader such as `head` may close the pipe early; the work goes on.
    let mut tell = |letter: &DeadLetter, outcome: &ReplayOutcome| {
        print(&outcome_line(letter, outcome, place));
    };
    match editor {
        Some(editor) => {
            let own_place = browser.topic();
            browser.replay_through(request, stop, &mut |letter| editor.edit(letter, own_place), &mut tell)
        }
        None => browser.replay(action, request, stop, &mut tell),
    }
}

fn add(total: &mut ReplaySummary, one: ReplaySummary) {
    total.done += one.done;
    total.failed += one.failed;
    total.kept += one.kept;
    total.unknown += one.unknown;
    total.left += one.left;
    total.missing.extend(one.missing);
    total.stopped = one.stopped;
    total.left_out = total.left_out.take().or(one.left_out);
}

fn outcome_line(letter: &DeadLetter, outcome: &ReplayOutcome, place: Option<&str>) -> String {
    let name = place.map_or_else(|| letter.id.to_string(), |place| format!("{} in={place}", letter.id));
    match outcome {
        ReplayOutcome::Replayed { topic, partition, offset } => {
            let topic = escape(topic.as_bytes());
            format!("replayed: letter={name} topic={topic} partition={partition} offset={offset}\n")
        }
        ReplayOutcome::Discarded => format!("discarded: letter={name}\n"),
        ReplayOutcome::Kept => format!("kept: letter={name}\n"),
        ReplayOutcome::Failed { reason, .. } => {
            format!("failed: letter={name}: {}\n", escape(reason.as_bytes()))
        }
        ReplayOutcome::Unknown { reason } => {
            format!("unknown: letter={name} may be replayed: {}\n", escape(reason.as_bytes()))
        }
    }
}

fn summed_up(order: &Order<'_>, summary: &ReplaySummary) -> String {
    let mut text = String::new();
    for (name, missing) in &summary.missing {
        text += &match missing {
            Missing::AlreadyReplayed => {
                format!("missing: letter={name}: it is replayed or discarded already\n")
            }
            Missing::NotThere => format!("missing: letter={name}: there is none that fits\n"),
            Missing::Away => format!("missing: letter={name}: the leader of its partition does not answer\n"),
        };
    }
    let ReplaySummary { done, failed, kept, unknown, left, .. } = summary;
    text += &match order.action {
        ReplayAction::Replay => format!("replayed {done}, failed {failed}"),
        ReplayAction::Discard => format!("discarded {done}"),
    };
    if order.program.is_some() {
        text += &format!(", kept {kept}");
    }
    if *unknown > 0 {
        text += &format!(", unknown {unknown}");
    }
    text + &format!(", left {left}\n")
}
