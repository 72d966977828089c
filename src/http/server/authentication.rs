//! Requests whose password is being checked: they wait, with their bodies unread, while others are served.

use super::connection_step::Phase;
use super::event_loop::EventLoop;
use super::user_access::{CheckedPassword, Outcome, Waiter};
use crate::http::response::ErrorResponse;

impl EventLoop {
    /// Has the password of a connection's request checked.
    ///
    /// # Errors
    /// 429 or 503: too many passwords wait already.
    pub(super) fn begin_check(&mut self, index: usize) -> Result<(), ErrorResponse> {
        let Some(connection) = self.connections.get(index) else { return Ok(()) };
        self.next_check = self.next_check.wrapping_add(1);
        let waiter = Waiter { connection: index, check: self.next_check };
        match connection.begin_check(waiter.check) {
            Some(credentials) => self.policy.check(credentials, connection.ip(), waiter, self.now),
            None => Ok(()),
        }
    }

    /// Goes on with the requests whose passwords have been checked, and ends the streams of former users.
    pub(super) fn collect_checks(&mut self, checked: &mut Vec<CheckedPassword>) {
        let users_changed = self.policy.take_news(checked);
        for check in checked.drain(..) {
            for waiter in check.waiters {
                let Some(connection) = self.connections.get(waiter.connection) else { continue };
                if !connection.end_check(waiter.check) {
                    continue;
                }
                let admitted = match &check.outcome {
                    Outcome::Right(user) => {
                        connection.admit(Some(user.clone()), &self.policy, self.now, &self.limits)
                    }
                    Outcome::Wrong => Err(self.policy.unauthorized()),
                    Outcome::NotChecked(refusal) => Err(*refusal),
                };
                if let Err(error) = admitted {
                    self.refuse_counted(waiter.connection, error);
                }
                self.advance(waiter.connection);
            }
        }
        if users_changed {
            self.end_streams_of_former_users();
        }
    }

    fn end_streams_of_former_users(&mut self) {
        for index in self.connections.indices() {
            let Some(connection) = self.connections.get(index) else { continue };
            let user = connection.log_entry.user.as_ref();
            let is_former = user.is_some_and(|user| !self.policy.still_has(user));
            if is_former && connection.phase == Phase::Streaming {
                connection.end_stream();
                self.hang_up(index);
            }
        }
    }
}
