//! The sender of a request, where the endpoint has users. A token, the client's certificate or a password
//! that was right a short time ago tell it at once; any other password is checked by a thread of its own.

mod check_queue;
mod checker;
mod credentials;
mod failed_addresses;
mod remembered;
mod watched_file;

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

pub(super) use checker::{CheckedPassword, Outcome, Waiter};
pub(super) use credentials::{Credentials, MAX_CHECK, bearer};
pub(super) use failed_addresses::ClientAddress;

use crate::error::Result;
use crate::http::responder::ResponseQueue;
use crate::http::response::ErrorResponse;
use crate::users::{User, Users};
use checker::PasswordChecker;
use credentials::basic;
use remembered::{CredentialKeys, RememberedPasswords};
use watched_file::WatchedFile;

/// The sender of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sender {
    /// A user.
    User(Arc<User>),
    /// It says that it is a user; its password has to be checked.
    Unchecked(Credentials),
    /// Nobody that is known.
    Nobody,
}

/// The users of an endpoint, as its server's thread knows them.
pub(super) struct UserAccess {
    users: Arc<Users>,
    keys: CredentialKeys,
    remembered: RememberedPasswords,
    checker: PasswordChecker,
    channel_topic: String,
}

impl UserAccess {
    /// Reads the file of users, and looks at it from then on. The thread wakes the server through
    /// `responses`.
    ///
    /// # Errors
    /// The file cannot be used; the system gives no randomness or no thread.
    pub(super) fn start(
        file: &Path,
        channel_topic: &str,
        responses: Arc<ResponseQueue>,
    ) -> Result<UserAccess> {
        let (file, users) = WatchedFile::open(file)?;
        let users = Arc::new(users);
        Ok(UserAccess {
            users: Arc::clone(&users),
            keys: CredentialKeys::new()?,
            remembered: RememberedPasswords::default(),
            checker: PasswordChecker::start(file, users, responses)?,
            channel_topic: channel_topic.to_owned(),
        })
    }

    /// The topic to which `/enviar` sends.
    pub(super) fn channel_topic(&self) -> &str {
        &self.channel_topic
    }

    /// Whether a name and a password may be sent.
    pub(super) fn take_passwords(&self) -> bool {
        self.users.have_passwords()
    }

    /// The sender of a request with this `Authorization`. Without one, the name in the client's certificate
    /// tells the sender.
    pub(super) fn sender(&mut self, authorization: Option<&[u8]>, certificate_name: Option<&str>) -> Sender {
        let found = match authorization {
            None => certificate_name.and_then(|name| self.users.with_certificate(name)),
            Some(value) => match bearer(value) {
                Some(token) => self.users.with_token(token),
                None => return self.sender_with_password(value),
            },
        };
        found.map_or(Sender::Nobody, |user| Sender::User(Arc::clone(user)))
    }

    fn sender_with_password(&mut self, authorization: &[u8]) -> Sender {
        let Some(credentials) = basic(authorization).filter(|_| self.users.have_passwords()) else {
            return Sender::Nobody;
        };
        match self.remembered.user_of(&self.keys.of(&credentials), Instant::now()) {
            Some(user) => Sender::User(user),
            None => Sender::Unchecked(credentials),
        }
    }

    /// Has a password checked for `waiter`.
    ///
    /// # Errors
    /// 429 or 503: too many wait already.
    pub(super) fn check(
        &self,
        credentials: Credentials,
        address: ClientAddress,
        waiter: Waiter,
        now: Instant,
    ) -> Result<(), ErrorResponse> {
        self.checker.submit(self.keys.of(&credentials), credentials, address, waiter, now)
    }

    /// Takes the passwords that were checked since the last call, each with the user if it was right; and
    /// whether the users have changed.
    pub(super) fn take_news(&mut self, checked: &mut Vec<CheckedPassword>) -> bool {
        let changed = match self.checker.take_news(checked) {
            Some(users) => {
                self.remembered.retain(&users);
                self.users = users;
                true
            }
            None => false,
        };
        for check in checked {
            // The file may have changed after the check.
            match &check.outcome {
                Outcome::Right(user) if self.users.still_have(user) => {
                    self.remembered.insert(check.key, Arc::clone(user), Instant::now())
                }
                Outcome::Right(_) => check.outcome = Outcome::Wrong,
                Outcome::Wrong | Outcome::NotChecked(_) => {}
            }
        }
        changed
    }

    /// Whether `user` is still a user, and unchanged.
    pub(super) fn still_have(&self, user: &User) -> bool {
        self.users.still_have(user)
    }
}
