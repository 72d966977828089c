//! `POST /dead-letters/replay`: the dead letters that are named go back to where they came from.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Entry;
use super::view::{Onlooker, Replayed};
use crate::channel::dead_letters::Name;
use crate::error::{Error, Result};
use crate::http::answer::{Answer, Refusal};
use crate::http::tickets::Ticket;

/// The most letters in one request.
const MAX_LETTERS: usize = 100;

/// How much longer than its deadline the replay may take to finish the letter in hand, less what the door waits
/// longer for the answer than the handlers were told.
const MARGIN: Duration = Duration::from_millis(2500);

const BAD_LETTERS: Refusal = Refusal::new(
    400,
    "bad_letters",
    "The body is not like {\"letters\":[\"0:17\"]}: one to a hundred dead letters, each `partition:offset`.",
);

struct Order {
    letters: Vec<Name>,
    deadline: Instant,
    ticket: Ticket,
}

/// The way to the one thread that replays; it ends with this.
pub(in crate::http) struct Replays {
    orders: SyncSender<Order>,
}

impl Replays {
    /// Starts the thread, which asks `onlooker`.
    ///
    /// # Errors
    /// The system has no thread left.
    pub(in crate::http) fn start(
        onlooker: Arc<dyn Onlooker>,
        watch: Entry,
    ) -> Result<(Replays, JoinHandle<()>)> {
        // One waits at most while another is under way.
        let (orders, received) = sync_channel(1);
        let thread = thread::Builder::new()
            .name("http-replay".to_owned())
            .spawn(move || serve(&received, onlooker.as_ref(), &watch))
            .map_err(|error| Error::new("no thread for replaying dead letters").caused_by(error))?;
        Ok((Replays { orders }, thread))
    }

    /// Has the letters that `body` names replayed; `ticket` is answered within `answer_timeout`.
    ///
    /// # Errors
    /// The answer to a body that names none, or to who comes while others wait.
    pub(in crate::http) fn post(
        &self,
        body: &[u8],
        answer_timeout: Duration,
        ticket: Ticket,
    ) -> Result<(), Answer> {
        let letters = names(body).ok_or_else(|| BAD_LETTERS.answer())?;
        let deadline = Instant::now() + answer_timeout.saturating_sub(MARGIN).max(answer_timeout / 2);
        self.orders.try_send(Order { letters, deadline, ticket }).map_err(|error| match error {
            TrySendError::Full(_) => busy(),
            TrySendError::Disconnected(_) => Answer::error(503, "closing", "The server stops."),
        })
    }
}

fn busy() -> Answer {
    Answer::error(503, "busy", "Other dead letters are being replayed; nothing was replayed.")
}

/// The letters that a body names, each once.
fn names(body: &[u8]) -> Option<Vec<Name>> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let letters = body.as_object()?.get("letters")?.as_array()?;
    if !(1..=MAX_LETTERS).contains(&letters.len()) {
        return None;
    }
    let names: Option<BTreeSet<Name>> = letters.iter().map(|letter| letter.as_str()?.parse().ok()).collect();
    names.map(|names| names.into_iter().collect())
}

fn serve(orders: &Receiver<Order>, onlooker: &dyn Onlooker, watch: &Entry) {
    for order in orders {
        let answer = if order.deadline <= Instant::now() {
            busy()
        } else {
            match onlooker.replay(&order.letters, order.deadline) {
                Ok(replayed) => outcome(&replayed),
                Err(error) => {
                    Answer::error(503, "not_replayed", &format!("No dead letter was replayed: {error}."))
                }
            }
        };
        order.ticket.answer(answer);
        watch.look_at_once();
    }
}

/// 200 if all are replayed, 207 if only some of them are, or none.
fn outcome(replayed: &[Replayed]) -> Answer {
    let status = if replayed.iter().all(|letter| letter.error.is_none()) { 200 } else { 207 };
    Answer::json(status, json!({"letters": replayed}).to_string().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_taken_by_their_names_each_once() {
        let found = names(br#"{"letters":["1:7","0:3","1:7"]}"#).unwrap();
        assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>(), ["0:3", "1:7"]);
        let many = json!({"letters": (0..101).map(|offset| format!("0:{offset}")).collect::<Vec<_>>()});
        for body in ["", "[]", "{}", r#"{"letters":[]}"#, r#"{"letters":["x"]}"#, r#"{"letters":[1]}"#] {
            assert_eq!(names(body.as_bytes()), None, "{body}");
        }
        assert_eq!(names(many.to_string().as_bytes()), None);
        let many_times = json!({"letters": vec!["0:0"; 101]});
        assert_eq!(names(many_times.to_string().as_bytes()), None, "what comes after is not passed over");
    }
}
